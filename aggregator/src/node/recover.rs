//! What the disk holds, opened in the order in which it is believed: identity, Raft log, evidence,
//! snapshots, tables. Recovery is the normal path: every start goes through here.

use std::sync::Arc;

use proofmark_evidence::LogWriter;

use super::NodeFault;
use super::init::trace_of_run;
use super::machine::Machine;
use super::state_source::{Beside, Found};
use crate::clock::Clock;
use crate::config::Config;
use crate::consensus::driver::DriverConfig;
use crate::consensus::log_store::{LogIdentity, LogStore};
use crate::consensus::storage;
use crate::consensus::{Applier as _, Membership};
use crate::identity::{IdentityFault, NodeIdentity, PeerStarts, Start};
use crate::limits::{LOG_FILE_BYTES, LOG_TAIL_BYTES_MAX};
use crate::snapshot::{DiskFiles, SnapshotStore};
use crate::state::State;
use crate::tables::{Tables, TablesFault};

pub(super) struct Recovered {
    pub(super) identity: NodeIdentity,
    pub(super) start: Start,
    pub(super) peer_starts: PeerStarts,
    pub(super) log: (LogStore, storage::RecoveredLog),
    pub(super) state: State,
    pub(super) tables: Tables,
    pub(super) snapshots: SnapshotStore,
    pub(super) writer: LogWriter,
}

pub(super) fn open(config: &Config) -> Result<Recovered, NodeFault> {
    let dir = config.data_dir.display().to_string();
    if !config.is_initialised() {
        return Err(no_raft_log(config, dir));
    }
    let identity = NodeIdentity::load(&config.identity_dir()).map_err(|why| no_identity(&why))?;
    identity.check().map_err(|why| no_identity(&why))?;
    config.check_identity(&identity).map_err(|why| NodeFault::Room { slug: "identity", why })?;
    // The tables' lock is taken first: whoever holds it owns the directory.
    let tables = Tables::open(&config.tables_dir());
    let (tables, rows) = tables.map_err(|why| tables_fault(&dir, &why))?;
    let own = LogIdentity { log_id: identity.log_id().0, node_id: identity.node_id };
    // Whole files are let go of: they should not be larger than what is let go of at once.
    let file_bytes = LOG_FILE_BYTES.min(config.snapshots.log_bytes);
    let log = LogStore::open_sized(&config.raft_dir(), own, file_bytes);
    let mut log = log.map_err(|why| NodeFault::room("raft_log")(&why))?;
    let writer =
        LogWriter::open(&config.evidence_dir()).map_err(|why| NodeFault::room("evidence")(&why))?;
    let files = DiskFiles::open(config.snapshots_dir());
    let files = files.map_err(|why| NodeFault::room("snapshot_disk")(&why))?;
    let snapshots = SnapshotStore::open(Arc::new(files));
    let snapshots = snapshots.map_err(|why| NodeFault::room("snapshot")(&why))?;
    let log_id = identity.log_id();
    let beside = Beside { log_id, config, log: &mut log, writer: &writer, snapshots: &snapshots };
    let Found { state, tables } = beside.find(tables, rows)?;
    let fault = NodeFault::room("identity");
    let peer_starts = PeerStarts::open(&config.identity_dir()).map_err(|why| fault(&why))?;
    // Last, and before a word leaves this host: a start that is refused above is none.
    let start = Start::begin(&config.identity_dir()).map_err(|why| fault(&why))?;
    Ok(Recovered { identity, start, peer_starts, log, state, tables, snapshots, writer })
}

/// `init` helps a directory in which nothing ran, and no other.
fn no_raft_log(config: &Config, dir: String) -> NodeFault {
    let Some(trace) = trace_of_run(config) else {
        return NodeFault::NotInitialised { dir, why: "no Raft log".to_owned() };
    };
    let why = format!(
        "{dir}: the Raft log of an initialised replica is gone: expected it in {}, got none beside \
         {}; only this replica's own whole directory as it was at its last stop can be put back \
         (OPERATING.md, \"One replica is broken\")",
        config.raft_dir().display(),
        trace.display()
    );
    NodeFault::Room { slug: "raft_log_gone", why }
}

/// There is a Raft log: `init` would not help.
fn no_identity(why: &IdentityFault) -> NodeFault {
    let why = match why {
        IdentityFault::Missing { path } => format!(
            "{}: expected this replica's identity beside its Raft log, got nothing: put it back",
            path.display()
        ),
        other => other.to_string(),
    };
    NodeFault::Room { slug: "identity", why }
}

fn tables_fault(dir: &str, why: &TablesFault) -> NodeFault {
    match why {
        TablesFault::Locked { .. } => {
            NodeFault::InUse { dir: dir.to_owned(), why: why.to_string() }
        }
        other => NodeFault::room("tables")(other),
    }
}

/// Elections need different timeouts on different nodes and nothing more.
pub(super) fn driver_config(
    identity: &NodeIdentity,
    machine: &Machine,
    log: &storage::RecoveredLog,
    clock: &Clock,
) -> DriverConfig {
    let first = || Membership::of_voters(log.voters.iter().copied());
    DriverConfig {
        node_id: identity.node_id,
        applied: machine.applied(),
        membership: machine.membership().unwrap_or_else(first),
        jitter_seed: identity.node_id ^ clock.unix_ms(),
        tail_bytes_max: LOG_TAIL_BYTES_MAX,
    }
}
