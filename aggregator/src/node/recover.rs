//! What the disk holds, opened in the order in which it is believed: identity, Raft log, evidence,
//! tables. Recovery is the normal path: every start goes through here.

use proofmark_evidence::LogWriter;

use super::NodeFault;
use super::init::trace_of_run;
use super::machine::Machine;
use crate::clock::Clock;
use crate::config::Config;
use crate::consensus::driver::DriverConfig;
use crate::consensus::log_store::{LogIdentity, LogStore};
use crate::consensus::storage;
use crate::consensus::{Applier as _, Membership};
use crate::identity::{IdentityFault, NodeIdentity};
use crate::limits::LOG_TAIL_BYTES_MAX;
use crate::recorder::can_resume;
use crate::state::State;
use crate::tables::{LoadedRows, Tables, TablesFault};

pub(super) struct Recovered {
    pub(super) identity: NodeIdentity,
    pub(super) log: (LogStore, storage::RecoveredLog),
    pub(super) state: State,
    pub(super) tables: Tables,
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
    let log =
        LogStore::open(&config.raft_dir(), own).map_err(|why| NodeFault::room("raft_log")(&why))?;
    let writer =
        LogWriter::open(&config.evidence_dir()).map_err(|why| NodeFault::room("evidence")(&why))?;
    let (state, tables) = state(config, tables, rows, &writer)?;
    Ok(Recovered { identity, log, state, tables, writer })
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

/// The saved state, if it can be believed beside the evidence; else none, and all is replayed.
fn state(
    config: &Config,
    tables: Tables,
    rows: Option<LoadedRows>,
    writer: &LogWriter,
) -> Result<(State, Tables), NodeFault> {
    let Some(rows) = rows else { return Ok((State::new(), tables)) };
    let applied = rows.applied_index;
    let why = match State::from_rows(rows.rows) {
        Ok(state) if state.applied() == applied && can_resume(&state, writer, &tables.index()) => {
            tracing::info!(applied, leaves = state.leaf_count(), "state loaded from its tables");
            return Ok((state, tables));
        }
        // Tables are saved after the evidence: this disk lost files, or an old copy came back.
        Ok(state) => format!(
            "expected tables at {applied} not ahead of {} leaves on disk, got {} leaves at {}",
            writer.size(),
            state.leaf_count(),
            state.applied()
        ),
        Err(why) => why.to_string(),
    };
    tracing::warn!(%why, "tables set aside; the state is rebuilt from the Raft log");
    drop(tables);
    let tables = Tables::start_over(&config.tables_dir(), &why)
        .map_err(|why| NodeFault::room("tables")(&why))?;
    Ok((State::new(), tables))
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
