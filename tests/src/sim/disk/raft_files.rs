//! The disk as the Raft log wants it.

use std::io;

use proofmark_aggregator::consensus::log_store::LogFiles;

use super::Disk;

/// The directory `raft`.
pub(in crate::sim) struct RaftFiles {
    disk: Disk,
}

impl RaftFiles {
    pub(in crate::sim) fn new(disk: &Disk) -> Self {
        Self { disk: disk.clone() }
    }
}

fn path(name: &str) -> String {
    format!("raft/{name}")
}

impl LogFiles for RaftFiles {
    fn describe(&self) -> String {
        "raft".to_owned()
    }

    /// One process a node: the world sees to that.
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list("raft")
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.disk.read(&path(name))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read_at(&path(name), offset, len)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.create(&path(name))?;
        self.disk.write_at(&path(name), 0, bytes)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let end = self.disk.len(&path(name))?;
        self.disk.write_at(&path(name), end, bytes)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.disk.set_len(&path(name), len)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.disk.sync(&path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&path(from), &path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&path(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_dir("raft")
    }
}
