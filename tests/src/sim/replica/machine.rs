//! What a replica applies: the real state; its rows are kept for the next start.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_aggregator::command::{Command, Entry, Reply};
use proofmark_aggregator::recorder::RecorderTask;
use proofmark_aggregator::snapshot::RowBytes;
use proofmark_aggregator::state::{Effect, NewLeaf, State};
use proofmark_evidence::{
    AgentName, BatchDraft, ByteReader, ByteWriter, Coverage, Hash, OpenBatch, SealedBatch,
    SigningKey, sha256, sha256_parts,
};

use super::saved::Rows;
use crate::sim::Planted;

/// The state of one replica, and what came out of it since the start.
pub(in crate::sim) struct Machine {
    pub(in crate::sim) state: State,
    /// Everything that was ever saved, by key.
    pub(super) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    planted: Option<Mutant>,
    /// The newest batch taken, for those who count it again.
    newest: Option<SealedBatch>,
}

/// What became of one entry.
pub(in crate::sim) struct Applied {
    pub(in crate::sim) replies: Vec<Reply>,
    pub(in crate::sim) effects: Vec<Effect>,
    /// Hash of everything that was answered and caused: equal on every replica.
    pub(in crate::sim) digest: Hash,
    pub(in crate::sim) commands: Vec<Command>,
}

impl Applied {
    fn nothing() -> Self {
        let (replies, effects, commands) = (Vec::new(), Vec::new(), Vec::new());
        Self { replies, effects, digest: Hash::ZERO, commands }
    }
}

/// A planted mistake in front of the state, with the agents' keys it needs.
#[derive(Clone)]
pub(in crate::sim) struct Mutant {
    pub(in crate::sim) planted: Planted,
    pub(in crate::sim) keys: BTreeMap<AgentName, SigningKey>,
    /// First numbers of the batches that were taken.
    pub(in crate::sim) seen: BTreeSet<u64>,
}

impl Machine {
    pub(super) fn new(
        state: State,
        rows: BTreeMap<Vec<u8>, Vec<u8>>,
        planted: Option<Mutant>,
    ) -> Self {
        Self { state, rows, planted, newest: None }
    }

    pub(in crate::sim) fn applied(&self) -> u64 {
        self.state.applied()
    }

    /// Applies one entry. `local_ms` is this node's own clock, which nobody should ask.
    pub(super) fn apply(
        &mut self,
        index: u64,
        data: &[u8],
        local_ms: u64,
    ) -> Result<Applied, String> {
        let mut applied = Applied::nothing();
        if !data.is_empty() {
            let mut entry =
                Entry::decode(data).map_err(|fault| format!("entry {index}: {fault}"))?;
            if self.is_planted(Planted::TimeByLocalClock) {
                entry.stamped_at_ms = local_ms;
            }
            for command in entry.commands {
                self.apply_command(index, entry.stamped_at_ms, &command, &mut applied);
                applied.commands.push(command);
            }
        }
        self.state.finish_entry(index);
        applied.digest = sha256_parts(&[&applied.digest.0, &index.to_be_bytes()]);
        Ok(applied)
    }

    /// Planted: the newest batch, under numbers that nobody has used.
    pub(in crate::sim) fn newest_batch_renumbered(&self) -> Option<Command> {
        let open = self.newest.as_ref()?.open().ok()?;
        let SealedBatch { leaf, payload } = self.renumbered(&open)?;
        Some(Command::Admit { leaf, payload })
    }

    fn apply_command(&mut self, index: u64, at_ms: u64, command: &Command, into: &mut Applied) {
        if let Some(reply) = self.mistaken_for_duplicate(command) {
            into.replies.push(reply);
            return;
        }
        for effect in self.state.apply(index, at_ms, command) {
            into.digest = sha256_parts(&[&into.digest.0, &digest_of(&effect).0]);
            match effect {
                Effect::Reply(reply) => into.replies.push(reply),
                other => into.effects.push(other),
            }
        }
        if let (Command::Admit { leaf, payload }, Some(Reply::Accepted { .. })) =
            (command, into.replies.last())
        {
            self.newest = Some(SealedBatch { leaf: leaf.clone(), payload: payload.clone() });
        }
        if let (Command::Admit { leaf, payload }, Some(Reply::Duplicate { .. })) =
            (command, into.replies.last())
            && self.is_planted(Planted::NoDedupe)
        {
            let again = SealedBatch { leaf: leaf.clone(), payload: payload.clone() };
            self.count_again(index, at_ms, &again, into);
        }
    }

    /// The same results once more, under numbers that the state has not seen: what a state without
    /// dedupe would do.
    fn count_again(&mut self, index: u64, at_ms: u64, batch: &SealedBatch, into: &mut Applied) {
        let Ok(open) = batch.open() else { return };
        let Some(renumbered) = self.renumbered(&open) else { return };
        let (leaf, payload) = (renumbered.leaf, renumbered.payload);
        for effect in self.state.apply(index, at_ms, &Command::Admit { leaf, payload }) {
            if let Effect::Append { .. } = effect {
                into.effects.push(effect);
            }
        }
    }

