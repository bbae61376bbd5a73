//! A proposal's outcome on its way back to the follower that forwarded the command.

use proofmark_evidence::{ByteReader, ByteWriter};

use super::ProposalOutcome;
use crate::command::{CodecFault, Reply, unknown_code};
use crate::limits::PEER_RPC_BYTES_MAX;

/// The codes on the wire. Never reused.
mod code {
    pub(super) const APPLIED: u8 = 1;
    pub(super) const NOT_LEADER: u8 = 2;
    pub(super) const LOST: u8 = 3;
    pub(super) const BUSY: u8 = 4;
    pub(super) const TOO_LARGE: u8 = 5;
}

/// No node has this id: stands for "nobody known".
const NOBODY: u64 = 0;

impl ProposalOutcome {
    /// Code byte, then the fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        match self {
            Self::Applied(reply) => out.u8(code::APPLIED).bytes(&reply.encode()),
            Self::NotLeader { leader } => out.u8(code::NOT_LEADER).varint(leader.unwrap_or(NOBODY)),
            Self::Lost => out.u8(code::LOST),
            Self::Busy { retry_after_ms } => out.u8(code::BUSY).varint(*retry_after_ms),
            Self::TooLarge { bytes_max, bytes } => {
                out.u8(code::TOO_LARGE).varint(*bytes_max as u64).varint(*bytes as u64)
            }
        };
        out.into_bytes()
    }

    /// The inverse. A fault means that the peer runs another program.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut input = ByteReader::new(bytes);
        let outcome = match input.u8("outcome code")? {
            code::APPLIED => {
                Self::Applied(Reply::decode(input.bytes("reply", PEER_RPC_BYTES_MAX)?)?)
            }
            code::NOT_LEADER => {
                let leader = Some(input.varint("leader")?).filter(|id| *id != NOBODY);
                Self::NotLeader { leader }
            }
            code::LOST => Self::Lost,
            code::BUSY => Self::Busy { retry_after_ms: input.varint("retry_after_ms")? },
            code::TOO_LARGE => Self::TooLarge {
                bytes_max: take_size(&mut input, "bytes_max")?,
                bytes: take_size(&mut input, "bytes")?,
            },
            got => return Err(unknown_code("outcome code", got)),
        };
        input.finish("outcome")?;
        Ok(outcome)
    }
}

fn take_size(input: &mut ByteReader<'_>, what: &'static str) -> Result<usize, CodecFault> {
    Ok(usize::try_from(input.varint(what)?).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives_the_wire() {
        for outcome in [
            ProposalOutcome::Applied(Reply::Accepted { seq_end: 300, leaf_index: 7 }),
            ProposalOutcome::NotLeader { leader: Some(3) },
            ProposalOutcome::NotLeader { leader: None },
            ProposalOutcome::Lost,
            ProposalOutcome::Busy { retry_after_ms: 50 },
            ProposalOutcome::TooLarge { bytes_max: 1, bytes: 2 },
        ] {
            assert_eq!(ProposalOutcome::decode(&outcome.encode()).unwrap(), outcome);
        }
        assert!(ProposalOutcome::decode(&[9]).is_err());
        assert!(ProposalOutcome::decode(&[code::LOST, 0]).is_err(), "trailing bytes");
    }
}
