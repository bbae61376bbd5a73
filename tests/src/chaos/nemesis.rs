//! Faults of every kind, drawn from the seed, one or two at a time; then everything is healed.

use std::collections::BTreeMap;
use std::time::Duration;

use proofmark_agent::Clock;

use super::fleet::{AGENTS, Node, REPLICAS};
use super::kills::found;
use super::silence::{Gap, Silence};
use super::world::{World, nodes};
use crate::dice::Dice;
use crate::installation::SETTLE;
use crate::program;
use crate::wait::{self, Deadline};

/// The last agents meet every fault; the first ones only have their links cut, so that all they
/// measured must arrive.
const STEADY_AGENTS: usize = 2;
const CLOCK_OFF_S_MAX: u64 = 15;

/// One thing done to the world, until it is undone.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(Node),
    Stop(Node),
    Cut(Node, Node),
    OneWay(Node, Node),
    Lossy(Node, Node, u8),
    Isolate(Node),
    FullDisk(Node),
    ClockOff(Node, i64),
    Slow(usize, u64),
    RollingRestart,
}

struct Nemesis {
    world: World,
    dice: Dice,
    gaps: Vec<Gap>,
    counts: BTreeMap<&'static str, u64>,
}

pub(super) fn run(minutes: u64, seed: u64, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    say("building seven namespaces");
    let world = World::build()?;
    let before = Silence::take(&world.fleet, 0)?;
    let whole = Duration::from_secs(60 * minutes);
    let (gaps, counts) = (Vec::new(), BTreeMap::new());
    let mut nemesis = Nemesis { world, dice: Dice::new(seed), gaps, counts };
    let (half, end) = (Deadline::after(whole / 2), Deadline::after(whole));
    while !half.passed() {
        nemesis.strike(say)?;
    }
    nemesis.upgrade_all(say)?;
    while !end.passed() {
        nemesis.strike(say)?;
    }
    say("all healed; waiting for what is spooled");
    let Nemesis { mut world, gaps, counts, .. } = nemesis;
    world.fleet.pushers.check()?;
    let silence = Silence::take(&world.fleet, now_ms())?.check_since(&before, &gaps)?;
    let faults: String =
        counts.iter().map(|(what, count)| format!("{what:<16} {count:>4}\n")).collect();
    say("judging what is left");
    let verdict = world.judge()?;
    Ok(format!("chaos: {minutes} min, seed {seed}\n{faults}{silence}{}", found(&verdict)))
}

impl Nemesis {
    /// The middle of a run is the rolling upgrade, or a rolling restart of the one build there is:
    /// replicas first, then the agents, each stopped in order.
    fn upgrade_all(&mut self, say: &mut dyn FnMut(&str)) -> Result<(), String> {
        let newer = program::newer_binary();
        say(&format!("rolling restart of all, newer build: {newer:?}"));
        let what = if newer.is_some() { "rolling upgrade" } else { "rolling restart" };
        *self.counts.entry(what).or_default() += 1;
        self.roll()?;
        for agent in 0..AGENTS.len() {
            let from_ms = now_ms();
            self.world.fleet.agents[agent].terminate();
            self.world.fleet.upgrade(Node(REPLICAS + agent));
            self.world.fleet.start_again(Node(REPLICAS + agent))?;
            self.gaps.push(Gap { agent, from_ms, until_ms: now_ms() });
        }
        Ok(())
    }

    /// One or two faults for some seconds, and a short peace.
    fn strike(&mut self, say: &mut dyn FnMut(&str)) -> Result<(), String> {
        let mut faults = vec![self.draw()];
        if self.dice.below(3) == 0 {
            let second = self.draw();
            faults.extend(faults[0].goes_with(second).then_some(second));
        }
        let lasts = Duration::from_millis(self.dice.between(1_000, 8_000));
        say(&format!("{faults:?} for {lasts:?}"));
        let from_ms = now_ms();
        for fault in &faults {
            *self.counts.entry(fault.name()).or_default() += 1;
            self.begin(*fault).map_err(|why| format!("{fault:?}: {why}"))?;
        }
        wait::let_pass(lasts);
        for fault in &faults {
            self.undo(*fault).map_err(|why| format!("{fault:?}, undone: {why}"))?;
        }
        self.world.heal_links()?;
        self.note_gaps(&faults, from_ms);
        self.all_alive(&faults)?;
        self.world.fleet.pushers.check()?;
        wait::let_pass(Duration::from_millis(self.dice.between(500, 3_000)));
        Ok(())
    }

