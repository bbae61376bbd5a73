//! What a stranger needs to check what Proofmark claims.
//!
//! In: results and their signatures, as bytes. Out: leaves, trees, checkpoints, proofs, a verdict.
//! This crate never opens a socket, asks the time, makes up randomness, spawns a task, or knows
//! that Raft exists. FORMATS.md at the repository's root says the same in bytes.

mod bytes; // how every value of ours is spelt, once
mod codes;
mod hash;
pub mod limits;
mod name;

mod measurement; // what was seen
mod outcome;
mod result;

mod batch; // what is signed about it
mod header;
mod records;

mod dsse; // by whom
mod key;
mod leaf;
mod seal;

mod merkle; // how it is kept

pub use batch::{BatchHeader, CheckRef, Coverage, Seen};
pub use bytes::{ByteReader, ByteWriter, DecodeFault};
pub use dsse::pae;
pub use hash::{Hash, HashTextFault, StreamHasher, sha256, sha256_parts};
pub use header::{BlobFault, BlobRef, HEADER_SCHEMA, Header};
pub use key::{KeyFault, KeyId, PublicKey, Signature, SigningKey};
pub use leaf::{LEAF_VERSION, Leaf, LeafFault, LeafKind};
pub use measurement::{Measurement, MeasurementKind};
pub use name::{AgentName, CheckName, NameError, Origin, ResultId};
pub use outcome::{FailReason, Outcome, UnknownReason};
pub use records::{
    CoverageRow, Decision, DecisionKind, KeyChange, KeyChangeKind, SilenceChange, SpecChange,
};
pub use result::CheckResult;
pub use seal::{BatchDraft, BatchFault, OpenBatch, SealedBatch, split_results};
