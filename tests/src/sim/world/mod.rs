//! The event loop: one queue, one clock, one thing at a time.

mod agents;
mod asked;
mod event;
mod nodes;
mod operator;
mod phases;
mod power;
mod reads;
mod snapshots;
mod streams;

use std::collections::BTreeMap;

use proofmark_evidence::remember_signatures;

use super::Planted;
use super::agent::{Agent, Skew};
use super::cast::Cast;
use super::disk::{Class, Disk, Lies};
use super::gateway::Gateway;
use super::nemesis;
use super::network::Network;
use super::operator::Operator;
use super::oracle::{Oracle, Truth};
use super::replica::Replica;
use super::report::Faults;
use super::rng::Rng;
use super::trace::Trace;
pub(super) use event::Event;
pub(super) use power::End;
use streams::Conn;

/// By then every replica runs the newest program.
const UPGRADE_MS_MAX: u64 = 30_000;

/// Everything there is.
pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) rng: Rng,
    /// By time, then by the order in which they were planned.
    queue: BTreeMap<(u64, u64), Event>,
    planned: u64,
    pub(super) cast: Cast,
    pub(super) nodes: Vec<Node>,
    pub(super) agents: Vec<Agent>,
    conns: BTreeMap<u64, Conn>,
    conns_made: u64,
    operator: Operator,
    pub(super) network: Network,
    pub(super) oracle: Oracle,
    truth: Truth,
    pub(super) faults: Faults,
    pub(super) trace: Trace,
    pub(super) phase: Phase,
    pub(super) planted: Option<Planted>,
    tokens: u64,
    /// Linearizable reads that were answered.
    pub(super) reads: u64,
    /// From here on every replica says that it knows the commands of the next version.
    pub(super) upgrade_at_ms: u64,
    /// The one node and the one agent whose disks may rot in this run.
    pub(super) rotten_node: Option<usize>,
    pub(super) rotten_agent: Option<usize>,
}

