//! A snapshot on its way from another replica: `<index>.part`, filled chunk by chunk in any order.
//!
//! Nothing in it is believed for being there. After a restart every chunk is hashed again, so that
//! a torn or lost write is simply a chunk that is still missing.

use std::collections::BTreeSet;
use std::sync::Arc;

use proofmark_evidence::sha256;

use super::head::Head;
use super::store::{part_name, snapshot_name};
use super::{Descriptor, Snapshot, SnapshotFault, SnapshotFiles};

/// The partial download of one snapshot.
pub struct Part {
    snapshot: Snapshot,
    missing: BTreeSet<u32>,
}

impl Part {
    /// Goes on with the file that is there. `None`: there is none that fits the descriptor.
    pub(super) fn resume(files: Arc<dyn SnapshotFiles>, descriptor: &Descriptor) -> Option<Part> {
        let name = part_name(descriptor.position.index);
        let snapshot = Snapshot::open_as(files, name).ok()?;
        if snapshot.descriptor() != *descriptor {
            return None;
        }
        let chunks = 0..descriptor.chunk_count();
        let missing = chunks.filter(|number| snapshot.chunk(*number).is_err()).collect();
        Some(Part { snapshot, missing })
    }

    /// Begins with the head as a peer sent it.
    ///
    /// # Errors
    /// The bytes are not the head that the descriptor stands for, or the disk refuses.
    pub(super) fn begin(
        files: Arc<dyn SnapshotFiles>,
        descriptor: &Descriptor,
        head: &[u8],
    ) -> Result<Part, SnapshotFault> {
        let name = part_name(descriptor.position.index);
        let bad = |why| SnapshotFault::Head { name: name.clone(), why };
        let (_, got) = Head::decode(head).map_err(bad)?;
        if got != *descriptor {
            return Err(bad(format!("expected {descriptor:?}, got {got:?}")));
        }
        let disk = |fault| SnapshotFault::Disk { name: name.clone(), fault };
        files.remove(&name).map_err(disk)?;
        files.write_at(&name, 0, head).map_err(disk)?;
        // A crash here leaves a head, whole or not: resuming takes it, or begins again.
        let snapshot = Snapshot::open_as(files, name)?;
        Ok(Part { snapshot, missing: (0..descriptor.chunk_count()).collect() })
    }

    /// Chunks that are not here yet.
    pub fn missing(&self) -> &BTreeSet<u32> {
        &self.missing
    }

    pub fn descriptor(&self) -> Descriptor {
        self.snapshot.descriptor()
    }

    /// Takes a chunk as a peer sent it. Not durable before [`Part::finish`].
    ///
    /// # Errors
    /// The bytes are not those of its hash: ask another peer. Or the disk refuses.
    pub fn put(&mut self, number: u32, bytes: &[u8]) -> Result<(), SnapshotFault> {
        let name = self.snapshot.name.clone();
        let expected = self.snapshot.head.chunk_hashes.get(number as usize);
        if expected != Some(&sha256(bytes)) {
            return Err(SnapshotFault::Chunk { name, number });
        }
        let at = self.descriptor().chunk_at(number);
        let written = self.snapshot.files.write_at(&name, at, bytes);
        written.map_err(|fault| SnapshotFault::Disk { name, fault })?;
        self.missing.remove(&number);
        Ok(())
    }

    /// All chunks are here: makes them durable under the snapshot's name.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn finish(self) -> Result<(), SnapshotFault> {
        assert!(self.missing.is_empty(), "chunks are missing: {:?}", self.missing);
        let Snapshot { files, name, .. } = &self.snapshot;
        let disk = |fault| SnapshotFault::Disk { name: name.clone(), fault };
        files.sync(name).map_err(disk)?;
        // A crash here leaves a part with every chunk: it is resumed, and finished again.
        files.rename(name, &snapshot_name(self.descriptor().position.index)).map_err(disk)?;
        // A crash here leaves the snapshot or the part: the same.
        files.sync_dir().map_err(disk)
    }
}
