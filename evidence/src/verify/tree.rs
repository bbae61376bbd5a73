//! From the root down to the tiles of leaf hashes: each tile is held to the hash that its parent
//! has for it.
//!
//! A tile that is missing or wrong is reported, and then rebuilt from the files below it, so that
//! these can be judged all the same. Where that fails too, they are judged by the rules alone.

use super::leaves::Bundle;
use super::{Verifier, tile_file};
use crate::hash::Hash;
use crate::layout::{CHECKPOINT_FILE, LogFile, read_at_least};
use crate::limits::LEVELS_COUNT_MAX;
use crate::merkle::{Subtrees, root_of};
use crate::tile::{
    Prefix, TILE_WIDTH, TileFault, first_items, hashes_at, leaf_hashes, parse_tile, subtree_in_tile,
};

/// The narrow tiles at the right edge, level 0 first; empty where a level ends with a full tile.
type EdgeTiles = Vec<Vec<Hash>>;

impl Verifier<'_> {
    pub(super) fn check_tree(&mut self, root: Hash) {
        let edge = self.check_edge(root);
        for level in (1..self.levels()).rev() {
            let (index, width) = self.edge_at(level);
            for place in 0..width {
                let expected = edge.as_ref().map(|tiles| tiles[level as usize][place as usize]);
                self.check_below(level - 1, index * TILE_WIDTH + place, expected);
            }
        }
        let (index, width) = self.edge_at(0);
        if width > 0 {
            let bundle = Bundle { index, width, known: 0, is_published: true };
            self.check_bundle(&bundle, edge.as_ref().map(|tiles| tiles[0].as_slice()));
        }
        self.check_tail();
    }

    /// Levels that have at least one hash.
    fn levels(&self) -> u8 {
        (0..LEVELS_COUNT_MAX).take_while(|level| hashes_at(*level, self.size) > 0).count() as u8
    }

    /// Index and width of a level's narrow tile; width 0 when there is none.
    fn edge_at(&self, level: u8) -> (u64, u64) {
        let hashes = hashes_at(level, self.size);
        (hashes / TILE_WIDTH, hashes % TILE_WIDTH)
    }

    /// All narrow tiles together make the root, so one check believes them all. When it fails,
    /// the smallest set of them whose rebuilding mends the root is to blame.
    fn check_edge(&mut self, root: Hash) -> Option<EdgeTiles> {
        let levels = self.levels();
        let found: Vec<Option<Vec<Hash>>> =
            (0..levels).map(|level| self.edge_tile(level)).collect();
        let all: Option<EdgeTiles> = found.iter().cloned().collect();
        if let Some(tiles) = all.filter(|tiles| edge_root(tiles, self.size) == root) {
            return Some(tiles);
        }
        let rebuilt: Vec<Option<Vec<Hash>>> =
            (0..levels).map(|level| self.rebuild_edge(level)).collect();
        let mended = choices(levels).find_map(|choice| {
            let pick = |level: usize| if choice >> level & 1 == 0 { &found } else { &rebuilt };
            let tiles: Option<EdgeTiles> =
                (0..levels.into()).map(|level| pick(level)[level].clone()).collect();
            tiles.filter(|tiles| edge_root(tiles, self.size) == root)
        });
        self.blame_edge(&found, &rebuilt, mended.as_ref(), root);
        mended
    }

    fn blame_edge(
        &mut self,
        found: &[Option<Vec<Hash>>],
        rebuilt: &[Option<Vec<Hash>>],
        mended: Option<&EdgeTiles>,
        root: Hash,
    ) {
        let before = self.findings.count;
        for level in 0..self.levels() {
            let place = usize::from(level);
            let right = mended.map(|tiles| &tiles[place]).or(rebuilt[place].as_ref());
            if let (Some(found), Some(right)) = (&found[place], right)
                && found != right
            {
                let file = tile_file(level, self.edge_at(level).0, self.size).path();
                self.findings.add(&file, "tile_hash", "the hashes of what is below", "others");
            }
        }
        let is_reported = self.findings.count > before || found.contains(&None);
        if mended.is_none() && !is_reported {
            let tiles: EdgeTiles = found.iter().flatten().cloned().collect();
            let expected = format!("the root {} of the tiles", edge_root(&tiles, self.size));
            self.findings.add(CHECKPOINT_FILE, "root_mismatch", expected, root);
        }
    }

    fn edge_tile(&mut self, level: u8) -> Option<Vec<Hash>> {
        let (index, width) = self.edge_at(level);
        if width == 0 {
            return Some(Vec::new());
        }
        let file = LogFile::Tile { level, index, width };
        let (actual, bytes) = self.read(file)?;
        let mut hashes = self.note(actual, parse_tile(&bytes, width_of(actual)))?;
        hashes.truncate(width as usize);
        Some(hashes)
    }

    fn rebuild_edge(&self, level: u8) -> Option<Vec<Hash>> {
        match self.edge_at(level) {
            (_, 0) => Some(Vec::new()),
            (index, width) => self.rebuild(level, index, width),
        }
    }

    /// A full tile and everything below it, in the order of the leaves.
    fn check_below(&mut self, level: u8, index: u64, expected: Option<Hash>) {
        let hashes = self.full_tile(level, index, expected);
        if level == 0 {
            let bundle = Bundle { index, width: TILE_WIDTH, known: 0, is_published: true };
            return self.check_bundle(&bundle, hashes.as_deref());
        }
        if hashes.is_none() && !self.has_children(level, index) {
            // A size that was only claimed ends here, not after 2^63 missing files.
            return self.rules.skip();
        }
        for place in 0..TILE_WIDTH {
            let expected = hashes.as_ref().map(|hashes| hashes[place as usize]);
            self.check_below(level - 1, index * TILE_WIDTH + place, expected);
        }
    }

    fn has_children(&self, level: u8, index: u64) -> bool {
        let (level, index) = (level - 1, index * TILE_WIDTH);
        self.source.read(&LogFile::Tile { level, index, width: TILE_WIDTH }.path()).is_ok()
    }

    /// Hashes of a full tile that can be believed.
    fn full_tile(&mut self, level: u8, index: u64, expected: Option<Hash>) -> Option<Vec<Hash>> {
        let file = LogFile::Tile { level, index, width: TILE_WIDTH };
        let read = self.read(file);
        let found = read.and_then(|(_, bytes)| self.note(file, parse_tile(&bytes, TILE_WIDTH)));
        let expected = expected?;
        if let Some(hashes) = found {
            let got = root_of(&hashes);
            if got == expected {
                return Some(hashes);
            }
            self.findings.add(&file.path(), "tile_hash", expected, got);
        }
        self.rebuild(level, index, TILE_WIDTH).filter(|hashes| root_of(hashes) == expected)
    }

    /// What a tile must hold by the files right below it. Reports nothing.
    pub(super) fn rebuild(&self, level: u8, index: u64, width: u64) -> Option<Vec<Hash>> {
        if level == 0 {
            let file = LogFile::Entries { index, width };
            let (_, bytes) = read_at_least(self.source, file).ok()?;
            let (leaves, _) = first_items(Prefix::Entry, &bytes, width).ok()?;
            return Some(leaf_hashes(&leaves));
        }
        let child = |place| {
            let (level, index) = (level - 1, index * TILE_WIDTH + place);
            let file = LogFile::Tile { level, index, width: TILE_WIDTH };
            Some(root_of(&parse_tile(&self.source.read(&file.path()).ok()?, TILE_WIDTH).ok()?))
        };
        (0..width).map(child).collect()
    }

    pub(super) fn read(&mut self, file: LogFile) -> Option<(LogFile, Vec<u8>)> {
        match read_at_least(self.source, file) {
            Ok(found) => Some(found),
            Err(fault) => {
                self.findings.add_fault(&file.path(), fault.slug(), &fault);
                None
            }
        }
    }

    /// Takes note of a file that is not what its name says.
    pub(super) fn note<T>(&mut self, file: LogFile, parsed: Result<T, TileFault>) -> Option<T> {
        parsed.map_err(|fault| self.findings.add_fault(&file.path(), fault.slug(), &fault)).ok()
    }
}

/// The root that narrow tiles make: each peak of the tree lies in one of them.
fn edge_root(tiles: &EdgeTiles, size: u64) -> Hash {
    struct Edge<'a>(&'a EdgeTiles);
    impl Subtrees for Edge<'_> {
        type Fault = std::convert::Infallible;
        fn subtree(&self, height: u32, index: u64) -> Result<Hash, Self::Fault> {
            let (level, inside) = (height / 8, height % 8);
            let place = (index << inside) % TILE_WIDTH;
            Ok(subtree_in_tile(&self.0[level as usize], inside, place >> inside))
        }
    }
    let Ok(root) = Edge(tiles).range_root(0, size);
    root
}

/// Every set of levels as bits, the smaller sets first.
fn choices(levels: u8) -> impl Iterator<Item = u32> {
    let mut sets: Vec<u32> = (1..1_u32 << levels).collect();
    sets.sort_by_key(|set| set.count_ones());
    sets.into_iter()
}

pub(super) fn width_of(file: LogFile) -> u64 {
    match file {
        LogFile::Tile { width, .. } | LogFile::Entries { width, .. } => width,
        LogFile::Payload { .. } => TILE_WIDTH,
    }
}
