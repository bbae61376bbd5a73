//! What agents send and keep: frames of the uplink, batches, the spool on their own disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use proofmark_agent::spool::{FileOps, Record, Spool, WriteFault};
use proofmark_aggregator::admission::{Standing, admit};
use proofmark_evidence::{
    BatchHeader, BlobRef, Hash, Leaf, LeafKind, SealedBatch, results_root, split_results,
};
use proofmark_proto::{Ack, Action, Busy, CheckpointNote, Refused, SpecSet, Welcome};
use proofmark_proto::{AgentMessage, Batch, EnrolRequest, GatewayMessage, Hello, Ping, Refusal};
use proofmark_proto::{agent_message, gateway_message};
use prost::Message;

use crate::fuzz::law::{message, refused};
use crate::fuzz::{Sample, Target, Verdict, samples};

pub const TARGETS: &[Target] = &[
    Target { name: "agent_message", judge: agent_message, samples: agent_messages },
    Target { name: "gateway_message", judge: gateway_message, samples: gateway_messages },
    Target { name: "enrol_request", judge: enrol_request, samples: enrol_requests },
    Target { name: "certificate_request", judge: certificate_request, samples: certificates },
    Target { name: "batch", judge: batch, samples: batches },
    Target { name: "batch_signed", judge: batch_signed, samples: signed_batches },
    Target { name: "spool_segment", judge: spool_segment, samples: segments },
    Target { name: "spool_records", judge: spool_records, samples: records },
];

fn agent_message(bytes: &[u8]) -> Verdict {
    message::<AgentMessage>(bytes)
}

fn agent_messages() -> Vec<Sample> {
    use agent_message::Message::{Batch as B, Hello as H, Ping as P};
    let sample =
        |name, message| Sample::new(name, AgentMessage { message: Some(message) }.encode_to_vec());
    let hello = Hello {
        protocol: 1,
        agent: "web-1".to_owned(),
        epoch: 1,
        key_id: samples::agent_key().key_id().0.0.to_vec().into(),
        spec_revision: 300,
        ..Hello::default()
    };
    let [sealed, _] = samples::batches();
    let (leaf, payload) = (sealed.leaf.bytes().to_vec(), sealed.payload.to_vec());
    let batch = Batch { leaf: leaf.into(), payload: payload.into() };
    vec![sample("hello", H(hello)), sample("batch", B(batch)), sample("ping", P(Ping {}))]
}

fn gateway_message(bytes: &[u8]) -> Verdict {
    message::<GatewayMessage>(bytes)
}

fn gateway_messages() -> Vec<Sample> {
    use gateway_message::Message as M;
    let sample = |name, message| {
        Sample::new(name, GatewayMessage { message: Some(message) }.encode_to_vec())
    };
    let hash = Hash([3; 32]).0.to_vec();
    let refusal = Refusal {
        slug: "sequence_gap".to_owned(),
        expected: "4".to_owned(),
        got: "7".to_owned(),
        action: Action::ResendFrom.into(),
        resend_from_seq: 4,
    };
    let refused = Refused { epoch: 1, seq_first: 7, refusal: Some(refusal) };
    let documents = samples::SPEC.to_owned();
    let specs = SpecSet { revision: 1, effective_at_ms: samples::NOW_MS, documents };
    let last_header_hash = hash.into();
    vec![
        sample(
            "welcome",
            M::Welcome(Welcome {
                protocol: 1,
                epoch: 1,
                next_seq: 4,
                last_header_hash,
                ..Welcome::default()
            }),
        ),
        sample("ack", M::Ack(Ack { epoch: 1, seq_end: 4, leaf_index: 3 })),
        sample("busy", M::Busy(Busy { retry_after_ms: 50, slug: "no_leader".to_owned() })),
        sample("refused", M::Refused(refused)),
        sample("specs", M::SpecSet(specs)),
        sample("checkpoint", M::Checkpoint(CheckpointNote { note: "note\n".to_owned() })),
    ]
}

fn enrol_request(bytes: &[u8]) -> Verdict {
    message::<EnrolRequest>(bytes)
}

fn enrol_requests() -> Vec<Sample> {
    let request = EnrolRequest {
        token_id: vec![1; 16].into(),
        token_secret: vec![2; 16].into(),
        agent: "web-1".to_owned(),
        public_key: samples::agent_key().public().0.to_vec().into(),
        possession: vec![3; 64].into(),
        csr_der: vec![0x30, 0x82].into(),
    };
    vec![Sample::new("whole", request.encode_to_vec())]
}

