//! The state's rows and the result index on disk, so that a restart need not replay all.
//!
//! Nothing here is the only copy of anything: rows come again from the Raft log, the index from
//! the evidence. sled 0.34.7 is treated as what it was measured to be: its `flush()` is no fsync
//! on Linux, a cut file may open empty or panic, rotten bits may just be missing entries. So each
//! value carries its checksum, a manifest says what must be there, and whatever does not match is
//! moved aside and built again. Loaded is loaded right, or not at all.

mod disk;
mod index;
mod inspect;
mod load;
mod manifest;
mod newest;
mod sealed;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

pub use index::{RebuildFault, ResultIndex, reread_index_value};
pub use manifest::reread_manifest;
use manifest::{MANIFEST_KEY, Manifest};
pub use proofmark_slo::RowChange;

/// What was saved: all rows of the state as they were after `applied_index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedRows {
    pub applied_index: u64,
    /// By ascending key.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The open tables. One owner: the node's save step.
pub struct Tables {
    db: sled::Db,
    rows: sled::Tree,
    /// Our own handle on sled's file, because sled's `flush` does not reach the disk.
    db_file: File,
    manifest: Manifest,
    index: ResultIndex,
    is_broken: bool,
}

/// Why tables could not be opened, read or saved. Only [`TablesFault::Locked`] and
/// [`TablesFault::Disk`] at start need a person; all others end in a rebuild.
#[derive(Debug, thiserror::Error)]
pub enum TablesFault {
    #[error("tables_locked: {dir}: expected to be the only process, another one holds the lock")]
    Locked { dir: PathBuf },
    #[error("tables_disk: {path}: {fault}")]
    Disk { path: PathBuf, fault: std::io::Error },
    #[error("tables_store: {0}")]
    Store(#[from] sled::Error),
    #[error("tables_panicked: {0}")]
    Panicked(String),
    #[error("tables_stuck: no progress for {0} ms")]
    Stuck(u64),
    #[error("tables_checksum: the value of key {key} is not what was written")]
    Checksum { key: String },
    #[error("tables_mismatch: {what}: expected {expected}, got {got}")]
    Mismatch { what: &'static str, expected: String, got: String },
    #[error("tables_unfit: {0}")]
    Unfit(String),
    #[error("tables_broken: an earlier fault; they are rebuilt at the next start")]
    Broken,
}

impl TablesFault {
    /// The stable word for logs and metrics.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "tables_locked",
            Self::Disk { .. } => "tables_disk",
            Self::Store(_) => "tables_store",
            Self::Panicked(_) => "tables_panicked",
            Self::Stuck(_) => "tables_stuck",
            Self::Checksum { .. } => "tables_checksum",
            Self::Mismatch { .. } => "tables_mismatch",
            Self::Unfit(_) => "tables_unfit",
            Self::Broken => "tables_broken",
        }
    }

    fn disk(path: &Path, fault: std::io::Error) -> Self {
        Self::Disk { path: path.to_owned(), fault }
    }
}

impl Tables {
    /// Opens the tables in `dir`, or creates them. `None`: there is nothing (or nothing that can
    /// be trusted) and the caller starts from an empty state and the whole Raft log. Damaged
    /// tables are moved to `<dir>.damaged-N` beside it.
    ///
    /// # Errors
    /// Another process holds the lock after several tries, or the disk refuses a new directory.
    pub fn open(dir: &Path) -> Result<(Tables, Option<LoadedRows>), TablesFault> {
        let (tables, rows) = match load::load_on_helper_thread(dir) {
            Ok(loaded) => loaded,
            Err(fault @ TablesFault::Locked { .. }) => return Err(fault),
            Err(fault) => {
                disk::move_aside(dir, &fault)?;
                load::load_on_helper_thread(dir)?
            }
        };
        // A crash here leaves tables that were never saved, or half a directory: start-up finds
        // them empty or damaged, and comes here again.
        if rows.is_none() {
            disk::sync_tree(dir)?;
        }
        Ok((tables, rows))
    }

