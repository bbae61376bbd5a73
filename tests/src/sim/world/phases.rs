//! A run's two halves: in the first everything fails that can, in the second all must end well.

use proofmark_agent::core::Happened;

use super::power::End;
use super::{Event, Phase, World};
use crate::sim::disk::EvidenceFiles;
use crate::sim::oracle;

/// How long agents still measure in the healed world.
const HEALTHY_MS: u64 = 4_000;
/// How long a healed world has to get everything through, in virtual milliseconds.
const HEALING_MS_MAX: u64 = 90_000;

impl World {
    /// The safety half.
    pub(in crate::sim) fn suffer(&mut self, until_ms: u64) -> Result<(), String> {
        while self.now_ms < until_ms {
            self.step()?;
        }
        Ok(())
    }

    /// The liveness half: everything works again, and everything begun must end.
    pub(in crate::sim) fn heal(&mut self) -> Result<(), String> {
        self.phase = Phase::Healing;
        self.say(|| "--- all is healed ---".to_owned());
        self.network.heal();
        for node in 0..self.nodes.len() {
            self.heal_node(node);
        }
        for agent in 0..self.agents.len() {
            self.agents[agent].skew = Default::default();
            self.agents[agent].disk.disarm();
            self.plan(0, Event::AgentStart { agent });
        }
        let deadline_ms = self.now_ms + HEALING_MS_MAX;
        self.run_until(deadline_ms.min(self.now_ms + HEALTHY_MS), |_| false)?;
        self.drain_agents()?;
        if !self.run_until(deadline_ms, World::is_delivered)? {
            return Err(format!("{} {HEALING_MS_MAX} ms after all was healed", self.what_hangs()));
        }
        self.phase = Phase::Quiet;
        if !self.run_until(deadline_ms, World::is_quiet)? {
            return Err(format!("{} {HEALING_MS_MAX} ms after all was healed", self.what_hangs()));
        }
        self.judge()
    }

    fn heal_node(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        host.skew = Default::default();
        host.slow_ms = 0;
        host.paused_until_ms = host.paused_until_ms.min(self.now_ms);
        host.replica.disk.disarm();
        // Whose disk rots was scrubbed, and its evidence is fetched again.
        let is_rotten = self.rotten_node == Some(node) && self.faults.bit_flips > 0;
        if is_rotten && !self.nodes[node].is_lost {
            self.crash_node(node, End::Killed, 50);
            self.nodes[node].replica.broken = Some("its disk rots".to_owned());
            self.repair_node(node);
        }
        self.plan(0, Event::Restart { node });
    }

    fn drain_agents(&mut self) -> Result<(), String> {
        self.phase = Phase::Draining;
        for agent in 0..self.agents.len() {
            self.agent_happened(agent, Happened::StopAsked)?;
        }
        Ok(())
    }

    fn run_until(
        &mut self,
        until_ms: u64,
        is_done: impl Fn(&World) -> bool,
    ) -> Result<bool, String> {
        while self.now_ms < until_ms {
            self.step()?;
            if is_done(self) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_delivered(&self) -> bool {
        let starts = |event: &Event| matches!(event, Event::AgentStart { .. }).then_some(());
        self.operator_is_finished()
            && self.agents.iter().all(|agent| agent.up.is_none())
            && self.find_event(starts).is_none()
    }

    /// Everything is applied, recorded and published, on every replica.
    fn is_quiet(&self) -> bool {
        let committed = self.oracle.committed_count();
        self.nodes.iter().filter(|node| !node.is_lost).all(|node| {
            node.replica.up.as_ref().is_some_and(|up| {
                let status = up.recorder.status();
                up.machine.applied() == committed
                    && up.recorder_queue.is_empty()
                    && status.published_size == up.machine.state.leaf_count()
            })
        })
    }

    fn what_hangs(&self) -> String {
        let node = |(place, node): (usize, &super::Node)| match &node.replica.up {
            None if node.is_lost => format!("node {} is lost", place + 1),
            None => format!("node {} is down", place + 1),
            Some(up) => {
                let status = up.recorder.status();
                let leaves = up.machine.state.leaf_count();
                format!(
                    "node {}: applied {}, {leaves} leaves, {} published",
                    place + 1,
                    up.machine.applied(),
                    status.published_size
                )
            }
        };
        let nodes: Vec<String> = self.nodes.iter().enumerate().map(node).collect();
        let agents = self.agents.iter().filter(|agent| agent.up.is_some()).count();
        format!("not settled ({}; {agents} agents hold batches)", nodes.join("; "))
    }

    /// Every replica's state is the same, and its evidence holds before a stranger.
    fn judge(&mut self) -> Result<(), String> {
        let kept: Vec<usize> =
            (0..self.nodes.len()).filter(|node| !self.nodes[*node].is_lost).collect();
        let whole = kept[self.rng.index(kept.len())];
        for node in kept {
            let replica = &self.nodes[node].replica;
            let state = &replica.up.as_ref().expect("all are up").machine.state;
            self.oracle.state(replica.id, state.applied(), &state.encode())?;
            if node == whole || self.rotten_node == Some(node) {
                let files = EvidenceFiles::new(&replica.disk, "evidence");
                oracle::judge(&self.oracle, &self.truth, &self.cast.policy, &files, state)
                    .map_err(|why| format!("node {}: {why}", node + 1))?;
            }
        }
        Ok(())
    }

    /// One bit turns on a disk that may rot.
    pub(in crate::sim) fn rot(&mut self) {
        if let Some(agent) = self.rotten_agent
            && self.rng.chance_permille(500)
        {
            let path = self.agents[agent].disk.flip_bit("spool/0", &mut self.rng);
            self.rotted(path, format!("agent {}", agent + 1));
            self.truth.damaged(agent);
        } else if let Some(node) = self.rotten_node
            && self.rng.chance_permille(400)
        {
            self.rot_log(node);
        } else if let Some(node) = self.rotten_node {
            let begin = if self.rng.chance_permille(200) { "tables" } else { "evidence/" };
            let path = self.nodes[node].replica.disk.flip_bit(begin, &mut self.rng);
            self.rotted(path, format!("node {}", node + 1));
        }
    }

    /// What is damaged before the last record must keep the node from starting.
    fn rot_log(&mut self, node: usize) {
        let is_up = self.nodes[node].replica.is_up();
        let disk = self.nodes[node].replica.disk.clone();
        if is_up && let Some(path) = disk.flip_older_bit("raft/", &mut self.rng) {
            let off_ms = self.rng.between(50, 2_000);
            self.crash_node(node, End::Killed, off_ms);
            self.nodes[node].is_log_rotten = true;
            self.rotted(Some(path), format!("node {}", node + 1));
        }
    }

    fn rotted(&mut self, path: Option<String>, whose: String) {
        if let Some(path) = path {
            self.faults.bit_flips += 1;
            self.say(|| format!("{whose}: a bit turns in {path}"));
        }
    }
}
