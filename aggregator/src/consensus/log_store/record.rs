//! One record of the Raft log: what a group of write tasks becomes on disk.
//!
//! ```text
//! magic u32 | body length u32 | crc32 u32 | number u64 | body        (big endian)
//! ```
//! The checksum covers salt, number and body. The salt is the log's own secret: no agent can put
//! bytes into a batch that look like a record. Numbers rise by one through all files of a log.
//!
//! Body of the first record of a file: version, log id, node id, salt, voters.
//! Body of every other: hard state if it changed, first index, terms and lengths of the entries,
//! then their data, one after the other. Foreign bytes are never parsed here, only stored.

use crc32fast::Hasher;
use proofmark_evidence::{ByteReader, ByteWriter, DecodeFault};
use raft::eraftpb::{Entry, HardState};

use super::super::driver::WriteTask;
use super::LogIdentity;

const MAGIC: u32 = 0x504d_524c; // "PMRL"
const FRAME_BYTES: usize = 20;
const VERSION: u8 = 1;

/// What the first record of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) identity: LogIdentity,
    pub(super) salt: [u8; 8],
    pub(super) voters: Vec<u64>,
}

/// What any other record says. `data` of the entries is where it lies in the body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Written {
    pub(super) hard_state: Option<HardState>,
    /// Replace everything from here on; without entries, nothing.
    pub(super) first_index: u64,
    pub(super) entries: Vec<WrittenEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrittenEntry {
    pub(super) term: u64,
    /// From the beginning of the body.
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// A whole record with a good checksum.
pub(super) struct Framed<'a> {
    pub(super) number: u64,
    pub(super) body: &'a [u8],
}

impl Framed<'_> {
    /// Bytes of the record on disk.
    pub(super) fn len(&self) -> usize {
        FRAME_BYTES + self.body.len()
    }
}

/// Where in a record its body begins.
pub(super) const BODY_OFFSET: usize = FRAME_BYTES;

/// Puts the frame around a body.
pub(super) fn frame(number: u64, body: &[u8], salt: &[u8; 8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("the queue's bound is far below 4 GiB");
    let mut record = Vec::with_capacity(FRAME_BYTES + body.len());
    record.extend_from_slice(&MAGIC.to_be_bytes());
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(&checksum(number, body, salt).to_be_bytes());
    record.extend_from_slice(&number.to_be_bytes());
    record.extend_from_slice(body);
    record
}

/// The record at the beginning of these bytes, if there is a whole and undamaged one.
pub(super) fn unframe<'a>(bytes: &'a [u8], salt: &[u8; 8]) -> Option<Framed<'a>> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let body = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    let number = u64::from_be_bytes(*number);
    let is_good = u32::from_be_bytes(*magic) == MAGIC
        && u32::from_be_bytes(*crc) == checksum(number, body, salt);
    is_good.then_some(Framed { number, body })
}

/// Whether an undamaged record begins anywhere in these bytes.
pub(super) fn any_record(bytes: &[u8], salt: &[u8; 8]) -> bool {
    (0..bytes.len()).any(|at| {
        bytes[at..].starts_with(&MAGIC.to_be_bytes()) && unframe(&bytes[at..], salt).is_some()
    })
}

impl FileHeader {
    /// The header is checked before its salt is known: its own checksum is made without.
    pub(super) const NO_SALT: [u8; 8] = [0; 8];

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.u8(VERSION).fixed(&self.identity.log_id).varint(self.identity.node_id);
        out.fixed(&self.salt).varint(self.voters.len() as u64);
        for voter in &self.voters {
            out.varint(*voter);
        }
        out.into_bytes()
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeFault> {
        let mut input = ByteReader::new(body);
        let version = input.u8("version")?;
        if version != VERSION {
            return Err(DecodeFault::UnknownCode { what: "version", got: version.into() });
        }
        let log_id = input.fixed("log_id")?;
        let node_id = input.varint("node_id")?;
        let salt = input.fixed("salt")?;
        let count = input.varint("voters")?;
        let voters = (0..count).map(|_| input.varint("voter")).collect::<Result<_, _>>()?;
        input.finish("file header")?;
        Ok(Self { identity: LogIdentity { log_id, node_id }, salt, voters })
    }
}

/// The body of a group of tasks. Later tasks replace what earlier ones hold of the same indexes.
pub(super) fn encode_tasks(tasks: &[WriteTask]) -> Vec<u8> {
    let hard_state = tasks.iter().rev().find_map(|task| task.hard_state.as_ref());
    let mut entries: Vec<&Entry> = Vec::new();
    for task in tasks {
        let Some(first) = task.entries.first() else { continue };
        let begin = entries.first().map_or(first.index, |entry| entry.index);
        // A conflict that reaches below this group replaces all of it.
        let kept = first.index.saturating_sub(begin);
        entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        entries.extend(&task.entries);
    }
    encode_body(hard_state, &entries)
}

fn encode_body(hard_state: Option<&HardState>, entries: &[&Entry]) -> Vec<u8> {
    let mut out = ByteWriter::new();
    match hard_state {
        None => out.u8(0),
        Some(state) => out.u8(1).varint(state.term).varint(state.vote).varint(state.commit),
    };
    out.varint(entries.first().map_or(0, |entry| entry.index)).varint(entries.len() as u64);
    for entry in entries {
        out.varint(entry.term).varint(entry.data.len() as u64);
    }
    for entry in entries {
        out.fixed(&entry.data);
    }
    out.into_bytes()
}

pub(super) fn decode_body(body: &[u8]) -> Result<Written, DecodeFault> {
    let mut input = ByteReader::new(body);
    let hard_state = match input.u8("hard state")? {
        0 => None,
        1 => Some(HardState {
            term: input.varint("term")?,
            vote: input.varint("vote")?,
            commit: input.varint("commit")?,
            ..HardState::default()
        }),
        got => return Err(DecodeFault::UnknownCode { what: "hard state", got: got.into() }),
    };
    let first_index = input.varint("first_index")?;
    let count = input.varint("entries")?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let term = input.varint("term")?;
        let len = usize::try_from(input.varint("length")?).unwrap_or(usize::MAX);
        entries.push(WrittenEntry { term, offset: 0, len });
    }
    place_entries(&mut entries, body.len())?;
    Ok(Written { hard_state, first_index, entries })
}

/// The data lies at the end of the body, in order.
fn place_entries(entries: &mut [WrittenEntry], body_len: usize) -> Result<(), DecodeFault> {
    let mut end = body_len;
    for entry in entries.iter_mut().rev() {
        let Some(offset) = end.checked_sub(entry.len) else {
            return Err(DecodeFault::TrailingBytes { what: "entry data", got: entry.len });
        };
        entry.offset = offset;
        end = offset;
    }
    Ok(())
}

fn checksum(number: u64, body: &[u8], salt: &[u8; 8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(salt);
    hasher.update(&number.to_be_bytes());
    hasher.update(body);
    hasher.finalize()
}
