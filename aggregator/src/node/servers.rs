//! The doors: bound first, so that a taken port stops a start before anything else happens, and
//! opened last.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::agents::SharedAgents;
use super::reads::Reads;
use super::rooms::Rooms;
use super::{Addresses, NodeFault, raised};
use crate::admission::AdmissionWorkers;
use crate::api::{self, Api, router};
use crate::clock::Clock;
use crate::config::{Config, Listen};
use crate::consensus::ConsensusHandle;
use crate::consensus::log_store::LogStore;
use crate::identity::NodeIdentity;
use crate::ingest::{self, Counters, Handles, SpecSnapshot};
use crate::meters::{CatchUpMeter, SnapshotMeter};
use crate::metrics::{Beside, Metrics};
use crate::recorder::RecorderHandle;
use crate::tables::ResultIndex;
use crate::views::ViewsReader;
use crate::views::members::MembersView;
use crate::waiting::Waiting;

/// Bound and not yet served.
pub(super) struct Doors {
    pub(super) http: TcpListener,
    pub(super) grpc: TcpListener,
    pub(super) peers: TcpListener,
}

/// What the doors hand out.
pub(super) struct Handed {
    pub(super) identity: Arc<NodeIdentity>,
    pub(super) handle: ConsensusHandle,
    pub(super) views: ViewsReader,
    pub(super) agents: SharedAgents,
    pub(super) specs: watch::Receiver<SpecSnapshot>,
    pub(super) members: watch::Receiver<Arc<MembersView>>,
    pub(super) raft_log: LogStore,
    pub(super) index: ResultIndex,
    pub(super) evidence_dir: PathBuf,
    pub(super) grpc_addresses: Vec<String>,
    pub(super) clock: Clock,
    pub(super) recorder: RecorderHandle,
    pub(super) snapshots_made: Arc<SnapshotMeter>,
    pub(super) caught_up: Arc<CatchUpMeter>,
}

impl Handed {
    pub(super) fn of(config: &Config, rooms: &Rooms) -> Handed {
        Handed {
            identity: rooms.identity.clone(),
            handle: rooms.consensus.handle(),
            views: rooms.views.clone(),
            agents: rooms.readers.agents.clone(),
            specs: rooms.readers.specs.clone(),
            members: rooms.readers.members.clone(),
            raft_log: rooms.raft_log.clone(),
            index: rooms.index.clone(),
            evidence_dir: config.evidence_dir(),
            grpc_addresses: config.nodes.iter().map(|node| node.grpc.clone()).collect(),
            clock: rooms.clock.clone(),
            recorder: rooms.recorder.handle(),
            snapshots_made: Arc::clone(&rooms.snapshots_made),
            caught_up: Arc::clone(&rooms.caught_up),
        }
    }
}

impl Doors {
    pub(super) async fn bind(listen: &Listen) -> Result<Doors, NodeFault> {
        Ok(Doors {
            http: bind("http", listen.http).await?,
            grpc: bind("grpc", listen.grpc).await?,
            peers: bind("peers", listen.peers).await?,
        })
    }

    pub(super) fn addresses(&self) -> Addresses {
        let of = |door: &TcpListener| door.local_addr().expect("a bound listener has an address");
        Addresses { http: of(&self.http), grpc: of(&self.grpc), peers: of(&self.peers) }
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, NodeFault> {
    TcpListener::bind(address).await.map_err(|why| NodeFault::Listen {
        what,
        address: address.to_string(),
        why: why.to_string(),
    })
}

/// Serves HTTP and the agent port until the flag is raised.
pub(super) fn serve(
    http: TcpListener,
    grpc: TcpListener,
    handed: Handed,
    stop: watch::Receiver<bool>,
) -> JoinSet<()> {
    let counters = Counters::default();
    let http_open = Waiting::default();
    let beside = Beside {
        recorder: handed.recorder.waiting(),
        outgoing: handed.handle.outgoing(),
        http: http_open.clone(),
        snapshots: handed.snapshots_made,
        catch_up: handed.caught_up,
    };
    let metrics = Metrics::new(
        handed.views.clone(),
        counters.clone(),
        handed.handle.counters(),
        handed.raft_log,
        beside,
    );
    let freshness = Reads {
        handle: handed.handle.clone(),
        views: handed.views.state.clone(),
        recorded: handed.recorder.status(),
        diverged: handed.views.diverged.clone(),
    };
    let evidence_dir = Arc::new(handed.evidence_dir);
    let api = Api {
        views: handed.views.clone(),
        evidence_dir: Arc::clone(&evidence_dir),
        index: handed.index,
        metrics: Arc::new(metrics),
        freshness: Arc::new(freshness),
    };
    let handles = Handles {
        identity: handed.identity,
        proposer: handed.handle,
        agents: handed.agents,
        specs: handed.specs,
        checkpoint: handed.views.published.clone(),
        diverged: handed.views.diverged.clone(),
        members: handed.members,
        evidence_dir: Arc::clone(&evidence_dir),
        addresses: handed.grpc_addresses,
        clock: handed.clock,
        workers: AdmissionWorkers::per_core(),
        counters,
    };
    let mut tasks = JoinSet::new();
    let http_stop = stop.clone();
    tasks.spawn(async move {
        api::serve(http, router(api), http_open, raised(http_stop)).await;
    });
    tasks.spawn(async move {
        if let Err(why) = ingest::serve(grpc, handles, stop).await {
            tracing::error!(%why, "the agent door closed");
        }
    });
    tasks
}
