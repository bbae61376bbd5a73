//! What a replica is given that joins or catches up: tokens, the messages of a join, snapshots, and
//! the word on whose signature counts from where on.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use proofmark_aggregator::consensus::transport::reread_ask;
use proofmark_aggregator::consensus::{Membership, Position};
use proofmark_aggregator::snapshot::{About, Descriptor, RowBytes, SnapshotFiles, SnapshotStore};
use proofmark_evidence::{ByteWriter, Transition, sha256};
use proofmark_proto::{
    FetchReply, FetchRequest, FirstNode, JoinNodeReply, JoinNodeRequest, JoinToken, KnownNode,
    NodeToken, fetch_request, node_possession_statement,
};
use prost::Message;

use crate::fuzz::law::{message, one_meaning, one_spelling, refused, text};
use crate::fuzz::{Sample, Target, Verdict, samples};

pub const TARGETS: &[Target] = &[
    Target { name: "snapshot_descriptor", judge: snapshot_descriptor, samples: descriptors },
    Target { name: "snapshot_file", judge: snapshot_file, samples: snapshots },
    Target { name: "snapshot_head", judge: snapshot_head, samples: heads },
    Target { name: "snapshot_rows", judge: snapshot_rows, samples: rows },
    Target { name: "fetch_request", judge: fetch_request, samples: asks },
    Target { name: "fetch_reply", judge: message::<FetchReply>, samples: pieces },
    Target { name: "join_node_request", judge: join_node_request, samples: join_requests },
    Target { name: "join_node_reply", judge: message::<JoinNodeReply>, samples: join_replies },
    Target { name: "node_token", judge: node_token, samples: node_tokens },
    Target { name: "transitions", judge: transitions, samples: hand_overs },
];

fn snapshot_descriptor(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, Descriptor::decode(bytes), Descriptor::encode)
}

fn descriptors() -> Vec<Sample> {
    let (_, descriptor) = written(&two_rows());
    vec![Sample::new("two-rows", descriptor.encode())]
}

/// A file under the name of a snapshot: refused by the name of what is wrong, or its rows, written
/// again, are the same file.
fn snapshot_file(bytes: &[u8]) -> Verdict {
    let files = MemoryDir::with(NAME, bytes);
    let snapshot = match store(&files).snapshot(INDEX) {
        Err(fault) => return refused(&fault),
        Ok(snapshot) => snapshot,
    };
    let rows = match snapshot.rows().collect::<Result<Vec<RowBytes>, _>>() {
        Err(fault) => return refused(&fault),
        Ok(rows) => rows,
    };
    let copy = MemoryDir::default();
    store(&copy)
        .write(snapshot.about(), &rows)
        .expect("what was read is no larger than a snapshot");
    let again = copy.read(NAME);
    assert!(bytes.starts_with(&again), "another spelling of {} rows", rows.len());
    Verdict::Taken
}

fn snapshots() -> Vec<Sample> {
    vec![
        Sample::new("no-rows", written(&[]).0),
        Sample::new("two-rows", written(&two_rows()).0),
        Sample::new("members", written_about(&joint(), &two_rows()).0),
    ]
}

/// The fields of a head, behind a length and before a root that fit: what is taken is spelt once.
fn snapshot_head(fields: &[u8]) -> Verdict {
    let file = rooted(fields);
    let files = MemoryDir::with(NAME, &file);
    match store(&files).snapshot(INDEX) {
        Err(fault) => refused(&fault),
        Ok(snapshot) => {
            assert_eq!(snapshot.head_bytes(), file);
            assert_eq!(snapshot.descriptor().head_bytes as usize, file.len());
            Verdict::Taken
        }
    }
}

fn heads() -> Vec<Sample> {
    let fields = |file: &[u8], descriptor: &Descriptor| {
        file[PREFIX_BYTES..descriptor.head_bytes as usize - ROOT_BYTES].to_vec()
    };
    let (plain, of_plain) = written(&two_rows());
    let (members, of_members) = written_about(&joint(), &[]);
    vec![
        Sample::new("two-rows", fields(&plain, &of_plain)),
        Sample::new("joint", fields(&members, &of_members)),
    ]
}

