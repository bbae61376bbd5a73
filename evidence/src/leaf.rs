//! The leaf: one envelope for everything the log holds. The bytes that were signed are the bytes
//! that are sent, stored and hashed; a `Leaf` keeps them as they came.

use std::fmt;
use std::sync::Arc;

use crate::bytes::{ByteReader, DecodeFault};
use crate::codes::closed_list;
use crate::dsse::pae;
use crate::hash::{Hash, sha256};
use crate::header::{self, Header};
use crate::key::{KeyFault, KeyId, PublicKey, Signature, SigningKey};
use crate::limits::{LEAF_BYTES_MAX, LEAF_ENVELOPE_BYTES};
use crate::merkle::leaf_hash;

/// The first byte of every leaf.
pub const LEAF_VERSION: u8 = 1;

closed_list! {
    /// What a leaf's header is.
    LeafKind {
        /// An agent's results, signed by the agent.
        Batch = 1 "batch",
        /// A change of specs, signed by the log.
        SpecChange = 2 "spec_change",
        /// Genesis, enrolment or retirement, signed by the log.
        KeyChange = 3 "key_change",
        /// What the aggregator concluded, signed by the log.
        Decision = 4 "decision",
    }
}

/// Codes kept for kinds to come: refused by name until then.
const RESERVED_KINDS: [(u8, &str); 2] = [(5, "prune_hold"), (6, "anchor")];

impl LeafKind {
    /// The DSSE payload type, which the signature covers.
    pub fn payload_type(self) -> &'static str {
        match self {
            LeafKind::Batch => "application/vnd.proofmark.batch.v1",
            LeafKind::SpecChange => "application/vnd.proofmark.spec-change.v1",
            LeafKind::KeyChange => "application/vnd.proofmark.key-change.v1",
            LeafKind::Decision => "application/vnd.proofmark.decision.v1",
        }
    }
}

/// Why bytes are no leaf, or a leaf does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafFault {
    #[error("leaf: expected at most {expected} bytes, got {got}")]
    TooLarge { expected: usize, got: usize },
    #[error("leaf: expected more than {expected} bytes, got {got}")]
    TooShort { expected: usize, got: usize },
    #[error("leaf version: expected {expected}, got {got}")]
    Version { expected: u8, got: u8 },
    #[error("leaf kind: expected 1 to 4, got {got}")]
    Kind { got: u8 },
    #[error("leaf kind: {name} (code {got}) is reserved and not supported yet")]
    ReservedKind { got: u8, name: &'static str },
    #[error("header of {kind}: {fault}")]
    Header { kind: LeafKind, fault: DecodeFault },
    /// The header names another key than the one it is to be signed with or checked against.
    #[error("key id: expected {expected}, got {got}")]
    KeyId { expected: KeyId, got: KeyId },
    #[error("leaf signature: {0}")]
    Signature(KeyFault),
}

impl LeafFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "leaf_too_large",
            Self::TooShort { .. } => "leaf_too_short",
            Self::Version { .. } => "leaf_version",
            Self::Kind { .. } => "leaf_kind",
            Self::ReservedKind { .. } => "not_supported_yet",
            Self::Header { .. } => "leaf_header",
            Self::KeyId { .. } => "leaf_key_id",
            Self::Signature(fault) => fault.slug(),
        }
    }
}

/// Bytes: `u8 version | u8 kind | 64 signature | header`.
///
/// One that exists has a known version and kind and a size within its bound. Only `verify` says
/// that it is signed, only `header` that its header can be read.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    bytes: Arc<[u8]>,
    kind: LeafKind,
}

impl Leaf {
    /// Signs a header. Refuses one that `header()` could not read again or that names another
    /// signer: nothing is signed that nobody can check.
    pub fn seal(kind: LeafKind, header: &[u8], key: &SigningKey) -> Result<Leaf, LeafFault> {
        check_len(LEAF_ENVELOPE_BYTES + header.len())?;
        let decoded =
            Header::decode(kind, header).map_err(|fault| LeafFault::Header { kind, fault })?;
        check_key_id(key.key_id(), decoded.key_id())?;
        let signature = key.sign(&pae(kind.payload_type(), header));
        let mut bytes = Vec::with_capacity(LEAF_ENVELOPE_BYTES + header.len());
        bytes.extend_from_slice(&[LEAF_VERSION, kind.code()]);
        bytes.extend_from_slice(&signature.0);
        bytes.extend_from_slice(header);
        Ok(Leaf { bytes: bytes.into(), kind })
    }

    /// Looks at the envelope only.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Leaf, LeafFault> {
        let bytes = bytes.into();
        check_len(bytes.len())?;
        if bytes[0] != LEAF_VERSION {
            return Err(LeafFault::Version { expected: LEAF_VERSION, got: bytes[0] });
        }
        let kind = parse_kind(bytes[1])?;
        Ok(Leaf { bytes, kind })
    }

    /// The bytes as they came: what is sent, stored and hashed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same bytes, shared.
    pub fn shared_bytes(&self) -> Arc<[u8]> {
        self.bytes.clone()
    }

    pub fn kind(&self) -> LeafKind {
        self.kind
    }

    /// The signed bytes.
    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes[LEAF_ENVELOPE_BYTES..]
    }

    /// SHA-256 of the header: what the agent's next batch names as `previous`.
    pub fn header_hash(&self) -> Hash {
        sha256(self.header_bytes())
    }

    /// The leaf's hash in the log's tree (RFC 6962).
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.bytes)
    }

    pub fn signature(&self) -> Signature {
        let mut signature = [0; 64];
        signature.copy_from_slice(&self.bytes[2..LEAF_ENVELOPE_BYTES]);
        Signature(signature)
    }

    /// The key the header says it is signed by: enough to look the key up.
    pub fn key_id(&self) -> Result<KeyId, LeafFault> {
        let kind = self.kind;
        header::read_start(&mut ByteReader::new(self.header_bytes()))
            .map(|(_, key_id)| key_id)
            .map_err(|fault| LeafFault::Header { kind, fault })
    }

    /// Whether this key signed the header, and the header says so.
    pub fn verify(&self, key: &PublicKey) -> Result<(), LeafFault> {
        check_key_id(key.key_id(), self.key_id()?)?;
        let message = pae(self.kind.payload_type(), self.header_bytes());
        key.verify(&message, &self.signature()).map_err(LeafFault::Signature)
    }

    pub fn header(&self) -> Result<Header, LeafFault> {
        let kind = self.kind;
        Header::decode(kind, self.header_bytes()).map_err(|fault| LeafFault::Header { kind, fault })
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leaf({} {:?}, {} bytes)", self.kind, self.hash(), self.bytes.len())
    }
}

fn check_len(got: usize) -> Result<(), LeafFault> {
    if got > LEAF_BYTES_MAX {
        return Err(LeafFault::TooLarge { expected: LEAF_BYTES_MAX, got });
    }
    if got <= LEAF_ENVELOPE_BYTES {
        return Err(LeafFault::TooShort { expected: LEAF_ENVELOPE_BYTES, got });
    }
    Ok(())
}

fn check_key_id(expected: KeyId, got: KeyId) -> Result<(), LeafFault> {
    if expected == got { Ok(()) } else { Err(LeafFault::KeyId { expected, got }) }
}

fn parse_kind(got: u8) -> Result<LeafKind, LeafFault> {
    if let Some((_, name)) = RESERVED_KINDS.iter().find(|(code, _)| *code == got) {
        return Err(LeafFault::ReservedKind { got, name });
    }
    LeafKind::from_code(got).ok_or(LeafFault::Kind { got })
}
