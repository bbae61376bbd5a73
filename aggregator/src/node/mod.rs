//! One replica, whole: rooms built in order, run together, drained in the reverse order.
//!
//! In: a valid [`Config`] and a data directory that [`init`] made. Out: bound addresses, and after
//! [`Node::stop`] a directory from which the next start goes on. Who owns what: the apply thread
//! owns the state and its tables, the recorder thread the evidence, the raft threads the Raft log;
//! this module owns the threads and tasks.

mod agents;
mod duties;
mod init;
mod machine;
mod recover;
mod servers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proofmark_evidence::LogWriter;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::command::Command;
use crate::config::Config;
use crate::consensus::transport::{PeerTls, Transport, TransportConfig};
use crate::consensus::{Consensus, ConsensusHandle};
use crate::identity::NodeIdentity;
use crate::limits::{DRAIN_MS_MAX, PROPOSALS_OF_RECORDER_MAX};
use crate::recorder::{Health, Recorder, RecorderHandle, RecorderParts};
use crate::tables::ResultIndex;
use crate::views::ViewsReader;

pub use init::init;
use machine::Machine;
use recover::Recovered;
use servers::{Doors, Handed};

/// Why a replica does not start. The operator must act; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NodeFault {
    #[error("{dir}: not_initialised: expected what `proofmark aggregator init` makes, got {why}")]
    NotInitialised { dir: String, why: String },
    #[error("{dir}: in_use: {why}")]
    InUse { dir: String, why: String },
    #[error("{what} {address}: cannot_listen: expected a free address of this host, got: {why}")]
    Listen { what: &'static str, address: String, why: String },
    #[error("{slug}: {why}")]
    Room { slug: &'static str, why: String },
}

impl NodeFault {
    fn room(slug: &'static str) -> impl Fn(&dyn std::fmt::Display) -> NodeFault {
        move |why| NodeFault::Room { slug, why: why.to_string() }
    }
}

/// Where a replica listens, as bound.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub peers: SocketAddr,
}

/// A running replica.
pub struct Node {
    addresses: Addresses,
    identity: Arc<NodeIdentity>,
    handle: ConsensusHandle,
    views: ViewsReader,
    consensus: Consensus<Machine>,
    recorder: Recorder,
    stop_doors: watch::Sender<bool>,
    stop_peers: watch::Sender<bool>,
    doors: JoinSet<()>,
    peers: JoinSet<()>,
}

