//! C2SP tlog-tiles: the tree cut into files of 256 hashes, and the leaves into bundles of 256.
//!
//! Hash `i` of tile `n` at level `l` is the root over the `256^l` leaves from
//! `(n * 256 + i) * 256^l` on. Only the last tile of a level may be narrower than 256.

use crate::hash::Hash;
use crate::merkle::{Subtrees, leaf_hash};

/// Hashes in a full tile, leaves in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// Why a file is not a tile or not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileFault {
    #[error("expected {expected} bytes of hashes, got {got}")]
    HashBytes { expected: usize, got: usize },
    #[error("expected {expected} items, got {got} whole ones")]
    TooFewItems { expected: u64, got: u64 },
    #[error("expected the end after {items} items, got {got} more bytes")]
    TrailingBytes { items: u64, got: usize },
}

impl TileFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::HashBytes { .. } => "tile_length",
            Self::TooFewItems { .. } => "bundle_truncated",
            Self::TrailingBytes { .. } => "bundle_trailing_bytes",
        }
    }
}

/// Complete hashes at `level` in a tree of `size` leaves.
pub fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// How wide tile `index` of `level` is at this size: 0 when it does not exist, up to 256.
pub fn width_at(level: u8, index: u64, size: u64) -> u64 {
    let start = index.saturating_mul(TILE_WIDTH);
    hashes_at(level, size).saturating_sub(start).min(TILE_WIDTH)
}

/// `N` in groups of three digits, all but the last marked: 1234067 is `x001/x234/067`.
pub fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// The reverse of [`index_path`]; `None` for every other spelling.
pub fn parse_index_path(path: &str) -> Option<u64> {
    let mut index = 0_u64;
    let mut groups = path.split('/').peekable();
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    (index_path(index) == path).then_some(index)
}

/// A tile's file: its hashes one after the other.
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// All hashes of a tile file, which must be of exactly this width.
pub fn parse_tile(bytes: &[u8], width: u64) -> Result<Vec<Hash>, TileFault> {
    let expected = 32 * width as usize;
    if bytes.len() != expected {
        return Err(TileFault::HashBytes { expected, got: bytes.len() });
    }
    let hash = |chunk: &[u8]| Hash(chunk.try_into().expect("chunks of 32"));
    Ok(bytes.chunks_exact(32).map(hash).collect())
}

/// A subtree of up to 256 leaves: what one tile can tell about heights inside its own eight rows.
pub(crate) fn subtree_in_tile(hashes: &[Hash], height: u32, index: u64) -> Hash {
    let Ok(root) = hashes.subtree(height, index);
    root
}

/// Adds one item to a bundle of leaves: its length (u16, big endian), then its bytes.
pub(crate) fn push_entry(bundle: &mut Vec<u8>, leaf: &[u8]) {
    let len = u16::try_from(leaf.len()).expect("a leaf is at most 4 KiB");
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(leaf);
}

/// Adds one item to a bundle of payload blobs: its length (u32, big endian), then its bytes.
pub(crate) fn push_blob(bundle: &mut Vec<u8>, blob: &[u8]) {
    let len = u32::try_from(blob.len()).expect("a blob is at most 1 MiB");
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(blob);
}

/// What a bundle's items are prefixed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Leaves: u16, big endian.
    Entry,
    /// Payload blobs: u32, big endian.
    Blob,
}

/// Walks a bundle's whole items; what does not fill an item stays in `rest`.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    prefix: Prefix,
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    pub(crate) fn new(prefix: Prefix, bundle: &'a [u8]) -> Items<'a> {
        Items { prefix, rest: bundle }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn split_len(&self) -> Option<(usize, &'a [u8])> {
        match self.prefix {
            Prefix::Entry => {
                let (len, rest) = self.rest.split_first_chunk()?;
                Some((u16::from_be_bytes(*len).into(), rest))
            }
            Prefix::Blob => {
                let (len, rest) = self.rest.split_first_chunk()?;
                Some((usize::try_from(u32::from_be_bytes(*len)).ok()?, rest))
            }
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.split_len()?;
        let (item, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(item)
    }
}

/// The first `count` items, and the bytes after them.
pub(crate) fn first_items(
    prefix: Prefix,
    bundle: &[u8],
    count: u64,
) -> Result<(Vec<&[u8]>, &[u8]), TileFault> {
    let mut items = Items::new(prefix, bundle);
    let first: Vec<&[u8]> = items.by_ref().take(count as usize).collect();
    match first.len() as u64 {
        got if got == count => Ok((first, items.rest())),
        got => Err(TileFault::TooFewItems { expected: count, got }),
    }
}

/// Exactly `count` items and nothing more.
pub(crate) fn exact_items(
    prefix: Prefix,
    bundle: &[u8],
    count: u64,
) -> Result<Vec<&[u8]>, TileFault> {
    match first_items(prefix, bundle, count)? {
        (items, []) => Ok(items),
        (_, rest) => Err(TileFault::TrailingBytes { items: count, got: rest.len() }),
    }
}

/// The leaves of a bundle file of exactly `count` entries.
pub fn parse_entries(bundle: &[u8], count: u64) -> Result<Vec<&[u8]>, TileFault> {
    exact_items(Prefix::Entry, bundle, count)
}

/// The hashes of the level-0 tile over these leaves.
pub(crate) fn leaf_hashes(leaves: &[&[u8]]) -> Vec<Hash> {
    leaves.iter().map(|leaf| leaf_hash(leaf)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_in_groups_of_three_digits() {
        let check = |index: u64, path: &str| {
            assert_eq!(index_path(index), path);
            assert_eq!(parse_index_path(path), Some(index));
        };
        check(0, "000");
        check(273, "273");
        check(1_000, "x001/000");
        check(1_234_067, "x001/x234/067");
        check(u64::MAX, "x018/x446/x744/x073/x709/x551/615");
    }

    #[test]
    fn another_spelling_of_an_index_is_refused() {
        for path in [
            "",
            "0",
            "0000",
            "x000/001",
            "001/002",
            "x001",
            "x001/",
            "+01",
            "x018/x446/x744/x073/x709/x551/616",
        ] {
            assert_eq!(parse_index_path(path), None, "{path}");
        }
    }

    #[test]
    fn widths_follow_the_example_of_the_spec() {
        let size = 70_000;
        let check = |level, index, width| assert_eq!(width_at(level, index, size), width);
        check(0, 272, 256);
        check(0, 273, 112);
        check(0, 274, 0);
        check(1, 0, 256);
        check(1, 1, 17);
        check(2, 0, 1);
        check(3, 0, 0);
        check(63, u64::MAX, 0);
    }

    #[test]
    fn a_bundle_holds_exactly_its_items() {
        let mut bundle = Vec::new();
        push_entry(&mut bundle, b"one");
        push_entry(&mut bundle, b"");
        assert_eq!(bundle, b"\0\x03one\0\0");
        assert_eq!(parse_entries(&bundle, 2), Ok(vec![&b"one"[..], b""]));
        let short = TileFault::TooFewItems { expected: 3, got: 2 };
        assert_eq!(parse_entries(&bundle, 3), Err(short));
        let long = TileFault::TrailingBytes { items: 1, got: 2 };
        assert_eq!(parse_entries(&bundle, 1), Err(long));
    }
}
