//! Who should run what: the checks in force, the agents enrolled, and the grid for each pair.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{AgentName, CheckName};
use proofmark_spec::{AgentSelector, Check, Grid};

/// The newest checks and agents. When they begin to matter is for the assignments to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) checks: BTreeMap<CheckName, Plan>,
    /// Runs are expected of an agent from this instant on (ms).
    pub(crate) agents: BTreeMap<AgentName, u64>,
}

/// As much of a check as decides which runs are expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// `None`: all.
    pub(crate) agents: Option<BTreeSet<AgentName>>,
    pub(crate) interval_ms: u64,
}

impl Plan {
    /// Names that are no agent names select nobody; a parsed spec has none.
    pub(crate) fn of(check: &Check) -> Plan {
        let agents = match &check.agents {
            AgentSelector::All => None,
            AgentSelector::Names(names) => {
                Some(names.iter().filter_map(|name| AgentName::parse(name).ok()).collect())
            }
        };
        Plan { agents, interval_ms: check.interval_ms }
    }

    fn selects(&self, agent: &AgentName) -> bool {
        self.agents.as_ref().is_none_or(|agents| agents.contains(agent))
    }
}

impl Fleet {
    /// The grid of a series, if there should be such a series.
    pub(crate) fn grid(&self, check: &CheckName, agent: &AgentName) -> Option<Grid> {
        let plan = self.checks.get(check).filter(|plan| plan.selects(agent))?;
        let enrolled = self.agents.contains_key(agent);
        enrolled.then(|| Grid::of(check.as_str(), agent.as_str(), plan.interval_ms))
    }

    /// Every check the agent should run, with its grid.
    pub(crate) fn grids_of(&self, agent: &AgentName) -> Vec<(CheckName, Grid)> {
        let grids =
            self.checks.keys().filter_map(|check| Some((check.clone(), self.grid(check, agent)?)));
        grids.collect()
    }
}
