//! One batch as it lies in a segment.
//!
//! ```text
//! u32be crc32 of everything after it | u32be length of everything after it
//! u64be epoch | u64be seq_first | u64be seq_end | u16be leaf length | leaf | payload
//! ```

use proofmark_evidence::{BatchFault, Header, Leaf, SealedBatch};

use crate::limits::RECORD_BYTES_MAX;

/// Checksum and length.
const PREFIX_BYTES: usize = 4 + 4;
/// The fixed part after the prefix.
const FIXED_BYTES: usize = 8 + 8 + 8 + 2;

/// A sealed batch and the numbers it is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub epoch: u64,
    pub seq_first: u64,
    /// One past the last.
    pub seq_end: u64,
    pub batch: SealedBatch,
}

/// A leaf that is not a readable batch cannot be spooled.
#[derive(Debug, thiserror::Error)]
pub enum NotABatch {
    #[error(transparent)]
    Batch(#[from] BatchFault),
    #[error("leaf: expected a batch, got {0}")]
    OtherKind(&'static str),
}

impl Record {
    /// Reads the numbers from the batch's own header.
    pub fn of(batch: SealedBatch) -> Result<Record, NotABatch> {
        match batch.leaf.header().map_err(BatchFault::from)? {
            Header::Batch(header) => {
                let (epoch, seq_first, seq_end) =
                    (header.epoch, header.seq_first, header.seq_end());
                Ok(Record { epoch, seq_first, seq_end, batch })
            }
            other => Err(NotABatch::OtherKind(other.kind().payload_type())),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let leaf = self.batch.leaf.bytes();
        let len = FIXED_BYTES + leaf.len() + self.batch.payload.len();
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&narrow(len).to_be_bytes());
        for number in [self.epoch, self.seq_first, self.seq_end] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        let leaf_len = u16::try_from(leaf.len()).expect("a leaf has at most 4096 bytes");
        bytes.extend_from_slice(&leaf_len.to_be_bytes());
        bytes.extend_from_slice(leaf);
        bytes.extend_from_slice(&self.batch.payload);
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The record at the start of `bytes` and how long it is, or none if there is no good one.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
        let (crc, rest) = bytes.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = u32::from_be_bytes(*len);
        let body = rest.get(..len as usize).filter(|_| len <= RECORD_BYTES_MAX)?;
        let whole = PREFIX_BYTES + body.len();
        if crc32fast::hash(&bytes[4..whole]) != u32::from_be_bytes(*crc) {
            return None;
        }
        Some((Record::decode_body(body)?, whole))
    }

    fn decode_body(body: &[u8]) -> Option<Record> {
        let (epoch, rest) = body.split_first_chunk::<8>()?;
        let (seq_first, rest) = rest.split_first_chunk::<8>()?;
        let (seq_end, rest) = rest.split_first_chunk::<8>()?;
        let (leaf_len, rest) = rest.split_first_chunk::<2>()?;
        let (leaf, payload) = rest.split_at_checked(u16::from_be_bytes(*leaf_len).into())?;
        let leaf = Leaf::parse(leaf).ok()?;
        Some(Record {
            epoch: u64::from_be_bytes(*epoch),
            seq_first: u64::from_be_bytes(*seq_first),
            seq_end: u64::from_be_bytes(*seq_end),
            batch: SealedBatch { leaf, payload: payload.into() },
        })
    }
}

fn narrow(len: usize) -> u32 {
    u32::try_from(len).expect("a leaf and a payload are far below 4 GiB")
}
