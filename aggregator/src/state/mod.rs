//! The one place where the replicated state changes.
//!
//! In: committed commands, in order, under the leader's stamp. Out: effects, in order.
//! Same commands, same effects and same bytes of state, on every replica, for ever: nothing here
//! asks the time, reads or writes, draws at random, rounds, iterates in random order, or waits.

// How all of it is kept.
mod row;
mod saved;

// Who may speak, and what was heard.
mod agents;
mod dedupe;
mod tokens;

// Who keeps it.
mod members;
mod version;

// What it says.
mod failures;
mod specs;

// What becomes evidence.
mod cosigners;
mod genesis;
mod seals;

// The commands, one idea each, and what they cause.
mod admit;
mod change;
mod effect;
mod tick;

use proofmark_slo::Ledger;

pub use agents::{Agent, Agents};
pub use effect::{Effect, NewLeaf};
pub use failures::{Failure, Failures};
pub use genesis::Genesis;
pub use members::{Member, MemberPart, Members, Step};
pub use proofmark_slo::RowChange;
pub use saved::LoadFault;
pub use specs::{SpecText, Specs};

use crate::command::{COMMANDS_WITH_MEMBERS, Command, Refusal, Reply};
use crate::limits::STAMP_MS_MAX;
use row::Table;
use saved::Head;
use seals::Seals;
use tokens::Tokens;
use version::Version;

/// Everything the replicas agree on.
#[derive(Clone, Debug)]
pub struct State {
    head: Head,
    genesis: Table<Genesis>,
    agents: Agents,
    tokens: Tokens,
    specs: Specs,
    ledger: Ledger,
    failures: Failures,
    seals: Seals,
    version: Table<Version>,
    members: Members,
}

/// What a command does when it is not refused.
type Applied = Result<Vec<Effect>, Refusal>;

impl State {
    /// Before the first command.
    pub fn new() -> Self {
        Self {
            head: Head::default(),
            genesis: Table::new(),
            agents: Agents::new(),
            tokens: Tokens::new(),
            specs: Specs::new(),
            ledger: Ledger::new(),
            failures: Failures::new(),
            seals: Seals::new(),
            version: Table::new(),
            members: Members::new(),
        }
    }

    /// Applies one command of the entry at `index`, stamped by its leader. A refused command
    /// changes nothing but the clock: stamps are clamped so that time never goes back.
    pub fn apply(&mut self, index: u64, stamped_at_ms: u64, command: &Command) -> Vec<Effect> {
        self.enter(index, stamped_at_ms);
        let effects = self
            .dispatch(command)
            .unwrap_or_else(|refusal| vec![Effect::Reply(Reply::Refused(refusal))]);
        debug_assert_eq!(self.check(), Ok(()), "after {}", command.slug());
        effects
    }

    fn enter(&mut self, index: u64, stamped_at_ms: u64) {
        assert!(index > self.head.applied, "entry {index} was applied: {}", self.head.applied);
        self.head.stamped_at_ms = self.head.stamped_at_ms.max(stamped_at_ms.min(STAMP_MS_MAX));
    }

    /// All commands of the entry are applied.
    pub fn finish_entry(&mut self, index: u64) {
        assert!(index > self.head.applied, "entry {index} was applied: {}", self.head.applied);
        self.head.applied = index;
    }

    /// The newest entry that was applied whole; 0 before the first.
    pub fn applied(&self) -> u64 {
        self.head.applied
    }

    fn dispatch(&mut self, command: &Command) -> Applied {
        match command {
            Command::Genesis { origin, log_key, nodes } => self.begin(origin, log_key, nodes),
            _ if self.genesis().is_none() => Err(Refusal::NotInitialised),
            Command::Admit { leaf, payload } => self.admit(leaf, payload),
            Command::ApplySpec { author, text } => self.apply_spec(author, text),
            Command::CreateToken { token_id, secret_hash, agent, expires_at_ms } => {
                self.create_token(*token_id, *secret_hash, agent.as_ref(), *expires_at_ms)
            }
            Command::Enrol { token_id, secret, agent, key } => {
                self.enrol(token_id, secret, agent, key)
            }
            Command::Retire { agent } => self.retire(agent),
            Command::Tick => self.tick(),
            Command::Seal { size, root } => self.seal(*size, *root),
            Command::Cosign { .. } => self.cosign(command),
            Command::RaiseVersion { to, founders } => self.raise_version(*to, founders),
            Command::InviteNode { token_id, secret_hash, name, replaces, expires_at_ms } => {
                self.invite_node(*token_id, *secret_hash, name, replaces.as_ref(), *expires_at_ms)
            }
            Command::JoinNode { token_id, secret, name, host } => {
                self.join_node(token_id, secret, name, host)
            }
            Command::LeaveNode { name } => self.leave_node(name),
            Command::ChangeNodes { .. } => Err(Refusal::ChangeMisplaced),
        }
    }

    /// The log's identity; `None` before its first leaf.
    pub fn genesis(&self) -> Option<&Genesis> {
        self.genesis.get(&())
    }

    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    pub fn specs(&self) -> &Specs {
        &self.specs
    }

    /// Series and objectives, as of the newest tick.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// The replicas, and Raft's membership.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Leaves under the newest published checkpoint.
    pub fn published_size(&self) -> u64 {
        self.seals.published_size()
    }

    /// Leaves in the log, published or not.
    pub fn leaf_count(&self) -> u64 {
        self.head.leaf_count
    }

    /// The stamp of the newest command, never less than the one before.
    pub fn stamped_at_ms(&self) -> u64 {
        self.head.stamped_at_ms
    }

    /// What must hold between any two commands. Says what does not.
    pub fn check(&self) -> Result<(), String> {
        let leaves = self.head.leaf_count;
        if self.genesis().is_some() != (leaves > 0) {
            return Err(format!("{leaves} leaves, genesis {:?}", self.genesis()));
        }
        self.agents.check(leaves)?;
        self.tokens.check()?;
        self.specs.check(leaves)?;
        self.failures.check(leaves)?;
        self.members.check()?;
        if (self.version() >= COMMANDS_WITH_MEMBERS) != self.members.membership().is_some() {
            return Err(format!("version {}, {:?}", self.version(), self.members));
        }
        self.seals.check(self.genesis(), leaves)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
