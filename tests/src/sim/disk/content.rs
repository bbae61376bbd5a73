//! The bytes of one file: what programs see, and what a power cut would leave of it.

use crate::sim::rng::Rng;

/// One file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// As read now, unsynced changes included.
    live: Vec<u8>,
    /// What the platter had at the last sync, while anything has changed since.
    platter: Option<Vec<u8>>,
    /// Changes since then, oldest first.
    unsynced: Vec<Change>,
    /// Where the newest write began: what lies before it, other writes brought.
    newest_at: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Cut { len: usize },
}

/// What a power cut does to the unsynced blocks of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    AllLost,
    AllKept,
    /// The first blocks are kept, in the order in which they were written.
    Torn {
        kept: usize,
    },
    /// Each block for itself.
    Scattered,
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.live
    }

    /// Bytes before the newest write.
    pub(super) fn older_bytes(&self) -> usize {
        self.newest_at.min(self.live.len())
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.newest_at = at;
        self.change(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn cut(&mut self, len: usize) {
        if self.live.len() != len {
            self.change(Change::Cut { len });
        }
    }

    pub(super) fn sync(&mut self) {
        self.platter = None;
        self.unsynced.clear();
    }

    /// One bit turns, on the platter and for every reader.
    pub(super) fn flip(&mut self, bit: usize) {
        let flip = |bytes: &mut Vec<u8>| {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        };
        flip(&mut self.live);
        self.platter.as_mut().map(flip);
    }

    /// Power is gone and back: unsynced blocks are there or not.
    pub(super) fn power_cut(&mut self, block_bytes: usize, rng: &mut Rng) {
        let Some(mut platter) = self.platter.take() else { return };
        let changes = std::mem::take(&mut self.unsynced);
        let blocks: Vec<Change> =
            changes.into_iter().flat_map(|change| change.into_blocks(block_bytes)).collect();
        let fate = Fate::draw(blocks.len(), rng);
        for (place, block) in blocks.iter().enumerate() {
            if fate.keeps(place, rng) {
                block.apply(&mut platter);
            }
        }
        self.live = platter;
    }

    fn change(&mut self, change: Change) {
        if self.platter.is_none() {
            self.platter = Some(self.live.clone());
        }
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes: new } => {
                // A hole reads as zeros.
                bytes.resize(bytes.len().max(at + new.len()), 0);
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
            Change::Cut { len } => bytes.resize(*len, 0),
        }
    }

    fn into_blocks(self, block_bytes: usize) -> Vec<Change> {
        let Change::Write { at, bytes } = self else { return vec![self] };
        let mut blocks = Vec::new();
        let mut begin = 0;
        while begin < bytes.len() {
            let to_edge = block_bytes - (at + begin) % block_bytes;
            let end = (begin + to_edge).min(bytes.len());
            blocks.push(Change::Write { at: at + begin, bytes: bytes[begin..end].to_vec() });
            begin = end;
        }
        blocks
    }
}

impl Fate {
    fn draw(blocks: usize, rng: &mut Rng) -> Fate {
        match rng.index(5) {
            0 => Fate::AllLost,
            1 => Fate::AllKept,
            2 | 3 => Fate::Torn { kept: rng.index(blocks + 1) },
            _ => Fate::Scattered,
        }
    }

    fn keeps(self, place: usize, rng: &mut Rng) -> bool {
        match self {
            Fate::AllLost => false,
            Fate::AllKept => true,
            Fate::Torn { kept } => place < kept,
            Fate::Scattered => rng.chance_permille(500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file that held `synced`, then got `unsynced` appended, may hold after a power cut.
    fn outcomes(synced: &[u8], unsynced: &[u8]) -> std::collections::BTreeSet<Vec<u8>> {
        let outcome = |seed| {
            let mut content = Content::default();
            content.write(0, synced);
            content.sync();
            content.write(synced.len(), unsynced);
            content.power_cut(2, &mut Rng::new(seed));
            content.bytes().to_vec()
        };
        (0..200).map(outcome).collect()
    }

    #[test]
    fn what_was_synced_stays_and_what_was_not_may_be_torn() {
        let got = outcomes(b"ab", b"cdef");
        let expect: [&[u8]; 4] = [b"ab", b"abcd", b"ab\0\0ef", b"abcdef"];
        assert_eq!(got, expect.iter().map(|bytes| bytes.to_vec()).collect());
    }

    #[test]
    fn a_sync_ends_all_doubt() {
        let mut content = Content::default();
        content.write(0, b"abc");
        content.cut(2);
        content.sync();
        content.power_cut(1, &mut Rng::new(1));
        assert_eq!(content.bytes(), b"ab");
    }
}
