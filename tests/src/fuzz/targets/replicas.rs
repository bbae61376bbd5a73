//! What a replica finds on its own disk: written by an older build, by rot, or by a person.

use std::fs;

use proofmark_aggregator::command::{Command, Entry};
use proofmark_aggregator::consensus::log_store::{LogIdentity, LogStore};
use proofmark_aggregator::state::State;
use proofmark_aggregator::tables;
use proofmark_evidence::{ByteReader, ByteWriter, Hash};

use tempfile::TempDir;

use super::peers;
use crate::fuzz::law::{one_spelling, refused};
use crate::fuzz::{Sample, Target, Verdict, samples};

pub const TARGETS: &[Target] = &[
    Target { name: "state_rows", judge: state_rows, samples: states },
    Target { name: "state_apply", judge: state_apply, samples: entries },
    Target { name: "tables_manifest", judge: tables_manifest, samples: manifests },
    Target { name: "tables_index_value", judge: tables_index_value, samples: index_values },
    Target { name: "raft_log_segment", judge: raft_log_segment, samples: segments },
    Target { name: "raft_log_bodies", judge: raft_log_bodies, samples: bodies },
];

/// Rows, each behind its length: a state that loads is made of exactly these rows.
fn state_rows(bytes: &[u8]) -> Verdict {
    let rows = match read_rows(bytes) {
        None => return refused(&"not rows"),
        Some(rows) => rows,
    };
    one_spelling(bytes, State::from_rows(rows), State::encode)
}

/// Ascending keys, each once: as `State::encode` writes them.
fn read_rows(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut input = ByteReader::new(bytes);
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while input.remaining() > 0 {
        let key = input.bytes("key", 1 << 20).ok()?.to_vec();
        let value = input.bytes("value", 1 << 20).ok()?.to_vec();
        if rows.last().is_some_and(|(last, _)| *last >= key) {
            return None;
        }
        rows.push((key, value));
    }
    Some(rows)
}

/// A state with a bit of everything in it.
pub(super) fn counted_state() -> State {
    let mut state = State::new();
    for (index, (_, command)) in (1..).zip(peers::every_command()) {
        apply(&mut state, index, samples::NOW_MS + index * 6_000, &[command]);
    }
    (20..60).for_each(|index| {
        apply(&mut state, index, samples::NOW_MS + index * 6_000, &[Command::Tick])
    });
    state
}

fn apply(state: &mut State, index: u64, stamped_at_ms: u64, commands: &[Command]) {
    for command in commands {
        let effects = state.apply(index, stamped_at_ms, command);
        assert!(!effects.is_empty(), "every command is answered: {command:?}");
    }
    state.finish_entry(index);
}

fn states() -> Vec<Sample> {
    vec![
        Sample::new("empty", State::new().encode()),
        Sample::new("counted", counted_state().encode()),
    ]
}

/// Entries of a Raft log, each behind its length, after a cluster's first commands: whatever peers
/// agreed on, the state takes or refuses it, holds its invariants, and survives a restart.
fn state_apply(bytes: &[u8]) -> Verdict {
    let mut state = State::new();
    let first = peers::every_command().into_iter().map(|(_, command)| command);
    apply(&mut state, 1, samples::NOW_MS, &first.take(4).collect::<Vec<_>>());
    let mut input = ByteReader::new(bytes);
    let mut index = 1;
    while input.remaining() > 0 {
        let entry = match input.bytes("entry", 1 << 20) {
            Err(fault) => return refused(&fault),
            Ok(bytes) => Entry::decode(bytes),
        };
        match entry {
            Err(fault) => return refused(&fault),
            Ok(entry) => {
                index += 1;
                apply(&mut state, index, entry.stamped_at_ms, &entry.commands);
            }
        }
    }
    assert_eq!(state.check(), Ok(()));
    let saved = state.encode();
    let rows = read_rows(&saved).expect("written by the state");
    let restarted = State::from_rows(rows).unwrap_or_else(|fault| panic!("no restart: {fault}"));
    assert_eq!(restarted.encode(), saved, "a restart changes the state");
    Verdict::Taken
}

