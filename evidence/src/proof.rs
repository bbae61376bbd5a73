//! One result, proven alone: a C2SP tlog-proof@v1 file that needs nothing beside it but a policy.
//!
//! The chain it carries: the result's bytes, their path to the root the agent signed, the agent's
//! signed header (a leaf), that leaf's path to the log's root, the checkpoint with the log's
//! signature and a quorum's cosignatures; and the leaf that enrolled the agent's key, with its
//! path in the same tree. A proof cannot show that the agent was not retired in between: whoever
//! must know verifies the log.

mod text;

pub use self::text::ProofFile;

use self::text::Extra;
use crate::batch::{BatchHeader, CheckRef};
use crate::bytes::DecodeFault;
use crate::checkpoint::{Checkpoint, CheckpointFault};
use crate::header::Header;
use crate::key::PublicKey;
use crate::key_change::KeyChangeKind;
use crate::leaf::{Leaf, LeafFault, LeafKind};
use crate::merkle::{ProofFault, inclusion_path, leaf_hash, verify_inclusion};
use crate::name::ResultId;
use crate::policy::{Cosigner, Policy, PolicyFault};
use crate::reader::{LogReader, ReaderFault};
use crate::result::CheckResult;
use crate::seal::{BatchFault, SealedBatch, split_results};

