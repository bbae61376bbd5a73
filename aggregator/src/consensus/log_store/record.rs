//! One record of the Raft log: what a group of write tasks becomes on disk.
//!
//! ```text
//! magic u32 | body length u32 | crc32 u32 | number u64 | body        (big endian)
//! ```
//! The checksum covers salt, number and body. The salt is the log's own secret: no agent can put
//! bytes into a batch that look like a record. Numbers rise by one through all files of a log.
//!
//! Body of the first record of a file: version, log id, node id, salt, voters, and since version 2
//! the lowest number that a file of the log had when this one was made.
//! Body of every other, version 2: flags, hard state if it changed, where the log starts if that
//! changed, first index, then for each entry its kind, term and lengths, then context and data of
//! each, one after the other. Version 1 had neither starts nor kinds. Foreign bytes are never
//! parsed here, only stored.

use crc32fast::Hasher;
use proofmark_evidence::{ByteReader, ByteWriter, DecodeFault};
use raft::eraftpb::{Entry, EntryType, HardState};

use super::super::driver::WriteTask;
use super::super::snapshot::Position;
use super::LogIdentity;

const MAGIC: u32 = 0x504d_524c; // "PMRL"
const FRAME_BYTES: usize = 20;
pub(super) const VERSION: u8 = 2;
/// Before there were snapshots and changes of the membership. Read, never written.
const VERSION_1: u8 = 1;

/// What the first record of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) version: u8,
    pub(super) identity: LogIdentity,
    pub(super) salt: [u8; 8],
    pub(super) voters: Vec<u64>,
    /// Files with lower numbers were let go of before this one was made.
    pub(super) keep_from: u64,
}

/// What any other record says. `data` of the entries is where it lies in the body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Written {
    pub(super) hard_state: Option<HardState>,
    pub(super) start: Option<Start>,
    /// Replace everything from here on; without entries, nothing.
    pub(super) first_index: u64,
    pub(super) entries: Vec<WrittenEntry>,
}

/// From here on the log starts after this position, and no file with a number below `keep_from` is
/// needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Entries above the position stay.
    Compacted { after: Position, keep_from: u64 },
    /// No entry stays: a snapshot took their place.
    Reset { after: Position, keep_from: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrittenEntry {
    pub(super) term: u64,
    pub(super) is_change: bool,
    /// From the beginning of the body: the context, then the data.
    pub(super) offset: usize,
    pub(super) context_len: usize,
    pub(super) data_len: usize,
}

/// Parts of a body that are there or not.
mod flag {
    pub(super) const HARD_STATE: u8 = 1;
    pub(super) const COMPACTED: u8 = 2;
    pub(super) const RESET: u8 = 4;
    pub(super) const ALL: u8 = HARD_STATE | COMPACTED | RESET;
}

/// The codes of an entry's kind.
mod kind {
    pub(super) const NORMAL: u8 = 0;
    /// A change of the membership; only such an entry has a context.
    pub(super) const CHANGE: u8 = 1;
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
        out.varint(self.keep_from);
        out.into_bytes()
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeFault> {
        let mut input = ByteReader::new(body);
        let version = input.u8("version")?;
        if version != VERSION && version != VERSION_1 {
            return Err(DecodeFault::UnknownCode { what: "version", got: version.into() });
        }
        let log_id = input.fixed("log_id")?;
        let node_id = input.varint("node_id")?;
        let salt = input.fixed("salt")?;
        let count = input.varint("voters")?;
        let voters = (0..count).map(|_| input.varint("voter")).collect::<Result<_, _>>()?;
        let keep_from = if version == VERSION_1 { 1 } else { input.varint("keep_from")? };
        input.finish("file header")?;
        let identity = LogIdentity { log_id, node_id };
        Ok(Self { version, identity, salt, voters, keep_from })
    }
}

/// The body of a group of tasks. Later tasks replace what earlier ones hold of the same indexes; a
/// reset replaces all before it, and the file it is written to is the first one kept.
pub(super) fn encode_tasks(tasks: &[WriteTask], file: u64) -> Vec<u8> {
    let hard_state = tasks.iter().rev().find_map(|task| task.hard_state.as_ref());
    let reset = tasks.iter().rposition(|task| task.reset.is_some());
    let tasks = &tasks[reset.unwrap_or(0)..];
    let start = tasks.first().and_then(|task| task.reset);
    let start = start.map(|after| Start::Reset { after, keep_from: file });
    let mut entries: Vec<&Entry> = Vec::new();
    for task in tasks {
        let Some(first) = task.entries.first() else { continue };
        let begin = entries.first().map_or(first.index, |entry| entry.index);
        // A conflict that reaches below this group replaces all of it.
        let kept = first.index.saturating_sub(begin);
        entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        entries.extend(&task.entries);
    }
    encode_body(hard_state, start, &entries)
}

/// The body of a record that only lets go: with the hard state, whose own record may go too.
pub(super) fn encode_compacted(hard_state: &HardState, start: Start) -> Vec<u8> {
    encode_body(Some(hard_state), Some(start), &[])
}

fn encode_body(
    hard_state: Option<&HardState>,
    start: Option<Start>,
    entries: &[&Entry],
) -> Vec<u8> {
    let (start_flag, start) = match start {
        None => (0, None),
        Some(Start::Compacted { after, keep_from }) => (flag::COMPACTED, Some((after, keep_from))),
        Some(Start::Reset { after, keep_from }) => (flag::RESET, Some((after, keep_from))),
    };
    let mut out = ByteWriter::new();
    out.u8(start_flag | if hard_state.is_some() { flag::HARD_STATE } else { 0 });
    if let Some(state) = hard_state {
        out.varint(state.term).varint(state.vote).varint(state.commit);
    }
    if let Some((after, keep_from)) = start {
        out.varint(after.index).varint(after.term).varint(keep_from);
    }
    out.varint(entries.first().map_or(0, |entry| entry.index)).varint(entries.len() as u64);
    for entry in entries {
        match entry.get_entry_type() {
            EntryType::EntryNormal => out.u8(kind::NORMAL),
            _ => out.u8(kind::CHANGE).varint(entry.context.len() as u64),
        };
        out.varint(entry.term).varint(entry.data.len() as u64);
    }
    for entry in entries {
        out.fixed(&entry.context).fixed(&entry.data);
    }
    out.into_bytes()
}

/// The inverse of [`encode_tasks`] and [`encode_compacted`], by the version of the record's file.
pub(super) fn decode_body(body: &[u8], version: u8) -> Result<Written, DecodeFault> {
    let mut input = ByteReader::new(body);
    let flags = input.u8("flags")?;
    let known = if version == VERSION_1 { flag::HARD_STATE } else { flag::ALL };
    if flags & !known != 0 || flags & flag::ALL > flag::RESET | flag::HARD_STATE {
        return Err(DecodeFault::UnknownCode { what: "flags", got: flags.into() });
    }
    let hard_state = (flags & flag::HARD_STATE != 0).then(|| take_hard_state(&mut input));
    let start = match flags & !flag::HARD_STATE {
        0 => None,
        flag::COMPACTED => {
            Some(take_start(&mut input, |after, keep_from| Start::Compacted { after, keep_from })?)
        }
        _ => Some(take_start(&mut input, |after, keep_from| Start::Reset { after, keep_from })?),
    };
    let first_index = input.varint("first_index")?;
    let count = input.varint("entries")?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(take_entry(&mut input, version)?);
    }
    place_entries(&mut entries, body.len() - input.remaining(), body.len())?;
    Ok(Written { hard_state: hard_state.transpose()?, start, first_index, entries })
}