    fn renumbered(&self, open: &OpenBatch) -> Option<SealedBatch> {
        let mutant = self.planted.as_ref()?;
        let agent = self.state.agents().get(&open.header.agent)?;
        let draft = BatchDraft {
            log_id: open.header.log_id,
            agent: open.header.agent.clone(),
            epoch: agent.epoch,
            seq_first: agent.next_seq,
            base_time_ms: open.header.base_time_ms,
            checks: open.header.checks.clone(),
            coverage: Coverage { ..open.header.coverage.clone() },
            previous: agent.last_header_hash,
            seen: None,
            results: open.results.clone(),
        };
        draft.seal(mutant.keys.get(&open.header.agent)?).ok()
    }

    /// Planted: numbers that any agent has used are taken for this agent's.
    fn mistaken_for_duplicate(&mut self, command: &Command) -> Option<Reply> {
        let Command::Admit { leaf, payload } = command else { return None };
        let mutant = self.planted.as_mut()?;
        if mutant.planted != Planted::DedupeKeyedWrongly {
            return None;
        }
        let batch = SealedBatch { leaf: leaf.clone(), payload: payload.clone() };
        let open = batch.open().ok()?;
        let is_new = mutant.seen.insert(open.header.seq_first);
        let seq_end = open.header.seq_end();
        (!is_new).then_some(Reply::Duplicate { seq_end, leaf_index: 0 })
    }

    /// Rows as of now, every one: what a save must bring to the disk.
    pub(super) fn take_rows(&mut self) {
        for (key, value) in self.state.take_dirty_rows() {
            let is_agent = key.first() == Some(&b'a');
            if is_agent
                && self.is_planted(Planted::SavedWithoutDedupe)
                && self.rows.contains_key(&key)
            {
                continue;
            }
            match value {
                Some(value) => drop(self.rows.insert(key, value)),
                None => drop(self.rows.remove(&key)),
            }
        }
    }

    /// Everything, as a snapshot holds it.
    pub(super) fn snapshot_rows(&self) -> Vec<RowBytes> {
        let rows = self.state.rows();
        match self.is_planted(Planted::SnapshotWithoutDedupe) {
            true => rows.into_iter().map(|row| self.without_dedupe(row)).collect(),
            false => rows,
        }
    }

    /// Planted: an agent as if it had just been enrolled.
    fn without_dedupe(&self, (key, value): RowBytes) -> RowBytes {
        match fresh_agent(&value).filter(|_| key.first() == Some(&b'a')) {
            Some(fresh) => (key, fresh),
            None => (key, value),
        }
    }

    /// The state is another one, from a snapshot.
    pub(in crate::sim) fn replace(&mut self, state: State, rows: Rows) {
        (self.state, self.rows) = (state, rows);
    }

    pub(super) fn task(&self, index: u64, effects: Vec<Effect>) -> Option<RecorderTask> {
        (!effects.is_empty()).then_some(RecorderTask { index, effects })
    }

    fn is_planted(&self, planted: Planted) -> bool {
        self.planted.as_ref().is_some_and(|mutant| mutant.planted == planted)
    }
}

/// The row of an agent (`state/agents.rs`) with nothing in it of what was heard of the agent.
fn fresh_agent(value: &[u8]) -> Option<Vec<u8>> {
    let mut input = ByteReader::new(value);
    let mut out = ByteWriter::new();
    out.u8(input.u8("version").ok()?).fixed(input.take("key", 32).ok()?);
    for what in ["epoch", "enrolled at", "enrol leaf index"] {
        out.varint(input.varint(what).ok()?);
    }
    let (next_seq, recent) = (1, 0);
    out.varint(next_seq).fixed(&Hash::ZERO.0).bool(false).varint(0).bool(false).varint(recent);
    Some(out.into_bytes())
}

fn digest_of(effect: &Effect) -> Hash {
    match effect {
        Effect::Append { index, leaf: NewLeaf::Signed(leaf), .. } => {
            sha256_parts(&[b"signed", &index.to_be_bytes(), leaf.bytes()])
        }
        Effect::Append { index, leaf: NewLeaf::ForLog { header, .. }, payload } => {
            sha256_parts(&[b"log", &index.to_be_bytes(), header, payload])
        }
        Effect::Reply(reply) => sha256(&reply.encode()),
        Effect::Seal { size, root } => sha256_parts(&[b"seal", &size.to_be_bytes(), &root.0]),
        Effect::Publish { size, root, .. } => {
            sha256_parts(&[b"publish", &size.to_be_bytes(), &root.0])
        }
        Effect::HandOver { size, root, policy, .. } => {
            sha256_parts(&[b"hand over", &size.to_be_bytes(), &root.0, policy.as_bytes()])
        }
    }
}
