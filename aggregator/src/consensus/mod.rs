//! One agreed order: commands in, the same entries on every replica out.
//!
//! In: encoded commands, from admission here or forwarded by another replica.
//! Out: committed entries, in order and without gaps, to the [`Applier`]; its replies to whoever
//! proposed. The protocol is `raft` 0.7, driven by [`driver`], which has no clock, no disk and no
//! network; the threads around it give it all three, and the simulator gives it virtual ones.
//!
//! A proposal's way: [`ConsensusHandle::propose`] → (a follower forwards it: [`transport`]) →
//! `raft_thread` packs what waits into one entry → [`driver`] → `log_thread` makes it durable with
//! one flush while the peers do the same → committed → `apply_thread` → the reply.
//!
//! This room never looks into a command, never decides admission, and never compacts its log:
//! snapshots and changes of membership are refused by name until they exist.

mod apply_thread;
mod budget;
mod convert;
pub mod driver;
mod election;
mod guard;
mod handle;
mod inbox;
pub mod log_store;
mod log_thread;
mod logger;
mod mailbox;
mod outbox;
mod outcome;
mod pack;
mod raft_thread;
mod shell;
pub mod storage;
pub mod transport;
mod waiters;

use crate::command::Reply;

pub use handle::ConsensusHandle;
pub use outbox::PeerOutbox;
pub use shell::{Consensus, Counters};

/// The state machine behind the log, owned by the apply thread.
pub trait Applier: Send + 'static {
    /// Applies the committed entry at `index` and answers each of its commands, in their order.
    ///
    /// Indexes come without a gap from the first above `DriverConfig::applied`. `data` is an
    /// encoded [`crate::command::Entry`], or empty: the entry with which a new leader opens its
    /// term carries no command, and its index must be noted all the same.
    fn apply(&mut self, index: u64, data: &[u8]) -> Vec<Reply>;
}

/// What became of one proposed command.
#[derive(Clone, Debug, PartialEq)]
pub enum ProposalOutcome {
    /// Committed, durable on a majority, and applied on the leader.
    Applied(Reply),
    /// This replica does not lead, and could not reach the one that does.
    NotLeader { leader: Option<u64> },
    /// The leader changed while the command was under way: it may be committed or not. Sending it
    /// again is safe, the state knows what it has seen.
    Lost,
    /// Too much is under way; nothing was proposed. Try again after the delay.
    Busy { retry_after_ms: u64 },
    /// No entry can hold this command, and no retry will change that.
    TooLarge { bytes_max: usize, bytes: usize },
}

/// A replica's part in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Follower,
    /// Asking for votes, or asking whether it could win them.
    Candidate,
    Leader,
}

impl Role {
    /// The stable name, as shown in metrics and the API.
    pub fn slug(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        }
    }
}

/// What a replica knows of the group, newest first seen by `ConsensusHandle::status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsensusStatus {
    pub node_id: u64,
    pub role: Role,
    pub term: u64,
    /// The leader of `term`, if this replica has heard of one.
    pub leader: Option<u64>,
    /// The highest index known to be committed.
    pub commit: u64,
    /// The highest index applied here.
    pub applied: u64,
}

#[cfg(test)]
mod golden_tests;
