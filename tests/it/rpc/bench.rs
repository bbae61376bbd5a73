//! A gateway to call: real identity, TLS, ingest, admission and state; time and consensus by hand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use proofmark_aggregator::admission::{AdmissionWorkers, Standing};
use proofmark_aggregator::clock::Clock;
use proofmark_aggregator::command::{Command, Founder, NodeHost, NodeName, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::identity::{ClusterPlan, NodeIdentity, NodePlan};
use proofmark_aggregator::ingest::{
    AgentDirectory, Counters, Handles, Leadership, Proposer, SpecSnapshot, serve,
};
use proofmark_aggregator::state::{Effect, State};
use proofmark_aggregator::views::members::MembersView;
use proofmark_evidence::{AgentName, Origin, PublicKey, SigningKey, sha256};
use proofmark_proto::{JoinToken, NodeToken};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The state, applied where it is proposed: what consensus is when nothing goes wrong.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
}

struct Inner {
    state: State,
    index: u64,
    /// The replica that leads; this one is 1. `None`: it is cut off from whoever does.
    leader: Option<u64>,
    /// Outcomes given instead of applying, oldest first.
    scripted: VecDeque<ProposalOutcome>,
}

impl Consensus {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The next proposal gets this outcome and is not applied.
    pub fn script(&self, outcome: ProposalOutcome) {
        self.lock().scripted.push_back(outcome);
    }

    /// Nothing is decided here until it has a leader again.
    pub fn set_leaderless(&self, is_leaderless: bool) {
        self.lock().leader = (!is_leaderless).then_some(1);
    }

    /// From now on that replica leads.
    pub fn follow(&self, leader: u64) {
        self.lock().leader = Some(leader);
    }

    pub fn apply(&self, command: &Command) -> Reply {
        let mut inner = self.lock();
        inner.index += 1;
        let (index, now_ms) = (inner.index, self.clock.unix_ms());
        // A change of the members is applied as Raft does it.
        let effects = match command {
            Command::ChangeNodes { .. } => inner.state.apply_change(index, now_ms, command).0,
            _ => inner.state.apply(index, now_ms, command),
        };
        inner.state.finish_entry(index);
        let reply = effects.into_iter().find_map(|effect| match effect {
            Effect::Reply(reply) => Some(reply),
            _ => None,
        });
        reply.expect("every command has a reply")
    }
}

impl Proposer for Consensus {
    async fn propose(&self, command: Command) -> ProposalOutcome {
        if self.lock().leader.is_none() {
            return ProposalOutcome::NotLeader { leader: None };
        }
        if let Some(outcome) = self.lock().scripted.pop_front() {
            return outcome;
        }
        ProposalOutcome::Applied(self.apply(&command))
    }

    fn leadership(&self) -> Leadership {
        let inner = self.lock();
        let (leader, commit) = (inner.leader, inner.index);
        Leadership { own: 1, leader, commit, peers: Vec::new() }
    }

    async fn transfer_leader(&self, to: u64) -> Result<(), String> {
        Err(format!("node {to} is not there"))
    }
}

impl AgentDirectory for Consensus {
    fn find(&self, agent: &AgentName) -> Option<Standing> {
        let inner = self.lock();
        let agent = inner.state.agents().get(agent)?;
        Some(Standing {
            key: agent.key,
            epoch: agent.epoch,
            next_seq: agent.next_seq,
            last_hash: agent.last_header_hash,
            retired: agent.is_retired,
        })
    }
}

/// A cluster of one node, and its open agent ports.
pub struct Bench {
    pub identity: Arc<NodeIdentity>,
    pub consensus: Consensus,
    pub clock: Clock,
    pub specs: watch::Sender<SpecSnapshot>,
    pub checkpoint: watch::Sender<Arc<str>>,
    pub diverged: watch::Sender<bool>,
    pub members: watch::Sender<Arc<MembersView>>,
    pub dir: TempDir,
    tokens: u8,
}

/// One served agent port. Dropping it cuts it off.
pub struct Gateway {
    pub address: String,
    pub counters: Counters,
    stop: watch::Sender<bool>,
    served: JoinSet<()>,
}

