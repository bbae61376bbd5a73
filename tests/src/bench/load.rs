//! The load: agents that enrol with real tokens and send what they sign through the agent's own
//! uplink, as fast as they are acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proofmark_agent::Clock as AgentClock;
use proofmark_agent::identity::{Identity, IdentityConfig};
use proofmark_agent::uplink::{self, RefusedAction, UplinkConfig, UplinkEvent, UplinkHandle};
use proofmark_evidence::{AgentName, Header, SealedBatch};
use proofmark_proto::JoinToken;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::clock::Clock;
use super::plan::Plan;
use super::series::{Series, Whose};
use crate::installation::Installation;
use crate::wait;

/// Batches signed ahead of their sending, for each agent.
const SEALED_AHEAD: usize = 4;

/// Agents under load, until they are stopped.
pub(super) struct Load {
    runtime: Runtime,
    clock: Clock,
    stop: watch::Sender<bool>,
    agents: JoinSet<Result<Tally, String>>,
}

/// What one agent was told.
pub(super) struct Tally {
    pub(super) agent: String,
    pub(super) acks: Vec<Acked>,
    /// Exclusive: every result below it is acknowledged.
    pub(super) seq_end: u64,
    pub(super) reconnects: u64,
    pub(super) retries: u64,
    /// Results signed so far at an instant that was sent before.
    pub(super) repeated: u64,
}

/// One batch's ack.
#[derive(Clone, Copy)]
pub(super) struct Acked {
    pub(super) at_us: u64,
    /// From the uplink's taking the batch to its ack.
    pub(super) latency_us: u64,
    pub(super) results: u64,
}

/// A batch of this agent that is not acknowledged yet.
struct Pending {
    batch: SealedBatch,
    /// When the uplink first took it.
    at_us: Option<u64>,
    seq_end: u64,
    results: u64,
}

impl Load {
    pub(super) fn start(cluster: &Installation, plan: &Plan) -> Result<Load, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("load-send")
            .enable_all()
            .build()
            .map_err(|why| why.to_string())?;
        let (stop, stopped) = watch::channel(false);
        let clock = Clock::start();
        let addresses: Vec<String> =
            cluster.replicas.iter().map(|replica| replica.grpc.to_string()).collect();
        let mut enrolled = Vec::new();
        for at in 0..plan.agents {
            let identity = runtime.block_on(enrol(cluster, &format!("load-{at}"), &addresses))?;
            let series = Series::new(Whose::from(&identity), plan, AgentClock::system().unix_ms())?;
            enrolled.push((identity, series));
        }
        wait::let_pass(Duration::from_secs(plan.backlog_s));
        let mut agents = JoinSet::new();
        for (at, (identity, series)) in enrolled.into_iter().enumerate() {
            let signed = start_signer(series)?;
            let agent = Agent {
                identity: Arc::new(identity),
                addresses: addresses.clone(),
                at,
                in_flight: plan.in_flight,
                clock,
            };
            agents.spawn_on(agent.run(signed, stopped.clone()), runtime.handle());
        }
        Ok(Load { runtime, clock, stop, agents })
    }

    pub(super) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// An agent ends only when it is stopped, or for a fault that would spoil the figures.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match self.agents.try_join_next() {
            None => Ok(()),
            Some(Ok(Err(why))) => Err(why),
            Some(ended) => Err(format!("an agent ended early: {}", ended.is_ok())),
        }
    }

    /// Sends no more, waits for every ack, and says what was acknowledged.
    pub(super) fn stop(mut self) -> Result<Vec<Tally>, String> {
        self.stop.send_replace(true);
        self.runtime.block_on(async {
            let mut tallies = Vec::new();
            while let Some(ended) = self.agents.join_next().await {
                tallies.push(ended.map_err(|why| why.to_string())??);
            }
            tallies.sort_by(|a, b| a.agent.cmp(&b.agent));
            Ok(tallies)
        })
    }
}

async fn enrol(
    cluster: &Installation,
    name: &str,
    addresses: &[String],
) -> Result<Identity, String> {
    let token: JoinToken = cluster.token(name).parse().map_err(|fault| format!("{fault}"))?;
    let config = IdentityConfig {
        data_dir: &cluster.dir().join(name),
        agent: &AgentName::parse(name).map_err(|fault| fault.to_string())?,
        aggregators: addresses,
        token: Some(&token),
    };
    let identity = Identity::load_or_enrol(&config, &AgentClock::system()).await;
    identity.map_err(|fault| format!("{name}: {fault}"))
}

/// One thread that signs this agent's batches, a few ahead; it ends with its receiver.
fn start_signer(mut series: Series) -> Result<mpsc::Receiver<Signed>, String> {
    let clock = AgentClock::system();
    let (sender, receiver) = mpsc::channel(SEALED_AHEAD);
    let sign = move || {
        let mut is_wanted = true;
        while is_wanted {
            let batch = series.seal_next(clock.unix_ms());
            let signed = batch.map(|batch| (batch, series.repeated));
            is_wanted = sender.blocking_send(signed).is_ok();
        }
    };
    let thread = thread::Builder::new().name("load-sign".to_owned()).spawn(sign);
    thread.map(|_| receiver).map_err(|why| why.to_string())
}

/// A batch, and how many results of all so far repeat an instant.
type Signed = Result<(SealedBatch, u64), String>;

