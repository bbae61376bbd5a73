//! The Raft log on disk: crate `raft-engine`, one checksummed record and one flush a group commit.
//!
//! Who trusts it: this replica alone, and entirely. What it confirmed to its peers must be here
//! after any crash; a log that is damaged anywhere but in its unfinished tail does not open, and
//! the node is rebuilt under a new id. Nothing is ever purged in this version.

use std::path::Path;
use std::sync::Arc;

use raft::eraftpb::{ConfState, Entry, HardState};
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::driver::WriteTask;
use super::storage::{LogSource, LogUnreadable, Recovered};
use crate::limits::LOG_FILE_BYTES;

/// The only group in this log.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard_state";
const VOTERS: &[u8] = b"voters";
/// Which log this is (32 bytes) and whose (8 bytes, big endian).
const IDENTITY: &[u8] = b"identity";

/// An open Raft log. Clones share it: the log thread writes, the raft and apply threads read.
#[derive(Clone)]
pub struct LogStore {
    engine: Arc<Engine>,
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
    #[error("{dir}: no raft log here; `aggregator init` makes one, once")]
    Missing { dir: String },
    #[error("{dir}: there is a raft log here already; it belongs to node {node_id}")]
    Exists { dir: String, node_id: u64 },
    #[error("{dir}: the raft log of another cluster or node: expected {expected:?}, got {got:?}")]
    Identity { dir: String, expected: LogIdentity, got: LogIdentity },
    #[error("{dir}: raft log: {cause}")]
    Engine { dir: String, cause: String },
    /// raft-engine gave back something this program did not write.
    #[error("{dir}: raft log: {what} cannot be read")]
    Damaged { dir: String, what: &'static str },
}

impl LogStore {
    /// Makes the log of a new replica. The voters are written here and never change.
    pub fn create(dir: &Path, identity: LogIdentity, voters: &[u64]) -> Result<(), LogStoreFault> {
        let store = Self::open_engine(dir)?;
        if let Some(found) = store.identity(dir)? {
            let (dir, node_id) = (dir.display().to_string(), found.node_id);
            return Err(LogStoreFault::Exists { dir, node_id });
        }
        let conf_state = ConfState { voters: voters.to_vec(), ..ConfState::default() };
        let mut batch = LogBatch::default();
        batch
            .put(GROUP, IDENTITY.to_vec(), identity.to_bytes())
            .and_then(|()| batch.put_message(GROUP, VOTERS.to_vec(), &conf_state))
            .and_then(|()| store.engine.write(&mut batch, true))
            .map_err(|cause| engine_fault(dir, &cause))?;
        // A crash above leaves a directory without an identity: `create` makes it again.
        Ok(())
    }

    /// Opens a log made by [`LogStore::create`], whatever a crash left in its tail.
    pub fn open(dir: &Path, identity: LogIdentity) -> Result<(Self, Recovered), LogStoreFault> {
        if !dir.is_dir() {
            return Err(LogStoreFault::Missing { dir: dir.display().to_string() });
        }
        let store = Self::open_engine(dir)?;
        match store.identity(dir)? {
            Some(got) if got == identity => {}
            Some(got) => {
                let (dir, expected) = (dir.display().to_string(), identity);
                return Err(LogStoreFault::Identity { dir, expected, got });
            }
            None => return Err(LogStoreFault::Missing { dir: dir.display().to_string() }),
        }
        let recovered = store.recovered(dir)?;
        Ok((store, recovered))
    }

    fn open_engine(dir: &Path) -> Result<Self, LogStoreFault> {
        let engine = Engine::open(config(dir)).map_err(|cause| engine_fault(dir, &cause))?;
        Ok(Self { engine: Arc::new(engine) })
    }

    fn identity(&self, dir: &Path) -> Result<Option<LogIdentity>, LogStoreFault> {
        let Some(bytes) = self.engine.get(GROUP, IDENTITY) else { return Ok(None) };
        LogIdentity::from_bytes(&bytes).map(Some).ok_or_else(|| damaged(dir, "identity"))
    }

