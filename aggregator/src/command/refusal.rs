//! Why the state said no. Sorted by who must act; each has one stable slug, the same in the
//! reply, the log and the metric.

use std::fmt;

use proofmark_evidence::{AgentName, ByteReader, ByteWriter, Hash, KeyId};

use super::fields::{
    CodecFault, put_agent, put_hash, take_agent, take_hash, take_key_id, unknown_code,
};
use crate::limits::{REFUSAL_FAULTS_MAX, REFUSAL_TEXT_BYTES_MAX};

/// A typed refusal. It changed nothing in the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // The sender, by itself: send again, later or from another place.
    NotInitialised,
    SequenceGap {
        expected: u64,
        got: u64,
    },
    ClockSkew {
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
    UnknownKey {
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

/// The codes on the wire. New ones go to the end; none is ever reused.
mod code {
    pub(super) const NOT_INITIALISED: u8 = 1;
    pub(super) const SEQUENCE_GAP: u8 = 2;
    pub(super) const CLOCK_SKEW: u8 = 3;
    pub(super) const UNKNOWN_AGENT: u8 = 4;
    pub(super) const RETIRED_AGENT: u8 = 5;
    pub(super) const UNKNOWN_KEY: u8 = 6;
    pub(super) const WRONG_LOG: u8 = 7;
    pub(super) const WRONG_EPOCH: u8 = 8;
    pub(super) const SEQUENCE_FORK: u8 = 9;
    pub(super) const PREVIOUS_MISMATCH: u8 = 10;
    pub(super) const BATCH_MALFORMED: u8 = 11;
    pub(super) const TOKEN_UNKNOWN: u8 = 12;
    pub(super) const TOKEN_SPENT: u8 = 13;
    pub(super) const TOKEN_EXPIRED: u8 = 14;
    pub(super) const TOKEN_FOR_OTHER_AGENT: u8 = 15;
    pub(super) const AGENT_EXISTS: u8 = 16;
    pub(super) const KEY_EXISTS: u8 = 17;
    pub(super) const ALREADY_INITIALISED: u8 = 18;
    pub(super) const GENESIS_MALFORMED: u8 = 19;
    pub(super) const AGENTS_FULL: u8 = 20;
    pub(super) const TOKEN_EXISTS: u8 = 21;
    pub(super) const TOKENS_FULL: u8 = 22;
    pub(super) const AUTHOR_MALFORMED: u8 = 23;
    pub(super) const SPEC_FAULTS: u8 = 24;
    pub(super) const SPECS_FULL: u8 = 25;
    pub(super) const SEAL_SIZE: u8 = 26;
    pub(super) const COSIGN_NODE: u8 = 27;
    pub(super) const COSIGN_STALE: u8 = 28;
    pub(super) const KEY_WEAK: u8 = 29;
    pub(super) const COSIGN_SIGNATURE: u8 = 30;
}

impl Refusal {
    /// The stable word for this refusal.
    pub fn slug(&self) -> &'static str {
        self.row().slug
    }

    /// What would have been taken; empty when the slug says all there is to say.
    pub fn expected(&self) -> String {
        self.row().expected
    }

    /// What came instead; empty when the slug says all there is to say.
    pub fn got(&self) -> String {
        self.row().got
    }

    /// Who must act, and how.
    pub fn action(&self) -> Action {
        match self {
            Self::SequenceGap { expected, .. } => Action::ResendFrom { seq: *expected },
            Self::NotInitialised | Self::ClockSkew { .. } => Action::Retry,
            Self::UnknownAgent { .. }
            | Self::RetiredAgent { .. }
            | Self::UnknownKey { .. }
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
            | Self::KeyWeak => Action::Stop,
            _ => Action::Drop,
        }
    }

    /// The table of refusals: code, slug, expected, got.
    fn row(&self) -> Row {
        use code::*;
        match self {
            Self::NotInitialised => row(NOT_INITIALISED, "not_initialised"),
            Self::SequenceGap { expected, got } => {
                row(SEQUENCE_GAP, "sequence_gap").says(expected, got)
            }
            Self::ClockSkew { limit_ms, got_ms } => row(CLOCK_SKEW, "clock_skew")
                .says(format!("at most {limit_ms} ms ahead"), format!("{got_ms} ms ahead")),
            Self::UnknownAgent { agent } => {
                row(UNKNOWN_AGENT, "unknown_agent").says("an enrolled agent", agent)
            }
            Self::RetiredAgent { agent } => {
                row(RETIRED_AGENT, "retired_agent").says("an agent in service", agent)
            }
            Self::UnknownKey { expected, got } => {
                row(UNKNOWN_KEY, "unknown_key").says(expected, got)
            }
            Self::WrongLog { expected, got } => row(WRONG_LOG, "wrong_log").says(expected, got),
            Self::WrongEpoch { expected, got } => {
                row(WRONG_EPOCH, "wrong_epoch").says(expected, got)
            }
            Self::SequenceFork { seq, expected, got } => row(SEQUENCE_FORK, "sequence_fork")
                .says(format!("{expected} at sequence number {seq}"), got),
            Self::PreviousMismatch { expected, got } => {
                row(PREVIOUS_MISMATCH, "previous_mismatch").says(expected, got)
            }
            Self::BatchMalformed { fault } => {
                row(BATCH_MALFORMED, "batch_malformed").says("a well-formed batch", fault)
            }
            Self::TokenUnknown => row(TOKEN_UNKNOWN, "token_unknown"),
            Self::TokenSpent => row(TOKEN_SPENT, "token_spent"),
            Self::TokenExpired { expired_at_ms, now_ms } => row(TOKEN_EXPIRED, "token_expired")
                .says(format!("use before {expired_at_ms} ms"), format!("{now_ms} ms")),
            Self::TokenForOtherAgent { expected, got } => {
                row(TOKEN_FOR_OTHER_AGENT, "token_for_other_agent").says(expected, got)
            }
            Self::AgentExists { agent } => {
                row(AGENT_EXISTS, "agent_exists").says("a free agent name", agent)
            }
            Self::KeyExists { agent } => row(KEY_EXISTS, "key_exists")
                .says("a key never enrolled", format!("the key of {agent}")),
            Self::KeyWeak => row(KEY_WEAK, "key_weak"),
            Self::AlreadyInitialised => row(ALREADY_INITIALISED, "already_initialised"),
            Self::GenesisMalformed { fault } => {
                row(GENESIS_MALFORMED, "genesis_malformed").says("a well-formed genesis", fault)
            }
            Self::AgentsFull { limit } => {
                row(AGENTS_FULL, "agents_full").says(format!("at most {limit} agents"), "one more")
            }
            Self::TokenExists => row(TOKEN_EXISTS, "token_exists"),
            Self::TokensFull { limit } => row(TOKENS_FULL, "tokens_full")
                .says(format!("at most {limit} open tokens"), "one more"),
            Self::AuthorMalformed { limit_bytes, got_bytes } => {
                row(AUTHOR_MALFORMED, "author_malformed")
                    .says(format!("1 to {limit_bytes} bytes"), format!("{got_bytes} bytes"))
            }
            Self::SpecFaults(faults) => {
                row(SPEC_FAULTS, "spec_faults").says("documents without faults", faults.join("; "))
            }
            Self::SpecsFull { limit_bytes, got_bytes } => row(SPECS_FULL, "specs_full")
                .says(format!("at most {limit_bytes} bytes"), format!("{got_bytes} bytes")),
            Self::SealSize { expected, got } => row(SEAL_SIZE, "seal_size")
                .says(format!("above the newest seal and at most {expected}"), got),
            Self::CosignNode { node } => {
                row(COSIGN_NODE, "cosign_node").says("a node of the genesis", node)
            }
            Self::CosignStale { expected, got } => row(COSIGN_STALE, "cosign_stale")
                .says(format!("the seal pending at size {expected}"), got),
            Self::CosignSignature { node } => row(COSIGN_SIGNATURE, "cosign_signature")
                .says(format!("a valid signature of {node}"), "another"),
        }
    }

    /// Code byte, then the fields.
    pub(super) fn put(&self, out: &mut ByteWriter) {
        out.u8(self.row().code);
        match self {
            Self::NotInitialised
            | Self::AlreadyInitialised
            | Self::TokenUnknown
            | Self::TokenSpent
            | Self::TokenExists
            | Self::KeyWeak => {}
            Self::SequenceGap { expected: a, got: b }
            | Self::ClockSkew { limit_ms: a, got_ms: b }
            | Self::WrongEpoch { expected: a, got: b }
            | Self::TokenExpired { expired_at_ms: a, now_ms: b }
            | Self::AuthorMalformed { limit_bytes: a, got_bytes: b }
            | Self::SpecsFull { limit_bytes: a, got_bytes: b }
            | Self::SealSize { expected: a, got: b }
            | Self::CosignStale { expected: a, got: b } => {
                out.varint(*a);
                out.varint(*b);
            }
            Self::AgentsFull { limit } | Self::TokensFull { limit } => {
                out.varint(*limit);
            }
            Self::UnknownAgent { agent }
            | Self::RetiredAgent { agent }
            | Self::AgentExists { agent }
            | Self::KeyExists { agent } => put_agent(out, agent),
            Self::TokenForOtherAgent { expected, got } => {
                put_agent(out, expected);
                put_agent(out, got);
            }
            Self::UnknownKey { expected, got } => {
                put_hash(out, &expected.0);
                put_hash(out, &got.0);
            }
            Self::WrongLog { expected, got } | Self::PreviousMismatch { expected, got } => {
                put_hash(out, expected);
                put_hash(out, got);
            }
            Self::SequenceFork { seq, expected, got } => {
                out.varint(*seq);
                put_hash(out, expected);
                put_hash(out, got);
            }
            Self::BatchMalformed { fault: text }
            | Self::GenesisMalformed { fault: text }
            | Self::CosignNode { node: text }
            | Self::CosignSignature { node: text } => {
                out.text(text);
            }
            Self::SpecFaults(faults) => {
                out.varint(faults.len() as u64);
                for fault in faults {
                    out.text(fault);
                }
            }
        }
    }

    /// The inverse of [`Refusal::put`].
    pub(super) fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        use code::*;
        Ok(match input.u8("refusal code")? {
            NOT_INITIALISED => Self::NotInitialised,
            SEQUENCE_GAP => {
                Self::SequenceGap { expected: input.varint("expected")?, got: input.varint("got")? }
            }
            CLOCK_SKEW => Self::ClockSkew {
                limit_ms: input.varint("limit_ms")?,
                got_ms: input.varint("got_ms")?,
            },
            UNKNOWN_AGENT => Self::UnknownAgent { agent: take_agent(input)? },
            RETIRED_AGENT => Self::RetiredAgent { agent: take_agent(input)? },
            UNKNOWN_KEY => {
                Self::UnknownKey { expected: take_key_id(input)?, got: take_key_id(input)? }
            }
            WRONG_LOG => Self::WrongLog {
                expected: take_hash(input, "expected")?,
                got: take_hash(input, "got")?,
            },
            WRONG_EPOCH => {
                Self::WrongEpoch { expected: input.varint("expected")?, got: input.varint("got")? }
            }
            SEQUENCE_FORK => Self::SequenceFork {
                seq: input.varint("seq")?,
                expected: take_hash(input, "expected")?,
                got: take_hash(input, "got")?,
            },
            PREVIOUS_MISMATCH => Self::PreviousMismatch {
                expected: take_hash(input, "expected")?,
                got: take_hash(input, "got")?,
            },
            BATCH_MALFORMED => Self::BatchMalformed { fault: take_text(input)? },
            TOKEN_UNKNOWN => Self::TokenUnknown,
            TOKEN_SPENT => Self::TokenSpent,
            TOKEN_EXPIRED => Self::TokenExpired {
                expired_at_ms: input.varint("expired_at_ms")?,
                now_ms: input.varint("now_ms")?,
            },
            TOKEN_FOR_OTHER_AGENT => {
                Self::TokenForOtherAgent { expected: take_agent(input)?, got: take_agent(input)? }
            }
            AGENT_EXISTS => Self::AgentExists { agent: take_agent(input)? },
            KEY_EXISTS => Self::KeyExists { agent: take_agent(input)? },
            ALREADY_INITIALISED => Self::AlreadyInitialised,
            GENESIS_MALFORMED => Self::GenesisMalformed { fault: take_text(input)? },
            AGENTS_FULL => Self::AgentsFull { limit: input.varint("limit")? },
            KEY_WEAK => Self::KeyWeak,
            TOKEN_EXISTS => Self::TokenExists,
            TOKENS_FULL => Self::TokensFull { limit: input.varint("limit")? },
            AUTHOR_MALFORMED => Self::AuthorMalformed {
                limit_bytes: input.varint("limit_bytes")?,
                got_bytes: input.varint("got_bytes")?,
            },
            SPEC_FAULTS => Self::SpecFaults(take_faults(input)?),
            SPECS_FULL => Self::SpecsFull {
                limit_bytes: input.varint("limit_bytes")?,
                got_bytes: input.varint("got_bytes")?,
            },
            SEAL_SIZE => {
                Self::SealSize { expected: input.varint("expected")?, got: input.varint("got")? }
            }
            COSIGN_NODE => Self::CosignNode { node: take_text(input)? },
            COSIGN_SIGNATURE => Self::CosignSignature { node: take_text(input)? },
            COSIGN_STALE => {
                Self::CosignStale { expected: input.varint("expected")?, got: input.varint("got")? }
            }
            got => return Err(unknown_code("refusal code", got)),
        })
    }
}

fn take_faults(input: &mut ByteReader<'_>) -> Result<Vec<String>, CodecFault> {
    let count = input.count("faults", REFUSAL_FAULTS_MAX, 1)?;
    (0..count).map(|_| take_text(input)).collect()
}

fn take_text(input: &mut ByteReader<'_>) -> Result<String, CodecFault> {
    Ok(input.text("text", REFUSAL_TEXT_BYTES_MAX)?.to_owned())
}

struct Row {
    code: u8,
    slug: &'static str,
    expected: String,
    got: String,
}

fn row(code: u8, slug: &'static str) -> Row {
    Row { code, slug, expected: String::new(), got: String::new() }
}

impl Row {
    fn says(self, expected: impl ToString, got: impl ToString) -> Self {
        Self { expected: expected.to_string(), got: got.to_string(), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        match row.expected.is_empty() {
            true => f.write_str(row.slug),
            false => write!(f, "{}: expected {}, got {}", row.slug, row.expected, row.got),
        }
    }
}
