//! A small disk in memory for one process, that can be filled and freed.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Enough for a run, little enough to be filled in a moment.
const DISK_MIB: u64 = 384;
const FILLER: &str = "filler";

/// A tmpfs of its own. Dropping it unmounts it.
pub(super) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// # Errors
    /// The mount failed: this needs root.
    pub(super) fn mount(at: &Path) -> Result<SmallDisk, String> {
        std::fs::create_dir_all(at).map_err(|why| format!("{}: {why}", at.display()))?;
        let size = format!("size={DISK_MIB}m,mode=0700");
        let mut mount = Command::new("mount");
        let source = format!("pmchaos{}", std::process::id());
        let mount = mount.args(["-t", "tmpfs", "-o", &size, &source]).arg(at);
        match mount.status() {
            Ok(status) if status.success() => Ok(SmallDisk { at: at.to_owned() }),
            other => Err(format!("mount {}: {other:?}", at.display())),
        }
    }

    /// Takes what room is left, to the last byte.
    pub(super) fn fill(&self) {
        let Ok(mut filler) = File::create(self.at.join(FILLER)) else { return };
        for piece in [1 << 20, 4096, 1] {
            let zeros = vec![0; piece];
            while filler.write_all(&zeros).is_ok() {}
        }
    }

    pub(super) fn free(&self) {
        // Not filled: what is wanted.
        let _ = std::fs::remove_file(self.at.join(FILLER));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failing run may have left a process in it.
        let mut umount = Command::new("umount");
        let _ = umount.arg("--lazy").arg(&self.at).stderr(Stdio::null()).status();
    }
}

/// Unmounts the disks of runs whose process is gone.
pub(super) fn sweep() {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in table.lines() {
        let mut words = line.split(' ');
        let (Some(source), Some(at)) = (words.next(), words.next()) else { continue };
        let process = source.strip_prefix("pmchaos");
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            drop(SmallDisk { at: at.into() });
        }
    }
}
