//! Which log this is, and the leaves that the log itself signs.

use proofmark_evidence::limits::NODES_COUNT_MAX;
use proofmark_evidence::{
    BlobRef, ByteReader, ByteWriter, Decision, DecisionKind, Hash, KeyChange, KeyChangeKind, KeyId,
    LeafKind, Origin, PublicKey, SpecChange,
};

use super::effect::NewLeaf;
use super::row::Row;
use crate::command::{CodecFault, Command, NodeName, Refusal, put_genesis, take_genesis};

/// The log's identity, fixed for its life by its first leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    pub origin: Origin,
    pub log_key: PublicKey,
    /// Cosigner names and keys, ascending by name.
    pub nodes: Vec<(String, PublicKey)>,
    /// SHA-256 of the origin: named by every header of this log.
    pub log_id: Hash,
    pub log_key_id: KeyId,
}

impl Genesis {
    /// Checks what the first leaf's strict reader would refuse: 1 to 15 nodes, names ascending,
    /// no key twice.
    pub(super) fn new(
        origin: &Origin,
        log_key: &PublicKey,
        nodes: &[(String, PublicKey)],
    ) -> Result<Self, Refusal> {
        check_nodes(nodes)?;
        Ok(Self::of(origin.clone(), *log_key, nodes.to_vec()))
    }

    fn of(origin: Origin, log_key: PublicKey, nodes: Vec<(String, PublicKey)>) -> Self {
        let (log_id, log_key_id) = (origin.log_id(), log_key.key_id());
        Self { origin, log_key, nodes, log_id, log_key_id }
    }

    /// The name under which a replica cosigns.
    pub fn cosigner_name(&self, name: &NodeName) -> String {
        format!("{}/{name}", self.origin)
    }

    pub(super) fn first_leaf(&self, at_ms: u64) -> NewLeaf {
        let (origin, log_key) = (self.origin.clone(), self.log_key);
        self.key_change(
            at_ms,
            KeyChangeKind::Genesis { origin, log_key, nodes: self.nodes.clone() },
        )
    }

    pub(super) fn key_change(&self, at_ms: u64, change: KeyChangeKind) -> NewLeaf {
        let Self { log_id, log_key_id: key_id, .. } = *self;
        let header = KeyChange { log_id, key_id, at_ms, change };
        NewLeaf::ForLog { kind: LeafKind::KeyChange, header: header.encode() }
    }

    pub(super) fn decision(&self, at_ms: u64, kind: DecisionKind, payload: &[u8]) -> NewLeaf {
        let Self { log_id, log_key_id: key_id, .. } = *self;
        let header = Decision { log_id, key_id, at_ms, kind, payload: BlobRef::of(payload) };
        NewLeaf::ForLog { kind: LeafKind::Decision, header: header.encode() }
    }

    pub(super) fn spec_change(&self, change: SpecLeaf<'_>) -> NewLeaf {
        let header = SpecChange {
            log_id: self.log_id,
            key_id: self.log_key_id,
            revision: change.revision,
            received_at_ms: change.received_at_ms,
            effective_at_ms: change.effective_at_ms,
            author: change.author.to_owned(),
            payload: BlobRef::of(change.text.as_bytes()),
        };
        NewLeaf::ForLog { kind: LeafKind::SpecChange, header: header.encode() }
    }
}

/// What a spec change's leaf says beyond the log's identity.
pub(super) struct SpecLeaf<'a> {
    pub(super) revision: u64,
    pub(super) received_at_ms: u64,
    pub(super) effective_at_ms: u64,
    pub(super) author: &'a str,
    pub(super) text: &'a str,
}

fn check_nodes(nodes: &[(String, PublicKey)]) -> Result<(), Refusal> {
    let refused = |fault: String| Err(Refusal::GenesisMalformed { fault });
    if nodes.is_empty() || nodes.len() > NODES_COUNT_MAX {
        return refused(format!("{} nodes", nodes.len()));
    }
    if let Some((name, _)) = nodes.iter().find(|(name, _)| Origin::parse(name).is_err()) {
        return refused(format!("node name {name:?}"));
    }
    if !nodes.is_sorted_by(|(one, _), (next, _)| one < next) {
        return refused("node names that do not ascend".to_owned());
    }
    let mut keys: Vec<_> = nodes.iter().map(|(_, key)| key).collect();
    keys.sort_unstable();
    match keys.windows(2).any(|pair| pair[0] == pair[1]) {
        true => refused("two nodes with one key".to_owned()),
        false => Ok(()),
    }
}

impl Row for Genesis {
    const TAG: u8 = b'g';
    type Key = ();

    fn put(&self, out: &mut ByteWriter) {
        put_genesis(out, &self.origin, &self.log_key, &self.nodes);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let Command::Genesis { origin, log_key, nodes } = take_genesis(input)? else {
            unreachable!("take_genesis reads a genesis or fails");
        };
        Ok(Self::of(origin, log_key, nodes))
    }
}
