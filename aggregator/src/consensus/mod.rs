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
//! Who the members are is decided by the state too: a change of the [`Membership`] is an entry that
//! carries the command by which the state decides, and raft does as the state says ([`driver`]).
//! The log is compacted below a snapshot ([`log_store`]); who needs what is gone is offered the
//! snapshot, fetches it elsewhere, and says when it is here.
//!
//! This room never looks into a command, never decides admission, and never reads a snapshot.

mod apply_thread;
mod budget;
mod commits;
mod conf_change;
pub mod convert;
pub mod driver;
mod election;
mod guard;
mod handle;
mod heard;
mod inbox;
pub mod log_store;
mod log_thread;
mod logger;
mod mailbox;
pub mod membership;
mod outbox;
mod outcome;
mod pack;
mod raft_thread;
mod reads;
mod shell;
pub mod snapshot;
pub mod storage;
pub mod transport;
mod waiters;

use crate::command::Reply;

pub use handle::ConsensusHandle;
pub use membership::{Membership, MembershipChange, MembershipFault, Part};
pub use outbox::PeerOutbox;
pub use shell::{Consensus, Counters};
pub use snapshot::{Position, SnapshotMeta, SnapshotOffer};

/// The state machine behind the log, owned by the apply thread.
pub trait Applier: Send + 'static {
    /// Applies the committed entry at `index` and answers each of its commands, in their order.
    ///
    /// Indexes come without a gap from the first above `DriverConfig::applied`. `data` is an
    /// encoded [`crate::command::Entry`], or empty: the entry with which a new leader opens its
    /// term carries no command, and its index must be noted all the same.
    fn apply(&mut self, index: u64, data: &[u8]) -> Vec<Reply>;

    /// Decides the committed change of the membership at `index`, between the entries around it.
    ///
    /// `context` is an encoded [`crate::command::Entry`] with exactly one command, which asks for
    /// the change; or empty: the joint phase of the last change is over, and the membership is
    /// [`Membership::left_joint`]. The answer is the membership from here on, which must be what
    /// [`Membership::after`] gives; or `None`: refused, the membership stays. It is kept with the
    /// rest of the state, so that both are always as of the same entry.
    fn apply_change(&mut self, index: u64, context: &[u8]) -> (Vec<Reply>, Option<Membership>);

    /// Becomes the snapshot, which is durable here, instead of the state so far. The next entry
    /// follows its position; its membership is the state's from here on.
    fn install(&mut self, snapshot: &SnapshotMeta);

    /// Between two entries: somebody waits to read what is applied, and should be shown it.
    fn look(&mut self);

    /// The members as of the newest applied entry. `None`: no entry has said anything about them
    /// yet, and they are those with which the log was made.
    fn membership(&self) -> Option<Membership>;
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

/// Why a read has no index. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefused {
    #[error("no leader was confirmed by its majority within {waited_ms} ms")]
    NoAnswer { waited_ms: u64 },
    #[error("too many reads wait here")]
    Busy,
}

impl ReadRefused {
    /// The stable name.
    pub fn slug(self) -> &'static str {
        match self {
            ReadRefused::NoAnswer { .. } => "read_index_unanswered",
            ReadRefused::Busy => "reads_full",
        }
    }
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
mod chance_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod stage;
