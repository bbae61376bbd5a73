//! Snapshots of one replica: the saved state is one, as soon as it is durable.

use bytes::Bytes;
use proofmark_aggregator::consensus::{Membership, SnapshotMeta};
use proofmark_evidence::ByteWriter;

use super::saved::{self, Rows};
use super::{Replica, Up};
use crate::sim::disk::Disk;

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
        saved::save(&self.disk, &fetched.rows).map_err(|fault| fault.to_string())
    }
}

/// Leaves that are here already are the same ones; the copy reaches further.
pub(in crate::sim) fn replace_evidence(disk: &Disk, files: &[(String, Vec<u8>)]) {
    disk.wipe("evidence/");
    files.iter().for_each(|(path, bytes)| disk.put(path, bytes));
}
