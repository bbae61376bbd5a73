//! What the world must do because a command was applied. The state itself does nothing.

use std::sync::Arc;

use proofmark_evidence::{Cosignature, Hash, Leaf, LeafKind};

use crate::command::Reply;

/// One consequence of one command, in order. A command has exactly one [`Effect::Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The log's next leaf, at `index`, with its payload blob (empty when it has none).
    Append { index: u64, leaf: NewLeaf, payload: Arc<[u8]> },
    /// The answer to whoever proposed the command.
    Reply(Reply),
    /// Compare the own tree at `size` with `root`, make it durable, cosign.
    Seal { size: u64, root: Hash },
    /// A majority has cosigned: publish. Cosignatures ascend by node name.
    Publish { size: u64, root: Hash, cosignatures: Vec<Cosignature> },
    /// As `Publish`, for the first checkpoint over a changed set of cosigners: those before and
    /// those after have signed, and from here on this policy holds.
    HandOver { size: u64, root: Hash, cosignatures: Vec<Cosignature>, policy: String },
}

/// A leaf as the state can know it: signatures of the log are made outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewLeaf {
    /// Signed by an agent; the bytes as they came.
    Signed(Leaf),
    /// To be sealed with the log's key. Ed25519 is deterministic: each replica makes equal bytes.
    ForLog { kind: LeafKind, header: Vec<u8> },
}
