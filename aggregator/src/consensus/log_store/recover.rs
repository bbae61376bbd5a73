//! Opening a log: what a crash left is mended, what a crash could not have left is refused.

use std::io;

use super::files::{self, Scanned, damaged};
use super::index::Index;
use super::record::{self, Start};
use super::seam::LogFiles;
use super::{LogIdentity, LogStoreFault, fault};

/// The entries of a log, and its newest file as it was read. Files and index are locked and whole.
pub(super) fn open(
    files: &dyn LogFiles,
    identity: LogIdentity,
) -> Result<(Index, Scanned), LogStoreFault> {
    files.lock().map_err(|cause| match cause.kind() {
        io::ErrorKind::WouldBlock => LogStoreFault::InUse { dir: files.describe() },
        _ => fault(files, "", &cause),
    })?;
    let found = files::list(files)?;
    let newest = *found.last().ok_or(LogStoreFault::Missing { dir: files.describe() })?;
    let last = files::scan(files, newest, true)?;
    check_identity(&last, identity)?;
    files::mend(files, &last)
        .and_then(|()| files::write_last_again(files, &last))
        .map_err(|cause| fault(files, "", &cause))?;
    let kept = let_go(files, &found, &last)?;
    let mut index = Index::new(*kept.first().unwrap_or(&newest));
    for number in kept.iter().filter(|number| **number != newest) {
        replay(files, &mut index, &files::scan(files, *number, false)?, identity)?;
    }
    replay(files, &mut index, &last, identity)?;
    if !index.is_whole() {
        return Err(damaged(files, &files::name(newest), 0, "the entries before its first"));
    }
    Ok((index, last))
}

/// Which files are the log's, by the newest one's word; removes those below, which a crash left.
fn let_go(files: &dyn LogFiles, found: &[u64], last: &Scanned) -> Result<Vec<u64>, LogStoreFault> {
    let mut keep_from = last.header.keep_from;
    for (offset, body) in &last.records {
        if let Some(
            Start::Reset { keep_from: from, .. } | Start::Compacted { keep_from: from, .. },
        ) = decode(files, last, *offset, body)?.start
        {
            keep_from = from;
        }
    }
    let (gone, kept): (Vec<u64>, Vec<u64>) =
        found.iter().copied().partition(|number| *number < keep_from);
    let first = *kept.first().unwrap_or(&last.number);
    if first != keep_from {
        return Err(damaged(files, &files::name(first), 0, "the file before it"));
    }
    files::remove(files, gone);
    Ok(kept)
}

/// Takes one file's records, which follow those taken before.
fn replay(
    files: &dyn LogFiles,
    index: &mut Index,
    scanned: &Scanned,
    identity: LogIdentity,
) -> Result<(), LogStoreFault> {
    let (number, name) = (scanned.number, files::name(scanned.number));
    check_identity(scanned, identity)?;
    if index.next_number.is_some_and(|next| next != number) {
        return Err(damaged(files, &name, 0, "the file before it"));
    }
    index.next_number = Some(scanned.next_number());
    index.files.insert(number, scanned.end as u64);
    for (offset, body) in &scanned.records {
        let written = decode(files, scanned, *offset, body)?;
        if !index.take(written, body, *offset as u64) {
            return Err(damaged(files, &name, *offset, "the entries before it"));
        }
    }
    Ok(())
}

fn decode(
    files: &dyn LogFiles,
    scanned: &Scanned,
    offset: usize,
    body: &[u8],
) -> Result<record::Written, LogStoreFault> {
    let name = files::name(scanned.number);
    let unreadable = |_| damaged(files, &name, offset, "a record of this version");
    record::decode_body(body, scanned.header.version).map_err(unreadable)
}

fn check_identity(scanned: &Scanned, expected: LogIdentity) -> Result<(), LogStoreFault> {
    let (file, got) = (files::name(scanned.number), scanned.header.identity);
    match expected == got {
        true => Ok(()),
        false => Err(LogStoreFault::Identity { file, expected, got }),
    }
}
