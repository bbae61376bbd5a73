//! A sealed batch becomes a fact: dedupe first, then leaf, series, ack.
//!
//! Here an ack is decided: commands come here only after commit. `consensus/apply_thread.rs` hands
//! it on, `ingest/session.rs` says it.

use std::sync::Arc;

use proofmark_evidence::{BatchView, Hash, Leaf, SealedBatch};

use super::dedupe::{RecentBatch, Verdict};
use super::effect::{Effect, NewLeaf};
use super::{Applied, State};
use crate::command::{Refusal, Reply};
use crate::limits::CLOCK_AHEAD_MS_MAX;

impl State {
    /// Admission has checked the signature, against the key that is checked here by its id, and the
    /// root over the results. That these are the results it saw is checked here, by their digest:
    /// bytes that changed on the way are refused by every replica alike.
    pub(super) fn admit(&mut self, leaf: &Leaf, payload: &Arc<[u8]>) -> Applied {
        let sealed = SealedBatch { leaf: leaf.clone(), payload: payload.clone() };
        let batch = sealed.read();
        let batch = batch.map_err(|fault| Refusal::BatchMalformed { fault: fault.to_string() })?;
        self.check_log(batch.header.log_id)?;
        let header_hash = leaf.header_hash();
        let verdict = self.agents.judge(&batch.header, header_hash)?;
        let seq_end = batch.header.seq_end();
        if let Verdict::Duplicate { leaf_index } = verdict {
            return Ok(vec![Effect::Reply(Reply::Duplicate { seq_end, leaf_index })]);
        }
        self.check_clock(&batch)?;

        let append = self.append(NewLeaf::Signed(leaf.clone()), payload.clone());
        let leaf_index = self.head.leaf_count - 1;
        self.accept(&batch, header_hash, leaf_index);
        Ok(vec![append, Effect::Reply(Reply::Accepted { seq_end, leaf_index })])
    }

    /// The next leaf of the log.
    pub(super) fn append(&mut self, leaf: NewLeaf, payload: Arc<[u8]>) -> Effect {
        let index = self.head.leaf_count;
        self.head.leaf_count += 1;
        Effect::Append { index, leaf, payload }
    }

    fn accept(&mut self, batch: &BatchView<'_>, header_hash: Hash, leaf_index: u64) {
        let header = &batch.header;
        let (seq_first, seq_end) = (header.seq_first, header.seq_end());
        let recent = RecentBatch { seq_first, seq_end, header_hash, leaf_index };
        self.agents.accept(&header.agent, recent, self.head.stamped_at_ms);
        self.failures.take_batch(batch, leaf_index);
        // What is not counted (off the grid, too old) is evidence all the same; the ledger keeps
        // the number of such runs by reason.
        self.ledger.count_batch(batch);
    }

    fn check_log(&self, got: Hash) -> Result<(), Refusal> {
        let expected = self.genesis().expect("dispatch wants a genesis first").log_id;
        if expected == got { Ok(()) } else { Err(Refusal::WrongLog { expected, got }) }
    }

    /// Runs of the far future would wait in the ledger for as long.
    fn check_clock(&self, batch: &BatchView<'_>) -> Result<(), Refusal> {
        let scheduled = batch.results.iter().map(|result| batch.scheduled_at_ms(result));
        let newest = scheduled.max().unwrap_or(0);
        let got_ms = newest.saturating_sub(self.head.stamped_at_ms);
        match got_ms <= CLOCK_AHEAD_MS_MAX {
            true => Ok(()),
            false => Err(Refusal::ClockAhead { limit_ms: CLOCK_AHEAD_MS_MAX, got_ms }),
        }
    }
}