struct Agent {
    identity: Arc<Identity>,
    addresses: Vec<String>,
    at: usize,
    in_flight: usize,
    clock: Clock,
}

impl Agent {
    async fn run(
        self,
        mut signed: mpsc::Receiver<Signed>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<Tally, String> {
        let mut tasks = JoinSet::new();
        let UplinkHandle { batches, mut events } = self.connect(&mut tasks);
        let mut window = Window { pending: VecDeque::new(), handed: None };
        let mut tally = Tally::new(&self.identity);
        let mut is_stopping = false;
        while !(is_stopping && window.pending.is_empty()) {
            let has_room = window.pending.len() < self.in_flight && !is_stopping;
            tokio::select! {
                event = events.recv() => {
                    let event = event.ok_or("the uplink ended")?;
                    tally.take(event, &mut window, self.clock.now_us())?;
                }
                place = batches.reserve(), if window.next().is_some() => {
                    let place = place.map_err(|_| "the uplink ended")?;
                    window.hand_over(place, self.clock.now_us());
                }
                batch = signed.recv(), if has_room => {
                    let (batch, repeated) = batch.ok_or("the signer ended")??;
                    window.push(batch)?;
                    tally.repeated = repeated;
                }
                _ = stopped.wait_for(|raised| *raised), if !is_stopping => is_stopping = true,
            }
        }
        drop(batches);
        drop(events);
        while tasks.join_next().await.is_some() {}
        Ok(tally)
    }

    /// Agents begin at different replicas: two of three are followers, and forward.
    fn connect(&self, tasks: &mut JoinSet<()>) -> UplinkHandle {
        let at = self.at as u64;
        let config = UplinkConfig {
            addresses: self.addresses.clone(),
            spec_revision: 0,
            clock: AgentClock::system(),
            random: Box::new(move || at),
        };
        uplink::start(config, Arc::clone(&self.identity), tasks)
    }
}

/// What an agent's spool is to its uplink: everything that is not acknowledged, so that it can be
/// handed in again when the uplink asks.
struct Window {
    /// Oldest first.
    pending: VecDeque<Pending>,
    /// How many of them, from the front, the uplink has on this connection; `None` without one.
    handed: Option<usize>,
}

impl Window {
    fn push(&mut self, batch: SealedBatch) -> Result<(), String> {
        let Ok(Header::Batch(header)) = batch.leaf.header() else {
            return Err("the signer made something else than a batch".to_owned());
        };
        let (seq_end, results) = (header.seq_end(), header.count.into());
        self.pending.push_back(Pending { batch, at_us: None, seq_end, results });
        Ok(())
    }

    fn next(&self) -> Option<&Pending> {
        self.pending.get(self.handed?)
    }

    fn hand_over(&mut self, place: mpsc::Permit<'_, SealedBatch>, now_us: u64) {
        let Some(at) = self.handed else { return };
        let Some(next) = self.pending.get_mut(at) else { return };
        next.at_us.get_or_insert(now_us);
        place.send(next.batch.clone());
        self.handed = Some(at + 1);
    }

    /// Takes out what is accepted, that is what ends at or below `seq_end`.
    fn settle(&mut self, seq_end: u64) -> Option<Pending> {
        let settled = self.pending.pop_front_if(|pending| pending.seq_end <= seq_end)?;
        self.handed = self.handed.map(|handed| handed.saturating_sub(1));
        Some(settled)
    }
}

impl Tally {
    fn new(identity: &Identity) -> Tally {
        let agent = identity.agent.to_string();
        Tally { agent, acks: Vec::new(), seq_end: 1, reconnects: 0, retries: 0, repeated: 0 }
    }

    fn take(&mut self, event: UplinkEvent, window: &mut Window, now_us: u64) -> Result<(), String> {
        match event {
            UplinkEvent::Acked { seq_end, .. } => self.settle(window, seq_end, now_us),
            UplinkEvent::Connected { next_seq, .. } => {
                self.settle(window, next_seq, now_us);
                window.handed = Some(0);
            }
            UplinkEvent::Disconnected { .. } => {
                self.reconnects += 1;
                window.handed = None;
            }
            // A follower that has not yet applied the enrolment; the uplink comes again.
            UplinkEvent::Refused { action: RefusedAction::Retry, .. } => self.retries += 1,
            UplinkEvent::Refused { action: RefusedAction::ResendFrom { seq }, .. }
                if seq >= self.seq_end =>
            {
                self.retries += 1;
                self.settle(window, seq, now_us);
                window.handed = Some(0);
            }
            // Whoever asks for what was acknowledged has lost it.
            UplinkEvent::Refused { slug, expected, got, .. } => {
                return Err(format!("{}: {slug}: expected {expected}, got {got}", self.agent));
            }
            UplinkEvent::Specs { .. } | UplinkEvent::Seen(_) => {}
        }
        Ok(())
    }

    fn settle(&mut self, window: &mut Window, seq_end: u64, now_us: u64) {
        while let Some(settled) = window.settle(seq_end) {
            let latency_us = now_us.saturating_sub(settled.at_us.unwrap_or(now_us));
            self.acks.push(Acked { at_us: now_us, latency_us, results: settled.results });
            self.seq_end = settled.seq_end;
        }
    }
}
