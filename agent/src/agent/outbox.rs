//! From sealed batch to ack: what is on its way to disk, what is on its way out, and where the
//! chain of batches goes on. Pure: it gives [`Order`]s and takes what came of them.
//!
//! A batch goes to the spool first and reaches the uplink only by being fetched from there, so
//! nothing can be offered that is not durable.
//!
//! **Resync.** A `Welcome` says which number the aggregator wants next and which header hash it
//! saw last. Four cases:
//!
//! * a number we have spooled, after the batch we have before it: we send from there;
//! * exactly our next number: all arrived, we go on;
//! * a later number: this data directory was restored or lost its end; we join the chain there;
//! * a number we have, but after another batch than ours: as above, and we measured since. Ours are
//!   set aside and reported as `spool_damaged`, and we join there.
//!
//! After damage on disk the chain is known but not trusted until a `Welcome` confirms that nothing
//! behind the damage had been accepted; only then are the lost numbers given out again. When no
//! good batch is left, nothing can confirm it: we join the chain, and report a loss.

use std::collections::VecDeque;

use proofmark_evidence::{BatchHeader, Hash, Header, SealedBatch};

use crate::batcher::Chain;
use crate::spool::{Order, Record, Report, SpoolFault};

/// Results that existed and are lost: those of scheduled instants in `[since_ms, until_ms)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// None: not known, the batches that could say it are among the lost.
    pub(super) since_ms: Option<u64>,
    pub(super) until_ms: u64,
}

/// What a report from the spool means for the loop.
#[derive(Debug)]
pub(super) enum Noted {
    Nothing,
    /// A batch could not be written and waits here; try again later.
    Postponed(SpoolFault),
    Lost(Lost),
    /// The process cannot go on.
    Broken(SpoolFault),
}

#[derive(Debug)]
pub(super) struct Outbox {
    epoch: u64,
    /// Where the next sealed batch joins. None until a Welcome has said so.
    chain: Option<Chain>,
    /// Where it will join if nothing behind the damage was accepted.
    hoped: Option<Chain>,
    /// What the damage took, until a Welcome says whether it had been accepted.
    damaged: Option<Lost>,
    /// Scheduled time of the earliest result in the batch that is on its way to disk.
    appending: Option<u64>,
    /// One past the latest scheduled instant in any batch sealed so far.
    sealed_until_ms: u64,
    /// A batch that could not be written yet.
    unspooled: Option<Record>,
    /// One past the last number on disk.
    durable_end: u64,
    /// The next number to hand to the uplink. None until a Welcome.
    send_next: Option<u64>,
    /// What the next batch fetched must build on.
    must_follow: Option<Chain>,
    /// What was ordered: the number, and what for.
    fetching: Option<(u64, Purpose)>,
    /// The oldest batch not acknowledged is to be looked at and discarded.
    discarding: bool,
    outgoing: Option<Record>,
    acked_end: u64,
    trimmed_end: u64,
    trimming: bool,
    rejoining: bool,
    orders: VecDeque<Order>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Send,
    /// An aggregator will never take it.
    Discard,
}

impl Outbox {
    /// An outbox whose chain goes on after `newest`, the last batch on disk, whose results reach
    /// until `sealed_until_ms`. `lost` says that batches after it were damaged.
    pub(super) fn new(
        epoch: u64,
        newest: Option<&SealedBatch>,
        sealed_until_ms: u64,
        lost: Option<Lost>,
    ) -> Outbox {
        let after = newest.and_then(chain_after).filter(|chain| chain.epoch == epoch);
        let durable_end = after.map_or(0, |chain| chain.next_seq);
        Outbox {
            epoch,
            chain: if lost.is_some() { None } else { after },
            hoped: after.filter(|_| lost.is_some()),
            damaged: lost,
            appending: None,
            sealed_until_ms,
            unspooled: None,
            durable_end,
            send_next: None,
            must_follow: None,
            fetching: None,
            discarding: false,
            outgoing: None,
            acked_end: 0,
            trimmed_end: 0,
            trimming: false,
            rejoining: false,
            orders: VecDeque::new(),
        }
    }

