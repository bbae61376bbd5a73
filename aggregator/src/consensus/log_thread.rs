//! The log thread: the only place of this room where a disk is waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::driver::WriteTask;
use super::inbox::Inbox;
use super::log_store::LogStore;
use super::mailbox::Mailbox;
use super::shell::Counters;
use super::storage::entry_bytes;

/// Writes on their way to the disk.
#[derive(Default)]
pub(crate) struct LogQueue {
    tasks: Vec<WriteTask>,
    pub(crate) bytes: usize,
    pub(crate) stop: bool,
}

impl LogQueue {
    pub(crate) fn push(&mut self, task: WriteTask) {
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
        loop {
            let queue = self.queue.take(|queue| queue.stop || !queue.tasks.is_empty());
            if let Some(last) = queue.tasks.last() {
                self.write(&queue.tasks);
                // A crash here leaves durable entries that nobody confirmed: start-up finds them
                // and confirms them to the leader of the day.
                self.inbox.post(|inbox| inbox.persisted = last.number);
            }
            if queue.stop {
                return;
            }
        }
    }

    fn write(&self, tasks: &[WriteTask]) {
        let sync = tasks.iter().any(|task| task.must_sync);
        if let Err(cause) = self.store.write(tasks, sync) {
            // After a failed flush nobody knows what the disk holds, and trying again can report
            // success for data that is gone. The other replicas have it; this one must not speak.
            tracing::error!(%cause, "raft log could not be written: the process ends here");
            std::process::abort();
        }
        self.counters.log_flushes.fetch_add(u64::from(sync), Relaxed);
        self.counters.log_writes.fetch_add(tasks.len() as u64, Relaxed);
    }
}
