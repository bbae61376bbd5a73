//! The state as one file: what a replica needs instead of the Raft log up to some entry.
//!
//! In: the rows of a state and where in the log it stands. Out: files that are whole or refused by
//! the name of the part that is damaged; pieces of them for other replicas; and the same rows back.
//! The evidence is not in it: leaves travel as their own immutable files, see [`crate::catchup`].
//!
//! This room never looks into a row, never decides when a snapshot is made, and knows no network.
//! The bytes are in FORMATS.md, "Snapshot".

mod files;
mod head;
mod part;
mod read;
mod store;
mod write;

use std::io;

use crate::command::CodecFault;

pub use files::{DiskFiles, SnapshotFiles};
pub use head::{About, Descriptor};
pub use part::Part;
pub use read::{Rows, Snapshot};
pub use store::{Content, SnapshotStore};

/// Why a snapshot was not written, or is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// The operator: see to the disk. Nothing depends on a snapshot that was not finished.
    #[error("snapshot_disk: {name}: {fault}")]
    Disk { name: String, fault: io::Error },
    /// The operator: the state outgrew what a snapshot may hold; the Raft log grows meanwhile.
    #[error("snapshot_too_large: expected at most {bytes_max} bytes of rows, got {bytes}")]
    TooLarge { bytes_max: u64, bytes: u64 },
    /// The caller: there is no such snapshot here (any more).
    #[error("snapshot_gone: {name}: expected a snapshot, got no file")]
    Gone { name: String },
    /// The file is damaged, or was made elsewhere. Another snapshot must serve.
    #[error("snapshot_head: {name}: {why}")]
    Head { name: String, why: String },
    #[error("snapshot_head: {name}: {fault}")]
    Codec { name: String, fault: CodecFault },
    #[error("snapshot_chunk: {name}: chunk {number}: expected the bytes of its hash, got others")]
    Chunk { name: String, number: u32 },
    #[error("snapshot_rows: {name}: {why}")]
    Rows { name: String, why: String },
}

impl SnapshotFault {
    /// The stable word for replies, logs and metrics.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "snapshot_disk",
            Self::TooLarge { .. } => "snapshot_too_large",
            Self::Gone { .. } => "snapshot_gone",
            Self::Head { .. } | Self::Codec { .. } => "snapshot_head",
            Self::Chunk { .. } => "snapshot_chunk",
            Self::Rows { .. } => "snapshot_rows",
        }
    }
}

/// A row of the state: its key and its value.
pub type RowBytes = (Vec<u8>, Vec<u8>);

#[cfg(test)]
pub(crate) mod mem_disk;
#[cfg(test)]
mod tests;
