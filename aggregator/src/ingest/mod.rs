//! Ingest: the agent port. Agents enrol and stream their batches; operators ask for changes.
//!
//! In:  connections from anyone.   Out: commands for consensus, and answers that wait for it.
//! A connection's way: [`door`] (who may connect at all, and how many) → tonic, with its limits
//! set in [`server`] → [`gateway`] or [`operator`] (who may call what) → [`session`] (one agent's
//! stream: admission, proposal, ack).
//!
//! An ack is decided in `state/admit.rs` after commit, handed on by `consensus/apply_thread.rs`,
//! and said in [`session`], from the state's reply and from nothing else. Ingest holds no state
//! that a restart would miss, never reads Raft's files, and of the log's only what proves new nodes
//! to an agent ([`roll_over`]).

pub mod counters;
pub mod door;
mod enrol;
mod gateway;
mod join;
mod members;
mod operator;
mod refusal;
mod roll_over;
mod server;
mod session;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use proofmark_evidence::AgentName;
use proofmark_proto::limits::TOKEN_ADDRESSES_MAX;

use crate::admission::{AdmissionWorkers, Standing};
use crate::clock::Clock;
use crate::command::Command;
use crate::consensus::driver::PeerProgress;
use crate::consensus::{ConsensusHandle, ProposalOutcome};
use crate::identity::NodeIdentity;
use crate::views::members::MembersView;

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

    /// Who leads, and what only a leader knows.
    fn leadership(&self) -> Leadership;

    /// Hands leadership to this node and waits until it leads. The fault is for a person.
    fn transfer_leader(&self, to: u64) -> impl Future<Output = Result<(), String>> + Send;
}

/// A replica's view of who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    pub own: u64,
    pub leader: Option<u64>,
    /// Raft index of the newest committed entry.
    pub commit: u64,
    /// The other members; empty unless this replica leads.
    pub peers: Vec<PeerStanding>,
}

/// A member as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStanding {
    pub id: u64,
    /// Raft index of the newest entry that it has confirmed.
    pub matched: u64,
    /// It was heard a moment ago.
    pub is_active: bool,
}

impl Leadership {
    fn is_active(&self, id: u64) -> bool {
        id == self.own || self.peers.iter().any(|peer| peer.id == id && peer.is_active)
    }
}

impl Proposer for ConsensusHandle {
    async fn propose(&self, command: Command) -> ProposalOutcome {
        ConsensusHandle::propose(self, command).await
    }

    fn busy(&self) -> Option<ProposalOutcome> {
        ConsensusHandle::busy(self)
    }

    fn leadership(&self) -> Leadership {
        let status = *self.status().borrow();
        let progress = self.progress();
        let standing = |peer: &PeerProgress| PeerStanding {
            id: peer.node_id,
            matched: peer.matched,
            is_active: peer.is_active,
        };
        let peers = progress.borrow().iter().map(standing).collect();
        Leadership { own: status.node_id, leader: status.leader, commit: status.commit, peers }
    }

    async fn transfer_leader(&self, to: u64) -> Result<(), String> {
        ConsensusHandle::transfer_leader(self, to).await.map_err(|why| why.to_string())
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
    /// The replicas, and the policy in force.
    pub members: watch::Receiver<Arc<MembersView>>,
    /// Where the log's files lie: what proves new nodes to an agent is read there.
    pub evidence_dir: Arc<PathBuf>,
    /// host:port of every node's agent port as configured; counts until the state keeps a list.
    pub addresses: Vec<String>,
    pub clock: Clock,
    pub workers: AdmissionWorkers,
    pub counters: Counters,
}

impl<P, D> Handles<P, D> {
    /// host:port of every replica's agent port, as of now.
    fn addresses(&self) -> Vec<String> {
        let members = self.members.borrow();
        let known: Vec<String> = members.present().map(|member| member.grpc.clone()).collect();
        if known.is_empty() { self.addresses.clone() } else { known }
    }

    /// As many of them as a token may carry.
    fn token_addresses(&self) -> Vec<String> {
        self.addresses().into_iter().take(TOKEN_ADDRESSES_MAX).collect()
    }

    /// The policy in force; before the first leaf, the one that it will imply.
    fn policy(&self) -> String {
        let policy = self.members.borrow().policy.clone();
        if policy.is_empty() { self.identity.policy.clone() } else { policy.to_string() }
    }

    /// Asked first by every RPC.
    fn check_serving(&self) -> Result<(), tonic::Status> {
        match *self.diverged.borrow() {
            true => Err(refusal::diverged(&self.counters)),
            false => Ok(()),
        }
    }
}
