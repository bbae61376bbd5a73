//! A log for tests: three nodes, three agents, every kind of leaf. The same bytes on each run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};

use crate::batch::CheckRef;
use crate::checkpoint::{Checkpoint, log_signature_line};
use crate::cosignature::cosign;
use crate::coverage::Coverage;
use crate::decision::{CoverageRow, Decision, DecisionKind, SilenceChange};
use crate::hash::Hash;
use crate::header::{BlobRef, Header};
use crate::key::{PublicKey, SigningKey};
use crate::key_change::{KeyChange, KeyChangeKind};
use crate::layout::{SourceEntry, SourceFault, TileSource};
use crate::leaf::Leaf;
use crate::merkle::{Frontier, inclusion_path};
use crate::name::{AgentName, CheckName, Origin};
use crate::outcome::{FailReason, Outcome};
use crate::policy::Policy;
use crate::result::CheckResult;
use crate::roll_over::{ProvenChange, RollOver};
use crate::seal::BatchDraft;
use crate::spec_change::SpecChange;
use crate::writer::mem_disk::SharedDisk;

const BASE_TIME_MS: u64 = 1_763_600_000_000;
/// The first three begin the log; the fourth joins where a test says so.
const NODES: [&str; 4] =
    ["log.example.com/n1", "log.example.com/n2", "log.example.com/n3", "log.example.com/n4"];

pub(crate) fn origin() -> Origin {
    Origin::parse("log.example.com").unwrap()
}

pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

fn node_key(node: usize) -> SigningKey {
    SigningKey::from_seed([10 + node as u8; 32])
}

fn node(place: usize) -> (String, PublicKey) {
    (NODES[place].to_owned(), node_key(place).public())
}

fn nodes() -> Vec<(String, PublicKey)> {
    (0..3).map(node).collect()
}

pub(crate) fn policy() -> Policy {
    Policy::for_nodes(&origin(), &log_key().public(), &nodes()).unwrap()
}

/// A checkpoint signed by the log and cosigned by these nodes; two are a quorum.
pub(crate) fn note(size: u64, root: Hash, nodes: &[usize]) -> String {
    let text = Checkpoint { origin: origin(), size, root }.to_text();
    let mut note = format!("{text}\n{}", log_signature_line(&origin(), &log_key(), &text));
    for node in nodes {
        let time_s = BASE_TIME_MS / 1000 + *node as u64;
        note.push_str(&cosign(NODES[*node], &node_key(*node), time_s, &text).line());
    }
    note
}

/// Leaves with their blobs, and what the tree over them is at every size.
pub(crate) struct Sample {
    pub(crate) leaves: Vec<(Leaf, Vec<u8>)>,
    pub(crate) roots: Vec<Hash>,
    /// Those that were asked for before.
    notes: Mutex<BTreeMap<u64, String>>,
}

/// 700 leaves. Made once: signing is slow without optimisation, and most tests can share it.
pub(crate) fn sample() -> &'static Sample {
    static SAMPLE: LazyLock<Sample> = LazyLock::new(|| Sample::new(700));
    &SAMPLE
}

impl Sample {
    /// Genesis, enrolments, a spec, then batches in turn; now and then a decision, another spec,
    /// and one agent that is retired and enrolled again.
    pub(crate) fn new(size: u64) -> Sample {
        let mut maker = Maker::default();
        let (origin, log_key, nodes) = (origin(), log_key().public(), nodes());
        maker.key_change(KeyChangeKind::Genesis { origin, log_key, nodes });
        (0..3).for_each(|agent| maker.enrol(agent));
        maker.spec_change();
        while (maker.leaves.len() as u64) < size {
            match maker.leaves.len() {
                300 => maker.spec_change(),
                400 => maker.key_change(KeyChangeKind::Retire { agent: agent_name(1) }),
                401 => maker.enrol(1),
                index if index % 50 == 0 => maker.decision(),
                index => maker.batch(index % 3),
            }
        }
        maker.leaves.truncate(size as usize);
        maker.finish()
    }

    /// The checkpoint of a size, by the log and two nodes.
    pub(crate) fn note(&self, size: u64) -> String {
        let make = || note(size, self.roots[size as usize], &[0, 2]);
        self.notes.lock().unwrap().entry(size).or_insert_with(make).clone()
    }
}