    fn draw(&mut self) -> Fault {
        let replica = self.replica();
        let other = Node((replica.0 + 1 + self.index(REPLICAS - 1)) % REPLICAS);
        let anyone = self.anyone();
        let agent = Node(REPLICAS + self.index(AGENTS.len()));
        // Either two replicas, or an agent and a replica.
        let (from, to) = match self.dice.below(3) {
            0 => (agent, replica),
            1 => (replica, agent),
            _ => (replica, other),
        };
        match self.dice.below(16) {
            0..=2 => Fault::Kill(anyone),
            3..=4 => Fault::Stop(anyone),
            5..=6 => Fault::Cut(from, to),
            7..=8 => Fault::OneWay(from, to),
            9 => Fault::Lossy(from, to, if self.dice.coin() { 30 } else { 70 }),
            10..=11 => Fault::Isolate(replica),
            12 => Fault::FullDisk(anyone),
            13 => Fault::ClockOff(anyone, self.off_s()),
            14 => Fault::Slow(replica.0, self.dice.between(50, 400)),
            _ => Fault::RollingRestart,
        }
    }

    fn begin(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Kill(node) => self.world.fleet.kill(node),
            Fault::Stop(node) => self.world.fleet.signal(node, "STOP"),
            Fault::Cut(a, b) => {
                self.world.cut(a, b, 100)?;
                self.world.cut(b, a, 100)?;
            }
            Fault::OneWay(from, to) => self.world.cut(from, to, 100)?,
            Fault::Lossy(from, to, percent) => self.world.cut(from, to, percent)?,
            Fault::Isolate(node) => {
                for other in (0..REPLICAS).map(Node).filter(|other| *other != node) {
                    self.world.cut(node, other, 100)?;
                    self.world.cut(other, node, 100)?;
                }
            }
            Fault::FullDisk(node) => self.world.fill(node),
            Fault::ClockOff(node, seconds) => self.world.set_clock_off(node, seconds)?,
            Fault::Slow(replica, delay_ms) => self.world.slow_down(replica, delay_ms),
            Fault::RollingRestart => self.roll()?,
        }
        Ok(())
    }

    /// Undoes what is not a link's: links are healed all at once.
    fn undo(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Kill(node) => self.world.fleet.start_again(node)?,
            Fault::Stop(node) => self.world.fleet.signal(node, "CONT"),
            Fault::FullDisk(node) => {
                self.world.free(node);
                // Whoever could not go on has ended, as it must; the others went on.
                if self.world.fleet.ended(node).is_some() {
                    self.world.fleet.start_again(node)?;
                }
            }
            Fault::ClockOff(node, _) => self.world.set_clock_off(node, 0)?,
            Fault::Slow(replica, _) => self.world.slow_down(replica, 0),
            Fault::Cut(..)
            | Fault::OneWay(..)
            | Fault::Lossy(..)
            | Fault::Isolate(_)
            | Fault::RollingRestart => {}
        }
        Ok(())
    }

    /// As an operator does it: one replica after the other, each by SIGTERM, with acks between. Where
    /// there is a newer build it is what starts.
    fn roll(&mut self) -> Result<(), String> {
        for at in 0..REPLICAS {
            self.world.fleet.cluster.stop_replica(at);
            self.world.fleet.upgrade(Node(at));
            self.world.fleet.start_again(Node(at))?;
            let before = self.world.fleet.pushers.batches();
            let pushers = &self.world.fleet.pushers;
            wait::hoped("acks between two restarts", SETTLE, || {
                (pushers.batches() > before + 2).then_some(())
            })?;
        }
        Ok(())
    }

    /// Nobody ends without a reason: a full disk's victims were started again above, or end now.
    fn all_alive(&mut self, faults: &[Fault]) -> Result<(), String> {
        for node in nodes() {
            let Some(status) = self.world.fleet.ended(node) else { continue };
            let was_full =
                faults.iter().any(|fault| matches!(fault, Fault::FullDisk(full) if *full == node));
            if !was_full {
                let logs = self.world.fleet.cluster.logs();
                return Err(format!("{node} ended by itself: {status}\n{logs}"));
            }
            self.world.fleet.start_again(node)?;
        }
        Ok(())
    }

    fn note_gaps(&mut self, faults: &[Fault], from_ms: u64) {
        for fault in faults {
            let Some(agent) = fault.victim().and_then(|node| node.0.checked_sub(REPLICAS)) else {
                continue;
            };
            let off_ms = match fault {
                Fault::ClockOff(_, seconds) => seconds.unsigned_abs() * 1_000,
                _ => 0,
            };
            let (from_ms, until_ms) = (from_ms - off_ms, now_ms() + off_ms);
            self.gaps.push(Gap { agent, from_ms, until_ms });
        }
    }

    /// Every second time the leader, if there is one now.
    fn replica(&mut self) -> Node {
        let any = Node(self.index(REPLICAS));
        let status = |node: &Node| {
            let http = self.world.fleet.cluster.replicas[node.0].http;
            crate::api::json(http, "/api/v1/health")
                .is_some_and(|health| health["role"] == "leader")
        };
        let leader = (0..REPLICAS).map(Node).find(status);
        leader.filter(|_| self.dice.coin()).unwrap_or(any)
    }

    /// A replica, or an agent that may lose its checks.
    fn anyone(&mut self) -> Node {
        match self.dice.below(3) {
            0 => Node(REPLICAS + STEADY_AGENTS + self.index(AGENTS.len() - STEADY_AGENTS)),
            _ => self.replica(),
        }
    }

    fn off_s(&mut self) -> i64 {
        let off = i64::try_from(self.dice.between(2, CLOCK_OFF_S_MAX)).expect("some seconds");
        if self.dice.coin() { off } else { -off }
    }

    fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.dice.below(below as u64)).expect("an index")
    }
}

