//! Whether what a leader applies is published in time. A root that nobody else has is published
//! by nobody: who leads with one must not lead for ever.

use crate::limits::SEAL_STALLED_MS_MAX;

/// What a leader can see of its own log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) leads: bool,
    /// Leaves applied.
    pub(super) log_size: u64,
    /// Leaves under the newest published checkpoint.
    pub(super) published_size: u64,
}

/// Looks at each tick.
#[derive(Debug, Default)]
pub(super) struct SealWatch {
    published_size: u64,
    /// Since when leaves wait while this replica leads; monotonic.
    waiting_since_ms: Option<u64>,
}

impl SealWatch {
    /// Whether this leader's leaves have waited for too long. Said once; then it counts anew.
    pub(super) fn is_stalled(&mut self, seen: Progress, now_ms: u64) -> bool {
        let waits = seen.leads && seen.log_size > seen.published_size;
        let has_moved = seen.published_size != self.published_size;
        self.published_size = seen.published_size;
        if !waits || has_moved {
            self.waiting_since_ms = waits.then_some(now_ms);
            return false;
        }
        let since_ms = *self.waiting_since_ms.get_or_insert(now_ms);
        let is_stalled = now_ms.saturating_sub(since_ms) >= SEAL_STALLED_MS_MAX;
        if is_stalled {
            self.waiting_since_ms = Some(now_ms);
        }
        is_stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second, beginning at 1000 ms; answers the looks that said "stalled".
    fn check(expect_s: &[u64], seen: impl Fn(u64) -> (bool, u64, u64)) {
        let mut watch = SealWatch::default();
        let stalled = (1..=30).filter(|second| {
            let (leads, log_size, published_size) = seen(*second);
            watch.is_stalled(Progress { leads, log_size, published_size }, second * 1_000)
        });
        assert_eq!(stalled.collect::<Vec<u64>>(), expect_s);
    }

    #[test]
    fn only_a_leader_whose_leaves_wait_for_ten_seconds_is_stalled() {
        check(&[], |_| (true, 7, 7)); // all published, nothing new
        check(&[], |second| (true, second + 1, second)); // always one behind, and moving
        check(&[], |second| (true, 2 * second, 7 * (second / 7))); // slow, but it moves
        check(&[], |second| (false, second, 0)); // a follower hands nothing over
        check(&[11, 21], |second| (true, second, 0)); // said, and said again
        check(&[], |second| (second % 9 != 0, second, 0)); // each term begins anew
    }
}
