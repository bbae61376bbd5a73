//! Reads a published log: leaves, payload blobs, roots and proofs, from wherever its files are.
//!
//! A reader believes its source. What it returns is judged by `check_proof` and `verify_log`;
//! damage that stands in its way is reported with the file's name.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::checkpoint::SignedCheckpoint;
use crate::hash::Hash;
use crate::layout::{CHECKPOINT_FILE, LogFile, SourceFault, TileSource, read_at_least};
use crate::leaf::Leaf;
use crate::limits::READER_FILES_COUNT_MAX;
use crate::merkle::Subtrees;
use crate::tile::{Prefix, TILE_WIDTH, first_items, parse_tile, subtree_in_tile, width_at};

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReaderFault {
    #[error(transparent)]
    Source(#[from] SourceFault),
    #[error("{file}: {message}")]
    Damaged { file: String, slug: &'static str, message: String },
    #[error("expected an index or size within the published {size} leaves, got {got}")]
    BeyondSize { size: u64, got: u64 },
}

impl ReaderFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Source(fault) => fault.slug(),
            Self::Damaged { slug, .. } => slug,
            Self::BeyondSize { .. } => "beyond_size",
        }
    }
}

type SharedSource = Arc<dyn TileSource + Send + Sync>;

/// A log as of one checkpoint; `refresh` moves to the newest.
pub struct LogReader {
    source: SharedSource,
    signed: SignedCheckpoint,
    /// The files used last, newest first. Tiles up to the checkpoint never change.
    recent: Mutex<VecDeque<(LogFile, Arc<[u8]>)>>,
}

/// A leaf and the blob beside it (empty: none).
#[derive(Clone, Debug)]
pub struct PublishedLeaf {
    pub index: u64,
    pub leaf: Leaf,
    pub payload: Vec<u8>,
}

impl LogReader {
    /// Reads the checkpoint, without judging its signatures.
    pub fn open(source: impl TileSource + Send + Sync + 'static) -> Result<LogReader, ReaderFault> {
        let signed = read_checkpoint(&source)?;
        Ok(LogReader { source: Arc::new(source), signed, recent: Mutex::default() })
    }

    /// Moves to the checkpoint that is published now.
    pub fn refresh(&mut self) -> Result<(), ReaderFault> {
        self.signed = read_checkpoint(&*self.source)?;
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.signed
    }

    /// Published leaves.
    pub fn size(&self) -> u64 {
        self.signed.checkpoint.size
    }

    pub fn source(&self) -> &dyn TileSource {
        &*self.source
    }

    pub fn leaf(&self, index: u64) -> Result<Leaf, ReaderFault> {
        let (file, width) = self.entries_file(index)?;
        let bytes = self.file(file)?;
        let items = items(file, Prefix::Entry, &bytes, width)?;
        parse_leaf(file, items[(index % TILE_WIDTH) as usize])
    }

    /// The blob beside a leaf; empty when it has none.
    pub fn payload(&self, index: u64) -> Result<Vec<u8>, ReaderFault> {
        let (_, width) = self.entries_file(index)?;
        let file = LogFile::Payload { index: index / TILE_WIDTH };
        let bytes = self.file(file)?;
        let items = items(file, Prefix::Blob, &bytes, width)?;
        Ok(items[(index % TILE_WIDTH) as usize].to_vec())
    }

