//! A gateway to call: real identity, TLS, ingest, admission and state; time and consensus by hand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use proofmark_aggregator::admission::{AdmissionWorkers, Standing};
use proofmark_aggregator::clock::Clock;
use proofmark_aggregator::command::{Command, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::identity::{ClusterPlan, NodeIdentity, NodePlan};
use proofmark_aggregator::ingest::{
    AgentDirectory, Counters, Handles, Leadership, Proposer, SpecSnapshot, serve,
};
use proofmark_aggregator::state::{Effect, State};
use proofmark_aggregator::views::members::MembersView;
use proofmark_evidence::{AgentName, Origin, PublicKey, sha256};
use proofmark_proto::JoinToken;
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
    /// Outcomes given instead of applying, oldest first.
    scripted: VecDeque<ProposalOutcome>,
    /// Cut off from whoever leads.
    is_leaderless: bool,
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
        self.lock().is_leaderless = is_leaderless;
    }

    pub fn apply(&self, command: &Command) -> Reply {
        let mut inner = self.lock();
        inner.index += 1;
        let (index, now_ms) = (inner.index, self.clock.unix_ms());
        let effects = inner.state.apply(index, now_ms, command);
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
        if self.lock().is_leaderless {
            return ProposalOutcome::NotLeader { leader: None };
        }
        if let Some(outcome) = self.lock().scripted.pop_front() {
            return outcome;
        }
        ProposalOutcome::Applied(self.apply(&command))
    }

    fn leadership(&self) -> Leadership {
        Leadership { own: 1, leader: Some(1), commit: self.lock().index, peers: Vec::new() }
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
            nodes: vec![NodePlan { id: 1, name: "a".to_owned(), hosts: Vec::new() }],
            operator: "ann".to_owned(),
        };
        let identity = NodeIdentity::create_cluster(dir.path(), &plan, clock.unix_ms()).unwrap();
        let inner = Inner {
            state: State::new(),
            index: 0,
            scripted: VecDeque::new(),
            is_leaderless: false,
        };
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

    /// Registers an agent's key, without any RPC.
    pub fn register(&mut self, agent: &AgentName, key: PublicKey) {
        let token = self.token(None);
        let (token_id, secret, agent) = (token.id, token.secret, agent.clone());
        let reply = self.consensus.apply(&Command::Enrol { token_id, secret, agent, key });
        assert!(matches!(reply, Reply::Enrolled { .. }), "{reply:?}");
    }
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
