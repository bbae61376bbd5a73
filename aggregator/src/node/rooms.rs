//! The rooms that have threads, built from the disk outwards: recorder, machine, consensus; and
//! what others read of them.

use std::sync::Arc;

use proofmark_evidence::{DirSource, LogWriter};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::duties::Duties;
use super::machine::{Machine, MachineReaders};
use super::recover::{self, Recovered};
use super::scrub::Scrub;
use super::{NodeFault, raised};
use crate::clock::Clock;
use crate::command::Command;
use crate::config::Config;
use crate::consensus::log_store::LogStore;
use crate::consensus::transport::{PeerTls, Transport, TransportConfig};
use crate::consensus::{Consensus, ConsensusHandle, PeerOutbox};
use crate::identity::NodeIdentity;
use crate::limits::PROPOSALS_OF_RECORDER_MAX;
use crate::recorder::{Health, Recorder, RecorderParts, SignedFile};
use crate::tables::ResultIndex;
use crate::views::ViewsReader;

/// The running rooms of one replica. Nobody outside reaches them yet.
pub(super) struct Rooms {
    pub(super) identity: Arc<NodeIdentity>,
    pub(super) consensus: Consensus<Machine>,
    pub(super) recorder: Recorder,
    pub(super) scrub: Scrub,
    pub(super) readers: MachineReaders,
    pub(super) views: ViewsReader,
    pub(super) raft_log: LogStore,
    pub(super) index: ResultIndex,
    pub(super) clock: Clock,
}

/// The part that talks to the other replicas, before it runs.
pub(super) struct Meeting {
    transport: Transport,
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
        let Recovered { identity, log, state, tables, writer } = disk;
        let identity = Arc::new(identity);
        let (transport, outbox) = transport(config, &identity)?;
        let (index, raft_log) = (tables.index(), log.0.clone());
        let shared = Shared { index: index.clone(), health: Health::new(), clock: clock.clone() };
        let (proposals, proposed) = mpsc::channel(PROPOSALS_OF_RECORDER_MAX);
        let parts = recorder_parts(config, &identity, writer, &shared, proposals);
        let recorder = Recorder::start(parts).map_err(|why| NodeFault::room("recorder")(&why))?;
        let (machine, readers) = Machine::new(state, tables, recorder.handle(), clock.clone());
        let driver = recover::driver_config(&identity, &machine, &log.1, &clock);
        let consensus = Consensus::start(&driver, log, machine, outbox, clock.clone())
            .map_err(|why| NodeFault::room("consensus")(&why))?;
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
            consensus: consensus.handle().status(),
            published: recorder.handle().published(),
            diverged: shared.health.diverged(),
            scrubbed,
        };
        let rooms =
            Rooms { identity, consensus, recorder, scrub, readers, views, raft_log, index, clock };
        let duties = Duties::new(&rooms);
        Ok((rooms, Meeting { transport, duties, proposed }))
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
        tasks.spawn(self.transport.run(handle, listener, raised(stop.clone())));
        tasks.spawn(self.duties.run(self.proposed, stop));
        tasks
    }
}

fn transport(
    config: &Config,
    identity: &NodeIdentity,
) -> Result<(Transport, PeerOutbox), NodeFault> {
    let fault = NodeFault::room("identity");
    let tls = PeerTls {
        server: identity.peer_server_config().map_err(|why| fault(&why))?,
        client: identity.peer_client_config().map_err(|why| fault(&why))?,
    };
    Ok(Transport::new(TransportConfig {
        node_id: identity.node_id,
        log_id: identity.log_id(),
        peers: config.peers_of(identity.node_id),
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
