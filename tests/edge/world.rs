//! One agent, one agent port, and the network between them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proofmark_agent::identity::{Identity, IdentityConfig};
use proofmark_agent::uplink::{
    Network, RefusedAction, UplinkConfig, UplinkEvent, UplinkHandle, start_over,
};
use proofmark_aggregator::ingest::door::Listener;
use proofmark_aggregator::ingest::{AgentDirectory as _, Counters, SpecSnapshot, serve};
use proofmark_evidence::limits::{BATCH_PAYLOAD_BYTES_MAX, RESULTS_COUNT_MAX};
use proofmark_evidence::{AgentName, CheckResult, FailReason, Outcome, SealedBatch};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

use crate::bench::Bench;
use crate::client::RawAgent;

pub const BATCHES: usize = 40;
pub const LARGE_BATCHES: usize = 4;
/// One new batch each.
const PACE_MS: u64 = 100;
pub const LATENCY_MS_MAX: u64 = 20;
const PORT: u16 = 7443;
const SPECS_BYTES: usize = 512 * 1024;
/// A gateway and an agent, as names on the simulated network.
const GATEWAY: &str = "gateway";
const AGENT: &str = "agent";

/// What the agent was told and did, each with its simulated instant.
type Story = Arc<Mutex<Vec<(u64, Line)>>>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    HandedIn(u64),
    HungUp,
    Told(UplinkEvent),
}

pub struct Edge {
    pub bench: Bench,
    sim: Sim<'static>,
    story: Story,
    drain: watch::Sender<bool>,
    ends: Vec<u64>,
}

/// What is unlike the ordinary agent and gateway.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// The gateway accepts connections and never says a word.
    is_gateway_mute: bool,
    /// Every batch is as large as one may be.
    is_large: bool,
    /// The agent takes no news from that instant to that one.
    deaf_ms: Option<(u64, u64)>,
    /// So long after it handed in a batch the agent's whole uplink is gone, so many times.
    hangs_up: Option<(u64, usize)>,
}

impl Edge {
    pub fn new(seed: u64) -> Edge {
        Edge::build(seed, BATCHES, Manner::default())
    }

    /// Its gateway accepts connections and never says a word.
    pub fn with_mute_gateway(seed: u64) -> Edge {
        Edge::build(seed, BATCHES, Manner { is_gateway_mute: true, ..Manner::default() })
    }

    /// Its agent's batches are as large as a batch may be.
    pub fn with_large_batches(seed: u64) -> Edge {
        Edge::build(seed, LARGE_BATCHES, Manner { is_large: true, ..Manner::default() })
    }

    /// As [`Edge::with_large_batches`]; so long after each of the first ones was handed in, the
    /// agent's connection is gone.
    pub fn with_hang_ups(seed: u64, after_ms: u64, times: usize) -> Edge {
        let hangs_up = Some((after_ms, times));
        Edge::build(seed, LARGE_BATCHES, Manner { is_large: true, hangs_up, ..Manner::default() })
    }

    /// Its agent takes no news between these two instants.
    pub fn with_deaf_agent(seed: u64, from_ms: u64, to_ms: u64) -> Edge {
        let deaf_ms = Some((from_ms, to_ms));
        Edge::build(seed, BATCHES, Manner { deaf_ms, ..Manner::default() })
    }

