//! A virtual disk with one Raft log on it: what is not flushed is lost in a crash, or some of it.

use std::cell::RefCell;
use std::rc::Rc;

use proofmark_aggregator::consensus::driver::{Entry, HardState, WriteTask};
use proofmark_aggregator::consensus::storage::{LogSource, LogUnreadable, RecoveredLog};

use super::Planted;
use super::rng::Rng;

/// Clones share it: the driver reads, the replica writes.
#[derive(Clone)]
pub(super) struct RaftLog {
    platter: Rc<RefCell<Platter>>,
}

struct Platter {
    voters: Vec<u64>,
    entries: Vec<Entry>,
    hard_state: HardState,
    /// Written, not flushed; the first `flushing` of them are in the flush that runs.
    queue: Vec<WriteTask>,
    flushing: usize,
    planted: Option<Planted>,
}

impl RaftLog {
    pub(super) fn new(voters: &[u64], planted: Option<Planted>) -> Self {
        let platter = Platter {
            voters: voters.to_vec(),
            entries: Vec::new(),
            hard_state: HardState::default(),
            queue: Vec::new(),
            flushing: 0,
            planted,
        };
        Self { platter: Rc::new(RefCell::new(platter)) }
    }

    pub(super) fn write(&self, task: WriteTask) {
        self.platter.borrow_mut().queue.push(task);
    }

    /// Begins to flush all that is queued, unless a flush runs or nothing waits.
    pub(super) fn start_flush(&self) -> bool {
        let mut platter = self.platter.borrow_mut();
        let starts = platter.flushing == 0 && !platter.queue.is_empty();
        if starts {
            platter.flushing = platter.queue.len();
        }
        starts
    }

    /// The flush is done; gives the number of the newest durable task.
    pub(super) fn finish_flush(&self) -> Option<u64> {
        let mut platter = self.platter.borrow_mut();
        let count = std::mem::take(&mut platter.flushing);
        platter.keep(count)
    }

    /// Power is gone. Each queued task is a record of its own: the disk may have kept the first few,
    /// whether or not anybody was told; a torn one has a bad checksum and counts as not written.
    pub(super) fn crash(&self, rng: &mut Rng) {
        let mut platter = self.platter.borrow_mut();
        let kept = rng.index(platter.queue.len() + 1);
        platter.keep(kept);
        platter.queue.clear();
        platter.flushing = 0;
    }

    pub(super) fn recover(&self) -> RecoveredLog {
        let platter = self.platter.borrow();
        RecoveredLog {
            hard_state: platter.hard_state.clone(),
            voters: platter.voters.clone(),
            last_index: platter.entries.len() as u64,
            ..RecoveredLog::default()
        }
    }
}

impl Platter {
    fn keep(&mut self, count: usize) -> Option<u64> {
        let tasks: Vec<WriteTask> = self.queue.drain(..count).collect();
        let newest = tasks.last().map(|task| task.number);
        tasks.into_iter().for_each(|task| self.make_durable(task));
        newest
    }

    fn make_durable(&mut self, task: WriteTask) {
        if let Some(first) = task.entries.first() {
            let kept = usize::try_from(first.index - 1).expect("a log in memory");
            assert!(kept <= self.entries.len(), "a gap before index {}", first.index);
            self.entries.truncate(kept);
            self.entries.extend(task.entries);
        }
        if let Some(mut hard_state) = task.hard_state {
            if self.planted == Some(Planted::VoteNotSaved) {
                hard_state.vote = 0;
            }
            self.hard_state = hard_state;
        }
    }
}

impl LogSource for RaftLog {
    fn fetch(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogUnreadable> {
        let platter = self.platter.borrow();
        let position = |index: u64| usize::try_from(index - 1).expect("a log in memory");
        let range = position(low)..position(high);
        let Some(entries) = platter.entries.get(range) else {
            return Err(LogUnreadable {
                low,
                high,
                cause: "not durable".to_owned(),
                is_gone: false,
            });
        };
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += 1 + entry.data.len() as u64;
            first || bytes <= bytes_max
        };
        Ok(entries.iter().take_while(fits).cloned().collect())
    }
}

impl super::replica::Replica {
    pub(super) fn open_log(&self) -> Result<RecoveredLog, String> {
        Ok(self.log.recover())
    }
}
