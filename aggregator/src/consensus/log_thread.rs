//! The log thread: the only place of this room where a disk is waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::driver::WriteTask;
use super::inbox::Inbox;
use super::log_store::LogStore;
use super::mailbox::Mailbox;
use super::shell::Counters;
use super::snapshot::Position;
use super::storage::entry_bytes;
use crate::waiting::Ticket;

/// Writes on their way to the disk.
#[derive(Default)]
pub(crate) struct LogQueue {
    tasks: Vec<WriteTask>,
    /// One for each task, given back when it is durable.
    waiting: Vec<Ticket>,
    pub(crate) bytes: usize,
    /// Files below may go, once everything queued before is written.
    pub(crate) compact: Option<Position>,
    pub(crate) stop: bool,
}

impl LogQueue {
    fn is_ready(&self) -> bool {
        self.stop || self.compact.is_some() || !self.tasks.is_empty()
    }

    pub(crate) fn push(&mut self, task: WriteTask, ticket: Ticket) {
        self.waiting.push(ticket);
        self.bytes += task.entries.iter().map(entry_bytes).sum::<usize>();
        self.tasks.push(task);
    }
}

/// Owns the writing side of the log.
pub(crate) struct LogThread {
    pub(crate) store: LogStore,
    pub(crate) queue: Arc<Mailbox<LogQueue>>,
    pub(crate) inbox: Arc<Mailbox<Inbox>>,
    pub(crate) counters: Arc<Counters>,
}

impl LogThread {
    /// Takes all that waits, makes it durable with one flush, says so; until told to stop.
    /// While one flush runs the next group gathers, so group commit needs no timer.
    pub(crate) fn run(self) {
        // Tasks that may wait for the next flush, and do: a crash forgets them, as it may.
        let mut held = Vec::new();
        loop {
            let queue = self.queue.take(LogQueue::is_ready);
            let newest = queue.tasks.last().map(|task| task.number);
            held.extend(queue.tasks);
            if queue.stop || held.iter().any(|task| task.must_sync) {
                self.write(&held);
                held.clear();
                // A crash here leaves durable entries that nobody confirmed: start-up finds them
                // and confirms them to the leader of the day.
            }
            // Only the newest of them counts: they hold no entries.
            held.drain(..held.len().saturating_sub(1));
            if let Some(number) = newest {
                self.inbox.post(|inbox| inbox.persisted = number);
            }
            if let Some(position) = queue.compact {
                self.compact(position);
            }
            if queue.stop {
                return;
            }
        }
    }

    /// After the flush, so that nobody waits for it. What it cannot remove, the next start or the
    /// next compaction does.
    fn compact(&self, position: Position) {
        if let Err(cause) = self.store.compact(position) {
            tracing::error!(%cause, "raft log could not be compacted: the process ends here");
            std::process::abort();
        }
    }

    fn write(&self, tasks: &[WriteTask]) {
        if let Err(cause) = self.store.write(tasks) {
            // After a failed flush nobody knows what the disk holds, and trying again can report
            // success for data that is gone. The other replicas have it; this one must not speak.
            tracing::error!(%cause, "raft log could not be written: the process ends here");
            std::process::abort();
        }
        self.counters.log_flushes.fetch_add(1, Relaxed);
        self.counters.log_writes.fetch_add(tasks.len() as u64, Relaxed);
    }
}
