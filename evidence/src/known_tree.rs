//! A tree of which only a checkpoint is believed, learned tile by tile from the top.
//!
//! For whoever copies a log from sources that may be wrong: each file is judged when it comes, so
//! that it is known which source was wrong, and nothing is kept that does not lead to the root.
//! The narrow tiles at the right edge together make the root; every other tile is held to one hash
//! of the tile above; leaves are held to the tiles.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::layout::LogFile;
use crate::limits::LEVELS_COUNT_MAX;
use crate::merkle::{Subtrees, root_of};
use crate::tile::{
    TILE_WIDTH, TileFault, hashes_at, leaf_hashes, parse_tile, subtree_in_tile, width_at,
};

/// Why a file is not one of this tree. Whoever sent it is wrong, or has another log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeFault {
    #[error("{file}: {fault}")]
    Tile { file: String, fault: TileFault },
    #[error("the narrow tiles: expected the root {expected}, got {got}")]
    Edge { expected: Hash, got: Hash },
    #[error("{file}: expected the hash {expected}, got {got}")]
    Hash { file: String, expected: Hash, got: Hash },
    #[error("{file}: expected {expected} leaves, got {got}")]
    Leaves { file: String, expected: u64, got: u64 },
    /// The caller: this tree has no such file, or it was not missing.
    #[error("{file}: expected a file that is missing, got another")]
    NotMissing { file: String },
}

impl TreeFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Tile { fault, .. } => fault.slug(),
            Self::Edge { .. } => "root_mismatch",
            Self::Hash { .. } => "tile_hash",
            Self::Leaves { .. } => "bundle_leaves",
            Self::NotMissing { .. } => "file_not_missing",
        }
    }
}

/// What is known of the tree. Memory: the tiles on the way to the bundles asked about last.
#[derive(Clone, Debug)]
pub struct KnownTree {
    size: u64,
    root: Hash,
    /// Narrow tiles, believed only when all of them are here.
    edge: BTreeMap<LogFile, Vec<Hash>>,
    /// Full tiles of level 1 and above, each believed.
    full: BTreeMap<(u8, u64), Vec<Hash>>,
    is_edge_believed: bool,
}

impl KnownTree {
    /// Believes the checkpoint: the caller has judged its signatures.
    pub fn new(checkpoint: &Checkpoint) -> KnownTree {
        let Checkpoint { size, root, .. } = *checkpoint;
        let (edge, full) = (BTreeMap::new(), BTreeMap::new());
        KnownTree { size, root, edge, full, is_edge_believed: false }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tiles to learn, in any order, before the leaves of this bundle can be judged; then there
    /// may be more of them. Empty: they can be.
    pub fn missing(&self, bundle: u64) -> Vec<LogFile> {
        if !self.is_edge_believed {
            let is_missing = |file: &LogFile| !self.edge.contains_key(file);
            return self.edge_files().filter(is_missing).collect();
        }
        let is_missing = |&(level, index): &(u8, u64)| !self.full.contains_key(&(level, index));
        let highest = self.above(bundle).rev().find(is_missing);
        let file = |(level, index)| LogFile::Tile { level, index, width: TILE_WIDTH };
        highest.map(file).into_iter().collect()
    }

    /// Takes a tile that was missing.
    ///
    /// # Errors
    /// It is not this tree's. When the last of the narrow tiles comes and they do not make the
    /// root, all of them are forgotten: nobody can say which one is wrong.
    pub fn learn(&mut self, file: LogFile, bytes: &[u8]) -> Result<(), TreeFault> {
        let LogFile::Tile { level, index, width } = file else {
            return Err(TreeFault::NotMissing { file: file.path() });
        };
        if width == 0 || width != width_at(level, index, self.size) {
            return Err(TreeFault::NotMissing { file: file.path() });
        }
        let hashes = parse_tile(bytes, width)
            .map_err(|fault| TreeFault::Tile { file: file.path(), fault })?;
        if width < TILE_WIDTH {
            self.edge.insert(file, hashes);
            return self.judge_edge();
        }
        let parent = LogFile::Tile { level: level + 1, index: index / TILE_WIDTH, width: 0 };
        let above = self.tile(level + 1, index / TILE_WIDTH);
        let above = above.ok_or_else(|| TreeFault::NotMissing { file: parent.path() })?;
        let (expected, got) = (above[(index % TILE_WIDTH) as usize], root_of(&hashes));
        if got != expected {
            return Err(TreeFault::Hash { file: file.path(), expected, got });
        }
        self.full.insert((level, index), hashes);
        Ok(())
    }

    /// Judges all leaves of a bundle for which nothing is missing.
    ///
    /// # Errors
    /// They are not this tree's.
    pub fn judge_leaves(&self, bundle: u64, leaves: &[&[u8]]) -> Result<(), TreeFault> {
        let width = width_at(0, bundle, self.size);
        let file = || LogFile::Entries { index: bundle, width }.path();
        let (expected, got) = (width, leaves.len() as u64);
        if expected != got || width == 0 {
            return Err(TreeFault::Leaves { file: file(), expected, got });
        }
        let got = root_of(&leaf_hashes(leaves));
        let expected = match width {
            TILE_WIDTH => {
                self.tile(1, bundle / TILE_WIDTH).map(|t| t[(bundle % TILE_WIDTH) as usize])
            }
            _ => self.tile(0, bundle).map(root_of),
        };
        match expected.ok_or_else(|| TreeFault::NotMissing { file: file() })? {
            expected if expected == got => Ok(()),
            expected => Err(TreeFault::Hash { file: file(), expected, got }),
        }
    }

    /// The root over the bundles before this one, for which nothing is missing: what a copy that
    /// already has them must have come to.
    pub fn root_before(&self, bundle: u64) -> Option<Hash> {
        self.range_root(0, bundle * TILE_WIDTH).ok()
    }

    /// Frees what only bundles before this one need.
    pub fn forget_before(&mut self, bundle: u64) {
        self.full.retain(|(level, index), _| *index >= bundle >> (8 * u32::from(*level)));
    }

    /// Full tiles whose hashes lead to a bundle, the lowest first.
    fn above(&self, bundle: u64) -> impl DoubleEndedIterator<Item = (u8, u64)> + '_ {
        let levels = 1..LEVELS_COUNT_MAX;
        let path = levels.map(move |level| (level, bundle >> (8 * u32::from(level))));
        path.filter(|(level, index)| width_at(*level, *index, self.size) == TILE_WIDTH)
    }