/// A log of 30 leaves in which the fourth node takes the third one's place: it joins in leaf 10, the
/// other leaves in leaf 11, and the checkpoint of size 14 hands over.
pub(crate) struct MovedSample {
    pub(crate) sample: Sample,
}

impl MovedSample {
    pub(crate) const CHANGES: [u64; 2] = [10, 11];
    pub(crate) const TRANSITION: u64 = 14;

    pub(crate) fn new() -> MovedSample {
        let mut maker = Maker::default();
        let (origin, log_key) = (origin(), log_key().public());
        maker.key_change(KeyChangeKind::Genesis { origin, log_key, nodes: nodes() });
        (0..3).for_each(|agent| maker.enrol(agent));
        while maker.leaves.len() < 30 {
            match maker.leaves.len() {
                10 => {
                    let (node, key) = node(3);
                    maker.key_change(KeyChangeKind::NodeJoin { node, key });
                }
                11 => maker.key_change(KeyChangeKind::NodeLeave { node: node(2).0 }),
                index => maker.batch(index % 3),
            }
        }
        MovedSample { sample: maker.finish() }
    }

    pub(crate) fn policy_after(&self) -> Policy {
        let nodes = [node(0), node(1), node(3)];
        Policy::for_nodes(&origin(), &log_key().public(), &nodes).unwrap()
    }

    /// The transition's note, cosigned by these.
    pub(crate) fn note_by(&self, nodes: &[usize]) -> String {
        note(Self::TRANSITION, self.sample.roots[Self::TRANSITION as usize], nodes)
    }

    pub(crate) fn roll_over(&self) -> RollOver {
        let hashes: Vec<Hash> = self.sample.leaves.iter().map(|(leaf, _)| leaf.hash()).collect();
        let under = &hashes[..Self::TRANSITION as usize];
        let change = |index: u64| ProvenChange {
            index,
            leaf: self.sample.leaves[index as usize].0.bytes().to_vec(),
            path: inclusion_path(under, index).unwrap(),
        };
        let changes = Self::CHANGES.map(change).to_vec();
        RollOver { note: self.note_by(&[0, 1]), changes }
    }

    /// The log's directory after its last checkpoint, by the nodes of then.
    pub(crate) fn write(&self, disk: &SharedDisk) {
        let mut writer = disk.create().unwrap();
        for size in [9, Self::TRANSITION, 30] {
            while writer.size() < size {
                let (leaf, payload) = &self.sample.leaves[writer.size() as usize];
                writer.append(leaf, payload);
            }
            writer.sync().unwrap();
            let note = note(size, self.sample.roots[size as usize], &[0, 1]);
            let after = self.policy_after().to_text();
            match size {
                Self::TRANSITION => writer.publish_transition(&note, &after).unwrap(),
                30 => writer.publish(&note_of(&self.sample, 30, &[1, 3])).unwrap(),
                _ => writer.publish(&note).unwrap(),
            }
        }
    }
}

pub(crate) fn note_of(sample: &Sample, size: u64, nodes: &[usize]) -> String {
    note(size, sample.roots[size as usize], nodes)
}

#[derive(Default)]
struct Maker {
    leaves: Vec<(Leaf, Vec<u8>)>,
    revision: u64,
    /// Per agent: epoch, next number, last header's hash.
    agents: [(u64, u64, Option<Hash>); 3],
}

impl Maker {
    fn finish(self) -> Sample {
        let mut tree = Frontier::new();
        let mut roots = vec![tree.root()];
        for (leaf, _) in &self.leaves {
            tree.append(leaf.hash());
            roots.push(tree.root());
        }
        Sample { leaves: self.leaves, roots, notes: Mutex::default() }
    }

    fn at_ms(&self) -> u64 {
        BASE_TIME_MS + 1000 * self.leaves.len() as u64
    }

    fn log_leaf(&mut self, header: Header, payload: Vec<u8>) {
        let leaf = Leaf::seal(header.kind(), &header.encode(), &log_key()).unwrap();
        self.leaves.push((leaf, payload));
    }

    fn key_change(&mut self, change: KeyChangeKind) {
        let (log_id, key_id, at_ms) = (origin().log_id(), log_key().key_id(), self.at_ms());
        let header = KeyChange { log_id, key_id, at_ms, change };
        self.log_leaf(Header::KeyChange(header), Vec::new());
    }

