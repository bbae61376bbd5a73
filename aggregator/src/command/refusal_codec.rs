//! A refusal's bytes: code, then fields in the order of the enum.

use proofmark_evidence::{ByteReader, ByteWriter};

use super::fields::{
    CodecFault, put_agent, put_hash, take_agent, take_hash, take_key_id, unknown_code,
};
use super::refusal::Refusal;
use crate::limits::{REFUSAL_FAULTS_MAX, REFUSAL_TEXT_BYTES_MAX};

// The codes on the wire. New ones go to the end; none is ever reused.
const NOT_INITIALISED: u8 = 1;
const SEQUENCE_GAP: u8 = 2;
const CLOCK_AHEAD: u8 = 3;
const UNKNOWN_AGENT: u8 = 4;
const RETIRED_AGENT: u8 = 5;
const WRONG_KEY: u8 = 6;
const WRONG_LOG: u8 = 7;
const WRONG_EPOCH: u8 = 8;
const SEQUENCE_FORK: u8 = 9;
const PREVIOUS_MISMATCH: u8 = 10;
const BATCH_MALFORMED: u8 = 11;
const TOKEN_UNKNOWN: u8 = 12;
const TOKEN_SPENT: u8 = 13;
const TOKEN_EXPIRED: u8 = 14;
const TOKEN_FOR_OTHER_AGENT: u8 = 15;
const AGENT_EXISTS: u8 = 16;
const KEY_EXISTS: u8 = 17;
const ALREADY_INITIALISED: u8 = 18;
const GENESIS_MALFORMED: u8 = 19;
const AGENTS_FULL: u8 = 20;
const TOKEN_EXISTS: u8 = 21;
const TOKENS_FULL: u8 = 22;
const AUTHOR_MALFORMED: u8 = 23;
const SPEC_FAULTS: u8 = 24;
const SPECS_FULL: u8 = 25;
const SEAL_SIZE: u8 = 26;
const COSIGN_NODE: u8 = 27;
const COSIGN_STALE: u8 = 28;
const KEY_WEAK: u8 = 29;
const COSIGN_SIGNATURE: u8 = 30;
const VERSION_TOO_LOW: u8 = 31;
const MEMBER_EXISTS: u8 = 32;
const NO_SUCH_MEMBER: u8 = 33;
const MEMBER_GONE: u8 = 34;
const MEMBERS_FULL: u8 = 35;
const NOT_REPLACEABLE: u8 = 36;
const LAST_VOTER: u8 = 37;
const NODE_KEY_EXISTS: u8 = 38;
const NODE_ADDRESS_EXISTS: u8 = 39;
const VERSION_STEP: u8 = 40;
const FOUNDERS_MALFORMED: u8 = 41;
const CHANGE_NOT_DUE: u8 = 42;
const CHANGE_MISPLACED: u8 = 43;
const TOKEN_FOR_OTHER_NODE: u8 = 44;

