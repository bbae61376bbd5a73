//! The Raft log on disk: our own segmented log, one checksummed record and one flush for each
//! group commit.
//!
//! Who trusts it: this replica alone, and entirely. What it confirmed to its peers must be here
//! after any crash. A log that is damaged anywhere but in its unfinished last record does not open,
//! and the replica stays out (OPERATING.md, "One replica is broken"). Nothing is ever purged in
//! this version.
//!
//! Why not `raft-engine`: it cuts its last file off at the first damaged record header, whatever
//! follows, and goes on with a warning; confirmed entries after that would be gone in silence.

mod files;
mod record;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::eraftpb::{Entry, HardState};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::driver::WriteTask;
use super::storage::{LogSource, LogUnreadable, RecoveredLog};
use crate::limits::LOG_FILE_BYTES;
use files::{Scanned, damaged};
use record::{BODY_OFFSET, FileHeader, Written};

/// An open Raft log. Clones share it: the log thread writes, the raft and apply threads read.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    header: FileHeader,
    /// Taken by the log thread for each write, for as long as the flush runs.
    tail: Mutex<Tail>,
    /// Never held while a disk is waited for.
    index: Mutex<Index>,
    bytes_per_file: u64,
    /// Held for as long as the log is open.
    _lock: File,
}

/// Where the next record goes.
struct Tail {
    file: Arc<File>,
    bytes: u64,
    next_number: u64,
}

/// Where each entry lies, from index 1.
#[derive(Default)]
struct Index {
    files: Vec<Arc<File>>,
    bytes: u64,
    entries: Vec<Place>,
    hard_state: HardState,
}

#[derive(Clone, Copy)]
struct Place {
    term: u64,
    file: usize,
    offset: u64,
    len: usize,
    /// Of the data alone: bits can rot after the record was checked at start-up.
    crc: u32,
}

/// Whose log a directory holds. Checked at each opening, so that a copied or mixed-up directory
/// does not speak for another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// The evidence log's id: names the cluster.
    pub log_id: [u8; 32],
    pub node_id: u64,
}

/// Why a log did not open. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum LogStoreFault {
    #[error("{dir}: expected the raft log that `aggregator init` made, got no file of it")]
    Missing { dir: String },
    #[error("{dir}: there is a raft log here already; it belongs to node {node_id}")]
    Exists { dir: String, node_id: u64 },
    #[error("{dir}: the raft log is open in another process")]
    InUse { dir: String },
    #[error("{file}: the raft log of another cluster or node: expected {expected:?}, got {got:?}")]
    Identity { file: String, expected: LogIdentity, got: LogIdentity },
    /// The disk lost or changed what was durable (OPERATING.md, "One replica is broken").
    #[error("{file}: raft log damaged at byte {offset}: {what} cannot be read")]
    Damaged { file: String, offset: u64, what: &'static str },
    #[error("{path}: {cause}")]
    Io { path: String, cause: io::Error },
}

impl LogStore {
    /// Whether a log was made here: there is a file of it. Such a file has its name only since its
    /// header was durable. A directory that cannot be read counts, so that nobody makes a second
    /// log: opening it says why.
    pub fn exists(dir: &Path) -> bool {
        files::any(dir)
    }

    /// Makes the log of a new replica, durably, or what a crash left of making it. The voters are
    /// written here and never change.
    pub fn create(dir: &Path, identity: LogIdentity, voters: &[u64]) -> Result<(), LogStoreFault> {
        std::fs::create_dir_all(dir).map_err(|cause| fault(dir, &cause))?;
        files::sync_parent(dir).map_err(|cause| fault(dir, &cause))?;
        // A crash here leaves a directory without a log: `exists` says no, create goes on.
        if let Some((number, path)) = files::list(dir)?.first() {
            let node_id = files::scan(path, *number, true)?.header.identity.node_id;
            return Err(LogStoreFault::Exists { dir: dir.display().to_string(), node_id });
        }
        let mut salt = [0; 8];
        let no_random = |_| fault(dir, &io::Error::other("the system gave no random bytes"));
        SystemRandom::new().fill(&mut salt).map_err(no_random)?;
        let header = FileHeader { identity, salt, voters: voters.to_vec() };
        files::make(dir, 1, &header).map(drop).map_err(|cause| fault(dir, &cause))
    }

