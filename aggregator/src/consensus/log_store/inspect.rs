//! A log as it lies there, opened over files that only pretend to change: what an opening would
//! take, cut away and remove.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use raft::eraftpb::{Entry, EntryType};

use super::super::storage::{LogSource as _, LogUnreadable, RecoveredLog};
use super::{DirFiles, LogFiles, LogIdentity, LogStore, LogStoreFault, files, guarded};
use crate::fsck::LogFacts;
use crate::limits::LOG_FILE_BYTES;

/// A log that opens.
pub struct LogInspection {
    pub facts: LogFacts,
    /// What an opening would cut away.
    pub torn: Option<Torn>,
    /// Whole files that a snapshot made needless, and that a crash kept from being removed.
    pub needless: Vec<String>,
    store: LogStore,
}

/// Bytes after the last whole record: an unfinished write, or that record's rot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    pub file: String,
    pub offset: u64,
    pub bytes: u64,
}

impl LogStore {
    /// Judges the log in `dir`, of `own` if that is known. The caller holds its lock.
    ///
    /// # Errors
    /// It would not open, for this reason.
    pub fn inspect(dir: &Path, own: Option<LogIdentity>) -> Result<LogInspection, LogStoreFault> {
        if !dir.is_dir() {
            return Err(LogStoreFault::Missing { dir: dir.display().to_string() });
        }
        let pretended = Arc::new(Pretended { dir: DirFiles::new(dir), changes: Mutex::default() });
        let own = match own {
            Some(own) => own,
            None => identity(&*pretended)?,
        };
        let over = Arc::clone(&pretended);
        let (store, recovered) = LogStore::open_on(over, own, LOG_FILE_BYTES)?;
        let changes = guarded(&pretended.changes).clone();
        let facts = facts(&store, &recovered);
        Ok(LogInspection { facts, torn: changes.torn, needless: changes.removed, store })
    }
}

/// Whose log it says it is.
fn identity(files: &dyn LogFiles) -> Result<LogIdentity, LogStoreFault> {
    let found = files::list(files)?;
    let newest = *found.last().ok_or(LogStoreFault::Missing { dir: files.describe() })?;
    Ok(files::scan(files, newest, true)?.header.identity)
}

fn facts(store: &LogStore, recovered: &RecoveredLog) -> LogFacts {
    LogFacts {
        bytes: store.bytes(),
        first_index: recovered.start.index + 1,
        last_index: recovered.last_index,
        term: recovered.hard_state.term,
        commit: recovered.hard_state.commit,
    }
}

/// What an entry says to the state, encoded. Empty in those that raft makes for itself: a new
/// leader's first, and the end of a joint phase.
pub enum Logged {
    Commands(Vec<u8>),
    Change(Vec<u8>),
}

impl LogInspection {
    /// # Errors
    /// It is not what was written.
    pub fn logged(&self, index: u64) -> Result<Logged, LogUnreadable> {
        let entries = self.store.fetch(index, index + 1, u64::MAX)?;
        Ok(entries.into_iter().next().map_or(Logged::Commands(Vec::new()), logged))
    }
}

/// A change of membership carries its command beside what raft reads of it.
fn logged(entry: Entry) -> Logged {
    match entry.get_entry_type() {
        EntryType::EntryNormal => Logged::Commands(entry.data.to_vec()),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            Logged::Change(entry.context.to_vec())
        }
    }
}

/// The real files, and what was to be changed in them.
struct Pretended {
    dir: DirFiles,
    changes: Mutex<Changes>,
}

#[derive(Clone, Default)]
struct Changes {
    lengths: BTreeMap<String, u64>,
    torn: Option<Torn>,
    removed: Vec<String>,
}

impl LogFiles for Pretended {
    fn describe(&self) -> String {
        self.dir.describe()
    }

    /// The caller has it.
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let removed = guarded(&self.changes).removed.clone();
        let names = self.dir.list()?;
        Ok(names.into_iter().filter(|name| !removed.contains(name)).collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = self.dir.read(name)?;
        if let Some(len) = guarded(&self.changes).lengths.get(name) {
            bytes.truncate(usize::try_from(*len).map_err(io::Error::other)?);
        }
        Ok(bytes)
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.dir.read_at(name, offset, len)
    }

    fn write(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn append(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let bytes = (self.read(name)?.len() as u64).saturating_sub(len);
        let mut changes = guarded(&self.changes);
        changes.torn = Some(Torn { file: name.to_owned(), offset: len, bytes });
        changes.lengths.insert(name.to_owned(), len);
        Ok(())
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        guarded(&self.changes).removed.push(name.to_owned());
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}
