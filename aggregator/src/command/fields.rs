//! The small fields that commands, replies and state rows share.

use proofmark_evidence::{AgentName, ByteReader, ByteWriter, DecodeFault, Hash, KeyId, PublicKey};

/// Bytes that are not what this program writes. The owner of the bytes must act: another
/// replica's version, or a damaged disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecFault {
    #[error("{0}")]
    Bytes(#[from] DecodeFault),
    #[error("encoding version: expected {expected}, got {got}")]
    Version { expected: u8, got: u8 },
    #[error("{what} code: expected one of ours, got {got}")]
    Code { what: &'static str, got: u8 },
    #[error("{what}: {fault}")]
    Field { what: &'static str, fault: String },
}

impl CodecFault {
    pub(crate) fn field(what: &'static str, fault: impl ToString) -> Self {
        Self::Field { what, fault: fault.to_string() }
    }
}

pub(crate) fn take_version(input: &mut ByteReader<'_>, expected: u8) -> Result<(), CodecFault> {
    match input.u8()? {
        got if got == expected => Ok(()),
        got => Err(CodecFault::Version { expected, got }),
    }
}

/// A code from 0 to `max`, both allowed.
pub(crate) fn take_code(
    input: &mut ByteReader<'_>,
    what: &'static str,
    max: u8,
) -> Result<u8, CodecFault> {
    match input.u8()? {
        code if code <= max => Ok(code),
        got => Err(CodecFault::Code { what, got }),
    }
}

/// How many items follow. Nothing is allocated from it: items are read one by one, and a length
/// that lies ends in a fault at the first missing byte.
pub(crate) fn take_list_len(input: &mut ByteReader<'_>) -> Result<u64, CodecFault> {
    Ok(input.varint()?)
}

pub(crate) fn take_text(input: &mut ByteReader<'_>) -> Result<String, CodecFault> {
    Ok(input.str()?.to_owned())
}

pub(crate) fn put_agent(out: &mut ByteWriter, agent: &AgentName) {
    out.str(agent.as_str());
}

pub(crate) fn take_agent(input: &mut ByteReader<'_>) -> Result<AgentName, CodecFault> {
    AgentName::parse(input.str()?).map_err(|fault| CodecFault::field("agent", fault))
}

pub(crate) fn put_hash(out: &mut ByteWriter, hash: &Hash) {
    out.fixed(&hash.0);
}

pub(crate) fn take_hash(input: &mut ByteReader<'_>) -> Result<Hash, CodecFault> {
    Ok(Hash(input.fixed()?))
}

pub(crate) fn put_key(out: &mut ByteWriter, key: &PublicKey) {
    out.fixed(&key.0);
}

pub(crate) fn take_key(input: &mut ByteReader<'_>) -> Result<PublicKey, CodecFault> {
    Ok(PublicKey(input.fixed()?))
}

pub(crate) fn take_key_id(input: &mut ByteReader<'_>) -> Result<KeyId, CodecFault> {
    Ok(KeyId(take_hash(input)?))
}

pub(crate) fn take_signature_bytes(input: &mut ByteReader<'_>) -> Result<[u8; 64], CodecFault> {
    Ok(input.fixed()?)
}
