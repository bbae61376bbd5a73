//! What the writer holds in memory: the growing end of every tile and bundle, and whatever was
//! appended since the last sync. Nothing here touches a disk.

use crate::hash::Hash;
use crate::layout::LogFile;
use crate::merkle::root_of;
use crate::tile::{
    Items, Prefix, TILE_WIDTH, hashes_at, push_blob, push_entry, subtree_in_tile, tile_bytes,
};

/// The growing end of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Edge {
    size: u64,
    levels: Vec<Level>,
    /// The bundle of leaves being filled, and where each of them ends.
    entries: Vec<u8>,
    entry_ends: Vec<usize>,
    payload: PayloadEdge,
    /// Full bundles and tiles not yet on disk, in the order they were filled.
    pub(super) full_entries: Vec<(u64, Vec<u8>)>,
    pub(super) full_payloads: Vec<PayloadEdge>,
    pub(super) full_tiles: Vec<(LogFile, Vec<u8>)>,
}

/// One level's growing tile.
#[derive(Clone, Debug, Default)]
struct Level {
    /// Fewer than 256.
    hashes: Vec<Hash>,
    /// The tile before it: the past a seal still asks about is seldom older.
    previous: Option<Vec<Hash>>,
}

/// A payload bundle: how much of it is on disk, and what comes next.
#[derive(Clone, Debug, Default)]
pub(super) struct PayloadEdge {
    pub(super) index: u64,
    pub(super) durable_len: u64,
    pub(super) pending: Vec<u8>,
}

impl Edge {
    /// The end of a log of `size` leaves. `tiles` are the level's growing tiles, level 0 first;
    /// `entries` and `durable_len` describe the bundles of the last, incomplete 256 leaves.
    pub(super) fn at(
        size: u64,
        tiles: Vec<Vec<Hash>>,
        entries: &[&[u8]],
        durable_len: u64,
    ) -> Edge {
        let level = |hashes| Level { hashes, previous: None };
        let index = size / TILE_WIDTH;
        let mut edge = Edge {
            size,
            levels: tiles.into_iter().map(level).collect(),
            payload: PayloadEdge { index, durable_len, pending: Vec::new() },
            ..Edge::default()
        };
        entries.iter().for_each(|leaf| edge.push_entry(leaf));
        edge
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn payload(&self) -> &PayloadEdge {
        &self.payload
    }

    /// A new leaf: everything of it must still be written.
    pub(super) fn append(&mut self, leaf: &[u8], leaf_hash: Hash, blob: &[u8]) {
        push_blob(&mut self.payload.pending, blob);
        self.push_leaf(leaf, leaf_hash);
    }

    /// A leaf found on disk whose blob of `blob_len` bytes is durable already.
    pub(super) fn append_recovered(&mut self, leaf: &[u8], leaf_hash: Hash, blob_len: usize) {
        self.payload.durable_len += 4 + blob_len as u64;
        self.push_leaf(leaf, leaf_hash);
    }

    /// What is to be written of the growing payload bundle; from here on it counts as written.
    pub(super) fn take_payload(&mut self) -> PayloadEdge {
        let pending = std::mem::take(&mut self.payload.pending);
        let taken = PayloadEdge { pending, ..self.payload };
        self.payload.durable_len += taken.pending.len() as u64;
        taken
    }

    fn push_leaf(&mut self, leaf: &[u8], leaf_hash: Hash) {
        self.push_entry(leaf);
        self.push_hash(0, leaf_hash);
        self.size += 1;
        if self.size.is_multiple_of(TILE_WIDTH) {
            self.close_bundles();
        }
    }

    fn push_entry(&mut self, leaf: &[u8]) {
        push_entry(&mut self.entries, leaf);
        self.entry_ends.push(self.entries.len());
    }

    fn close_bundles(&mut self) {
        self.full_entries.push((self.payload.index, std::mem::take(&mut self.entries)));
        self.entry_ends.clear();
        let next = PayloadEdge { index: self.payload.index + 1, ..PayloadEdge::default() };
        self.full_payloads.push(std::mem::replace(&mut self.payload, next));
    }

    /// A tile that is full becomes one hash of the level above.
    fn push_hash(&mut self, level: u8, hash: Hash) {
        let place = usize::from(level);
        if place == self.levels.len() {
            self.levels.push(Level::default());
        }
        self.levels[place].hashes.push(hash);
        if self.levels[place].hashes.len() as u64 == TILE_WIDTH {
            let full = std::mem::take(&mut self.levels[place].hashes);
            let index = hashes_at(level, self.size + 1) / TILE_WIDTH - 1;
            let file = LogFile::Tile { level, index, width: TILE_WIDTH };
            self.full_tiles.push((file, tile_bytes(&full)));
            self.push_hash(level + 1, root_of(&full));
            self.levels[place].previous = Some(full);
        }
    }

    /// The root of a full subtree, if memory reaches that far back.
    pub(super) fn subtree(&self, height: u32, index: u64) -> Option<Hash> {
        let (level, inside) = (height / 8, height % 8);
        let first = index << inside;
        let (tile, place) = (first / TILE_WIDTH, first % TILE_WIDTH);
        let hashes = self.tile(level as u8, tile)?;
        Some(subtree_in_tile(&hashes, inside, place >> inside))
    }

    fn tile(&self, level: u8, index: u64) -> Option<std::borrow::Cow<'_, [Hash]>> {
        let known = self.levels.get(usize::from(level))?;
        let growing = hashes_at(level, self.size) / TILE_WIDTH;
        if index == growing {
            return Some(known.hashes.as_slice().into());
        }
        let previous = known.previous.as_deref().filter(|_| index + 1 == growing);
        previous.map(Into::into).or_else(|| {
            let file = LogFile::Tile { level, index, width: TILE_WIDTH };
            let (_, bytes) = self.full_tiles.iter().find(|(one, _)| *one == file)?;
            Some(crate::tile::parse_tile(bytes, TILE_WIDTH).ok()?.into())
        })
    }

