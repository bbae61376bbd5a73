//! A process's own wall clock, set while it runs: libfaketime in that process alone.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where libfaketime keeps a piece of shared memory and a semaphore for each process.
const SHARED: &str = "/dev/shm";

/// Removes what processes that were killed have left there. A process that is given the number of
/// one of them would find its place taken and end.
pub(super) fn sweep() {
    let is_dead = |process: &str| !Path::new("/proc").join(process).exists();
    for entry in std::fs::read_dir(SHARED).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if process_of(&name).is_some_and(is_dead) {
            // Gone already, or another run sweeps too: both are what is wanted.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn process_of(name: &str) -> Option<&str> {
    name.strip_prefix("faketime_shm_").or_else(|| name.strip_prefix("sem.faketime_sem_"))
}

/// The file that tells one process how far its clock is off.
pub(super) struct Clock {
    file: PathBuf,
}

impl Clock {
    pub(super) fn right(file: PathBuf) -> Result<Clock, String> {
        let clock = Clock { file };
        clock.set_off(0)?;
        Ok(clock)
    }

    /// Seconds ahead; behind when negative.
    pub(super) fn set_off(&self, seconds: i64) -> Result<(), String> {
        let draft = self.file.with_extension("draft");
        std::fs::write(&draft, format!("{seconds:+}s\n"))
            .and_then(|()| std::fs::rename(&draft, &self.file))
            .map_err(|why| format!("{}: {why}", self.file.display()))
    }

    /// What a program's environment must hold. Only the wall clock is off: the monotonic one runs
    /// on in the kernel whoever sets the other.
    pub(super) fn environment(&self) -> Result<Vec<(String, String)>, String> {
        let file = self.file.display().to_string();
        let pairs = [
            ("LD_PRELOAD", library()?),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        Ok(pairs.map(|(name, value)| (name.to_owned(), value)).to_vec())
    }
}

/// Where the library lies, as its own front end says it.
fn library() -> Result<String, String> {
    let output =
        Command::new("faketime").args(["-m", "-f", "+0s", "printenv", "LD_PRELOAD"]).output();
    let output = output.map_err(|why| format!("faketime (Debian package faketime): {why}"))?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match path.contains("libfaketime") {
        true => Ok(path),
        false => Err(format!("faketime names no library: {path:?}")),
    }
}

/// Whether a program of ours really sees another time under it.
pub(super) fn works(folder: &Path) -> Result<(), String> {
    let clock = Clock::right(folder.join("probe.clock"))?;
    clock.set_off(86_400 * 400)?;
    let year = |pairs: Vec<(String, String)>| {
        let output = Command::new("date").arg("+%Y").envs(pairs).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    match (year(clock.environment()?), year(Vec::new())) {
        (Ok(there), Ok(here)) if there != here => Ok(()),
        other => Err(format!("faketime does nothing here: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_left_is_swept() {
        let check = |name, process| assert_eq!(process_of(name), process, "{name}");
        check("faketime_shm_812", Some("812"));
        check("sem.faketime_sem_812", Some("812"));
        check("sem.another_812", None);
    }
}
