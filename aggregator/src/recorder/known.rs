//! The leaves that were durable before this start: a replay must bring the very same again.

use proofmark_evidence::{
    Hash, LogFile, SourceFault, TILE_WIDTH, TileFault, TileSource, parse_tile, width_at,
};

/// Hashes of the leaves below `size`, read from the level-0 tiles as a replay comes by them.
pub(super) struct KnownLeaves {
    source: Box<dyn TileSource + Send>,
    size: u64,
    /// The tile read last. A replay goes through each once, in order.
    tile: Option<(u64, Vec<Hash>)>,
}

impl KnownLeaves {
    /// `size`: leaves that the writer found on disk when it was opened. As long as the replay
    /// stays below it the writer appends nothing, so these files stay as they are.
    pub(super) fn new(source: Box<dyn TileSource + Send>, size: u64) -> Self {
        Self { source, size, tile: None }
    }

    /// The hash of a leaf that was there before; `None` from the first new one on.
    pub(super) fn hash(&mut self, index: u64) -> Result<Option<Hash>, KnownFault> {
        if index >= self.size {
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
        let width = width_at(0, index, self.size);
        let path = LogFile::Tile { level: 0, index, width }.path();
        let bytes = self.source.read(&path)?;
        parse_tile(&bytes, width).map_err(|fault| KnownFault::Tile { path, fault })
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
