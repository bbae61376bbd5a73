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
use proofmark_aggregator::ingest::{AgentDirectory as _, Counters, serve};
use proofmark_evidence::{AgentName, SealedBatch};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

use crate::bench::Bench;
use crate::client::RawAgent;

pub const BATCHES: usize = 40;
/// One new batch each.
const PACE_MS: u64 = 100;
const RESULTS_PER_BATCH: u64 = 3;
pub const LATENCY_MS_MAX: u64 = 20;
const PORT: u16 = 7443;
/// A gateway and an agent, as names on the simulated network.
const GATEWAY: &str = "gateway";
const AGENT: &str = "agent";

/// What the agent was told and did, each with its simulated instant.
type Story = Arc<Mutex<Vec<(u64, Line)>>>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    HandedIn(u64),
    Told(UplinkEvent),
}

pub struct Edge {
    pub bench: Bench,
    sim: Sim<'static>,
    story: Story,
    drain: watch::Sender<bool>,
}

impl Edge {
    pub fn new(seed: u64) -> Edge {
        Edge::build(seed, false)
    }

    /// Its gateway accepts connections and never says a word.
    pub fn with_mute_gateway(seed: u64) -> Edge {
        Edge::build(seed, true)
    }

    fn build(seed: u64, is_mute: bool) -> Edge {
        let mut bench = Bench::new();
        // The one it enrolled at is no part of the simulated network.
        let mut identity = enrolled(&mut bench);
        identity.addresses.clear();
        let identity = Arc::new(identity);
        let batches = sealed(&bench, &identity);
        let mut sim = Builder::new()
            .rng_seed(seed)
            .simulation_duration(Duration::from_secs(600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(LATENCY_MS_MAX))
            .tcp_capacity(4_096)
            .build();
        let drain = watch::Sender::new(false);
        match is_mute {
            true => sim.host(GATEWAY, mute),
            false => {
                let handles = bench.handles(&format!("{GATEWAY}:{PORT}"), Counters::default());
                let drain = drain.subscribe();
                sim.host(GATEWAY, move || gateway(handles.clone(), drain.clone()));
            }
        }
        let story = Story::default();
        let told = Arc::clone(&story);
        sim.host(AGENT, move || agent(Arc::clone(&identity), batches.clone(), Arc::clone(&told)));
        Edge { bench, sim, story, drain }
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
        let end = BATCHES as u64 * RESULTS_PER_BATCH + 1;
        let deadline = self.now_ms() + patience_ms + BATCHES as u64 * PACE_MS;
        while self.acks().last().map(|ack| ack.1) != Some(end) {
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

fn sealed(bench: &Bench, identity: &Identity) -> Vec<SealedBatch> {
    let key = identity.signing_key.clone();
    let mut raw = RawAgent { key, ..RawAgent::unknown(bench, "web-1", 1) };
    let next = || {
        let batch = raw.batch();
        raw.advance(&batch);
        batch
    };
    std::iter::repeat_with(next).take(BATCHES).collect()
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
async fn agent(
    identity: Arc<Identity>,
    batches: Vec<SealedBatch>,
    story: Story,
) -> turmoil::Result {
    let clock = proofmark_agent::Clock::manual(1_800_000_000_000);
    let mut tasks = JoinSet::new();
    tasks.spawn(follow_simulated_time(clock.clone()));
    let addresses = vec![format!("{GATEWAY}:{PORT}")];
    // The same draws in every run: what differs between seeds is the network.
    let mut draws = (0_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7);
    let random = Box::new(move || draws.next().unwrap());
    let config = UplinkConfig { addresses, spec_revision: 0, clock, random };
    let UplinkHandle { batches: queue, mut events } =
        start_over(Simulated, config, identity, &mut tasks);
    let tell = |line| {
        let ms = millis(turmoil::sim_elapsed().unwrap());
        story.lock().unwrap().push((ms, line));
    };
    let mut sealed_count = 0;
    let mut next: Option<usize> = None;
    let mut due = tokio::time::interval(Duration::from_millis(PACE_MS));
    loop {
        let has_next = next.is_some_and(|next| next < sealed_count);
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return Ok(()) };
                next = match &event {
                    UplinkEvent::Connected { next_seq, .. } => Some(place_of(*next_seq)),
                    UplinkEvent::Refused { action: RefusedAction::ResendFrom { seq }, .. } => {
                        Some(place_of(*seq))
                    }
                    UplinkEvent::Disconnected { .. } => None,
                    _ => next,
                };
                tell(Line::Told(event));
            }
            place = queue.reserve(), if has_next => {
                let at = next.unwrap();
                place?.send(batches[at].clone());
                tell(Line::HandedIn(at as u64));
                next = Some(at + 1);
            }
            _ = due.tick(), if sealed_count < batches.len() => sealed_count += 1,
        }
    }
}

fn place_of(seq: u64) -> usize {
    usize::try_from((seq - 1) / RESULTS_PER_BATCH).unwrap()
}

async fn follow_simulated_time(clock: proofmark_agent::Clock) {
    loop {
        sleep(Duration::from_millis(1)).await;
        clock.advance_ms(1);
    }
}
