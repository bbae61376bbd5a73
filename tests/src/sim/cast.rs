//! Who takes part: the log, its nodes, its agents, with keys that every run shares.

use proofmark_aggregator::command::{Founder, NodeHost, NodeName};
use proofmark_evidence::{AgentName, Hash, Origin, Policy, PublicKey, SigningKey, sha256};

/// Where a run's clock begins, Unix milliseconds.
pub(super) const BEGIN_MS: u64 = 1_800_000_000_000;

/// The names and keys of a run. They are few and never change, so a run need not draw them.
pub(super) struct Cast {
    pub(super) origin: Origin,
    pub(super) log_id: Hash,
    pub(super) log_key: SigningKey,
    pub(super) nodes: Vec<Cosigner>,
    pub(super) agents: Vec<AgentIdentity>,
    pub(super) policy: Policy,
}

pub(super) struct Cosigner {
    pub(super) name: String,
    pub(super) key: SigningKey,
}

#[derive(Clone)]
pub(super) struct AgentIdentity {
    pub(super) name: AgentName,
    pub(super) key: SigningKey,
}

impl Cast {
    /// So many nodes from the first, and so many agents.
    pub(super) fn new(nodes: u64, agents: u64) -> Self {
        let origin = Origin::parse("sim.example/log").expect("a plain name");
        let log_key = key(99);
        let nodes: Vec<Cosigner> = (1..=nodes)
            .map(|n| Cosigner { name: format!("{origin}/node-{n}"), key: key(100 + n) })
            .collect();
        let public: Vec<(String, PublicKey)> =
            nodes.iter().map(|node| (node.name.clone(), node.key.public())).collect();
        let policy = Policy::for_nodes(&origin, &log_key.public(), &public).expect("few nodes");
        let agents = (1..=agents)
            .enumerate()
            .map(|(at, n)| AgentIdentity {
                name: AgentName::parse(&agent_name(at)).expect("a plain name"),
                key: key(n),
            })
            .collect();
        Self { log_id: origin.log_id(), origin, log_key, nodes, agents, policy }
    }

    /// The same nodes, as a cluster begins its list of members with them.
    pub(super) fn founders(&self) -> Vec<Founder> {
        let founder = |(id, node): (u64, &Cosigner)| {
            let (grpc, peers) = (format!("node-{id}:1"), format!("node-{id}:2"));
            let name = NodeName::parse(&format!("node-{id}")).expect("a plain name");
            Founder { id, name, host: NodeHost { key: node.key.public(), grpc, peers } }
        };
        (1..).zip(&self.nodes).map(founder).collect()
    }

    pub(super) fn genesis_nodes(&self) -> Vec<(String, PublicKey)> {
        self.nodes.iter().map(|node| (node.name.clone(), node.key.public())).collect()
    }
}

/// What the agent at this place among them is called.
pub(super) fn agent_name(at: usize) -> String {
    format!("agent-{}", at + 1)
}

fn key(number: u64) -> SigningKey {
    SigningKey::from_seed(sha256(&number.to_be_bytes()).0)
}
