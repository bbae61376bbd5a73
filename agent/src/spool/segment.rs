//! One file of the spool: a magic and records one after the other.

use std::path::{Path, PathBuf};

use super::record::Record;

/// The first bytes of every segment. The digit is the format's version.
pub(super) const MAGIC: &[u8; 8] = b"PMSPOOL1";
/// Where the first record starts.
pub(super) const START_BYTES: u64 = MAGIC.len() as u64;

const SUFFIX: &str = ".spool";

/// What is known of one segment file: its good length and where its records lie.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Bytes up to the end of the last good record.
    pub(super) len: u64,
    /// Ascending. About 32 bytes each, so a full spool of small batches costs some megabytes.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    epoch: u64,
    seq_first: u64,
    seq_end: u64,
    at: u64,
}

/// How a segment file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its last record.
    Whole,
    /// In the middle of what was the last write of the spool.
    Torn,
    /// With a bad record that cannot be a torn write.
    Damaged,
}

pub(super) fn is_name(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Reads a segment. `before` is the (epoch, seq_end) that the segment before it ended with.
pub(super) fn judge(
    path: PathBuf,
    bytes: &[u8],
    is_last: bool,
    before: Option<(u64, u64)>,
) -> (Segment, Ending) {
    let mut segment = Segment { path, len: 0, places: Vec::new() };
    if !bytes.starts_with(MAGIC) {
        let torn = is_last && MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]);
        return (segment, if torn { Ending::Torn } else { Ending::Damaged });
    }
    segment.len = START_BYTES;
    let mut rest = &bytes[MAGIC.len()..];
    while let Some((record, len)) = Record::decode(rest) {
        if !follows(&record, segment.end().or(before)) {
            return (segment, Ending::Damaged);
        }
        segment.note(&record, len);
        rest = &rest[len..];
    }
    let ending = match (rest.is_empty(), is_last && !holds_a_record(rest)) {
        (true, _) => Ending::Whole,
        (false, true) => Ending::Torn,
        (false, false) => Ending::Damaged,
    };
    (segment, ending)
}

/// Numbers go on without a hole; a new epoch starts again.
fn follows(record: &Record, before: Option<(u64, u64)>) -> bool {
    before.is_none_or(|(epoch, seq_end)| {
        record.epoch > epoch || (record.epoch == epoch && record.seq_first == seq_end)
    })
}

/// Whether a good record lies anywhere behind a bad one. A torn write has none behind it.
fn holds_a_record(bytes: &[u8]) -> bool {
    (1..bytes.len()).any(|at| Record::decode(&bytes[at..]).is_some())
}

impl Segment {
    /// A segment without records, named after the first it will hold.
    pub(super) fn starting_with(dir: &Path, record: &Record) -> Segment {
        let name = format!("{:010}-{:020}{SUFFIX}", record.epoch, record.seq_first);
        Segment { path: dir.join(name), len: START_BYTES, places: Vec::new() }
    }

    /// Takes note of a record of `len` bytes that lies at the end.
    pub(super) fn note(&mut self, record: &Record, len: usize) {
        let Record { epoch, seq_first, seq_end, .. } = *record;
        self.places.push(Place { epoch, seq_first, seq_end, at: self.len });
        self.len += len as u64;
    }

    /// The (epoch, seq_end) after the last record.
    pub(super) fn end(&self) -> Option<(u64, u64)> {
        self.places.last().map(|place| (place.epoch, place.seq_end))
    }

    /// The (epoch, seq_first) of the last record.
    pub(super) fn newest(&self) -> Option<(u64, u64)> {
        self.places.last().map(|place| (place.epoch, place.seq_first))
    }

    /// Path, offset and length of the last record.
    pub(super) fn find_newest(&self) -> Option<(PathBuf, u64, usize)> {
        let (epoch, seq) = self.newest()?;
        self.find(epoch, seq)
    }

    /// Whether every record was accepted once `seq_end` of `epoch` was.
    pub(super) fn is_before(&self, epoch: u64, seq_end: u64) -> bool {
        self.end().is_none_or(|end| end <= (epoch, seq_end))
    }

    /// Path, offset and length of the first record of `epoch` that ends after `seq`.
    pub(super) fn find(&self, epoch: u64, seq: u64) -> Option<(PathBuf, u64, usize)> {
        let index = self.index_of(epoch, seq)?;
        let at = self.places[index].at;
        let end = self.places.get(index + 1).map_or(self.len, |next| next.at);
        let len = usize::try_from(end - at).expect("a segment is a few megabytes");
        Some((self.path.clone(), at, len))
    }

    /// Forgets the record that holds `seq` and all after it; returns the length that is left.
    pub(super) fn forget_from(&mut self, epoch: u64, seq: u64) -> u64 {
        if let Some(index) = self.index_of(epoch, seq) {
            self.len = self.places[index].at;
            self.places.truncate(index);
        }
        self.len
    }

    fn index_of(&self, epoch: u64, seq: u64) -> Option<usize> {
        let index =
            self.places.partition_point(|place| (place.epoch, place.seq_end) <= (epoch, seq));
        self.places.get(index).filter(|place| place.epoch == epoch).map(|_| index)
    }
}
