//! stub while being written: signatures stand.
use crate::batch::CheckRef;
use crate::checkpoint::Checkpoint;
use crate::key::PublicKey;
use crate::name::ResultId;
use crate::policy::{Cosigner, Policy};
use crate::reader::LogReader;
use crate::result::CheckResult;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileFault {
    #[error("proof")]
    NotProof,
}
impl ProofFileFault {
    pub fn slug(&self) -> &'static str {
        "proof"
    }
}

pub struct ProofFile {}
impl ProofFile {
    pub fn to_text(&self) -> String {
        unimplemented!()
    }
}
pub struct ProvenResult {
    pub id: ResultId,
    pub result: CheckResult,
    pub check: CheckRef,
    pub scheduled_at_ms: u64,
    pub leaf_index: u64,
    pub agent_key: PublicKey,
    pub checkpoint: Checkpoint,
    pub cosigners: Vec<Cosigner>,
}
pub fn prove_result(
    _reader: &LogReader,
    _id: &ResultId,
    _leaf_index: u64,
) -> Result<ProofFile, ProofFileFault> {
    unimplemented!()
}
pub fn prove_result_with_enrol(
    _reader: &LogReader,
    _id: &ResultId,
    _leaf_index: u64,
    _enrol_index: u64,
) -> Result<ProofFile, ProofFileFault> {
    unimplemented!()
}
pub fn check_proof(_text: &str, _policy: &Policy) -> Result<ProvenResult, ProofFileFault> {
    unimplemented!()
}
