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
mod coverage;
mod header;

mod decision; // what the log itself says
mod key_change;
mod spec_change;

mod dsse; // by whom
mod key;
mod leaf;
mod memo;
mod seal;
mod view;

mod known_tree; // how it is kept
mod merkle;
mod tile;

mod checkpoint; // who vouches for it
mod cosignature;
mod cosigners;
mod note;
mod policy;
mod roll_over;
mod transitions;

mod layout; // where it lies
mod reader;
mod writer;

mod proof; // how a stranger judges it
mod verify;

#[cfg(test)]
mod sample;

pub use batch::{BatchHeader, BatchSpan, CheckRef, CheckView, HeaderView, Seen};
pub use bytes::{ByteReader, ByteWriter, DecodeFault};
pub use checkpoint::{Checkpoint, CheckpointFault, SignedCheckpoint, log_signature_line};
pub use cosignature::{Cosignature, cosign};
pub use cosigners::{CosignerFault, Cosigners};
pub use coverage::Coverage;
pub use decision::{CoverageRow, Decision, DecisionKind, SilenceChange};
pub use dsse::pae;
pub use hash::{Hash, HashTextFault, StreamHasher, sha256, sha256_parts};
pub use header::{BlobFault, BlobRef, HEADER_SCHEMA, Header};
pub use key::{KeyFault, KeyId, PublicKey, Signature, SigningKey};
pub use key_change::{KeyChange, KeyChangeKind};
pub use known_tree::{KnownTree, TreeFault};
pub use layout::{
    CHECKPOINT_FILE, DirSource, LogFile, POLICY_FILE, SCRATCH_DIR, SourceEntry, SourceFault,
    TRANSITIONS_FILE, TileSource, read_at_least,
};
pub use leaf::{LEAF_VERSION, Leaf, LeafFault, LeafKind};
pub use measurement::{Measurement, MeasurementKind};
pub use memo::remember_signatures;
pub use merkle::{
    Frontier, ProofFault, Subtrees, empty_root, inclusion_path, leaf_hash, node_hash, results_root,
    root_of, verify_consistency, verify_inclusion,
};
pub use name::{AgentName, CheckName, NameError, Origin, ResultId};
pub use note::{Note, NoteFault, NoteSignature, SignatureType, VerifierKey};
pub use outcome::{FailReason, Outcome, UnknownReason};
pub use policy::{Cosigner, Policy, PolicyFault, PolicyTextFault, PolicyVerdict};
pub use proof::{
    ProofFile, ProofFileFault, ProvenResult, check_proof, prove_result, prove_result_with_enrol,
};
pub use reader::{LogReader, PublishedLeaf, ReaderFault};
pub use result::CheckResult;
pub use roll_over::{ProvenChange, RollOver, RollOverFault};
pub use seal::{BatchDraft, BatchFault, OpenBatch, SealedBatch, split_results};
pub use spec_change::SpecChange;
pub use tile::{TILE_WIDTH, TileFault, parse_entries, parse_tile, tile_bytes, width_at};
pub use transitions::{Transition, TransitionFault, policy_at};
pub use verify::{AgentSpan, Fault, LeafVisitor, Report, verify_log, verify_log_unpinned};
pub use view::{BatchReader, BatchView, ResultView};
pub use writer::{DiskFiles, FileOps, LogWriter, Rehearsal, WriterFault};