/// How many rows, in one byte, and their bytes, under hashes that fit.
fn snapshot_rows(bytes: &[u8]) -> Verdict {
    let Some((count, rows)) = bytes.split_first() else { return refused(&"no count") };
    let (empty, descriptor) = written(&[]);
    // A head of no rows ends with their count and their bytes, both 0.
    let fields = &empty[PREFIX_BYTES..descriptor.head_bytes as usize - ROOT_BYTES - 2];
    let mut out = ByteWriter::new();
    out.fixed(fields).varint(u64::from(*count)).varint(rows.len() as u64);
    for chunk in rows.chunks(CHUNK_BYTES) {
        out.fixed(&sha256(chunk).0);
    }
    snapshot_file(&[rooted(&out.into_bytes()), rows.to_vec()].concat())
}

fn rows() -> Vec<Sample> {
    let mut out = ByteWriter::new();
    out.u8(2);
    for (key, value) in two_rows() {
        out.bytes(&key).bytes(&value);
    }
    vec![Sample::new("two", out.into_bytes()), Sample::new("none", [0])]
}

const INDEX: u64 = 7;
const NAME: &str = "00000000000000000007";
/// Of FORMATS.md: the magic and a length, before a head's fields; its hash, after them.
const PREFIX_BYTES: usize = 12;
const ROOT_BYTES: usize = 32;
const CHUNK_BYTES: usize = 1 << 20;

fn rooted(fields: &[u8]) -> Vec<u8> {
    let length = u32::try_from(fields.len()).expect("an input is small").to_be_bytes();
    let head = [b"pmsnap\r\n", &length[..], fields].concat();
    let root = sha256(&head);
    [head, root.0.to_vec()].concat()
}

fn two_rows() -> Vec<RowBytes> {
    vec![(vec![1], vec![2; 200]), (vec![1, 0], Vec::new())]
}

fn joint() -> Membership {
    Membership {
        voters: [1, 2, 4].into(),
        voters_outgoing: [1, 2, 3].into(),
        learners: [5].into(),
        auto_leave: true,
        ..Membership::default()
    }
}

fn written(rows: &[RowBytes]) -> (Vec<u8>, Descriptor) {
    written_about(&Membership::of_voters([1, 2, 3]), rows)
}

fn written_about(membership: &Membership, rows: &[RowBytes]) -> (Vec<u8>, Descriptor) {
    let log_id = samples::origin().log_id();
    let position = Position { index: INDEX, term: 2 };
    let about = About { log_id, position, membership: membership.clone(), leaf_count: 3 };
    let files = MemoryDir::default();
    let descriptor = store(&files).write(&about, rows).expect("a disk in memory");
    (files.read(NAME), descriptor)
}

fn store(files: &MemoryDir) -> SnapshotStore {
    SnapshotStore::read_only(Arc::new(files.clone()))
}

/// What is asked for is understood, and asked again in the same words.
fn fetch_request(bytes: &[u8]) -> Verdict {
    if let Ok(request) = FetchRequest::decode(bytes) {
        match reread_ask(&request) {
            Ok(again) => assert_eq!(again.ask, request.ask),
            Err(status) => return refused(&status.message()),
        }
    }
    message::<FetchRequest>(bytes)
}

fn asks() -> Vec<Sample> {
    use fetch_request::Ask;
    use proofmark_proto::{
        FetchCheckpoint, FetchLogPiece, FetchSnapshotChunk, FetchSnapshotHead, FetchTransitions,
    };
    let ask = |ask| FetchRequest { from: None, ask: Some(ask) }.encode_to_vec();
    let path = "tile/entries/x001/234".to_owned();
    vec![
        Sample::new("checkpoint", ask(Ask::Checkpoint(FetchCheckpoint {}))),
        Sample::new("transitions", ask(Ask::Transitions(FetchTransitions { at: 9 }))),
        Sample::new("head", ask(Ask::SnapshotHead(FetchSnapshotHead { index: 7 }))),
        Sample::new("chunk", ask(Ask::SnapshotChunk(FetchSnapshotChunk { index: 7, number: 1 }))),
        Sample::new("piece", ask(Ask::LogPiece(FetchLogPiece { path, at: 1 << 20 }))),
    ]
}

fn pieces() -> Vec<Sample> {
    let reply = FetchReply { bytes: b"a piece".to_vec().into(), total: 70 };
    vec![Sample::new("one", reply.encode_to_vec())]
}

/// The signed statement has one length, whatever is asked.
fn join_node_request(bytes: &[u8]) -> Verdict {
    if let Ok(request) = JoinNodeRequest::decode(bytes) {
        let statement = node_possession_statement(&request);
        assert!(statement.len() <= 2 * bytes.len() + 256, "{} bytes", statement.len());
    }
    message::<JoinNodeRequest>(bytes)
}

