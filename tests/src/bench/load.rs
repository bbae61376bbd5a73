//! The load: agents that enrol with real tokens and send what they sign through the agent's own
//! uplink, as fast as they are acknowledged or at a given pace.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proofmark_agent::Clock as AgentClock;
use proofmark_agent::identity::Identity;
use proofmark_agent::uplink::{self, RefusedAction, UplinkConfig, UplinkEvent, UplinkHandle};
use proofmark_evidence::{Header, SealedBatch};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::clock::Clock;
use super::enrol::enrol;
use super::plan::Plan;
use super::series::{Series, Whose};
use crate::installation::Installation;
use crate::wait;

/// How long all agents may take to be connected.
const CONNECTED: Duration = Duration::from_secs(300);
/// Agents that begin to connect at once: handshakes are queued by the kernel beyond this.
const CONNECTING: usize = 64;

/// Agents, connected, until they are stopped.
pub(super) struct Load {
    runtime: Runtime,
    clock: Clock,
    orders: watch::Sender<Orders>,
    connected: Arc<AtomicU64>,
    agents: JoinSet<Result<Tally, String>>,
}

/// What all sending agents do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orders {
    /// Be connected.
    Wait,
    /// A batch whenever one is acknowledged.
    Flood,
    /// A batch each so many microseconds.
    Pace(u64),
    /// Send no more, wait for every ack, end.
    Stop,
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

/// Enrolled agents that are not connected yet.
pub(super) struct Enrolled {
    runtime: Runtime,
    addresses: Vec<String>,
    agents: Vec<(Arc<Identity>, Series)>,
    /// The first so many send.
    senders: usize,
}

impl Enrolled {
    /// Enrols the plan's agents and lets the backlog grow; meanwhile they sign ahead. Those that say
    /// nothing are further connections of the same agents: a cluster keeps a thousand tokens.
    pub(super) fn new(cluster: &Installation, plan: &Plan) -> Result<Enrolled, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("load")
            .enable_all()
            .build()
            .map_err(|why| why.to_string())?;
        let addresses: Vec<String> =
            cluster.replicas.iter().map(|replica| replica.grpc.to_string()).collect();
        let identities = runtime.block_on(enrol(cluster, &addresses, plan.agents))?;
        let identities: Vec<_> = identities.into_iter().map(Arc::new).collect();
        let now_ms = AgentClock::system().unix_ms();
        let with_series = |identity: &Arc<Identity>| {
            let series = Series::new(Whose::from(&**identity), plan, now_ms)?;
            Ok::<_, String>((Arc::clone(identity), series))
        };
        let senders = identities.len();
        let all = identities.iter().cycle().take(senders + plan.idle);
        let agents = all.map(with_series).collect::<Result<_, _>>()?;
        wait::let_pass(Duration::from_secs(plan.backlog_s));
        Ok(Enrolled { runtime, addresses, agents, senders })
    }

    /// Connects them all. The first of them will send, the rest will not.
    pub(super) fn connect(self, plan: &Plan) -> Result<Load, String> {
        let clock = Clock::start();
        let (orders, ordered) = watch::channel(Orders::Wait);
        let connected = Arc::new(AtomicU64::new(0));
        let mut agents = JoinSet::new();
        for (at, (identity, mut series)) in self.agents.into_iter().enumerate() {
            let sends = at < self.senders;
            let ahead =
                if sends { sign_ahead(&mut series, plan.signed_ahead)? } else { VecDeque::new() };
            let mut addresses = self.addresses.clone();
            addresses.rotate_left(at % self.addresses.len());
            let agent = Agent {
                identity,
                addresses,
                series,
                ahead,
                in_flight: if sends { plan.in_flight } else { 0 },
                phase: (at as u64, self.senders as u64),
                clock,
                connected: Arc::clone(&connected),
            };
            agents.spawn_on(agent.run(ordered.clone()), self.runtime.handle());
            let begun = (at + 1) as u64;
            wait::until("agents connect", CONNECTED, || {
                (begun < connected.load(Ordering::Relaxed) + CONNECTING as u64).then_some(())
            });
        }
        let all = agents.len() as u64;
        wait::until("all agents connected", CONNECTED, || {
            (connected.load(Ordering::Relaxed) >= all).then_some(())
        });
        Ok(Load { runtime: self.runtime, clock, orders, connected, agents })
    }
}

fn sign_ahead(series: &mut Series, count: usize) -> Result<VecDeque<SealedBatch>, String> {
    let now_ms = AgentClock::system().unix_ms();
    (0..count).map(|_| series.seal_next(now_ms)).collect()
}

