//! The rooms that have threads, built from the disk outwards: recorder, machine, consensus; and
//! what others read of them.

use std::future::Future;
use std::sync::Arc;

use proofmark_evidence::{DirSource, LogWriter};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::catch_up;
use super::duties::Duties;
use super::machine::{Machine, MachineDisk, MachineReaders};
use super::recover::{self, Recovered};
use super::scrub::Scrub;
use super::snapshots::{self, SnapshotMaker, SnapshotWish};
use super::{NodeFault, raised};
use crate::catchup::{CatchUpThread, Shelf};
use crate::clock::Clock;
use crate::command::Command;
use crate::config::Config;
use crate::consensus::log_store::LogStore;
use crate::consensus::transport::{
    FetchDesk, PeerAddress, PeerBook, PeerTls, StatePeers, Transport, TransportConfig,
};
use crate::consensus::{Consensus, ConsensusHandle, PeerOutbox};
use crate::identity::{NodeIdentity, Start};
use crate::limits::PROPOSALS_OF_RECORDER_MAX;
use crate::meters::{CatchUpMeter, SnapshotMeter};
use crate::recorder::{Health, Recorder, RecorderParts, SignedFile};
use crate::tables::ResultIndex;
use crate::views::ViewsReader;
use crate::views::members::MembersView;

/// The running rooms of one replica. Nobody outside reaches them yet.
pub(super) struct Rooms {
    pub(super) identity: Arc<NodeIdentity>,
    pub(super) consensus: Consensus<Machine>,
    pub(super) recorder: Recorder,
    pub(super) scrub: Scrub,
    pub(super) catch_up: CatchUpThread,
    pub(super) snapshots: SnapshotMaker,
    pub(super) readers: MachineReaders,
    pub(super) views: ViewsReader,
    pub(super) raft_log: LogStore,
    pub(super) index: ResultIndex,
    pub(super) book: Arc<PeerBook>,
    pub(super) clock: Clock,
    pub(super) snapshots_made: Arc<SnapshotMeter>,
    pub(super) caught_up: Arc<CatchUpMeter>,
}

/// The part that talks to the other replicas, before it runs.
pub(super) struct Meeting {
    transport: Transport,
    desk: FetchDesk,
    wish: SnapshotWish,
    duties: Duties,
    /// What the recorder wants proposed.
    proposed: mpsc::Receiver<Command>,
}

impl Rooms {
    pub(super) fn build(
        config: &Config,
        disk: Recovered,
        clock: Clock,
    ) -> Result<(Rooms, Meeting), NodeFault> {
        // why long: each room is built from the ones before it, and all of them are handed on.
        let Recovered {
            identity,
            start,
            peer_starts,
            log,
            state,
            tables,
            snapshots: store,
            writer,
        } = disk;
        let identity = Arc::new(identity);
        let book = PeerBook::new(identity.node_id, told_peers(config, &identity), peer_starts);
        book.set_state(state_peers(&MembersView::of(&state)));
        let (transport, outbox) = transport(config, &identity, start, &book)?;
        let (index, raft_log) = (tables.index(), log.0.clone());
        let shared = Shared { index: index.clone(), health: Health::new(), clock: clock.clone() };
        let (proposals, proposed) = mpsc::channel(PROPOSALS_OF_RECORDER_MAX);
        let parts = recorder_parts(config, &identity, writer, &shared, proposals);
        let recorder = Recorder::start(parts).map_err(|why| NodeFault::room("recorder")(&why))?;
        let (orders, snapshot_desk) = snapshots::orders(config.snapshots, &clock);
        let (wish, snapshots_made) = (snapshot_desk.wish(), snapshot_desk.meter());
        let machine_disk =
            MachineDisk { tables, snapshots: store.clone(), raft_log: raft_log.clone() };
        let (machine, readers) =
            Machine::new(state, machine_disk, recorder.handle(), orders, clock.clone());
        let driver = recover::driver_config(&identity, &machine, &log.1, &clock);
        let consensus = Consensus::start(&driver, log, machine, outbox.clone(), clock.clone())
            .map_err(|why| NodeFault::room("consensus")(&why))?;
        let (recorded, handle) = (recorder.handle(), consensus.handle());
        let (log_id, now) = (identity.log_id(), clock.clone());
        let caught_up = Arc::<CatchUpMeter>::default();
        let catch_up = catch_up::start(
            &identity,
            store.clone(),
            recorded.clone(),
            handle.clone(),
            (outbox, now.clone(), Arc::clone(&caught_up)),
        )?;
        let shelf = Shelf::new(store.clone(), config.evidence_dir(), recorded.published());
        let desk = FetchDesk::new(shelf, config.fetch_rate, now);
        let snapshots = snapshot_desk.start(log_id, (store, raft_log.clone()), recorded, handle)?;
        let (scrub, scrubbed) = Scrub::start(
            config.evidence_dir(),
            &identity.policy,
            recorder.handle().published(),
            shared.health.clone(),
        )?;
        let views = ViewsReader {
            origin: identity.origin.as_str().into(),
            evidence: config.evidence_dir().display().to_string().into(),
            node: identity.node_name.as_str().into(),
            state: readers.views.clone(),
            members: readers.members.clone(),
            consensus: consensus.handle().status(),
            progress: consensus.handle().progress(),
            published: recorder.handle().published(),
            diverged: shared.health.diverged(),
            scrubbed,
        };
        let rooms = Rooms {
            identity,
            consensus,
            recorder,
            scrub,
            catch_up,
            snapshots,
            readers,
            views,
            raft_log,
            index,
            book,
            clock,
            snapshots_made,
            caught_up,
        };
        let duties = Duties::new(config, &rooms);
        Ok((rooms, Meeting { transport, desk, wish, duties, proposed }))
    }
}