    fn edge_files(&self) -> impl Iterator<Item = LogFile> + '_ {
        (0..LEVELS_COUNT_MAX).filter_map(|level| {
            let hashes = hashes_at(level, self.size);
            let (index, width) = (hashes / TILE_WIDTH, hashes % TILE_WIDTH);
            (width > 0).then_some(LogFile::Tile { level, index, width })
        })
    }

    fn judge_edge(&mut self) -> Result<(), TreeFault> {
        if self.edge_files().any(|file| !self.edge.contains_key(&file)) {
            return Ok(());
        }
        self.is_edge_believed = true;
        let got = self.range_root(0, self.size).expect("each peak lies in a narrow tile");
        if got == self.root {
            return Ok(());
        }
        self.is_edge_believed = false;
        self.edge.clear();
        Err(TreeFault::Edge { expected: self.root, got })
    }

    /// The hashes of a tile, if they are believed.
    fn tile(&self, level: u8, index: u64) -> Option<&[Hash]> {
        let width = width_at(level, index, self.size);
        match width {
            TILE_WIDTH => self.full.get(&(level, index)).map(Vec::as_slice),
            _ if !self.is_edge_believed => None,
            _ => self.edge.get(&LogFile::Tile { level, index, width }).map(Vec::as_slice),
        }
    }
}

