//! The Raft log on disk: our own segmented log, one checksummed record and one flush for each
//! group commit.
//!
//! Who trusts it: this replica alone, and entirely. What it confirmed to its peers must be here
//! after any crash. A log that is damaged anywhere but in its unfinished last record does not open,
//! and the replica stays out (OPERATING.md, "One replica is broken"). A last record that rotted
//! after it was durable looks unfinished and is cut away; the leader's next heartbeat finds that
//! what it held was confirmed, and the replica stops (`guard`, `log_lost`).
//!
//! Below a snapshot whole files go, oldest first, after a record in the newest file has said so: a
//! file that is missing without such a record was lost. A snapshot of another replica resets the
//! log the same way, to nothing.
//!
//! Why not `raft-engine`: it cuts its last file off at the first damaged record header, whatever
//! follows, and goes on with a warning; confirmed entries after that would be gone in silence.

#[cfg(test)]
mod crash_tests;
mod files;
mod index;
mod inspect;
mod record;
mod recover;
mod seam;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::eraftpb::Entry;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::driver::WriteTask;
use super::snapshot::Position;
use super::storage::{LogSource, LogUnreadable, RecoveredLog};
use crate::limits::LOG_FILE_BYTES;
use files::Scanned;
use index::{Index, Place};
use record::{FileHeader, Start};

pub use inspect::{LogInspection, Logged, Torn};
pub use seam::{DirFiles, LogFiles};

/// An open Raft log. Clones share it: the log thread writes, the raft and apply threads read.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    /// Locked for as long as the log is open.
    files: Arc<dyn LogFiles>,
    identity: LogIdentity,
    salt: [u8; 8],
    voters: Vec<u64>,
    /// Taken by the log thread for each write, for as long as the flush runs.
    tail: Mutex<Tail>,
    /// Never held while a disk is waited for.
    index: Mutex<Index>,
    bytes_per_file: u64,
}

/// Where the next record goes.
struct Tail {
    /// The newest file.
    number: u64,
    bytes: u64,
    next_number: u64,
    /// Its format is an older one, to which nothing is added.
    is_old: bool,
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

impl LogStoreFault {
    /// The stable word for logs and reports.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "raft_log_gone",
            Self::Exists { .. } => "raft_log_exists",
            Self::InUse { .. } => "raft_log_in_use",
            Self::Identity { .. } => "raft_log_identity",
            Self::Damaged { .. } => "raft_log_damaged",
            Self::Io { .. } => "raft_log_io",
        }
    }
}

impl LogStore {
    /// Whether a log was made here: there is a file of it. Such a file has its name only since its
    /// header was durable. A directory that cannot be read counts, so that nobody makes a second
    /// log: opening it says why.
    pub fn exists(dir: &Path) -> bool {
        files::any(dir)
    }

    /// Makes the log of a new replica, durably, or what a crash left of making it. The voters are
    /// the group's when its log began, and never change here: a replica that joins is given them.
    pub fn create(dir: &Path, identity: LogIdentity, voters: &[u64]) -> Result<(), LogStoreFault> {
        let files = DirFiles::new(dir);
        std::fs::create_dir_all(dir).map_err(|cause| fault(&files, "", &cause))?;
        files::sync_parent(dir).map_err(|cause| fault(&files, "", &cause))?;
        // A crash here leaves a directory without a log: `exists` says no, create goes on.
        let mut salt = [0; 8];
        let no_random = |_| fault(&files, "", &io::Error::other("the system gave no random bytes"));
        SystemRandom::new().fill(&mut salt).map_err(no_random)?;
        Self::create_on(&files, identity, voters, salt)
    }

    /// As [`LogStore::create`], on any disk. `salt` is a secret of this log.
    pub fn create_on(
        files: &dyn LogFiles,
        identity: LogIdentity,
        voters: &[u64],
        salt: [u8; 8],
    ) -> Result<(), LogStoreFault> {
        if let Some(number) = files::list(files)?.first() {
            let node_id = files::scan(files, *number, true)?.header.identity.node_id;
            return Err(LogStoreFault::Exists { dir: files.describe(), node_id });
        }
        let (version, voters) = (record::VERSION, voters.to_vec());
        let header = FileHeader { version, identity, salt, voters, keep_from: 1 };
        files::make(files, 1, &header).map(drop).map_err(|cause| fault(files, "", &cause))
    }

