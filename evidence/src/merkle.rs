//! The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): roots, proofs, and their checks.
//!
//! One tree holds the log's leaves, another one the results of each batch; both use this file.
//! Proofs are made from *subtrees*: the `index`-th run of `2^height` leaves, which never changes
//! once it is full. Where the hashes of subtrees come from (memory, tiles) is the caller's affair.

use std::convert::Infallible;

use crate::hash::{Hash, sha256, sha256_parts};

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    #[error("expected an index below the tree's size {size}, got {index}")]
    IndexBeyondSize { index: u64, size: u64 },
    #[error("expected 0 < old size <= new size, got {old} and {new}")]
    SizesNotAscending { old: u64, new: u64 },
    #[error("expected {expected} hashes in the proof, got {got}")]
    PathLength { expected: usize, got: usize },
    #[error("expected root {expected}, got {got}")]
    RootMismatch { expected: Hash, got: Hash },
}

impl ProofFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::IndexBeyondSize { .. } => "index_beyond_size",
            Self::SizesNotAscending { .. } => "sizes_not_ascending",
            Self::PathLength { .. } => "path_length",
            Self::RootMismatch { .. } => "root_mismatch",
        }
    }
}

/// `SHA256(0x00 || leaf)`.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256_parts(&[&[0], leaf])
}

/// `SHA256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_parts(&[&[1], &left.0, &right.0])
}

/// Where the hashes of full subtrees come from.
pub trait Subtrees {
    type Fault;

    /// The root over leaves `index * 2^height .. (index + 1) * 2^height`, all of which exist.
    fn subtree(&self, height: u32, index: u64) -> Result<Hash, Self::Fault>;

    /// `MTH(D[start..end])`; `start` must be a multiple of the smallest power of two that is not
    /// below the range's length, as it is for every range the functions below ask for.
    fn range_root(&self, start: u64, end: u64) -> Result<Hash, Self::Fault> {
        let len = end - start;
        match len {
            0 => Ok(empty_root()),
            _ if len.is_power_of_two() => {
                let height = len.trailing_zeros();
                self.subtree(height, start >> height)
            }
            _ => {
                let middle = start + split(len);
                let left = self.range_root(start, middle)?;
                Ok(node_hash(&left, &self.range_root(middle, end)?))
            }
        }
    }

    /// `PATH(index, D[0..size])`, the leaf's sibling first. `index < size`.
    fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, Self::Fault> {
        debug_assert!(index < size);
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                path.push(self.range_root(middle, end)?);
                end = middle;
            } else {
                path.push(self.range_root(start, middle)?);
                start = middle;
            }
        }
        path.reverse();
        Ok(path)
    }

    /// `PROOF(old, D[0..new])`: empty when `old` is 0 or `new`. `old <= new`.
    fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, Self::Fault> {
        debug_assert!(old <= new);
        let (mut start, mut end) = (0, new);
        let mut path = Vec::new();
        while old != end && old != 0 {
            let middle = start + split(end - start);
            if old <= middle {
                path.push(self.range_root(middle, end)?);
                end = middle;
            } else {
                path.push(self.range_root(start, middle)?);
                start = middle;
            }
        }
        // RFC 6962 calls this b = false: the verifier does not know this subtree's root yet.
        if start != 0 {
            path.push(self.range_root(start, end)?);
        }
        path.reverse();
        Ok(path)
    }
}

/// Leaf hashes in memory: for the few leaves of a batch or a tile.
impl Subtrees for [Hash] {
    type Fault = Infallible;

    fn subtree(&self, height: u32, index: u64) -> Result<Hash, Infallible> {
        if height == 0 {
            return Ok(self[index as usize]);
        }
        let left = self.subtree(height - 1, 2 * index)?;
        Ok(node_hash(&left, &self.subtree(height - 1, 2 * index + 1)?))
    }
}

/// `MTH` over these leaf hashes.
pub fn root_of(leaf_hashes: &[Hash]) -> Hash {
    let Ok(root) = leaf_hashes.range_root(0, leaf_hashes.len() as u64);
    root
}

/// The proof that leaf `index` is among these. `None` when it is not.
pub fn inclusion_path(leaf_hashes: &[Hash], index: u64) -> Option<Vec<Hash>> {
    let size = leaf_hashes.len() as u64;
    if index >= size {
        return None;
    }
    let Ok(path) = leaf_hashes.inclusion_proof(index, size);
    Some(path)
}

/// The root a batch header carries over its results' bytes.
pub fn results_root<'a>(results: impl Iterator<Item = &'a [u8]>) -> Hash {
    let mut tree = Frontier::new();
    results.for_each(|result| tree.append(leaf_hash(result)));
    tree.root()
}

