//! Snapshots of one replica: the saved state is one, as soon as it is durable.

use std::io;

use bytes::Bytes;
use proofmark_aggregator::consensus::driver::WriteTask;
use proofmark_aggregator::consensus::log_store::LogStore;
use proofmark_aggregator::consensus::storage::RecoveredLog;
use proofmark_aggregator::consensus::{Membership, Position, SnapshotMeta};
use proofmark_evidence::{ByteReader, ByteWriter, FileOps};

use super::saved::{self, Rows};
use super::{Replica, Up};
use crate::sim::disk::{Disk, EvidenceFiles};

const FILE: &str = "fetched";
const SCRATCH: &str = "fetched.tmp";

/// Newest entries kept for followers that lag, in bytes: few, so that some need a snapshot.
const KEPT_BYTES: u64 = 2 << 10;

impl Up {
    /// What was just saved is offered to whoever lags, and the log below it may go.
    pub(super) fn offer_saved(&mut self, members: u64) {
        let index = self.machine.applied();
        let Some(position) = self.log.store.position(index).filter(|at| at.index > 0) else {
            return;
        };
        let mut descriptor = ByteWriter::new();
        descriptor.varint(self.machine.state.leaf_count());
        let membership = Membership::of_voters(1..=members);
        let descriptor = Bytes::from(descriptor.into_bytes());
        self.driver.snapshot_made(SnapshotMeta { position, membership, descriptor });
        // Who refuses has a newer one, or leads another life: the next save tries again.
        let _ = self.driver.compact(self.log.store.compactable(position, KEPT_BYTES));
    }
}

/// What a follower fetches: a state as rows, and evidence that reaches at least as far.
#[derive(Clone)]
pub(in crate::sim) struct Fetched {
    pub(in crate::sim) meta: SnapshotMeta,
    rows: Rows,
    evidence: Vec<(String, Vec<u8>)>,
}

impl Replica {
    /// The newest snapshot here, as a peer is given it.
    pub(in crate::sim) fn serve_snapshot(&self, meta: &SnapshotMeta) -> Option<Fetched> {
        let up = self.up.as_ref()?;
        let (state, rows) = saved::load(&self.disk).ok()??;
        let reaches = up.recorder.status().durable_size >= state.leaf_count();
        if state.applied() != meta.position.index || !reaches {
            return None;
        }
        let evidence = self.disk.files_below("evidence/");
        let meta = meta.clone();
        Some(Fetched { meta, rows, evidence })
    }

    /// Puts what was fetched beside the log: the state becomes it at the start that follows.
    ///
    /// # Errors
    /// The disk failed: the process ends.
    pub(in crate::sim) fn keep_fetched(&self, fetched: &Fetched) -> Result<(), String> {
        replace_evidence(&self.disk, &fetched.evidence);
        keep_position(&self.disk, fetched.meta.position).map_err(|fault| fault.to_string())?;
        // A crash here leaves a position without its state: nothing asks for it.
        saved::save(&self.disk, &fetched.rows).map_err(|fault| fault.to_string())
        // A crash here leaves a state without its log: `begin_log_after` completes it.
    }
}

/// Where in the log the fetched state stands. Durable when it returns.
fn keep_position(disk: &Disk, at: Position) -> io::Result<()> {
    let mut out = ByteWriter::new();
    out.varint(at.index).varint(at.term);
    let mut files = EvidenceFiles::new(disk, "");
    files.write(SCRATCH, &out.into_bytes())?;
    files.rename(SCRATCH, FILE)?;
    files.sync_dir("")
}

/// As a real start does: a log that lacks the fetched state's entry starts over after it.
///
/// # Errors
/// The disk failed, or holds a position that was not written here.
pub(super) fn begin_log_after(
    disk: &Disk,
    applied: u64,
    log: &LogStore,
    recovered: &mut RecoveredLog,
) -> io::Result<()> {
    let Some(at) = kept_position(disk)?.filter(|at| at.index == applied) else { return Ok(()) };
    if log.position(applied) == Some(at) {
        return Ok(());
    }
    recovered.hard_state.commit = at.index;
    let hard_state = Some(recovered.hard_state.clone());
    let reset = Some(at);
    let task = WriteTask { number: 1, reset, hard_state, must_sync: true, ..WriteTask::default() };
    log.write(&[task])?;
    (recovered.start, recovered.last_index) = (at, at.index);
    Ok(())
}

fn kept_position(disk: &Disk) -> io::Result<Option<Position>> {
    if !disk.exists(FILE) {
        return Ok(None);
    }
    let bytes = disk.read(FILE)?;
    let mut input = ByteReader::new(&bytes);
    let (index, term) = (input.varint("index"), input.varint("term"));
    match (index, term) {
        (Ok(index), Ok(term)) => Ok(Some(Position { index, term })),
        _ => Err(io::Error::other("expected the position of a fetched state, got other bytes")),
    }
}

/// Leaves that are here already are the same ones; the copy reaches further.
pub(in crate::sim) fn replace_evidence(disk: &Disk, files: &[(String, Vec<u8>)]) {
    disk.wipe("evidence/");
    files.iter().for_each(|(path, bytes)| disk.put(path, bytes));
}