impl Meeting {
    /// Peers are heard and duties done until `stop` is raised.
    pub(super) fn begin(
        self,
        handle: ConsensusHandle,
        listener: TcpListener,
        stop: watch::Receiver<bool>,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(wish_snapshots(handle.clone(), self.wish, raised(stop.clone())));
        tasks.spawn(self.transport.run(handle, self.desk, listener, raised(stop.clone())));
        tasks.spawn(self.duties.run(self.proposed, stop));
        tasks
    }
}

/// A peer needs a snapshot and the newest would not do: the apply thread makes another.
async fn wish_snapshots(
    handle: ConsensusHandle,
    wish: SnapshotWish,
    stopped: impl Future<Output = ()>,
) {
    let mut wanted = handle.snapshot_wanted();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            changed = wanted.changed() => match changed {
                Ok(()) => wish.want(),
                Err(_) => return, // this replica is ending
            },
        }
    }
}

/// Before the state says who is there: those of the configuration, and those of whom this node was
/// told when it joined.
fn told_peers(config: &Config, identity: &NodeIdentity) -> Vec<PeerAddress> {
    let joined = identity.neighbours.iter();
    let neighbours =
        joined.map(|other| PeerAddress { node_id: other.id, address: other.peers.clone() });
    config.other_nodes().chain(neighbours).collect()
}

/// What the peers' book is told of the state.
pub(super) fn state_peers(view: &MembersView) -> StatePeers {
    let present = view.present().map(|member| (member.id, member.peers.clone()));
    let gone = view.members.iter().filter(|member| member.is_gone()).map(|member| member.id);
    StatePeers { version: view.version, present: present.collect(), gone: gone.collect() }
}

fn transport(
    config: &Config,
    identity: &NodeIdentity,
    start: Start,
    book: &Arc<PeerBook>,
) -> Result<(Transport, PeerOutbox), NodeFault> {
    let fault = NodeFault::room("identity");
    let tls = PeerTls {
        server: identity.peer_server_config().map_err(|why| fault(&why))?,
        client: identity.peer_client_config().map_err(|why| fault(&why))?,
    };
    Ok(Transport::new(TransportConfig {
        node_id: identity.node_id,
        log_id: identity.log_id(),
        address: config.own().peers.clone(),
        start,
        book: Arc::clone(book),
        tls,
    }))
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
        evidence: Box::new(DirSource::new(config.evidence_dir())),
        writer,
        log_key: identity.log_key.clone(),
        node_name: identity.own().cosigner_name.clone(),
        node_key: identity.cosigner_key.clone(),
        last_signed: SignedFile::on_disk(&config.signed_file()),
        index: Box::new(shared.index.clone()),
        health: shared.health.clone(),
        clock: shared.clock.clone(),
        // A queue without room drops it: the next seal asks again.
        proposals: Box::new(move |command| drop(proposals.try_send(command))),
    }
}
