//! Work of the apply thread that grows with the fleet and may come later: saving the tables, making
//! the views. It is done often while it is cheap, and never takes more than its share.

/// When such work was done last, and what it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spaced {
    /// At least so long between two, in milliseconds.
    every_ms: u64,
    /// And so many times what one takes,
    cost_times: u64,
    /// but no longer than this, in milliseconds: a machine short of time makes everything costly.
    pause_ms_most: u64,
    done_at_ms: u64,
    cost_ms: u64,
}

impl Spaced {
    /// `now_ms`: monotonic, as everywhere here; as if it had been done now.
    pub(super) fn new(every_ms: u64, cost_times: u64, pause_ms_most: u64, now_ms: u64) -> Spaced {
        Spaced { every_ms, cost_times, pause_ms_most, done_at_ms: now_ms, cost_ms: 0 }
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let paid_ms = self.cost_ms.saturating_mul(self.cost_times).min(self.pause_ms_most);
        let pause_ms = self.every_ms.max(paid_ms);
        now_ms.saturating_sub(self.done_at_ms) >= pause_ms
    }

    pub(super) fn done(&mut self, begun_ms: u64, now_ms: u64) {
        self.cost_ms = now_ms.saturating_sub(begun_ms);
        self.done_at_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_comes_less_often() {
        let check = |cost_ms: u64, at_ms: u64, expect| {
            let mut work = Spaced::new(100, 20, 5_000, 0);
            work.done(1_000 - cost_ms, 1_000);
            assert_eq!(work.is_due(1_000 + at_ms), expect, "{cost_ms} ms, after {at_ms} ms");
        };
        check(0, 99, false);
        check(0, 100, true);
        check(5, 100, true);
        check(50, 999, false);
        check(50, 1_000, true);
        check(900, 4_999, false);
        check(900, 5_000, true);
    }
}
