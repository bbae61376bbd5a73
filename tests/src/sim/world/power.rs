//! Crashes of nodes and agents: what a fault of a disk leads to, and how they come back.

use proofmark_aggregator::limits::OFFER_LOOK_MS;
use proofmark_evidence::Checkpoint;

use super::{Event, Phase, World};
use crate::sim::oracle::Remembered;
use crate::sim::replica::replace_evidence;

/// How a program ends without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum End {
    /// What was not synced is gone, or parts of it.
    PowerCut,
    /// The machine runs on; the next process reads what was not synced, too.
    Killed,
}

impl World {
    /// A program's step on a disk: a fault that was injected ends it, any other is our failure.
    pub(super) fn or_crash(&mut self, node: usize, done: Result<(), String>) -> Result<(), String> {
        if self.nodes[node].replica.disk.has_struck() {
            return self.struck(node);
        }
        done.map_err(|fault| format!("node {}: {fault}", node + 1))
    }

    /// A fault has struck this node's disk: its process aborts.
    pub(super) fn struck(&mut self, node: usize) -> Result<(), String> {
        let Some(struck) = self.nodes[node].replica.disk.take_struck() else { return Ok(()) };
        let (site, fault) = (struck.site, struck.fault.slug());
        self.say(|| format!("node {}: {fault} at {site}", node + 1));
        let end = if struck.cuts_power() { End::PowerCut } else { End::Killed };
        let off_ms = self.rng.between(20, 1_500);
        self.crash_node(node, end, off_ms);
        Ok(())
    }

    pub(in crate::sim) fn crash_node(&mut self, node: usize, end: End, off_ms: u64) {
        let host = &mut self.nodes[node];
        if host.replica.broken.is_some() {
            return;
        }
        host.replica.end();
        host.gateway.clear();
        host.published_size = 0;
        host.paused_until_ms = 0;
        if end == End::PowerCut {
            host.replica.disk.power_cut(&mut self.rng);
        }
        for conn in self.conns.values_mut().filter(|conn| conn.node == node) {
            conn.is_broken = true;
        }
        match end {
            End::PowerCut => self.faults.power_cuts += 1,
            End::Killed => self.faults.kills += 1,
        }
        self.say(|| format!("node {} is down ({end:?}), back in {off_ms} ms", node + 1));
        self.plan(off_ms, Event::Restart { node });
    }

    /// It is up: what it once vouched for it must have, and know.
    pub(super) fn started(&mut self, node: usize) -> Result<(), String> {
        let replica = &self.nodes[node].replica;
        let (id, disk) = (replica.id, replica.disk.clone());
        let status = self.up(node).recorder.status();
        let last_signed = disk.read("last_signed").ok();
        let last_signed = last_signed.and_then(|bytes| String::from_utf8(bytes).ok());
        let last_signed = last_signed.and_then(|text| Checkpoint::parse(&text).ok());
        let seen = Remembered {
            leaves: status.size,
            last_signed: last_signed.map_or(0, |signed| signed.size),
            published: status.published_size,
            log_end: self.up(node).log_end,
        };
        self.oracle.started(id, seen)?;
        let life = self.nodes[node].replica.life;
        self.plan(OFFER_LOOK_MS, Event::CatchUp { node, life });
        let applied = self.up(node).machine.applied();
        self.say(|| format!("node {id} starts: applied {applied}, {} leaves", seen.leaves));
        Ok(())
    }

    /// What lies on its disk does not open: it stays out, until the operator comes.
    pub(super) fn damaged(&mut self, node: usize, why: String) -> Result<(), String> {
        if self.rotten_node != Some(node) {
            return Err(format!("node {} does not start, and its disk was well: {why}", node + 1));
        }
        self.say(|| format!("node {} does not start: {why}", node + 1));
        self.faults.refused_starts += 1;
        self.nodes[node].replica.broken = Some(why);
        self.nodes[node].is_lost = self.nodes[node].is_log_rotten;
        if self.phase > Phase::Cruel && !self.nodes[node].is_lost {
            self.repair_node(node);
        }
        Ok(())
    }

    /// The operator brings the evidence of another replica, which anybody can check.
    pub(super) fn repair_node(&mut self, node: usize) {
        if self.nodes[node].is_lost {
            return;
        }
        let Some(healthy) = (0..self.nodes.len())
            .filter(|other| *other != node && self.nodes[*other].replica.is_up())
            .max_by_key(|other| self.nodes[*other].published_size)
        else {
            self.plan(500, Event::Restart { node });
            return;
        };
        let files = self.nodes[healthy].replica.disk.files_below("evidence/");
        replace_evidence(&self.nodes[node].replica.disk, &files);
        self.oracle.forget_node(self.nodes[node].replica.id);
        self.say(|| format!("node {}: evidence copied from node {}", node + 1, healthy + 1));
        self.nodes[node].replica.broken = None;
        self.faults.repairs += 1;
        self.plan(100, Event::Restart { node });
    }

    pub(in crate::sim) fn crash_agent(&mut self, agent: usize, end: End, off_ms: u64) {
        let host = &mut self.agents[agent];
        host.up = None;
        host.life += 1;
        if end == End::PowerCut {
            host.disk.power_cut(&mut self.rng);
        }
        for conn in self.conns.values_mut().filter(|conn| conn.agent == agent) {
            conn.is_broken = true;
        }
        self.faults.agent_crashes += 1;
        self.say(|| format!("agent {} is down ({end:?}), back in {off_ms} ms", agent + 1));
        self.plan(off_ms, Event::AgentStart { agent });
    }
}
