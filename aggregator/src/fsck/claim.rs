//! The locks of a running replica, taken as one would take them, and nothing made for it.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::PathBuf;

use super::FsckFault;
use crate::config::Config;

/// Held until dropped: nothing starts in the directory meanwhile.
pub(super) struct Locks {
    _files: Vec<File>,
}

/// A file that is not there is held by nobody.
pub(super) fn claim(config: &Config) -> Result<Locks, FsckFault> {
    let dir = &config.data_dir;
    let unreadable = |error| FsckFault::Unreadable { path: dir.clone(), error };
    std::fs::read_dir(dir).map_err(unreadable)?;
    let locks = [config.raft_dir().join("lock"), config.tables_dir().join("db")];
    let mut files = Vec::new();
    for path in locks {
        files.extend(lock(path)?);
    }
    Ok(Locks { _files: files })
}

fn lock(path: PathBuf) -> Result<Option<File>, FsckFault> {
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FsckFault::Unreadable { path, error }),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(FsckFault::InUse { path }),
        Err(TryLockError::Error(error)) => Err(FsckFault::Unreadable { path, error }),
    }
}