    fn enrol(&mut self, agent: usize) {
        let epoch = self.agents[agent].0 + 1;
        self.agents[agent] = (epoch, 1, None);
        let key = agent_key(agent, epoch).public();
        self.key_change(KeyChangeKind::Enrol { agent: agent_name(agent), key, epoch });
    }

    fn spec_change(&mut self) {
        self.revision += 1;
        let payload = format!("kind: Check\nrevision: {}\n", self.revision).into_bytes();
        let header = SpecChange {
            log_id: origin().log_id(),
            key_id: log_key().key_id(),
            revision: self.revision,
            received_at_ms: self.at_ms(),
            effective_at_ms: self.at_ms() + 5000,
            author: "operator".to_owned(),
            payload: BlobRef::of(&payload),
        };
        self.log_leaf(Header::SpecChange(header), payload);
    }

    fn decision(&mut self) {
        let row = CoverageRow {
            check: CheckName::parse("home").unwrap(),
            agent: agent_name(0),
            change: SilenceChange::Silent,
            since_ms: self.at_ms(),
        };
        let payload = CoverageRow::encode_all(&[row]);
        let header = Decision {
            log_id: origin().log_id(),
            key_id: log_key().key_id(),
            at_ms: self.at_ms(),
            kind: DecisionKind::Coverage,
            payload: BlobRef::of(&payload),
        };
        self.log_leaf(Header::Decision(header), payload);
    }

    fn batch(&mut self, agent: usize) {
        let (epoch, seq_first, previous) = self.agents[agent];
        let count = 1 + self.leaves.len() % 4;
        let mut draft = draft(agent, count, self.at_ms());
        (draft.epoch, draft.seq_first) = (epoch, seq_first);
        draft.previous = previous.unwrap_or(Hash::ZERO);
        let sealed = draft.seal(&agent_key(agent, epoch)).unwrap();
        self.agents[agent] = (epoch, seq_first + count as u64, Some(sealed.leaf.header_hash()));
        self.leaves.push((sealed.leaf, sealed.payload.to_vec()));
    }
}

/// The first batch of an agent's first life.
pub(crate) fn draft(agent: usize, count: usize, base_time_ms: u64) -> BatchDraft {
    let check = CheckRef {
        check: CheckName::parse("home").unwrap(),
        spec_revision: 1,
        target: "https://example.com/".to_owned(),
    };
    BatchDraft {
        log_id: origin().log_id(),
        agent: agent_name(agent),
        epoch: 1,
        seq_first: 1,
        base_time_ms,
        checks: vec![check],
        coverage: Coverage { scheduled: count as u64, run: count as u64, skipped: vec![] },
        previous: Hash::ZERO,
        seen: None,
        results: (0..count).map(|place| result(place, base_time_ms)).collect(),
    }
}

/// No two results of the sample are the same bytes.
fn result(place: usize, base_time_ms: u64) -> CheckResult {
    let outcome = if place == 2 { Outcome::Fail(FailReason::HttpStatus) } else { Outcome::Pass };
    let mut result = CheckResult::new(0, 250 * place as u32, outcome, "expected 200, got 503");
    result.duration_us = base_time_ms % 1_000_000_000 + place as u64;
    result
}

fn agent_name(agent: usize) -> AgentName {
    AgentName::parse(&format!("web-{agent}")).unwrap()
}

pub(crate) fn agent_key(agent: usize, epoch: u64) -> SigningKey {
    SigningKey::from_seed([100 + 10 * agent as u8 + epoch as u8; 32])
}

/// A log's files in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemSource(pub(crate) BTreeMap<String, Vec<u8>>);

impl TileSource for MemSource {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        let missing = || SourceFault::NotFound { path: path.to_owned() };
        self.0.get(path).cloned().ok_or_else(missing)
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let below = self.0.keys().filter_map(|path| path.strip_prefix(&prefix));
        let entry = |path: &str| match path.split_once('/') {
            Some((name, _)) => SourceEntry { name: name.to_owned(), is_dir: true },
            None => SourceEntry { name: path.to_owned(), is_dir: false },
        };
        Ok(below.map(entry).collect::<BTreeSet<_>>().into_iter().collect())
    }
}
