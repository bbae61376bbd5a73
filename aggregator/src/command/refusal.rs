//! Why the state said no. Sorted by who must act; each has one stable slug, the same in the
//! reply, the log and the metric.

use std::fmt;

use proofmark_evidence::{AgentName, Hash, KeyId};

/// A typed refusal. It changed nothing in the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // The sender, by itself: send again, later or from another place.
    NotInitialised,
    SequenceGap {
        expected: u64,
        got: u64,
    },
    ClockAhead {
        limit_ms: u64,
        got_ms: u64,
    },

    // The agent's operator: this identity cannot go on as it is.
    UnknownAgent {
        agent: AgentName,
    },
    RetiredAgent {
        agent: AgentName,
    },
    WrongKey {
        expected: KeyId,
        got: KeyId,
    },
    WrongLog {
        expected: Hash,
        got: Hash,
    },
    WrongEpoch {
        expected: u64,
        got: u64,
    },
    /// Other bytes under a sequence number that is taken: two agents share one identity, or its
    /// disk went back in time. Both headers are named by their hash.
    SequenceFork {
        seq: u64,
        expected: Hash,
        got: Hash,
    },
    PreviousMismatch {
        expected: Hash,
        got: Hash,
    },
    BatchMalformed {
        fault: String,
    },
    TokenUnknown,
    TokenSpent,
    TokenExpired {
        expired_at_ms: u64,
        now_ms: u64,
    },
    TokenForOtherAgent {
        expected: AgentName,
        got: AgentName,
    },
    AgentExists {
        agent: AgentName,
    },
    KeyExists {
        agent: AgentName,
    },
    /// A public key of small order: under one, a signature says nothing about its message.
    KeyWeak,

    // The operator of the cluster: this request cannot be met.
    AlreadyInitialised,
    GenesisMalformed {
        fault: String,
    },
    AgentsFull {
        limit: u64,
    },
    TokenExists,
    TokensFull {
        limit: u64,
    },
    AuthorMalformed {
        limit_bytes: u64,
        got_bytes: u64,
    },
    SpecFaults(Vec<String>),
    SpecsFull {
        limit_bytes: u64,
        got_bytes: u64,
    },
    /// The command is newer than some replica, as far as the state was told.
    VersionTooLow {
        expected: u64,
        got: u64,
    },
    MemberExists {
        name: String,
    },
    NoSuchMember {
        name: String,
    },
    MemberGone {
        name: String,
    },
    MembersFull {
        limit: u64,
    },
    NotReplaceable {
        name: String,
        got: String,
    },
    LastVoter {
        name: String,
    },
    NodeKeyExists {
        name: String,
    },
    TokenForOtherNode {
        expected: String,
        got: String,
    },
    NodeAddressExists {
        address: String,
        name: String,
    },

    // A leader: what it proposes of its own accord does not follow.
    VersionStep {
        expected: u64,
        got: u64,
    },
    FoundersMalformed {
        fault: String,
    },
    /// No due step of the membership; another leader may have taken it.
    ChangeNotDue,
    /// A change of the membership outside a Raft change, or another command inside one.
    ChangeMisplaced,

    // Another replica: its view of the tree is behind or wrong.
    SealSize {
        expected: u64,
        got: u64,
    },
    CosignNode {
        node: String,
    },
    CosignStale {
        expected: u64,
        got: u64,
    },
    CosignSignature {
        node: String,
    },
}

/// What the sender of a refused command should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the same again, after a delay.
    Retry,
    /// Send again from this sequence number.
    ResendFrom { seq: u64 },
    /// Give this command up; others may go on.
    Drop,
    /// Stop sending under this identity: a person must act.
    Stop,
}