fn take_hard_state(input: &mut ByteReader<'_>) -> Result<HardState, DecodeFault> {
    Ok(HardState {
        term: input.varint("term")?,
        vote: input.varint("vote")?,
        commit: input.varint("commit")?,
        ..HardState::default()
    })
}

fn take_start(
    input: &mut ByteReader<'_>,
    start: impl FnOnce(Position, u64) -> Start,
) -> Result<Start, DecodeFault> {
    let after = Position { index: input.varint("start")?, term: input.varint("start term")? };
    Ok(start(after, input.varint("keep_from")?))
}

fn take_entry(input: &mut ByteReader<'_>, version: u8) -> Result<WrittenEntry, DecodeFault> {
    let size = |input: &mut ByteReader<'_>| {
        input.varint("length").map(|len| usize::try_from(len).unwrap_or(usize::MAX))
    };
    let kind = if version == VERSION_1 { kind::NORMAL } else { input.u8("kind")? };
    let context_len = match kind {
        kind::NORMAL => 0,
        kind::CHANGE => size(input)?,
        got => return Err(DecodeFault::UnknownCode { what: "kind", got: got.into() }),
    };
    let (term, data_len) = (input.varint("term")?, size(input)?);
    let is_change = kind == kind::CHANGE;
    Ok(WrittenEntry { term, is_change, offset: 0, context_len, data_len })
}

/// Contexts and data fill the body from `begin` to its end, in order.
fn place_entries(
    entries: &mut [WrittenEntry],
    begin: usize,
    body_len: usize,
) -> Result<(), DecodeFault> {
    let mut end = body_len;
    for entry in entries.iter_mut().rev() {
        let len = entry.context_len.saturating_add(entry.data_len);
        let Some(offset) = end.checked_sub(len) else {
            return Err(DecodeFault::TrailingBytes { what: "entry data", got: len });
        };
        entry.offset = offset;
        end = offset;
    }
    match end == begin {
        true => Ok(()),
        false => {
            Err(DecodeFault::TrailingBytes { what: "entry data", got: end.saturating_sub(begin) })
        }
    }
}

fn checksum(number: u64, body: &[u8], salt: &[u8; 8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(salt);
    hasher.update(&number.to_be_bytes());
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_fills_a_body_to_its_end() {
        let check = |body: &[u8], expect: Result<usize, &'static str>| {
            let got = decode_body(body, VERSION).map(|written| written.entries.len());
            assert_eq!(got.map_err(|fault| fault.slug()), expect, "{body:?}");
        };
        // Flags, first index, count; for each entry kind, term, length; then the data.
        check(&[0, 1, 2, 0, 1, 1, 0, 1, 2, b'a', b'b', b'c'], Ok(2));
        check(&[0, 0, 0], Ok(0));
        check(&[0, 0, 0, b'x'], Err("trailing_bytes"));
        check(&[0, 1, 1, 0, 1, 1, b'x', b'a'], Err("trailing_bytes"));
        check(&[0, 1, 1, 0, 1, 2, b'a'], Err("trailing_bytes"));
        check(&[0, 1, 1, 0, 1, 9, b'a'], Err("trailing_bytes"));
    }
}
