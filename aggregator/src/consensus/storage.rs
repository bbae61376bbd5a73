//! What the raft crate reads: the newest entries from memory, older ones from the log's source.
//!
//! Entries are readable here as soon as the driver hands them to the disk, before they are
//! durable; raft itself keeps the two apart. Entries not yet durable are never dropped from memory.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

/// Reads entries that are durable. Implemented by the log store, and by the simulator's disk.
pub trait LogSource {
    /// Entries of `low..high`, at least one, stopping before their bytes exceed `bytes_max`.
    /// The caller knows that all of them were written.
    fn fetch(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogUnreadable>;
}

/// The log's source could not give what it once took. The node cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("log entries {low}..{high} cannot be read: {cause}")]
pub struct LogUnreadable {
    pub low: u64,
    pub high: u64,
    pub cause: String,
}

/// What a log held when it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecoveredLog {
    pub hard_state: HardState,
    /// The voters written when the log was made; they never change.
    pub voters: Vec<u64>,
    /// 0 when the log is empty. Entries begin at 1: the log is never compacted.
    pub last_index: u64,
}

/// The raft crate's view of one log.
pub(crate) struct RaftStorage<S> {
    source: S,
    recovered: RecoveredLog,
    tail: Tail,
    tail_bytes_max: usize,
}

/// The newest entries, in memory. `entries[0]` has index `first`; below it only the source knows.
struct Tail {
    first: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl<S: LogSource> RaftStorage<S> {
    pub(crate) fn new(source: S, recovered: RecoveredLog, tail_bytes_max: usize) -> Self {
        let first = recovered.last_index + 1;
        let tail = Tail { first, entries: VecDeque::new(), bytes: 0 };
        Self { source, recovered, tail, tail_bytes_max }
    }

    /// Takes entries that replace everything from the first one's index on.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.tail.truncate(first.index);
        for entry in entries {
            self.tail.push(entry.clone());
        }
    }

    /// Frees memory: entries below `durable_end` (exclusive) can be read from the source.
    pub(crate) fn evict(&mut self, durable_end: u64) {
        while self.tail.bytes > self.tail_bytes_max && self.tail.first < durable_end {
            self.tail.pop_front();
        }
    }

    fn end(&self) -> u64 {
        self.tail.first + self.tail.entries.len() as u64
    }

    fn fetch(&self, low: u64, high: u64, bytes_max: u64) -> raft::Result<Vec<Entry>> {
        self.source
            .fetch(low, high, bytes_max)
            .map_err(|unreadable| Error::Store(StorageError::Other(Box::new(unreadable))))
    }
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry_bytes(&entry);
            self.first += 1;
        }
    }

    /// Forgets `from` and everything after it.
    fn truncate(&mut self, from: u64) {
        while self.first + self.entries.len() as u64 > from {
            match self.entries.pop_back() {
                Some(entry) => self.bytes -= entry_bytes(&entry),
                // The conflict reaches below what is in memory: start over at `from`.
                None => self.first = from,
            }
        }
    }

    fn get(&self, index: u64) -> Option<&Entry> {
        let position = index.checked_sub(self.first)?;
        self.entries.get(usize::try_from(position).ok()?)
    }

    /// Entries of `low..high`, at least one, within `bytes_max`. `low` is in memory.
    fn range(&self, low: u64, high: u64, bytes_max: u64) -> Vec<Entry> {
        let mut bytes = 0;
        (low..high)
            .map_while(|index| self.get(index))
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += entry_bytes(entry) as u64;
                first || bytes <= bytes_max
            })
            .cloned()
            .collect()
    }
}

impl<S: LogSource> Storage for RaftStorage<S> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let conf_state = ConfState { voters: self.recovered.voters.clone(), ..Default::default() };
        Ok(RaftState::new(self.recovered.hard_state.clone(), conf_state))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        if low >= self.tail.first {
            return Ok(self.tail.range(low, high, bytes_max));
        }
        // What spans both is answered from the source alone; the caller asks again for the rest.
        self.fetch(low, high.min(self.tail.first), bytes_max)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == 0 {
            return Ok(0);
        }
        if let Some(entry) = self.tail.get(index) {
            return Ok(entry.term);
        }
        if index >= self.tail.first {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let entries = self.fetch(index, index + 1, 0)?;
        entries.first().map(|e| e.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.end() - 1)
    }

    /// Never asked while the log is whole; it is whole for ever in this version.
    fn snapshot(&self, _: u64, _: u64) -> raft::Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

/// What an entry costs in memory, near enough.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + 64
}
