//! What must be there: the counts and digests that make a silently missing entry visible.

use proofmark_evidence::{ByteReader, ByteWriter, Hash, sha256_parts};

use crate::command::{CodecFault, put_hash, take_hash, take_version};

/// The manifest's own key among the rows, so that one sled batch writes both. No row uses it:
/// rows begin with a table's tag, which is a letter.
pub(super) const MANIFEST_KEY: &[u8] = b"\0manifest";

const MANIFEST_VERSION: u8 = 1;

/// A digest of a set of entries that does not depend on their order: XOR of each one's SHA-256.
/// It guards against loss and rot, not against a person who writes both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetDigest {
    pub(super) count: u64,
    digest: Hash,
}

/// How far the result index reaches: every leaf below `covered` is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexMark {
    pub(super) covered: u64,
    pub(super) entries: SetDigest,
}

/// One save.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) applied_index: u64,
    pub(super) rows: SetDigest,
    pub(super) index: IndexMark,
}

impl SetDigest {
    pub(super) const EMPTY: Self = Self { count: 0, digest: Hash::ZERO };

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count += 1;
        self.toggle(key, value);
    }

    /// The entry must have been added; a wrong one shows as a mismatch at the next open.
    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.saturating_sub(1);
        self.toggle(key, value);
    }

    fn toggle(&mut self, key: &[u8], value: &[u8]) {
        let key_len = (key.len() as u64).to_be_bytes();
        let entry = sha256_parts(&[&key_len, key, value]);
        for (byte, other) in self.digest.0.iter_mut().zip(entry.0) {
            *byte ^= other;
        }
    }

    fn put(&self, out: &mut ByteWriter) {
        out.varint(self.count);
        put_hash(out, &self.digest);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self { count: input.varint("count")?, digest: take_hash(input, "digest")? })
    }
}

/// A manifest's bytes, read and written again: what a fuzz target asks for.
///
/// # Errors
/// They are no manifest.
pub fn reread_manifest(bytes: &[u8]) -> Result<Vec<u8>, CodecFault> {
    Manifest::decode(bytes).map(|manifest| manifest.encode())
}

impl IndexMark {
    pub(super) const EMPTY: Self = Self { covered: 0, entries: SetDigest::EMPTY };
}

impl Manifest {
    pub(super) const EMPTY: Self =
        Self { applied_index: 0, rows: SetDigest::EMPTY, index: IndexMark::EMPTY };

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.u8(MANIFEST_VERSION);
        out.varint(self.applied_index);
        self.rows.put(&mut out);
        out.varint(self.index.covered);
        self.index.entries.put(&mut out);
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut input = ByteReader::new(bytes);
        take_version(&mut input, MANIFEST_VERSION)?;
        let applied_index = input.varint("applied index")?;
        let rows = SetDigest::take(&mut input)?;
        let covered = input.varint("covered")?;
        let index = IndexMark { covered, entries: SetDigest::take(&mut input)? };
        input.finish("manifest")?;
        Ok(Self { applied_index, rows, index })
    }
}
