//! What a replica applies: the real state, and the leaves it would write.

use std::collections::BTreeSet;

use proofmark_aggregator::command::{Command, Entry, Reply};
use proofmark_aggregator::state::{Effect, NewLeaf, State};
use proofmark_evidence::{Hash, Leaf, sha256, sha256_parts};

use super::Planted;

/// The state of one replica, and the evidence that came out of it.
#[derive(Clone)]
pub(super) struct Machine {
    state: State,
    /// Hash of everything that was ever answered or appended: equal histories, equal chains.
    chain: Hash,
    signed_leaves: BTreeSet<Hash>,
    planted: Option<Planted>,
}

impl Machine {
    pub(super) fn new(planted: Option<Planted>) -> Self {
        Self { state: State::new(), chain: Hash::ZERO, signed_leaves: BTreeSet::new(), planted }
    }

    pub(super) fn applied(&self) -> u64 {
        self.state.applied()
    }

    pub(super) fn chain(&self) -> Hash {
        self.chain
    }

    pub(super) fn state_hash(&self) -> Hash {
        sha256(&self.state.encode())
    }

    /// Whether the batch with this leaf hash is evidence.
    pub(super) fn holds(&self, leaf: &Hash) -> bool {
        self.signed_leaves.contains(leaf)
    }

    /// Applies one entry; says what is wrong if the evidence would hold a batch twice.
    pub(super) fn apply(&mut self, index: u64, data: &[u8]) -> Result<Vec<Reply>, String> {
        let mut replies = Vec::new();
        if !data.is_empty() {
            let entry = Entry::decode(data).map_err(|fault| format!("entry {index}: {fault}"))?;
            for command in &entry.commands {
                for effect in self.state.apply(index, entry.stamped_at_ms, command) {
                    replies.extend(self.take(command, effect)?);
                }
            }
        }
        self.state.finish_entry(index);
        self.mix(&index.to_be_bytes());
        Ok(replies)
    }

    fn take(&mut self, command: &Command, effect: Effect) -> Result<Option<Reply>, String> {
        match effect {
            Effect::Append { leaf: NewLeaf::Signed(leaf), .. } => self.append(&leaf)?,
            Effect::Append { leaf: NewLeaf::ForLog { header, .. }, .. } => self.mix(&header),
            Effect::Reply(reply) => {
                self.mix(&reply.encode());
                self.forget_dedupe(command, &reply)?;
                return Ok(Some(reply));
            }
            Effect::Seal { .. } | Effect::Publish { .. } => {}
        }
        Ok(None)
    }

    fn append(&mut self, leaf: &Leaf) -> Result<(), String> {
        self.mix(leaf.bytes());
        match self.signed_leaves.insert(leaf.hash()) {
            true => Ok(()),
            false => Err(format!("batch {} counted twice", leaf.hash())),
        }
    }

    /// The planted machine takes a batch it has seen as if it were new.
    fn forget_dedupe(&mut self, command: &Command, reply: &Reply) -> Result<(), String> {
        match (self.planted, command, reply) {
            (Some(Planted::NoDedupe), Command::Admit { leaf, .. }, Reply::Duplicate { .. }) => {
                self.append(leaf)
            }
            _ => Ok(()),
        }
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.chain = sha256_parts(&[&self.chain.0, bytes]);
    }
}
