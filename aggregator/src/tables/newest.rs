//! The index's newest end: batches that are not in its tree yet, in the order of their leaves.

use std::cmp::Ordering;

use proofmark_evidence::{BatchSpan, ResultId};

use super::index::{key_of, value_of};
use crate::limits::INDEX_ROW_BATCHES_MAX;

/// A crash forgets them, and the recorder brings them again.
pub(super) struct Newest {
    batches: Vec<(BatchSpan, u64)>,
    /// The next leaf.
    covered: u64,
}

impl Newest {
    /// None yet: the tree has all below `covered`.
    pub(super) fn from(covered: u64) -> Newest {
        Newest { batches: Vec::new(), covered }
    }

    pub(super) fn covered(&self) -> u64 {
        self.covered
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Takes the next leaf.
    pub(super) fn take(&mut self, batch: Option<&BatchSpan>) {
        self.batches.extend(batch.map(|batch| (batch.clone(), self.covered)));
        self.covered += 1;
    }

    /// Looks through all of them: who asks is a person, who appends is a fleet.
    pub(super) fn find(&self, id: &ResultId) -> Option<u64> {
        let holds = |(batch, _): &&(BatchSpan, u64)| {
            (batch.seq_first..batch.seq_end).contains(&id.seq)
                && batch.epoch == id.epoch
                && batch.agent == id.agent
        };
        self.batches.iter().find(holds).map(|(_, leaf_index)| *leaf_index)
    }

    /// As rows of the tree: batches of one agent that follow each other share one.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        // A sort that keeps the order of the leaves within an agent's life.
        self.batches.sort_by(|(one, _), (other, _)| by_life(one, other));
        let runs = self.batches.chunk_by(|(one, _), (next, _)| {
            by_life(one, next).is_eq() && one.seq_end == next.seq_first
        });
        runs.flat_map(|run| run.chunks(INDEX_ROW_BATCHES_MAX)).map(|run| {
            let (first, _) = &run[0];
            let key = key_of(&first.agent, first.epoch, first.seq_first);
            (key, value_of(run.iter().map(|(batch, leaf_index)| (*leaf_index, batch.seq_end))))
        })
    }
}

fn by_life(one: &BatchSpan, other: &BatchSpan) -> Ordering {
    (&one.agent, one.epoch).cmp(&(&other.agent, other.epoch))
}