    /// Leaves with their blobs, bundle by bundle. After a fault it goes on with the next bundle.
    pub fn leaves(&self, range: Range<u64>) -> Leaves<'_> {
        let end = range.end.min(self.size());
        Leaves { reader: self, next: range.start, end, bundle: VecDeque::new() }
    }

    /// Leaves without their blobs from `end` backwards, bundle by bundle.
    pub(crate) fn leaves_before(
        &self,
        end: u64,
    ) -> impl Iterator<Item = (u64, Result<Leaf, ReaderFault>)> + '_ {
        let bundles = (0..end.min(self.size()).div_ceil(TILE_WIDTH)).rev();
        bundles.flat_map(move |bundle| {
            let first = bundle * TILE_WIDTH;
            let last = (first + TILE_WIDTH).min(end).min(self.size());
            (first..last).rev().map(|index| (index, self.leaf(index)))
        })
    }

    /// `index < size <=` the published size; the leaf's sibling first.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, ReaderFault> {
        self.check_within(size, size)?;
        self.check_within(index.saturating_add(1), size)?;
        Subtrees::inclusion_proof(self, index, size)
    }

    /// `old <= new <=` the published size.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, ReaderFault> {
        self.check_within(new, new)?;
        self.check_within(old, new)?;
        Subtrees::consistency_proof(self, old, new)
    }

    /// The root the log had at this size, from its tiles.
    pub fn root_at(&self, size: u64) -> Result<Hash, ReaderFault> {
        self.check_within(size, size)?;
        self.range_root(0, size)
    }

    fn check_within(&self, got: u64, size: u64) -> Result<(), ReaderFault> {
        let size = size.min(self.size());
        if got > size { Err(ReaderFault::BeyondSize { size, got }) } else { Ok(()) }
    }

    fn entries_file(&self, index: u64) -> Result<(LogFile, u64), ReaderFault> {
        self.check_within(index.saturating_add(1), self.size())?;
        let index = index / TILE_WIDTH;
        let width = width_at(0, index, self.size());
        Ok((LogFile::Entries { index, width }, width))
    }

    fn bundle(&self, index: u64) -> Result<VecDeque<PublishedLeaf>, ReaderFault> {
        let (file, width) = self.entries_file(index * TILE_WIDTH)?;
        let payload_file = LogFile::Payload { index };
        let (entries, _) = self.read(file)?;
        let (payload, _) = self.read(payload_file)?;
        let leaves = items(file, Prefix::Entry, &entries, width)?;
        let blobs = items(payload_file, Prefix::Blob, &payload, width)?;
        let published = |(index, (leaf, blob)): (u64, (&[u8], &[u8]))| {
            Ok(PublishedLeaf { index, leaf: parse_leaf(file, leaf)?, payload: blob.to_vec() })
        };
        let pairs = leaves.into_iter().zip(blobs);
        (index * TILE_WIDTH..).zip(pairs).map(published).collect()
    }

    fn file(&self, file: LogFile) -> Result<Arc<[u8]>, ReaderFault> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = recent.iter().position(|(known, _)| *known == file) {
            return Ok(recent[place].1.clone());
        }
        let (bytes, _) = self.read(file)?;
        let bytes: Arc<[u8]> = bytes.into();
        // Payload bundles can be large: one of them is kept, for the leaves beside each other.
        if let LogFile::Payload { .. } = file {
            recent.retain(|(known, _)| !matches!(known, LogFile::Payload { .. }));
        }
        recent.push_front((file, bytes.clone()));
        recent.truncate(READER_FILES_COUNT_MAX);
        Ok(bytes)
    }

    fn read(&self, file: LogFile) -> Result<(Vec<u8>, LogFile), ReaderFault> {
        let (actual, bytes) = read_at_least(&*self.source, file)?;
        Ok((bytes, actual))
    }
}

impl Subtrees for LogReader {
    type Fault = ReaderFault;

    fn subtree(&self, height: u32, index: u64) -> Result<Hash, ReaderFault> {
        let (level, inside) = ((height / 8) as u8, height % 8);
        let first = index << inside;
        let (index, place) = (first / TILE_WIDTH, first % TILE_WIDTH);
        let width = width_at(level, index, self.size());
        let file = LogFile::Tile { level, index, width };
        let bytes = self.file(file)?;
        let known = bytes.get(..32 * width as usize).unwrap_or(&bytes);
        let hashes = parse_tile(known, width).map_err(|fault| ReaderFault::Damaged {
            file: file.path(),
            slug: fault.slug(),
            message: fault.to_string(),
        })?;
        Ok(subtree_in_tile(&hashes, inside, place >> inside))
    }
}

/// Goes through leaves in order, one bundle in memory at a time.
pub struct Leaves<'a> {
    reader: &'a LogReader,
    next: u64,
    end: u64,
    bundle: VecDeque<PublishedLeaf>,
}

impl Iterator for Leaves<'_> {
    type Item = Result<PublishedLeaf, ReaderFault>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.end {
            if self.bundle.back().is_none_or(|last| last.index < self.next) {
                match self.reader.bundle(self.next / TILE_WIDTH) {
                    Ok(bundle) => self.bundle = bundle,
                    Err(fault) => {
                        self.next = (self.next / TILE_WIDTH + 1) * TILE_WIDTH;
                        return Some(Err(fault));
                    }
                }
            }
            let leaf = self.bundle.pop_front()?;
            if leaf.index == self.next {
                self.next += 1;
                return Some(Ok(leaf));
            }
        }
        None
    }
}

fn read_checkpoint(source: &dyn TileSource) -> Result<SignedCheckpoint, ReaderFault> {
    let damaged = |slug, message| {
        let file = CHECKPOINT_FILE.to_owned();
        ReaderFault::Damaged { file, slug, message }
    };
    let bytes = source.read(CHECKPOINT_FILE)?;
    let note = String::from_utf8(bytes)
        .map_err(|_| damaged("note_malformed", "expected UTF-8".to_owned()))?;
    SignedCheckpoint::parse(&note).map_err(|fault| damaged(fault.slug(), fault.to_string()))
}

