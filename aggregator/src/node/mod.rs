//! One replica, whole: rooms built in order, run together, drained in the reverse order.
//!
//! In: a valid [`Config`] and a data directory that [`init`] made. Out: bound addresses, and after
//! [`Node::stop`] a directory from which the next start goes on. Who owns what: the apply thread
//! owns the state and its tables, the recorder thread the evidence, the raft threads the Raft log;
//! this module owns the threads and tasks.

mod agents;
mod catch_up;
mod duties;
mod hand_over;
mod init;
mod machine;
mod members_duty;
mod reads;
mod recover;
mod rooms;
mod scrub;
mod seal_watch;
mod servers;
mod snapshots;
mod spaced;
mod state_source;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::catchup::CatchUpThread;
use crate::clock::Clock;
use crate::config::Config;
use crate::consensus::{Consensus, ConsensusHandle, ConsensusStatus, Role};
use crate::identity::NodeIdentity;
use crate::limits::{DRAIN_MS_MAX, DRAIN_WRITES_MS_MAX, LAST_SEAL_MS_MAX};
use crate::recorder::Recorder;
use crate::views::ViewsReader;

pub use init::{Begun, begin_join, finish_join, init};
use machine::Machine;
use rooms::Rooms;
use scrub::Scrub;
use servers::{Doors, Handed};
use snapshots::SnapshotMaker;
pub(crate) use state_source::load as state_of_snapshot;

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

/// A stop did not come to its end. Nothing acknowledged is lost; the next start replays more.
#[derive(Debug, thiserror::Error)]
#[error("drain_cut: expected the last writes within {limit_ms} ms, got {got}")]
pub struct DrainCut {
    limit_ms: u64,
    got: String,
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
    scrub: Scrub,
    catch_up: CatchUpThread,
    snapshots: SnapshotMaker,
    refused: watch::Receiver<Option<Arc<str>>>,
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
        let (rooms, meeting) = Rooms::build(config, recover::open(config)?, clock)?;
        let handle = rooms.consensus.handle();
        let (stop_doors, doors_stopped) = watch::channel(false);
        let (stop_peers, peers_stopped) = watch::channel(false);
        let peers = meeting.begin(handle.clone(), doors.peers, peers_stopped);
        let handed = Handed::of(config, &rooms);
        let doors = servers::serve(doors.http, doors.grpc, handed, doors_stopped);
        Ok(Node {
            addresses,
            identity: rooms.identity,
            handle,
            views: rooms.views,
            consensus: rooms.consensus,
            recorder: rooms.recorder,
            scrub: rooms.scrub,
            catch_up: rooms.catch_up,
            snapshots: rooms.snapshots,
            refused: rooms.book.refused(),
            stop_doors,
            stop_peers,
            doors,
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

    /// Waits until a peer says that this replica must not run: it was removed, or its directory is
    /// an old copy, or another process has its identity. Then the program should stop it.
    pub fn refused(&self) -> impl Future<Output = Arc<str>> + Send + 'static {
        let mut refused = self.refused.clone();
        async move {
            let said = refused.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            match said {
                Some(why) => why,
                // The node is gone, and so is the question.
                None => std::future::pending().await,
            }
        }
    }

    /// Drains: leadership given away, no new work, answers to what is under way, what is committed
    /// applied, its leaves durable, the tables saved. Each part has its time. Nothing acknowledged
    /// depends on it.
    ///
    /// # Errors
    /// The last writes did not end in time. They may still run: the program should end now.
    pub async fn stop(self) -> Result<(), DrainCut> {
        hand_over::hand_over(&self.handle).await;
        // Receivers may be gone already; then there is nobody left to tell.
        let _ = self.stop_doors.send(true);
        drained("doors", self.doors).await;
        last_seal(&self.handle, &self.recorder).await;
        let _ = self.stop_peers.send(true);
        drained("peers", self.peers).await;
        let (consensus, recorder, scrub) = (self.consensus, self.recorder, self.scrub);
        let (catch_up, snapshots) = (self.catch_up, self.snapshots);
        let writes = tokio::task::spawn_blocking(move || {
            scrub.stop();
            catch_up.stop();
            consensus.stop().save();
            // The machine is gone, and with it whoever orders.
            snapshots.stop();
            recorder.stop();
        });
        let limit_ms = DRAIN_WRITES_MS_MAX;
        let got = match timeout(Duration::from_millis(limit_ms), writes).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why.to_string(),
            Err(_) => "some still under way".to_owned(),
        };
        let cut = DrainCut { limit_ms, got };
        tracing::error!(%cut, "recovery is the normal path");
        Err(cut)
    }
}

/// Whoever ends waits until the leaves it has are sealed, which takes a majority; a leader asks for
/// that seal. So a copy of a stopped log is proven to its last leaf, also when all stop together.
/// Without a leader, or an answer in time, the next start seals it.
async fn last_seal(handle: &ConsensusHandle, recorder: &Recorder) {
    let recorder = recorder.handle();
    let carried_out = recorder.clone();
    // What was acknowledged a moment ago may still be in the recorder's queue; it takes it in
    // order.
    let synced = tokio::task::spawn_blocking(move || carried_out.sync());
    if timeout(Duration::from_millis(LAST_SEAL_MS_MAX), synced).await.is_err() {
        return;
    }
    match *handle.status().borrow() {
        ConsensusStatus { role: Role::Leader, .. } => recorder.propose_seal(),
        ConsensusStatus { leader: Some(_), .. } => {}
        ConsensusStatus { leader: None, .. } => return,
    }
    let mut status = recorder.status();
    let size = status.borrow().size;
    let proven = status.wait_for(|status| status.published_size >= size);
    let proven = timeout(Duration::from_millis(LAST_SEAL_MS_MAX), proven).await;
    tracing::debug!(in_time = proven.is_ok(), "the last seal before the end");
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

#[cfg(test)]
mod tests;
