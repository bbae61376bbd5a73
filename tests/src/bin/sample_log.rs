//! `sample-log DIR`: a small log for a stranger to check, by this build's own writer.
//!
//! DIR/log becomes an evidence directory of 700 leaves, DIR/older holds every checkpoint that was
//! published on the way there, named by its size. On the way all three nodes are replaced, one after
//! the other: DIR/first-policy names those of the beginning, none of whom signs at the end. Keys and
//! times are fixed: the same build writes the same bytes.

#![expect(clippy::print_stdout, reason = "a person or a CI log reads this")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use proofmark_evidence::{
    AgentName, BatchDraft, BlobRef, CheckName, CheckRef, CheckResult, Checkpoint, Coverage,
    FailReason, Hash, KeyChange, KeyChangeKind, Leaf, LeafKind, LogWriter, MeasurementKind, Origin,
    Outcome, Policy, PublicKey, Seen, SigningKey, SpecChange, cosign, log_signature_line,
};

const ORIGIN: &str = "proofmark.test/sample";
const AGENTS: [&str; 3] = ["web-1", "web-2", "web-3"];
const CHECK: &str = "home";
const TARGET: &str = "https://example.com/";
const SPEC: &str = "apiVersion: proofmark/v1\nkind: Check\nmetadata: {name: home}\n\
    spec: {interval: 1s, timeout: 900ms, probe: {http: {url: \"https://example.com/\"}}}\n";
/// The first instant of this log, Unix milliseconds; every leaf is one second later.
const START_MS: u64 = 1_763_600_000_000;
const RESULTS_PER_BATCH: u32 = 20;
/// Published on the way: around one leaf, one bundle and two, where narrow tiles become full ones.
const SIZES: [u64; 8] = [1, 2, 255, 256, 257, 300, 512, 513];
const SIZE_AT_END: u64 = 700;
/// At these sizes a node is replaced: two leaves, then a checkpoint that hands over.
const REPLACED_AT: [u64; 3] = [400, 520, 600];

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let dir: PathBuf = std::env::args_os().nth(1).ok_or("usage: sample-log DIR")?.into();
    let mut log = SampleLog::create(&dir)?;
    let mut agents: Vec<Agent> = (1..).zip(AGENTS).map(Agent::new).collect::<Done<_>>()?;
    log.found(&agents)?;
    for turn in (0..agents.len()).cycle() {
        if log.writer.size() == SIZE_AT_END {
            break;
        }
        if REPLACED_AT.contains(&log.writer.size()) {
            log.replace_oldest_node()?;
        }
        log.append_batch(&mut agents[turn])?;
    }
    println!("sample-log: {} leaves in {}", log.writer.size(), dir.display());
    Ok(())
}

/// The log, all its keys, and where its older checkpoints go.
struct SampleLog {
    writer: LogWriter,
    origin: Origin,
    key: SigningKey,
    /// By name, which is by age: those that cosign now.
    nodes: Vec<(String, SigningKey)>,
    nodes_ever: u8,
    older: PathBuf,
}

/// One agent's place in its own sequence.
struct Agent {
    name: AgentName,
    key: SigningKey,
    seq_next: u64,
    previous: Hash,
}

impl SampleLog {
    fn create(dir: &Path) -> Done<SampleLog> {
        let origin = Origin::parse(ORIGIN)?;
        let key = SigningKey::from_seed([100; 32]);
        let nodes: Vec<_> = (1..=3).map(node).collect();
        let policy = Policy::for_nodes(&origin, &key.public(), &public(&nodes))?;
        let older = dir.join("older");
        fs::create_dir_all(&older)?;
        fs::write(dir.join("first-policy"), policy.to_text())?;
        let writer = LogWriter::create(&dir.join("log"), &origin, &policy.to_text())?;
        Ok(SampleLog { writer, origin, key, nodes, nodes_ever: 3, older })
    }

    /// What every log begins with: its keys, its agents, its specs.
    fn found(&mut self, agents: &[Agent]) -> Done<()> {
        let (origin, log_key, nodes) =
            (self.origin.clone(), self.key.public(), public(&self.nodes));
        self.append_key_change(KeyChangeKind::Genesis { origin, log_key, nodes })?;
        for agent in agents {
            let (agent, key) = (agent.name.clone(), agent.key.public());
            self.append_key_change(KeyChangeKind::Enrol { agent, key, epoch: 1 })?;
        }
        let change = SpecChange {
            log_id: self.origin.log_id(),
            key_id: self.key.key_id(),
            revision: 1,
            received_at_ms: self.now_ms(),
            effective_at_ms: self.now_ms() + 5_000,
            author: "sample".to_owned(),
            payload: BlobRef::of(SPEC.as_bytes()),
        };
        let leaf = Leaf::seal(LeafKind::SpecChange, &change.encode(), &self.key)?;
        self.append(&leaf, SPEC.as_bytes())
    }

