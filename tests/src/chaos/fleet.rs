//! What both kinds of runs have: three replicas, four agents with checks, load, and witnesses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitStatus;

use crate::acks::{self, Acks};
use crate::installation::{Agent, Installation, Joining, SETTLE};
use crate::judge::{Verdict, judge};
use crate::program::{self, Ended};
use crate::push::{Load, Pushers};
use crate::target::Target;
use crate::{wait, workload};

pub(super) const REPLICAS: usize = 3;
pub(super) const AGENTS: [&str; 4] = ["web-1", "web-2", "web-3", "web-4"];
pub(super) const CHECKS: usize = 10;
const PUSH: Load = Load { agents: 2, results: 50, batches_per_s: 10 };

/// One of the processes: replicas first, then agents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Node(pub(super) usize);

/// Dropped from the top: load first, the folder last.
pub(super) struct Fleet {
    pub(super) pushers: Pushers,
    pub(super) acks: Acks,
    pub(super) agents: Vec<Agent>,
    pub(super) cluster: Installation,
    _target: Target,
}

impl Fleet {
    /// Starts a planned installation and its agents; `seat` says where each agent lives.
    pub(super) fn start<'a>(
        mut cluster: Installation,
        target: Target,
        mut seat: impl FnMut(usize) -> Result<Joining<'a>, String>,
    ) -> Result<Fleet, String> {
        cluster.begin();
        cluster.apply("checks.yaml", &workload::specs(target.address(), CHECKS, &AGENTS));
        let mut agents = Vec::new();
        for at in 0..AGENTS.len() {
            let joining = seat(at)?;
            agents.push(cluster.join(joining));
        }
        let admins = agents.iter().filter_map(|agent| Some((agent.name.clone(), agent.admin?)));
        let acks = Acks::watch(admins.collect::<Vec<(String, SocketAddr)>>());
        let pushers = Pushers::start(&cluster, PUSH)?;
        Ok(Fleet { pushers, acks, agents, cluster, _target: target })
    }

    pub(super) fn kill(&mut self, node: Node) {
        match self.agent_of(node) {
            Some(at) => self.agents[at].kill(),
            None => self.cluster.kill_replica(node.0),
        }
    }

    pub(super) fn start_again(&mut self, node: Node) -> Result<(), String> {
        let started = match self.agent_of(node) {
            Some(at) => self.agents[at].try_start(),
            None => self.cluster.try_start_replica(node.0),
        };
        started.map_err(|Ended { status, log }| format!("{node} did not start: {status:?}\n{log}"))
    }

    /// From its next start on this process is of the newer build, where there is one.
    pub(super) fn upgrade(&mut self, node: Node) {
        let program = program::newer_binary();
        match self.agent_of(node) {
            Some(at) => self.agents[at].launch.program = program,
            None => self.cluster.replicas[node.0].launch.program = program,
        }
    }

    pub(super) fn signal(&self, node: Node, name: &str) {
        match self.agent_of(node) {
            Some(at) => self.agents[at].signal(name),
            None => self.cluster.replicas[node.0].signal(name),
        }
    }

    /// How a process ended by itself.
    pub(super) fn ended(&mut self, node: Node) -> Option<ExitStatus> {
        match self.agent_of(node) {
            Some(at) => self.agents[at].ended(),
            None => self.cluster.replicas[node.0].ended(),
        }
    }

    pub(super) fn agent_of(&self, node: Node) -> Option<usize> {
        node.0.checked_sub(REPLICAS)
    }

    /// Stops load and agents once all is delivered, then holds what is left against what was told.
    pub(super) fn judge(mut self) -> Result<Verdict, String> {
        let logs = |cluster: &Installation, why: String| format!("{why}\n{}", cluster.logs());
        let pushed = self.pushers.stop().map_err(|why| logs(&self.cluster, why))?;
        for agent in &mut self.agents {
            let admin = agent.admin.expect("each was given one");
            let what = format!("{}'s spool to drain", agent.name);
            wait::hoped(&what, SETTLE * 2, || (acks::waiting(admin)? < 200).then_some(()))?;
            agent.stop();
        }
        let mut told: BTreeMap<String, u64> = self.acks.heard();
        told.extend(pushed.iter().map(|told| (told.agent.clone(), told.seq_end())));
        let policy = self.agents[0].data_dir().join("identity/policy");
        judge(&mut self.cluster, &policy, &told)
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.checked_sub(REPLICAS) {
            Some(at) => f.write_str(AGENTS[at]),
            None => write!(f, "a{}", self.0 + 1),
        }
    }
}