/// A subtree whose tile is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl Subtrees for KnownTree {
    type Fault = Unknown;

    fn subtree(&self, height: u32, index: u64) -> Result<Hash, Unknown> {
        let (level, inside) = ((height / 8) as u8, height % 8);
        let first = index << inside;
        let hashes = self.tile(level, first / TILE_WIDTH).ok_or(Unknown)?;
        Ok(subtree_in_tile(hashes, inside, (first % TILE_WIDTH) >> inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Origin;
    use crate::tile::tile_bytes;

    /// A log of small leaves: leaf `i` is the decimal of `i`.
    struct Log {
        tiles: BTreeMap<LogFile, Vec<u8>>,
        checkpoint: Checkpoint,
    }

    fn leaf(index: u64) -> Vec<u8> {
        index.to_string().into_bytes()
    }

    fn bundle(index: u64, size: u64) -> Vec<Vec<u8>> {
        (index * TILE_WIDTH..).take(width_at(0, index, size) as usize).map(leaf).collect()
    }

    fn log(size: u64) -> Log {
        let mut tiles = BTreeMap::new();
        let mut hashes: Vec<Hash> =
            (0..size).map(|index| crate::merkle::leaf_hash(&leaf(index))).collect();
        let root = root_of(&hashes);
        for level in 0.. {
            let mut above = Vec::new();
            for (index, chunk) in (0..).zip(hashes.chunks(TILE_WIDTH as usize)) {
                let width = chunk.len() as u64;
                tiles.insert(LogFile::Tile { level, index, width }, tile_bytes(chunk));
                above.extend((width == TILE_WIDTH).then(|| root_of(chunk)));
            }
            if above.is_empty() {
                break;
            }
            hashes = above;
        }
        let origin = Origin::parse("example.com/log").unwrap();
        Log { tiles, checkpoint: Checkpoint { origin, size, root } }
    }

    /// Learns what is missing for a bundle, and says how many tiles that took.
    fn learn(tree: &mut KnownTree, log: &Log, bundle: u64) -> Result<u32, TreeFault> {
        let mut count = 0;
        loop {
            let missing = tree.missing(bundle);
            if missing.is_empty() {
                return Ok(count);
            }
            for file in missing {
                count += 1;
                tree.learn(file, &log.tiles[&file])?;
            }
        }
    }

    fn judge(tree: &KnownTree, index: u64, leaves: &[Vec<u8>]) -> Result<(), TreeFault> {
        let leaves: Vec<&[u8]> = leaves.iter().map(Vec::as_slice).collect();
        tree.judge_leaves(index, &leaves)
    }

    #[test]
    fn every_bundle_of_a_log_is_led_to_its_root() {
        for size in [1, 255, 256, 257, 512, 700, 65_536, 65_537, 66_000, 70_000] {
            let log = log(size);
            let mut tree = KnownTree::new(&log.checkpoint);
            let mut learned = 0;
            for index in 0..size.div_ceil(TILE_WIDTH) {
                learned += learn(&mut tree, &log, index).unwrap();
                let leaves = bundle(index, size);
                assert_eq!(judge(&tree, index, &leaves), Ok(()), "{index} of {size}");
                let before = (0..index * TILE_WIDTH)
                    .map(|leaf_index| crate::merkle::leaf_hash(&leaf(leaf_index)));
                if index < 5 {
                    assert_eq!(tree.root_before(index), Some(root_of(&before.collect::<Vec<_>>())));
                }
                tree.forget_before(index);
                assert!(tree.full.len() <= 2, "memory stays small");
            }
            // Level 0 is never asked for but at the edge.
            assert!(learned <= 5, "{learned} tiles for {size}");
        }
    }

    #[test]
    fn another_leaf_tile_or_count_is_refused() {
        let size = 66_000;
        let log = log(size);
        let mut tree = KnownTree::new(&log.checkpoint);
        learn(&mut tree, &log, 3).unwrap();
        let mut leaves = bundle(3, size);
        leaves[17].push(b'x');
        assert_eq!(judge(&tree, 3, &leaves).unwrap_err().slug(), "tile_hash");
        assert_eq!(judge(&tree, 3, &leaves[1..]).unwrap_err().slug(), "bundle_leaves");
        assert_eq!(judge(&tree, 4, &bundle(3, size)).unwrap_err().slug(), "tile_hash");

        let mut tree = KnownTree::new(&log.checkpoint);
        let edge = tree.missing(0);
        let mut bent = log.tiles.clone();
        bent.get_mut(&edge[0]).unwrap()[5] ^= 1;
        let refused: Vec<_> = edge.iter().map(|file| tree.learn(*file, &bent[file])).collect();
        assert_eq!(refused.last().unwrap().clone().unwrap_err().slug(), "root_mismatch");
        assert_eq!(tree.missing(0), edge, "all are asked for again");
        learn(&mut tree, &log, 257).unwrap();

        let full = LogFile::Tile { level: 1, index: 0, width: TILE_WIDTH };
        assert_eq!(tree.missing(0), [full]);
        let mut bytes = log.tiles[&full].clone();
        bytes[9] ^= 1;
        assert_eq!(tree.learn(full, &bytes).unwrap_err().slug(), "tile_hash");
        assert_eq!(tree.learn(full, &bytes[1..]).unwrap_err().slug(), "tile_length");
        let beyond = LogFile::Tile { level: 1, index: 2, width: TILE_WIDTH };
        assert_eq!(tree.learn(beyond, &bytes).unwrap_err().slug(), "file_not_missing");
    }
}
