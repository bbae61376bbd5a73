//! The few things the writer asks of a file system, so that tests can make each of them fail.
//! What a crash here leaves is said by the writer, between every two of these calls.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Paths are relative to the log's directory, with `/` between parts. What a method returned
/// `Ok` for is durable only where it says so.
pub trait FileOps: Send {
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Names in a directory, in any order. A missing directory is empty.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Creates one directory below an existing one, unless it is there.
    fn make_dir(&mut self, dir: &str) -> io::Result<()>;

    /// Creates or replaces a file. Its bytes are durable, its name is not.
    fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or creates the file so that it ends at `at`, then adds the bytes, durably.
    fn append(&mut self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Atomically replaces `to`.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&mut self, dir: &str) -> io::Result<()>;

    /// A missing file is fine.
    fn remove(&mut self, path: &str) -> io::Result<()>;

    /// Removes an empty directory, leaves any other as it is.
    fn remove_dir_if_empty(&mut self, dir: &str);
}

/// The real file system below one directory.
pub struct DiskFiles {
    root: PathBuf,
}

impl DiskFiles {
    pub fn new(root: PathBuf) -> DiskFiles {
        DiskFiles { root }
    }

    /// Creates the directory itself, durably.
    pub fn make_root(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.root)?;
        let root = self.root.canonicalize()?;
        root.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }
}

impl FileOps for DiskFiles {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.root.join(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        match std::fs::read_dir(self.root.join(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(entries) => {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            }
        }
    }

    fn make_dir(&mut self, dir: &str) -> io::Result<()> {
        match std::fs::create_dir(self.root.join(dir)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.root.join(path))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn append(&mut self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true);
        let mut file = options.open(self.root.join(path))?;
        if file.metadata()?.len() != at {
            file.set_len(at)?;
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.root.join(from), self.root.join(to))
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        File::open(self.root.join(dir))?.sync_all()
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        match std::fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn remove_dir_if_empty(&mut self, dir: &str) {
        // Not empty is the usual case, and an empty directory left behind harms nobody.
        let _ = std::fs::remove_dir(self.root.join(dir));
    }
}