    /// Where to seal the next batch; none while it could not be made durable.
    pub(super) fn chain_to_seal(&self) -> Option<Chain> {
        let busy = self.appending.is_some() || self.unspooled.is_some() || self.rejoining;
        self.chain.filter(|_| !busy)
    }

    /// Takes a batch that was sealed at [`Outbox::chain_to_seal`]; its results are of scheduled
    /// instants in `[since_ms, until_ms)`.
    pub(super) fn sealed(&mut self, record: Record, since_ms: u64, until_ms: u64) {
        self.chain = chain_after(&record.batch);
        self.sealed_until_ms = self.sealed_until_ms.max(until_ms);
        self.appending = Some(since_ms);
        self.orders.push_back(Order::Append(record));
    }

    /// Tries again to write the batch that waits, if one does.
    pub(super) fn retry(&mut self) {
        if let Some(record) = self.unspooled.take() {
            self.appending = header_of(&record.batch).map(|header| header.base_time_ms);
            self.orders.push_back(Order::Append(record));
        }
    }

    /// The next order for the spool. At most one of each kind is outstanding.
    pub(super) fn next_order(&mut self) -> Option<Order> {
        if let Some(order) = self.orders.pop_front() {
            return Some(order);
        }
        let epoch = self.epoch;
        if !self.trimming && self.trimmed_end < self.acked_end {
            self.trimming = true;
            self.trimmed_end = self.acked_end;
            return Some(Order::Acked { epoch, seq_end: self.acked_end });
        }
        let (seq, purpose) = self.wants_to_fetch()?;
        self.fetching = Some((seq, purpose));
        Some(Order::Fetch { epoch, seq })
    }

    pub(super) fn has_outgoing(&self) -> bool {
        self.outgoing.is_some()
    }

    /// The batch to hand to the uplink now.
    pub(super) fn take_outgoing(&mut self) -> Option<SealedBatch> {
        let record = self.outgoing.take()?;
        self.send_next = Some(record.seq_end);
        Some(record.batch)
    }

    /// An aggregator said where we stand.
    pub(super) fn connected(&mut self, next_seq: u64, last_header_hash: Hash) -> Option<Lost> {
        let theirs = Chain { epoch: self.epoch, next_seq, previous: last_header_hash };
        self.acked(next_seq);
        self.outgoing = None;
        let damaged = self.damaged.take();
        match self.chain.or(self.hoped.take()) {
            Some(ours) if next_seq < ours.next_seq => {
                self.chain = Some(ours);
                self.send_next = Some(next_seq.max(self.acked_end));
                // A node that is a little behind names a number we know to be accepted already.
                self.must_follow = (next_seq == self.acked_end).then_some(theirs);
                damaged
            }
            Some(ours) if ours == theirs => {
                self.chain = Some(ours);
                self.send_next = Some(next_seq);
                damaged
            }
            Some(_) => self.rejoin(theirs, None),
            None => self.rejoin(theirs, None).or(damaged),
        }
    }

    /// Everything below `seq_end` is accepted. Never goes back.
    pub(super) fn acked(&mut self, seq_end: u64) {
        self.acked_end = self.acked_end.max(seq_end);
    }

    pub(super) fn acked_end(&self) -> u64 {
        self.acked_end
    }

    /// The uplink needs everything from `seq` on once more.
    pub(super) fn resend_from(&mut self, seq: u64) {
        self.outgoing = None;
        self.send_next = Some(seq);
    }

    /// The oldest batch not acknowledged will never be taken: look what it was, then discard it.
    pub(super) fn discard_oldest(&mut self) {
        self.outgoing = None;
        self.discarding = true;
    }

    /// What the spool did.
    pub(super) fn report(&mut self, report: Report) -> Noted {
        match report {
            Report::Appended { seq_end, .. } => {
                self.appending = None;
                self.durable_end = self.durable_end.max(seq_end);
                Noted::Nothing
            }
            Report::NotAppended { record, fault } => {
                self.appending = None;
                // A batch of a chain we have left is part of what is reported lost.
                self.unspooled = (!self.rejoining).then_some(record);
                Noted::Postponed(fault)
            }
            Report::Fetched(batch) => self.fetched(batch),
            Report::Trimmed { .. } => {
                self.trimming = false;
                Noted::Nothing
            }
            Report::Rejoined(damage) => {
                self.rejoining = false;
                if !damage.files.is_empty() {
                    tracing::warn!(files = ?damage.files, "batches set aside");
                }
                Noted::Nothing
            }
            Report::Broken(fault) => Noted::Broken(fault),
        }
    }