/// DER from a stranger: a request is taken only with its own good signature, so nothing that was
/// made by changing a good one is.
fn certificate_request(der: &[u8]) -> Verdict {
    match proofmark_aggregator::identity::CertificateRequest::parse(der) {
        Err(fault) => refused(&fault),
        Ok(_) => Verdict::Taken,
    }
}

fn certificates() -> Vec<Sample> {
    vec![Sample::new("p256", include_bytes!("../csr.der"))]
}

/// First two bytes: the leaf's length, big endian; the rest is the payload. Admitted is only what
/// the agent signed, byte for byte.
fn batch(bytes: &[u8]) -> Verdict {
    let Some((leaf, payload)) = leaf_and_payload(bytes) else { return refused(&"no leaf") };
    let admitted =
        admit(leaf, payload, &samples::agent(), &standing(), samples::origin().log_id(), NOW_MS);
    match admitted {
        Err(fault) => refused(&fault),
        Ok(admitted) => {
            let is_signed = samples::batches()
                .iter()
                .any(|batch| batch.leaf == admitted.leaf && batch.payload == admitted.payload);
            assert!(is_signed, "admitted, and never signed: {:?}", admitted.leaf);
            Verdict::Taken
        }
    }
}

const NOW_MS: u64 = samples::NOW_MS + 60_000;

fn standing() -> Standing {
    let key = samples::agent_key().public();
    Standing { key, epoch: 1, next_seq: 1, last_hash: Hash::ZERO, retired: false }
}

fn leaf_and_payload(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

fn batches() -> Vec<Sample> {
    let bytes = |batch: &SealedBatch| joined(batch.leaf.bytes(), &batch.payload);
    let [first, next] = samples::batches();
    vec![Sample::new("first", bytes(&first)), Sample::new("next", bytes(&next))]
}

fn joined(leaf: &[u8], payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(leaf.len()).expect("a leaf is short");
    [&len.to_be_bytes()[..], leaf, payload].concat()
}

/// As `batch`, but what an agent with a good key and a bad program may sign: hashes and signature
/// are made to fit, so that what follows them is reached.
fn batch_signed(bytes: &[u8]) -> Verdict {
    let Some((header, payload)) = leaf_and_payload(bytes) else { return refused(&"no header") };
    let header = match BatchHeader::decode(header) {
        Err(fault) => return refused(&fault),
        Ok(header) => header,
    };
    let results = split_results(payload).unwrap_or_default();
    let header = BatchHeader {
        log_id: samples::origin().log_id(),
        key_id: samples::agent_key().key_id(),
        agent: samples::agent(),
        epoch: 1,
        count: u32::try_from(results.len().max(1)).expect("a payload is short"),
        results_root: results_root(results.iter().copied()),
        payload: BlobRef::of(payload),
        ..header
    };
    let leaf = match Leaf::seal(LeafKind::Batch, &header.encode(), &samples::agent_key()) {
        Err(fault) => return refused(&fault),
        Ok(leaf) => leaf,
    };
    let (agent, log_id) = (samples::agent(), samples::origin().log_id());
    match admit(leaf.bytes(), payload, &agent, &standing(), log_id, u64::MAX) {
        Err(fault) => refused(&fault),
        Ok(admitted) => {
            assert_eq!(admitted.seq_end - admitted.seq_first, u64::from(header.count));
            let open = SealedBatch { leaf, payload: payload.into() }.open().expect("admitted");
            let checks = header.checks.len();
            assert!(open.results.iter().all(|one| usize::from(one.check_index) < checks));
            Verdict::Taken
        }
    }
}

fn signed_batches() -> Vec<Sample> {
    let [first, _] = samples::batches();
    vec![Sample::new("first", joined(first.leaf.header_bytes(), &first.payload))]
}

const SEGMENT: &str = "0000000001-00000000000000000001.spool";

/// Any bytes as a segment: the spool opens, says what it put aside, and opens to the same again;
/// what it kept can be fetched.
fn spool_segment(bytes: &[u8]) -> Verdict {
    let mut disk = Disk::default();
    disk.0.insert(Path::new("spool").join(SEGMENT), bytes.to_vec());
    let (damage, mut disk) = opened(disk);
    disk.0.retain(|path, _| path.extension().is_some_and(|end| end == "spool"));
    let before = disk.0.clone();
    let (again, disk) = opened(disk);
    assert_eq!(again, None, "what was kept is whole");
    assert_eq!(disk.0, before, "opening changes nothing twice");
    match damage {
        Some(_) => Verdict::Refused("damaged".to_owned()),
        None if before.is_empty() => Verdict::Refused("nothing whole".to_owned()),
        None => Verdict::Taken,
    }
}

/// Opens, walks all batches, and gives the disk back.
fn opened(disk: Disk) -> (Option<proofmark_agent::spool::Damage>, Disk) {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(disk));
    let files = Shared(std::sync::Arc::clone(&kept));
    let (spool, damage) = Spool::open(files, Path::new("spool"), 1 << 30).expect("a good disk");
    let newest = spool.newest().expect("a kept record is readable");
    if let Some(batch) = newest {
        assert!(Leaf::parse(batch.leaf.bytes()).is_ok());
    }
    assert!(spool.fetch(1, 1).is_ok() && spool.fetch(u64::MAX, 0).is_ok());
    drop(spool);
    let disk = std::mem::take(&mut *kept.lock().expect("one thread"));
    (damage, disk)
}

