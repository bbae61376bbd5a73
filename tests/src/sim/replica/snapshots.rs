//! Snapshots of one replica: made from the state, and the state taken from one.

use std::collections::BTreeMap;

use proofmark_aggregator::consensus::driver::WriteTask;
use proofmark_aggregator::consensus::log_store::LogStore;
use proofmark_aggregator::consensus::storage::RecoveredLog;
use proofmark_aggregator::consensus::{Position, SnapshotMeta};
use proofmark_aggregator::snapshot::{About, Snapshot, SnapshotFault, SnapshotStore};
use proofmark_aggregator::state::State;
use proofmark_evidence::LogWriter;

use super::saved::Rows;
use super::{Up, saved};
use crate::sim::disk::Disk;

/// Newest entries that some replicas keep for followers that lag, in bytes: few, so that many need
/// a snapshot.
const KEPT_BYTES: u64 = 2 << 10;

impl Up {
    /// The state as it is now becomes a snapshot, unless the one before is of no use to peers yet.
    ///
    /// # Errors
    /// The disk failed: the process ends.
    pub(super) fn make_snapshot(&mut self) -> Result<(), SnapshotFault> {
        let published = self.recorder.status().published_size;
        let index = self.machine.applied();
        let newest = self.whole_snapshots()?.into_iter().next();
        let is_covered = newest.is_none_or(|one| one.about().leaf_count <= published);
        if let Some(position) = self.log.store.position(index).filter(|at| at.index > 0)
            && is_covered
        {
            let membership = self.membership();
            let leaf_count = self.machine.state.leaf_count();
            let about = About { log_id: self.log_id, position, membership, leaf_count };
            self.snapshots.write(&about, &self.machine.snapshot_rows())?;
            // A crash here leaves a snapshot that nobody was told of: start-up tells.
            self.snapshots.prune(index)?;
        }
        self.tell_covered_snapshot()
    }

    /// Followers are offered the newest that is published, and the log below it may go: as
    /// `node/snapshots.rs` has it.
    pub(super) fn tell_covered_snapshot(&mut self) -> Result<(), SnapshotFault> {
        let published = self.recorder.status().published_size;
        let mut whole = self.whole_snapshots()?.into_iter();
        let Some(newest) = whole.find(|one| one.about().leaf_count <= published) else {
            return Ok(());
        };
        self.driver.snapshot_made(meta_of(&newest));
        self.let_go_below(newest.about().position)
    }

    /// The newest first.
    fn whole_snapshots(&self) -> Result<Vec<Snapshot>, SnapshotFault> {
        let indexes = self.snapshots.indexes()?.into_iter();
        Ok(indexes.filter_map(|index| self.snapshots.snapshot(index).ok()).collect())
    }

    /// Some replicas keep the log from the older snapshot on, others hardly anything.
    fn let_go_below(&mut self, newest: Position) -> Result<(), SnapshotFault> {
        let position = match newest.index % 2 {
            0 => self.log.store.compactable(newest, KEPT_BYTES),
            _ => match self.snapshots.oldest(newest.index)? {
                Some(oldest) => self.snapshots.snapshot(oldest)?.about().position,
                None => return Ok(()),
            },
        };
        // Who refuses leads another life: the next snapshot tries again.
        let _ = self.driver.compact(position);
        Ok(())
    }
}

/// What consensus knows of a snapshot.
pub(super) fn meta_of(snapshot: &Snapshot) -> SnapshotMeta {
    let About { position, membership, .. } = snapshot.about().clone();
    SnapshotMeta { position, membership, descriptor: snapshot.descriptor().encode().into() }
}

/// The state in a snapshot, and its rows.
///
/// # Errors
/// It is damaged, or its rows are no state.
pub(in crate::sim) fn load(snapshot: &Snapshot) -> Result<(State, Rows), String> {
    let rows: Result<Rows, SnapshotFault> = snapshot.rows().collect();
    let rows = rows.map_err(|fault| fault.to_string())?;
    let state = State::from_rows(rows.clone()).map_err(|fault| fault.to_string())?;
    Ok((state, rows))
}

/// What the state is chosen by, at a start.
pub(super) struct Beside<'a> {
    pub(super) disk: &'a Disk,
    pub(super) log: &'a LogStore,
    pub(super) recovered: &'a mut RecoveredLog,
    pub(super) writer: &'a LogWriter,
    pub(super) snapshots: &'a SnapshotStore,
    /// Planted: whatever was saved is believed.
    pub(super) believes_all: bool,
}

impl Beside<'_> {
    /// The saved state if it fits log and evidence, else the newest snapshot that does, else the
    /// whole log: as `node/state_source.rs` has it.
    ///
    /// # Errors
    /// Nothing here goes with the log that is here; or the disk fails.
    pub(super) fn find(mut self) -> Result<(State, Rows), String> {
        let start = self.recovered.start.index;
        let loaded = saved::load(self.disk).map_err(|fault| fault.to_string())?;
        if let Some((state, rows)) = loaded
            && state.applied() >= start
            && (self.believes_all || self.reaches(&state))
        {
            return Ok((state, rows));
        }
        if let Some(found) = self.in_snapshot()? {
            return Ok(found);
        }
        match start {
            0 => Ok((State::new(), BTreeMap::new())),
            _ => Err(format!("state gone: the log begins at {start} and nothing leads there")),
        }
    }

    fn reaches(&self, state: &State) -> bool {
        self.writer.size() >= state.leaf_count()
    }

    fn in_snapshot(&mut self) -> Result<Option<(State, Rows)>, String> {
        let kept = self.recovered.start.index..=self.recovered.last_index;
        let indexes = self.snapshots.indexes().map_err(|fault| fault.to_string())?;
        let (in_log, others): (Vec<u64>, Vec<u64>) =
            indexes.into_iter().partition(|index| kept.contains(index));
        let beyond = others.into_iter().filter(|index| index > kept.end());
        for index in in_log.into_iter().chain(beyond) {
            let Ok(snapshot) = self.snapshots.snapshot(index) else { continue };
            let Ok((state, rows)) = load(&snapshot) else { continue };
            if self.reaches(&state) {
                self.begin_log_at(snapshot.about().position)?;
                return Ok(Some((state, rows)));
            }
        }
        Ok(None)
    }

    /// Does what a crash cut off between the snapshot and the log.
    fn begin_log_at(&mut self, at: Position) -> Result<(), String> {
        if self.log.position(at.index) == Some(at) {
            return Ok(());
        }
        self.recovered.hard_state.commit = at.index;
        let (reset, hard_state) = (Some(at), Some(self.recovered.hard_state.clone()));
        let task =
            WriteTask { number: 1, reset, hard_state, must_sync: true, ..WriteTask::default() };
        self.log.write(&[task]).map_err(|fault| fault.to_string())?;
        // A crash here leaves a log that begins at the snapshot: the same start takes it.
        (self.recovered.start, self.recovered.last_index) = (at, at.index);
        Ok(())
    }
}

/// Leaves that are here already are the same ones; the copy reaches further.
pub(in crate::sim) fn replace_evidence(disk: &Disk, files: &[(String, Vec<u8>)]) {
    disk.wipe("evidence/");
    files.iter().for_each(|(path, bytes)| disk.put(path, bytes));
}