impl Bench {
    /// A cluster whose genesis is applied. The clock stands still at now (certificates are judged
    /// by the machine's time).
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Clock::system().unix_ms());
        let plan = ClusterPlan {
            origin: Origin::parse("proofmark.test/log").unwrap(),
            nodes: vec![NodePlan { id: 1, name: "a1".to_owned(), hosts: Vec::new() }],
            operator: "ann".to_owned(),
        };
        let identity = NodeIdentity::create_cluster(dir.path(), &plan, clock.unix_ms()).unwrap();
        let (state, leader) = (State::new(), Some(1));
        let inner = Inner { state, index: 0, leader, scripted: VecDeque::new() };
        let consensus = Consensus { inner: Arc::new(Mutex::new(inner)), clock: clock.clone() };
        let own = identity.own();
        consensus.apply(&Command::Genesis {
            origin: identity.origin.clone(),
            log_key: identity.log_key.public(),
            nodes: vec![(own.cosigner_name.clone(), own.cosigner_key)],
        });
        let members = Arc::new(MembersView::of(&consensus.lock().state));
        Bench {
            identity: Arc::new(identity),
            consensus,
            clock,
            specs: watch::Sender::new(SpecSnapshot::default()),
            checkpoint: watch::Sender::new(Arc::from("")),
            diverged: watch::Sender::new(false),
            members: watch::Sender::new(members),
            dir,
            tokens: 0,
        }
    }

    /// Opens an agent port on a free address.
    pub async fn open(&self) -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let counters = Counters::default();
        let handles = self.handles(&address, counters.clone());
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let mut served = JoinSet::new();
        served.spawn(async move { serve(listener, handles, stopped).await.unwrap() });
        Gateway { address, counters, stop, served }
    }

    /// What an agent port at `address` works with.
    pub fn handles(&self, address: &str, counters: Counters) -> Handles<Consensus, Consensus> {
        Handles {
            identity: Arc::clone(&self.identity),
            proposer: self.consensus.clone(),
            agents: self.consensus.clone(),
            specs: self.specs.subscribe(),
            checkpoint: self.checkpoint.subscribe(),
            diverged: self.diverged.subscribe(),
            members: self.members.subscribe(),
            evidence_dir: Arc::new(self.dir.path().to_owned()),
            addresses: vec![address.to_owned()],
            clock: self.clock.clone(),
            workers: AdmissionWorkers::per_core(),
            counters,
        }
    }

    /// A new join token, good for ten minutes.
    pub fn token(&mut self, agent: Option<&AgentName>) -> JoinToken {
        self.tokens += 1;
        let (id, secret) = ([self.tokens; 16], [0x5e; 16]);
        let command = Command::CreateToken {
            token_id: id,
            secret_hash: sha256(&secret),
            agent: agent.cloned(),
            expires_at_ms: self.clock.unix_ms() + 600_000,
        };
        assert_eq!(self.consensus.apply(&command), Reply::TokenCreated);
        let ca_sha256 = self.identity.authority.sha256().0;
        JoinToken { id, secret, ca_sha256, addresses: Vec::new() }
    }

    /// Every replica knows the commands about replicas: the state keeps a list of them.
    pub fn raise_version(&self) {
        let own = self.identity.own();
        let host = host(own.cosigner_key, &own.name);
        let founder = Founder { id: own.id, name: node_name(&own.name), host };
        let command = Command::RaiseVersion { to: 2, founders: vec![founder] };
        assert_eq!(self.consensus.apply(&command), Reply::Done);
        self.show_members();
    }

    /// Invites a replica, or one in another's place; its token is good for ten minutes.
    pub fn invite(&mut self, name: &str, replaces: Option<&str>) -> NodeToken {
        self.tokens += 1;
        let (id, secret) = ([self.tokens; 16], [0x5e; 16]);
        let command = Command::InviteNode {
            token_id: id,
            secret_hash: sha256(&secret),
            name: node_name(name),
            replaces: replaces.map(node_name),
            expires_at_ms: self.clock.unix_ms() + 600_000,
        };
        let reply = self.consensus.apply(&command);
        assert!(matches!(reply, Reply::NodeInvited { .. }), "{reply:?}");
        self.show_members();
        let ca_sha256 = self.identity.authority.sha256().0;
        let join = JoinToken { id, secret, ca_sha256, addresses: Vec::new() };
        NodeToken { join, log_id: self.identity.log_id().0 }
    }

    /// A replica that nobody hears: invited, joined, and given its vote.
    pub fn seat(&mut self, name: &str) {
        let token = self.invite(name, None);
        let (token_id, secret) = (token.join.id, token.join.secret);
        let host = host(SigningKey::from_seed([self.tokens; 32]).public(), name);
        let joined = Command::JoinNode { token_id, secret, name: node_name(name), host };
        let reply = self.consensus.apply(&joined);
        assert!(matches!(reply, Reply::NodeJoined { .. }), "{reply:?}");
        for _ in ["learner", "voter"] {
            let steps = self.consensus.lock().state.members().steps();
            let change = Command::ChangeNodes { change: steps[0].change.clone() };
            assert_eq!(self.consensus.apply(&change), Reply::Done);
        }
        self.show_members();
    }

    /// As the node does after an entry.
    pub fn show_members(&self) {
        let view = MembersView::of(&self.consensus.lock().state);
        self.members.send_replace(Arc::new(view));
    }

    /// Registers an agent's key, without any RPC.
    pub fn register(&mut self, agent: &AgentName, key: PublicKey) {
        let token = self.token(None);
        let (token_id, secret, agent) = (token.id, token.secret, agent.clone());
        let reply = self.consensus.apply(&Command::Enrol { token_id, secret, agent, key });
        assert!(matches!(reply, Reply::Enrolled { .. }), "{reply:?}");
    }
}

fn node_name(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn host(key: PublicKey, name: &str) -> NodeHost {
    NodeHost { key, grpc: format!("{name}.test:7681"), peers: format!("{name}.test:7682") }
}

impl Gateway {
    /// Drains and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.served.join_next().await {
            ended.unwrap();
        }
    }
}
