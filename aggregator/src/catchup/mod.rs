//! Catching up: a replica for which the leader has no log any more fetches the state and the
//! evidence from its peers, and proves both before it believes anything.
//!
//! In: a leader's offer of a snapshot, pieces that peers sent. Out: a whole snapshot in the store,
//! leaves in the own evidence that lead to a root which a quorum has cosigned, and only then the
//! word that the snapshot may be installed. Every piece is judged alone, so that it is known who
//! sent a wrong one. What is on disk stays there over a restart of either side and is not fetched
//! again.
//!
//! [`machine`] decides and has no world: no clock, thread, socket; its disk is the snapshots' seam.
//! [`shell`] gives it a thread. [`serve`] is the other side: pieces for those who ask.
//!
//! This room knows no RPC and no Raft, and never asks faster than its peers allow.

mod bucket;
mod chunks;
mod leaves;
mod machine;
mod peers;
mod serve;
mod shell;
mod stream;
mod vouch;

use bytes::Bytes;
use proofmark_evidence::{Hash, Leaf, LogFile, Policy, Transition};

use crate::snapshot::Descriptor;

pub use bucket::TokenBucket;
pub use machine::CatchUp;
pub use serve::{Shelf, Unavailable};
pub use shell::{Answer, CatchUpThread, Cluster, RecorderEvidence};

/// What can be asked of a peer. Each is answered with one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The published checkpoint.
    Checkpoint,
    /// How the cosigners changed: bytes of the file `transitions` from `at` on; none without one.
    Transitions {
        at: u64,
    },
    /// Everything before the first chunk of the snapshot at this index.
    SnapshotHead {
        index: u64,
    },
    SnapshotChunk {
        index: u64,
        number: u32,
    },
    /// Bytes of a file of the evidence from `at` on. Of a narrow file that has become wider, the
    /// wider one: it begins with the same.
    LogPiece {
        file: LogFile,
        at: u64,
    },
}

/// What a peer sent. Nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// At most `SNAPSHOT_CHUNK_BYTES`.
    pub bytes: Bytes,
    /// Bytes of the whole thing of which this is a piece.
    pub total: u64,
}

/// Why there is no piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The peer does not have it, or not yet, or not any more.
    Gone,
    /// The peer serves as many as it may.
    Busy,
    /// No answer came.
    Lost,
}

/// A leader says: the log you need is gone, here is what stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Who has it.
    pub from: u64,
    pub descriptor: Descriptor,
}

/// What happens to a replica that may have to catch up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Offered(Offer),
    /// Every [`Act::Ask`] is answered once.
    Answered {
        request: u64,
        answer: Result<Piece, Missed>,
    },
    /// Some time has passed.
    Ticked,
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Ask {
        request: u64,
        peer: u64,
        ask: Ask,
    },
    /// The snapshot is whole and durable, so is the evidence it speaks of: go on from there.
    Install(Offer),
    /// This snapshot cannot be had. The leader will offer another.
    GaveUp {
        offer: Offer,
        why: String,
    },
}

/// The own evidence, as far as catching up needs it.
pub trait Evidence {
    /// Leaves appended.
    fn size(&self) -> u64;

    /// The size of the checkpoint published here (0: none), and the policy in force from there on.
    /// `None`: this replica is ending.
    fn believed(&self) -> Option<(u64, Policy)>;

    /// Whether the first `size` leaves, all of which are here, have this root, to which a
    /// cosigned checkpoint leads. If not, this replica's log differs from the majority's.
    fn has_root(&mut self, size: u64, root: Hash) -> bool;

    /// Takes leaves with their blobs from index `first` on, which is not beyond the end. Those that
    /// are here already are compared.
    fn adopt(&mut self, first: u64, leaves: Vec<(Leaf, Vec<u8>)>);

    /// Makes everything durable and shows it under this cosigned checkpoint, after the
    /// `transitions` that lead to it. False: it does not fit what is here.
    fn publish(&mut self, transitions: &[Transition], note: &str) -> bool;
}

#[cfg(test)]
mod tests;
