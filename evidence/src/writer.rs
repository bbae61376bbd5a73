//! The log's writer: one owner, append in memory, durable on `sync`, visible on `publish`.
//!
//! It trusts nothing but its own directory, and that only as far as the checkpoint's root reaches.
//! A crash at any point is repaired by `open`, which is the normal way to start: leaves found
//! beyond the checkpoint are appended and synced again by the same code that did it first.
//! After a fault of the disk the caller must stop the process: what the kernel then says about
//! the same file is worth nothing, what `open` finds after a restart is.

mod edge;
mod files;
#[cfg(test)]
pub(crate) mod mem_disk;
mod recover;
mod rehearsal;
#[cfg(test)]
mod tests;
mod transition;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use self::edge::Edge;
pub use self::files::{DiskFiles, FileOps};
pub use self::rehearsal::Rehearsal;
use crate::checkpoint::{Checkpoint, CheckpointFault, SignedCheckpoint};
use crate::hash::Hash;
use crate::layout::{CHECKPOINT_FILE, LogFile, POLICY_FILE, SCRATCH_DIR};
use crate::leaf::Leaf;
use crate::limits::{DURABLE_DIRS_COUNT_MAX, SYNC_BUNDLES_COUNT_MAX};
use crate::merkle::Subtrees;
use crate::name::Origin;
use crate::policy::{Policy, PolicyFault, PolicyTextFault};
use crate::tile::{TILE_WIDTH, parse_tile, subtree_in_tile, width_at};
use crate::transitions::{Transition, TransitionFault};

/// Why the writer did not do it, sorted by who must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterFault {
    /// The operator and the process: stop now, see to the disk, open the log again.
    #[error("{file}: {message}; the process must stop")]
    Disk { file: String, message: String },
    #[error("expected a stop after an earlier fault of the disk")]
    Stopped,
    /// The operator: the directory is not what was meant.
    #[error("expected a directory without a log, got one with a policy file")]
    AlreadyLog,
    #[error("expected a log's directory, got one without a policy file")]
    NotLog,
    #[error("policy: {0}")]
    PolicyText(#[from] PolicyTextFault),
    #[error("policy: expected the one log {expected}, got {got}")]
    OtherLog { expected: String, got: String },
    /// The operator: published evidence is broken; restore it from another replica.
    #[error("{file}: expected {expected}, got {got}")]
    Damaged { file: String, expected: String, got: String },
    /// The caller: not for this log, or not yet.
    #[error("expected a size up to {size}, got {got}")]
    BeyondSize { size: u64, got: u64 },
    #[error("expected a checkpoint of at most the {durable} durable leaves, got {got}")]
    NotDurable { durable: u64, got: u64 },
    #[error("expected a checkpoint of at least {published} leaves, got {got}")]
    BehindPublished { published: u64, got: u64 },
    #[error("expected root {expected} at size {size}, got {got}")]
    RootMismatch { size: u64, expected: Hash, got: Hash },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointFault),
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    #[error(transparent)]
    Transition(#[from] TransitionFault),
}

impl WriterFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "disk_fault",
            Self::Stopped => "writer_stopped",
            Self::AlreadyLog => "log_exists",
            Self::NotLog => "log_missing",
            Self::PolicyText(fault) => fault.slug(),
            Self::OtherLog { .. } => "other_log",
            Self::Damaged { .. } => "log_damaged",
            Self::BeyondSize { .. } => "beyond_size",
            Self::NotDurable { .. } => "not_durable",
            Self::BehindPublished { .. } => "behind_published",
            Self::RootMismatch { .. } => "root_mismatch",
            Self::Checkpoint(fault) => fault.slug(),
            Self::Policy(fault) => fault.slug(),
            Self::Transition(fault) => fault.slug(),
        }
    }

    /// Whether the process must stop: it no longer knows what the disk holds.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Disk { .. } | Self::Stopped)
    }
}

/// Owns a log's directory. Memory: the growing tiles and bundles and what was not yet synced.
pub struct LogWriter {
    files: Box<dyn FileOps>,
    origin: Origin,
    /// In force for the next checkpoint.
    policy: Policy,
    /// How it came to be that one, oldest first.
    transitions: Vec<Transition>,
    edge: Edge,
    durable_size: u64,
    published: Option<SignedCheckpoint>,
    /// Narrow tiles and bundles on disk that we know of.
    partials: BTreeSet<LogFile>,
    /// Directories whose own name is known to be durable.
    durable_dirs: BTreeSet<String>,
    is_stopped: bool,
}

