//! The small fields that commands, replies and state rows share.

use proofmark_evidence::limits::{LABEL_BYTES_MAX, ORIGIN_BYTES_MAX};
use proofmark_evidence::{
    AgentName, ByteReader, ByteWriter, DecodeFault, Hash, KeyId, LeafFault, Origin, PublicKey,
};

/// Bytes that are not what this program writes. The owner of the bytes must act: another
/// replica's version, or a damaged disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecFault {
    #[error("{0}")]
    Bytes(#[from] DecodeFault),
    #[error("encoding version: expected {expected}, got {got}")]
    Version { expected: u8, got: u8 },
    #[error("leaf: {0}")]
    Leaf(#[from] LeafFault),
}

impl CodecFault {
    /// The stable word for replies, logs and metrics.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Bytes(fault) => fault.slug(),
            Self::Version { .. } => "encoding_version",
            Self::Leaf(fault) => fault.slug(),
        }
    }
}

/// The fault of a code that this program does not know.
pub(crate) fn unknown_code(what: &'static str, got: u8) -> CodecFault {
    CodecFault::Bytes(DecodeFault::UnknownCode { what, got: got.into() })
}

pub(crate) fn take_version(input: &mut ByteReader<'_>, expected: u8) -> Result<(), CodecFault> {
    match input.u8("version")? {
        got if got == expected => Ok(()),
        got => Err(CodecFault::Version { expected, got }),
    }
}

pub(crate) fn put_agent(out: &mut ByteWriter, agent: &AgentName) {
    out.text(agent.as_str());
}

pub(crate) fn take_agent(input: &mut ByteReader<'_>) -> Result<AgentName, CodecFault> {
    let text = input.text("agent", LABEL_BYTES_MAX)?;
    let name = AgentName::parse(text);
    Ok(name.map_err(|fault| DecodeFault::Name { what: "agent", fault })?)
}

pub(crate) fn take_origin(input: &mut ByteReader<'_>) -> Result<Origin, CodecFault> {
    let text = input.text("origin", ORIGIN_BYTES_MAX)?;
    let origin = Origin::parse(text);
    Ok(origin.map_err(|fault| DecodeFault::Name { what: "origin", fault })?)
}

pub(crate) fn put_hash(out: &mut ByteWriter, hash: &Hash) {
    out.fixed(&hash.0);
}

pub(crate) fn take_hash(
    input: &mut ByteReader<'_>,
    what: &'static str,
) -> Result<Hash, CodecFault> {
    Ok(Hash(input.fixed(what)?))
}

pub(crate) fn put_key(out: &mut ByteWriter, key: &PublicKey) {
    out.fixed(&key.0);
}

pub(crate) fn take_key(input: &mut ByteReader<'_>) -> Result<PublicKey, CodecFault> {
    Ok(PublicKey(input.fixed("public key")?))
}

pub(crate) fn take_key_id(input: &mut ByteReader<'_>) -> Result<KeyId, CodecFault> {
    Ok(KeyId(take_hash(input, "key id")?))
}

pub(crate) fn put_agent_option(out: &mut ByteWriter, agent: Option<&AgentName>) {
    out.bool(agent.is_some());
    if let Some(agent) = agent {
        put_agent(out, agent);
    }
}

pub(crate) fn take_agent_option(
    input: &mut ByteReader<'_>,
) -> Result<Option<AgentName>, CodecFault> {
    match input.bool("agent option")? {
        false => Ok(None),
        true => Ok(Some(take_agent(input)?)),
    }
}
