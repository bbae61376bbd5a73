//! The loop: wait for one thing, let the [`Core`] apply it and bring everything back into order,
//! wait again. What takes time happens in tasks (checks), on the spool's thread, and in the uplink.

use std::collections::HashMap;
use std::path::PathBuf;

use proofmark_evidence::{
    AgentName, Hash, Measurement, MeasurementKind, Outcome, SealedBatch, SigningKey, UnknownReason,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::core::{Core, CoreParts, Hands, Happened};
use super::stopped::Stopped;
use super::{AgentFault, Start};
use crate::checks::{Checks, Observation};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::schedule::Due;
use crate::specs::SpecSet;
use crate::spool::{Keeper, Order, Report, SpoolFault};
use crate::uplink::{UplinkEvent, UplinkHandle};

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

/// The one thing that was waited for.
enum Event {
    Happened(Happened),
    /// A run that the core does not know ended: nothing follows.
    Nothing,
    /// The uplink takes one more batch.
    Room(mpsc::OwnedPermit<SealedBatch>),
    /// A part that should live as long as the loop is gone.
    PartEnded(&'static str),
}

pub(super) struct EventLoop {
    core: Core<Tasks>,
    clock: Clock,
    reports: mpsc::Receiver<Report>,
    uplink: UplinkHandle,
    shutdown: watch::Receiver<bool>,
}

/// The core's hands: tasks for checks, a thread for the spool, files for specs.
struct Tasks {
    clock: Clock,
    checks: Checks,
    metrics: Metrics,
    runs: JoinSet<Observation>,
    due_of: HashMap<Id, Due>,
    keeper: Keeper,
    data_dir: PathBuf,
}

impl EventLoop {
    pub(super) fn new(parts: Parts) -> EventLoop {
        let Parts { config, clock, agent, spool, metrics, .. } = parts;
        tracing::info!(%agent, "agent ready");
        let hands = Tasks {
            clock: clock.clone(),
            checks: parts.checks,
            metrics: metrics.clone(),
            runs: JoinSet::new(),
            due_of: HashMap::new(),
            keeper: spool.keeper,
            data_dir: config.data_dir,
        };
        let core = CoreParts {
            clock: clock.clone(),
            log_id: parts.log_id,
            agent,
            epoch: parts.epoch,
            key: parts.key,
            metrics,
            found: spool.found,
            stopped: parts.stopped,
            specs: parts.specs,
            batch_age_ms_max: config.batch_age_ms_max,
            batch_results_max: config.batch_results_max,
            concurrent_checks_max: config.concurrent_checks_max,
        };
        let (uplink, reports, shutdown) = (parts.uplink, spool.reports, parts.shutdown);
        EventLoop { core: Core::new(core, hands), clock, reports, uplink, shutdown }
    }

    /// Runs until stopped and drained, or until a fault that a restart must mend.
    pub(super) async fn run(mut self) -> Result<(), AgentFault> {
        self.core.settle()?;
        while !self.core.is_done() {
            match self.select().await {
                Event::Happened(happened) => self.core.apply(happened)?,
                Event::Nothing => {}
                Event::Room(permit) => {
                    if let Some(batch) = self.core.take_outgoing() {
                        permit.send(batch);
                    }
                }
                Event::PartEnded(part) => return Err(AgentFault::PartEnded { part }),
            }
            self.core.settle()?;
        }
        let stopped = self.core.finish()?;
        // A crash here leaves every result on disk and no mark of the stop: the next start tells
        // the instants in between as `skipped_asleep`.
        Ok(stopped.save(&self.core.hands().data_dir)?)
    }

    async fn select(&mut self) -> Event {
        let wake_at_ms = self.core.wake_at_ms();
        let has_outgoing = self.core.has_outgoing();
        let is_measuring = self.core.is_measuring();
        let room = self.uplink.batches.clone();
        let hands = self.core.hands();
        tokio::select! {
            ended = hands.runs.join_next_with_id(), if !hands.runs.is_empty() => {
                let ended = ended.expect("the set is not empty");
                hands.ended(ended).map_or(Event::Nothing, Event::Happened)
            }
            report = self.reports.recv() => {
                let happened = |report| Event::Happened(Happened::Spool(report));
                report.map_or(Event::PartEnded("spool"), happened)
            }
            event = self.uplink.events.recv() => {
                let happened = |event: UplinkEvent| Event::Happened(Happened::Uplink(event));
                event.map_or(Event::PartEnded("uplink"), happened)
            }
            permit = room.reserve_owned(), if has_outgoing => {
                permit.map_or(Event::PartEnded("uplink"), Event::Room)
            }
            () = until_asked(&mut self.shutdown), if is_measuring => {
                Event::Happened(Happened::StopAsked)
            }
            () = self.clock.sleep_towards(wake_at_ms) => Event::Happened(Happened::Woke),
        }
    }
}

impl Tasks {
    fn ended(&mut self, ended: Result<(Id, Observation), JoinError>) -> Option<Happened> {
        let (id, observation) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), cut_short(&error)),
        };
        Some(Happened::RunEnded(self.due_of.remove(&id)?, observation))
    }
}

impl Hands for Tasks {
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

    fn cancel_runs(&mut self) {
        self.runs.abort_all();
    }

    fn order(&mut self, order: Order) -> bool {
        self.keeper.order(order)
    }

    fn keep_specs(&mut self, specs: &SpecSet) -> Result<(), SpoolFault> {
        specs.save(&self.data_dir)
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