impl LogWriter {
    /// Starts a log in an empty or missing directory. Run it once; `open` refuses what it did not
    /// finish, and it may then be run again.
    pub fn create(
        dir: &Path,
        origin: &Origin,
        policy_text: &str,
    ) -> Result<LogWriter, WriterFault> {
        let files = DiskFiles::new(dir.to_owned());
        files.make_root().map_err(|error| disk_fault("", &error))?;
        LogWriter::create_in(Box::new(files), origin, policy_text)
    }

    /// Opens a log after any kind of end, recovers what is durable beyond its checkpoint, and
    /// makes that as durable as if it had been synced a moment ago.
    pub fn open(dir: &Path) -> Result<LogWriter, WriterFault> {
        LogWriter::open_in(Box::new(DiskFiles::new(dir.to_owned())))
    }

    /// As [`LogWriter::create`], over any files below a directory that exists.
    pub fn create_in(
        mut files: Box<dyn FileOps>,
        origin: &Origin,
        policy_text: &str,
    ) -> Result<LogWriter, WriterFault> {
        if recover::sole_origin(&Policy::parse(policy_text)?)? != *origin {
            let (expected, got) = (origin.to_string(), policy_text.to_owned());
            return Err(WriterFault::OtherLog { expected, got });
        }
        let names = files.list("").map_err(|error| disk_fault("", &error))?;
        if names.iter().any(|name| name == POLICY_FILE) {
            return Err(WriterFault::AlreadyLog);
        }
        for dir in [SCRATCH_DIR, "tile", "tile/entries", "payload"] {
            files.make_dir(dir).map_err(|error| disk_fault(dir, &error))?;
        }
        for dir in ["tile", ""] {
            files.sync_dir(dir).map_err(|error| disk_fault(dir, &error))?;
        }
        // A crash here leaves a directory without a policy: open refuses it, create goes on.
        replace(&mut *files, POLICY_FILE, policy_text)?;
        LogWriter::open_in(files)
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Leaves appended, synced or not.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Leaves that a power cut cannot take any more.
    pub fn durable_size(&self) -> u64 {
        self.durable_size
    }

    /// The checkpoint that readers see. `None` before the first.
    pub fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.published.as_ref()
    }

    /// Adds a leaf and its payload blob (empty: none) in memory, and returns its index.
    pub fn append(&mut self, leaf: &Leaf, payload: &[u8]) -> u64 {
        let index = self.edge.size();
        self.edge.append(leaf.bytes(), leaf.hash(), payload);
        index
    }

    /// The root over all appended leaves.
    pub fn root(&self) -> Hash {
        self.root_at(self.size()).expect("the newest root's subtrees are all in memory")
    }

    /// The root the log had when it held `size` leaves. Reads the disk only for the distant past.
    pub fn root_at(&self, size: u64) -> Result<Hash, WriterFault> {
        if size > self.size() {
            return Err(WriterFault::BeyondSize { size: self.size(), got: size });
        }
        self.range_root(0, size)
    }

    /// The hash of a leaf. Reads the disk for all but the newest.
    pub fn leaf_hash(&self, index: u64) -> Result<Hash, WriterFault> {
        if index >= self.size() {
            return Err(WriterFault::BeyondSize { size: self.size(), got: index });
        }
        self.subtree(0, index)
    }

    /// Makes every appended leaf durable. Readers see nothing of it before `publish`.
    pub fn sync(&mut self) -> Result<(), WriterFault> {
        self.guard(LogWriter::sync_all)
    }

    /// Replaces the checkpoint file by this note: same log, not smaller than the one before,
    /// durable here, with our own root and a quorum's signatures.
    pub fn publish(&mut self, note: &str) -> Result<(), WriterFault> {
        let signed = SignedCheckpoint::parse(note)?;
        self.check_publishable(&signed)?;
        self.guard(|writer| writer.publish_checked(signed, note))
    }

    fn sync_all(&mut self) -> Result<(), WriterFault> {
        while self.edge.full_entries.len() as u64 > SYNC_BUNDLES_COUNT_MAX {
            self.sync_leaves(SYNC_BUNDLES_COUNT_MAX as usize)?;
        }
        self.sync_leaves(self.edge.full_entries.len())?;
        // A crash here leaves leaves without hash tiles: open hashes them again and comes by here.
        let growing = Edge::partials_at(self.size());
        self.write_tiles(growing.iter().filter(|file| matches!(file, LogFile::Tile { .. })))?;
        // A crash here leaves the tiles of an older size beside the new: open removes them.
        self.durable_size = self.size();
        self.remove_stale_partials()
    }