fn join_requests() -> Vec<Sample> {
    let request = JoinNodeRequest {
        token_id: vec![1; 16].into(),
        token_secret: vec![2; 16].into(),
        name: "a4".to_owned(),
        log_id: samples::origin().log_id().0.to_vec().into(),
        cosigner_key: samples::nodes()[0].1.public().0.to_vec().into(),
        possession: vec![3; 64].into(),
        peer_csr_der: vec![4; 40].into(),
        gateway_csr_der: vec![5; 40].into(),
        grpc: "a4.example:7443".to_owned(),
        peers: "a4.example:7444".to_owned(),
    };
    vec![Sample::new("whole", request.encode_to_vec())]
}

fn join_replies() -> Vec<Sample> {
    let pem = || "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let address = || "a1.example:7443".to_owned();
    let cosigner_key = samples::nodes()[0].1.public().0.to_vec().into();
    let reply = JoinNodeReply {
        node_id: 4,
        peer_certificate_pem: pem(),
        gateway_certificate_pem: pem(),
        log_key: "a key".to_owned(),
        gateway_ca_pem: pem(),
        gateway_ca_key_pem: pem(),
        peer_ca_pem: pem(),
        peer_ca_key_pem: pem(),
        origin: samples::origin().to_string(),
        first_nodes: vec![FirstNode { id: 1, name: "a1".to_owned(), cosigner_key }],
        nodes: vec![KnownNode { id: 1, name: "a1".to_owned(), grpc: address(), peers: address() }],
    };
    vec![Sample::new("whole", reply.encode_to_vec())]
}

fn node_token(bytes: &[u8]) -> Verdict {
    if let Err(verdict) = text(bytes) {
        return verdict;
    }
    let parse = |bytes: &[u8]| NodeToken::from_str(std::str::from_utf8(bytes).expect("text again"));
    one_meaning(bytes, parse, |token| token.to_string().into())
}

fn node_tokens() -> Vec<Sample> {
    let addresses = vec!["agg-1.example.com:7443".to_owned(), "[::1]:7443".to_owned()];
    let join = JoinToken { id: [1; 16], secret: [2; 16], ca_sha256: [3; 32], addresses };
    let bare = JoinToken { addresses: Vec::new(), ..join.clone() };
    let token = |join| NodeToken { join, log_id: samples::origin().log_id().0 }.to_string();
    vec![Sample::new("bare", token(bare)), Sample::new("addressed", token(join))]
}

fn transitions(bytes: &[u8]) -> Verdict {
    match text(bytes) {
        Err(verdict) => verdict,
        Ok(text) => one_spelling(bytes, Transition::parse_all(text), |all| {
            Transition::encode_all(all).into_bytes()
        }),
    }
}

fn hand_overs() -> Vec<Sample> {
    let hand_over = |size| {
        let note = samples::signed_note(size, sha256(b"a root"));
        Transition::parse(&note, &samples::policy().to_text()).expect("a note and its policy")
    };
    let all = [hand_over(4), hand_over(9)];
    vec![
        Sample::new("none", Transition::encode_all(&[])),
        Sample::new("two", Transition::encode_all(&all)),
    ]
}

/// A directory in memory, on which everything works.
#[derive(Clone, Default)]
struct MemoryDir(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl MemoryDir {
    fn with(name: &str, bytes: &[u8]) -> MemoryDir {
        let files = MemoryDir::default();
        files.step(|files| files.insert(name.to_owned(), bytes.to_vec()));
        files
    }

    fn read(&self, name: &str) -> Vec<u8> {
        self.step(|files| files.get(name).cloned()).expect("written")
    }

    fn step<T>(&self, step: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        step(&mut self.0.lock().expect("one thread"))
    }
}

impl SnapshotFiles for MemoryDir {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.step(|files| files.keys().cloned().collect()))
    }

    fn read_at(&self, name: &str, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.step(|files| files.get(name).cloned());
        let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        Ok(rest[..rest.len().min(len)].to_vec())
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(at).expect("in memory");
        self.step(|files| {
            let file = files.entry(name.to_owned()).or_default();
            file.resize(file.len().max(at + bytes.len()), 0);
            file[at..][..bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|files| {
            let bytes = files.remove(from).unwrap_or_default();
            files.insert(to.to_owned(), bytes)
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|files| files.remove(name));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}
