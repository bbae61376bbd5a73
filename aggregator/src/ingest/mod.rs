//! Ingest: the agent port. Agents enrol and stream their batches; operators ask for changes.
//!
//! In:  connections from anyone.   Out: commands for consensus, and answers that wait for it.
//! A connection's way: [`door`] (who may connect at all, and how many) → tonic, with its limits
//! set in [`server`] → [`gateway`] or [`operator`] (who may call what) → [`session`] (one agent's
//! stream: admission, proposal, ack).
//!
//! An ack is decided in `state/admit.rs` after commit, handed on by `consensus/apply_thread.rs`,
//! and said in [`session`], from the state's reply and from nothing else. Ingest holds no state
//! that a restart would miss, and never reads Raft's or the log's files.

pub mod counters;
pub mod door;
mod enrol;
mod gateway;
mod operator;
mod refusal;
mod server;
mod session;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use proofmark_evidence::AgentName;

use crate::admission::{AdmissionWorkers, Standing};
use crate::clock::Clock;
use crate::command::Command;
use crate::consensus::{ConsensusHandle, ProposalOutcome};
use crate::identity::NodeIdentity;

pub use counters::Counters;
pub use server::serve;

/// Where commands go. Consensus in a program; something scripted in a test.
pub trait Proposer: Clone + Send + Sync + 'static {
    /// Resolves when the command is applied here, or cannot be. Commands are proposed in the order
    /// in which the futures are first polled.
    fn propose(&self, command: Command) -> impl Future<Output = ProposalOutcome> + Send;

    /// What a command would be told now without being looked at; none while there is room.
    fn busy(&self) -> Option<ProposalOutcome> {
        None
    }
}

impl Proposer for ConsensusHandle {
    async fn propose(&self, command: Command) -> ProposalOutcome {
        ConsensusHandle::propose(self, command).await
    }

    fn busy(&self) -> Option<ProposalOutcome> {
        ConsensusHandle::busy(self)
    }
}

/// What is known of agents. The newest applied state in a program; a plain map in a test.
pub trait AgentDirectory: Clone + Send + Sync + 'static {
    fn find(&self, agent: &AgentName) -> Option<Standing>;
}

/// All agents, as one entry of the log left them.
pub type AgentsView = BTreeMap<AgentName, Standing>;

impl AgentDirectory for watch::Receiver<Arc<AgentsView>> {
    fn find(&self, agent: &AgentName) -> Option<Standing> {
        self.borrow().get(agent).cloned()
    }
}

/// All documents in force (or about to be) as one text. Revision 0: none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecSnapshot {
    pub revision: u64,
    /// Unix time, ms.
    pub effective_at_ms: u64,
    /// YAML, multi-document.
    pub text: Arc<str>,
}

/// What ingest needs of the rest of the node. Everything is a handle; clones share.
#[derive(Clone)]
pub struct Handles<P, D> {
    pub identity: Arc<NodeIdentity>,
    pub proposer: P,
    pub agents: D,
    pub specs: watch::Receiver<SpecSnapshot>,
    /// The newest published checkpoint, a signed note; empty: none yet.
    pub checkpoint: watch::Receiver<Arc<str>>,
    /// Raised when this replica's log differs from the majority's: nobody is served any more, and
    /// whoever asks goes to another replica.
    pub diverged: watch::Receiver<bool>,
    /// host:port of every node's agent port, told to agents at enrolment and in tokens.
    pub addresses: Vec<String>,
    pub clock: Clock,
    pub workers: AdmissionWorkers,
    pub counters: Counters,
}

impl<P, D> Handles<P, D> {
    /// Asked first by every RPC.
    fn check_serving(&self) -> Result<(), tonic::Status> {
        match *self.diverged.borrow() {
            true => Err(refusal::diverged(&self.counters)),
            false => Ok(()),
        }
    }
}
