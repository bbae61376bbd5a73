//! What the raft crate reads: the newest entries from memory, older ones from the log's source.
//!
//! Entries are readable here as soon as the driver hands them to the disk, before they are
//! durable; raft itself keeps the two apart. Entries not yet durable are never dropped from memory.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use super::conf_change;
use super::driver;
use super::membership::Membership;
use super::snapshot::{Position, SnapshotMeta};

/// Reads entries that are durable. Implemented by the log store, and by the simulator's disk.
pub trait LogSource {
    /// Entries of `low..high`, at least one, stopping before their bytes exceed `bytes_max`.
    /// The caller knows that all of them were written.
    fn fetch(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogUnreadable>;

    /// All entries of `low..high`, of which only index, term and kind are looked at. A source that
    /// knows those without reading leaves the rest empty.
    fn outline(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogUnreadable> {
        self.fetch(low, high, u64::MAX)
    }
}

/// The log's source could not give what it once took. Unless they are gone for a reason, the node
/// cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("log entries {low}..{high} cannot be read: {cause}")]
pub struct LogUnreadable {
    pub low: u64,
    pub high: u64,
    pub cause: String,
    /// The log begins later by now: they were compacted, or a snapshot took their place.
    pub is_gone: bool,
}

/// What a log held when it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecoveredLog {
    pub hard_state: HardState,
    /// The voters written when the log was made: the membership before its first entry.
    pub voters: Vec<u64>,
    /// Entries begin after this position; index 0: the log is whole from its first entry.
    pub start: Position,
    /// The start's index when the log holds no entries.
    pub last_index: u64,
}

/// The raft crate's view of one log.
pub(crate) struct RaftStorage<S> {
    source: S,
    /// As at the opening; raft asks for them once.
    hard_state: HardState,
    conf_state: ConfState,
    start: Position,
    tail: Tail,
    tail_bytes_max: usize,
    snapshot: Option<SnapshotMeta>,
    /// A peer needed a snapshot, and there was none that would do.
    wanted: Cell<bool>,
}

/// The newest entries, in memory. `entries[0]` has index `first`; below it only the source knows.
struct Tail {
    first: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl<S: LogSource> RaftStorage<S> {
    pub(crate) fn new(
        source: S,
        recovered: RecoveredLog,
        membership: &Membership,
        tail_bytes_max: usize,
    ) -> Self {
        let first = recovered.last_index + 1;
        Self {
            source,
            hard_state: recovered.hard_state,
            conf_state: conf_change::conf_state_of(membership),
            start: recovered.start,
            tail: Tail { first, entries: VecDeque::new(), bytes: 0 },
            tail_bytes_max,
            snapshot: None,
            wanted: Cell::new(false),
        }
    }

    /// Forgets everything: the next entry follows this position.
    pub(crate) fn start_after(&mut self, position: Position) {
        self.start = position;
        self.tail = Tail { first: position.index + 1, entries: VecDeque::new(), bytes: 0 };
    }

    /// Forgets what is not above this position, unless that was so already.
    pub(crate) fn compact(&mut self, position: Position) -> bool {
        let rises = position.index > self.start.index && position.index < self.end();
        if rises {
            self.start = position;
            while self.tail.first <= position.index && !self.tail.entries.is_empty() {
                self.tail.pop_front();
            }
            self.tail.first = self.tail.first.max(position.index + 1);
        }
        rises
    }

    /// Peers whose entries are gone get this one.
    pub(crate) fn offer(&mut self, meta: SnapshotMeta) {
        let newest = self.snapshot.as_ref().map_or(0, |newest| newest.position.index);
        if meta.position.index >= newest {
            self.snapshot = Some(meta);
        }
    }

    pub(crate) fn newest_snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    /// Whether a snapshot was missing since the last time this was asked.
    pub(crate) fn take_wanted(&mut self) -> bool {
        self.wanted.take()
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
        self.source.fetch(low, high, bytes_max).map_err(unreadable)
    }

    /// Without a bound raft looks for changes of the membership, before it asks for votes: it gets
    /// every entry, for it would take a part for the whole.
    fn outline(&self, low: u64, high: u64) -> raft::Result<Vec<Entry>> {
        let first = self.tail.first.clamp(low, high);
        let mut entries = Vec::new();
        if low < first {
            entries = self.source.outline(low, first).map_err(unreadable)?;
        }
        entries.extend(self.tail.range(first, high, u64::MAX));
        Ok(entries)
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
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.start.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        let Some(bytes_max) = max_size.into() else { return self.outline(low, high) };
        if low >= self.tail.first {
            return Ok(self.tail.range(low, high, bytes_max));
        }
        // What spans both is answered from the source alone; the caller asks again for the rest.
        self.fetch(low, high.min(self.tail.first), bytes_max)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.start.index {
            return Ok(self.start.term);
        }
        if index < self.start.index {
            return Err(Error::Store(StorageError::Compacted));
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
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.end() - 1)
    }

    /// For a peer whose next entries are gone. It must be a member in the snapshot already: raft
    /// leaves one alone that does not know it.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let fits = |meta: &&SnapshotMeta| {
            meta.position.index >= request_index.max(self.start.index)
                && meta.membership.contains(to)
        };
        match self.snapshot.as_ref().filter(fits) {
            Some(meta) => Ok(driver::to_raft(meta)),
            None => {
                self.wanted.set(true);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

fn unreadable(unreadable: LogUnreadable) -> Error {
    Error::Store(StorageError::Other(Box::new(unreadable)))
}

/// What an entry costs in memory, near enough.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one entry at a time.
    struct Numbers;

    impl LogSource for Numbers {
        fn fetch(&self, low: u64, _: u64, _: u64) -> Result<Vec<Entry>, LogUnreadable> {
            Ok(vec![entry(low)])
        }

        fn outline(&self, low: u64, high: u64) -> Result<Vec<Entry>, LogUnreadable> {
            Ok((low..high).map(entry).collect())
        }
    }

    fn entry(index: u64) -> Entry {
        Entry { index, term: 1, data: vec![0; 100].into(), ..Entry::default() }
    }

    /// Entries 4 to 10; those from 8 on in memory.
    fn storage() -> RaftStorage<Numbers> {
        let start = Position { index: 3, term: 1 };
        let recovered = RecoveredLog { start, last_index: 7, ..RecoveredLog::default() };
        let mut storage = RaftStorage::new(Numbers, recovered, &Membership::default(), 1_000);
        storage.append(&(8..11).map(entry).collect::<Vec<Entry>>());
        storage
    }

    fn indexes(storage: &RaftStorage<Numbers>, low: u64, high: u64, max: Option<u64>) -> Vec<u64> {
        let entries = storage.entries(low, high, max, GetEntriesContext::empty(false)).unwrap();
        entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn without_a_bound_every_entry_is_there_wherever_it_lies() {
        let storage = storage();
        assert_eq!(indexes(&storage, 5, 11, None), [5, 6, 7, 8, 9, 10]);
        assert_eq!(indexes(&storage, 9, 11, None), [9, 10]);
        assert_eq!(indexes(&storage, 4, 6, None), [4, 5]);
        assert_eq!(indexes(&storage, 8, 11, Some(0)), [8]);
    }

    #[test]
    fn a_log_begins_after_what_was_let_go() {
        let mut storage = storage();
        assert!(!storage.compact(Position { index: 3, term: 1 }), "it begins there already");
        assert!(storage.compact(Position { index: 8, term: 1 }));
        assert_eq!((storage.first_index(), storage.last_index()), (Ok(9), Ok(10)));
        assert_eq!((storage.term(8), storage.term(9)), (Ok(1), Ok(1)));
        let gone = Err(Error::Store(StorageError::Compacted));
        assert_eq!(storage.term(7), gone);
        storage.start_after(Position { index: 90, term: 4 });
        assert_eq!((storage.first_index(), storage.last_index()), (Ok(91), Ok(90)));
        assert_eq!(storage.term(90), Ok(4));
    }

    #[test]
    fn a_snapshot_is_offered_to_those_who_are_in_it() {
        let mut storage = storage();
        let meta = |index| SnapshotMeta {
            position: Position { index, term: 1 },
            membership: Membership::of_voters([1, 2]),
            descriptor: bytes::Bytes::new(),
        };
        let offered = |storage: &RaftStorage<Numbers>, to| {
            storage.snapshot(0, to).ok().map(|snapshot| snapshot.get_metadata().index)
        };
        assert_eq!((offered(&storage, 2), storage.take_wanted()), (None, true));
        storage.offer(meta(6));
        assert_eq!((offered(&storage, 2), storage.take_wanted()), (Some(6), false));
        assert_eq!((offered(&storage, 3), storage.take_wanted()), (None, true));
        storage.offer(meta(5));
        assert_eq!(offered(&storage, 2), Some(6), "an older one takes no newer one's place");
    }
}
