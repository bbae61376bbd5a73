//! stub while being written: signatures stand.
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::hash::Hash;
use crate::leaf::Leaf;
use crate::name::Origin;
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterFault {
    #[error("{file}: {message}; the process must stop and open the log anew")]
    Disk { file: String, message: String },
}
impl WriterFault {
    pub fn slug(&self) -> &'static str {
        "disk"
    }
}

pub struct LogWriter {}
impl LogWriter {
    pub fn create(
        _dir: &Path,
        _origin: &Origin,
        _policy_text: &str,
    ) -> Result<LogWriter, WriterFault> {
        unimplemented!()
    }
    pub fn open(_dir: &Path) -> Result<LogWriter, WriterFault> {
        unimplemented!()
    }
    pub fn size(&self) -> u64 {
        unimplemented!()
    }
    pub fn durable_size(&self) -> u64 {
        unimplemented!()
    }
    pub fn append(&mut self, _leaf: &Leaf, _payload: &[u8]) -> u64 {
        unimplemented!()
    }
    pub fn root(&self) -> Hash {
        unimplemented!()
    }
    pub fn root_at(&self, _size: u64) -> Result<Hash, WriterFault> {
        unimplemented!()
    }
    pub fn sync(&mut self) -> Result<(), WriterFault> {
        unimplemented!()
    }
    pub fn publish(&mut self, _note: &str) -> Result<(), WriterFault> {
        unimplemented!()
    }
    pub fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        unimplemented!()
    }
    pub fn tree_head(&self) -> Checkpoint {
        unimplemented!()
    }
}
