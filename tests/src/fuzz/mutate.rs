//! Mutations without a fuzzer: the same in every run, from a seed.
//!
//! What decoders trip over: flipped bits, boundary numbers, lengths that lie, pieces removed,
//! repeated, moved, or taken from another input.

/// Numbers at the edges of varints and of fixed widths.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x3fff, 0x4000, 0xffff, 0xffff_ffff, 1 << 63, u64::MAX];

/// No mutation grows an input beyond this: larger ones teach nothing new and cost time.
const INPUT_BYTES_MAX: usize = 64 * 1024;

pub struct Mutator {
    state: u64,
}

impl Mutator {
    pub fn new(seed: u64) -> Mutator {
        Mutator { state: seed }
    }

    /// One of `inputs`, changed at one to four places.
    pub fn mutated(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            let other = &inputs[self.below(inputs.len())];
            self.change(&mut bytes, other);
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        match self.below(8) {
            0 => self.flip_bit(bytes),
            1 => self.set_byte(bytes),
            2 => self.put_edge(bytes),
            3 => self.remove(bytes),
            4 => self.repeat(bytes),
            5 => self.insert(bytes),
            6 => self.cut(bytes),
            _ => self.splice(bytes, other),
        }
    }

    fn flip_bit(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let at = self.below(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        }
    }

    fn set_byte(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let at = self.below(bytes.len());
            bytes[at] = self.next().to_be_bytes()[0];
        }
    }

    /// A boundary number over what stands there: as a varint, or big endian in some width.
    fn put_edge(&mut self, bytes: &mut Vec<u8>) {
        let edge = EDGES[self.below(EDGES.len())];
        let number = match self.below(4) {
            0 => varint(edge),
            1 => edge.to_be_bytes()[6..].to_vec(),
            2 => edge.to_be_bytes()[4..].to_vec(),
            _ => edge.to_be_bytes().to_vec(),
        };
        let at = self.below(bytes.len() + 1);
        let end = (at + number.len()).min(bytes.len());
        bytes.splice(at..end, number);
    }

    fn remove(&mut self, bytes: &mut Vec<u8>) {
        let (at, end) = self.piece(bytes.len());
        bytes.drain(at..end);
    }

    fn repeat(&mut self, bytes: &mut Vec<u8>) {
        let (at, end) = self.piece(bytes.len());
        let piece = bytes[at..end].to_vec();
        bytes.splice(end..end, piece);
    }

    fn insert(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let more: Vec<u8> = (0..=self.below(8)).map(|_| self.next().to_be_bytes()[0]).collect();
        bytes.splice(at..at, more);
    }

    fn cut(&mut self, bytes: &mut Vec<u8>) {
        let end = self.below(bytes.len() + 1);
        bytes.truncate(end);
    }

    /// The beginning of one input, the end of another.
    fn splice(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let (keep, from) = (self.below(bytes.len() + 1), self.below(other.len() + 1));
        bytes.truncate(keep);
        bytes.extend_from_slice(&other[from..]);
    }

    /// A short piece of something of this length.
    fn piece(&mut self, len: usize) -> (usize, usize) {
        let at = self.below(len + 1);
        let end = (at + 1 + self.below(32)).min(len);
        (at.min(end), end)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).expect("less than a usize")
    }

    /// splitmix64
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = self.state;
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}
