//! What really happened in the virtual world: which checks ran, when, and what they saw.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{FailReason, Hash, Outcome, UnknownReason};

use crate::sim::cast::agent_name;
use crate::sim::rng::Rng;

/// A run: agent, check, scheduled instant.
pub(in crate::sim) type RunKey = (String, String, u64);

/// The world's own book.
#[derive(Default)]
pub(in crate::sim) struct Truth {
    /// What each run saw. A restarted agent may run an instant again: then any of them is true.
    pub(super) runs: BTreeMap<RunKey, Vec<Outcome>>,
    /// Batches that an agent's disk confirmed, by agent, in order.
    pub(super) spooled: BTreeMap<usize, Vec<Hash>>,
    /// Agents whose spool was damaged from outside: they may say that results are lost.
    damaged: BTreeSet<usize>,
}

impl Truth {
    /// What a check sees now.
    pub(in crate::sim) fn draw(rng: &mut Rng) -> Outcome {
        match rng.index(20) {
            0 | 1 => Outcome::Fail(FailReason::ConnectRefused),
            2 => Outcome::Unknown(UnknownReason::AgentFault),
            _ => Outcome::Pass,
        }
    }

    pub(in crate::sim) fn ran(&mut self, key: RunKey, outcome: Outcome) {
        self.runs.entry(key).or_default().push(outcome);
    }

    pub(in crate::sim) fn spooled(&mut self, agent: usize, batch: Hash) {
        self.spooled.entry(agent).or_default().push(batch);
    }

    /// A newest record with a flipped bit cannot be told from one that a power cut has torn: it may
    /// be given up in silence. Any other is missed.
    pub(in crate::sim) fn damaged(&mut self, agent: usize) {
        self.damaged.insert(agent);
        self.spooled.get_mut(&agent).and_then(Vec::pop);
    }

    /// Whether an agent may have forgotten what it ran and delivered: then it runs the instant again,
    /// both runs are evidence, and the first in the log counts.
    pub(super) fn may_repeat(&self, agent: &str) -> bool {
        self.damaged.iter().any(|at| agent == agent_name(*at))
    }

    /// An agent leaves its chain of batches: only damage gives it a reason to.
    pub(in crate::sim) fn left_chain(&mut self, agent: usize) -> Result<(), String> {
        match self.damaged.contains(&agent) {
            true => {
                self.spooled.remove(&agent);
                Ok(())
            }
            false => Err(format!("agent {} left its chain, and its disk was well", agent + 1)),
        }
    }

    /// Whether a run of this kind was seen to end so.
    pub(super) fn confirms(&self, key: &RunKey, outcome: Outcome) -> bool {
        self.runs.get(key).is_some_and(|outcomes| outcomes.contains(&outcome))
    }
}
