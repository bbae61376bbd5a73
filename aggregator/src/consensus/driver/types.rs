//! What goes into a driver and what comes out.

use raft::eraftpb::{Entry, HardState, Message};

use super::super::Role;
use super::super::membership::{Membership, MembershipFault};
use super::super::snapshot::{Position, SnapshotMeta, SnapshotOffer};
use crate::limits::MEMBERS_MAX;

/// What a replica is told once, at its start.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// This replica's id. It need not be a member yet: whoever joins learns of it from the log.
    pub node_id: u64,
    /// The highest index whose effects are durable in the state: entries above it are handed out
    /// as committed again. Never taken from the hard state.
    pub applied: u64,
    /// The members as of `applied`, from the state too: the two always fit each other.
    pub membership: Membership,
    /// Where lots are drawn from. Another one at each start: it also tells this life's reads from
    /// those of an earlier one.
    pub jitter_seed: u64,
    /// Newest entries kept in memory, in bytes: `limits::LOG_TAIL_BYTES_MAX`, or less in a test.
    pub tail_bytes_max: usize,
}

/// What the caller must do after a round of inputs. Of `install` and `committed`, `install` first.
#[derive(Debug, Default, PartialEq)]
pub struct Output {
    /// To send now, in any order, best effort.
    pub messages: Vec<Message>,
    /// To write, after all earlier ones.
    pub write: Option<WriteTask>,
    /// The log begins after this snapshot now, durably: the state becomes the snapshot, instead of
    /// everything handed out before, and `snapshot_installed` says so. Until then no tick passes.
    pub install: Option<SnapshotMeta>,
    /// To apply, in order. All of them are durable here.
    pub committed: Vec<Entry>,
    /// The role, term or leader changed.
    pub role: Option<RoleChange>,
    /// Answers to `read_index`.
    pub reads: Vec<Read>,
    /// A snapshot to fetch; `install` when it is here.
    pub offer: Option<SnapshotOffer>,
    /// A peer needs a snapshot and there is none that would do: make one.
    pub snapshot_wanted: bool,
    /// Nothing up to here will be read from the log again: its files may go.
    pub compact: Option<Position>,
}

/// One atomic write: reset, entries and hard state belong to one record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteTask {
    /// Rises with every task; `persisted` takes it back.
    pub number: u64,
    /// First of all: the log forgets everything and starts over after this position.
    pub reset: Option<Position>,
    /// Replace everything from the first one's index on.
    pub entries: Vec<Entry>,
    /// Replaces the older one.
    pub hard_state: Option<HardState>,
    /// Whether a promise depends on it. If not it may wait for the next flush, and counts as
    /// durable at once: it holds no more than a newer commit index, which a restart learns again.
    /// It must come before that flush's other tasks all the same: who has an entry in its log that
    /// follows a change of membership must know that the change is committed.
    pub must_sync: bool,
}

/// What this replica believes of the group's leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    pub role: Role,
    pub term: u64,
    pub leader: Option<u64>,
}

/// A state that has applied `index` has seen everything that was acknowledged before the read was
/// asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// As given to `read_index`.
    pub token: u64,
    pub index: u64,
}

/// How far another member is, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    pub node_id: u64,
    /// The highest index it has confirmed to this leader; 0: none yet.
    pub matched: u64,
    pub state: PeerState,
    /// It answered since the leader last counted its majority, at most an election timeout ago.
    pub is_active: bool,
}

/// How a leader sends to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It is being asked where its log agrees.
    Probe,
    Replicate,
    /// It was offered a snapshot that ends here, and has not installed it yet.
    Snapshot {
        index: u64,
    },
}

/// Why a driver does not start. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum DriverFault {
    #[error("the state has applied index {applied}, the raft log ends at {last_index}: log lost")]
    LogBehindState { applied: u64, last_index: u64 },
    #[error("the state has applied index {applied}, the raft log begins after {start}: state lost")]
    StateBehindLog { applied: u64, start: u64 },
    #[error("the state's membership is none that raft could have made: {membership:?}")]
    Membership { membership: Membership },
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
}

/// Why a proposal was not taken. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeRefused {
    #[error("this replica does not lead")]
    NotLeader,
    #[error("too much is uncommitted, or leadership is being handed over")]
    Full,
}

/// Why a change of membership was not proposed. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    #[error(transparent)]
    Propose(#[from] ProposeRefused),
    /// Also for a moment at the beginning of each term. Try again.
    #[error("an earlier change may still be under way")]
    Pending,
    /// A leader that is no voter any more would leave the group without one: hand over first.
    #[error("the leader cannot take away its own vote")]
    OwnVote,
    #[error("expected at most {MEMBERS_MAX} members, got {got}")]
    TooMany { got: usize },
    #[error(transparent)]
    Membership(#[from] MembershipFault),
}

impl ChangeRefused {
    /// The stable name.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Propose(ProposeRefused::NotLeader) => "not_leader",
            Self::Propose(ProposeRefused::Full) => "consensus_full",
            Self::Pending => "membership_change_pending",
            Self::OwnVote => "leader_own_vote",
            Self::TooMany { .. } => "members_full",
            Self::Membership(_) => "membership_change",
        }
    }
}

/// Why leadership was not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefused {
    #[error("this replica does not lead")]
    NotLeader { leader: Option<u64> },
    #[error("node {to} leads already")]
    Leads { to: u64 },
    #[error("node {to} is no voter")]
    NotVoter { to: u64 },
    /// It does not hear, or lags too far behind. Leadership stays where it was.
    #[error("node {to} has not taken the leadership it was offered")]
    NotTaken { to: u64 },
}

impl TransferRefused {
    /// The stable name.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::NotLeader { .. } => "not_leader",
            Self::Leads { .. } => "leads_already",
            Self::NotVoter { .. } => "not_a_voter",
            Self::NotTaken { .. } => "leadership_not_taken",
        }
    }
}

/// Why the log is not compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactRefused {
    #[error("expected a position not above the newest snapshot at {snapshot}, got {got}")]
    PastSnapshot { snapshot: u64, got: u64 },
    #[error("expected a position of this log, got index {index} of term {term}")]
    NotHere { index: u64, term: u64 },
}
