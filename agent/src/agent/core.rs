//! The agent between two waits: what it knows, what it does about each thing that happens.
//!
//! In: [`Happened`], one at a time, and the clock. Out: orders to its [`Hands`], and the batch that
//! the uplink may have next. Nothing here waits, opens a file or speaks to anyone, so the same
//! events at the same times always do the same: the event loop gives it threads and sockets, the
//! simulator gives it virtual ones.

use std::collections::BTreeMap;

use proofmark_evidence::{
    AgentName, CheckName, Hash, SealedBatch, Seen, SigningKey, UnknownReason,
};

pub use super::hands::{Hands, Happened};
use super::outbox::{Lost, Noted, Outbox};
use super::stopped::Stopped;
use super::{AgentFault, Found};
use crate::batcher::{Batcher, Finished};
pub use crate::checks::Observation;
use crate::clock::Clock;
use crate::limits::{DRAIN_ACKS_MS_MAX, DRAIN_RUNS_MS_MAX, SPOOL_RETRY_MS};
use crate::metrics::{Counter, Gauge, Metrics};
use crate::schedule::{Due, Missed, Running, Schedule};
use crate::specs::SpecSet;
use crate::spool::{Record, Report};
use crate::uplink::{RefusedAction, UplinkEvent};

/// Everything a core is made of.
pub struct CoreParts {
    pub clock: Clock,
    pub log_id: Hash,
    pub agent: AgentName,
    pub epoch: u64,
    pub key: SigningKey,
    pub metrics: Metrics,
    /// What the spool held when it was opened.
    pub found: Found,
    /// What the run before said at its end, if that was an orderly one.
    pub stopped: Option<Stopped>,
    pub specs: Option<SpecSet>,
    /// Age at which an open batch is sealed, milliseconds.
    pub batch_age_ms_max: u64,
    pub batch_results_max: usize,
    pub concurrent_checks_max: usize,
}

/// How far the agent is on its way out. Deadlines are monotonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Measuring,
    /// No new runs; those that run may finish.
    Finishing {
        until_us: u64,
    },
    /// Their time was up; each ends at its next turn.
    Cancelling,
    /// All results are in; they go to disk and to the aggregator.
    Delivering {
        until_us: u64,
    },
    Done,
}

/// One agent's state, but for its disk and its connections.
pub struct Core<H: Hands> {
    hands: H,
    clock: Clock,
    agent: AgentName,
    epoch: u64,
    key: SigningKey,
    metrics: Metrics,
    schedule: Schedule,
    /// The instants up to and including this one are handed out.
    told_until_ms: u64,
    /// Why instants that are found too late to run were not run.
    why_late: UnknownReason,
    running: Running,
    batcher: Batcher,
    /// Results that had no room, by check, until there is room to say so.
    unspooled: BTreeMap<CheckName, Missed>,
    outbox: Outbox,
    retry_at_us: Option<u64>,
    connected: bool,
    seen: Option<Seen>,
    spec_revision: u64,
    stage: Stage,
}

impl<H: Hands> Core<H> {
    /// A core that goes on where what was found on disk ends.
    pub fn new(parts: CoreParts, hands: H) -> Core<H> {
        let CoreParts { clock, agent, found, metrics, .. } = parts;
        let started_at_ms = clock.unix_ms();
        let planned = parts.specs.as_ref().map_or_else(Vec::new, |specs| {
            specs.planned(&agent).unwrap_or_else(|faults| {
                tracing::error!(%faults, "kept specs are not readable by this version");
                Vec::new()
            })
        });
        let measured_until_ms = found.measured_until_ms(&planned);
        let outbox = found.outbox(parts.epoch, measured_until_ms, started_at_ms);
        let told_until_ms = measured_until_ms.max(parts.stopped.map(|mark| mark.told_until_ms));
        // The instants since what was told come out as missed. After damage the outbox knows more
        // about them, so lanes begin now.
        let resume_ms =
            told_until_ms.filter(|_| !found.damaged).map_or(started_at_ms, |until_ms| until_ms + 1);
        let effective_at_ms = parts.specs.as_ref().map_or(0, |specs| specs.effective_at_ms);
        let from_ms = resume_ms.max(effective_at_ms);
        metrics.set(Gauge::SpoolBytes, found.bytes);
        let (age_ms, results) = (parts.batch_age_ms_max, parts.batch_results_max);
        Core {
            hands,
            schedule: Schedule::new(planned, agent.clone(), from_ms),
            told_until_ms: resume_ms.saturating_sub(1),
            why_late: match parts.stopped {
                Some(_) => UnknownReason::SkippedShutdown,
                None => UnknownReason::SkippedAsleep,
            },
            running: Running::new(parts.concurrent_checks_max),
            batcher: Batcher::new(parts.log_id, agent.clone(), age_ms, results),
            unspooled: BTreeMap::new(),
            outbox,
            retry_at_us: None,
            connected: false,
            seen: None,
            spec_revision: parts.specs.map_or(0, |specs| specs.revision),
            stage: Stage::Measuring,
            epoch: parts.epoch,
            key: parts.key,
            clock,
            agent,
            metrics,
        }
    }

