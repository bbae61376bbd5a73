//! The disk as snapshots want it.

use std::io;

use proofmark_aggregator::snapshot::SnapshotFiles as Files;

use super::Disk;

/// The directory `snapshots`.
pub(in crate::sim) struct SnapshotFiles {
    disk: Disk,
}

impl SnapshotFiles {
    /// # Errors
    /// The disk refuses to make the directory.
    pub(in crate::sim) fn open(disk: &Disk) -> io::Result<Self> {
        disk.make_dir("snapshots")?;
        // A crash here leaves a directory, or none: the next start makes it again.
        disk.sync_dir("")?;
        Ok(Self { disk: disk.clone() })
    }
}

fn path(name: &str) -> String {
    format!("snapshots/{name}")
}

impl Files for SnapshotFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list("snapshots")
    }

    fn read_at(&self, name: &str, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.disk.read(&path(name))?;
        let at = usize::try_from(at).expect("a small file").min(bytes.len());
        Ok(bytes[at..bytes.len().min(at + len)].to_vec())
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let path = path(name);
        if !self.disk.exists(&path) {
            self.disk.create(&path)?;
        }
        self.disk.write_at(&path, at, bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.disk.sync(&path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&path(from), &path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.disk.remove(&path(name)) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir("snapshots")
    }
}
