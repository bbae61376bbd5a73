//! A snapshot's head: what it is, and the hash of each of its chunks. The hash of the head stands
//! for all of it: the descriptor that a leader sends holds that one.

use proofmark_evidence::{ByteReader, ByteWriter, Hash, sha256};

use crate::command::{CodecFault, put_hash, take_hash, take_version};
use crate::consensus::Membership;
use crate::consensus::Position;
use crate::limits::{SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES};

/// The first bytes of the file.
pub(super) const MAGIC: &[u8; 8] = b"pmsnap\r\n";

const HEAD_VERSION: u8 = 1;
const DESCRIPTOR_VERSION: u8 = 1;

/// Before the head's fields: the magic and the fields' length (`u32`, big endian).
pub(super) const PREFIX_BYTES: usize = MAGIC.len() + 4;
/// After them: the root.
pub(super) const ROOT_BYTES: usize = 32;
/// The widest head: a hash per chunk, and room for the rest. It fits one piece.
pub(super) const HEAD_BYTES: usize =
    PREFIX_BYTES + ROOT_BYTES + 32 * chunk_count(SNAPSHOT_BYTES_MAX) as usize + 8_192;
const _: () = assert!(HEAD_BYTES <= SNAPSHOT_CHUNK_BYTES);

/// Which state a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Names the cluster: a snapshot of another one is refused.
    pub log_id: Hash,
    /// The entry after which the state was taken.
    pub position: Position,
    /// Who votes after that entry.
    pub membership: Membership,
    /// Leaves in the log then. The evidence must have as many before the state is installed.
    pub leaf_count: u64,
}

/// What a leader says of a snapshot it has: enough to ask for it and to check every byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub position: Position,
    pub leaf_count: u64,
    /// The head's bytes, root and all; the first chunk begins after them.
    pub head_bytes: u32,
    /// All rows, encoded.
    pub rows_bytes: u64,
    /// SHA-256 of the head before the root.
    pub root: Hash,
}

/// The head as it is read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) about: About,
    pub(super) row_count: u64,
    pub(super) rows_bytes: u64,
    pub(super) chunk_hashes: Vec<Hash>,
}

/// How many chunks hold so many bytes.
pub(super) const fn chunk_count(rows_bytes: u64) -> u32 {
    rows_bytes.div_ceil(SNAPSHOT_CHUNK_BYTES as u64) as u32
}

impl Descriptor {
    pub fn chunk_count(&self) -> u32 {
        chunk_count(self.rows_bytes)
    }

    /// Bytes of the whole file.
    pub fn bytes(&self) -> u64 {
        u64::from(self.head_bytes) + self.rows_bytes
    }

    /// How long chunk `number` is; all but the last are full.
    pub fn chunk_bytes(&self, number: u32) -> usize {
        let before = u64::from(number) * SNAPSHOT_CHUNK_BYTES as u64;
        self.rows_bytes.saturating_sub(before).min(SNAPSHOT_CHUNK_BYTES as u64) as usize
    }

    /// Where chunk `number` lies in the file.
    pub(super) fn chunk_at(&self, number: u32) -> u64 {
        u64::from(self.head_bytes) + u64::from(number) * SNAPSHOT_CHUNK_BYTES as u64
    }

    /// At most some eighty bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.u8(DESCRIPTOR_VERSION).varint(self.position.index).varint(self.position.term);
        out.varint(self.leaf_count).varint(self.head_bytes.into()).varint(self.rows_bytes);
        put_hash(&mut out, &self.root);
        out.into_bytes()
    }

    /// # Errors
    /// Bytes that no version of ours wrote, or sizes beyond the bounds.
    pub fn decode(bytes: &[u8]) -> Result<Descriptor, CodecFault> {
        let mut input = ByteReader::new(bytes);
        take_version(&mut input, DESCRIPTOR_VERSION)?;
        let position = take_position(&mut input)?;
        let leaf_count = input.varint("leaf count")?;
        let least = (PREFIX_BYTES + ROOT_BYTES) as u64;
        let head_bytes = input.ranged("head bytes", least, HEAD_BYTES as u64)? as u32;
        let rows_bytes = input.ranged("rows bytes", 0, SNAPSHOT_BYTES_MAX)?;
        let root = take_hash(&mut input, "root")?;
        input.finish("descriptor")?;
        Ok(Descriptor { position, leaf_count, head_bytes, rows_bytes, root })
    }
}

