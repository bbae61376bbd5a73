//! Three replicas, real threads, real TLS, over loopback.

use std::sync::Arc;
use std::time::Duration;

use proofmark_evidence::Origin;
use proofmark_proto::fetch_request::Ask;
use proofmark_proto::{FetchCheckpoint, FetchRequest, ForwardRequest, RaftMessage, RaftMessages};
use raft::eraftpb::MessageType;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt as _};

use super::*;
use crate::catchup::Shelf;
use crate::clock::Clock;
use crate::command::{Command, Reply};
use crate::consensus::driver::{ChangeRefused, DriverConfig, PeerProgress};
use crate::consensus::log_store::{LogIdentity, LogStore};
use crate::consensus::{
    Applier, Consensus, ConsensusStatus, Membership, MembershipChange, Part, ProposalOutcome, Role,
    SnapshotMeta,
};
use crate::identity::{ClusterPlan, NodeIdentity, NodePlan, PeerStarts, Start};
use crate::limits::LOG_TAIL_BYTES_MAX;
use crate::snapshot::{DiskFiles, SnapshotStore};

/// Counts commands; keeps every entry's bytes; agrees to one change of the membership.
struct Journal(Vec<Vec<u8>>, Membership);

impl Default for Journal {
    fn default() -> Self {
        Self(Vec::new(), Membership::of_voters([1, 2, 3]))
    }
}

/// The change to which a journal agrees.
fn only_listening(node_id: u64) -> MembershipChange {
    MembershipChange::one(node_id, Part::Learner)
}

impl Applier for Journal {
    fn look(&mut self) {}

    fn apply(&mut self, _: u64, data: &[u8]) -> Vec<Reply> {
        if data.is_empty() {
            return Vec::new();
        }
        let commands = crate::command::Entry::decode(data).unwrap().commands.len();
        self.0.push(data.to_vec());
        vec![Reply::Done; commands]
    }

    fn apply_change(&mut self, index: u64, context: &[u8]) -> (Vec<Reply>, Option<Membership>) {
        let replies = self.apply(index, context);
        let after = self.1.after(&only_listening(3)).ok();
        self.1 = after.clone().unwrap_or(self.1.clone());
        (replies, after)
    }

    fn install(&mut self, _: &SnapshotMeta) {
        unreachable!("nobody here compacts a log");
    }

    fn membership(&self) -> Option<Membership> {
        Some(self.1.clone())
    }
}

struct Node {
    consensus: Consensus<Journal>,
    book: Arc<PeerBook>,
    transport: JoinHandle<()>,
    shutdown: oneshot::Sender<()>,
}