    /// Empty tables in place of ones that are whole in themselves and yet do not fit what lies
    /// beside them. The others are closed by the caller, and moved aside here.
    ///
    /// # Errors
    /// The disk refuses the new directory.
    pub fn start_over(dir: &Path, why: &str) -> Result<Tables, TablesFault> {
        disk::move_aside(dir, &TablesFault::Unfit(why.to_owned()))?;
        Ok(Self::open(dir)?.0)
    }

    /// The index of results; clones share it.
    pub fn index(&self) -> ResultIndex {
        self.index.clone()
    }

    /// Writes the rows that changed since the last save, and makes them durable.
    ///
    /// The caller has made the evidence durable first and has waited for the recorder to be at
    /// `applied_index` (`Recorder::sync`), so that what is saved never runs ahead of the evidence.
    ///
    /// # Errors
    /// After any fault the tables refuse further saves. Nothing is lost: the state is in memory,
    /// and the next start replays from the last save or rebuilds.
    pub fn save(&mut self, rows: Vec<RowChange>, applied_index: u64) -> Result<(), TablesFault> {
        if self.is_broken || self.index.is_broken() {
            return Err(TablesFault::Broken);
        }
        let saved = guarded(|| self.save_unguarded(rows, applied_index));
        self.is_broken = saved.is_err();
        saved
    }

    /// As [`Tables::save`], for a state that has nothing to do with the one saved before: these
    /// rows (by ascending key) and no others. A crash leaves the former save or this one, or tables
    /// that do not match and are moved aside.
    ///
    /// # Errors
    /// As [`Tables::save`].
    pub fn replace(
        &mut self,
        rows: Vec<(Vec<u8>, Vec<u8>)>,
        applied_index: u64,
    ) -> Result<(), TablesFault> {
        let known = guarded(|| self.rows.iter().keys().map(|key| Ok(key?.to_vec())).collect());
        let known: Vec<Vec<u8>> = known.inspect_err(|_| self.is_broken = true)?;
        let is_gone = |key: &Vec<u8>| {
            key != MANIFEST_KEY && rows.binary_search_by(|(one, _)| one.cmp(key)).is_err()
        };
        let gone: Vec<RowChange> =
            known.into_iter().filter(is_gone).map(|key| (key, None)).collect();
        let kept = rows.into_iter().map(|(key, value)| (key, Some(value)));
        self.save(gone.into_iter().chain(kept).collect(), applied_index)
    }

    fn save_unguarded(&mut self, rows: Vec<RowChange>, applied: u64) -> Result<(), TablesFault> {
        let mut manifest = self.manifest.clone();
        manifest.applied_index = applied;
        manifest.index = self.index.write()?;
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            self.replace_row(&mut manifest, &mut batch, key, value)?;
        }
        batch.insert(MANIFEST_KEY, sealed::seal(MANIFEST_KEY, &manifest.encode()));
        self.rows.apply_batch(batch)?;
        // A crash here leaves the former save, or parts of this one without its manifest:
        // start-up finds a match, or moves the tables aside.
        self.db.flush()?;
        // A power cut here can still lose all of it, because sled's flush is no fsync: the same.
        self.db_file.sync_data().map_err(|fault| TablesFault::disk(Path::new("db"), fault))?;
        self.manifest = manifest;
        Ok(())
    }

    /// One row into the batch, and its part of the digest out of and into the manifest.
    fn replace_row(
        &self,
        manifest: &mut Manifest,
        batch: &mut sled::Batch,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<(), TablesFault> {
        if let Some(old) = self.rows.get(&key)? {
            manifest.rows.remove(&key, sealed::open(&key, &old)?);
        }
        match value {
            Some(value) => {
                manifest.rows.add(&key, &value);
                let sealed = sealed::seal(&key, &value);
                batch.insert(key, sealed);
            }
            None => batch.remove(key),
        }
        Ok(())
    }
}

/// Runs a step inside sled so that a panic there is a fault here.
fn guarded<T>(step: impl FnOnce() -> Result<T, TablesFault>) -> Result<T, TablesFault> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(TablesFault::Panicked(text.unwrap_or("without a message").to_owned()))
    })
}

#[cfg(test)]
mod tests;
