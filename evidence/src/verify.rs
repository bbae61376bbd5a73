//! stub while being written: signatures stand.
use crate::hash::Hash;
use crate::header::Header;
use crate::layout::TileSource;
use crate::name::AgentName;
use crate::policy::{Cosigner, Policy};
use crate::seal::OpenBatch;

/// Something in the log that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: String,
    pub leaf: Option<u64>,
    pub slug: &'static str,
    pub expected: String,
    pub got: String,
}
/// One life of one agent, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSpan {
    pub agent: AgentName,
    pub epoch: u64,
    pub seq_first: u64,
    pub seq_last: u64,
    pub batches: u64,
    pub results: u64,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub size: u64,
    pub root: Hash,
    pub unpublished: u64,
    pub batches: u64,
    pub results: u64,
    pub agents: Vec<AgentSpan>,
    pub cosigners: Vec<Cosigner>,
    pub faults: Vec<Fault>,
    pub faults_count: u64,
}
impl Report {
    pub fn is_sound(&self) -> bool {
        self.faults_count == 0
    }
}
pub trait LeafVisitor {
    fn leaf(&mut self, index: u64, header: &Header, open: Option<&OpenBatch>, payload: &[u8]);
}
pub fn verify_log(
    _source: &dyn TileSource,
    _policy: &Policy,
    _visitor: &mut dyn LeafVisitor,
) -> Report {
    unimplemented!()
}
pub fn verify_log_unpinned(_source: &dyn TileSource, _visitor: &mut dyn LeafVisitor) -> Report {
    unimplemented!()
}