impl Node {
    /// Builds the rooms from the disk outwards and opens the doors last: who can connect is served.
    pub async fn start(config: &Config, clock: Clock) -> Result<Node, NodeFault> {
        let doors = Doors::bind(&config.listen).await?;
        let addresses = doors.addresses();
        let Recovered { identity, log, state, tables, writer } = recover::open(config)?;
        let identity = Arc::new(identity);

        let (transport, outbox) = Transport::new(transport_config(config, &identity)?);
        let (health, raft_log) = (Health::new(), log.0.clone());
        let shared = Shared { index: tables.index(), health: health.clone(), clock: clock.clone() };
        let (proposals, proposed) = mpsc::channel(PROPOSALS_OF_RECORDER_MAX);
        let parts = recorder_parts(config, &identity, writer, &shared, proposals);
        let recorder = Recorder::start(parts).map_err(|why| NodeFault::room("recorder")(&why))?;
        let recording = recorder.handle();
        let (machine, seen) = Machine::new(state, tables, recording.clone(), clock.clone());
        let driver = recover::driver_config(&identity, &machine, &clock);
        let consensus = Consensus::start(&driver, log, machine, outbox, clock.clone())
            .map_err(|why| NodeFault::room("consensus")(&why))?;
        let handle = consensus.handle();

        let views = views_reader(config, &identity, &seen, &handle, (&recording, &health));
        let (stop_doors, doors_stopped) = watch::channel(false);
        let (stop_peers, peers_stopped) = watch::channel(false);
        let mut peers = JoinSet::new();
        let listener = doors.peers;
        peers.spawn(transport.run(handle.clone(), listener, raised(peers_stopped.clone())));
        let duties = duties::Duties::new(&identity, handle.clone(), recording, seen.has_genesis);
        peers.spawn(duties.run(proposed, peers_stopped));
        let handed = Handed {
            identity: identity.clone(),
            handle: handle.clone(),
            views: views.clone(),
            agents: seen.agents,
            specs: seen.specs,
            raft_log,
            index: shared.index,
            evidence_dir: config.evidence_dir(),
            grpc_addresses: config.nodes.iter().map(|node| node.grpc.clone()).collect(),
            clock,
        };
        let tasks = servers::serve(doors.http, doors.grpc, handed, doors_stopped);
        Ok(Node {
            addresses,
            identity,
            handle,
            views,
            consensus,
            recorder,
            stop_doors,
            stop_peers,
            doors: tasks,
            peers,
        })
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    pub fn identity(&self) -> &Arc<NodeIdentity> {
        &self.identity
    }

    /// For a program that embeds the node: proposing without a connection.
    pub fn handle(&self) -> ConsensusHandle {
        self.handle.clone()
    }

    pub fn views(&self) -> &ViewsReader {
        &self.views
    }

    /// Drains: no new work, answers to what is under way, what is committed applied, its leaves
    /// durable, the tables saved. Nothing acknowledged depends on it.
    pub async fn stop(self) {
        // Receivers may be gone already; then there is nobody left to tell.
        let _ = self.stop_doors.send(true);
        drained("doors", self.doors).await;
        let _ = self.stop_peers.send(true);
        drained("peers", self.peers).await;
        let (consensus, recorder) = (self.consensus, self.recorder);
        let stopped = tokio::task::spawn_blocking(move || {
            consensus.stop().save();
            recorder.stop();
        });
        if let Err(why) = stopped.await {
            tracing::error!(%why, "the drain did not end in order; recovery is the normal path");
        }
    }
}

/// Waits for tasks that were asked to end, for a bounded time; then they end unasked.
async fn drained(what: &'static str, mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(Duration::from_millis(DRAIN_MS_MAX), all).await.is_err() {
        tracing::warn!(what, limit_ms = DRAIN_MS_MAX, "callers did not finish and are cut off");
        tasks.shutdown().await;
    }
}

/// Resolves when the flag is raised, or its owner is gone.
async fn raised(mut flag: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the node.
    let _ = flag.wait_for(|raised| *raised).await;
}

fn transport_config(
    config: &Config,
    identity: &NodeIdentity,
) -> Result<TransportConfig, NodeFault> {
    let fault = NodeFault::room("identity");
    let tls = PeerTls {
        server: identity.peer_server_config().map_err(|why| fault(&why))?,
        client: identity.peer_client_config().map_err(|why| fault(&why))?,
    };
    Ok(TransportConfig {
        node_id: identity.node_id,
        log_id: identity.log_id(),
        peers: config.peers_of(identity.node_id),
        tls,
    })
}

/// What the recorder shares with the rooms that read.
struct Shared {
    index: ResultIndex,
    health: Health,
    clock: Clock,
}

fn recorder_parts(
    config: &Config,
    identity: &NodeIdentity,
    writer: LogWriter,
    shared: &Shared,
    proposals: mpsc::Sender<Command>,
) -> RecorderParts {
    RecorderParts {
        evidence_dir: config.evidence_dir(),
        writer,
        log_key: identity.log_key.clone(),
        node_name: identity.own().cosigner_name.clone(),
        node_key: identity.cosigner_key.clone(),
        last_signed_path: config.signed_file(),
        index: shared.index.clone(),
        health: shared.health.clone(),
        clock: shared.clock.clone(),
        // A queue without room drops it: the next seal asks again.
        proposals: Box::new(move |command| drop(proposals.try_send(command))),
    }
}

fn views_reader(
    config: &Config,
    identity: &NodeIdentity,
    seen: &machine::MachineReaders,
    handle: &ConsensusHandle,
    (recording, health): (&RecorderHandle, &Health),
) -> ViewsReader {
    ViewsReader {
        origin: identity.origin.as_str().into(),
        evidence: config.evidence_dir().display().to_string().into(),
        node: identity.node_name.as_str().into(),
        state: seen.views.clone(),
        consensus: handle.status(),
        published: recording.published(),
        diverged: health.diverged(),
    }
}

#[cfg(test)]
mod tests;
