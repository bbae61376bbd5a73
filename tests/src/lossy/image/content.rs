//! One file's bytes in blocks: those processes see, those a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Losses, Manner};
use crate::dice::Dice;

pub(super) const BLOCK_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;

type Block = Arc<[u8; BLOCK_BYTES]>;

#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) len: u64,
    /// A block that is not here is zeros.
    blocks: BTreeMap<u64, Block>,
}

#[derive(Default)]
pub(super) struct File {
    pub(super) live: Content,
    pub(super) durable: Content,
    /// Blocks written or cut off since the last sync.
    unsynced: BTreeSet<u64>,
}

impl Content {
    /// The bytes from `offset` on: `len` of them, or what there is.
    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = self.len.min(offset + len as u64);
        let mut bytes = Vec::with_capacity(len);
        let mut at = offset;
        while at < end {
            let (block, from) = place(at);
            let until = BLOCK_BYTES.min(from + usize_of(end - at));
            match self.blocks.get(&block) {
                Some(block) => bytes.extend_from_slice(&block[from..until]),
                None => bytes.resize(bytes.len() + until - from, 0),
            }
            at += (until - from) as u64;
        }
        bytes
    }

    /// Whether writing there takes a block that is not there yet.
    pub(super) fn needs_block(&self, offset: u64, end: u64) -> bool {
        (place(offset).0..place(end + BLOCK_BYTES as u64 - 1).0)
            .any(|block| !self.blocks.contains_key(&block))
    }

    fn take(&mut self, block: u64, from: Option<&Block>) {
        match from {
            Some(bytes) => self.blocks.insert(block, Arc::clone(bytes)),
            None => self.blocks.remove(&block),
        };
    }

    /// Zeros behind the end, so that a file that grows again shows nothing old.
    fn cut(&mut self, len: u64) {
        let (last, from) = place(len);
        self.blocks.retain(|block, _| *block <= last);
        if let Some(block) = self.blocks.get_mut(&last) {
            Arc::make_mut(block)[from..].fill(0);
        }
        self.len = len;
    }
}

impl File {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut left = bytes;
        while !left.is_empty() {
            let (block, from) = place(at);
            let (now, later) = left.split_at(left.len().min(BLOCK_BYTES - from));
            let stored =
                self.live.blocks.entry(block).or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
            Arc::make_mut(stored)[from..from + now.len()].copy_from_slice(now);
            self.unsynced.insert(block);
            at += now.len() as u64;
            left = later;
        }
        self.live.len = self.live.len.max(at);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.live.len {
            let first = place(len).0;
            self.unsynced.extend(self.live.blocks.range(first..).map(|(block, _)| *block));
            self.live.cut(len);
        }
        self.live.len = len;
    }

    pub(super) fn sync(&mut self) {
        for block in std::mem::take(&mut self.unsynced) {
            self.durable.take(block, self.live.blocks.get(&block));
        }
        self.durable.len = self.live.len;
    }

    /// A sync failed: what it was for is seen by processes and will never reach the disk.
    pub(super) fn forget_unsynced(&mut self) {
        self.unsynced.clear();
    }

    pub(super) fn lose(&mut self, manner: Manner, dice: &mut Dice, losses: &mut Losses) {
        let unsynced = std::mem::take(&mut self.unsynced);
        match manner {
            Manner::AllLost => losses.blocks_lost += unsynced.len() as u64,
            Manner::SomeKept => self.keep_some(&unsynced, dice, losses),
        }
        self.live = self.durable.clone();
    }

    fn keep_some(&mut self, unsynced: &BTreeSet<u64>, dice: &mut Dice, losses: &mut Losses) {
        let mut end = self.durable.len;
        for block in unsynced {
            if dice.coin() {
                losses.blocks_lost += 1;
                continue;
            }
            losses.blocks_kept += 1;
            let Some(bytes) = self.live.blocks.get(block) else {
                self.durable.take(*block, None);
                continue;
            };
            let bytes = self.torn(*block, bytes, dice);
            self.durable.take(*block, Some(&bytes));
            end = end.max(self.live.len.min((block + 1) * BLOCK_BYTES as u64));
        }
        // The length is a fact of its own: it may be there without its blocks, which are zeros then.
        let len = if dice.coin() { self.live.len } else { end };
        if len < self.durable.len {
            self.durable.cut(len);
        }
        self.durable.len = len;
    }

    /// One kept block in four holds its new bytes only up to a sector, and its old ones behind.
    fn torn(&self, block: u64, new: &Block, dice: &mut Dice) -> Block {
        if dice.below(4) > 0 {
            return Arc::clone(new);
        }
        let kept = usize_of(dice.below((BLOCK_BYTES / SECTOR_BYTES) as u64)) * SECTOR_BYTES;
        let mut torn = self.durable.blocks.get(&block).map_or([0; BLOCK_BYTES], |old| **old);
        torn[..kept].copy_from_slice(&new[..kept]);
        Arc::new(torn)
    }
}

/// The block that holds this byte, and where in it.
fn place(offset: u64) -> (u64, usize) {
    let block = BLOCK_BYTES as u64;
    (offset / block, usize_of(offset % block))
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("bytes in memory are counted by a usize")
}