    fn append_key_change(&mut self, change: KeyChangeKind) -> Done<()> {
        let (log_id, key_id) = (self.origin.log_id(), self.key.key_id());
        let change = KeyChange { log_id, key_id, at_ms: self.now_ms(), change };
        let leaf = Leaf::seal(LeafKind::KeyChange, &change.encode(), &self.key)?;
        self.append(&leaf, &[])
    }

    /// A new node comes, the oldest one goes; the nodes before and after vouch for the checkpoint.
    fn replace_oldest_node(&mut self) -> Done<()> {
        self.nodes_ever += 1;
        let (node, key) = node(self.nodes_ever);
        let joins = KeyChangeKind::NodeJoin { node: node.clone(), key: key.public() };
        self.append_key_change(joins)?;
        self.append_key_change(KeyChangeKind::NodeLeave { node: self.nodes[0].0.clone() })?;
        self.writer.sync()?;
        self.nodes.push((node, key));
        let (size, note) = (self.writer.size(), self.signed_note(self.writer.size()));
        self.nodes.remove(0);
        let nodes = public(&self.nodes);
        let policy = Policy::for_nodes(&self.origin, &self.key.public(), &nodes)?;
        self.writer.publish_transition(&note, &policy.to_text())?;
        fs::write(self.older.join(size.to_string()), note)?;
        Ok(())
    }

    fn append_batch(&mut self, agent: &mut Agent) -> Done<()> {
        let published = self.writer.checkpoint().map(|signed| &signed.checkpoint);
        let seen = published.map(|seen| Seen { size: seen.size, root: seen.root });
        let draft = agent.draft(self.origin.log_id(), self.now_ms(), seen)?;
        let batch = draft.seal(&agent.key)?;
        agent.seq_next += u64::from(RESULTS_PER_BATCH);
        agent.previous = batch.leaf.header_hash();
        self.append(&batch.leaf, &batch.payload)
    }

    /// Publishes when this leaf brings the log to one of the sizes.
    fn append(&mut self, leaf: &Leaf, payload: &[u8]) -> Done<()> {
        self.writer.append(leaf, payload);
        let size = self.writer.size();
        if !SIZES.contains(&size) && size != SIZE_AT_END {
            return Ok(());
        }
        self.writer.sync()?;
        // A crash here leaves leaves without a checkpoint: the next run starts an empty folder.
        let note = self.signed_note(size);
        self.writer.publish(&note)?;
        if size < SIZE_AT_END {
            fs::write(self.older.join(size.to_string()), note)?;
        }
        Ok(())
    }

    /// The newest checkpoint with the log's signature and every node's.
    fn signed_note(&self, size: u64) -> String {
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root: self.writer.root() };
        let text = checkpoint.to_text();
        let mut note = format!("{text}\n{}", log_signature_line(&self.origin, &self.key, &text));
        for (name, key) in &self.nodes {
            note.push_str(&cosign(name, key, self.now_ms() / 1000, &text).line());
        }
        note
    }

    fn now_ms(&self) -> u64 {
        START_MS + 1000 * self.writer.size()
    }
}

impl Agent {
    fn new((id, name): (u8, &str)) -> Done<Agent> {
        let (name, key) = (AgentName::parse(name)?, SigningKey::from_seed([id; 32]));
        Ok(Agent { name, key, seq_next: 1, previous: Hash::ZERO })
    }

    fn draft(&self, log_id: Hash, base_time_ms: u64, seen: Option<Seen>) -> Done<BatchDraft> {
        let check = CheckName::parse(CHECK)?;
        Ok(BatchDraft {
            log_id,
            agent: self.name.clone(),
            epoch: 1,
            seq_first: self.seq_next,
            base_time_ms,
            checks: vec![CheckRef { check, spec_revision: 1, target: TARGET.to_owned() }],
            coverage: Coverage {
                scheduled: RESULTS_PER_BATCH.into(),
                run: RESULTS_PER_BATCH.into(),
                skipped: Vec::new(),
            },
            previous: self.previous,
            seen,
            results: (0..RESULTS_PER_BATCH).map(result).collect(),
        })
    }
}

/// Every tenth run fails, so that payloads differ in shape.
fn result(position: u32) -> CheckResult {
    let (outcome, detail) = match position % 10 {
        9 => (Outcome::Fail(FailReason::HttpStatus), "expected 200, got 503"),
        _ => (Outcome::Pass, ""),
    };
    let mut result = CheckResult::new(0, position * 1000, outcome, detail);
    result.duration_us = 12_000 + u64::from(position);
    result.measure(MeasurementKind::ConnectUs, 4_000);
    result
}

fn node(id: u8) -> (String, SigningKey) {
    (format!("{ORIGIN}/n{id}"), SigningKey::from_seed([100 + id; 32]))
}

fn public(nodes: &[(String, SigningKey)]) -> Vec<(String, PublicKey)> {
    nodes.iter().map(|(name, key)| (name.clone(), key.public())).collect()
}
