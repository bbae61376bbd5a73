//! The mark of an orderly end: the file `stopped` in the data directory.
//!
//! A run that drained leaves it, and the next start takes it away. With it, the instants in between
//! are `skipped_shutdown`: somebody stopped this agent. Without it nobody knows what happened, and
//! they are `skipped_asleep`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::fsck::{Finding, Next};
use crate::spool::{SpoolFault, remove_file, replace_file};

/// The first word of the file; the digit is the format's version.
const MAGIC: &str = "proofmark-stopped/1";

/// What a run that drained says to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Unix time. A result on disk speaks of every instant up to and including this one.
    pub told_until_ms: u64,
}

impl Stopped {
    pub(super) fn save(self, data_dir: &Path) -> Result<(), SpoolFault> {
        let text = format!("{MAGIC} {}\n", self.told_until_ms);
        replace_file(&path_in(data_dir), text.as_bytes())
    }

    /// Takes the mark, if there is one. It is gone when this returns, so that a run which ends
    /// otherwise leaves none.
    pub(super) fn take(data_dir: &Path) -> Result<Option<Stopped>, SpoolFault> {
        let path = path_in(data_dir);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // Not UTF-8, or not readable: no mark of ours. It must go all the same.
            Err(_) => String::new(),
        };
        remove_file(&path)?;
        // A crash here leaves no mark and nothing told: the next start tells `skipped_asleep`,
        // which claims less and is true of a stop, too.
        let stopped = Stopped::parse(&text);
        if stopped.is_none() {
            tracing::warn!(path = %path.display(), "not the mark of a stop; removed");
        }
        Ok(stopped)
    }

    /// A mark that a start would remove unread.
    pub(super) fn inspect(data_dir: &Path) -> Option<Finding> {
        let read = std::fs::read_to_string(path_in(data_dir));
        let is_fine = match &read {
            Ok(text) => Stopped::parse(text).is_some(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        let file = "stopped".to_owned();
        let (slug, offset) = ("stopped_damaged".to_owned(), None);
        let message = "expected the mark of an orderly stop, got other bytes".to_owned();
        (!is_fine).then_some(Finding { file, offset, slug, message, next: Next::Mends })
    }

    fn parse(text: &str) -> Option<Stopped> {
        let time = text.strip_prefix(MAGIC)?.strip_prefix(' ')?.strip_suffix('\n')?;
        Some(Stopped { told_until_ms: time.parse().ok()? })
    }
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_taken_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let take = || Stopped::take(dir.path()).expect("can be taken");
        assert_eq!(take(), None);
        let stopped = Stopped { told_until_ms: 1_700_000_000_123 };
        stopped.save(dir.path()).expect("saved");
        assert_eq!((take(), take()), (Some(stopped), None));
    }

    #[test]
    fn what_is_no_mark_is_removed_and_says_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let foreign: [&[u8]; 4] =
            [b"", b"\xff", b"proofmark-stopped/1 12", b"proofmark-stopped/2 12\n"];
        for bytes in foreign {
            std::fs::write(path_in(dir.path()), bytes).expect("written");
            assert_eq!(Stopped::take(dir.path()).expect("can be taken"), None, "{bytes:?}");
            assert!(!path_in(dir.path()).exists());
        }
    }
}
