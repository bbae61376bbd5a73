//! The leaves that are durable already: a replay must bring the very same again.

use proofmark_evidence::{
    Hash, LogFile, SourceFault, TILE_WIDTH, TileFault, TileSource, parse_tile,
};

/// Hashes of durable leaves, read from the full level-0 tiles as a replay comes by them. The last,
/// narrow tile is the writer's matter: it has it in memory, and may replace its file.
pub(super) struct KnownLeaves {
    source: Box<dyn TileSource + Send>,
    /// Full tiles that are on disk.
    tiles: u64,
    /// The tile read last. A replay goes through each once, in order.
    tile: Option<(u64, Vec<Hash>)>,
}

impl KnownLeaves {
    /// `durable_size`: leaves whose files are on disk.
    pub(super) fn new(source: Box<dyn TileSource + Send>, durable_size: u64) -> Self {
        Self { source, tiles: durable_size / TILE_WIDTH, tile: None }
    }

    /// More leaves are durable now, and a replay of them is to come.
    pub(super) fn extend(&mut self, durable_size: u64) {
        self.tiles = durable_size / TILE_WIDTH;
    }

    /// The hash of a leaf in a full tile that is on disk; `None` beyond.
    pub(super) fn hash(&mut self, index: u64) -> Result<Option<Hash>, KnownFault> {
        if index / TILE_WIDTH >= self.tiles {
            self.tile = None;
            return Ok(None);
        }
        let (tile, at) = (index / TILE_WIDTH, (index % TILE_WIDTH) as usize);
        if self.tile.as_ref().is_none_or(|(loaded, _)| *loaded != tile) {
            self.tile = Some((tile, self.read_tile(tile)?));
        }
        Ok(self.tile.as_ref().map(|(_, hashes)| hashes[at]))
    }

    fn read_tile(&self, index: u64) -> Result<Vec<Hash>, KnownFault> {
        let path = LogFile::Tile { level: 0, index, width: TILE_WIDTH }.path();
        let bytes = self.source.read(&path)?;
        parse_tile(&bytes, TILE_WIDTH).map_err(|fault| KnownFault::Tile { path, fault })
    }
}

/// A tile of the own evidence cannot be read. The operator restores it from another replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnownFault {
    #[error(transparent)]
    Source(#[from] SourceFault),
    #[error("{path}: {fault}")]
    Tile { path: String, fault: TileFault },
}