/// RFC 9162 section 2.1.3.2.
pub fn verify_inclusion(
    leaf_hash: Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: Hash,
) -> Result<(), ProofFault> {
    if index >= size {
        return Err(ProofFault::IndexBeyondSize { index, size });
    }
    let expected = inclusion_path_len(index, size);
    if path.len() != expected {
        return Err(ProofFault::PathLength { expected, got: path.len() });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf_hash;
    for sibling in path {
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            climb_to_sibling(&mut node, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    expect_root(root, hash)
}

/// RFC 9162 section 2.1.4.2. An old size of 0 proves nothing and is refused: the caller decides
/// what it means to have known nothing before.
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    path: &[Hash],
    old_root: Hash,
    new_root: Hash,
) -> Result<(), ProofFault> {
    if old_size == 0 || old_size > new_size {
        return Err(ProofFault::SizesNotAscending { old: old_size, new: new_size });
    }
    let expected = consistency_path_len(old_size, new_size);
    if path.len() != expected {
        return Err(ProofFault::PathLength { expected, got: path.len() });
    }
    if old_size == new_size {
        return expect_root(new_root, old_root);
    }
    let (first, rest) =
        if old_size.is_power_of_two() { (old_root, path) } else { (path[0], &path[1..]) };
    let skip = (old_size - 1).trailing_ones();
    let (mut node, mut last) = ((old_size - 1) >> skip, (new_size - 1) >> skip);
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            climb_to_sibling(&mut node, &mut last);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    expect_root(old_root, old_hash)?;
    expect_root(new_root, new_hash)
}

/// A tree that only grows: the roots of its full subtrees, largest first. Enough for its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    pub fn new() -> Frontier {
        Frontier::default()
    }

    pub fn append(&mut self, leaf_hash: Hash) {
        let mut hash = leaf_hash;
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("each one bit of the size has its peak");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> Hash {
        let mut smaller_first = self.peaks.iter().rev();
        let Some(&smallest) = smaller_first.next() else {
            return empty_root();
        };
        smaller_first.fold(smallest, |right, left| node_hash(left, &right))
    }
}

/// `MTH({})`: the hash of nothing.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// The largest power of two below `len`, which is at least 2.
fn split(len: u64) -> u64 {
    1 << (63 - (len - 1).leading_zeros())
}

/// A node that is the last of its row and a left child moves up, alone, until it has a sibling.
fn climb_to_sibling(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}

/// One sibling for each row in which the leaf's way and the last leaf's way differ, and one for
/// each row above or below in which the way turns left of the right edge.
fn inclusion_path_len(index: u64, size: u64) -> usize {
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (inner + border) as usize
}

/// The proof for the old tree's last full subtree, and that subtree's own hash unless it is the
/// whole old tree.
fn consistency_path_len(old_size: u64, new_size: u64) -> usize {
    if old_size == new_size {
        return 0;
    }
    let height = old_size.trailing_zeros();
    let inside = inclusion_path_len((old_size - 1) >> height, ((new_size - 1) >> height) + 1);
    inside + usize::from(!old_size.is_power_of_two())
}

fn expect_root(expected: Hash, got: Hash) -> Result<(), ProofFault> {
    if expected == got { Ok(()) } else { Err(ProofFault::RootMismatch { expected, got }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Leaf `i` is the decimal of `i`, as in the vectors other implementations share.
    fn decimal_leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(i.to_string().as_bytes())).collect()
    }

    #[test]
    fn roots_of_decimal_leaves_are_the_known_ones() {
        let mut tree = Frontier::new();
        let mut check = |size: u64, prefix: &str| {
            while tree.size() < size {
                tree.append(leaf_hash(tree.size().to_string().as_bytes()));
            }
            assert!(tree.root().to_string().starts_with(prefix), "size {size}: {}", tree.root());
        };
        check(0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check(1, "db3426e8");
        check(255, "32f85bca");
        check(256, "828515d0");
        check(257, "1eda049a");
        check(65_536, "f025d06e");
        check(70_000, "1a4cdfcb66374a0c0dcbef49acbd4976d13ee864fb3cb241fc943cad04f02f7e");
    }

    #[test]
    fn a_root_does_not_depend_on_how_it_is_computed() {
        let leaves = decimal_leaves(70);
        let mut tree = Frontier::new();
        for (size, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), root_of(&leaves[..size]));
            tree.append(*leaf);
        }
    }

    #[test]
    fn every_inclusion_proof_of_small_trees_holds() {
        let leaves = decimal_leaves(40);
        for size in 1..=leaves.len() {
            let root = root_of(&leaves[..size]);
            for (index, leaf) in leaves[..size].iter().enumerate() {
                let path = inclusion_path(&leaves[..size], index as u64).unwrap();
                verify_inclusion(*leaf, index as u64, size as u64, &path, root).unwrap();
            }
            assert_eq!(inclusion_path(&leaves[..size], size as u64), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn proofs_hold_for_their_trees_only(new in 1..600_u64, seed: u64, bit in 0..256_usize) {
            let refused = |old, new, path: &[Hash], old_root, new_root| {
                verify_consistency(old, new, path, old_root, new_root).is_err()
            };
            let leaves = decimal_leaves(new);
            let (old, index) = (seed % new + 1, seed / 7 % new);
            let (old_root, new_root) = (root_of(&leaves[..old as usize]), root_of(&leaves));
            let path = leaves.consistency_proof(old, new).unwrap();
            verify_consistency(old, new, &path, old_root, new_root).unwrap();
            prop_assert!(refused(old, new, &path, flip(old_root, bit), new_root));
            prop_assert!(refused(old, new, &path, old_root, flip(new_root, bit)));

            let path = leaves.inclusion_proof(index, new).unwrap();
            let leaf = leaves[index as usize];
            verify_inclusion(leaf, index, new, &path, new_root).unwrap();
            prop_assert!(verify_inclusion(leaf, index, new, &path, flip(new_root, bit)).is_err());
            prop_assert!(verify_inclusion(flip(leaf, bit), index, new, &path, new_root).is_err());
            for place in 0..path.len() {
                let mut wrong = path.clone();
                wrong[place] = flip(wrong[place], bit);
                prop_assert!(verify_inclusion(leaf, index, new, &wrong, new_root).is_err());
            }
        }
    }

    fn flip(mut hash: Hash, bit: usize) -> Hash {
        hash.0[bit / 8] ^= 1 << (bit % 8);
        hash
    }
}