    /// Takes in one thing. [`Core::settle`] must follow before anybody waits.
    ///
    /// # Errors
    /// The agent must end; only a restart can mend it.
    pub fn apply(&mut self, happened: Happened) -> Result<(), AgentFault> {
        match happened {
            Happened::RunEnded(due, observation) => self.run_ended(&due, observation),
            Happened::Spool(report) => self.spooled(report)?,
            Happened::Uplink(event) => self.uplinked(event)?,
            Happened::StopAsked => self.stop(),
            Happened::Woke => {}
        }
        Ok(())
    }

    /// Does whatever is due now; afterwards there is nothing to do but wait.
    ///
    /// # Errors
    /// As for [`Core::apply`].
    pub fn settle(&mut self) -> Result<(), AgentFault> {
        if self.stage == Stage::Measuring {
            self.start_due_runs();
        }
        self.retry_when_due();
        self.seal_when_due();
        self.give_orders()?;
        self.move_on()?;
        self.show();
        Ok(())
    }

    /// Whether a batch waits for room in the uplink.
    pub fn has_outgoing(&self) -> bool {
        self.outbox.has_outgoing()
    }

    /// The batch to hand to the uplink now: it is durable.
    pub fn take_outgoing(&mut self) -> Option<SealedBatch> {
        self.outbox.take_outgoing()
    }

    pub fn is_measuring(&self) -> bool {
        self.stage == Stage::Measuring
    }

    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether everything measured is on disk and accepted.
    pub fn is_acked(&self) -> bool {
        self.is_drained() && self.outbox.is_acked()
    }

    pub fn hands(&mut self) -> &mut H {
        &mut self.hands
    }

    /// Checks in force now.
    pub fn checks(&self) -> usize {
        self.schedule.checks()
    }

    /// The mark to leave behind after an orderly end.
    ///
    /// # Errors
    /// Not every result is on disk.
    pub fn finish(&self) -> Result<Stopped, AgentFault> {
        match self.is_drained() {
            true => Ok(Stopped { told_until_ms: self.told_until_ms }),
            false => Err(self.not_drained()),
        }
    }

    // --- measuring ---

    fn start_due_runs(&mut self) {
        let now_ms = self.clock.unix_ms();
        let taken = self.schedule.take_due(now_ms, self.why_late);
        self.told_until_ms = self.told_until_ms.max(now_ms);
        // From the first look on, who is late has slept.
        self.why_late = UnknownReason::SkippedAsleep;
        self.record_missed(taken.missed);
        for due in taken.due {
            match self.running.start(&due.planned.name) {
                Ok(()) => self.hands.start_run(due),
                Err(reason) => {
                    self.metrics.add(Counter::InstantsMissed, 1);
                    self.record(Finished::of_skipped(&due, reason));
                }
            }
        }
    }

    fn run_ended(&mut self, due: &Due, observation: Observation) {
        self.running.finished(&due.planned.name);
        self.record(Finished::of_run(due, observation));
    }

    fn record(&mut self, finished: Finished) {
        self.metrics.count_result(&finished.observation.outcome);
        let now_ms = self.clock.unix_ms();
        let Err(finished) = self.batcher.push(finished, now_ms) else { return };
        self.seal();
        if let Err(finished) = self.batcher.push(finished, now_ms) {
            self.count_unspooled(finished);
        }
    }

    /// Counts a result that has no room, to be told when there is some.
    fn count_unspooled(&mut self, finished: Finished) {
        self.metrics.add(Counter::ResultsUnspooled, 1);
        let name = finished.planned.name.clone();
        let row = self.unspooled.entry(name).or_insert_with(|| Missed {
            planned: finished.planned.clone(),
            first_scheduled_at_ms: finished.scheduled_at_ms,
            count: 0,
            reason: UnknownReason::SpoolFull,
        });
        row.first_scheduled_at_ms = row.first_scheduled_at_ms.min(finished.scheduled_at_ms);
        row.count += finished.instants;
    }

    fn tell_unspooled(&mut self) {
        let now_ms = self.clock.unix_ms();
        while let Some((name, missed)) = self.unspooled.pop_first() {
            let row = Finished::of_missed(missed.clone());
            if self.batcher.push(row, now_ms).is_err() {
                self.unspooled.insert(name, missed);
                return;
            }
        }
    }

