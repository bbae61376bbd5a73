//! How much may be proposed and not yet answered.

use std::sync::Arc;
use std::sync::Mutex;

use crate::limits::{BUSY_RETRY_MS, BUSY_RETRY_MS_MAX};
use crate::waiting::{Ticket, Waiting};

/// What is under way on this replica, shared by everything that proposes.
#[derive(Debug)]
pub(crate) struct Budget {
    count_max: usize,
    bytes_max: usize,
    used: Mutex<Used>,
    waiting: Waiting,
}

#[derive(Debug, Default)]
struct Used {
    count: usize,
    bytes: usize,
}

/// The right to have one proposal under way; dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
    _ticket: Ticket,
}

impl Budget {
    pub(crate) fn new(count_max: usize, bytes_max: usize, waiting: Waiting) -> Arc<Self> {
        Arc::new(Self { count_max, bytes_max, used: Mutex::default(), waiting })
    }

    /// When to come back, in milliseconds, while there is no room for even a small proposal: in
    /// twice the time that the oldest has waited, for about that long it takes to get through.
    pub(crate) fn is_full(&self) -> Option<u64> {
        let used = self.used.lock().expect("no code panics while it holds this lock");
        let is_full = used.count >= self.count_max || used.bytes >= self.bytes_max;
        drop(used);
        is_full.then(|| self.retry_after_ms())
    }

    /// See [`Budget::is_full`].
    pub(crate) fn retry_after_ms(&self) -> u64 {
        self.waiting.age_ms().saturating_mul(2).clamp(BUSY_RETRY_MS, BUSY_RETRY_MS_MAX)
    }

    /// Room for one more proposal of `bytes`, or `None` when the budget is used up.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let mut used = self.used.lock().expect("no code panics while it holds this lock");
        if used.count >= self.count_max || used.bytes.saturating_add(bytes) > self.bytes_max {
            return None;
        }
        used.count += 1;
        used.bytes += bytes;
        drop(used);
        Some(Permit { budget: Arc::clone(self), bytes, _ticket: self.waiting.enter() })
    }

    /// Proposals under way, and their bytes.
    pub(crate) fn used(&self) -> (usize, usize) {
        let used = self.used.lock().expect("no code panics while it holds this lock");
        (used.count, used.bytes)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().expect("no code panics while it holds this lock");
        used.count -= 1;
        used.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_by_count_or_by_bytes_and_free_again_after_a_drop() {
        let budget = Budget::new(2, 100, Waiting::default());
        let first = budget.admit(60).expect("empty");
        assert!(budget.admit(41).is_none(), "bytes");
        let second = budget.admit(40).expect("exactly full");
        assert!(budget.admit(0).is_none(), "count");
        drop((first, second));
        assert_eq!(budget.used(), (0, 0));
        assert!(budget.admit(100).is_some());
    }
}