    /// Opens a log made by [`LogStore::create`], whatever a crash left in its last record.
    pub fn open(dir: &Path, identity: LogIdentity) -> Result<(Self, RecoveredLog), LogStoreFault> {
        Self::open_sized(dir, identity, LOG_FILE_BYTES)
    }

    /// As [`LogStore::open`], with files of another size than `LOG_FILE_BYTES`.
    pub fn open_sized(
        dir: &Path,
        identity: LogIdentity,
        bytes_per_file: u64,
    ) -> Result<(Self, RecoveredLog), LogStoreFault> {
        if !dir.is_dir() {
            return Err(LogStoreFault::Missing { dir: dir.display().to_string() });
        }
        Self::open_on(Arc::new(DirFiles::new(dir)), identity, bytes_per_file)
    }

    /// As [`LogStore::open`], on any disk. Full files are followed by new ones.
    pub fn open_on(
        files: Arc<dyn LogFiles>,
        identity: LogIdentity,
        bytes_per_file: u64,
    ) -> Result<(Self, RecoveredLog), LogStoreFault> {
        let (index, last) = recover::open(&*files, identity)?;
        Ok(Self::opened(files, &last, index, bytes_per_file))
    }

    fn opened(
        files: Arc<dyn LogFiles>,
        last: &Scanned,
        index: Index,
        bytes_per_file: u64,
    ) -> (Self, RecoveredLog) {
        let tail = Tail {
            number: last.number,
            bytes: last.end as u64,
            next_number: last.next_number(),
            is_old: last.header.version != record::VERSION,
        };
        let header = last.header.clone();
        let recovered = RecoveredLog {
            hard_state: index.hard_state.clone(),
            voters: header.voters.clone(),
            start: index.start,
            last_index: index.last_index(),
        };
        let shared = Shared {
            files,
            identity: header.identity,
            salt: header.salt,
            voters: header.voters,
            tail: Mutex::new(tail),
            index: Mutex::new(index),
            bytes_per_file,
        };
        (Self { shared: Arc::new(shared) }, recovered)
    }

    /// Writes tasks as one record; it is durable when this returns.
    ///
    /// One record, one checksum: a crash leaves all of these tasks or none, and a task that
    /// overwrites a conflicting suffix, or starts over, does so in the same stroke.
    ///
    /// # Errors
    /// The record may be on disk or not; the caller must not go on.
    pub fn write(&self, tasks: &[WriteTask]) -> io::Result<()> {
        let mut tail = guarded(&self.shared.tail);
        let resets = tasks.iter().any(|task| task.reset.is_some());
        if resets || tail.is_old || tail.bytes >= self.shared.bytes_per_file {
            self.begin_file(&mut tail)?;
        }
        let body = record::encode_tasks(tasks, tail.number);
        self.append(&mut tail, &body)?;
        if resets {
            // A crash here leaves files that the reset made needless: start-up removes them.
            self.remove_files(tail.number);
        }
        Ok(())
    }

    /// Lets go of the entries up to `position`: of memory at once, of whole files on disk.
    ///
    /// # Errors
    /// As [`LogStore::write`]. A file that could not be removed is no error: it is tried again.
    pub fn compact(&self, position: Position) -> io::Result<()> {
        let mut tail = guarded(&self.shared.tail);
        let (oldest, keep_from, after, hard_state) = {
            let mut index = guarded(&self.shared.index);
            index.trim(position);
            let oldest = index.files.first_key_value().map_or(tail.number, |(number, _)| *number);
            let next = index.place(index.start.index + 1).map(|place| place.file);
            (oldest, next.unwrap_or(tail.number), index.start, index.hard_state.clone())
        };
        if keep_from <= oldest {
            return Ok(());
        }
        if tail.is_old {
            self.begin_file(&mut tail)?;
        }
        let start = Start::Compacted { after, keep_from };
        self.append(&mut tail, &record::encode_compacted(&hard_state, start))?;
        // A crash here, or between two removals, leaves files that nobody needs: start-up goes on.
        self.remove_files(keep_from);
        Ok(())
    }

    /// How far the log may be compacted below a snapshot that ends here, if newest entries of this
    /// size are to be kept for followers that lag.
    pub fn compactable(&self, snapshot: Position, kept_bytes: u64) -> Position {
        guarded(&self.shared.index).position_before(kept_bytes).min(snapshot)
    }

    /// Where the log has this index: an entry that is kept, or the one it starts after.
    pub fn position(&self, index: u64) -> Option<Position> {
        guarded(&self.shared.index).position(index)
    }

    /// The group's voters when its log began.
    pub fn first_voters(&self) -> &[u64] {
        &self.shared.voters
    }