    fn record_lost(&mut self, lost: Lost) {
        self.metrics.add(Counter::SpoolLosses, 1);
        let reason = UnknownReason::SpoolDamaged;
        self.record_missed(self.schedule.lost(lost.since_ms, lost.until_ms, reason));
    }

    fn record_missed(&mut self, rows: Vec<Missed>) {
        for missed in rows {
            self.metrics.add(Counter::InstantsMissed, missed.count);
            self.record(Finished::of_missed(missed));
        }
    }

    // --- sealing and spooling ---

    fn seal_when_due(&mut self) {
        let draining = self.stage != Stage::Measuring && self.running.count() == 0;
        if self.batcher.is_due(self.clock.unix_ms()) || (draining && !self.batcher.is_empty()) {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let Some(chain) = self.outbox.chain_to_seal() else { return };
        let Some(draft) = self.batcher.take(&chain, self.seen) else { return };
        let results = draft.results.len() as u64;
        let since_ms = draft.base_time_ms;
        let last_offset_ms = draft.results.iter().map(|result| result.offset_ms).max();
        let until_ms = since_ms + u64::from(last_offset_ms.unwrap_or(0)) + 1;
        let sealed = draft.seal(&self.key).map_err(|fault| fault.to_string());
        let record = sealed.and_then(|batch| Record::of(batch).map_err(|fault| fault.to_string()));
        match record {
            Ok(record) => {
                self.metrics.add(Counter::BatchesSealed, 1);
                self.metrics.add(Counter::ResultsSealed, results);
                self.outbox.sealed(record, since_ms, until_ms);
            }
            // The batcher promises that this cannot be. The results stay unknown, as they are.
            Err(fault) => {
                self.metrics.add(Counter::ResultsUnspooled, results);
                tracing::error!(%fault, results, "a batch could not be sealed");
            }
        }
        self.tell_unspooled();
    }

    fn spooled(&mut self, report: Report) -> Result<(), AgentFault> {
        if let Report::Appended { bytes, .. } | Report::Trimmed { bytes } = &report {
            self.metrics.set(Gauge::SpoolBytes, *bytes);
        }
        let made_room = matches!(report, Report::Trimmed { .. });
        match self.outbox.report(report) {
            Noted::Nothing if made_room => self.outbox.retry(),
            Noted::Nothing => {}
            Noted::Postponed(fault) => {
                self.metrics.add(Counter::SpoolFailures, 1);
                tracing::warn!(%fault, "results wait in memory");
                self.retry_at_us = Some(self.clock.monotonic_us() + SPOOL_RETRY_MS * 1_000);
            }
            Noted::Lost(lost) => self.record_lost(lost),
            Noted::Broken(fault) => return Err(fault.into()),
        }
        Ok(())
    }

    fn retry_when_due(&mut self) {
        let now_us = self.clock.monotonic_us();
        if self.retry_at_us.is_some_and(|at_us| at_us <= now_us) {
            self.retry_at_us = None;
            self.outbox.retry();
        }
    }

    fn give_orders(&mut self) -> Result<(), AgentFault> {
        while let Some(order) = self.outbox.next_order() {
            if !self.hands.order(order) {
                return Err(AgentFault::PartEnded { part: "spool" });
            }
        }
        Ok(())
    }

    // --- the uplink ---

    fn uplinked(&mut self, event: UplinkEvent) -> Result<(), AgentFault> {
        match event {
            UplinkEvent::Connected { epoch, next_seq, last_header_hash } => {
                if epoch != self.epoch {
                    return Err(AgentFault::Epoch { expected: self.epoch, got: epoch });
                }
                self.metrics.add(Counter::UplinkConnects, 1);
                self.connected = true;
                if let Some(lost) = self.outbox.connected(next_seq, last_header_hash) {
                    self.record_lost(lost);
                }
            }
            UplinkEvent::Disconnected { .. } => {
                self.metrics.add(Counter::UplinkDisconnects, 1);
                self.connected = false;
            }
            UplinkEvent::Acked { epoch, seq_end } if epoch == self.epoch => {
                self.outbox.acked(seq_end);
            }
            UplinkEvent::Acked { .. } => {}
            UplinkEvent::Seen(seen) => self.seen = Some(seen),
            UplinkEvent::Specs { revision, effective_at_ms, text } => {
                self.new_specs(SpecSet { revision, effective_at_ms, text })?;
            }
            UplinkEvent::Refused { slug, expected, got, action } => {
                self.metrics.add(Counter::UplinkRefusals, 1);
                tracing::warn!(%slug, %expected, %got, ?action, "an aggregator refused a batch");
                self.refused(action);
            }
        }
        Ok(())
    }

    fn refused(&mut self, action: RefusedAction) {
        match action {
            // The uplink tries on by itself; we go on measuring and spooling meanwhile.
            RefusedAction::Retry | RefusedAction::Stop => {}
            RefusedAction::ResendFrom { seq } => self.outbox.resend_from(seq),
            RefusedAction::Drop => self.outbox.discard_oldest(),
        }
    }

    fn new_specs(&mut self, specs: SpecSet) -> Result<(), AgentFault> {
        if specs.revision <= self.spec_revision {
            return Ok(());
        }
        match specs.planned(&self.agent) {
            Err(faults) => {
                self.metrics.add(Counter::SpecsRefused, 1);
                tracing::error!(%faults, revision = specs.revision, "specs not used");
            }
            Ok(planned) => {
                tracing::info!(revision = specs.revision, checks = planned.len(), "new specs");
                self.hands.keep_specs(&specs)?;
                // A crash here leaves the new specs kept and not in use; the start uses them.
                let from_ms = specs.effective_at_ms.max(self.clock.unix_ms());
                self.schedule.replace(planned, from_ms);
                self.spec_revision = specs.revision;
            }
        }
        Ok(())
    }

    // --- stopping ---

    fn stop(&mut self) {
        // What was due until now is still run.
        self.start_due_runs();
        tracing::info!(running = self.running.count(), "stopping: running checks may finish");
        let until_us = self.clock.monotonic_us() + DRAIN_RUNS_MS_MAX * 1_000;
        self.stage = Stage::Finishing { until_us };
    }

    fn move_on(&mut self) -> Result<(), AgentFault> {
        let now_us = self.clock.monotonic_us();
        match self.stage {
            Stage::Finishing { .. } | Stage::Cancelling if self.running.count() == 0 => {
                self.tell_stopped();
                let until_us = now_us + DRAIN_ACKS_MS_MAX * 1_000;
                self.stage = Stage::Delivering { until_us };
                // The stage changed what is due: seal at once.
                self.seal_when_due();
                self.give_orders()?;
                return self.move_on();
            }
            Stage::Finishing { until_us } if now_us >= until_us => {
                self.hands.cancel_runs();
                self.stage = Stage::Cancelling;
            }
            Stage::Delivering { until_us } => {
                // Without an aggregator there is nobody to wait for: the spool is durable.
                let has_answers = self.outbox.is_acked() || !self.connected;
                if (self.is_drained() && has_answers) || now_us >= until_us {
                    self.stage = Stage::Done;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The instants since the stop go into the last batch, if there can be one. Those still to come
    /// are told by the next start.
    fn tell_stopped(&mut self) {
        if self.outbox.has_chain() {
            let now_ms = self.clock.unix_ms();
            let rows = self.schedule.take_missed(now_ms, UnknownReason::SkippedShutdown);
            self.told_until_ms = self.told_until_ms.max(now_ms);
            self.record_missed(rows);
        }
    }

    /// Whether every result is on disk.
    fn is_drained(&self) -> bool {
        self.batcher.is_empty() && self.outbox.unwritten() == 0 && self.unspooled.is_empty()
    }

    fn not_drained(&self) -> AgentFault {
        AgentFault::NotDrained {
            results: self.batcher.len() as u64,
            batches: self.outbox.unwritten(),
            instants: self.unspooled.values().map(|row| row.count).sum(),
        }
    }

    // --- waiting ---

    /// Unix time at which [`Happened::Woke`] is due, if nothing else happens before.
    pub fn wake_at_ms(&self) -> u64 {
        let now_us = self.clock.monotonic_us();
        let in_ms =
            |at_us: u64| self.clock.unix_ms() + at_us.saturating_sub(now_us).div_ceil(1_000);
        let measuring = self.stage == Stage::Measuring;
        let run = self.schedule.next_due().filter(|_| measuring);
        let can_seal = self.outbox.chain_to_seal().is_some();
        let seal = self.batcher.due_at().filter(|_| can_seal);
        let stage = match self.stage {
            Stage::Finishing { until_us } | Stage::Delivering { until_us } => Some(in_ms(until_us)),
            Stage::Measuring | Stage::Cancelling | Stage::Done => None,
        };
        let times = [run, seal, self.retry_at_us.map(in_ms), stage];
        times.into_iter().flatten().min().unwrap_or(u64::MAX / 1_000)
    }

    fn show(&self) {
        let metrics = &self.metrics;
        metrics.set(Gauge::Checks, self.schedule.checks() as u64);
        metrics.set(Gauge::ChecksRunning, self.running.count() as u64);
        metrics.set(Gauge::UplinkConnected, u64::from(self.connected));
        metrics.set(Gauge::SpecRevision, self.spec_revision);
        metrics.set(Gauge::SequenceAcknowledged, self.outbox.acked_end());
        if let Some(chain) = self.outbox.chain_to_seal() {
            metrics.set(Gauge::SequenceNext, chain.next_seq);
        }
    }
}
