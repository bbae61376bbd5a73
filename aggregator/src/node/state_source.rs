//! Where the state comes from at a start: the tables if they fit the Raft log, else the newest
//! whole snapshot that fits, else the whole log. When none does, the start is refused by name:
//! a state that lacks entries is never gone on with.
//!
//! The crash points of installing a snapshot from elsewhere, in order, and what is found here:
//!
//! | cut after | left | start-up |
//! |---|---|---|
//! | the snapshot's file | log and tables as before | goes on; the leader offers it again |
//! | the leaves | evidence beyond the state | replayed leaves are compared |
//! | the log's reset | tables behind the log's start | takes the snapshot, which begins the log |
//! | the state's install | the same, on disk | the same |
//! | the tables' save | tables at the snapshot | goes on with them |

use proofmark_evidence::{DirSource, Hash, LogWriter};

use super::NodeFault;
use crate::config::Config;
use crate::consensus::Position;
use crate::consensus::driver::WriteTask;
use crate::consensus::log_store::LogStore;
use crate::consensus::storage::RecoveredLog;
use crate::recorder::can_resume;
use crate::snapshot::{Snapshot, SnapshotFault, SnapshotStore};
use crate::state::State;
use crate::tables::{LoadedRows, Tables};

/// What the state is chosen by.
pub(super) struct Beside<'a> {
    pub(super) log_id: Hash,
    pub(super) config: &'a Config,
    pub(super) log: &'a mut (LogStore, RecoveredLog),
    pub(super) writer: &'a LogWriter,
    pub(super) snapshots: &'a SnapshotStore,
}

/// A state and the tables that hold it, or nothing yet.
pub(super) struct Found {
    pub(super) state: State,
    pub(super) tables: Tables,
}