    /// Writes the first `full_count` full bundles; the growing ones too when no full one remains.
    fn sync_leaves(&mut self, full_count: usize) -> Result<(), WriterFault> {
        let is_last = full_count == self.edge.full_entries.len();
        self.sync_payloads(full_count, is_last)?;
        // A crash here leaves blobs beyond the last leaf: open cuts them off.
        let mut batch = Vec::new();
        for (index, bytes) in self.edge.full_entries.drain(..full_count) {
            batch.push((LogFile::Entries { index, width: TILE_WIDTH }, bytes));
        }
        let is_entries = |file: &LogFile| matches!(file, LogFile::Entries { .. });
        if is_last && let Some(file) = Edge::partials_at(self.size()).into_iter().find(is_entries) {
            batch.extend(self.missing_partial(file));
        }
        self.write_files(batch)
    }

    fn sync_payloads(&mut self, full_count: usize, is_last: bool) -> Result<(), WriterFault> {
        let mut payloads: Vec<_> = self.edge.full_payloads.drain(..full_count).collect();
        payloads.extend(is_last.then(|| self.edge.take_payload()));
        let mut changed_dirs = BTreeSet::new();
        for payload in payloads.iter().filter(|one| !one.pending.is_empty()) {
            let path = LogFile::Payload { index: payload.index }.path();
            self.make_parents(&path, &mut changed_dirs)?;
            self.files
                .append(&path, payload.durable_len, &payload.pending)
                .map_err(|error| disk_fault(&path, &error))?;
            if payload.durable_len == 0 {
                changed_dirs.insert(parent(&path).to_owned());
            }
        }
        // A crash here leaves blobs, perhaps in files that lose their names: no leaf needs them.
        self.sync_dirs(changed_dirs)
    }

    fn write_tiles<'a>(
        &mut self,
        growing: impl Iterator<Item = &'a LogFile>,
    ) -> Result<(), WriterFault> {
        let mut batch = std::mem::take(&mut self.edge.full_tiles);
        batch.extend(growing.filter_map(|file| self.missing_partial(*file)));
        self.write_files(batch)
    }

    /// A narrow file with its bytes, unless it is on disk or its full file is.
    fn missing_partial(&self, file: LogFile) -> Option<(LogFile, Vec<u8>)> {
        if self.partials.contains(&file) {
            return None;
        }
        Some((file, self.edge.partial(file)?))
    }

    /// Writes whole files under their final names, durably. Between two of them a crash is
    /// harmless: each is right on its own, and none is needed before all are there.
    fn write_files(&mut self, batch: Vec<(LogFile, Vec<u8>)>) -> Result<(), WriterFault> {
        let mut changed_dirs = BTreeSet::new();
        for (place, (file, bytes)) in batch.iter().enumerate() {
            let (path, scratch) = (file.path(), format!("{SCRATCH_DIR}/{place}"));
            self.make_parents(&path, &mut changed_dirs)?;
            self.files.write(&scratch, bytes).map_err(|error| disk_fault(&path, &error))?;
            // A crash here leaves a scratch file: open empties the scratch directory.
            self.files.rename(&scratch, &path).map_err(|error| disk_fault(&path, &error))?;
            changed_dirs.insert(parent(&path).to_owned());
        }
        // A crash here may keep any of the new names and lose others: open takes the unbroken run
        // of leaves and removes what lies beyond it.
        self.sync_dirs(changed_dirs)?;
        let is_partial = |file: &LogFile| file.with_width(TILE_WIDTH) != *file;
        self.partials.extend(batch.iter().map(|(file, _)| *file).filter(is_partial));
        Ok(())
    }

    fn check_publishable(&self, signed: &SignedCheckpoint) -> Result<(), WriterFault> {
        self.check_own(signed)?;
        self.policy.check(signed)?;
        Ok(())
    }

    /// Of this log, of leaves that are durable, and not older than what readers see.
    fn check_own(&self, signed: &SignedCheckpoint) -> Result<(), WriterFault> {
        let Checkpoint { origin, size, root } = &signed.checkpoint;
        if *origin != self.origin {
            let (expected, got) = (self.origin.to_string(), origin.to_string());
            return Err(WriterFault::OtherLog { expected, got });
        }
        if *size > self.durable_size {
            return Err(WriterFault::NotDurable { durable: self.durable_size, got: *size });
        }
        let published = self.published.as_ref().map_or(0, |one| one.checkpoint.size);
        if *size < published {
            return Err(WriterFault::BehindPublished { published, got: *size });
        }
        let expected = self.root_at(*size)?;
        if *root != expected {
            return Err(WriterFault::RootMismatch { size: *size, expected, got: *root });
        }
        Ok(())
    }

    fn publish_checked(&mut self, signed: SignedCheckpoint, note: &str) -> Result<(), WriterFault> {
        // A static file server must have the narrow tiles of exactly this size.
        let needed = Edge::partials_at(signed.checkpoint.size);
        let missing: Vec<_> =
            needed.into_iter().filter_map(|file| self.missing_partial(file)).collect();
        self.write_files(missing)?;
        // A crash here leaves narrow tiles of a size that was never published: open removes them.
        replace(&mut *self.files, CHECKPOINT_FILE, note)?;
        // A crash here leaves the narrow tiles of the older checkpoint: open removes them.
        self.published = Some(signed);
        self.remove_stale_partials()
    }

    /// Keeps the narrow files of the checkpoint's size and of the durable size. That a removal
    /// may come undone in a crash does not matter: each is a true prefix of a wider file.
    fn remove_stale_partials(&mut self) -> Result<(), WriterFault> {
        let needed = self.needed_partials();
        let stale: Vec<LogFile> = self.partials.difference(&needed).copied().collect();
        for file in stale {
            let path = file.path();
            self.remove(&path)?;
            self.partials.remove(&file);
        }
        Ok(())
    }

    /// Removes a file, and the directory of narrow files that it leaves empty.
    fn remove(&mut self, path: &str) -> Result<(), WriterFault> {
        self.files.remove(path).map_err(|error| disk_fault(path, &error))?;
        if path.contains(".p/") {
            self.files.remove_dir_if_empty(parent(path));
            self.durable_dirs.remove(parent(path));
        }
        Ok(())
    }

    fn needed_partials(&self) -> BTreeSet<LogFile> {
        let published = self.published.as_ref().map_or(0, |one| one.checkpoint.size);
        let sizes = [published, self.durable_size];
        sizes.into_iter().flat_map(Edge::partials_at).collect()
    }

    /// Creates the directories above a file; those above new ones must be synced. After a start
    /// every directory counts as new: it may have been made by a process that was killed.
    fn make_parents(
        &mut self,
        path: &str,
        changed_dirs: &mut BTreeSet<String>,
    ) -> Result<(), WriterFault> {
        for (end, _) in path.match_indices('/') {
            let dir = &path[..end];
            if !self.durable_dirs.contains(dir) {
                self.files.make_dir(dir).map_err(|error| disk_fault(dir, &error))?;
                changed_dirs.insert(parent(dir).to_owned());
                self.durable_dirs.insert(dir.to_owned());
            }
        }
        Ok(())
    }

    /// Ends each batch of new names. Only after it may the next step rely on them.
    fn sync_dirs(&mut self, dirs: BTreeSet<String>) -> Result<(), WriterFault> {
        if self.durable_dirs.len() > DURABLE_DIRS_COUNT_MAX {
            self.durable_dirs.clear();
        }
        dirs.iter()
            .try_for_each(|dir| self.files.sync_dir(dir).map_err(|error| disk_fault(dir, &error)))
    }

    /// Once the disk has failed, nothing more is asked of it.
    fn guard(
        &mut self,
        run: impl FnOnce(&mut LogWriter) -> Result<(), WriterFault>,
    ) -> Result<(), WriterFault> {
        if self.is_stopped {
            return Err(WriterFault::Stopped);
        }
        run(self).inspect_err(|fault| self.is_stopped |= fault.is_fatal())
    }
}

