//! Mounts of runs that died: a run names its mounts after its process, so that the next run finds
//! those whose process is gone.

use std::path::Path;
use std::process::{Command, Stdio};

const PREFIX: &str = "proofmark-lossy-";

/// What this process's mounts are called.
pub(super) fn source() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// Detaches every mount whose run is dead.
pub fn dead_mounts() {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in table.lines() {
        let mut words = line.split(' ');
        let (Some(source), Some(at)) = (words.next(), words.next()) else { continue };
        let Some(process) = source.strip_prefix(PREFIX) else { continue };
        if !Path::new("/proc").join(process).exists() {
            detach(Path::new(at));
        }
    }
}

/// Takes a mount out of the tree now; processes that still use it keep it until they end.
pub(super) fn detach(at: &Path) {
    // Not mounted: what was wanted.
    let _ = Command::new("umount").arg("--lazy").arg(at).stderr(Stdio::null()).status();
}