/// Identities, addresses and directories of a cluster; nodes come and go.
struct Cluster {
    identities: Vec<NodeIdentity>,
    peers: Vec<PeerAddress>,
    dir: tempfile::TempDir,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identities = identities(dir.path());
        let mut listeners = Vec::new();
        let mut peers = Vec::new();
        for identity in &identities {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            peers.push(PeerAddress { node_id: identity.node_id, address });
            listeners.push(listener);
            let log = dir.path().join(format!("log-{}", identity.node_id));
            LogStore::create(&log, log_identity(identity), &[1, 2, 3]).unwrap();
        }
        let mut cluster = Self { identities, peers, dir, nodes: Vec::new() };
        for (node, listener) in listeners.into_iter().enumerate() {
            let started = cluster.start_node(node, listener);
            cluster.nodes.push(Some(started));
        }
        cluster
    }

    fn start_node(&self, node: usize, listener: TcpListener) -> Node {
        let identity = &self.identities[node];
        let config = self.transport_config(node);
        let book = Arc::clone(&config.book);
        let (transport, outbox) = Transport::new(config);
        let log = self.dir.path().join(format!("log-{}", identity.node_id));
        let log = LogStore::open(&log, log_identity(identity)).unwrap();
        let config = DriverConfig {
            node_id: identity.node_id,
            applied: 0,
            membership: Membership::of_voters([1, 2, 3]),
            jitter_seed: 7,
            tail_bytes_max: LOG_TAIL_BYTES_MAX,
        };
        let journal = Journal::default();
        let consensus = Consensus::start(&config, log, journal, outbox, Clock::system()).unwrap();
        let (shutdown, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let run = transport.run(consensus.handle(), self.desk(node), listener, stopped);
        #[expect(clippy::disallowed_methods, reason = "the node owns and awaits it")]
        let transport = tokio::spawn(run);
        Node { consensus, book, transport, shutdown }
    }

    /// An empty shelf.
    fn desk(&self, node: usize) -> FetchDesk {
        let dir = self.dir.path().join(format!("snapshots-{node}"));
        let store = SnapshotStore::open(Arc::new(DiskFiles::open(&dir).unwrap())).unwrap();
        let (_, published) = watch::channel("".into());
        FetchDesk::new(Shelf::new(store, dir, published), 1 << 20, Clock::system())
    }

    fn transport_config(&self, node: usize) -> TransportConfig {
        let identity = &self.identities[node];
        let dir = self.dir.path().join(format!("identity-{}", identity.node_id));
        let starts = PeerStarts::open(&dir).unwrap();
        TransportConfig {
            node_id: identity.node_id,
            log_id: identity.log_id(),
            address: self.peers[node].address.clone(),
            start: Start::begin(&dir).unwrap(),
            book: PeerBook::new(identity.node_id, self.peers.clone(), starts),
            tls: PeerTls {
                server: identity.peer_server_config().unwrap(),
                client: identity.peer_client_config().unwrap(),
            },
        }
    }

    async fn stop_node(&mut self, node: usize) -> Journal {
        let Node { consensus, transport, shutdown, .. } = self.nodes[node].take().unwrap();
        shutdown.send(()).unwrap();
        transport.await.unwrap();
        tokio::task::spawn_blocking(|| consensus.stop()).await.unwrap()
    }

    async fn restart_node(&mut self, node: usize) {
        let address = &self.peers[node].address;
        let listener = TcpListener::bind(address).await.unwrap();
        self.nodes[node] = Some(self.start_node(node, listener));
    }

    fn handle(&self, node: usize) -> ConsensusHandle {
        self.nodes[node].as_ref().unwrap().consensus.handle()
    }

    fn running(&self) -> Vec<usize> {
        (0..3).filter(|node| self.nodes[*node].is_some()).collect()
    }

    /// Waits until every running node follows the same running leader.
    async fn leader(&self) -> usize {
        let mut leader = None;
        for node in self.running() {
            let is_led = |status: &ConsensusStatus| {
                let running = |id: u64| self.nodes[id as usize - 1].is_some();
                status.leader.is_some_and(running)
            };
            leader = wait_for(self.handle(node).status(), is_led).await.leader;
        }
        leader.unwrap() as usize - 1
    }

    /// Proposes on one node until it is applied, as ingest would have its agents do.
    async fn propose(&self, node: usize) {
        loop {
            match self.handle(node).propose(Command::Tick).await {
                ProposalOutcome::Applied(reply) => return assert_eq!(reply, Reply::Done),
                ProposalOutcome::TooLarge { .. } => panic!("a tick is small"),
                ProposalOutcome::Busy { .. }
                | ProposalOutcome::Lost
                | ProposalOutcome::NotLeader { .. } => {
                    let mut status = self.handle(node).status();
                    let _ = tokio::time::timeout(Duration::from_millis(50), status.changed()).await;
                }
            }
        }
    }
}

async fn wait_for(
    mut status: watch::Receiver<ConsensusStatus>,
    is_so: impl FnMut(&ConsensusStatus) -> bool,
) -> ConsensusStatus {
    let patience = Duration::from_secs(120);
    *tokio::time::timeout(patience, status.wait_for(is_so)).await.expect("in time").unwrap()
}

fn identities(dir: &std::path::Path) -> Vec<NodeIdentity> {
    let name = |id: u64| ["a", "b", "c"][id as usize - 1].to_owned();
    let node = |id| NodePlan { id, name: name(id), hosts: Vec::new() };
    let origin = Origin::parse("transport.example/log").unwrap();
    let plan = ClusterPlan { origin, nodes: vec![node(1), node(2), node(3)], operator: "o".into() };
    let first = dir.join("identity-1");
    let now_ms = Clock::system().unix_ms();
    let mut identities = vec![NodeIdentity::create_cluster(&first, &plan, now_ms).unwrap()];
    for id in [2, 3] {
        let bundle = first.join(format!("node-{id}.bundle"));
        let own = dir.join(format!("identity-{id}"));
        identities.push(NodeIdentity::from_bundle(&own, &bundle).unwrap());
    }
    identities
}