    /// Bytes of the log's files.
    pub fn bytes(&self) -> u64 {
        guarded(&self.shared.index).bytes()
    }

    /// One record, one flush.
    fn append(&self, tail: &mut Tail, body: &[u8]) -> io::Result<()> {
        let (name, offset) = (files::name(tail.number), tail.bytes);
        let framed = record::frame(tail.next_number, body, &self.shared.salt);
        self.shared.files.append(&name, &framed)?;
        // A crash here leaves an unfinished record nobody was told about: start-up cuts it away.
        self.shared.files.sync(&name)?;
        // A crash here leaves entries nobody was told about: start-up takes them for durable, which
        // they are, and the leader of the day keeps or replaces them.
        tail.bytes += framed.len() as u64;
        tail.next_number += 1;
        let written = record::decode_body(body, record::VERSION).expect("it was encoded above");
        let mut index = guarded(&self.shared.index);
        index.files.insert(tail.number, tail.bytes);
        let fits = index.take(written, body, offset);
        assert!(fits, "raft hands out entries without gaps");
        Ok(())
    }

    fn begin_file(&self, tail: &mut Tail) -> io::Result<()> {
        let shared = &self.shared;
        let header = FileHeader {
            version: record::VERSION,
            identity: shared.identity,
            salt: shared.salt,
            voters: shared.voters.clone(),
            keep_from: guarded(&shared.index).keep_from,
        };
        tail.number = tail.next_number;
        tail.bytes = files::make(&*shared.files, tail.number, &header)?;
        tail.next_number += 1;
        tail.is_old = false;
        guarded(&shared.index).files.insert(tail.number, tail.bytes);
        Ok(())
    }

    /// Removes the files below this number, oldest first.
    fn remove_files(&self, keep_from: u64) {
        let kept = guarded(&self.shared.index).files.split_off(&keep_from);
        let gone = std::mem::replace(&mut guarded(&self.shared.index).files, kept);
        files::remove(&*self.shared.files, gone.into_keys());
    }
}

impl LogSource for LogStore {
    fn fetch(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogUnreadable> {
        let places = guarded(&self.shared.index).places(low, high, bytes_max);
        let read = |(index, place): (u64, Place)| self.read(index, &place);
        let entries: io::Result<Vec<Entry>> = (low..).zip(places).map(read).collect();
        let cause = match entries {
            Ok(entries) if !entries.is_empty() => return Ok(entries),
            Ok(_) => "not there".to_owned(),
            Err(cause) => cause.to_string(),
        };
        // A file may have gone while it was read.
        let is_gone = low <= guarded(&self.shared.index).start.index;
        Err(LogUnreadable { low, high, cause, is_gone })
    }

    fn outline(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogUnreadable> {
        let places = guarded(&self.shared.index).places(low, high, u64::MAX);
        let outline = |(index, place): (u64, Place)| Entry {
            index,
            term: place.term,
            entry_type: place.kind(),
            ..Entry::default()
        };
        let entries: Vec<Entry> = (low..).zip(places).map(outline).collect();
        if entries.len() as u64 == high - low {
            return Ok(entries);
        }
        let is_gone = low <= guarded(&self.shared.index).start.index;
        Err(LogUnreadable { low, high, cause: "not there".to_owned(), is_gone })
    }
}

impl LogStore {
    fn read(&self, index: u64, place: &Place) -> io::Result<Entry> {
        let len = place.context_len + place.data_len;
        let bytes = self.shared.files.read_at(&files::name(place.file), place.offset, len)?;
        if crc32fast::hash(&bytes) != place.crc {
            return Err(io::Error::other(format!("bad checksum at byte {}", place.offset)));
        }
        let mut context = bytes::Bytes::from(bytes);
        let data = context.split_off(place.context_len);
        let (term, entry_type) = (place.term, place.kind());
        Ok(Entry { index, term, entry_type, data, context, ..Entry::default() })
    }
}

fn fault(files: &dyn LogFiles, name: &str, cause: &io::Error) -> LogStoreFault {
    // An io::Error cannot be cloned; its kind and text are what anybody needs of it.
    let cause = io::Error::new(cause.kind(), cause.to_string());
    LogStoreFault::Io { path: format!("{}/{name}", files.describe()), cause }
}

/// A poisoned lock means a thread panicked, and every thread of this room aborts on a panic.
fn guarded<T>(content: &Mutex<T>) -> MutexGuard<'_, T> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}