    /// The narrow tiles and the narrow bundle of leaves that belong to a log of this size.
    pub(super) fn partials_at(size: u64) -> Vec<LogFile> {
        let narrow = |level| {
            let hashes = hashes_at(level, size);
            (hashes / TILE_WIDTH, hashes % TILE_WIDTH)
        };
        let (index, width) = narrow(0);
        let entries = std::iter::once(LogFile::Entries { index, width });
        let tiles = (0..crate::limits::LEVELS_COUNT_MAX).map(|level| {
            let (index, width) = narrow(level);
            LogFile::Tile { level, index, width }
        });
        let is_there = |file: &LogFile| {
            !matches!(*file, LogFile::Tile { width: 0, .. } | LogFile::Entries { width: 0, .. })
        };
        entries.chain(tiles).filter(is_there).collect()
    }

    /// The bytes of a narrow tile or bundle; `None` when memory does not reach that far back, and
    /// then its full file is on disk.
    pub(super) fn partial(&self, file: LogFile) -> Option<Vec<u8>> {
        match file {
            LogFile::Payload { .. } => None,
            LogFile::Tile { level, index, width } => {
                let hashes = self.tile(level, index)?;
                Some(tile_bytes(hashes.get(..width as usize)?))
            }
            LogFile::Entries { index, width } if index == self.size / TILE_WIDTH => {
                let end = *self.entry_ends.get(width as usize - 1)?;
                Some(self.entries[..end].to_vec())
            }
            LogFile::Entries { index, width } => {
                let (_, full) = self.full_entries.iter().find(|(one, _)| *one == index)?;
                let mut items = Items::new(Prefix::Entry, full);
                items.by_ref().take(width as usize).for_each(drop);
                Some(full[..full.len() - items.rest().len()].to_vec())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;
    use crate::merkle::leaf_hash;

    /// 70,000 leaves, leaf `i` being the decimal of `i`: the digests two other implementations
    /// agree on.
    #[test]
    fn tiles_are_those_of_other_implementations() {
        let mut edge = Edge::default();
        for index in 0..70_000_u64 {
            let leaf = index.to_string();
            edge.append(leaf.as_bytes(), leaf_hash(leaf.as_bytes()), b"");
        }
        let tile = |level, index, width| LogFile::Tile { level, index, width };
        let check = |file: LogFile, prefix: &str, suffix: &str| {
            let full = edge.full_tiles.iter().find(|(one, _)| *one == file);
            let bytes = full.map(|(_, bytes)| bytes.clone()).or_else(|| edge.partial(file));
            let digest = sha256(&bytes.unwrap()).to_string();
            assert!(digest.starts_with(prefix) && digest.ends_with(suffix), "{file:?}: {digest}");
        };
        check(tile(0, 0, 256), "b9704a8b", "a62b");
        check(tile(0, 273, 112), "4d212445", "e5a5");
        check(tile(1, 0, 256), "ea7b038b", "10a2");
        check(tile(1, 1, 17), "adfaca27", "9ce4");
        check(tile(2, 0, 1), "f0113c8b", "caea");
        assert_eq!(edge.full_tiles.len(), 273 + 1);
        let narrow = [LogFile::Entries { index: 273, width: 112 }, tile(0, 273, 112)];
        assert_eq!(Edge::partials_at(70_000)[..2], narrow);
        assert_eq!(Edge::partials_at(70_000).len(), 4);
    }
}