impl Head {
    /// The whole head: prefix, fields, root.
    pub(super) fn encode(&self) -> Vec<u8> {
        let fields = self.encode_fields();
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + fields.len() + ROOT_BYTES);
        bytes.extend_from_slice(MAGIC);
        let len = u32::try_from(fields.len()).expect("a head fits one piece");
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&fields);
        let root = sha256(&bytes);
        bytes.extend_from_slice(&root.0);
        bytes
    }

    fn encode_fields(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.u8(HEAD_VERSION);
        put_hash(&mut out, &self.about.log_id);
        out.varint(self.about.position.index).varint(self.about.position.term);
        self.about.membership.encode_into(&mut out);
        out.varint(self.about.leaf_count).varint(self.row_count).varint(self.rows_bytes);
        self.chunk_hashes.iter().for_each(|hash| put_hash(&mut out, hash));
        out.into_bytes()
    }

    /// How long the fields of a head say they are; the prefix is all of `PREFIX_BYTES`.
    pub(super) fn fields_len(prefix: &[u8]) -> Result<usize, String> {
        let Some((magic, len)) = prefix.split_first_chunk::<8>() else {
            return Err(format!("expected {PREFIX_BYTES} bytes or more, got {}", prefix.len()));
        };
        if magic != MAGIC {
            return Err(format!("expected the magic of a snapshot, got {}", magic.escape_ascii()));
        }
        let Ok(len) = <[u8; 4]>::try_from(len) else {
            return Err("expected the head's length, got the end".to_owned());
        };
        let (len, len_max) = (u32::from_be_bytes(len) as usize, HEAD_BYTES);
        match PREFIX_BYTES + len + ROOT_BYTES {
            bytes if bytes <= len_max => Ok(len),
            bytes => Err(format!("expected a head of at most {len_max} bytes, got {bytes}")),
        }
    }

    /// Reads a whole head and its descriptor. The root is checked; whose it is, is not.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Head, Descriptor), String> {
        let fields_len = Head::fields_len(bytes.get(..PREFIX_BYTES).unwrap_or(bytes))?;
        let expected = PREFIX_BYTES + fields_len + ROOT_BYTES;
        if bytes.len() != expected {
            return Err(format!("expected a head of {expected} bytes, got {}", bytes.len()));
        }
        let (rooted, root) = bytes.split_at(PREFIX_BYTES + fields_len);
        let (expected, got) = (sha256(rooted), Hash(root.try_into().expect("32 bytes remain")));
        if got != expected {
            return Err(format!("expected the root {expected}, got {got}"));
        }
        let head = Head::take(&rooted[PREFIX_BYTES..]).map_err(|fault| fault.to_string())?;
        let descriptor = Descriptor {
            position: head.about.position,
            leaf_count: head.about.leaf_count,
            head_bytes: bytes.len() as u32,
            rows_bytes: head.rows_bytes,
            root: got,
        };
        Ok((head, descriptor))
    }

    fn take(fields: &[u8]) -> Result<Head, CodecFault> {
        let mut input = ByteReader::new(fields);
        take_version(&mut input, HEAD_VERSION)?;
        let log_id = take_hash(&mut input, "log id")?;
        let position = take_position(&mut input)?;
        let membership = Membership::decode_from(&mut input)?;
        let leaf_count = input.varint("leaf count")?;
        let row_count = input.varint("row count")?;
        let rows_bytes = input.ranged("rows bytes", 0, SNAPSHOT_BYTES_MAX)?;
        let hashes = (0..chunk_count(rows_bytes)).map(|_| take_hash(&mut input, "chunk hash"));
        let chunk_hashes = hashes.collect::<Result<_, _>>()?;
        input.finish("head")?;
        let about = About { log_id, position, membership, leaf_count };
        Ok(Head { about, row_count, rows_bytes, chunk_hashes })
    }
}

fn take_position(input: &mut ByteReader<'_>) -> Result<Position, CodecFault> {
    Ok(Position { index: input.varint("index")?, term: input.varint("term")? })
}