    fn recovered(&self, dir: &Path) -> Result<Recovered, LogStoreFault> {
        let voters: ConfState = self
            .engine
            .get_message(GROUP, VOTERS)
            .map_err(|cause| engine_fault(dir, &cause))?
            .ok_or_else(|| damaged(dir, "voters"))?;
        let hard_state: HardState = self
            .engine
            .get_message(GROUP, HARD_STATE)
            .map_err(|cause| engine_fault(dir, &cause))?
            .unwrap_or_default();
        let last_index = self.engine.last_index(GROUP).unwrap_or(0);
        if last_index > 0 && self.engine.first_index(GROUP) != Some(1) {
            return Err(damaged(dir, "the beginning"));
        }
        Ok(Recovered { hard_state, voters: voters.voters, last_index })
    }

    /// Writes tasks as one record; it is durable when this returns.
    ///
    /// One record, one checksum: a crash leaves all of these tasks or none, and a task that
    /// overwrites a conflicting suffix does so in the same stroke.
    ///
    /// # Errors
    /// The record may be on disk or not; the caller must not go on.
    pub fn write(&self, tasks: &[WriteTask]) -> raft_engine::Result<()> {
        let mut batch = LogBatch::default();
        for task in tasks {
            batch.add_entries::<OwnEntry>(GROUP, &task.entries)?;
            if let Some(hard_state) = &task.hard_state {
                batch.put_message(GROUP, HARD_STATE.to_vec(), hard_state)?;
            }
        }
        self.engine.write(&mut batch, true)?;
        // A crash here leaves entries nobody was told about: start-up takes them for durable,
        // which they are, and the leader of the day keeps or replaces them.
        Ok(())
    }

