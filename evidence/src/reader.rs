//! stub while being written: signatures stand.
use crate::checkpoint::SignedCheckpoint;
use crate::hash::Hash;
use crate::layout::{SourceFault, TileSource};
use crate::leaf::Leaf;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReaderFault {
    #[error(transparent)]
    Source(#[from] SourceFault),
    #[error("{file}: {slug}: expected {expected}, got {got}")]
    Damaged {
        file: String,
        slug: &'static str,
        expected: String,
        got: String,
    },
    #[error("expected an index or size up to {size}, got {got}")]
    BeyondSize { size: u64, got: u64 },
}
impl ReaderFault {
    pub fn slug(&self) -> &'static str {
        "reader"
    }
}

pub struct LogReader {}
/// A published leaf and its payload blob.
pub struct PublishedLeaf {
    pub index: u64,
    pub leaf: Leaf,
    pub payload: Vec<u8>,
}
impl LogReader {
    pub fn open(
        _source: impl TileSource + Send + Sync + 'static,
    ) -> Result<LogReader, ReaderFault> {
        unimplemented!()
    }
    pub fn refresh(&mut self) -> Result<(), ReaderFault> {
        unimplemented!()
    }
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        unimplemented!()
    }
    pub fn size(&self) -> u64 {
        unimplemented!()
    }
    pub fn leaf(&self, _index: u64) -> Result<Leaf, ReaderFault> {
        unimplemented!()
    }
    pub fn payload(&self, _index: u64) -> Result<Vec<u8>, ReaderFault> {
        unimplemented!()
    }
    pub fn leaves(
        &self,
        _range: Range<u64>,
    ) -> impl Iterator<Item = Result<PublishedLeaf, ReaderFault>> + '_ {
        std::iter::empty()
    }
    pub fn inclusion_proof(&self, _index: u64, _size: u64) -> Result<Vec<Hash>, ReaderFault> {
        unimplemented!()
    }
    pub fn consistency_proof(&self, _old: u64, _new: u64) -> Result<Vec<Hash>, ReaderFault> {
        unimplemented!()
    }
    pub fn root_at(&self, _size: u64) -> Result<Hash, ReaderFault> {
        unimplemented!()
    }
    pub fn source(&self) -> Arc<dyn TileSource + Send + Sync> {
        unimplemented!()
    }
}
