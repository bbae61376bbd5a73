//! What is signed: a header of one of four kinds. All begin alike, so that anyone can see which
//! log a header was made for and who signed it before knowing the rest.

use crate::batch::BatchHeader;
use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::decision::Decision;
use crate::hash::{Hash, sha256};
use crate::key::KeyId;
use crate::key_change::KeyChange;
use crate::leaf::LeafKind;
use crate::limits::{BLOB_BYTES_MAX, TIME_MS_MAX};
use crate::spec_change::SpecChange;

/// The first byte of every header. Another number is refused, never guessed at.
pub const HEADER_SCHEMA: u8 = 1;

/// A header of any kind. Its bytes are `leaf::Leaf::header_bytes`; do not encode it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    Batch(BatchHeader),
    SpecChange(SpecChange),
    KeyChange(KeyChange),
    Decision(Decision),
}

impl Header {
    pub fn decode(kind: LeafKind, bytes: &[u8]) -> Result<Header, DecodeFault> {
        match kind {
            LeafKind::Batch => BatchHeader::decode(bytes).map(Header::Batch),
            LeafKind::SpecChange => SpecChange::decode(bytes).map(Header::SpecChange),
            LeafKind::KeyChange => KeyChange::decode(bytes).map(Header::KeyChange),
            LeafKind::Decision => Decision::decode(bytes).map(Header::Decision),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        match self {
            Header::Batch(header) => header.encode(),
            Header::SpecChange(header) => header.encode(),
            Header::KeyChange(header) => header.encode(),
            Header::Decision(header) => header.encode(),
        }
    }

    pub fn kind(&self) -> LeafKind {
        match self {
            Header::Batch(_) => LeafKind::Batch,
            Header::SpecChange(_) => LeafKind::SpecChange,
            Header::KeyChange(_) => LeafKind::KeyChange,
            Header::Decision(_) => LeafKind::Decision,
        }
    }

    /// The log this header was made for; in another log it proves nothing.
    pub fn log_id(&self) -> Hash {
        match self {
            Header::Batch(header) => header.log_id,
            Header::SpecChange(header) => header.log_id,
            Header::KeyChange(header) => header.log_id,
            Header::Decision(header) => header.log_id,
        }
    }

    /// The key the header says it is signed by.
    pub fn key_id(&self) -> KeyId {
        match self {
            Header::Batch(header) => header.key_id,
            Header::SpecChange(header) => header.key_id,
            Header::KeyChange(header) => header.key_id,
            Header::Decision(header) => header.key_id,
        }
    }

    /// The blob beside the leaf; key changes have none.
    pub fn payload(&self) -> Option<&BlobRef> {
        match self {
            Header::Batch(header) => Some(&header.payload),
            Header::SpecChange(header) => Some(&header.payload),
            Header::KeyChange(_) => None,
            Header::Decision(header) => Some(&header.payload),
        }
    }
}

/// How every header begins: schema, log id, key id; 65 bytes.
pub(crate) fn start(log_id: Hash, key_id: KeyId) -> ByteWriter {
    let mut writer = ByteWriter::new();
    writer.u8(HEADER_SCHEMA).fixed(&log_id.0).fixed(&key_id.0.0);
    writer
}

/// Reads the beginning; the reader then stands at the kind's own fields.
pub(crate) fn read_start(reader: &mut ByteReader<'_>) -> Result<(Hash, KeyId), DecodeFault> {
    read_schema(reader, "header schema")?;
    let log_id = Hash(reader.fixed("log id")?);
    Ok((log_id, KeyId(Hash(reader.fixed("key id")?))))
}

pub(crate) fn read_schema(
    reader: &mut ByteReader<'_>,
    what: &'static str,
) -> Result<(), DecodeFault> {
    match reader.u8(what)? {
        HEADER_SCHEMA => Ok(()),
        got => Err(DecodeFault::UnknownCode { what, got: got.into() }),
    }
}

/// Reads a Unix time in milliseconds.
pub(crate) fn read_time_ms(
    reader: &mut ByteReader<'_>,
    what: &'static str,
) -> Result<u64, DecodeFault> {
    reader.ranged(what, 0, TIME_MS_MAX)
}

/// A blob beside the log: what it must hash to, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobRef {
    pub digest: Hash,
    /// Bytes, at most 1 MiB.
    pub len: u32,
}

/// A blob is not the one its leaf speaks of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobFault {
    #[error("payload: expected {expected} bytes, got {got}")]
    Len { expected: u64, got: u64 },
    #[error("payload: expected digest {expected}, got {got}")]
    Digest { expected: Hash, got: Hash },
}

impl BlobFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Len { .. } => "payload_len",
            Self::Digest { .. } => "payload_digest",
        }
    }
}

impl BlobRef {
    /// Speaks of these bytes. Sealing refuses a blob beyond its bound: the length, saturated
    /// here, is then beyond it too.
    pub fn of(bytes: &[u8]) -> BlobRef {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        BlobRef { digest: sha256(bytes), len }
    }

    pub fn check(&self, bytes: &[u8]) -> Result<(), BlobFault> {
        let (expected, got) = (u64::from(self.len), bytes.len() as u64);
        if expected != got {
            return Err(BlobFault::Len { expected, got });
        }
        let (expected, got) = (self.digest, sha256(bytes));
        if expected != got {
            return Err(BlobFault::Digest { expected, got });
        }
        Ok(())
    }

    pub(crate) fn write(&self, writer: &mut ByteWriter) {
        writer.fixed(&self.digest.0).varint(self.len.into());
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<BlobRef, DecodeFault> {
        let digest = Hash(reader.fixed("payload digest")?);
        let len = reader.ranged("payload length", 0, BLOB_BYTES_MAX as u64)? as u32;
        Ok(BlobRef { digest, len })
    }
}