/// From memory as far as it reaches back, else from the full tiles on disk.
impl Subtrees for LogWriter {
    type Fault = WriterFault;

    fn subtree(&self, height: u32, index: u64) -> Result<Hash, WriterFault> {
        if let Some(hash) = self.edge.subtree(height, index) {
            return Ok(hash);
        }
        let (level, inside) = ((height / 8) as u8, height % 8);
        let first = index << inside;
        let file = LogFile::Tile { level, index: first / TILE_WIDTH, width: TILE_WIDTH };
        debug_assert_eq!(width_at(level, first / TILE_WIDTH, self.size()), TILE_WIDTH);
        let bytes =
            self.files.read(&file.path()).map_err(|error| disk_fault(&file.path(), &error))?;
        let hashes = parse_tile(&bytes, TILE_WIDTH).map_err(|fault| WriterFault::Damaged {
            file: file.path(),
            expected: "a full tile".to_owned(),
            got: fault.to_string(),
        })?;
        Ok(subtree_in_tile(&hashes, inside, (first % TILE_WIDTH) >> inside))
    }
}

fn disk_fault(file: &str, error: &io::Error) -> WriterFault {
    let file = if file.is_empty() { "." } else { file };
    WriterFault::Disk { file: file.to_owned(), message: error.to_string() }
}

/// Replaces one of the log's own files, durably.
fn replace(files: &mut dyn FileOps, name: &str, text: &str) -> Result<(), WriterFault> {
    let scratch = format!("{SCRATCH_DIR}/{name}");
    let write = |files: &mut dyn FileOps| {
        files.write(&scratch, text.as_bytes())?;
        // A crash here leaves the old file and a scratch file, which open removes.
        files.rename(&scratch, name)?;
        files.sync_dir("")
    };
    write(files).map_err(|error| disk_fault(name, &error))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