fn entries() -> Vec<Sample> {
    let mut out = ByteWriter::new();
    out.bytes(&peers::entries().remove(0).bytes);
    for (step, commands) in (1..).zip([
        vec![Command::Tick, Command::Tick],
        vec![Command::Seal { size: 3, root: Hash([5; 32]) }],
        vec![Command::Tick],
    ]) {
        let stamped_at_ms = samples::NOW_MS + step * 60_000;
        out.bytes(&Entry { stamped_at_ms, commands }.encode());
    }
    vec![Sample::new("four-entries", out.into_bytes())]
}

fn tables_manifest(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, tables::reread_manifest(bytes), Clone::clone)
}

fn manifests() -> Vec<Sample> {
    let mut out = ByteWriter::new();
    out.u8(1).varint(300).varint(12).fixed(&[1; 32]).varint(7).varint(5).fixed(&[2; 32]);
    vec![Sample::new("whole", out.into_bytes())]
}

fn tables_index_value(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, tables::reread_index_value(bytes), Clone::clone)
}

fn index_values() -> Vec<Sample> {
    let mut out = ByteWriter::new();
    out.varint(300).varint(4);
    vec![Sample::new("whole", out.into_bytes())]
}

const IDENTITY: LogIdentity = LogIdentity { log_id: [1; 32], node_id: 1 };
/// The log's frame around a body: magic, length, checksum, number.
const FRAME_BYTES: usize = 20;
const MAGIC: &[u8; 4] = b"PMRL";

/// Any bytes after the header of a log's only file: it opens or names the damage, and what opened
/// once opens again with the same content.
fn raft_log_segment(records: &[u8]) -> Verdict {
    judge_log(|_| records.to_vec())
}

/// As `raft_log_segment`, with checksums made to fit: bodies, each behind a big-endian u16 length.
fn raft_log_bodies(bytes: &[u8]) -> Verdict {
    judge_log(|salt| {
        let mut records = Vec::new();
        let (mut rest, mut number) = (bytes, 2_u64);
        while let Some((len, after)) = rest.split_first_chunk::<2>() {
            let Some((body, after)) = after.split_at_checked(u16::from_be_bytes(*len).into())
            else {
                break;
            };
            records.extend_from_slice(&framed(number, body, salt));
            (rest, number) = (after, number + 1);
        }
        records
    })
}

fn framed(number: u64, body: &[u8], salt: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a u16");
    let crc = crc32fast::hash(&[salt, &number.to_be_bytes()[..], body].concat());
    let head = [MAGIC, &len.to_be_bytes()[..], &crc.to_be_bytes(), &number.to_be_bytes()[..]];
    [&head.concat()[..], body].concat()
}

fn judge_log(records: impl Fn(&[u8]) -> Vec<u8>) -> Verdict {
    let dir = memory_dir();
    LogStore::create(dir.path(), IDENTITY, &[1, 2, 3]).expect("a new log");
    let file = fs::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("readable"));
    let file = file.map(|entry| entry.path()).find(|path| path.extension().is_some());
    let file = file.expect("the log's one file");
    let mut bytes = fs::read(&file).expect("readable");
    // After the frame: version, log id, node id (one byte), then the salt.
    let salt = bytes[FRAME_BYTES + 34..][..8].to_vec();
    bytes.extend_from_slice(&records(&salt));
    fs::write(&file, bytes).expect("room");
    let first = match LogStore::open(dir.path(), IDENTITY) {
        Err(fault) => return refused(&fault.to_string().rsplit('/').next().unwrap_or_default()),
        Ok((_, recovered)) => format!("{recovered:?}"),
    };
    let again = LogStore::open(dir.path(), IDENTITY).map(|(_, recovered)| recovered);
    assert_eq!(format!("{:?}", again.expect("it opened once")), first);
    Verdict::Taken
}

/// A directory in memory where there is one: thousands of logs are made, and each is synced.
fn memory_dir() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}

fn segments() -> Vec<Sample> {
    vec![Sample::new("no-records", []), Sample::new("torn", b"PMRL\0\0\0\x09torn")]
}

fn bodies() -> Vec<Sample> {
    // No hard state, entries from index 1: two of term 1; then a hard state alone.
    let entries = [0, 1, 2, 1, 3, 1, 2, b'a', b'b', b'c', b'd', b'e'];
    let hard_state = [1, 2, 3, 1, 0, 0];
    let bytes = |body: &[u8]| {
        let len = u16::try_from(body.len()).expect("short");
        [&len.to_be_bytes()[..], body].concat()
    };
    vec![Sample::new("two-records", [bytes(&entries), bytes(&hard_state)].concat())]
}
