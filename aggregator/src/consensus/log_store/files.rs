//! The files of a log: opening each, making the next.

use std::io;
use std::path::Path;

use super::record::{self, FileHeader};
use super::seam::LogFiles;
use super::{LogStoreFault, fault};

const EXTENSION: &str = "raftlog";
const UNFINISHED: &str = "next.tmp";

/// Whole records of one file, oldest first, and what follows them.
pub(super) struct Scanned {
    /// The file's, and its header's.
    pub(super) number: u64,
    pub(super) header: FileHeader,
    /// Offset in the file, and body of each record after the header.
    pub(super) records: Vec<(usize, Vec<u8>)>,
    /// Where the whole records end.
    pub(super) end: usize,
    /// Bytes after that: an unfinished record, or none.
    pub(super) torn: usize,
}

/// The name of the file whose first record has this number.
pub(super) fn name(number: u64) -> String {
    format!("{number:020}.{EXTENSION}")
}

/// Makes a file that holds its header and nothing else, durably.
pub(super) fn make(files: &dyn LogFiles, number: u64, header: &FileHeader) -> io::Result<u64> {
    let framed = record::frame(number, &header.encode(), &FileHeader::NO_SALT);
    files.write(UNFINISHED, &framed)?;
    files.sync(UNFINISHED)?;
    // A crash here leaves an unfinished file under its own name: start-up removes it.
    files.rename(UNFINISHED, &name(number))?;
    files.sync_names()?;
    // A crash here leaves a last file without records: start-up goes on in it.
    Ok(framed.len() as u64)
}

/// Makes a directory's own name durable.
pub(super) fn sync_parent(dir: &Path) -> io::Result<()> {
    let parent = dir.canonicalize()?.parent().map(Path::to_owned);
    parent.map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
}

/// Whether there is a file of a log, or something that keeps us from knowing. Changes nothing.
pub(super) fn any(dir: &Path) -> bool {
    let is_log = |path: &Path| path.extension().is_some_and(|extension| extension == EXTENSION);
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.any(|entry| entry.map_or(true, |entry| is_log(&entry.path()))),
        Err(cause) => cause.kind() != io::ErrorKind::NotFound,
    }
}

/// The numbers of the log's files, ascending.
pub(super) fn list(files: &dyn LogFiles) -> Result<Vec<u64>, LogStoreFault> {
    let mut numbers = Vec::new();
    for found in files.list().map_err(|cause| fault(files, "", &cause))? {
        if found == UNFINISHED {
            // Nobody was told of it; without its removal the next one takes its place.
            let _ = files.remove(&found);
        } else if let Some(stem) = found.strip_suffix(&format!(".{EXTENSION}")) {
            let number = stem.parse().ok().filter(|number| name(*number) == found);
            numbers.push(number.ok_or_else(|| damaged(files, &found, 0, "the file's name"))?);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads a file whose first record must have `number`.
///
/// A damaged record with an undamaged one after it was durable once, because each record is flushed
/// before the next is written: that is damage, and never cut away. Only in the last file, and only
/// at its very end, may a record be unfinished.
pub(super) fn scan(
    files: &dyn LogFiles,
    number: u64,
    is_last: bool,
) -> Result<Scanned, LogStoreFault> {
    let name = name(number);
    let damaged = |offset, what| damaged(files, &name, offset, what);
    let bytes = files.read(&name).map_err(|cause| fault(files, &name, &cause))?;
    let first = record::unframe(&bytes, &FileHeader::NO_SALT)
        .filter(|record| record.number == number)
        .ok_or_else(|| damaged(0, "the file's header"))?;
    let header = FileHeader::decode(first.body).map_err(|_| damaged(0, "the file's header"))?;
    let mut scanned = Scanned { number, header, records: Vec::new(), end: first.len(), torn: 0 };
    while let Some(record) = record::unframe(&bytes[scanned.end..], &scanned.header.salt) {
        if record.number != scanned.next_number() {
            return Err(damaged(scanned.end, "the record's number"));
        }
        scanned.records.push((scanned.end, record.body.to_vec()));
        scanned.end += record.len();
    }
    let rest = &bytes[scanned.end..];
    if !rest.is_empty() && (!is_last || record::any_record(rest, &scanned.header.salt)) {
        return Err(damaged(scanned.end, "a record that others follow"));
    }
    scanned.torn = rest.len();
    Ok(scanned)
}

impl Scanned {
    /// The number of the record that follows, in this file or as the next one's first.
    pub(super) fn next_number(&self) -> u64 {
        self.number + 1 + self.records.len() as u64
    }
}

/// Cuts an unfinished record away.
pub(super) fn mend(files: &dyn LogFiles, scanned: &Scanned) -> io::Result<()> {
    if scanned.torn > 0 {
        let name = name(scanned.number);
        tracing::warn!(file = name, bytes = scanned.torn, "unfinished record cut away");
        files.truncate(&name, scanned.end as u64)?;
        files.sync(&name)?;
        // A crash before this leaves the unfinished record: start-up cuts it away again.
    }
    Ok(())
}

/// Writes the last record once more, as it is, and makes the names durable again. A sync of either
/// may have failed in the process before this one: then what is read here lies in memory and not
/// on the disk, and no further sync would bring it there. All before it were synced, or it would
/// not have been written.
pub(super) fn write_last_again(files: &dyn LogFiles, scanned: &Scanned) -> io::Result<()> {
    if let Some((offset, body)) = scanned.records.last() {
        let name = name(scanned.number);
        let framed = record::frame(scanned.next_number() - 1, body, &scanned.header.salt);
        files.rewrite(&name, *offset as u64, &framed)?;
        // A crash here leaves the record as it was: the bytes are the same.
        files.sync(&name)?;
    }
    files.sync_names()
}

/// A file that stays is tried again at the next start.
pub(super) fn remove(files: &dyn LogFiles, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        if let Err(cause) = files.remove(&name(number)) {
            tracing::warn!(number, %cause, "a needless file of the raft log stays");
        }
    }
}

pub(super) fn damaged(
    files: &dyn LogFiles,
    name: &str,
    offset: usize,
    what: &'static str,
) -> LogStoreFault {
    let file = format!("{}/{name}", files.describe());
    LogStoreFault::Damaged { file, offset: offset as u64, what }
}