/// Why there is no proof, or a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileFault {
    /// The file is not one.
    #[error("proof: expected {expected}, got {got}")]
    Text { expected: &'static str, got: String },
    #[error("proof extra: {0}")]
    Extra(DecodeFault),
    #[error("proof checkpoint: {0}")]
    Checkpoint(#[from] CheckpointFault),
    /// It is one, of something else than it says.
    #[error("{0}")]
    Policy(#[from] PolicyFault),
    #[error("{what}: {fault}")]
    Path { what: &'static str, fault: ProofFault },
    #[error("{what}: {fault}")]
    Leaf { what: &'static str, fault: LeafFault },
    #[error("result: {0}")]
    Result(DecodeFault),
    #[error("{what}: expected {expected}, got {got}")]
    Unequal { what: &'static str, expected: String, got: String },
    /// The log does not have what was asked for.
    #[error(transparent)]
    Reader(#[from] ReaderFault),
    #[error("leaf: {0}")]
    Batch(#[from] BatchFault),
    #[error(
        "expected a published leaf that enrols {id}'s agent before leaf {leaf_index}, got none"
    )]
    NoEnrolment { id: ResultId, leaf_index: u64 },
}

impl ProofFileFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Text { .. } => "proof_text",
            Self::Extra(_) => "proof_extra",
            Self::Checkpoint(fault) => fault.slug(),
            Self::Policy(fault) => fault.slug(),
            Self::Path { fault, .. } => fault.slug(),
            Self::Leaf { fault, .. } => fault.slug(),
            Self::Result(_) => "result_bytes",
            Self::Unequal { .. } => "proof_unequal",
            Self::Reader(fault) => fault.slug(),
            Self::Batch(fault) => fault.slug(),
            Self::NoEnrolment { .. } => "enrolment_missing",
        }
    }
}

/// What a proof has shown, to whoever trusts the policy it was checked under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenResult {
    pub id: ResultId,
    pub result: CheckResult,
    pub check: CheckRef,
    /// Unix time by the agent's clock: its word, not more.
    pub scheduled_at_ms: u64,
    pub agent_key: PublicKey,
    pub leaf_index: u64,
    pub enrol_index: u64,
    pub checkpoint: Checkpoint,
    /// Who has seen the checkpoint, and when: the result was known by then.
    pub cosigners: Vec<Cosigner>,
}

/// Makes the proof of one result in the leaf at `leaf_index`. Looks for the agent's enrolment
/// from there backwards; give its index to `prove_result_with_enrol` where it is known.
pub fn prove_result(
    reader: &LogReader,
    id: &ResultId,
    leaf_index: u64,
) -> Result<ProofFile, ProofFileFault> {
    let enrol_index = find_enrolment(reader, id, leaf_index)?;
    prove_result_with_enrol(reader, id, leaf_index, enrol_index)
}

/// Makes the proof of one result, knowing where its agent was enrolled.
pub fn prove_result_with_enrol(
    reader: &LogReader,
    id: &ResultId,
    leaf_index: u64,
    enrol_index: u64,
) -> Result<ProofFile, ProofFileFault> {
    let size = reader.size();
    let leaf = reader.leaf(leaf_index)?;
    let enrol = reader.leaf(enrol_index)?;
    let payload = reader.payload(leaf_index)?;
    let open = SealedBatch { leaf: leaf.clone(), payload: payload.as_slice().into() }.open()?;
    let position = position_of(&open.header, id)?;
    let results = split_results(&payload)?;
    let hashes: Vec<_> = results.iter().map(|bytes| leaf_hash(bytes)).collect();
    let result_path = inclusion_path(&hashes, position).expect("position_of is below the count");
    let extra = Extra {
        result: results[position as usize].to_vec(),
        position,
        result_path,
        leaf: leaf.bytes().to_vec(),
        enrol_index,
        enrol: enrol.bytes().to_vec(),
        enrol_path: reader.inclusion_proof(enrol_index, size)?,
    };
    let path = reader.inclusion_proof(leaf_index, size)?;
    Ok(ProofFile { extra, index: leaf_index, path, checkpoint: reader.checkpoint().clone() })
}

/// Checks a proof file under a policy. Whatever byte of it is changed, the check fails or shows
/// the very same statement (as when the line of one cosigner too many is lost).
pub fn check_proof(text: &str, policy: &Policy) -> Result<ProvenResult, ProofFileFault> {
    let proof = ProofFile::parse(text)?;
    let Extra { enrol_index, .. } = proof.extra;
    let leaf = included_leaf("leaf", &proof, proof.index, &proof.extra.leaf, &proof.path)?;
    let enrol_path = &proof.extra.enrol_path;
    let enrol = included_leaf("enrolment", &proof, enrol_index, &proof.extra.enrol, enrol_path)?;
    let header = batch_header(&proof, &leaf)?;
    let result = check_result(&proof.extra, &header)?;
    // Hashes agree; what remains is who signed them.
    let verdict = policy.check(&proof.checkpoint)?;
    let agent_key = check_enrolment(&proof, &enrol, &verdict.log_key, &header)?;
    leaf.verify(&agent_key).map_err(leaf_fault("leaf"))?;
    let check = header.checks.get(usize::from(result.check_index)).cloned().ok_or_else(|| {
        unequal("check index", format!("below {}", header.checks.len()), result.check_index)
    })?;
    Ok(ProvenResult {
        id: header.result_id(proof.extra.position as u32),
        scheduled_at_ms: header.base_time_ms.saturating_add(result.offset_ms.into()),
        result,
        check,
        agent_key,
        leaf_index: proof.index,
        enrol_index,
        checkpoint: proof.checkpoint.checkpoint,
        cosigners: verdict.cosigners,
    })
}

/// A leaf that is in the tree the checkpoint speaks of.
fn included_leaf(
    what: &'static str,
    proof: &ProofFile,
    index: u64,
    bytes: &[u8],
    path: &[crate::hash::Hash],
) -> Result<Leaf, ProofFileFault> {
    let Checkpoint { size, root, .. } = proof.checkpoint.checkpoint;
    verify_inclusion(leaf_hash(bytes), index, size, path, root)
        .map_err(|fault| ProofFileFault::Path { what, fault })?;
    Leaf::parse(bytes).map_err(leaf_fault(what))
}

fn batch_header(proof: &ProofFile, leaf: &Leaf) -> Result<BatchHeader, ProofFileFault> {
    match leaf.header().map_err(leaf_fault("leaf"))? {
        Header::Batch(header) => {
            expect("leaf's log", proof.checkpoint.checkpoint.origin.log_id(), header.log_id)?;
            Ok(header)
        }
        other => Err(unequal("leaf", "a batch", other.kind())),
    }
}

/// The agent's key, by the log's word that stands in the same tree, before the batch.
fn check_enrolment(
    proof: &ProofFile,
    enrol: &Leaf,
    log_key: &PublicKey,
    batch: &BatchHeader,
) -> Result<PublicKey, ProofFileFault> {
    enrol.verify(log_key).map_err(leaf_fault("enrolment"))?;
    let header = enrol.header().map_err(leaf_fault("enrolment"))?;
    expect("enrolment's log", batch.log_id, header.log_id())?;
    let Header::KeyChange(change) = header else {
        return Err(unequal("enrolment", "an enrolment", enrol.kind()));
    };
    let KeyChangeKind::Enrol { agent, key, epoch } = change.change else {
        return Err(unequal("enrolment", "an enrolment", change.change.slug()));
    };
    expect("enrolled agent", &batch.agent, &agent)?;
    expect("enrolled epoch", batch.epoch, epoch)?;
    if proof.extra.enrol_index >= proof.index {
        let expected = format!("before leaf {}", proof.index);
        return Err(unequal("enrolment", expected, proof.extra.enrol_index));
    }
    Ok(key)
}

fn check_result(extra: &Extra, header: &BatchHeader) -> Result<CheckResult, ProofFileFault> {
    let (hash, size) = (leaf_hash(&extra.result), header.count.into());
    verify_inclusion(hash, extra.position, size, &extra.result_path, header.results_root)
        .map_err(|fault| ProofFileFault::Path { what: "result", fault })?;
    CheckResult::decode(&extra.result).map_err(ProofFileFault::Result)
}

fn position_of(header: &BatchHeader, id: &ResultId) -> Result<u64, ProofFileFault> {
    expect("agent", &id.agent, &header.agent)?;
    expect("epoch", id.epoch, header.epoch)?;
    if !(header.seq_first..header.seq_end()).contains(&id.seq) {
        let got = format!("{} to {}", header.seq_first, header.seq_end() - 1);
        return Err(unequal("sequence", id.seq, got));
    }
    Ok(id.seq - header.seq_first)
}

fn find_enrolment(
    reader: &LogReader,
    id: &ResultId,
    leaf_index: u64,
) -> Result<u64, ProofFileFault> {
    for (index, leaf) in reader.leaves_before(leaf_index) {
        let leaf = leaf?;
        if leaf.kind() == LeafKind::KeyChange
            && let Header::KeyChange(change) = leaf.header().map_err(leaf_fault("enrolment"))?
            && let KeyChangeKind::Enrol { agent, epoch, .. } = change.change
            && (&agent, epoch) == (&id.agent, id.epoch)
        {
            return Ok(index);
        }
    }
    Err(ProofFileFault::NoEnrolment { id: id.clone(), leaf_index })
}

fn leaf_fault(what: &'static str) -> impl Fn(LeafFault) -> ProofFileFault {
    move |fault| ProofFileFault::Leaf { what, fault }
}

fn expect<T: PartialEq + ToString>(
    what: &'static str,
    expected: T,
    got: T,
) -> Result<(), ProofFileFault> {
    if expected == got { Ok(()) } else { Err(unequal(what, expected, got)) }
}

fn unequal(what: &'static str, expected: impl ToString, got: impl ToString) -> ProofFileFault {
    ProofFileFault::Unequal { what, expected: expected.to_string(), got: got.to_string() }
}

#[cfg(test)]
mod tests;