    /// Opens a log made by [`LogStore::create`], whatever a crash left in its last record.
    pub fn open(dir: &Path, identity: LogIdentity) -> Result<(Self, RecoveredLog), LogStoreFault> {
        Self::open_with(dir, identity, LOG_FILE_BYTES)
    }

    fn open_with(
        dir: &Path,
        identity: LogIdentity,
        bytes_per_file: u64,
    ) -> Result<(Self, RecoveredLog), LogStoreFault> {
        let missing = || LogStoreFault::Missing { dir: dir.display().to_string() };
        if !dir.is_dir() {
            return Err(missing());
        }
        let lock = files::lock(dir)?;
        let mut index = Index::default();
        let mut last = None;
        let mut next_number = 1;
        let found = files::list(dir)?;
        for (position, (number, path)) in found.iter().enumerate() {
            if *number != next_number {
                return Err(damaged(path, 0, "the file before it"));
            }
            let scanned = files::scan(path, *number, position + 1 == found.len())?;
            check_identity(path, identity, scanned.header.identity)?;
            let file = files::reopen(path, &scanned).map_err(|cause| fault(path, &cause))?;
            next_number = number + 1 + scanned.records.len() as u64;
            index.replay(path, Arc::new(file), &scanned)?;
            last = Some(scanned);
        }
        let last = last.ok_or_else(missing)?;
        let file = Arc::clone(index.files.last().expect("one was scanned"));
        let tail = Mutex::new(Tail { file, bytes: last.end as u64, next_number });
        let recovered = index.recovered(&last.header);
        let (dir, header, index) = (dir.to_owned(), last.header, Mutex::new(index));
        let shared = Arc::new(Shared { dir, header, tail, index, bytes_per_file, _lock: lock });
        Ok((Self { shared }, recovered))
    }

    /// Writes tasks as one record; it is durable when this returns.
    ///
    /// One record, one checksum: a crash leaves all of these tasks or none, and a task that
    /// overwrites a conflicting suffix does so in the same stroke.
    ///
    /// # Errors
    /// The record may be on disk or not; the caller must not go on.
    pub fn write(&self, tasks: &[WriteTask]) -> io::Result<()> {
        let body = record::encode_tasks(tasks);
        let mut tail = lock(&self.shared.tail);
        if tail.bytes >= self.shared.bytes_per_file {
            self.begin_file(&mut tail)?;
        }
        let (number, offset) = (tail.next_number, tail.bytes);
        let framed = record::frame(number, &body, &self.shared.header.salt);
        (&*tail.file).write_all(&framed)?;
        // A crash here leaves an unfinished record nobody was told about: start-up cuts it away.
        tail.file.sync_data()?;
        // A crash here leaves entries nobody was told about: start-up takes them for durable, which
        // they are, and the leader of the day keeps or replaces them.
        tail.bytes += framed.len() as u64;
        tail.next_number += 1;
        let written = record::decode_body(&body).expect("it was encoded above");
        let mut index = lock(&self.shared.index);
        index.bytes += framed.len() as u64;
        index.take(written, &body, offset);
        Ok(())
    }

    /// Bytes of the log's files.
    pub fn bytes(&self) -> u64 {
        lock(&self.shared.index).bytes
    }

    fn begin_file(&self, tail: &mut Tail) -> io::Result<()> {
        let file = files::make(&self.shared.dir, tail.next_number, &self.shared.header)?;
        tail.bytes = file.metadata()?.len();
        tail.next_number += 1;
        tail.file = Arc::new(file);
        let mut index = lock(&self.shared.index);
        index.bytes += tail.bytes;
        index.files.push(Arc::clone(&tail.file));
        Ok(())
    }
}

