//! The loop: wait for one thing, apply it, bring everything back into order, wait again.
//!
//! [`EventLoop::apply`] and [`EventLoop::settle`] do not wait; what takes time happens in tasks
//! (checks), on the spool's thread, and in the uplink.

use std::collections::{BTreeMap, HashMap};

use proofmark_evidence::{
    AgentName, CheckName, Hash, Measurement, MeasurementKind, Outcome, SealedBatch, Seen,
    SigningKey, UnknownReason,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::outbox::{Lost, Noted, Outbox};
use super::stopped::Stopped;
use super::{AgentFault, Start};
use crate::batcher::{Batcher, Finished};
use crate::checks::{Checks, Observation};
use crate::clock::Clock;
use crate::config::Config;
use crate::limits::{DRAIN_ACKS_MS_MAX, DRAIN_RUNS_MS_MAX, SPOOL_RETRY_MS};
use crate::metrics::{Counter, Gauge, Metrics};
use crate::schedule::{Due, Missed, Running, Schedule};
use crate::specs::SpecSet;
use crate::spool::{Keeper, Record, Report};
use crate::uplink::{RefusedAction, UplinkEvent, UplinkHandle};

/// Everything a loop is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) log_id: Hash,
    pub(crate) agent: AgentName,
    pub(crate) epoch: u64,
    pub(crate) key: SigningKey,
    pub(crate) checks: Checks,
    pub(crate) metrics: Metrics,
    pub(crate) spool: Start,
    /// What the run before said at its end, if that was an orderly one.
    pub(crate) stopped: Option<Stopped>,
    pub(crate) specs: Option<SpecSet>,
    pub(crate) uplink: UplinkHandle,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// The one thing that happened.
enum Event {
    RunEnded(Result<(Id, Observation), JoinError>),
    Spool(Option<Report>),
    Uplink(Option<UplinkEvent>),
    /// The uplink takes one more batch; None when it is gone.
    Room(Option<mpsc::OwnedPermit<SealedBatch>>),
    StopAsked,
    Woke,
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

pub(super) struct EventLoop {
    config: Config,
    clock: Clock,
    agent: AgentName,
    epoch: u64,
    key: SigningKey,
    checks: Checks,
    metrics: Metrics,
    schedule: Schedule,
    /// The instants up to and including this one are handed out.
    told_until_ms: u64,
    /// Why instants that are found too late to run were not run.
    why_late: UnknownReason,
    running: Running,
    runs: JoinSet<Observation>,
    due_of: HashMap<Id, Due>,
    batcher: Batcher,
    /// Results that had no room, by check, until there is room to say so.
    unspooled: BTreeMap<CheckName, Missed>,
    outbox: Outbox,
    retry_at_us: Option<u64>,
    keeper: Keeper,
    reports: mpsc::Receiver<Report>,
    uplink: UplinkHandle,
    connected: bool,
    seen: Option<Seen>,
    spec_revision: u64,
    shutdown: watch::Receiver<bool>,
    stage: Stage,
}

impl EventLoop {
    pub(super) fn new(parts: Parts) -> EventLoop {
        let Parts { config, clock, agent, spool, metrics, .. } = parts;
        let started_at_ms = clock.unix_ms();
        let planned = parts.specs.as_ref().map_or_else(Vec::new, |specs| {
            specs.planned(&agent).unwrap_or_else(|faults| {
                tracing::error!(%faults, "kept specs are not readable by this version");
                Vec::new()
            })
        });
        let measured_until_ms = spool.measured_until_ms(&planned);
        let outbox = spool.outbox(parts.epoch, measured_until_ms, started_at_ms);
        let told_until_ms = measured_until_ms.max(parts.stopped.map(|mark| mark.told_until_ms));
        // The instants since what was told come out as missed. After damage the outbox knows more
        // about them, so lanes begin now.
        let resume_ms =
            told_until_ms.filter(|_| !spool.damaged).map_or(started_at_ms, |until_ms| until_ms + 1);
        let effective_at_ms = parts.specs.as_ref().map_or(0, |specs| specs.effective_at_ms);
        let from_ms = resume_ms.max(effective_at_ms);
        metrics.set(Gauge::SpoolBytes, spool.bytes);
        let (age_ms, results) = (config.batch_age_ms_max, config.batch_results_max);
        EventLoop {
            schedule: Schedule::new(planned, agent.clone(), from_ms),
            told_until_ms: resume_ms.saturating_sub(1),
            why_late: match parts.stopped {
                Some(_) => UnknownReason::SkippedShutdown,
                None => UnknownReason::SkippedAsleep,
            },
            running: Running::new(config.concurrent_checks_max),
            runs: JoinSet::new(),
            due_of: HashMap::new(),
            batcher: Batcher::new(parts.log_id, agent.clone(), age_ms, results),
            unspooled: BTreeMap::new(),
            outbox,
            retry_at_us: None,
            keeper: spool.keeper,
            reports: spool.reports,
            uplink: parts.uplink,
            connected: false,
            seen: None,
            spec_revision: parts.specs.map_or(0, |specs| specs.revision),
            shutdown: parts.shutdown,
            stage: Stage::Measuring,
            epoch: parts.epoch,
            key: parts.key,
            checks: parts.checks,
            config,
            clock,
            agent,
            metrics,
        }
    }

    /// Runs until stopped and drained, or until a fault that a restart must mend.
    pub(super) async fn run(mut self) -> Result<(), AgentFault> {
        tracing::info!(agent = %self.agent, checks = self.schedule.checks(), "agent ready");
        self.settle()?;
        while self.stage != Stage::Done {
            let event = self.select().await;
            self.apply(event)?;
            self.settle()?;
        }
        if !self.is_drained() {
            return Err(self.not_drained());
        }
        // A crash here leaves every result on disk and no mark of the stop: the next start tells
        // the instants in between as `skipped_asleep`.
        let told_until_ms = self.told_until_ms;
        Ok(Stopped { told_until_ms }.save(&self.config.data_dir)?)
    }

    async fn select(&mut self) -> Event {
        let wake_at_ms = self.wake_at_ms();
        let has_outgoing = self.outbox.has_outgoing();
        let room = self.uplink.batches.clone();
        let is_measuring = self.stage == Stage::Measuring;
        tokio::select! {
            ended = self.runs.join_next_with_id(), if !self.runs.is_empty() => {
                Event::RunEnded(ended.expect("the set is not empty"))
            }
            report = self.reports.recv() => Event::Spool(report),
            event = self.uplink.events.recv() => Event::Uplink(event),
            permit = room.reserve_owned(), if has_outgoing => Event::Room(permit.ok()),
            () = until_asked(&mut self.shutdown), if is_measuring => Event::StopAsked,
            () = self.clock.sleep_towards(wake_at_ms) => Event::Woke,
        }
    }

    fn apply(&mut self, event: Event) -> Result<(), AgentFault> {
        match event {
            Event::RunEnded(ended) => self.run_ended(ended),
            Event::Spool(Some(report)) => self.spooled(report)?,
            Event::Spool(None) => return Err(AgentFault::PartEnded { part: "spool" }),
            Event::Uplink(Some(event)) => self.uplinked(event)?,
            Event::Uplink(None) | Event::Room(None) => {
                return Err(AgentFault::PartEnded { part: "uplink" });
            }
            Event::Room(Some(permit)) => {
                if let Some(batch) = self.outbox.take_outgoing() {
                    permit.send(batch);
                }
            }
            Event::StopAsked => self.stop(),
            Event::Woke => {}
        }
        Ok(())
    }

    /// Does whatever is due now; afterwards there is nothing to do but wait.
    fn settle(&mut self) -> Result<(), AgentFault> {
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
                Ok(()) => self.start_run(due),
                Err(reason) => {
                    self.metrics.add(Counter::InstantsMissed, 1);
                    self.record(Finished::of_skipped(&due, reason));
                }
            }
        }
    }

    fn start_run(&mut self, due: Due) {
        let (checks, clock, planned) =
            (self.checks.clone(), self.clock.clone(), due.planned.clone());
        let (scheduled_at_ms, metrics) = (due.scheduled_at_ms, self.metrics.clone());
        let task = self.runs.spawn(async move {
            // How late we are is measured where the run really starts: a busy agent shows.
            let lag_us = clock.unix_us().saturating_sub(scheduled_at_ms * 1_000);
            metrics.count_start(lag_us);
            let mut observation = checks.run(&planned.check).await;
            let value = i64::try_from(lag_us).unwrap_or(i64::MAX);
            let lag = Measurement { kind: MeasurementKind::StartLagUs, value };
            observation.measurements.push(lag);
            observation
        });
        self.due_of.insert(task.id(), due);
    }

    fn run_ended(&mut self, ended: Result<(Id, Observation), JoinError>) {
        let (id, observation) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), cut_short(&error)),
        };
        let Some(due) = self.due_of.remove(&id) else { return };
        self.running.finished(&due.planned.name);
        self.record(Finished::of_run(&due, observation));
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
            if !self.keeper.order(order) {
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
                specs.save(&self.config.data_dir)?;
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
                self.runs.abort_all();
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

    fn wake_at_ms(&self) -> u64 {
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

/// A run that did not come to an end: cut by us, or by its own panic.
fn cut_short(error: &JoinError) -> Observation {
    let (reason, detail) = match error.is_cancelled() {
        true => (UnknownReason::Cancelled, "the agent stopped".to_string()),
        false => (UnknownReason::AgentFault, format!("the check panicked: {error}")),
    };
    let (outcome, measurements) = (Outcome::Unknown(reason), Vec::new());
    Observation { outcome, duration_us: 0, measurements, detail }
}

/// Returns when the owner asks to stop, or is gone.
async fn until_asked(shutdown: &mut watch::Receiver<bool>) {
    // An owner that is gone can never ask; stopping is what it would want.
    let _ = shutdown.wait_for(|asked| *asked).await;
}

#[cfg(test)]
mod tests;
