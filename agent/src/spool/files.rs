//! The few things the spool does to a disk, as a seam: tests put a disk behind it that fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::SpoolFault;

/// Which half of a durable write failed. The difference decides whether trying again is sound.
#[derive(Debug)]
pub enum WriteFault {
    /// The bytes were refused; the disk may be full.
    Write(io::Error),
    /// The bytes were taken, and the disk would not say they are safe.
    Sync(io::Error),
}

impl WriteFault {
    pub(super) fn at(self, path: &Path) -> SpoolFault {
        let path = path.display().to_string();
        match self {
            WriteFault::Write(error) => SpoolFault::Write { path, error },
            WriteFault::Sync(error) => SpoolFault::Sync { path, error },
        }
    }
}

/// Every write is durable when it returns.
pub trait FileOps: Send + 'static {
    /// Names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>>;
    /// A file with exactly these bytes, whatever was there.
    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), WriteFault>;
    /// Bytes at offset `at`: the file's end, or where these same bytes lie already.
    fn append(&mut self, path: &Path, at: u64, bytes: &[u8]) -> Result<(), WriteFault>;
    fn truncate(&mut self, path: &Path, len: u64) -> Result<(), WriteFault>;
    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), WriteFault>;
    fn remove(&mut self, path: &Path) -> Result<(), WriteFault>;
}

/// The file system of this machine.
#[derive(Debug, Default)]
pub struct RealFiles;

impl FileOps for RealFiles {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?;
        names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), WriteFault> {
        let mut file = File::create(path).map_err(WriteFault::Write)?;
        file.write_all(bytes).map_err(WriteFault::Write)?;
        file.sync_all().map_err(WriteFault::Sync)?;
        // A crash here leaves bytes that no directory names; start-up finds no file.
        sync_dir_of(path)
    }

    fn append(&mut self, path: &Path, at: u64, bytes: &[u8]) -> Result<(), WriteFault> {
        let mut file = OpenOptions::new().write(true).open(path).map_err(WriteFault::Write)?;
        file.seek(SeekFrom::Start(at)).map_err(WriteFault::Write)?;
        file.write_all(bytes).map_err(WriteFault::Write)?;
        file.sync_data().map_err(WriteFault::Sync)
    }

    fn truncate(&mut self, path: &Path, len: u64) -> Result<(), WriteFault> {
        let file = OpenOptions::new().write(true).open(path).map_err(WriteFault::Write)?;
        file.set_len(len).map_err(WriteFault::Write)?;
        file.sync_all().map_err(WriteFault::Sync)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), WriteFault> {
        fs::rename(from, to).map_err(WriteFault::Write)?;
        sync_dir_of(to)
    }

    fn remove(&mut self, path: &Path) -> Result<(), WriteFault> {
        fs::remove_file(path).map_err(WriteFault::Write)?;
        sync_dir_of(path)
    }
}

/// Replaces a small file as a whole, durably: readers find the old bytes or the new ones.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), SpoolFault> {
    let new = path.with_extension("new");
    RealFiles.create(&new, bytes).map_err(|fault| fault.at(&new))?;
    // A crash here leaves the old file and a `.new` beside it; the next replacement overwrites it.
    RealFiles.rename(&new, path).map_err(|fault| fault.at(path))
}

/// Makes the names in a directory durable, its own, and those above it: whoever made it may have
/// made them.
///
/// # Errors
/// A directory's sync failed. One that we may not open is somebody else's, and so is its name.
pub fn sync_names(dir: &Path) -> io::Result<()> {
    for dir in dir.canonicalize()?.ancestors() {
        match File::open(dir) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            opened => opened?.sync_all()?,
        }
    }
    Ok(())
}

/// Removes a file durably.
pub fn remove_file(path: &Path) -> Result<(), SpoolFault> {
    RealFiles.remove(path).map_err(|fault| fault.at(path))
}

fn sync_dir_of(path: &Path) -> Result<(), WriteFault> {
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(WriteFault::Sync)
}
