//! The few things snapshots ask of a file system, so that the simulator's disk can take its place
//! and tests can cut the power between any two of them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// One directory of plain files. What a call returned `Ok` for is durable only where it says so.
pub trait SnapshotFiles: Send + Sync {
    /// Names in the directory, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Bytes from `at` on: `len` of them, fewer only where the file ends.
    fn read_at(&self, name: &str, at: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Writes there, and creates the file when it is missing.
    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file's bytes durable. Its name is not.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Atomically replaces `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// A missing file is fine.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A real directory.
pub struct DiskFiles {
    dir: PathBuf,
}

impl DiskFiles {
    /// Opens the directory; makes it, durably, when it is missing.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<DiskFiles> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        // A crash here leaves a directory, or none: the next start makes it again.
        let parent = dir.canonicalize()?.parent().map(PathBuf::from);
        parent.map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
        Ok(DiskFiles { dir })
    }

    /// A directory as it is, for whoever only reads: nothing is made for it.
    pub fn at(dir: impl Into<PathBuf>) -> DiskFiles {
        DiskFiles { dir: dir.into() }
    }
}

impl SnapshotFiles for DiskFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.dir)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read_at(&self, name: &str, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.dir.join(name))?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match file.read_at(&mut bytes[filled..], at + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(self.dir.join(name))?;
        file.write_all_at(bytes, at)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        // fdatasync would do for the bytes; a file that grew needs its length too, and gets it.
        File::open(self.dir.join(name))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}
