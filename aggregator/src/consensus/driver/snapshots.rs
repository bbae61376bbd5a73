//! Snapshots: offered and taken, and the log let go of below them.
//!
//! The order on a follower, and what a crash leaves: the snapshot is durable before
//! [`Driver::install`]; a crash there leaves the old log and state, which go on. Then one record
//! resets the log; a crash after it leaves a log that begins at the snapshot and a state that is
//! behind: start-up takes the state from the snapshot. Only then is the state replaced, and only
//! after that does time go on.

use std::collections::BTreeMap;

use raft::eraftpb::{Message, MessageType, Snapshot, SnapshotMetadata};
use raft::{ProgressState, SnapshotStatus, StateRole};

use super::super::conf_change;
use super::super::snapshot::{Position, SnapshotMeta, SnapshotOffer};
use super::super::storage::LogSource;
use super::{CompactRefused, Driver, Refused};
use crate::limits::SNAPSHOT_TICKS_MAX;

#[derive(Default)]
pub(super) struct Snapshots {
    /// Durable here, to be installed when nothing is on its way to the disk.
    waiting: Option<SnapshotMeta>,
    /// In raft's hands, and not yet in the state.
    installing: Option<SnapshotMeta>,
    /// To be compacted as soon as the state has applied so much.
    compact: Option<Position>,
    /// For how many ticks each peer has been offered one in vain.
    offered_ticks: BTreeMap<u64, u64>,
}

impl Snapshots {
    pub(super) fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    pub(super) fn installing(&self) -> Option<SnapshotMeta> {
        self.installing.clone()
    }
}

impl<S: LogSource> Driver<S> {
    /// A snapshot is durable here: peers whose entries are gone are offered it from now on.
    pub fn snapshot_made(&mut self, meta: SnapshotMeta) {
        self.raw.mut_store().offer(meta);
    }

    /// Lets go of the log up to `position`, which is not above the newest snapshot. Done as soon as
    /// the state has applied so much here; the output says when.
    pub fn compact(&mut self, position: Position) -> Result<(), CompactRefused> {
        let snapshot = self.raw.store().newest_snapshot().map_or(0, |meta| meta.position.index);
        if position.index > snapshot {
            return Err(CompactRefused::PastSnapshot { snapshot, got: position.index });
        }
        if !self.raw.raft.raft_log.match_term(position.index, position.term) {
            let Position { index, term } = position;
            return Err(CompactRefused::NotHere { index, term });
        }
        self.snapshots.compact = Some(position).max(self.snapshots.compact);
        self.compact_when_due();
        Ok(())
    }

    /// All that this snapshot names is durable here: the log and the state start over from it, as
    /// soon as nothing is on its way to the disk. Nothing happens when this replica has got as far
    /// by itself, or leads. It is of the group's committed past, so it fits whoever leads.
    pub fn install(&mut self, meta: SnapshotMeta) {
        self.snapshots.waiting = Some(meta);
    }

    /// The state is the snapshot that ends at `index`.
    pub fn snapshot_installed(&mut self, index: u64) {
        let at = |meta: &SnapshotMeta| meta.position.index == index;
        if self.snapshots.installing.as_ref().is_some_and(at) {
            self.snapshots.installing = None;
            self.raw.advance_apply_to(index);
        }
    }

    pub(super) fn can_begin_install(&self) -> bool {
        let snapshots = &self.snapshots;
        snapshots.waiting.is_some()
            && snapshots.installing.is_none()
            && self.unpersisted.is_empty()
            && !self.raw.has_ready()
    }

    /// Gives a waiting snapshot to raft as if the leader had just sent it.
    pub(super) fn begin_install(&mut self) {
        if !self.can_begin_install() {
            return;
        }
        let Some(meta) = self.snapshots.waiting.take() else { return };
        let raft = &self.raw.raft;
        if raft.state == StateRole::Leader || meta.position.index <= raft.raft_log.committed {
            return;
        }
        let message = Message {
            msg_type: MessageType::MsgSnapshot,
            to: raft.id,
            from: raft.leader_id,
            term: raft.term,
            snapshot: Some(to_raft(&meta)).into(),
            ..Message::default()
        };
        let _ = self.raw.step(message);
        // Without it raft found the entry in its log, and went on to there by itself.
        if self.raw.snap().is_some() {
            self.changes.forget();
            self.membership = meta.membership.clone();
            self.snapshots.installing = Some(meta);
        }
    }

    /// A peer's snapshot is not stepped while this replica lacks what is in it: raft would take it
    /// at its word before it is here. One that ends in this log is: raft answers how far the log
    /// is, and the leader goes on from there.
    pub(super) fn note_offer(&mut self, message: Message) -> Result<(), Refused> {
        if message.term < self.raw.raft.term || self.leads() {
            return Ok(()); // who offers it does not lead any more
        }
        let meta = from_raft(message.get_snapshot());
        let Position { index, term } = meta.position;
        let log = &self.raw.raft.raft_log;
        if index <= log.committed || log.match_term(index, term) {
            let _ = self.raw.step(message);
        } else {
            self.released.offer = Some(SnapshotOffer { from: message.from, meta });
        }
        Ok(())
    }

    pub(super) fn note_wanted_snapshot(&mut self) {
        if self.raw.mut_store().take_wanted() {
            self.released.snapshot_wanted = true;
        }
    }

    pub(super) fn compact_when_due(&mut self) {
        let applied = self.raw.raft.raft_log.applied();
        if let Some(position) = self.snapshots.compact.take_if(|at| at.index <= applied)
            && self.raw.mut_store().compact(position)
        {
            self.released.compact = Some(position);
        }
    }

    /// Raft waits for a snapshot's fate for ever, and nobody reports it: a peer that takes too long
    /// is asked where it stands, and offered the newest one if it still needs it.
    pub(super) fn give_up_on_snapshots(&mut self) {
        let progress = self.raw.raft.prs().iter();
        let fetching = progress.filter(|(_, of)| of.state == ProgressState::Snapshot);
        let fetching: Vec<u64> = fetching.map(|(id, _)| *id).collect();
        let offered = &mut self.snapshots.offered_ticks;
        offered.retain(|id, _| fetching.contains(id));
        for node_id in fetching {
            let ticks = offered.entry(node_id).or_default();
            *ticks += 1;
            if *ticks > SNAPSHOT_TICKS_MAX {
                offered.remove(&node_id);
                self.raw.report_snapshot(node_id, SnapshotStatus::Failure);
            }
        }
    }
}

/// Where the log starts over, if a ready holds a snapshot.
pub(super) fn position_of(snapshot: &Snapshot) -> Option<Position> {
    let meta = snapshot.get_metadata();
    (meta.index > 0).then_some(Position { index: meta.index, term: meta.term })
}

pub(crate) fn to_raft(meta: &SnapshotMeta) -> Snapshot {
    let Position { index, term } = meta.position;
    let conf_state = Some(conf_change::conf_state_of(&meta.membership)).into();
    let metadata = SnapshotMetadata { conf_state, index, term, ..SnapshotMetadata::default() };
    let data = meta.descriptor.clone();
    Snapshot { data, metadata: Some(metadata).into(), ..Snapshot::default() }
}

pub(crate) fn from_raft(snapshot: &Snapshot) -> SnapshotMeta {
    let meta = snapshot.get_metadata();
    SnapshotMeta {
        position: Position { index: meta.index, term: meta.term },
        membership: conf_change::membership_of(meta.get_conf_state()),
        descriptor: snapshot.data.clone(),
    }
}
