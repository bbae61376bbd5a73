//! How the cosigners changed: which leaf changed them, and the checkpoints that handed over.

use proofmark_evidence::limits::ORIGIN_BYTES_MAX;
use proofmark_evidence::{ByteReader, ByteWriter, Cosigners, KeyChangeKind, PublicKey};

use super::State;
use super::genesis::Genesis;
use super::row::Row;
use super::seals::{Pending, Seals};
use crate::command::{CodecFault, put_key, take_key};

/// One leaf that changed the cosigners. Its index is its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CosignerChange {
    node: String,
    /// Absent: it left.
    key: Option<PublicKey>,
}

/// A published checkpoint that the cosigners before and after a change both signed. Its size is its
/// key. Kept for ever: a replica that comes later writes it into its own evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver(pub(super) Pending);

impl State {
    /// The leaves that changed the cosigners, ascending.
    pub fn cosigner_changes(&self) -> Vec<u64> {
        self.seals.change_indices().collect()
    }

    /// Whose cosignatures the newest published checkpoint needed.
    pub fn published_cosigners(&self, log: &Genesis) -> Cosigners {
        self.seals.cosigners_at(log, self.seals.published_size())
    }

    /// How often the cosigners have handed over.
    pub fn hand_overs(&self) -> usize {
        self.seals.hand_overs.len()
    }
}

impl Seals {
    /// The leaf at `index` says so.
    pub(super) fn cosigners_change(&mut self, index: u64, change: &KeyChangeKind) {
        let row = match change {
            KeyChangeKind::NodeJoin { node, key } => {
                CosignerChange { node: node.clone(), key: Some(*key) }
            }
            KeyChangeKind::NodeLeave { node } => CosignerChange { node: node.clone(), key: None },
            _ => return,
        };
        self.changes.insert(index, row);
    }

    /// Whose cosignatures a checkpoint of `size` leaves needs.
    pub(super) fn cosigners_at(&self, genesis: &Genesis, size: u64) -> Cosigners {
        let mut set = Cosigners::of_genesis(&genesis.nodes);
        for (_, change) in self.changes.iter().take_while(|(index, _)| **index < size) {
            set.take(&change.kind()).expect("the state changes cosigners one by one");
        }
        set
    }

    pub(super) fn change_indices(&self) -> impl Iterator<Item = u64> {
        self.changes.iter().map(|(index, _)| *index)
    }
}

impl CosignerChange {
    fn kind(&self) -> KeyChangeKind {
        let node = self.node.clone();
        match self.key {
            Some(key) => KeyChangeKind::NodeJoin { node, key },
            None => KeyChangeKind::NodeLeave { node },
        }
    }
}

impl Row for CosignerChange {
    const TAG: u8 = b'k';
    type Key = u64;

    fn put(&self, out: &mut ByteWriter) {
        out.text(&self.node).bool(self.key.is_some());
        if let Some(key) = &self.key {
            put_key(out, key);
        }
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let node = input.text("node", ORIGIN_BYTES_MAX)?.to_owned();
        let key = match input.bool("joined")? {
            true => Some(take_key(input)?),
            false => None,
        };
        Ok(Self { node, key })
    }
}

impl Row for HandOver {
    const TAG: u8 = b'x';
    type Key = u64;

    fn put(&self, out: &mut ByteWriter) {
        self.0.put(out);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Pending::take(input).map(Self)
    }
}
