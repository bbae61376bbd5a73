//! A whole log as a stranger reads it: every result once, and who was to measure what since when.

use std::collections::BTreeMap;

use proofmark_evidence::{
    BatchHeader, CheckRef, Hash, Header, KeyChangeKind, LeafVisitor, OpenBatch, Outcome, sha256,
};
use proofmark_slo::Replay;
use proofmark_spec::{Documents, Source, parse};

use super::truth::RunKey;

/// What a log says, gathered leaf by leaf.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) replay: Replay,
    /// Known results (passed or failed) of each run, with the leaves they lie in.
    pub(super) known: BTreeMap<RunKey, Vec<(Outcome, u64)>>,
    /// How often each payload of a batch lies in the log, by its hash.
    pub(super) batches: BTreeMap<Hash, u64>,
    pub(super) enrolled_at_ms: BTreeMap<String, u64>,
    /// The documents applied, and the instant each took effect, ascending.
    pub(super) specs: Vec<(Documents, u64)>,
    pub(super) newest_at_ms: u64,
    /// From when on each revision of the specs is in force.
    in_force_from_ms: BTreeMap<u64, u64>,
    /// The first run that was made by specs not in force yet.
    pub(super) early: Option<String>,
}

impl LeafVisitor for Reading {
    fn leaf(&mut self, index: u64, header: &Header, open: Option<&OpenBatch>, payload: &[u8]) {
        self.replay.leaf(index, header, open, payload);
        match header {
            Header::Batch(_) => {
                if let Some(open) = open {
                    self.take_batch(index, open, payload);
                }
            }
            Header::KeyChange(change) => {
                if let KeyChangeKind::Enrol { agent, .. } = &change.change {
                    self.enrolled_at_ms.insert(agent.to_string(), change.at_ms);
                }
            }
            Header::SpecChange(change) => {
                self.in_force_from_ms.insert(change.revision, change.effective_at_ms);
                let text = String::from_utf8_lossy(payload);
                // An operator who repeats himself applies the same text as another revision.
                if let Ok(documents) = parse(&[Source { file: "applied", text: &text }]) {
                    self.specs.push((documents, change.effective_at_ms));
                }
            }
            Header::Decision(decision) => self.newest_at_ms = decision.at_ms,
        }
    }
}

impl Reading {
    fn take_batch(&mut self, index: u64, open: &OpenBatch, payload: &[u8]) {
        *self.batches.entry(batch_id(&open.header, payload)).or_default() += 1;
        for result in &open.results {
            if matches!(result.outcome, Outcome::Pass | Outcome::Fail(_)) {
                let agent = open.header.agent.to_string();
                let CheckRef { check, spec_revision, .. } = open.check(result);
                let key = (agent, check.to_string(), open.scheduled_at_ms(result));
                self.look_for_early(*spec_revision, &key);
                self.known.entry(key).or_default().push((result.outcome, index));
            }
        }
    }
}

impl Reading {
    /// A batch lies behind the specs that its agent measured by: their revision is known here.
    fn look_for_early(&mut self, revision: u64, (agent, check, at_ms): &RunKey) {
        let in_force = self.in_force_from_ms.get(&revision);
        if in_force.is_none_or(|from_ms| at_ms < from_ms) {
            self.early.get_or_insert_with(|| {
                format!(
                    "{check} on {agent} at {at_ms} was run by revision {revision}, in force from \
                     {in_force:?} on"
                )
            });
        }
    }
}

/// A batch's name in this book: whose, from which number on, and what it says.
pub(in crate::sim) fn batch_id(header: &BatchHeader, payload: &[u8]) -> Hash {
    let seq = header.seq_first.to_be_bytes();
    sha256(&[header.agent.as_str().as_bytes(), &seq, payload].concat())
}