/// A replica with its host: its clock and its door for agents.
pub(super) struct Node {
    pub(super) replica: Replica,
    pub(super) gateway: Gateway,
    pub(super) skew: Skew,
    /// Milliseconds of the world per tick of its Raft clock.
    tick_ms: u64,
    /// How slow its disk is at present, in milliseconds a flush.
    pub(super) slow_ms: u64,
    /// Nothing happens there until then: its process is stopped.
    pub(super) paused_until_ms: u64,
    published_size: u64,
    /// A bit has turned in its Raft log.
    is_log_rotten: bool,
    /// That keeps it from starting: it takes no part any more, and nobody can mend it.
    is_lost: bool,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Everything fails that can.
    Cruel,
    /// Everything works; agents still measure.
    Healing,
    /// Agents have stopped; what they hold must arrive.
    Draining,
    /// Nobody starts anything new.
    Quiet,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>, trace: Trace) -> Result<Self, String> {
        // Most of a run's time would be checks of what other replicas have checked.
        remember_signatures();
        let mut rng = Rng::new(seed);
        let count = if rng.chance_permille(200) { 5 } else { 3 };
        let cast = Cast::new(count, rng.between(1, 3));
        let block_bytes = [64, 512, 4_096][rng.index(3)];
        let lies = lies(planted);
        let voters: Vec<u64> = (1..=count).collect();
        let nodes = voters.iter().map(|id| {
            let replica = Replica::new(*id, Disk::new(block_bytes, lies), planted);
            let drift_ppm = i64::try_from(rng.between(0, 40_000)).expect("small") - 20_000;
            Node {
                replica,
                gateway: Gateway::default(),
                skew: Skew { offset_ms: 0, drift_ppm },
                tick_ms: rng.between(80, 125),
                slow_ms: 0,
                paused_until_ms: 0,
                published_size: 0,
                is_log_rotten: false,
                is_lost: false,
            }
        });
        let nodes: Vec<Node> = nodes.collect();
        let agents = cast.agents.iter();
        let agents = agents
            .map(|agent| Agent::new(agent.clone(), Disk::new(block_bytes, lies), planted))
            .collect();
        let rotten_node = rng.chance_permille(150).then(|| rng.index(nodes.len()));
        let rotten_agent = rng.chance_permille(150).then(|| rng.index(cast.agents.len()));
        let upgrade_at_ms = rng.between(0, UPGRADE_MS_MAX);
        let mut world = Self {
            now_ms: 0,
            rng,
            queue: BTreeMap::new(),
            planned: 0,
            operator: Operator::new(&cast),
            cast,
            nodes,
            agents,
            conns: BTreeMap::new(),
            conns_made: 0,
            network: Network::default(),
            oracle: Oracle::default(),
            truth: Truth::default(),
            faults: Faults::default(),
            trace,
            phase: Phase::Cruel,
            planted,
            tokens: 0,
            reads: 0,
            upgrade_at_ms,
            rotten_node,
            rotten_agent,
        };
        world.begin()?;
        Ok(world)
    }

    fn begin(&mut self) -> Result<(), String> {
        for node in 0..self.nodes.len() {
            self.nodes[node].replica.init(&self.cast)?;
            self.nodes[node].replica.disk.count_from_here();
            self.plan(0, Event::Restart { node });
            self.plan(self.nodes[node].tick_ms, Event::Tick { node, again: true });
            self.plan(1_000, Event::Duty { node });
            self.plan(1_100, Event::Seal { node });
            self.plan(3_000, Event::Save { node });
        }
        for agent in 0..self.agents.len() {
            self.plan(100, Event::AgentStart { agent });
        }
        self.plan(10, Event::OperatorSays);
        self.plan(2_000, Event::ReadAsked);
        self.plan(1_500, Event::Nemesis);
        Ok(())
    }

    pub(super) fn plan(&mut self, in_ms: u64, event: Event) {
        self.planned += 1;
        self.queue.insert((self.now_ms + in_ms, self.planned), event);
    }

    /// An event under way of which `is_it` holds.
    pub(super) fn find_event<T>(&self, is_it: impl Fn(&Event) -> Option<T>) -> Option<T> {
        self.queue.values().find_map(is_it)
    }

    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        self.trace.say(self.now_ms, line);
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        let ((at_ms, _), event) = self.queue.pop_first().expect("ticks never end");
        self.now_ms = at_ms;
        self.trace.mark(at_ms, event.fingerprint());
        if let Some(node) = event.node()
            && self.nodes[node].paused_until_ms > at_ms
        {
            // A stopped process takes it in when it goes on.
            let in_ms = self.nodes[node].paused_until_ms - at_ms;
            self.plan(in_ms, event);
            return Ok(());
        }
        self.happen(event)
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Tick { node, again } => self.tick(node, again),
            Event::Deliver { message } => self.deliver(*message),
            Event::Flush { node, life } => self.flush(node, life),
            Event::Apply { node, life } => self.apply(node, life),
            Event::Record { node, life } => self.record(node, life),
            Event::Save { node } => self.save(node),
            Event::Duty { node } => self.duty(node),
            Event::Seal { node } => self.seal(node),
            Event::Restart { node } => self.restart(node),
            Event::Ask { node, request } => self.asked(node, *request),
            Event::Answered { node, token, outcome } => self.answered(node, token, &outcome),
            Event::ForwardTimeout { node, life, token } => self.timed_out(node, life, token),
            Event::OperatorSays => self.operator_says(),
            Event::OperatorTold { number, outcome } => self.operator_told(number, &outcome),
            Event::AgentStart { agent } => self.agent_start(agent),
            Event::AgentWake { agent, life } => self.agent_wake(agent, life),
            Event::RunEnded { agent, life, due, outcome } => {
                self.run_ended(agent, life, *due, outcome)
            }
            Event::SpoolDone { agent, life } => self.spool_done(agent, life),
            Event::Dial { agent, life } => self.dial(agent, life),
            Event::LinkCheck { agent, life } => self.link_check(agent, life),
            Event::ToNode { conn, said } => self.node_hears(conn, *said),
            Event::ToAgent { conn, answer } => self.agent_hears(conn, *answer),
            Event::ReadAsked => self.read_asked(),
            Event::CatchUp { node, life } => self.catch_up_looks(node, life),
            Event::Fetch { node, by, life, request, ask } => {
                self.fetch(node, by, life, request, ask)
            }
            Event::Fetched { node, life, request, answer } => {
                self.fetched(node, life, request, answer)
            }
            Event::Install { node, life } => self.install(node, life),
            Event::Nemesis => self.nemesis(),
        }
    }

    fn nemesis(&mut self) -> Result<(), String> {
        if self.phase == Phase::Cruel {
            nemesis::strike(self)?;
            let in_ms = self.rng.between(100, 1_800);
            self.plan(in_ms, Event::Nemesis);
        }
        Ok(())
    }

    /// Wall clock of a node.
    fn node_unix_ms(&self, node: usize) -> u64 {
        self.nodes[node].skew.unix_ms(self.now_ms)
    }
}

fn lies(planted: Option<Planted>) -> Lies {
    let mut lies = Lies::default();
    match planted {
        Some(Planted::SpoolNotSynced) => lies.sync = Some(Class::Spool),
        Some(Planted::UnsyncedDirectory) => lies.sync_dir = Some(Class::Spool),
        Some(Planted::CosignBeforeSync) => lies.evidence_sync = true,
        Some(Planted::LastSignedNotDurable) => lies.sync = Some(Class::Guard),
        _ => {}
    }
    lies
}