fn segments() -> Vec<Sample> {
    let mut disk = Disk::default();
    let kept = std::sync::Arc::new(std::sync::Mutex::new(std::mem::take(&mut disk)));
    let files = Shared(std::sync::Arc::clone(&kept));
    let opened = Spool::open(files, Path::new("spool"), 1 << 30);
    let (mut spool, _) = opened.expect("an empty disk");
    for batch in samples::batches() {
        spool.append(&Record::of(batch).expect("a batch")).expect("room");
    }
    let disk = std::mem::take(&mut *kept.lock().expect("one thread"));
    let (_, bytes) = disk.0.into_iter().next().expect("one segment");
    vec![Sample::new("two", bytes)]
}

/// Records whose checksums are made to fit: each a big-endian u16 length and what is checked.
fn spool_records(bytes: &[u8]) -> Verdict {
    let mut segment = b"PMSPOOL1".to_vec();
    let mut rest = bytes;
    while let Some((body, after)) = leaf_and_payload(rest) {
        let len = u32::try_from(body.len()).expect("a u16");
        let checked = [&len.to_be_bytes()[..], body].concat();
        segment.extend_from_slice(&crc32fast::hash(&checked).to_be_bytes());
        segment.extend_from_slice(&checked);
        rest = after;
    }
    spool_segment(&segment)
}

fn records() -> Vec<Sample> {
    let segment = segments().remove(0).bytes;
    let mut rest = &segment[8..];
    let mut bytes = Vec::new();
    while let Some((prefix, after)) = rest.split_first_chunk::<8>() {
        let len = u32::from_be_bytes(prefix[4..].try_into().expect("four")) as usize;
        bytes.extend_from_slice(&joined(&after[..len], &[]));
        rest = &after[len..];
    }
    vec![Sample::new("two", bytes)]
}

/// A disk in memory on which everything works.
#[derive(Debug, Default)]
struct Disk(BTreeMap<PathBuf, Vec<u8>>);

struct Shared(std::sync::Arc<std::sync::Mutex<Disk>>);

impl Shared {
    fn with<T>(&self, step: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>) -> T) -> T {
        step(&mut self.0.lock().expect("one thread").0)
    }
}

impl FileOps for Shared {
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        Ok(self.with(|files| files.keys().filter_map(name).collect()))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.with(|files| files.get(path).cloned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(path)?;
        let at = usize::try_from(at).expect("in memory");
        let piece = bytes.get(at..at + len).map(<[u8]>::to_vec);
        piece.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), WriteFault> {
        self.with(|files| files.insert(path.to_owned(), bytes.to_vec()));
        Ok(())
    }

    fn append(&mut self, path: &Path, at: u64, bytes: &[u8]) -> Result<(), WriteFault> {
        self.truncate(path, at)?;
        self.with(|files| files.entry(path.to_owned()).or_default().extend_from_slice(bytes));
        Ok(())
    }

    fn truncate(&mut self, path: &Path, len: u64) -> Result<(), WriteFault> {
        let len = usize::try_from(len).expect("in memory");
        self.with(|files| files.entry(path.to_owned()).or_default().truncate(len));
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), WriteFault> {
        self.with(|files| {
            let bytes = files.remove(from).unwrap_or_default();
            files.insert(to.to_owned(), bytes)
        });
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), WriteFault> {
        self.with(|files| files.remove(path));
        Ok(())
    }
}