impl Refusal {
    /// The stable word for this refusal.
    pub fn slug(&self) -> &'static str {
        self.row().slug
    }

    /// What would have been taken.
    pub fn expected(&self) -> String {
        self.row().expected
    }

    /// What came instead. Never a secret.
    pub fn got(&self) -> String {
        self.row().got
    }

    /// Who must act, and how.
    pub fn action(&self) -> Action {
        match self {
            Self::SequenceGap { expected, .. } => Action::ResendFrom { seq: *expected },
            Self::NotInitialised | Self::ClockAhead { .. } => Action::Retry,
            Self::UnknownAgent { .. }
            | Self::RetiredAgent { .. }
            | Self::WrongKey { .. }
            | Self::WrongLog { .. }
            | Self::WrongEpoch { .. }
            | Self::SequenceFork { .. }
            | Self::PreviousMismatch { .. }
            | Self::BatchMalformed { .. }
            | Self::TokenUnknown
            | Self::TokenSpent
            | Self::TokenExpired { .. }
            | Self::TokenForOtherAgent { .. }
            | Self::AgentExists { .. }
            | Self::KeyExists { .. }
            | Self::KeyWeak
            | Self::VersionTooLow { .. }
            | Self::MemberExists { .. }
            | Self::NoSuchMember { .. }
            | Self::MemberGone { .. }
            | Self::MembersFull { .. }
            | Self::NotReplaceable { .. }
            | Self::LastVoter { .. }
            | Self::NodeKeyExists { .. }
            | Self::TokenForOtherNode { .. }
            | Self::NodeAddressExists { .. } => Action::Stop,
            _ => Action::Drop,
        }
    }

    /// The table of refusals: slug, expected, got.
    fn row(&self) -> Row {
        // why long: one line for each refusal.
        match self {
            Self::NotInitialised => {
                row("not_initialised").says("a log with its first leaf", "one without")
            }
            Self::SequenceGap { expected, got } => row("sequence_gap").says(expected, got),
            Self::ClockAhead { limit_ms, got_ms } => row("clock_ahead")
                .says(format!("at most {limit_ms} ms ahead"), format!("{got_ms} ms ahead")),
            Self::UnknownAgent { agent } => row("unknown_agent").says("an enrolled agent", agent),
            Self::RetiredAgent { agent } => row("retired_agent").says("an agent in service", agent),
            Self::WrongKey { expected, got } => row("wrong_key").says(expected, got),
            Self::WrongLog { expected, got } => row("wrong_log").says(expected, got),
            Self::WrongEpoch { expected, got } => row("wrong_epoch").says(expected, got),
            Self::SequenceFork { seq, expected, got } => {
                row("sequence_fork").says(format!("{expected} at sequence number {seq}"), got)
            }
            Self::PreviousMismatch { expected, got } => {
                row("previous_mismatch").says(expected, got)
            }
            Self::BatchMalformed { fault } => {
                row("batch_malformed").says("a well-formed batch", fault)
            }
            // A wrong secret is an unknown token; neither id nor secret is ever said.
            Self::TokenUnknown => row("token_unknown")
                .says("the id and secret of a token made here", "others, or of one long expired"),
            Self::TokenSpent => row("token_spent").says(
                "an unused token, or the name and key that used it",
                "a token that another name or key used",
            ),
            Self::TokenExpired { expired_at_ms, now_ms } => row("token_expired")
                .says(format!("use before {expired_at_ms} ms"), format!("{now_ms} ms")),
            Self::TokenForOtherAgent { expected, got } => {
                row("token_for_other_agent").says(expected, got)
            }
            Self::AgentExists { agent } => row("agent_exists").says("a free agent name", agent),
            Self::KeyExists { agent } => {
                row("key_exists").says("a key never enrolled", format!("the key of {agent}"))
            }
            Self::KeyWeak => {
                row("key_weak").says("a public key of large order", "one of small order")
            }
            Self::AlreadyInitialised => {
                row("already_initialised").says("one genesis", "a second one")
            }
            Self::GenesisMalformed { fault } => {
                row("genesis_malformed").says("a well-formed genesis", fault)
            }
            Self::AgentsFull { limit } => {
                row("agents_full").says(format!("at most {limit} agents"), "one more")
            }
            Self::TokenExists => {
                row("token_exists").says("a new token id", "one that another token has")
            }
            Self::TokensFull { limit } => {
                row("tokens_full").says(format!("at most {limit} open tokens"), "one more")
            }
            Self::AuthorMalformed { limit_bytes, got_bytes } => row("author_malformed")
                .says(format!("1 to {limit_bytes} bytes"), format!("{got_bytes} bytes")),
            Self::SpecFaults(faults) => {
                row("spec_faults").says("documents without faults", faults.join("; "))
            }
            Self::SpecsFull { limit_bytes, got_bytes } => row("specs_full")
                .says(format!("at most {limit_bytes} bytes"), format!("{got_bytes} bytes")),
            Self::VersionTooLow { .. }
            | Self::MemberExists { .. }
            | Self::NoSuchMember { .. }
            | Self::MemberGone { .. }
            | Self::MembersFull { .. }
            | Self::NotReplaceable { .. }
            | Self::LastVoter { .. }
            | Self::NodeKeyExists { .. }
            | Self::TokenForOtherNode { .. }
            | Self::NodeAddressExists { .. }
            | Self::VersionStep { .. }
            | Self::FoundersMalformed { .. }
            | Self::ChangeNotDue
            | Self::ChangeMisplaced => self.row_of_members(),
            Self::SealSize { expected, got } => {
                row("seal_size").says(format!("above the newest seal and at most {expected}"), got)
            }
            Self::CosignNode { node } => row("cosign_node").says("one of the cosigners", node),
            Self::CosignStale { expected, got } => {
                row("cosign_stale").says(format!("the seal pending at size {expected}"), got)
            }
            Self::CosignSignature { node } => {
                row("cosign_signature").says(format!("a valid signature of {node}"), "another")
            }
        }
    }

    /// Those about replicas.
    fn row_of_members(&self) -> Row {
        match self {
            Self::VersionTooLow { expected, got } => row("version_too_low")
                .says(format!("all replicas to know commands of version {expected}"), got),
            Self::MemberExists { name } => {
                row("member_exists").says("a name that no replica ever had", name)
            }
            Self::NoSuchMember { name } => {
                row("no_such_member").says("the name of a replica", name)
            }
            Self::MemberGone { name } => {
                row("member_gone").says("a replica of this cluster", format!("{name}, removed"))
            }
            Self::MembersFull { limit } => {
                row("members_full").says(format!("at most {limit} replicas"), "one more")
            }
            Self::NotReplaceable { name, got } => row("not_replaceable")
                .says("a voter that nobody replaces yet", format!("{name}, {got}")),
            Self::LastVoter { name } => {
                row("last_voter").says("another voter to remain", format!("{name}, the last one"))
            }
            Self::NodeKeyExists { name } => row("node_key_exists")
                .says("a key that no replica ever had", format!("the key of {name}")),
            Self::TokenForOtherNode { expected, got } => {
                row("token_for_other_node").says(expected, got)
            }
            Self::NodeAddressExists { address, name } => row("node_address_exists")
                .says("addresses that no replica has", format!("{address}, of {name}")),
            Self::VersionStep { expected, got } => row("version_step").says(expected, got),
            Self::FoundersMalformed { fault } => {
                row("founders_malformed").says("the nodes of the genesis, by ascending id", fault)
            }
            Self::ChangeNotDue => {
                row("change_not_due").says("a due step of the membership", "another change")
            }
            _ => row("change_misplaced")
                .says("a change of the membership alone in a Raft change", "another place"),
        }
    }
}

struct Row {
    slug: &'static str,
    expected: String,
    got: String,
}

fn row(slug: &'static str) -> Row {
    Row { slug, expected: String::new(), got: String::new() }
}

impl Row {
    fn says(self, expected: impl ToString, got: impl ToString) -> Self {
        Self { expected: expected.to_string(), got: got.to_string(), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        write!(f, "{}: expected {}, got {}", row.slug, row.expected, row.got)
    }
}
