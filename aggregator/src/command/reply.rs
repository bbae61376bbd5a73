//! What the state answers to one command. Encoded when a follower forwarded the command.

use proofmark_evidence::{ByteReader, ByteWriter};

use super::fields::{CodecFault, take_version, unknown_code};
use super::refusal::Refusal;

/// The version of the encoding of a reply.
const REPLY_VERSION: u8 = 1;

/// The one answer to a command, decided by the state and equal on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The batch is evidence now. `seq_end` is exclusive; everything below it is acknowledged.
    Accepted {
        seq_end: u64,
        leaf_index: u64,
    },
    /// The batch was evidence already. For a batch older than the remembered ones `leaf_index`
    /// is an upper bound: the batch lies at or before it.
    Duplicate {
        seq_end: u64,
        leaf_index: u64,
    },
    /// The documents are the next revision, in force from `effective_at_ms`.
    Applied {
        revision: u64,
        effective_at_ms: u64,
    },
    TokenCreated,
    Enrolled {
        epoch: u64,
    },
    Retired,
    /// Nothing to say: a genesis, tick, seal or cosignature was taken.
    Done,
    /// The replica to come has this id for ever.
    NodeInvited {
        id: u64,
    },
    NodeJoined {
        id: u64,
    },
    Refused(Refusal),
}

mod code {
    pub(super) const ACCEPTED: u8 = 1;
    pub(super) const DUPLICATE: u8 = 2;
    pub(super) const APPLIED: u8 = 3;
    pub(super) const TOKEN_CREATED: u8 = 4;
    pub(super) const ENROLLED: u8 = 5;
    pub(super) const RETIRED: u8 = 6;
    pub(super) const DONE: u8 = 7;
    pub(super) const REFUSED: u8 = 8;
    pub(super) const NODE_INVITED: u8 = 9;
    pub(super) const NODE_JOINED: u8 = 10;
}

impl Reply {
    /// Version byte, code byte, fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.u8(REPLY_VERSION);
        match self {
            Self::Accepted { seq_end, leaf_index } => {
                put_numbers(&mut out, code::ACCEPTED, &[*seq_end, *leaf_index]);
            }
            Self::Duplicate { seq_end, leaf_index } => {
                put_numbers(&mut out, code::DUPLICATE, &[*seq_end, *leaf_index]);
            }
            Self::Applied { revision, effective_at_ms } => {
                put_numbers(&mut out, code::APPLIED, &[*revision, *effective_at_ms]);
            }
            Self::TokenCreated => put_numbers(&mut out, code::TOKEN_CREATED, &[]),
            Self::Enrolled { epoch } => put_numbers(&mut out, code::ENROLLED, &[*epoch]),
            Self::Retired => put_numbers(&mut out, code::RETIRED, &[]),
            Self::Done => put_numbers(&mut out, code::DONE, &[]),
            Self::NodeInvited { id } => put_numbers(&mut out, code::NODE_INVITED, &[*id]),
            Self::NodeJoined { id } => put_numbers(&mut out, code::NODE_JOINED, &[*id]),
            Self::Refused(refusal) => {
                out.u8(code::REFUSED);
                refusal.put(&mut out);
            }
        }
        out.into_bytes()
    }

    /// The inverse of [`Reply::encode`], strict.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut input = ByteReader::new(bytes);
        take_version(&mut input, REPLY_VERSION)?;
        let reply = Self::decode_body(&mut input)?;
        input.finish("reply")?;
        Ok(reply)
    }

    fn decode_body(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(match input.u8("reply code")? {
            code::ACCEPTED => Self::Accepted {
                seq_end: input.varint("seq_end")?,
                leaf_index: input.varint("leaf_index")?,
            },
            code::DUPLICATE => Self::Duplicate {
                seq_end: input.varint("seq_end")?,
                leaf_index: input.varint("leaf_index")?,
            },
            code::APPLIED => Self::Applied {
                revision: input.varint("revision")?,
                effective_at_ms: input.varint("effective_at_ms")?,
            },
            code::TOKEN_CREATED => Self::TokenCreated,
            code::ENROLLED => Self::Enrolled { epoch: input.varint("epoch")? },
            code::RETIRED => Self::Retired,
            code::DONE => Self::Done,
            code::NODE_INVITED => Self::NodeInvited { id: input.varint("node id")? },
            code::NODE_JOINED => Self::NodeJoined { id: input.varint("node id")? },
            code::REFUSED => Self::Refused(Refusal::take(input)?),
            got => return Err(unknown_code("reply code", got)),
        })
    }
}

fn put_numbers(out: &mut ByteWriter, code: u8, numbers: &[u64]) {
    out.u8(code);
    for number in numbers {
        out.varint(*number);
    }
}