impl Fault {
    /// Whose process or disk or clock it is, if it is one's.
    fn victim(self) -> Option<Node> {
        match self {
            Fault::Kill(node)
            | Fault::Stop(node)
            | Fault::FullDisk(node)
            | Fault::ClockOff(node, _) => Some(node),
            // Every replica's: nothing else may happen to one meanwhile.
            Fault::RollingRestart => Some(Node(0)),
            _ => None,
        }
    }

    /// Two faults of one process undo each other; a rolling restart is one of every replica.
    fn goes_with(self, other: Fault) -> bool {
        match (self, other) {
            (Fault::RollingRestart, other) | (other, Fault::RollingRestart) => {
                other.victim().is_none_or(|node| node.0 >= REPLICAS)
            }
            _ => self.victim().is_none_or(|node| other.victim() != Some(node)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Fault::Kill(_) => "SIGKILL",
            Fault::Stop(_) => "SIGSTOP",
            Fault::Cut(..) => "link cut",
            Fault::OneWay(..) => "one-way cut",
            Fault::Lossy(..) => "lossy link",
            Fault::Isolate(_) => "replica isolated",
            Fault::FullDisk(_) => "full disk",
            Fault::ClockOff(..) => "clock off",
            Fault::Slow(..) => "slow link",
            Fault::RollingRestart => "rolling restart",
        }
    }
}

fn now_ms() -> u64 {
    Clock::system().unix_ms()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_faults_never_meet_in_one_process() {
        let check = |one: Fault, other: Fault, expect: bool| {
            assert_eq!(one.goes_with(other), expect, "{one:?} {other:?}");
            assert_eq!(other.goes_with(one), expect, "{other:?} {one:?}");
        };
        let (replica, agent) = (Node(2), Node(REPLICAS));
        check(Fault::Kill(replica), Fault::Stop(replica), false);
        check(Fault::Kill(replica), Fault::Stop(agent), true);
        check(Fault::Kill(replica), Fault::RollingRestart, false);
        check(Fault::Kill(agent), Fault::RollingRestart, true);
        check(Fault::Isolate(replica), Fault::RollingRestart, true);
        check(Fault::RollingRestart, Fault::RollingRestart, false);
    }
}
