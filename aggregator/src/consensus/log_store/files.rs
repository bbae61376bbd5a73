//! The files of a log: opening each, making the next.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::record::{self, FileHeader};
use super::{LogStoreFault, fault};

const EXTENSION: &str = "raftlog";
const UNFINISHED: &str = "next.tmp";
const LOCK: &str = "lock";

/// Whole records of one file, oldest first, and what follows them.
pub(super) struct Scanned {
    pub(super) header: FileHeader,
    /// Number, offset in the file, and body of each record after the header.
    pub(super) records: Vec<(u64, usize, Vec<u8>)>,
    /// Where the whole records end.
    pub(super) end: usize,
    /// Bytes after that: an unfinished record, or none.
    pub(super) torn: usize,
}

/// Keeps other processes out until the returned file is closed, however this one ends.
pub(super) fn lock(dir: &Path) -> Result<File, LogStoreFault> {
    let path = dir.join(LOCK);
    let file = File::create(&path).map_err(|cause| fault(&path, &cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(LogStoreFault::InUse { dir: dir.display().to_string() })
        }
        Err(TryLockError::Error(cause)) => Err(fault(&path, &cause)),
    }
}

/// Makes a file that holds its header and nothing else, durably.
pub(super) fn make(dir: &Path, number: u64, header: &FileHeader) -> io::Result<File> {
    let unfinished = dir.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(&record::frame(number, &header.encode(), &FileHeader::NO_SALT))?;
    file.sync_all()?;
    // A crash here leaves an unfinished file under its own name: start-up removes it.
    std::fs::rename(&unfinished, path(dir, number))?;
    File::open(dir)?.sync_all()?;
    // A crash here leaves a last file without records: start-up goes on in it.
    OpenOptions::new().read(true).append(true).open(path(dir, number))
}

/// Makes a directory's own name durable.
pub(super) fn sync_parent(dir: &Path) -> io::Result<()> {
    dir.canonicalize()?.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Whether there is a file of a log, or something that keeps us from knowing. Changes nothing.
pub(super) fn any(dir: &Path) -> bool {
    let is_log = |path: &Path| path.extension().is_some_and(|extension| extension == EXTENSION);
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.any(|entry| entry.map_or(true, |entry| is_log(&entry.path()))),
        Err(cause) => cause.kind() != io::ErrorKind::NotFound,
    }
}

/// The log's files with the numbers of their first records, ascending.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, LogStoreFault> {
    let _ = std::fs::remove_file(dir.join(UNFINISHED));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|cause| fault(dir, &cause))? {
        let path = entry.map_err(|cause| fault(dir, &cause))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let number = stem.and_then(|stem| stem.parse().ok());
            files.push((number.ok_or_else(|| damaged(&path, 0, "the file's name"))?, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Reads a file whose first record must have `number`.
///
/// A damaged record with an undamaged one after it was durable once, because each record is flushed
/// before the next is written: that is damage, and never cut away. Only in the last file, and only
/// at its very end, may a record be unfinished.
pub(super) fn scan(path: &Path, number: u64, is_last: bool) -> Result<Scanned, LogStoreFault> {
    let bytes = std::fs::read(path).map_err(|cause| fault(path, &cause))?;
    let first = record::unframe(&bytes, &FileHeader::NO_SALT)
        .filter(|record| record.number == number)
        .ok_or_else(|| damaged(path, 0, "the file's header"))?;
    let header = FileHeader::decode(first.body);
    let header = header.map_err(|_| damaged(path, 0, "the file's header"))?;
    let mut scanned = Scanned { header, records: Vec::new(), end: first.len(), torn: 0 };
    while let Some(record) = record::unframe(&bytes[scanned.end..], &scanned.header.salt) {
        if record.number != number + 1 + scanned.records.len() as u64 {
            return Err(damaged(path, scanned.end, "the record's number"));
        }
        scanned.records.push((record.number, scanned.end, record.body.to_vec()));
        scanned.end += record.len();
    }
    let rest = &bytes[scanned.end..];
    if !rest.is_empty() && (!is_last || record::any_record(rest, &scanned.header.salt)) {
        return Err(damaged(path, scanned.end, "a record that others follow"));
    }
    scanned.torn = rest.len();
    Ok(scanned)
}

/// Opens a file for appending after its whole records.
pub(super) fn reopen(path: &Path, scanned: &Scanned) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).open(path)?;
    if scanned.torn > 0 {
        tracing::warn!(path = %path.display(), bytes = scanned.torn, "unfinished record cut away");
        file.set_len(scanned.end as u64)?;
        file.sync_all()?;
        // A crash before this leaves the unfinished record: start-up cuts it away again.
    }
    Ok(file)
}

pub(super) fn damaged(path: &Path, offset: usize, what: &'static str) -> LogStoreFault {
    LogStoreFault::Damaged { file: path.display().to_string(), offset: offset as u64, what }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.{EXTENSION}"))
}
