//! What the samples are made of: one small log with its keys, one agent, the same in every run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use proofmark_evidence::{
    AgentName, BatchDraft, BlobRef, CheckName, CheckRef, CheckResult, Checkpoint, Coverage,
    CoverageRow, Decision, DecisionKind, FailReason, Hash, KeyChange, KeyChangeKind, Leaf,
    LeafKind, LogWriter, MeasurementKind, Origin, Outcome, Policy, PublicKey, SealedBatch, Seen,
    SigningKey, SilenceChange, SpecChange, UnknownReason, cosign, log_signature_line, sha256,
};

pub const NOW_MS: u64 = 1_763_600_000_000;

/// A check, a service, an indicator and an objective.
pub const SPEC: &str = concat!(
    "\
apiVersion: proofmark/v1
kind: Check
metadata: {name: home}
spec:
  interval: 10s
  timeout: 900ms
  probe: {http: {url: 'https://example.com/',}}
---
",
    include_str!("../../samples/objective.yaml")
);

pub fn origin() -> Origin {
    Origin::parse("proofmark.test/log").expect("an origin")
}

pub fn agent() -> AgentName {
    AgentName::parse("web-1").expect("a label")
}

pub fn agent_key() -> SigningKey {
    SigningKey::from_seed([7; 32])
}

pub fn log_key() -> SigningKey {
    SigningKey::from_seed([9; 32])
}

/// The nodes that cosign, with their keys.
pub fn nodes() -> Vec<(String, SigningKey)> {
    let node = |id: u8| (format!("{}/n{id}", origin()), SigningKey::from_seed([100 + id; 32]));
    (1..=3).map(node).collect()
}

pub fn public_nodes() -> Vec<(String, PublicKey)> {
    nodes().into_iter().map(|(name, key)| (name, key.public())).collect()
}

pub fn policy() -> Policy {
    let nodes = public_nodes();
    Policy::for_nodes(&origin(), &log_key().public(), &nodes).expect("a policy of three")
}

/// A pass with measurements, a failure with a detail, a run that never was.
pub fn results() -> Vec<CheckResult> {
    let mut pass = CheckResult::new(0, 1000, Outcome::Pass, "");
    pass.duration_us = 12_345;
    pass.measure(MeasurementKind::ConnectUs, 4_000);
    let failed = Outcome::Fail(FailReason::HttpStatus);
    let mut fail = CheckResult::new(0, 2000, failed, "expected 200, got 503");
    fail.measure(MeasurementKind::CertificateExpiryS, -1);
    let skipped = Outcome::Unknown(UnknownReason::SkippedOverrun);
    vec![pass, fail, CheckResult::new(0, 3000, skipped, "")]
}

pub fn draft(seq_first: u64, previous: Hash) -> BatchDraft {
    BatchDraft {
        log_id: origin().log_id(),
        agent: agent(),
        epoch: 1,
        seq_first,
        base_time_ms: NOW_MS,
        checks: vec![CheckRef {
            check: CheckName::parse("home").expect("a label"),
            spec_revision: 1,
            target: "https://example.com/".to_owned(),
        }],
        coverage: Coverage {
            scheduled: 3,
            run: 2,
            skipped: vec![(UnknownReason::SkippedOverrun, 1)],
        },
        previous,
        seen: Some(Seen { size: 2, root: sha256(b"a root") }),
        results: results(),
    }
}

/// The agent's first batch and the one after it.
pub fn batches() -> [SealedBatch; 2] {
    let sealed = |draft: BatchDraft| draft.seal(&agent_key()).expect("a valid draft");
    let first = sealed(draft(1, Hash::ZERO));
    let second = sealed(draft(4, first.leaf.header_hash()));
    [first, second]
}

pub fn coverage_rows() -> Vec<CoverageRow> {
    let check = CheckName::parse("home").expect("a label");
    let row =
        |change, since_ms| CoverageRow { check: check.clone(), agent: agent(), change, since_ms };
    vec![row(SilenceChange::Silent, NOW_MS)]
}

/// One leaf of each kind that the log itself signs, with its payload.
pub fn own_leaves() -> Vec<(&'static str, Leaf, Vec<u8>)> {
    let (log_id, key_id) = (origin().log_id(), log_key().key_id());
    let change = |change| KeyChange { log_id, key_id, at_ms: NOW_MS, change }.encode();
    let genesis = change(KeyChangeKind::Genesis {
        origin: origin(),
        log_key: log_key().public(),
        nodes: public_nodes(),
    });
    let key = agent_key().public();
    let enrol = change(KeyChangeKind::Enrol { agent: agent(), key, epoch: 1 });
    let retire = change(KeyChangeKind::Retire { agent: agent() });
    let spec = SpecChange {
        log_id,
        key_id,
        revision: 1,
        received_at_ms: NOW_MS,
        effective_at_ms: NOW_MS + 5_000,
        author: "ann".to_owned(),
        payload: BlobRef::of(SPEC.as_bytes()),
    };
    let rows = CoverageRow::encode_all(&coverage_rows());
    let (kind, payload) = (DecisionKind::Coverage, BlobRef::of(&rows));
    let coverage = Decision { log_id, key_id, at_ms: NOW_MS, kind, payload };
    let seal = |kind, header: &[u8]| Leaf::seal(kind, header, &log_key()).expect("a valid header");
    vec![
        ("genesis", seal(LeafKind::KeyChange, &genesis), Vec::new()),
        ("enrol", seal(LeafKind::KeyChange, &enrol), Vec::new()),
        ("spec-change", seal(LeafKind::SpecChange, &spec.encode()), SPEC.as_bytes().to_vec()),
        ("coverage", seal(LeafKind::Decision, &coverage.encode()), rows),
        ("retire", seal(LeafKind::KeyChange, &retire), Vec::new()),
    ]
}

/// The checkpoint of a tree, signed by the log and by every node.
pub fn signed_note(size: u64, root: Hash) -> String {
    let text = Checkpoint { origin: origin(), size, root }.to_text();
    let mut note = format!("{text}\n{}", log_signature_line(&origin(), &log_key(), &text));
    for (name, key) in nodes() {
        note.push_str(&cosign(&name, &key, NOW_MS / 1000, &text).line());
    }
    note
}

/// The files of a published log of five leaves, by their paths.
pub fn log() -> &'static BTreeMap<String, Vec<u8>> {
    static LOG: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("log");
        write_log(&root);
        let mut files = BTreeMap::new();
        collect(&root, &root, &mut files);
        files
    })
}

fn write_log(root: &Path) {
    let mut writer = LogWriter::create(root, &origin(), &policy().to_text()).expect("a new log");
    let mut own = own_leaves();
    own.truncate(3);
    for (_, leaf, payload) in own {
        writer.append(&leaf, &payload);
    }
    for batch in batches() {
        writer.append(&batch.leaf, &batch.payload);
    }
    writer.sync().expect("a disk with room");
    let note = signed_note(writer.size(), writer.root());
    writer.publish(&note).expect("a note of its own policy");
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below it").display().to_string();
            files.insert(name, fs::read(&path).expect("readable"));
        }
    }
}