impl Index {
    fn replay(
        &mut self,
        path: &Path,
        file: Arc<File>,
        scanned: &Scanned,
    ) -> Result<(), LogStoreFault> {
        self.files.push(file);
        self.bytes += scanned.end as u64;
        for (_, offset, body) in &scanned.records {
            let unreadable = || damaged(path, *offset, "a record of another version");
            let written = record::decode_body(body).map_err(|_| unreadable())?;
            let is_contiguous = written.first_index <= self.entries.len() as u64 + 1;
            if !written.entries.is_empty() && (written.first_index == 0 || !is_contiguous) {
                return Err(damaged(path, *offset, "the entries before it"));
            }
            self.take(written, body, *offset as u64);
        }
        Ok(())
    }

    /// A record of the newest file, at this offset.
    fn take(&mut self, written: Written, body: &[u8], offset: u64) {
        if let Some(hard_state) = written.hard_state {
            self.hard_state = hard_state;
        }
        if !written.entries.is_empty() {
            self.entries.truncate(position(written.first_index));
        }
        for entry in written.entries {
            let (term, len, file) = (entry.term, entry.len, self.files.len() - 1);
            let crc = crc32fast::hash(&body[entry.offset..entry.offset + len]);
            let offset = offset + (BODY_OFFSET + entry.offset) as u64;
            self.entries.push(Place { term, file, offset, len, crc });
        }
    }

    fn recovered(&self, header: &FileHeader) -> RecoveredLog {
        let (hard_state, voters) = (self.hard_state.clone(), header.voters.clone());
        RecoveredLog { hard_state, voters, last_index: self.entries.len() as u64 }
    }

    /// Where the entries of `low..high` lie, at least one, within `bytes_max`.
    fn places(&self, low: u64, high: u64, bytes_max: u64) -> Vec<(Place, Arc<File>)> {
        let mut bytes = 0;
        let range = position(low)..position(high).min(self.entries.len());
        let places = self.entries.get(range).unwrap_or_default().iter();
        let within = places.take_while(|place| {
            let is_first = bytes == 0;
            bytes += 1 + place.len as u64;
            is_first || bytes <= bytes_max
        });
        within.map(|place| (*place, Arc::clone(&self.files[place.file]))).collect()
    }
}

impl LogSource for LogStore {
    fn fetch(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogUnreadable> {
        let unreadable = |cause: String| LogUnreadable { low, high, cause };
        let places = lock(&self.shared.index).places(low, high, bytes_max);
        if places.is_empty() {
            return Err(unreadable("not there".to_owned()));
        }
        let read = |(index, (place, file)): (u64, (Place, Arc<File>))| {
            let data = read_place(&place, &file).map_err(|cause| unreadable(cause.to_string()))?;
            Ok(Entry { index, term: place.term, data: data.into(), ..Entry::default() })
        };
        (low..).zip(places).map(read).collect()
    }
}

fn read_place(place: &Place, file: &File) -> io::Result<Vec<u8>> {
    let mut data = vec![0; place.len];
    file.read_exact_at(&mut data, place.offset)?;
    match crc32fast::hash(&data) == place.crc {
        true => Ok(data),
        false => Err(io::Error::other(format!("bad checksum at byte {}", place.offset))),
    }
}

fn check_identity(
    path: &Path,
    expected: LogIdentity,
    got: LogIdentity,
) -> Result<(), LogStoreFault> {
    let file = || path.display().to_string();
    match expected == got {
        true => Ok(()),
        false => Err(LogStoreFault::Identity { file: file(), expected, got }),
    }
}

/// Where the entry with this index stands in the list; entries begin at 1.
fn position(index: u64) -> usize {
    usize::try_from(index.saturating_sub(1)).unwrap_or(usize::MAX)
}

fn fault(path: &Path, cause: &io::Error) -> LogStoreFault {
    // An io::Error cannot be cloned; its kind and text are what anybody needs of it.
    let cause = io::Error::new(cause.kind(), cause.to_string());
    LogStoreFault::Io { path: path.display().to_string(), cause }
}

/// A poisoned lock means a thread panicked, and every thread of this room aborts on a panic.
fn lock<T>(content: &Mutex<T>) -> MutexGuard<'_, T> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}
