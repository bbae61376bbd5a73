//! Writing a snapshot. In memory: the rows as they were given, and one chunk.

use proofmark_evidence::{ByteWriter, Hash, sha256};

use super::head::{Head, PREFIX_BYTES, ROOT_BYTES, chunk_count};
use super::store::{scratch_name, snapshot_name};
use super::{About, Descriptor, RowBytes, SnapshotFault, SnapshotFiles};
use crate::limits::{SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES};

/// Writes the rows (keys ascend) as a snapshot, durably. Until the name is there, there is none.
///
/// # Errors
/// The rows are too many, or the disk refuses; the scratch file may be left, and is removed at the
/// next write and at the next start.
pub(super) fn write(
    files: &dyn SnapshotFiles,
    about: &About,
    rows: &[RowBytes],
) -> Result<Descriptor, SnapshotFault> {
    let index = about.position.index;
    let (name, scratch) = (snapshot_name(index), scratch_name(index));
    let disk = |fault| SnapshotFault::Disk { name: scratch.clone(), fault };
    let mut head = blank_head(about, rows)?;
    let chunks_at = head.encode().len() as u64;
    files.remove(&scratch).map_err(disk)?;
    let mut chunks = Chunks { rows: rows.iter(), bytes: Vec::new() };
    for number in 0..head.chunk_hashes.len() {
        let chunk = chunks.next_chunk();
        head.chunk_hashes[number] = sha256(&chunk);
        let at = chunks_at + (number * SNAPSHOT_CHUNK_BYTES) as u64;
        files.write_at(&scratch, at, &chunk).map_err(disk)?;
    }
    let head = head.encode();
    files.write_at(&scratch, 0, &head).map_err(disk)?;
    // A crash here leaves a scratch file, whole or not: start-up removes it.
    files.sync(&scratch).map_err(disk)?;
    // A crash here leaves the same.
    files.rename(&scratch, &name).map_err(disk)?;
    // A crash here leaves the snapshot, or its scratch file: nobody was told of it yet.
    files.sync_dir().map_err(disk)?;
    let (_, descriptor) = Head::decode(&head).expect("what was encoded a moment ago");
    debug_assert_eq!(descriptor.head_bytes as usize, head.len());
    debug_assert!(head.len() >= PREFIX_BYTES + ROOT_BYTES);
    Ok(descriptor)
}

/// The head with zeros for hashes: as long as it will be.
fn blank_head(about: &About, rows: &[RowBytes]) -> Result<Head, SnapshotFault> {
    debug_assert!(rows.is_sorted_by(|(one, _), (next, _)| one < next), "rows ascend by key");
    let rows_bytes = rows.iter().map(row_bytes).sum();
    if rows_bytes > SNAPSHOT_BYTES_MAX {
        return Err(SnapshotFault::TooLarge { bytes_max: SNAPSHOT_BYTES_MAX, bytes: rows_bytes });
    }
    let chunk_hashes = vec![Hash::ZERO; chunk_count(rows_bytes) as usize];
    Ok(Head { about: about.clone(), row_count: rows.len() as u64, rows_bytes, chunk_hashes })
}

fn row_bytes((key, value): &RowBytes) -> u64 {
    let len_bytes = |len: usize| (64 - (len as u64 | 1).leading_zeros()).div_ceil(7) as usize;
    (len_bytes(key.len()) + key.len() + len_bytes(value.len()) + value.len()) as u64
}

/// Cuts the encoded rows into chunks.
struct Chunks<'a> {
    rows: std::slice::Iter<'a, RowBytes>,
    /// Encoded and not yet handed out.
    bytes: Vec<u8>,
}

impl Chunks<'_> {
    fn next_chunk(&mut self) -> Vec<u8> {
        while self.bytes.len() < SNAPSHOT_CHUNK_BYTES {
            let Some((key, value)) = self.rows.next() else { break };
            let mut row = ByteWriter::new();
            row.bytes(key).bytes(value);
            self.bytes.extend_from_slice(&row.into_bytes());
        }
        let rest = self.bytes.split_off(self.bytes.len().min(SNAPSHOT_CHUNK_BYTES));
        std::mem::replace(&mut self.bytes, rest)
    }
}