fn log_identity(identity: &NodeIdentity) -> LogIdentity {
    LogIdentity { log_id: identity.log_id().0, node_id: identity.node_id }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_agree_through_forwards_and_a_lost_leader() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    // From every node: two of them forward.
    for node in 0..3 {
        cluster.propose(node).await;
    }
    // The leader goes, another takes over, and the old one catches up from its log.
    cluster.stop_node(leader).await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    for node in cluster.running() {
        cluster.propose(node).await;
    }
    cluster.restart_node(leader).await;
    cluster.propose(leader).await;
    let last = wait_for(cluster.handle(next).status(), |s| s.applied == s.commit).await.commit;
    let mut journals = Vec::new();
    for node in 0..3 {
        wait_for(cluster.handle(node).status(), |status| status.applied >= last).await;
    }
    for node in 0..3 {
        journals.push(cluster.stop_node(node).await.0);
    }
    // The restarted node applied everything again, and all of it is the same on each.
    assert!(journals.iter().all(|journal| *journal == journals[0]), "{journals:?}");
    assert!(journals[0].len() >= 6, "three, two and one command in as many entries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_and_another_cluster_are_refused() {
    let mut cluster = Cluster::start().await;
    cluster.leader().await;
    let mut config = cluster.transport_config(0);
    config.log_id = proofmark_evidence::sha256(b"another log");
    // Node 1's certificate, another cluster's hello: the stream to node 2 ends with a status.
    let status = client::tests_only::introduce(&config, &cluster.peers[1]).await.unwrap_err();
    assert!(status.message().starts_with("wrong_cluster"), "{status}");
    config = cluster.transport_config(0);
    config.node_id = 3;
    let status = client::tests_only::introduce(&config, &cluster.peers[1]).await.unwrap_err();
    assert!(status.message().starts_with("wrong_node"), "{status}");
    // No certificate at all: TLS ends it.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let anonymous = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.tls.client = Arc::new(anonymous);
    assert!(client::tests_only::introduce(&config, &cluster.peers[1]).await.is_err());
    for node in 0..3 {
        cluster.stop_node(node).await;
    }
}

/// What one node says to another, by hand.
struct Caller {
    config: TransportConfig,
    to: PeerAddress,
}

impl Caller {
    async fn say(&self, message: RaftMessage) -> String {
        let frame = RaftMessages { from: Some(hello(&self.config)), messages: vec![message] };
        self.talk(tokio_stream::once(frame)).await
    }

    /// Introduces itself, says no more, and does not hang up.
    async fn stay(&self) -> String {
        let frame = RaftMessages { from: Some(hello(&self.config)), messages: Vec::new() };
        self.talk(tokio_stream::once(frame).chain(tokio_stream::pending())).await
    }

    async fn talk(&self, frames: impl Stream<Item = RaftMessages> + Send + 'static) -> String {
        let mut client = client::tests_only::client(&self.config, &self.to).await.unwrap();
        slug(client.raft(frames).await)
    }

    async fn forward(&self, command: &'static [u8]) -> String {
        let mut client = client::tests_only::client(&self.config, &self.to).await.unwrap();
        let (from, commands) = (Some(hello(&self.config)), vec![command.into()]);
        slug(client.forward(ForwardRequest { from, commands }).await)
    }

    async fn fetch(&self) -> String {
        let mut client = client::tests_only::client(&self.config, &self.to).await.unwrap();
        let (from, ask) = (Some(hello(&self.config)), Some(Ask::Checkpoint(FetchCheckpoint {})));
        slug(client.fetch(FetchRequest { from, ask }).await)
    }
}

fn slug<T>(answer: Result<T, tonic::Status>) -> String {
    let said = answer.map_or_else(|status| status.message().to_owned(), |_| "taken".to_owned());
    said.split(':').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_says_is_held_to_its_certificate_until_it_is_removed() {
    let mut cluster = Cluster::start().await;
    cluster.leader().await;
    cluster.stop_node(0).await;
    // In node 1's name: it is not there itself.
    let caller = Caller { config: cluster.transport_config(0), to: cluster.peers[1].clone() };
    let message = |from, msg_type| RaftMessage { from, to: 2, msg_type, ..RaftMessage::default() };
    let heartbeat = MessageType::MsgHeartbeat as u32;
    assert_eq!(caller.say(message(3, heartbeat)).await, "wrong_sender");
    assert_eq!(caller.say(message(1, 99)).await, "message_kind");
    assert_eq!(caller.say(message(1, heartbeat)).await, "taken");
    assert_eq!(caller.forward(b"no command").await, "command");
    assert_eq!(caller.fetch().await, "taken");

    let book = Arc::clone(&cluster.nodes[1].as_ref().unwrap().book);
    let removed = async {
        while book.commands_version([1]).is_none() {
            tokio::task::yield_now().await;
        }
        book.set_state(StatePeers { version: 1, gone: [1].into(), ..StatePeers::default() });
    };
    let (told, ()) = tokio::join!(caller.stay(), removed);
    assert_eq!(told, "removed_node", "the open stream ends");
    assert_eq!(caller.say(message(1, heartbeat)).await, "removed_node");
    assert_eq!(caller.forward(b"no command").await, "removed_node");
    assert_eq!(caller.fetch().await, "removed_node");
    for node in 1..3 {
        cluster.stop_node(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_where_it_is_told_and_members_change_for_all() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let to = if leader == 0 { 1 } else { 0 };
    // On a busy machine an election takes longer than the offer stands: then it is asked again.
    while cluster.leader().await != to {
        let _ = cluster.handle(cluster.leader().await).transfer_leader(to as u64 + 1).await;
    }
    let leader = cluster.running().into_iter().find(|node| *node != to).unwrap();
    let not_leader = cluster.handle(leader).transfer_leader(3).await.unwrap_err();
    assert_eq!(not_leader.slug(), "not_leader");
    // A read on any replica has seen what was acknowledged on any other.
    for node in 0..3 {
        cluster.propose(0).await;
        let acknowledged = cluster.handle(to).status().borrow().applied;
        let index = cluster.handle(node).read_index().await.unwrap();
        assert!(index >= acknowledged, "node {node}: {index} of {acknowledged}");
    }
    let changed = loop {
        match cluster.handle(to).propose_change(only_listening(3), &Command::Tick).await {
            Err(ChangeRefused::Pending) => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert_eq!(changed, Ok(ProposalOutcome::Applied(Reply::Done)));
    let is_told = |progress: &Vec<PeerProgress>| progress.iter().any(|peer| peer.matched > 0);
    cluster.handle(to).progress().wait_for(is_told).await.unwrap();
    cluster.propose(2).await;
    let last = cluster.handle(to).status().borrow().commit;
    for node in 0..3 {
        wait_for(cluster.handle(node).status(), |status| status.applied >= last).await;
    }
    for node in 0..3 {
        let journal = cluster.stop_node(node).await;
        assert_eq!(journal.1.learners, [3].into(), "node {node}");
    }
}

#[tokio::test]
async fn a_group_of_one_leads_itself_at_once_and_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let identity = LogIdentity { log_id: [1; 32], node_id: 1 };
    LogStore::create(dir.path(), identity, &[1]).unwrap();
    let (node_id, jitter_seed, tail_bytes_max) = (1, 0, LOG_TAIL_BYTES_MAX);
    let membership = Membership::of_voters([1]);
    let config = DriverConfig { node_id, applied: 0, membership, jitter_seed, tail_bytes_max };
    for life in 1..=2 {
        let log = LogStore::open(dir.path(), identity).unwrap();
        let (outbox, journal) = (PeerOutbox::default(), Journal::default());
        let clock = Clock::system();
        let consensus = Consensus::start(&config, log, journal, outbox, clock).unwrap();
        let handle = consensus.handle();
        wait_for(handle.status(), |status| status.role == Role::Leader).await;
        let both = tokio::join!(handle.propose(Command::Tick), handle.propose(Command::Tick));
        let done = ProposalOutcome::Applied(Reply::Done);
        assert_eq!(both, (done.clone(), done));
        let journal = tokio::task::spawn_blocking(|| consensus.stop()).await.unwrap();
        let commands = |entry: &Vec<u8>| crate::command::Entry::decode(entry).unwrap().commands;
        assert_eq!(journal.0.iter().flat_map(commands).count(), 2 * life);
        assert_eq!(
            handle.propose(Command::Tick).await,
            ProposalOutcome::Busy { retry_after_ms: crate::limits::BUSY_RETRY_MS },
            "after the end nothing waits for ever"
        );
    }
}
