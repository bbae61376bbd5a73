//! The agents as admission sees them: what the newest applied entry left of each.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use proofmark_evidence::{AgentName, BatchSpan};

use crate::admission::Standing;
use crate::command::Command;
use crate::ingest::AgentDirectory;
use crate::state::{Agent, State};

/// One writer, the apply thread; any number of readers. Only the agents that an entry touched are
/// written after it, so its cost does not grow with the fleet.
#[derive(Clone, Default)]
pub struct SharedAgents {
    standings: Arc<RwLock<BTreeMap<AgentName, Standing>>>,
}

impl AgentDirectory for SharedAgents {
    fn find(&self, agent: &AgentName) -> Option<Standing> {
        let standings = self.standings.read().unwrap_or_else(PoisonError::into_inner);
        standings.get(agent).cloned()
    }
}

impl SharedAgents {
    /// Every agent, after a start.
    pub fn of(state: &State) -> Self {
        let all = state.agents().iter().map(|(name, agent)| (name.clone(), standing(agent)));
        Self { standings: Arc::new(RwLock::new(all.collect())) }
    }

    /// Every agent, of a state that took the place of another.
    pub fn replace(&self, state: &State) {
        let all = state.agents().iter().map(|(name, agent)| (name.clone(), standing(agent)));
        let mut standings = self.standings.write().unwrap_or_else(PoisonError::into_inner);
        *standings = all.collect();
    }

    /// The agents that `commands` may have changed.
    pub fn update(&self, state: &State, commands: &[Command]) {
        let touched: Vec<AgentName> = commands.iter().filter_map(agent_of).collect();
        if touched.is_empty() {
            return;
        }
        let mut standings = self.standings.write().unwrap_or_else(PoisonError::into_inner);
        for name in touched {
            if let Some(agent) = state.agents().get(&name) {
                standings.insert(name, standing(agent));
            }
        }
    }
}

fn agent_of(command: &Command) -> Option<AgentName> {
    match command {
        Command::Admit { leaf, .. } => BatchSpan::of(leaf).map(|batch| batch.agent),
        Command::Enrol { agent, .. } | Command::Retire { agent } => Some(agent.clone()),
        _ => None,
    }
}

fn standing(agent: &Agent) -> Standing {
    Standing {
        key: agent.key,
        epoch: agent.epoch,
        next_seq: agent.next_seq,
        last_hash: agent.last_header_hash,
        retired: agent.is_retired,
    }
}