    /// Bytes of the log's files.
    pub fn bytes(&self) -> u64 {
        self.engine.get_used_size() as u64
    }
}

impl LogSource for LogStore {
    fn fetch(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogUnreadable> {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let mut entries = Vec::new();
        self.engine
            .fetch_entries_to::<OwnEntry>(GROUP, low, high, Some(bytes_max), &mut entries)
            .map_err(|cause| LogUnreadable { low, high, cause: cause.to_string() })?;
        if entries.first().map(|entry| entry.index) != Some(low) {
            return Err(LogUnreadable { low, high, cause: "not there".to_owned() });
        }
        Ok(entries)
    }
}

impl LogIdentity {
    fn to_bytes(self) -> Vec<u8> {
        [self.log_id.as_slice(), &self.node_id.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (log_id, node_id) = bytes.split_first_chunk::<32>()?;
        let node_id = u64::from_be_bytes(node_id.try_into().ok()?);
        Some(Self { log_id: *log_id, node_id })
    }
}

/// How raft-engine finds the index in an entry. It parses our own disk bytes, never a peer's.
struct OwnEntry;

impl MessageExt for OwnEntry {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

fn config(dir: &Path) -> Config {
    Config {
        dir: dir.display().to_string(),
        // A torn tail was never confirmed to anybody; damage elsewhere must not be skipped.
        recovery_mode: RecoveryMode::TolerateTailCorruption,
        // Payloads are dense already: compressing costs CPU and saves nothing.
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(LOG_FILE_BYTES),
        // Two cores.
        recovery_threads: 2,
        ..Config::default()
    }
}

fn engine_fault(dir: &Path, cause: &raft_engine::Error) -> LogStoreFault {
    LogStoreFault::Engine { dir: dir.display().to_string(), cause: cause.to_string() }
}

fn damaged(dir: &Path, what: &'static str) -> LogStoreFault {
    LogStoreFault::Damaged { dir: dir.display().to_string(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY_A: LogIdentity = LogIdentity { log_id: [7; 32], node_id: 1 };

    fn entries(range: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
        let data = |index| format!("entry {index} of term {term}").into_bytes().into();
        range.map(|index| Entry { index, term, data: data(index), ..Entry::default() }).collect()
    }

    fn task(number: u64, entries: Vec<Entry>, hard_state: Option<(u64, u64, u64)>) -> WriteTask {
        let hard_state = hard_state
            .map(|(term, vote, commit)| HardState { term, vote, commit, ..HardState::default() });
        WriteTask { number, entries, hard_state, must_sync: true }
    }

    fn fresh() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        LogStore::create(dir.path(), IDENTITY_A, &[1, 2, 3]).unwrap();
        dir
    }

    #[test]
    fn a_new_log_holds_its_voters_and_nothing_else() {
        let dir = fresh();
        let (_, recovered) = LogStore::open(dir.path(), IDENTITY_A).unwrap();
        assert_eq!(recovered, Recovered { voters: vec![1, 2, 3], ..Recovered::default() });
    }

    #[test]
    fn what_was_written_is_there_after_reopening() {
        let dir = fresh();
        {
            let (store, _) = LogStore::open(dir.path(), IDENTITY_A).unwrap();
            let first = task(1, entries(1..4, 1), Some((1, 2, 0)));
            let second = task(2, entries(4..6, 1), Some((1, 2, 3)));
            store.write(&[first, second]).unwrap();
        }
        let (store, recovered) = LogStore::open(dir.path(), IDENTITY_A).unwrap();
        assert_eq!(recovered.last_index, 5);
        assert_eq!((recovered.hard_state.vote, recovered.hard_state.commit), (2, 3));
        assert_eq!(store.fetch(1, 6, u64::MAX).unwrap(), entries(1..6, 1));
    }

    #[test]
    fn a_conflicting_suffix_is_replaced_and_stays_replaced() {
        let dir = fresh();
        {
            let (store, _) = LogStore::open(dir.path(), IDENTITY_A).unwrap();
            store.write(&[task(1, entries(1..9, 1), None)]).unwrap();
            store.write(&[task(2, entries(4..6, 2), None)]).unwrap();
            assert_eq!(store.fetch(4, 6, u64::MAX).unwrap(), entries(4..6, 2));
        }
        let (store, recovered) = LogStore::open(dir.path(), IDENTITY_A).unwrap();
        assert_eq!(recovered.last_index, 5);
        let kept = [entries(1..4, 1), entries(4..6, 2)].concat();
        assert_eq!(store.fetch(1, 6, u64::MAX).unwrap(), kept);
        assert!(store.fetch(6, 7, u64::MAX).is_err(), "the old suffix is gone");
    }

    #[test]
    fn a_fetch_stops_at_its_byte_bound_but_gives_at_least_one_entry() {
        let dir = fresh();
        let (store, _) = LogStore::open(dir.path(), IDENTITY_A).unwrap();
        store.write(&[task(1, entries(1..9, 1), None)]).unwrap();
        assert_eq!(store.fetch(3, 9, 0).unwrap(), entries(3..4, 1));
        assert!(store.fetch(1, 9, 60).unwrap().len() < 8);
    }

    #[test]
    fn the_wrong_directory_is_refused_by_name() {
        let dir = fresh();
        let other = LogIdentity { node_id: 2, ..IDENTITY_A };
        let refused = LogStore::open(dir.path(), other).map(|_| ()).unwrap_err();
        assert!(matches!(refused, LogStoreFault::Identity { .. }), "{refused}");
        let refused = LogStore::create(dir.path(), other, &[1]).unwrap_err();
        assert!(matches!(refused, LogStoreFault::Exists { node_id: 1, .. }), "{refused}");
        let empty = dir.path().join("nothing");
        let refused = LogStore::open(&empty, IDENTITY_A).map(|_| ()).unwrap_err();
        assert!(matches!(refused, LogStoreFault::Missing { .. }), "{refused}");
    }

    #[test]
    fn a_torn_tail_is_forgotten_and_what_was_before_it_stays() {
        let dir = fresh();
        {
            let (store, _) = LogStore::open(dir.path(), IDENTITY_A).unwrap();
            store.write(&[task(1, entries(1..4, 1), Some((1, 1, 0)))]).unwrap();
            store.write(&[task(2, entries(4..5, 1), Some((2, 1, 0)))]).unwrap();
        }
        tear_last_record(dir.path());
        let (store, recovered) = LogStore::open(dir.path(), IDENTITY_A).unwrap();
        assert_eq!((recovered.last_index, recovered.hard_state.term), (3, 1));
        assert_eq!(store.fetch(1, 4, u64::MAX).unwrap(), entries(1..4, 1));
    }

    /// Zeroes the last bytes written, as a power cut in mid-write would leave them.
    fn tear_last_record(dir: &Path) {
        let file = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "raftlog"))
            .max()
            .unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end - 8..=end].fill(0);
        std::fs::write(&file, bytes).unwrap();
    }
}
