//! A replica's Raft log: the real store over the virtual disk, and what waits to be written.

use std::sync::Arc;

use proofmark_aggregator::consensus::driver::WriteTask;
use proofmark_aggregator::consensus::log_store::{LogIdentity, LogStore};
use proofmark_aggregator::consensus::storage::RecoveredLog;
use proofmark_evidence::sha256;

use crate::sim::Planted;
use crate::sim::cast::Cast;
use crate::sim::disk::{Disk, Fault, RaftFiles};

/// Small, so that files end, are begun and are let go of within a run.
const FILE_BYTES: u64 = 16 << 10;

/// The log and its thread's queue.
pub(in crate::sim) struct Log {
    pub(in crate::sim) store: LogStore,
    queue: Vec<WriteTask>,
    /// The first of them, which the flush that runs will write.
    flushing: usize,
    disk: Disk,
}

/// `aggregator init`: the log is what it makes last.
pub(super) fn create(disk: &Disk, cast: &Cast, node_id: u64) -> Result<(), String> {
    let voters: Vec<u64> = (1..=cast.nodes.len() as u64).collect();
    disk.make_dir("raft").and_then(|()| disk.sync_dir("")).map_err(|fault| fault.to_string())?;
    let salt = *sha256(&node_id.to_be_bytes()).0.first_chunk().expect("32 bytes");
    let created =
        LogStore::create_on(&RaftFiles::new(disk), identity(cast, node_id), &voters, salt);
    created.map_err(|fault| fault.to_string())
}

pub(super) fn open(
    disk: &Disk,
    cast: &Cast,
    node_id: u64,
    planted: Option<Planted>,
) -> Result<(Log, RecoveredLog), String> {
    let identity = identity(cast, node_id);
    let before = total_bytes(disk);
    let opened = LogStore::open_on(Arc::new(RaftFiles::new(disk)), identity, FILE_BYTES);
    let opened = match opened {
        Err(_) if planted == Some(Planted::CorruptTakenForTorn) && cut_at_flip(disk) => {
            LogStore::open_on(Arc::new(RaftFiles::new(disk)), identity, FILE_BYTES)
        }
        opened => opened,
    };
    let (store, recovered) = opened.map_err(|fault| fault.to_string())?;
    if planted == Some(Planted::TornTakenForCorrupt) && total_bytes(disk) < before {
        return Err("raft log damaged: its last record is not whole".to_owned());
    }
    Ok((Log { store, queue: Vec::new(), flushing: 0, disk: disk.clone() }, recovered))
}

impl Log {
    pub(super) fn push(&mut self, mut task: WriteTask, planted: Option<Planted>) {
        if let (Some(Planted::VoteNotSaved), Some(state)) = (planted, &mut task.hard_state) {
            state.vote = 0;
        }
        self.queue.push(task);
    }

    /// Begins to flush all that is queued, unless a flush runs or nothing waits.
    pub(in crate::sim) fn start_flush(&mut self) -> bool {
        let starts = self.flushing == 0 && !self.queue.is_empty();
        if starts {
            self.flushing = self.queue.len();
        }
        starts
    }

    /// Writes what was begun; gives the number of the newest durable task.
    pub(in crate::sim) fn finish_flush(
        &mut self,
        planted: Option<Planted>,
    ) -> Result<Option<u64>, String> {
        let tasks: Vec<WriteTask> =
            self.queue.drain(..std::mem::take(&mut self.flushing)).collect();
        let Some(last) = tasks.last().map(|task| task.number) else { return Ok(None) };
        match self.store.write(&tasks) {
            Err(_) if planted == Some(Planted::SyncFaultIgnored) && self.forgive() => {}
            written => written.map_err(|fault| format!("raft log: {fault}"))?,
        }
        Ok(Some(last))
    }
}

impl Log {
    /// Planted: a full disk or a failed sync is not looked at.
    fn forgive(&self) -> bool {
        let struck = self.disk.struck();
        let is_only_said =
            struck.is_some_and(|one| matches!(one.fault, Fault::NoSpace | Fault::SyncFailed));
        is_only_said && self.disk.take_struck().is_some()
    }
}

/// Planted: whatever comes after the bit that turned was never written, it seems.
fn cut_at_flip(disk: &Disk) -> bool {
    let Some((flipped, at)) = disk.flipped().filter(|(path, _)| path.starts_with("raft/")) else {
        return false;
    };
    for (path, bytes) in disk.files_below("raft/") {
        if path == flipped {
            disk.put(&path, &bytes[..at.min(bytes.len())]);
        } else if path > flipped {
            disk.wipe(&path);
        }
    }
    true
}

fn identity(cast: &Cast, node_id: u64) -> LogIdentity {
    LogIdentity { log_id: cast.log_id.0, node_id }
}

fn total_bytes(disk: &Disk) -> usize {
    let files = disk.files_below("raft/");
    let logs = files.iter().filter(|(path, _)| path.ends_with(".raftlog"));
    logs.map(|(_, bytes)| bytes.len()).sum()
}
