//! What a replica finds on its own disk: written by an older build, by rot, or by a person.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use proofmark_aggregator::command::{Command, Entry};
use proofmark_aggregator::consensus::log_store::{LogFiles, LogIdentity, LogStore};
use proofmark_aggregator::consensus::storage::{LogSource as _, RecoveredLog};
use proofmark_aggregator::state::State;
use proofmark_aggregator::tables;
use proofmark_evidence::{ByteReader, ByteWriter, Hash};

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
const SALT: [u8; 8] = [7; 8];
const FILE_BYTES: u64 = 1 << 20;
const MAGIC: &[u8; 4] = b"PMRL";

/// Any bytes after the header of a log's only file: it opens or names the damage, and what opened
/// once opens again with the same content.
fn raft_log_segment(records: &[u8]) -> Verdict {
    let files = Arc::new(MemoryLog::default());
    LogStore::create_on(&*files, IDENTITY, &[1, 2, 3], SALT).expect("a new log");
    files.with(|files| {
        let (_, file) = files.first_key_value().expect("the log's one file");
        let whole = [&file[..], records].concat();
        files.values_mut().for_each(|file| file.clone_from(&whole));
    });
    let open = || LogStore::open_on(files.clone(), IDENTITY, FILE_BYTES);
    let first = match open() {
        Err(fault) => return refused(&fault),
        Ok((log, recovered)) => (every_entry(&log, &recovered), format!("{recovered:?}")),
    };
    let (log, recovered) = open().unwrap_or_else(|fault| panic!("it opened once: {fault}"));
    assert_eq!((every_entry(&log, &recovered), format!("{recovered:?}")), first);
    Verdict::Taken
}

/// What raft would read, however large it says to be.
fn every_entry(log: &LogStore, recovered: &RecoveredLog) -> usize {
    let low = recovered.start.index.saturating_add(1);
    let high = recovered.last_index.saturating_add(1);
    if low >= high {
        return 0;
    }
    log.fetch(low, high, 1 << 20).map_or(0, |entries| entries.len())
}

/// As `raft_log_segment`, with checksums made to fit: bodies, each behind a big-endian u16 length.
fn raft_log_bodies(bytes: &[u8]) -> Verdict {
    let mut records = Vec::new();
    let (mut rest, mut number) = (bytes, 2_u64);
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let Some((body, after)) = after.split_at_checked(u16::from_be_bytes(*len).into()) else {
            break;
        };
        records.extend_from_slice(&framed(number, body));
        (rest, number) = (after, number + 1);
    }
    raft_log_segment(&records)
}

/// The log's frame: magic, length, checksum, number.
fn framed(number: u64, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a u16");
    let crc = crc32fast::hash(&[&SALT[..], &number.to_be_bytes(), body].concat());
    let head = [&MAGIC[..], &len.to_be_bytes(), &crc.to_be_bytes(), &number.to_be_bytes()];
    [&head.concat()[..], body].concat()
}

fn segments() -> Vec<Sample> {
    let record = framed(2, &hard_state());
    vec![
        Sample::new("no-records", []),
        Sample::new("one-record", record),
        Sample::new("torn", b"PMRL\0\0\0\x09torn"),
    ]
}

/// No hard state, no start, entries from index 1: two of term 1.
fn two_entries() -> [u8; 14] {
    [0, 1, 2, 0, 1, 3, 0, 1, 2, b'a', b'b', b'c', b'd', b'e']
}

/// Term 2, vote 3, commit 1; no entries.
fn hard_state() -> [u8; 6] {
    [1, 2, 3, 1, 0, 0]
}

fn bodies() -> Vec<Sample> {
    // Compacted after index 1 of term 1, with the hard state; no file is let go of.
    let compacted = [3, 2, 3, 2, 1, 1, 1, 0, 0];
    let bytes = |body: &[u8]| {
        let len = u16::try_from(body.len()).expect("short");
        [&len.to_be_bytes()[..], body].concat()
    };
    let two = [bytes(&two_entries()), bytes(&hard_state())].concat();
    let three = [&two[..], &bytes(&compacted)].concat();
    vec![Sample::new("two-records", two), Sample::new("compacted", three)]
}

/// A log's directory in memory, on which everything works.
#[derive(Default)]
struct MemoryLog(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryLog {
    fn with<T>(&self, step: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        step(&mut self.0.lock().expect("one thread"))
    }
}

impl LogFiles for MemoryLog {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|files| files.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.with(|files| files.get(name).cloned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(name)?;
        let offset = usize::try_from(offset).expect("in memory");
        let piece = bytes.get(offset..offset + len).map(<[u8]>::to_vec);
        piece.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(|files| files.insert(name.to_owned(), bytes.to_vec()));
        Ok(())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(|files| files.entry(name.to_owned()).or_default().extend_from_slice(bytes));
        Ok(())
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).expect("in memory");
        self.with(|files| files.entry(name.to_owned()).or_default().truncate(len));
        Ok(())
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|files| {
            let bytes = files.remove(from).unwrap_or_default();
            files.insert(to.to_owned(), bytes)
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|files| files.remove(name));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}