    fn build(seed: u64, count: usize, manner: Manner) -> Edge {
        let mut bench = Bench::new();
        // The one it enrolled at is no part of the simulated network.
        let mut identity = enrolled(&mut bench);
        identity.addresses.clear();
        let identity = Arc::new(identity);
        let batches = sealed(&bench, &identity, count, manner.is_large);
        let ends = batches.iter().map(seq_end).collect();
        let mut sim = Builder::new()
            .rng_seed(seed)
            .simulation_duration(Duration::from_secs(600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(LATENCY_MS_MAX))
            .tcp_capacity(4_096)
            .build();
        let drain = watch::Sender::new(false);
        match manner.is_gateway_mute {
            true => sim.host(GATEWAY, mute),
            false => {
                let handles = bench.handles(&format!("{GATEWAY}:{PORT}"), Counters::default());
                let drain = drain.subscribe();
                sim.host(GATEWAY, move || gateway(handles.clone(), drain.clone()));
            }
        }
        let story = Story::default();
        let told = Arc::clone(&story);
        let agent = Agent { identity, batches, story: told, manner };
        sim.host(AGENT, move || agent.clone().run());
        Edge { bench, sim, story, drain, ends }
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.sim.elapsed() + Duration::from_millis(ms);
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    /// Runs until the agent has lost its connection; says how long that took.
    pub fn run_until_disconnected(&mut self) -> u64 {
        let (before, start) = (self.disconnects(), self.now_ms());
        while self.disconnects() == before {
            assert!(self.now_ms() - start < 120_000, "never noticed: {}", self.story());
            self.sim.step().unwrap();
        }
        self.now_ms() - start
    }

    /// Runs until everything is acknowledged, and checks that each batch counts once.
    pub fn run_until_delivered(&mut self, patience_ms: u64) {
        let end = self.ends.last().copied().unwrap();
        let deadline = self.now_ms() + patience_ms + self.ends.len() as u64 * PACE_MS;
        while self.told_up_to() != end {
            assert!(self.now_ms() < deadline, "not delivered in time:\n{}", self.story());
            self.sim.step().unwrap();
        }
        let acks: Vec<u64> = self.acks().iter().map(|ack| ack.1).collect();
        assert!(acks.is_sorted_by(|one, next| one < next), "acknowledged twice: {acks:?}");
        let agent = AgentName::parse("web-1").unwrap();
        assert_eq!(self.bench.consensus.find(&agent).unwrap().next_seq, end);
    }

    pub fn cut(&mut self) {
        self.sim.partition(AGENT, GATEWAY);
    }

    pub fn heal(&mut self) {
        self.sim.repair(AGENT, GATEWAY);
    }

    pub fn cut_answers(&mut self) {
        self.sim.partition_oneway(GATEWAY, AGENT);
    }

    pub fn heal_answers(&mut self) {
        self.sim.repair_oneway(GATEWAY, AGENT);
    }

    pub fn hold(&mut self) {
        self.sim.hold(AGENT, GATEWAY);
    }

    pub fn release(&mut self) {
        self.sim.release(AGENT, GATEWAY);
    }

    pub fn crash_gateway(&mut self) {
        self.sim.crash(GATEWAY);
    }

    pub fn bounce_gateway(&mut self) {
        self.drain.send_replace(false);
        self.sim.bounce(GATEWAY);
    }

    /// So many revisions of the specs, each as large as all that is in force may be.
    pub fn change_specs(&mut self, revisions: u64) {
        for revision in 1..=revisions {
            let text = "#".repeat(SPECS_BYTES);
            let effective_at_ms = self.bench.clock.unix_ms();
            let specs = SpecSnapshot { revision, effective_at_ms, text: text.into() };
            self.bench.specs.send_replace(specs);
            self.run(PACE_MS);
        }
    }

    pub fn drain_gateway(&mut self) {
        self.drain.send_replace(true);
    }

    fn now_ms(&self) -> u64 {
        millis(self.sim.elapsed())
    }

    fn lines(&self) -> Vec<(u64, Line)> {
        self.story.lock().unwrap().clone()
    }

    /// One line each, for comparison and for people.
    pub fn story(&self) -> String {
        self.lines().iter().map(|(ms, line)| format!("{ms:6} {line:?}\n")).collect()
    }

    pub fn handed_in(&self) -> usize {
        self.lines().iter().filter(|(_, line)| matches!(line, Line::HandedIn(_))).count()
    }

    fn disconnected_ms(&self) -> Vec<u64> {
        let lines = self.lines().into_iter();
        let is_end = |line: &Line| matches!(line, Line::Told(UplinkEvent::Disconnected { .. }));
        lines.filter(|(_, line)| is_end(line)).map(|(ms, _)| ms).collect()
    }

    pub fn hang_ups(&self) -> usize {
        self.lines().iter().filter(|(_, line)| *line == Line::HungUp).count()
    }

    pub fn disconnects(&self) -> usize {
        self.disconnected_ms().len()
    }

    pub fn gaps_between_disconnects(&self) -> Vec<u64> {
        self.disconnected_ms().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Instant and end of each.
    fn acks(&self) -> Vec<(u64, u64)> {
        let lines = self.lines().into_iter();
        lines
            .filter_map(|(ms, line)| match line {
                Line::Told(UplinkEvent::Acked { seq_end, .. }) => Some((ms, seq_end)),
                _ => None,
            })
            .collect()
    }

    /// Everything below is in: by an ack, or by the welcome after an ack that was lost.
    fn told_up_to(&self) -> u64 {
        let told = self.lines().into_iter().filter_map(|(_, line)| match line {
            Line::Told(UplinkEvent::Acked { seq_end, .. }) => Some(seq_end),
            Line::Told(UplinkEvent::Connected { next_seq, .. }) => Some(next_seq),
            _ => None,
        });
        told.max().unwrap_or_default()
    }

    pub fn longest_gap_between_acks(&self) -> u64 {
        self.acks().windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or_default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

/// An agent with a real certificate: enrolled over loopback before the simulation begins.
fn enrolled(bench: &mut Bench) -> Identity {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let gateway = bench.open().await;
        let (dir, token) = (tempfile::tempdir().unwrap(), bench.token(None));
        let agent = AgentName::parse("web-1").unwrap();
        let aggregators = [gateway.address.clone()];
        let token = Some(&token);
        let data_dir = dir.path();
        let config = IdentityConfig { data_dir, agent: &agent, aggregators: &aggregators, token };
        let clock = proofmark_agent::Clock::system();
        let identity = Identity::load_or_enrol(&config, &clock).await.unwrap();
        gateway.stop().await;
        identity
    })
}

fn sealed(bench: &Bench, identity: &Identity, count: usize, is_large: bool) -> Vec<SealedBatch> {
    let key = identity.signing_key.clone();
    let mut raw = RawAgent { key, ..RawAgent::unknown(bench, "web-1", 1) };
    let next = || {
        let batch = if is_large { largest(&raw) } else { raw.batch() };
        raw.advance(&batch);
        batch
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// As many results as a batch may have, and next to no byte less than it may.
fn largest(raw: &RawAgent) -> SealedBatch {
    let outcome = Outcome::Fail(FailReason::HttpStatus);
    let result = |detail: &str, at| CheckResult::new(0, at, outcome, detail);
    let one = |len| raw.batch_of(vec![result(&"x".repeat(len), 0)]).payload.len();
    // An offset beyond the first ones takes a byte more.
    let room = BATCH_PAYLOAD_BYTES_MAX / RESULTS_COUNT_MAX - one(128) - 2;
    let detail = "x".repeat(128 + room);
    let results = (0..RESULTS_COUNT_MAX as u32).map(|at| result(&detail, at));
    raw.batch_of(results.collect())
}

fn seq_end(batch: &SealedBatch) -> u64 {
    batch.open().unwrap().header.seq_end()
}

/// The agent's network.
#[derive(Clone)]
struct Simulated;

impl Network for Simulated {
    type Stream = TcpStream;

    async fn dial(&self, address: &str) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}

/// The aggregator's port.
struct SimulatedPort(TcpListener);

impl Listener for SimulatedPort {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }
}

type Handles =
    proofmark_aggregator::ingest::Handles<crate::bench::Consensus, crate::bench::Consensus>;

async fn gateway(handles: Handles, drain: watch::Receiver<bool>) -> turmoil::Result {
    let port = TcpListener::bind(("0.0.0.0", PORT)).await?;
    Ok(serve(SimulatedPort(port), handles, drain).await?)
}

async fn mute() -> turmoil::Result {
    let port = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let mut callers = Vec::new();
    loop {
        callers.push(port.accept().await?);
    }
}

/// What an agent does with its uplink: a new batch now and then, all from where it is told to.
#[derive(Clone)]
struct Agent {
    identity: Arc<Identity>,
    batches: Vec<SealedBatch>,
    story: Story,
    manner: Manner,
}

/// How an uplink's life ends.
#[derive(PartialEq, Eq)]
enum Life {
    /// Its network's host goes down.
    Over,
    HungUp,
}

impl Agent {
    async fn run(self) -> turmoil::Result {
        let starts: Vec<u64> = std::iter::once(1).chain(self.batches.iter().map(seq_end)).collect();
        let mut hang_ups = self.manner.hangs_up.map_or(0, |(_, times)| times);
        let mut sealed_count = 0;
        while self.live(&starts, &mut sealed_count, hang_ups > 0).await? == Life::HungUp {
            hang_ups -= 1;
            self.tell(Line::HungUp);
        }
        Ok(())
    }

    /// One uplink, from its first dialling to its end.
    async fn live(
        &self,
        starts: &[u64],
        sealed_count: &mut usize,
        hangs_up: bool,
    ) -> turmoil::Result<Life> {
        let mut tasks = JoinSet::new();
        let UplinkHandle { batches: queue, mut events } = self.connect(&mut tasks);
        let mut next: Option<usize> = None;
        let mut hang_up_ms: Option<u64> = None;
        let mut due = tokio::time::interval(Duration::from_millis(PACE_MS));
        loop {
            let has_next = next.is_some_and(|next| next < *sealed_count);
            tokio::select! {
                event = events.recv(), if !self.is_deaf() => {
                    let Some(event) = event else { return Ok(Life::Over) };
                    next = place_after(&event, starts, next);
                    self.tell(Line::Told(event));
                }
                place = queue.reserve(), if has_next => {
                    let at = next.unwrap();
                    place?.send(self.batches[at].clone());
                    self.tell(Line::HandedIn(at as u64));
                    next = Some(at + 1);
                    hang_up_ms = hang_up_ms.or(self.hang_up_ms().filter(|_| hangs_up));
                }
                () = until_ms(hang_up_ms), if hang_up_ms.is_some() => {
                    tasks.shutdown().await;
                    return Ok(Life::HungUp);
                }
                _ = due.tick() => *sealed_count = self.batches.len().min(*sealed_count + 1),
            }
        }
    }

    fn connect(&self, tasks: &mut JoinSet<()>) -> UplinkHandle {
        let clock = proofmark_agent::Clock::manual(1_800_000_000_000);
        tasks.spawn(follow_simulated_time(clock.clone()));
        let addresses = vec![format!("{GATEWAY}:{PORT}")];
        // The same draws in every run: what differs between seeds is the network.
        let mut draws = (0_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7);
        let random = Box::new(move || draws.next().unwrap());
        let config = UplinkConfig { addresses, spec_revision: 0, clock, random };
        start_over(Simulated, config, Arc::clone(&self.identity), tasks)
    }

    fn tell(&self, line: Line) {
        self.story.lock().unwrap().push((sim_ms(), line));
    }

    fn is_deaf(&self) -> bool {
        self.manner.deaf_ms.is_some_and(|(from, to)| (from..to).contains(&sim_ms()))
    }

    fn hang_up_ms(&self) -> Option<u64> {
        let (after_ms, _) = self.manner.hangs_up?;
        Some(sim_ms() + after_ms)
    }
}

async fn until_ms(at_ms: Option<u64>) {
    let left_ms = at_ms.unwrap_or_default().saturating_sub(sim_ms());
    sleep(Duration::from_millis(left_ms)).await;
}

/// Which batch is to be handed in next. `starts`: the first number of each, and the end of all.
fn place_after(event: &UplinkEvent, starts: &[u64], next: Option<usize>) -> Option<usize> {
    let place = |seq: &u64| starts.binary_search(seq).unwrap();
    match event {
        UplinkEvent::Connected { next_seq, .. } => Some(place(next_seq)),
        UplinkEvent::Refused { action: RefusedAction::ResendFrom { seq }, .. } => Some(place(seq)),
        UplinkEvent::Disconnected { .. } => None,
        _ => next,
    }
}

fn sim_ms() -> u64 {
    millis(turmoil::sim_elapsed().unwrap())
}

async fn follow_simulated_time(clock: proofmark_agent::Clock) {
    loop {
        sleep(Duration::from_millis(1)).await;
        clock.advance_ms(1);
    }
}
