//! The few things a log asks of a disk, so that a virtual one can take its place.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::guarded;

/// One directory of files. What is not synced may be lost in a crash, or kept, whole or in part:
/// bytes by [`LogFiles::sync`], names by [`LogFiles::sync_names`].
///
/// After any failure the log does not go on, so an implementation need not say what was done.
pub trait LogFiles: Send + Sync {
    /// The directory, for people.
    fn describe(&self) -> String;

    /// Keeps everybody else out until this value is dropped. `WouldBlock`: somebody is in.
    fn lock(&self) -> io::Result<()>;

    /// Every file's name, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Exactly `len` bytes from `offset`; `UnexpectedEof` when there are fewer.
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Makes a file, or empties it, and writes this into it.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Writes bytes over the same bytes, so that the next sync brings them to the disk, whatever
    /// became of the last one. A disk whose failed sync may simply be called again need not.
    fn rewrite(&self, _name: &str, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;

    /// Bytes and length of this file survive any crash from here on.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Takes the place of a file with the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Which names there are survives any crash from here on.
    fn sync_names(&self) -> io::Result<()>;
}

/// A real directory. Files stay open, so that one that is read while it is removed can be read to
/// its end.
pub struct DirFiles {
    dir: PathBuf,
    open: Mutex<BTreeMap<String, Arc<File>>>,
    locked: Mutex<Option<File>>,
}

const LOCK: &str = "lock";

impl DirFiles {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), open: Mutex::default(), locked: Mutex::default() }
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut open = guarded(&self.open);
        if let Some(file) = open.get(name) {
            return Ok(Arc::clone(file));
        }
        let path = self.dir.join(name);
        let file = Arc::new(OpenOptions::new().read(true).append(true).open(path)?);
        open.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl LogFiles for DirFiles {
    fn describe(&self) -> String {
        self.dir.display().to_string()
    }

    fn lock(&self) -> io::Result<()> {
        let file = File::create(self.dir.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => *guarded(&self.locked) = Some(file),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<std::fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        std::fs::read_dir(&self.dir)?.map(name).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.dir.join(name))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file(name)?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        guarded(&self.open).remove(name);
        // A crash here leaves some of it: only `files::make` calls this, for a name that start-up
        // removes.
        std::fs::write(self.dir.join(name), bytes)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        (&*self.file(name)?).write_all(bytes)
    }

    fn rewrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Not by the file that is open: it appends wherever it is told to write.
        let file = OpenOptions::new().write(true).open(self.dir.join(name))?;
        file.write_all_at(bytes, offset)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.file(name)?.set_len(len)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        guarded(&self.open).remove(from);
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        guarded(&self.open).remove(name);
        std::fs::remove_file(self.dir.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}
