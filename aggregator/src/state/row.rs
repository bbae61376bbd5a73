//! How parts of the state become rows: a key that sorts, a versioned value, and what changed.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{AgentName, ByteReader, ByteWriter, DecodeFault};
use proofmark_slo::RowChange;

use crate::command::{CodecFault, take_version};

/// The version of the encoding of every row. Other versions are refused: the tables are rebuilt.
const ROW_VERSION: u8 = 1;

/// Which rows to write out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Changed,
}

/// A kind of row. The tag is the first byte of its keys.
pub(super) trait Row: Sized {
    const TAG: u8;
    type Key: RowKey;

    fn put(&self, out: &mut ByteWriter);
    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault>;
}

/// What identifies a row among its kind. Its bytes sort as it does.
pub(super) trait RowKey: Ord + Clone {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecFault>;
}

/// All rows of one kind, in memory, with the keys that changed since the last save.
#[derive(Clone, Debug)]
pub(super) struct Table<R: Row> {
    rows: BTreeMap<R::Key, R>,
    changed: BTreeSet<R::Key>,
}

impl<R: Row> Table<R> {
    pub(super) fn new() -> Self {
        Self { rows: BTreeMap::new(), changed: BTreeSet::new() }
    }

    pub(super) fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key)
    }

    /// The row to be changed: it counts as changed from here on.
    pub(super) fn change(&mut self, key: &R::Key) -> Option<&mut R> {
        let row = self.rows.get_mut(key)?;
        self.changed.insert(key.clone());
        Some(row)
    }

    pub(super) fn insert(&mut self, key: R::Key, row: R) {
        self.changed.insert(key.clone());
        self.rows.insert(key, row);
    }

    /// Drops the rows that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(&R::Key, &R) -> bool) {
        let changed = &mut self.changed;
        self.rows.retain(|key, row| {
            let kept = keep(key, row);
            if !kept {
                changed.insert(key.clone());
            }
            kept
        });
    }

    pub(super) fn remove_first(&mut self) {
        if let Some((key, _)) = self.rows.pop_first() {
            self.changed.insert(key);
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&R::Key, &R)> {
        self.rows.iter()
    }

    pub(super) fn last(&self) -> Option<(&R::Key, &R)> {
        self.rows.last_key_value()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Appends the rows' encodings; a removed row as `None`.
    pub(super) fn write_rows(&self, which: Which, out: &mut Vec<RowChange>) {
        match which {
            Which::All => out.extend(self.rows.keys().map(|key| self.encode(key))),
            Which::Changed => out.extend(self.changed.iter().map(|key| self.encode(key))),
        }
    }

    /// The changes so far are saved by the caller.
    pub(super) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    fn encode(&self, key: &R::Key) -> RowChange {
        let key_bytes = [&[R::TAG], &key.to_bytes()[..]].concat();
        (key_bytes, self.rows.get(key).map(encode_value))
    }

    /// Takes one saved row. `key` is without its tag.
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecFault> {
        self.rows.insert(R::Key::from_bytes(key)?, decode_value(value)?);
        Ok(())
    }
}

pub(super) fn encode_value<R: Row>(row: &R) -> Vec<u8> {
    let mut out = ByteWriter::new();
    out.u8(ROW_VERSION);
    row.put(&mut out);
    out.into_bytes()
}

pub(super) fn decode_value<R: Row>(value: &[u8]) -> Result<R, CodecFault> {
    let mut input = ByteReader::new(value);
    take_version(&mut input, ROW_VERSION)?;
    let row = R::take(&mut input)?;
    input.finish("row")?;
    Ok(row)
}

/// The one row of a kind that has only one.
impl RowKey for () {
    fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecFault> {
        fixed_key::<0>(bytes).map(|_| ())
    }
}

impl RowKey for u64 {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecFault> {
        fixed_key(bytes).map(u64::from_be_bytes)
    }
}

impl RowKey for [u8; 16] {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecFault> {
        fixed_key(bytes)
    }
}

impl RowKey for AgentName {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecFault> {
        let what = "row key";
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeFault::NotText { what })?;
        Ok(AgentName::parse(text).map_err(|fault| DecodeFault::Name { what, fault })?)
    }
}

fn fixed_key<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CodecFault> {
    let mut input = ByteReader::new(bytes);
    let key = input.fixed("row key")?;
    input.finish("row key")?;
    Ok(key)
}