impl Refusal {
    /// Code byte, then the fields.
    pub(super) fn put(&self, out: &mut ByteWriter) {
        // why long: one line for each refusal.
        out.u8(self.code());
        match self {
            Self::NotInitialised
            | Self::AlreadyInitialised
            | Self::TokenUnknown
            | Self::TokenSpent
            | Self::TokenExists
            | Self::KeyWeak
            | Self::ChangeNotDue
            | Self::ChangeMisplaced => {}
            Self::SequenceGap { expected: a, got: b }
            | Self::ClockAhead { limit_ms: a, got_ms: b }
            | Self::WrongEpoch { expected: a, got: b }
            | Self::TokenExpired { expired_at_ms: a, now_ms: b }
            | Self::AuthorMalformed { limit_bytes: a, got_bytes: b }
            | Self::SpecsFull { limit_bytes: a, got_bytes: b }
            | Self::SealSize { expected: a, got: b }
            | Self::VersionTooLow { expected: a, got: b }
            | Self::VersionStep { expected: a, got: b }
            | Self::CosignStale { expected: a, got: b } => {
                out.varint(*a);
                out.varint(*b);
            }
            Self::AgentsFull { limit }
            | Self::TokensFull { limit }
            | Self::MembersFull { limit } => {
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
            Self::WrongKey { expected, got } => {
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
            | Self::CosignSignature { node: text }
            | Self::MemberExists { name: text }
            | Self::NoSuchMember { name: text }
            | Self::MemberGone { name: text }
            | Self::LastVoter { name: text }
            | Self::NodeKeyExists { name: text }
            | Self::FoundersMalformed { fault: text } => {
                out.text(text);
            }
            Self::NotReplaceable { name: one, got: two }
            | Self::TokenForOtherNode { expected: one, got: two }
            | Self::NodeAddressExists { address: one, name: two } => {
                out.text(one).text(two);
            }
            Self::SpecFaults(faults) => {
                out.varint(faults.len() as u64);
                for fault in faults {
                    out.text(fault);
                }
            }
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::NotInitialised => NOT_INITIALISED,
            Self::SequenceGap { .. } => SEQUENCE_GAP,
            Self::ClockAhead { .. } => CLOCK_AHEAD,
            Self::UnknownAgent { .. } => UNKNOWN_AGENT,
            Self::RetiredAgent { .. } => RETIRED_AGENT,
            Self::WrongKey { .. } => WRONG_KEY,
            Self::WrongLog { .. } => WRONG_LOG,
            Self::WrongEpoch { .. } => WRONG_EPOCH,
            Self::SequenceFork { .. } => SEQUENCE_FORK,
            Self::PreviousMismatch { .. } => PREVIOUS_MISMATCH,
            Self::BatchMalformed { .. } => BATCH_MALFORMED,
            Self::TokenUnknown => TOKEN_UNKNOWN,
            Self::TokenSpent => TOKEN_SPENT,
            Self::TokenExpired { .. } => TOKEN_EXPIRED,
            Self::TokenForOtherAgent { .. } => TOKEN_FOR_OTHER_AGENT,
            Self::AgentExists { .. } => AGENT_EXISTS,
            Self::KeyExists { .. } => KEY_EXISTS,
            Self::AlreadyInitialised => ALREADY_INITIALISED,
            Self::GenesisMalformed { .. } => GENESIS_MALFORMED,
            Self::AgentsFull { .. } => AGENTS_FULL,
            Self::TokenExists => TOKEN_EXISTS,
            Self::TokensFull { .. } => TOKENS_FULL,
            Self::AuthorMalformed { .. } => AUTHOR_MALFORMED,
            Self::SpecFaults(_) => SPEC_FAULTS,
            Self::SpecsFull { .. } => SPECS_FULL,
            Self::SealSize { .. } => SEAL_SIZE,
            Self::CosignNode { .. } => COSIGN_NODE,
            Self::CosignStale { .. } => COSIGN_STALE,
            Self::KeyWeak => KEY_WEAK,
            Self::CosignSignature { .. } => COSIGN_SIGNATURE,
            Self::VersionTooLow { .. } => VERSION_TOO_LOW,
            Self::MemberExists { .. } => MEMBER_EXISTS,
            Self::NoSuchMember { .. } => NO_SUCH_MEMBER,
            Self::MemberGone { .. } => MEMBER_GONE,
            Self::MembersFull { .. } => MEMBERS_FULL,
            Self::NotReplaceable { .. } => NOT_REPLACEABLE,
            Self::LastVoter { .. } => LAST_VOTER,
            Self::NodeKeyExists { .. } => NODE_KEY_EXISTS,
            Self::NodeAddressExists { .. } => NODE_ADDRESS_EXISTS,
            Self::VersionStep { .. } => VERSION_STEP,
            Self::FoundersMalformed { .. } => FOUNDERS_MALFORMED,
            Self::ChangeNotDue => CHANGE_NOT_DUE,
            Self::ChangeMisplaced => CHANGE_MISPLACED,
            Self::TokenForOtherNode { .. } => TOKEN_FOR_OTHER_NODE,
        }
    }

    /// The inverse of [`Refusal::put`].
    // why long: one line for each refusal.
    pub(super) fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(match input.u8("refusal code")? {
            NOT_INITIALISED => Self::NotInitialised,
            SEQUENCE_GAP => {
                Self::SequenceGap { expected: input.varint("expected")?, got: input.varint("got")? }
            }
            CLOCK_AHEAD => Self::ClockAhead {
                limit_ms: input.varint("limit_ms")?,
                got_ms: input.varint("got_ms")?,
            },
            UNKNOWN_AGENT => Self::UnknownAgent { agent: take_agent(input)? },
            RETIRED_AGENT => Self::RetiredAgent { agent: take_agent(input)? },
            WRONG_KEY => Self::WrongKey { expected: take_key_id(input)?, got: take_key_id(input)? },
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
            code => Self::take_of_members(code, input)?,
        })
    }

    fn take_of_members(code: u8, input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(match code {
            VERSION_TOO_LOW => Self::VersionTooLow {
                expected: input.varint("expected")?,
                got: input.varint("got")?,
            },
            MEMBER_EXISTS => Self::MemberExists { name: take_text(input)? },
            NO_SUCH_MEMBER => Self::NoSuchMember { name: take_text(input)? },
            MEMBER_GONE => Self::MemberGone { name: take_text(input)? },
            MEMBERS_FULL => Self::MembersFull { limit: input.varint("limit")? },
            NOT_REPLACEABLE => {
                Self::NotReplaceable { name: take_text(input)?, got: take_text(input)? }
            }
            LAST_VOTER => Self::LastVoter { name: take_text(input)? },
            NODE_KEY_EXISTS => Self::NodeKeyExists { name: take_text(input)? },
            NODE_ADDRESS_EXISTS => {
                Self::NodeAddressExists { address: take_text(input)?, name: take_text(input)? }
            }
            VERSION_STEP => {
                Self::VersionStep { expected: input.varint("expected")?, got: input.varint("got")? }
            }
            FOUNDERS_MALFORMED => Self::FoundersMalformed { fault: take_text(input)? },
            CHANGE_NOT_DUE => Self::ChangeNotDue,
            CHANGE_MISPLACED => Self::ChangeMisplaced,
            TOKEN_FOR_OTHER_NODE => {
                Self::TokenForOtherNode { expected: take_text(input)?, got: take_text(input)? }
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