impl Load {
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn order(&self, orders: Orders) {
        self.orders.send_replace(orders);
    }

    /// Connections made since the start, lost ones included.
    pub(super) fn connections(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// An agent ends only when it is stopped, or for a fault that would spoil the figures.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match self.agents.try_join_next() {
            None => Ok(()),
            Some(Ok(Err(why))) => Err(why),
            Some(ended) => Err(format!("an agent ended early: {}", ended.is_ok())),
        }
    }

    /// Sends no more, waits for every ack, and says what was acknowledged to those who sent.
    pub(super) fn stop(mut self) -> Result<Vec<Tally>, String> {
        self.order(Orders::Stop);
        self.runtime.block_on(async {
            let mut tallies = Vec::new();
            while let Some(ended) = self.agents.join_next().await {
                tallies.push(ended.map_err(|why| why.to_string())??);
            }
            tallies.retain(|tally| tally.seq_end > 1);
            tallies.sort_by(|a, b| a.agent.cmp(&b.agent));
            Ok(tallies)
        })
    }
}

struct Agent {
    identity: Arc<Identity>,
    addresses: Vec<String>,
    series: Series,
    ahead: VecDeque<SealedBatch>,
    in_flight: usize,
    /// Which of how many: paced agents send one after the other, not all at once.
    phase: (u64, u64),
    clock: Clock,
    connected: Arc<AtomicU64>,
}

impl Agent {
    async fn run(mut self, mut orders: watch::Receiver<Orders>) -> Result<Tally, String> {
        let mut tasks = JoinSet::new();
        let UplinkHandle { batches, mut events } = self.connect(&mut tasks);
        let mut window = Window { pending: VecDeque::new(), handed: None };
        let mut tally = Tally::new(&self.identity);
        let mut ordered = Orders::Wait;
        let mut due_us = 0;
        while !(ordered == Orders::Stop && window.pending.is_empty()) {
            let has_room = window.pending.len() < self.in_flight;
            let turn = turn(ordered, due_us, self.clock);
            tokio::select! {
                event = events.recv() => {
                    let event = event.ok_or("the uplink ended")?;
                    if matches!(event, UplinkEvent::Connected { .. }) {
                        self.connected.fetch_add(1, Ordering::Relaxed);
                    }
                    tally.take(event, &mut window, self.clock.now_us())?;
                }
                place = batches.reserve(), if window.next().is_some() => {
                    let place = place.map_err(|_| "the uplink ended")?;
                    window.hand_over(place, self.clock.now_us());
                }
                () = turn, if has_room => {
                    window.push(self.next_batch()?)?;
                    tally.repeated = self.series.repeated;
                    due_us = self.next_due(ordered, due_us);
                }
                Ok(()) = orders.changed() => {
                    ordered = *orders.borrow_and_update();
                    due_us = self.first_due(ordered);
                }
            }
        }
        drop(batches);
        drop(events);
        while tasks.join_next().await.is_some() {}
        Ok(tally)
    }

    fn next_batch(&mut self) -> Result<SealedBatch, String> {
        match self.ahead.pop_front() {
            Some(batch) => Ok(batch),
            None => self.series.seal_next(AgentClock::system().unix_ms()),
        }
    }

    fn first_due(&self, ordered: Orders) -> u64 {
        let Orders::Pace(each_us) = ordered else { return 0 };
        self.clock.now_us() + each_us * self.phase.0 / self.phase.1.max(1)
    }

    /// Who fell behind sends at once, and then at the pace again.
    fn next_due(&self, ordered: Orders, due_us: u64) -> u64 {
        let Orders::Pace(each_us) = ordered else { return 0 };
        (due_us + each_us).max(self.clock.now_us().saturating_sub(each_us))
    }

    fn connect(&self, tasks: &mut JoinSet<()>) -> UplinkHandle {
        let config = UplinkConfig {
            addresses: self.addresses.clone(),
            // The load needs no specs: it knows its checks.
            spec_revision: 1,
            clock: AgentClock::system(),
            random: Box::new(|| 0),
        };
        uplink::start(config, Arc::clone(&self.identity), tasks)
    }
}

/// Resolves when the next batch is to be sent.
async fn turn(ordered: Orders, due_us: u64, clock: Clock) {
    match ordered {
        Orders::Wait | Orders::Stop => std::future::pending().await,
        Orders::Flood => {}
        Orders::Pace(_) => {
            let left_us = due_us.saturating_sub(clock.now_us());
            tokio::time::sleep(Duration::from_micros(left_us)).await;
        }
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
