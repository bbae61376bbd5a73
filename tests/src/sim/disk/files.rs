//! The disk as each program wants it: the same calls in the same order as over real files.

use std::io;
use std::path::Path;

use proofmark_agent::spool::{FileOps as SpoolFileOps, WriteFault};
use proofmark_evidence::{FileOps, SourceEntry, SourceFault, TileSource};

use super::{Disk, parent};

/// One directory, as the evidence's writer and readers see it.
#[derive(Clone)]
pub(in crate::sim) struct EvidenceFiles {
    disk: Disk,
    root: &'static str,
}

impl EvidenceFiles {
    pub(in crate::sim) fn new(disk: &Disk, root: &'static str) -> Self {
        Self { disk: disk.clone(), root }
    }

    fn path(&self, path: &str) -> String {
        match (self.root, path) {
            ("", path) => path.to_owned(),
            (root, "") => root.to_owned(),
            (root, path) => format!("{root}/{path}"),
        }
    }
}

impl FileOps for EvidenceFiles {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.disk.read(&self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(&self.path(dir))
    }

    fn make_dir(&mut self, dir: &str) -> io::Result<()> {
        self.disk.make_dir(&self.path(dir))
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(path);
        self.disk.create(&path)?;
        self.disk.write_at(&path, 0, bytes)?;
        self.disk.sync(&path)
    }

    fn append(&mut self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(path);
        if !self.disk.exists(&path) {
            self.disk.create(&path)?;
        }
        if self.disk.len(&path)? != at {
            self.disk.set_len(&path, at)?;
        }
        self.disk.write_at(&path, at, bytes)?;
        self.disk.sync(&path)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(&self.path(dir))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        match self.disk.remove(&self.path(path)) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn remove_dir_if_empty(&mut self, dir: &str) {
        self.disk.remove_dir_if_empty(&self.path(dir));
    }
}

impl TileSource for EvidenceFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        self.disk.read(&self.path(path)).map_err(|fault| match fault.kind() {
            io::ErrorKind::NotFound => SourceFault::NotFound { path: path.to_owned() },
            _ => SourceFault::Unreadable { path: path.to_owned(), message: fault.to_string() },
        })
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        let dir = self.path(dir);
        let entry = |name: String| {
            let is_dir = self.disk.is_dir(&format!("{dir}/{name}"));
            SourceEntry { name, is_dir }
        };
        let names = self.disk.list(&dir).unwrap_or_default();
        Ok(names.into_iter().map(entry).collect())
    }
}

/// The agent's directory; its paths begin with `/`.
pub(in crate::sim) struct SpoolFiles {
    disk: Disk,
}

impl SpoolFiles {
    pub(in crate::sim) fn new(disk: &Disk) -> Self {
        Self { disk: disk.clone() }
    }

    fn sync_dir_of(&self, path: &str) -> Result<(), WriteFault> {
        self.disk.sync_dir(parent(path)).map_err(WriteFault::Sync)
    }
}

impl SpoolFileOps for SpoolFiles {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(&text(dir))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(&text(path))
    }

    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.read_at(&text(path), at, len)
    }

    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), WriteFault> {
        let path = text(path);
        self.disk.create(&path).map_err(WriteFault::Write)?;
        self.disk.write_at(&path, 0, bytes).map_err(WriteFault::Write)?;
        self.disk.sync(&path).map_err(WriteFault::Sync)?;
        self.sync_dir_of(&path)
    }

    fn append(&mut self, path: &Path, at: u64, bytes: &[u8]) -> Result<(), WriteFault> {
        let path = text(path);
        self.disk.write_at(&path, at, bytes).map_err(WriteFault::Write)?;
        self.disk.sync(&path).map_err(WriteFault::Sync)
    }

    fn truncate(&mut self, path: &Path, len: u64) -> Result<(), WriteFault> {
        let path = text(path);
        self.disk.set_len(&path, len).map_err(WriteFault::Write)?;
        self.disk.sync(&path).map_err(WriteFault::Sync)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), WriteFault> {
        let to = text(to);
        self.disk.rename(&text(from), &to).map_err(WriteFault::Write)?;
        self.sync_dir_of(&to)
    }

    fn remove(&mut self, path: &Path) -> Result<(), WriteFault> {
        let path = text(path);
        self.disk.remove(&path).map_err(WriteFault::Write)?;
        self.sync_dir_of(&path)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}
