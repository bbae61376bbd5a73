//! Nothing is counted twice: what a batch with known sequence numbers is.

use std::collections::VecDeque;

use proofmark_evidence::{ByteReader, ByteWriter, Hash};

use crate::command::{CodecFault, Refusal, put_hash, take_hash};
use crate::limits::RECENT_BATCHES_MAX;

/// What a well-formed batch of a known agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next one: to be appended and counted.
    New,
    /// In the log already, at this leaf (or, for an old one, at or before it).
    Duplicate { leaf_index: u64 },
}

/// One accepted batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecentBatch {
    pub(super) seq_first: u64,
    /// Exclusive.
    pub(super) seq_end: u64,
    pub(super) header_hash: Hash,
    pub(super) leaf_index: u64,
}

/// The newest batches of one agent's epoch, oldest first, without gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    batches: VecDeque<RecentBatch>,
}

impl Recent {
    pub(super) fn push(&mut self, batch: RecentBatch) {
        if self.batches.len() == RECENT_BATCHES_MAX {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }

    pub(super) fn newest(&self) -> Option<&RecentBatch> {
        self.batches.back()
    }

    /// Judges a batch that begins below the agent's next sequence number.
    ///
    /// The same batch again is a duplicate. Any other batch that touches a remembered number is
    /// a fork. What lies wholly before the remembered ones is a duplicate by its numbers: its
    /// agent was told so long ago, and its bytes can no longer be compared.
    pub(super) fn judge_known(&self, first: u64, end: u64, hash: Hash) -> Result<Verdict, Refusal> {
        let touched = self.batches.iter().find(|batch| batch.seq_end > first);
        let Some(batch) = touched else {
            unreachable!("the newest batch ends at next_seq, which is above the first number");
        };
        let is_same = (batch.seq_first, batch.seq_end, batch.header_hash) == (first, end, hash);
        if is_same || end <= batch.seq_first {
            return Ok(Verdict::Duplicate { leaf_index: batch.leaf_index });
        }
        Err(Refusal::SequenceFork { seq: first, expected: batch.header_hash, got: hash })
    }

    pub(super) fn check(&self, leaf_count: u64) -> Result<(), String> {
        let mut pairs = self.batches.iter().zip(self.batches.iter().skip(1));
        let is_chained = |(one, next): (&RecentBatch, &RecentBatch)| {
            one.seq_end == next.seq_first && one.leaf_index < next.leaf_index
        };
        let are_whole = self.batches.iter().all(|batch| batch.seq_first < batch.seq_end);
        let is_bounded = self.batches.len() <= RECENT_BATCHES_MAX;
        let is_in_log = self.newest().is_none_or(|batch| batch.leaf_index < leaf_count);
        let are_chained = pairs.all(is_chained);
        match are_chained && are_whole && is_bounded && is_in_log {
            true => Ok(()),
            false => Err(format!("recent batches {:?}", self.batches)),
        }
    }

    pub(super) fn put(&self, out: &mut ByteWriter) {
        out.varint(self.batches.len() as u64);
        for batch in &self.batches {
            out.varint(batch.seq_first).varint(batch.seq_end).varint(batch.leaf_index);
            put_hash(out, &batch.header_hash);
        }
    }

    pub(super) fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let count = input.count("recent batches", RECENT_BATCHES_MAX, 35)?;
        let batches = (0..count).map(|_| RecentBatch::take(input));
        Ok(Self { batches: batches.collect::<Result<_, _>>()? })
    }
}

impl RecentBatch {
    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            seq_first: input.varint("seq first")?,
            seq_end: input.varint("seq end")?,
            leaf_index: input.varint("leaf index")?,
            header_hash: take_hash(input, "header hash")?,
        })
    }
}
