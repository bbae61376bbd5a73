//! Where a result lies: (agent, epoch, sequence number) to the leaf of its batch.
//!
//! One row holds many batches of an agent: a fleet's batches are small, and sled is not. The newest
//! are in memory (`newest.rs`) until there are enough of them, or the tables are saved.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proofmark_evidence::{
    AgentName, BatchSpan, ByteReader, ByteWriter, DecodeFault, Leaf, LogFile, LogReader,
    ReaderFault, ResultId, SourceFault, TILE_WIDTH, TileSource, parse_entries, read_at_least,
    width_at,
};

use super::manifest::IndexMark;
use super::newest::Newest;
use super::{TablesFault, guarded, sealed};
use crate::limits::INDEX_NEWEST_MAX;

/// Why the index could not be built from the evidence.
#[derive(Debug, thiserror::Error)]
pub enum RebuildFault {
    #[error(transparent)]
    Evidence(#[from] ReaderFault),
    #[error(transparent)]
    Source(#[from] SourceFault),
    #[error("{path}: {why}")]
    Bundle { path: String, why: String },
    #[error(transparent)]
    Tables(#[from] TablesFault),
}

/// The index. The recorder writes it, views read it; clones share it. It can be built again from
/// the evidence, so a fault breaks lookups until the next start and nothing else.
#[derive(Clone)]
pub struct ResultIndex {
    tree: sled::Tree,
    progress: Arc<Mutex<Progress>>,
}

struct Progress {
    /// How far the tree reaches.
    written: IndexMark,
    /// What came after that: it is written with the next save, or when there is too much of it.
    newest: Newest,
    is_broken: bool,
}

impl ResultIndex {
    pub(super) fn new(tree: sled::Tree, written: IndexMark) -> Self {
        let newest = Newest::from(written.covered);
        let progress = Progress { written, newest, is_broken: false };
        Self { tree, progress: Arc::new(Mutex::new(progress)) }
    }

    /// Every leaf below this one is in the index.
    pub fn covered(&self) -> u64 {
        self.progress().newest.covered()
    }

    /// Takes the leaf at `leaf_index`, with its batch if it is one. Leaves come in order; one
    /// that was taken already is skipped, so that replays change nothing.
    ///
    /// # Errors
    /// A leaf was left out, or sled failed: the index is broken until the next start.
    pub fn take_leaf(&self, leaf_index: u64, batch: Option<&BatchSpan>) -> Result<(), TablesFault> {
        let mut progress = self.progress();
        if progress.is_broken || leaf_index < progress.newest.covered() {
            return Ok(());
        }
        let taken = self.take_next_leaf(&mut progress, leaf_index, batch);
        progress.is_broken = taken.is_err();
        taken
    }

    fn take_next_leaf(
        &self,
        progress: &mut Progress,
        leaf_index: u64,
        batch: Option<&BatchSpan>,
    ) -> Result<(), TablesFault> {
        match progress.newest.covered() {
            covered if covered != leaf_index => return Err(gap(covered, leaf_index)),
            _ => progress.newest.take(batch),
        }
        match progress.newest.len() >= INDEX_NEWEST_MAX {
            true => self.write_newest(progress),
            false => Ok(()),
        }
    }

    /// Writes what is not in the tree yet, and says how far the tree reaches now.
    ///
    /// # Errors
    /// sled failed: the index is broken until the next start.
    pub(super) fn write(&self) -> Result<IndexMark, TablesFault> {
        let mut progress = self.progress();
        let written = self.write_newest(&mut progress);
        progress.is_broken |= written.is_err();
        written.map(|()| progress.written)
    }

    /// A save's mark lies where one such writing ends: no row has leaves on both sides of it.
    fn write_newest(&self, progress: &mut Progress) -> Result<(), TablesFault> {
        let mut batch = sled::Batch::default();
        let mut written = progress.written;
        for (key, value) in progress.newest.rows() {
            written.entries.add(&key, &value);
            let sealed = sealed::seal(&key, &value);
            batch.insert(key, sealed);
        }
        guarded(|| Ok(self.tree.apply_batch(batch)?))?;
        written.covered = progress.newest.covered();
        (progress.written, progress.newest) = (written, Newest::from(written.covered));
        Ok(())
    }

    /// Takes all published leaves that it does not know yet. The unpublished rest comes with the
    /// replay of the Raft log.
    pub fn rebuild(&self, reader: &LogReader) -> Result<(), RebuildFault> {
        for published in reader.leaves(self.covered()..reader.size()) {
            let published = published?;
            self.take_leaf(published.index, BatchSpan::of(&published.leaf).as_ref())?;
        }
        Ok(())
    }

    /// Takes all durable leaves below `size` that it does not know yet, published or not. The
    /// caller has the log's writer, which has read them back and hashed them.
    pub fn rebuild_from(&self, source: &dyn TileSource, size: u64) -> Result<(), RebuildFault> {
        for bundle in self.covered() / TILE_WIDTH..size.div_ceil(TILE_WIDTH) {
            let file = LogFile::Entries { index: bundle, width: width_at(0, bundle, size) };
            let (file, bytes) = read_at_least(source, file)?;
            let LogFile::Entries { width, .. } = file else { continue };
            let path = || file.path();
            let damaged = |why: String| RebuildFault::Bundle { path: path(), why };
            let leaves = parse_entries(&bytes, width).map_err(|why| damaged(why.to_string()))?;
            for (index, bytes) in (bundle * TILE_WIDTH..size).zip(leaves) {
                let leaf = Leaf::parse(bytes).map_err(|why| damaged(why.to_string()))?;
                self.take_leaf(index, BatchSpan::of(&leaf).as_ref())?;
            }
        }
        Ok(())
    }

    /// The leaf of the batch that holds this result; `None` when there is no such result below
    /// [`ResultIndex::covered`].
    pub fn find(&self, id: &ResultId) -> Result<Option<u64>, TablesFault> {
        let progress = self.progress();
        if progress.is_broken {
            return Err(TablesFault::Broken);
        }
        let found = progress.newest.find(id);
        // What is written from here on is in the tree before it is looked for there.
        drop(progress);
        found.map_or_else(|| self.find_written(id), |leaf_index| Ok(Some(leaf_index)))
    }

    fn find_written(&self, id: &ResultId) -> Result<Option<u64>, TablesFault> {
        let first = key_of(&id.agent, id.epoch, 0);
        let last = key_of(&id.agent, id.epoch, id.seq);
        let newest = guarded(|| Ok(self.tree.range(first..=last).next_back().transpose()?))?;
        let Some((key, sealed)) = newest else { return Ok(None) };
        let batches = decode_value(&key, sealed::open(&key, &sealed)?)?;
        let found = batches.into_iter().find(|(_, seq_end)| id.seq < *seq_end);
        Ok(found.map(|(leaf_index, _)| leaf_index))
    }

    /// Whether a fault has stopped the index; then it also must not be saved as if it were whole.
    pub fn is_broken(&self) -> bool {
        self.progress().is_broken
    }

    /// The first leaf inside a row, for the comparison at start.
    pub(super) fn leaf_index_of(key: &[u8], value: &[u8]) -> Result<u64, TablesFault> {
        Ok(decode_value(key, value)?[0].0)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name, a zero byte (no name holds one), then big-endian numbers: sorted as one expects.
pub(super) fn key_of(agent: &AgentName, epoch: u64, seq_first: u64) -> Vec<u8> {
    let mut key = agent.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&epoch.to_be_bytes());
    key.extend_from_slice(&seq_first.to_be_bytes());
    key
}

/// Of batches that follow each other without a gap, from the key's number on: the leaf of each, and
/// where it ends.
pub(super) fn value_of(batches: impl IntoIterator<Item = (u64, u64)>) -> Vec<u8> {
    let mut out = ByteWriter::new();
    for (leaf_index, seq_end) in batches {
        out.varint(leaf_index).varint(seq_end);
    }
    out.into_bytes()
}

/// At least one.
fn decode_value(key: &[u8], value: &[u8]) -> Result<Vec<(u64, u64)>, TablesFault> {
    let mut input = ByteReader::new(value);
    let mut batches = Vec::new();
    let mut pair =
        || Ok((input.varint("leaf index")?, input.varint("seq end")?, input.remaining()));
    loop {
        let read: Result<_, DecodeFault> = pair();
        let (leaf_index, seq_end, left) =
            read.map_err(|_| TablesFault::Checksum { key: key.escape_ascii().to_string() })?;
        batches.push((leaf_index, seq_end));
        if left == 0 {
            return Ok(batches);
        }
    }
}

/// A value of the index, read and written again: what a fuzz target asks for.
///
/// # Errors
/// It is none.
pub fn reread_index_value(value: &[u8]) -> Result<Vec<u8>, TablesFault> {
    decode_value(b"", value).map(value_of)
}

fn gap(expected: u64, got: u64) -> TablesFault {
    let (expected, got) = (expected.to_string(), got.to_string());
    TablesFault::Mismatch { what: "next leaf of the index", expected, got }
}
