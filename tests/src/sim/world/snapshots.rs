//! The log is let go of, and who lags too far catches up with a snapshot.

use proofmark_aggregator::catchup::{Act, Ask, Event as CatchUpEvent, Missed, Piece};
use proofmark_aggregator::consensus::{Position, SnapshotMeta};
use proofmark_aggregator::limits::{FETCH_TICK_MS, OFFER_LOOK_MS};

use super::{Event, Phase, World};
use crate::sim::Planted;
use crate::sim::network::Place;
use crate::sim::replica::load;

/// An ask that is not answered by then is lost: as `FETCH_TIMEOUT_MS`, and shorter: runs are short.
const FETCH_MS_MAX: u64 = 1_500;
/// How long it takes at most until the state is the snapshot: small states, and large ones.
const INSTALL_MS_MAX: [u64; 3] = [20, 300, 4_000];
/// More than an election timeout.
const LEAP_TICKS: u64 = 25;

impl World {
    /// The driver says how far the log may go; the log thread lets go of it.
    pub(super) fn compacted(&mut self, node: usize, to: Option<Position>) -> Result<(), String> {
        let (Some(to), Some(up)) = (to, &self.nodes[node].replica.up) else { return Ok(()) };
        let done = up.log.store.compact(to).map_err(|fault| format!("raft log: {fault}"));
        self.faults.compactions += 1;
        self.say(|| format!("node {} lets go of its log up to {}", node + 1, to.index));
        self.or_crash(node, done)
    }

    /// The thread that catches up looks around: at the clock, and for an offer.
    pub(super) fn catch_up_looks(&mut self, node: usize, life: u64) -> Result<(), String> {
        if !self.lives(node, life) {
            return Ok(());
        }
        self.catch_up(node, CatchUpEvent::Ticked)?;
        if !self.lives(node, life) {
            return Ok(());
        }
        let (now_ms, nodes) = (self.now_ms, self.nodes.len() as u64);
        let up = self.up(node);
        if let Some(offer) = up.needed_offer(now_ms) {
            let others: Vec<u64> = (1..=nodes).filter(|id| *id != node as u64 + 1).collect();
            up.catching_up.set_peers(&others);
            if self.planted == Some(Planted::LogClearedBeforeSnapshot) {
                return self.clear_log_first(node);
            }
            self.catch_up(node, CatchUpEvent::Offered(offer))?;
        }
        if self.lives(node, life) {
            let is_idle = self.up(node).catching_up.is_idle();
            let in_ms = if is_idle { OFFER_LOOK_MS } else { FETCH_TICK_MS };
            self.plan(in_ms, Event::CatchUp { node, life });
        }
        Ok(())
    }

    fn catch_up(&mut self, node: usize, event: CatchUpEvent) -> Result<(), String> {
        let (now_ms, life) = (self.now_ms, self.nodes[node].replica.life);
        let mut acts = Vec::new();
        let done = self.up(node).catch_up(event, now_ms).map(|wanted| acts = wanted);
        self.or_crash(node, done)?;
        for act in acts {
            if let Act::Ask { request, peer, ask } = act {
                self.ask_peer(node, life, request, (peer, ask));
            }
        }
        self.look_at_published(node)?;
        self.settle(node)
    }

    fn ask_peer(&mut self, node: usize, life: u64, request: u64, (peer, ask): (u64, Ask)) {
        if let Ask::SnapshotHead { index } = ask {
            self.say(|| {
                format!("node {} fetches the snapshot at {index} from node {peer}", node + 1)
            });
        }
        let peer = usize::try_from(peer - 1).expect("a node");
        let lost = Event::Fetched { node, life, request, answer: Err(Missed::Lost) };
        self.plan(FETCH_MS_MAX, lost);
        for delay_ms in self.network.delays_ms(Place::Node(node), Place::Node(peer), &mut self.rng)
        {
            self.plan(delay_ms, Event::Fetch { node: peer, by: node, life, request, ask });
        }
    }

    /// A peer asks for a piece.
    pub(super) fn fetch(
        &mut self,
        node: usize,
        by: usize,
        life: u64,
        request: u64,
        ask: Ask,
    ) -> Result<(), String> {
        let answer = self.nodes[node].replica.serve(&ask);
        if !self.nodes[node].replica.is_up() {
            return Ok(());
        }
        for delay_ms in self.network.delays_ms(Place::Node(node), Place::Node(by), &mut self.rng) {
            let answer = answer.clone();
            self.plan(delay_ms, Event::Fetched { node: by, life, request, answer });
        }
        Ok(())
    }

    pub(super) fn fetched(
        &mut self,
        node: usize,
        life: u64,
        request: u64,
        answer: Result<Piece, Missed>,
    ) -> Result<(), String> {
        match self.lives(node, life) {
            true => self.catch_up(node, CatchUpEvent::Answered { request, answer }),
            false => Ok(()),
        }
    }

    /// Planted: the log starts over before there is anything to start from.
    fn clear_log_first(&mut self, node: usize) -> Result<(), String> {
        let up = self.up(node);
        if let Some(offer) = up.offer.take() {
            up.driver.install(offer.meta);
        }
        let life = self.nodes[node].replica.life;
        self.plan(OFFER_LOOK_MS, Event::CatchUp { node, life });
        self.settle(node)
    }

    /// The log starts over, durably: the state is about to become the snapshot.
    pub(super) fn starts_over(&mut self, node: usize, meta: SnapshotMeta) {
        self.say(|| format!("node {}: its log starts over at {}", node + 1, meta.position.index));
        let life = self.nodes[node].replica.life;
        self.up(node).installing = Some(meta);
        let in_ms_max = INSTALL_MS_MAX[self.rng.index(INSTALL_MS_MAX.len())];
        let in_ms = self.rng.between(0, in_ms_max);
        self.plan(in_ms, Event::Install { node, life });
        if self.phase == Phase::Cruel && self.rng.chance_permille(300) {
            // Its clock leaps meanwhile: no leader is heard for as long.
            (0..LEAP_TICKS).for_each(|_| self.plan(0, Event::Tick { node, again: false }));
        }
    }

    /// The snapshot, the leaves it speaks of, and the log that begins after it are durable. A crash
    /// from here on, until the state is saved: start-up loads this same snapshot.
    pub(super) fn install(&mut self, node: usize, life: u64) -> Result<(), String> {
        if !self.lives(node, life) {
            return Ok(());
        }
        let up = self.up(node);
        let Some(meta) = up.installing.take() else { return Ok(()) };
        let index = meta.position.index;
        let snapshot = up.snapshots.snapshot(index).map_err(|fault| fault.to_string());
        let loaded = snapshot.and_then(|snapshot| load(&snapshot));
        let (state, rows) = loaded.map_err(|why| format!("node {}: {why}", node + 1))?;
        let (expected, got) = (state.leaf_count(), up.recorder.status().size);
        if got < expected {
            return Err(format!("node {} installs {expected} leaves and has {got}", node + 1));
        }
        up.machine.replace(state, rows);
        let bytes = up.machine.state.encode();
        self.oracle.state(self.nodes[node].replica.id, index, &bytes)?;
        let done = self.nodes[node].replica.keep_installed(index);
        self.or_crash(node, done)?;
        self.faults.snapshots_installed += 1;
        self.say(|| format!("node {} has taken its state from the snapshot at {index}", node + 1));
        if self.lives(node, life) {
            self.up(node).driver.snapshot_installed(index);
            self.plan(0, Event::Apply { node, life });
        }
        self.settle(node)
    }
}
