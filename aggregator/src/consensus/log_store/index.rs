//! Where each entry lies, in memory.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::{EntryType, HardState};

use super::super::snapshot::Position;
use super::record::{BODY_OFFSET, Start, Written};

/// The entries of a log from the first one kept.
#[derive(Default)]
pub(super) struct Index {
    /// Bytes of each file, by number.
    pub(super) files: BTreeMap<u64, u64>,
    pub(super) hard_state: HardState,
    pub(super) start: Position,
    /// The lowest number that a file of the log has; those below may go.
    pub(super) keep_from: u64,
    /// The number that the next file must have while they are replayed.
    pub(super) next_number: Option<u64>,
    /// The index of the first place. `None`: the log begins somewhere in its first file.
    first: Option<u64>,
    places: VecDeque<Place>,
}

#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) term: u64,
    /// The number of its file.
    pub(super) file: u64,
    /// In the file: its context, then its data.
    pub(super) offset: u64,
    pub(super) context_len: usize,
    pub(super) data_len: usize,
    pub(super) is_change: bool,
    /// Of context and data alone: bits can rot after the record was checked at start-up.
    pub(super) crc: u32,
}

impl Place {
    pub(super) fn kind(&self) -> EntryType {
        match self.is_change {
            true => EntryType::EntryConfChangeV2,
            false => EntryType::EntryNormal,
        }
    }
}

impl Index {
    /// An index of a log whose first file has this number.
    pub(super) fn new(first_file: u64) -> Self {
        let first = (first_file == 1).then_some(1);
        Self { keep_from: first_file, first, ..Self::default() }
    }

    /// A record of the newest file, at this offset. `false`: entries before it are missing.
    #[must_use]
    pub(super) fn take(&mut self, written: Written, body: &[u8], offset: u64) -> bool {
        if let Some(hard_state) = written.hard_state {
            self.hard_state = hard_state;
        }
        match written.start {
            Some(Start::Reset { after, keep_from }) => {
                self.places.clear();
                (self.first, self.start, self.keep_from) = (None, after, keep_from);
                self.first = Some(after.index + 1);
            }
            Some(Start::Compacted { after, keep_from }) => {
                self.keep_from = keep_from;
                self.trim(after);
            }
            None => {}
        }
        if written.entries.is_empty() {
            return true;
        }
        if !self.truncate(written.first_index) {
            return false;
        }
        let file = *self.files.last_key_value().expect("records lie in files").0;
        for entry in written.entries {
            let bytes = &body[entry.offset..entry.offset + entry.context_len + entry.data_len];
            self.places.push_back(Place {
                term: entry.term,
                file,
                offset: offset + (BODY_OFFSET + entry.offset) as u64,
                context_len: entry.context_len,
                data_len: entry.data_len,
                is_change: entry.is_change,
                crc: crc32fast::hash(bytes),
            });
        }
        true
    }

    /// Forgets everything up to this position.
    pub(super) fn trim(&mut self, after: Position) {
        if after.index <= self.start.index {
            return;
        }
        self.start = after;
        while self.first.is_some_and(|first| first <= after.index) {
            if self.places.pop_front().is_none() {
                self.first = Some(after.index + 1);
                break;
            }
            self.first = self.first.map(|first| first + 1);
        }
    }

    /// Forgets `from` and everything after it, or says that something before it is missing.
    fn truncate(&mut self, from: u64) -> bool {
        let Some(first) = self.first else {
            self.first = Some(from);
            return from > 0;
        };
        if from <= self.start.index || from > first + self.places.len() as u64 {
            return false;
        }
        if from < first {
            // The files before held what comes between; it is below the start, or replaced later.
            self.places.clear();
            self.first = Some(from);
        } else {
            self.places.truncate(position(from - first));
        }
        true
    }

    /// Whether the first entry follows the start. After the last record it must.
    pub(super) fn is_whole(&mut self) -> bool {
        let next = self.start.index + 1;
        let first = *self.first.get_or_insert(next);
        if first < next {
            let start = std::mem::take(&mut self.start);
            self.trim(start);
        }
        self.first == Some(next)
    }

    pub(super) fn last_index(&self) -> u64 {
        self.start.index + self.places.len() as u64
    }

    /// The place of an entry that is kept.
    pub(super) fn place(&self, index: u64) -> Option<&Place> {
        self.places.get(position(index.checked_sub(self.start.index + 1)?))
    }

    /// Where the entries of `low..high` lie, at least one, within `bytes_max`.
    pub(super) fn places(&self, low: u64, high: u64, bytes_max: u64) -> Vec<Place> {
        let mut bytes = 0;
        let within = (low..high).map_while(|index| self.place(index)).take_while(|place| {
            let is_first = bytes == 0;
            bytes += 1 + (place.context_len + place.data_len) as u64;
            is_first || bytes <= bytes_max
        });
        within.copied().collect()
    }

    /// The entry here, or where the log starts.
    pub(super) fn position(&self, index: u64) -> Option<Position> {
        match self.place(index) {
            Some(place) => Some(Position { index, term: place.term }),
            None => (index == self.start.index).then_some(self.start),
        }
    }

    /// The newest position after which there are entries of at least this size, or the start.
    pub(super) fn position_before(&self, bytes: u64) -> Position {
        let mut sum = 0;
        let mut index = self.last_index();
        for place in self.places.iter().rev() {
            if sum >= bytes {
                break;
            }
            sum += (place.context_len + place.data_len) as u64;
            index -= 1;
        }
        self.position(index).unwrap_or(self.start)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }
}

fn position(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