    /// Whether batches can be sealed now, or once the one before is written.
    pub(super) fn has_chain(&self) -> bool {
        self.chain.is_some()
    }

    /// Batches that are sealed and not on disk.
    pub(super) fn unwritten(&self) -> u64 {
        u64::from(self.appending.is_some()) + u64::from(self.unspooled.is_some())
    }

    /// Whether every result on disk is accepted.
    pub(super) fn is_acked(&self) -> bool {
        self.acked_end >= self.durable_end
    }

    fn wants_to_fetch(&self) -> Option<(u64, Purpose)> {
        if self.fetching.is_some() || self.outgoing.is_some() || self.rejoining {
            return None;
        }
        if self.discarding {
            return Some((self.acked_end, Purpose::Discard));
        }
        let next = self.send_next.filter(|next| *next < self.durable_end)?;
        Some((next, Purpose::Send))
    }

    fn fetched(&mut self, batch: Option<SealedBatch>) -> Noted {
        let asked = self.fetching.take();
        // What was ordered before the chain changed, or before other batches were wanted.
        if self.rejoining || asked != self.wants_to_fetch() {
            return Noted::Nothing;
        }
        self.discarding = false;
        let found = batch.and_then(|batch| Some((header_of(&batch)?, Record::of(batch).ok()?)));
        let Some((header, record)) = found else {
            tracing::error!(?asked, "the spool has no batch where one was");
            self.send_next = Some(self.durable_end);
            return Noted::Nothing;
        };
        let since_ms = Some(header.base_time_ms);
        if asked.is_some_and(|(_, purpose)| purpose == Purpose::Discard) {
            let next_seq = header.seq_first;
            let chain = Chain { epoch: self.epoch, next_seq, previous: header.previous };
            return self.rejoin(chain, since_ms).map_or(Noted::Nothing, Noted::Lost);
        }
        if let Some(theirs) = self.must_follow.take()
            && (header.seq_first, header.previous) != (theirs.next_seq, theirs.previous)
        {
            return self.rejoin(theirs, since_ms).map_or(Noted::Nothing, Noted::Lost);
        }
        self.outgoing = Some(record);
        Noted::Nothing
    }

    /// Leaves our chain for another. What was not accepted of ours is lost, also the batch that is
    /// on its way to disk.
    fn rejoin(&mut self, chain: Chain, since_ms: Option<u64>) -> Option<Lost> {
        let unspooled = self.unspooled.take().and_then(|record| header_of(&record.batch));
        let in_hand = self.appending.or(unspooled.map(|header| header.base_time_ms));
        let had_chain = self.chain.replace(chain).is_some();
        self.durable_end = chain.next_seq;
        self.send_next = Some(chain.next_seq);
        self.must_follow = None;
        self.outgoing = None;
        self.discarding = false;
        self.rejoining = true;
        let (epoch, seq) = (chain.epoch, chain.next_seq);
        self.orders.push_back(Order::Rejoin { epoch, seq });
        if had_chain {
            tracing::error!(%seq, "this agent's chain is not the aggregator's: joining theirs");
        }
        let since_ms = since_ms.into_iter().chain(in_hand).min()?;
        Some(Lost { since_ms: Some(since_ms), until_ms: self.sealed_until_ms })
    }
}

fn chain_after(batch: &SealedBatch) -> Option<Chain> {
    let header = header_of(batch)?;
    let previous = batch.leaf.header_hash();
    Some(Chain { epoch: header.epoch, next_seq: header.seq_end(), previous })
}

fn header_of(batch: &SealedBatch) -> Option<BatchHeader> {
    match batch.leaf.header() {
        Ok(Header::Batch(header)) => Some(header),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
