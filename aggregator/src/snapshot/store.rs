//! The directory of snapshots: `<index>` whole, `<index>.part` on its way here, `<index>.tmp` being
//! written. Indexes have 20 digits, so that names sort as they do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::{About, Descriptor, Part, RowBytes, Snapshot, SnapshotFault, SnapshotFiles, write};
use crate::limits::SNAPSHOTS_KEPT;

/// All snapshots of one replica. Clones share the directory.
#[derive(Clone)]
pub struct SnapshotStore {
    files: Arc<dyn SnapshotFiles>,
    /// Held while names change, so that one thread's removals meet no other's renames.
    names: Arc<Mutex<()>>,
}

/// What a file of the directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A snapshot that was finished.
    Whole { index: u64 },
    /// A download goes on from it.
    OnItsWay,
    /// Was being written when the process ended.
    Scratch,
    /// None of ours.
    Unknown,
}

impl Content {
    fn of(name: &str) -> Content {
        match parse(name, "") {
            Some(index) => Content::Whole { index },
            None if parse(name, PART_SUFFIX).is_some() => Content::OnItsWay,
            None if name.ends_with(SCRATCH_SUFFIX) => Content::Scratch,
            None => Content::Unknown,
        }
    }
}

impl SnapshotStore {
    /// Takes over the directory and removes what was being written when the process ended.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(files: Arc<dyn SnapshotFiles>) -> Result<SnapshotStore, SnapshotFault> {
        let store = SnapshotStore { files, names: Arc::default() };
        for name in store.list()? {
            if name.ends_with(SCRATCH_SUFFIX) {
                store.remove(&name)?;
            }
        }
        Ok(store)
    }

    /// The directory as another process left it; nothing is removed.
    pub fn read_only(files: Arc<dyn SnapshotFiles>) -> SnapshotStore {
        SnapshotStore { files, names: Arc::default() }
    }

    /// What lies in the directory, by name.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn contents(&self) -> Result<BTreeMap<String, Content>, SnapshotFault> {
        let names = self.list()?;
        Ok(names.into_iter().map(|name| (name.clone(), Content::of(&name))).collect())
    }

    /// Writes a snapshot, durably. One of the same index is replaced by the same bytes.
    ///
    /// # Errors
    /// The state is too large, or the disk refuses. What was there stays.
    pub fn write(&self, about: &About, rows: &[RowBytes]) -> Result<Descriptor, SnapshotFault> {
        write::write(&*self.files, about, rows)
    }

    /// The indexes of whole snapshots, the newest first. Whole is what their names say.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn indexes(&self) -> Result<Vec<u64>, SnapshotFault> {
        let names = self.list()?;
        let mut indexes: Vec<u64> = names.iter().filter_map(|name| parse(name, "")).collect();
        indexes.sort_unstable_by(|one, other| other.cmp(one));
        Ok(indexes)
    }

    /// # Errors
    /// There is none at this index, or its head is damaged.
    pub fn snapshot(&self, index: u64) -> Result<Snapshot, SnapshotFault> {
        Snapshot::open(Arc::clone(&self.files), index)
    }

    /// The whole snapshot that this descriptor stands for, if it is here and every chunk of it is
    /// sound.
    pub fn find(&self, descriptor: &Descriptor) -> Option<Snapshot> {
        let snapshot = self.snapshot(descriptor.position.index).ok()?;
        let is_whole = || (0..descriptor.chunk_count()).all(|n| snapshot.chunk(n).is_ok());
        (snapshot.descriptor() == *descriptor && is_whole()).then_some(snapshot)
    }

    /// Goes on with a download, if one of this snapshot was begun.
    pub fn resume(&self, descriptor: &Descriptor) -> Option<Part> {
        Part::resume(Arc::clone(&self.files), descriptor)
    }

    /// Begins a download, and drops any other: one leader's newest is all that is wanted.
    ///
    /// # Errors
    /// These bytes are not the descriptor's head, or the disk refuses.
    pub fn begin(&self, descriptor: &Descriptor, head: &[u8]) -> Result<Part, SnapshotFault> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for name in self.list()? {
            if name.ends_with(PART_SUFFIX) {
                self.remove(&name)?;
            }
        }
        Part::begin(Arc::clone(&self.files), descriptor, head)
    }

    /// Removes what nobody needs: all but the newest few, and the newest that this replica has
    /// `applied`. That one is kept because a newer one may have come from elsewhere, and until it
    /// is installed only the older one fits the Raft log.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn prune(&self, applied: u64) -> Result<(), SnapshotFault> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let indexes = self.indexes()?;
        let newest = indexes.iter().take(SNAPSHOTS_KEPT);
        let fitting = indexes.iter().find(|index| **index <= applied);
        let kept: BTreeSet<u64> = newest.chain(fitting).copied().collect();
        for index in indexes.iter().filter(|index| !kept.contains(index)) {
            // A crash between two of these, or a removal that comes undone, leaves one more.
            self.remove(&snapshot_name(*index))?;
        }
        Ok(())
    }

    /// The oldest snapshot that is whole by its name and not newer than `applied`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn oldest(&self, applied: u64) -> Result<Option<u64>, SnapshotFault> {
        Ok(self.indexes()?.into_iter().rfind(|index| *index <= applied))
    }

    fn list(&self) -> Result<Vec<String>, SnapshotFault> {
        let disk = |fault| SnapshotFault::Disk { name: ".".to_owned(), fault };
        self.files.list().map_err(disk)
    }

    fn remove(&self, name: &str) -> Result<(), SnapshotFault> {
        let disk = |fault| SnapshotFault::Disk { name: name.to_owned(), fault };
        self.files.remove(name).map_err(disk)
    }
}

const PART_SUFFIX: &str = ".part";
const SCRATCH_SUFFIX: &str = ".tmp";

pub(super) fn snapshot_name(index: u64) -> String {
    format!("{index:020}")
}

pub(super) fn part_name(index: u64) -> String {
    format!("{index:020}{PART_SUFFIX}")
}

pub(super) fn scratch_name(index: u64) -> String {
    format!("{index:020}{SCRATCH_SUFFIX}")
}

fn parse(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let is_plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| digits.parse().ok())?
}