fn items(
    file: LogFile,
    prefix: Prefix,
    bytes: &[u8],
    width: u64,
) -> Result<Vec<&[u8]>, ReaderFault> {
    let (items, _) = first_items(prefix, bytes, width).map_err(|fault| ReaderFault::Damaged {
        file: file.path(),
        slug: fault.slug(),
        message: fault.to_string(),
    })?;
    Ok(items)
}

fn parse_leaf(file: LogFile, bytes: &[u8]) -> Result<Leaf, ReaderFault> {
    Leaf::parse(bytes).map_err(|fault| ReaderFault::Damaged {
        file: file.path(),
        slug: fault.slug(),
        message: fault.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::{verify_consistency, verify_inclusion};
    use crate::sample::{MemSource, Sample, sample};
    use crate::writer::mem_disk::SharedDisk;

    const SIZE: u64 = 555;

    /// 600 leaves on disk, 555 of them published.
    fn log() -> (&'static Sample, MemSource) {
        let sample = sample();
        let disk = SharedDisk::default();
        let mut writer = disk.create().unwrap();
        for (leaf, payload) in &sample.leaves[..600] {
            writer.append(leaf, payload);
        }
        writer.sync().unwrap();
        writer.publish(&sample.note(SIZE)).unwrap();
        (sample, disk.source())
    }

    #[test]
    fn leaves_and_blobs_come_back_as_they_were() {
        let (sample, source) = log();
        let reader = LogReader::open(source).unwrap();
        for published in reader.leaves(250..SIZE + 9) {
            let PublishedLeaf { index, leaf, payload } = published.unwrap();
            assert_eq!((leaf, payload), sample.leaves[index as usize]);
        }
        let indexes = reader.leaves(250..SIZE + 9).map(|leaf| leaf.unwrap().index);
        assert!(indexes.eq(250..SIZE));
        for index in [0, 255, 256, SIZE - 1] {
            let (leaf, payload) = &sample.leaves[index as usize];
            assert_eq!(reader.leaf(index).as_ref(), Ok(leaf));
            assert_eq!(reader.payload(index).as_ref(), Ok(payload));
        }
        let beyond = ReaderFault::BeyondSize { size: SIZE, got: SIZE + 1 };
        assert_eq!(reader.leaf(SIZE).unwrap_err(), beyond);
        assert_eq!(reader.inclusion_proof(3, SIZE + 1).unwrap_err(), beyond);
        assert_eq!(reader.inclusion_proof(7, 7).unwrap_err().slug(), "beyond_size");
        assert_eq!(reader.consistency_proof(8, 7).unwrap_err().slug(), "beyond_size");
        assert_eq!(reader.leaf(u64::MAX).unwrap_err().slug(), "beyond_size");
    }

    #[test]
    fn damage_is_reported_and_passed_over() {
        let (_, mut source) = log();
        source.0.get_mut("tile/entries/001").unwrap().truncate(1000);
        let reader = LogReader::open(source).unwrap();
        let faults: Vec<_> = reader.leaves(0..SIZE).filter_map(Result::err).collect();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().starts_with("tile/entries/001: "), "{}", faults[0]);
        assert_eq!(reader.leaves(0..SIZE).filter(Result::is_ok).count(), 256 + 43);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3))]

        #[test]
        fn proofs_of_all_sizes_hold(seed: u64) {
            let (sample, source) = log();
            let reader = LogReader::open(source).unwrap();
            for round in 0..40 {
                let seed = seed.wrapping_mul(round * 2 + 1);
                let new = seed % SIZE + 1;
                let (old, index) = (seed / SIZE % new + 1, seed / 7 % new);
                let (old_root, new_root) = (sample.roots[old as usize], sample.roots[new as usize]);
                prop_assert_eq!(reader.root_at(new).unwrap(), new_root);
                let path = reader.consistency_proof(old, new).unwrap();
                prop_assert!(verify_consistency(old, new, &path, old_root, new_root).is_ok());
                let wrong = sample.roots[new as usize - 1];
                prop_assert!(verify_consistency(old, new, &path, old_root, wrong).is_err());
                let leaf = sample.leaves[index as usize].0.hash();
                let path = reader.inclusion_proof(index, new).unwrap();
                prop_assert!(verify_inclusion(leaf, index, new, &path, new_root).is_ok());
                prop_assert!(verify_inclusion(leaf, index, new, &path, wrong).is_err());
            }
        }
    }
}