impl Beside<'_> {
    /// # Errors
    /// Nothing here goes with the log that is here; or a disk refuses.
    pub(super) fn find(
        mut self,
        tables: Tables,
        rows: Option<LoadedRows>,
    ) -> Result<Found, NodeFault> {
        let (tables, kept) = match rows {
            None => (tables, None),
            Some(rows) => self.loaded_tables(tables, rows)?,
        };
        if let Some(state) = kept {
            return Ok(Found { state, tables });
        }
        if let Some(state) = self.loaded_snapshot(&tables)? {
            return Ok(in_tables(state, tables));
        }
        let start = self.log.1.start.index;
        if start == 0 {
            return Ok(Found { state: State::new(), tables });
        }
        let why = format!(
            "expected tables or a snapshot from which the Raft log goes on, entries {} to {}, got \
             none that is whole: see OPERATING.md, \"One replica is broken\"",
            start + 1,
            self.log.1.last_index
        );
        Err(NodeFault::Room { slug: "state_gone", why })
    }

    /// The saved state, if it can be believed beside the evidence and goes with the log.
    fn loaded_tables(
        &self,
        tables: Tables,
        rows: LoadedRows,
    ) -> Result<(Tables, Option<State>), NodeFault> {
        let (applied, start) = (rows.applied_index, self.log.1.start.index);
        if applied < start {
            // A snapshot was installed and not saved: what is saved next replaces all of them.
            tracing::info!(applied, start, "the tables are older than the Raft log's beginning");
            return Ok((tables, None));
        }
        let why = match State::from_rows(rows.rows) {
            Ok(state)
                if state.applied() == applied
                    && can_resume(&state, self.writer, &tables.index()) =>
            {
                tracing::info!(
                    applied,
                    leaves = state.leaf_count(),
                    "state loaded from its tables"
                );
                return Ok((tables, Some(state)));
            }
            // Tables are saved after the evidence: this disk lost files, or an old copy came back.
            Ok(state) => format!(
                "expected tables at {applied} not ahead of {} leaves on disk, got {} leaves at {}",
                self.writer.size(),
                state.leaf_count(),
                state.applied()
            ),
            Err(why) => why.to_string(),
        };
        tracing::warn!(%why, "tables set aside; the state is rebuilt");
        drop(tables);
        let tables = Tables::start_over(&self.config.tables_dir(), &why);
        Ok((tables.map_err(|why| NodeFault::room("tables")(&why))?, None))
    }

    /// The newest snapshot that is whole and goes with log and evidence. One that is newer than all
    /// of the log begins it anew: everything before is in it.
    fn loaded_snapshot(&mut self, tables: &Tables) -> Result<Option<State>, NodeFault> {
        let fault = NodeFault::room("snapshot");
        let log = &self.log.1;
        let fits = |index: &u64| (log.start.index..=log.last_index).contains(index);
        let indexes = self.snapshots.indexes().map_err(|why| fault(&why))?;
        let in_log = indexes.iter().copied().filter(fits);
        let beyond = indexes.iter().copied().filter(|index| *index > log.last_index);
        for index in in_log.chain(beyond).collect::<Vec<_>>() {
            let loaded = self.snapshots.snapshot(index).and_then(|one| Ok((load(&one)?, one)));
            match loaded {
                Ok((_, snapshot)) if snapshot.about().log_id != self.log_id => {
                    let (expected, got) = (self.log_id, snapshot.about().log_id);
                    tracing::error!(index, %expected, %got, "a snapshot is of another log");
                }
                Ok((state, snapshot)) if state.leaf_count() <= self.writer.size() => {
                    tracing::info!(
                        index,
                        leaves = state.leaf_count(),
                        "state loaded from a snapshot"
                    );
                    self.begin_log_at(snapshot.about().position)?;
                    self.complete_index(tables)?;
                    return Ok(Some(state));
                }
                Ok((state, _)) => {
                    let (expected, got) = (state.leaf_count(), self.writer.size());
                    tracing::warn!(index, expected, got, "a snapshot is ahead of the evidence");
                }
                Err(why) => {
                    tracing::error!(index, slug = why.slug(), %why, "a snapshot is damaged")
                }
            }
        }
        Ok(None)
    }

    /// Does what a crash cut off between the snapshot and the log: the log starts over after it.
    /// Also when it has an entry of that index and another term: that one was never committed, and
    /// raft would take it for the snapshot's.
    fn begin_log_at(&mut self, position: Position) -> Result<(), NodeFault> {
        let (store, recovered) = &mut *self.log;
        if store.position(position.index) == Some(position) {
            return Ok(());
        }
        recovered.hard_state.commit = position.index;
        let hard_state = Some(recovered.hard_state.clone());
        let reset = WriteTask {
            number: 1,
            reset: Some(position),
            hard_state,
            must_sync: true,
            ..WriteTask::default()
        };
        store.write(&[reset]).map_err(|why| NodeFault::room("raft_log")(&why))?;
        // A crash here leaves a log that begins at the snapshot: the same start takes it.
        (recovered.start, recovered.last_index) = (position, position.index);
        Ok(())
    }

    /// Every leaf on disk, as the recorder would have put it there.
    fn complete_index(&self, tables: &Tables) -> Result<(), NodeFault> {
        let source = DirSource::new(self.config.evidence_dir());
        let rebuilt = tables.index().rebuild_from(&source, self.writer.size());
        rebuilt.map_err(|why| NodeFault::room("results_index")(&why))
    }
}

/// A state that came from a snapshot; from here on the tables follow it.
fn in_tables(state: State, mut tables: Tables) -> Found {
    if let Err(why) = tables.replace(state.rows(), state.applied()) {
        let slug = why.slug();
        tracing::warn!(slug, %why, "tables not saved; the next start loads the snapshot again");
    }
    Found { state, tables }
}

/// The state in a snapshot.
///
/// # Errors
/// It is damaged, or its rows are not a state of this program.
pub(crate) fn load(snapshot: &Snapshot) -> Result<State, SnapshotFault> {
    let (index, name) = (snapshot.about().position.index, snapshot.name().to_owned());
    let mut fault = None;
    let rows = snapshot.rows().map_while(|row| row.map_err(|why| fault = Some(why)).ok());
    let state = State::from_rows(rows);
    if let Some(fault) = fault {
        return Err(fault);
    }
    let state =
        state.map_err(|why| SnapshotFault::Rows { name: name.clone(), why: why.to_string() })?;
    match state.applied() {
        got if got == index => Ok(state),
        got => {
            let why = format!("expected a state at {index}, got one at {got}");
            Err(SnapshotFault::Rows { name, why })
        }
    }
}
