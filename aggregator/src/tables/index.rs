//! Where a result lies: (agent, epoch, sequence number) to the leaf of its batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proofmark_evidence::{
    AgentName, BatchSpan, ByteReader, ByteWriter, Leaf, LogFile, LogReader, ReaderFault, ResultId,
    SourceFault, TILE_WIDTH, TileSource, parse_entries, read_at_least, width_at,
};

use super::manifest::IndexMark;
use super::{TablesFault, guarded, sealed};

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
    mark: IndexMark,
    is_broken: bool,
}

impl ResultIndex {
    pub(super) fn new(tree: sled::Tree, mark: IndexMark) -> Self {
        Self { tree, progress: Arc::new(Mutex::new(Progress { mark, is_broken: false })) }
    }

    /// Every leaf below this one is in the index.
    pub fn covered(&self) -> u64 {
        self.progress().mark.covered
    }

    /// Takes the leaf at `leaf_index`, with its batch if it is one. Leaves come in order; one
    /// that was taken already is skipped, so that replays change nothing.
    ///
    /// # Errors
    /// A leaf was left out, or sled failed: the index is broken until the next start.
    pub fn take_leaf(&self, leaf_index: u64, batch: Option<&BatchSpan>) -> Result<(), TablesFault> {
        let mut progress = self.progress();
        if progress.is_broken || leaf_index < progress.mark.covered {
            return Ok(());
        }
        let taken = self.take_next_leaf(&mut progress.mark, leaf_index, batch);
        progress.is_broken = taken.is_err();
        taken
    }

    fn take_next_leaf(
        &self,
        mark: &mut IndexMark,
        leaf_index: u64,
        batch: Option<&BatchSpan>,
    ) -> Result<(), TablesFault> {
        if leaf_index != mark.covered {
            return Err(gap(mark.covered, leaf_index));
        }
        if let Some(batch) = batch {
            let key = key_of(&batch.agent, batch.epoch, batch.seq_first);
            let value = value_of(leaf_index, batch.seq_end);
            guarded(|| Ok(self.tree.insert(&key, sealed::seal(&key, &value))?))?;
            mark.entries.add(&key, &value);
        }
        mark.covered = leaf_index + 1;
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
        if self.is_broken() {
            return Err(TablesFault::Broken);
        }
        let first = key_of(&id.agent, id.epoch, 0);
        let last = key_of(&id.agent, id.epoch, id.seq);
        let newest = guarded(|| Ok(self.tree.range(first..=last).next_back().transpose()?))?;
        let Some((key, sealed)) = newest else { return Ok(None) };
        let (leaf_index, seq_end) = decode_value(&key, sealed::open(&key, &sealed)?)?;
        Ok((id.seq < seq_end).then_some(leaf_index))
    }

    /// Whether a fault has stopped the index; then it also must not be saved as if it were whole.
    pub fn is_broken(&self) -> bool {
        self.progress().is_broken
    }

    pub(super) fn mark(&self) -> IndexMark {
        self.progress().mark
    }

    /// The leaf index inside an entry, for the comparison at start.
    pub(super) fn leaf_index_of(key: &[u8], value: &[u8]) -> Result<u64, TablesFault> {
        Ok(decode_value(key, value)?.0)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name, a zero byte (no name holds one), then big-endian numbers: sorted as one expects.
fn key_of(agent: &AgentName, epoch: u64, seq_first: u64) -> Vec<u8> {
    let mut key = agent.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&epoch.to_be_bytes());
    key.extend_from_slice(&seq_first.to_be_bytes());
    key
}

fn value_of(leaf_index: u64, seq_end: u64) -> Vec<u8> {
    let mut out = ByteWriter::new();
    out.varint(leaf_index);
    out.varint(seq_end);
    out.into_bytes()
}

fn decode_value(key: &[u8], value: &[u8]) -> Result<(u64, u64), TablesFault> {
    let mut input = ByteReader::new(value);
    let pair = || {
        let pair = (input.varint("leaf index")?, input.varint("seq end")?);
        input.finish("index value").map(|()| pair)
    };
    pair().map_err(|_| TablesFault::Checksum { key: key.escape_ascii().to_string() })
}

/// A value of the index, read and written again: what a fuzz target asks for.
///
/// # Errors
/// It is none.
pub fn reread_index_value(value: &[u8]) -> Result<Vec<u8>, TablesFault> {
    decode_value(b"", value).map(|(leaf_index, seq_end)| value_of(leaf_index, seq_end))
}

fn gap(expected: u64, got: u64) -> TablesFault {
    let (expected, got) = (expected.to_string(), got.to_string());
    TablesFault::Mismatch { what: "next leaf of the index", expected, got }
}
