//! When a check should run: the one definition, used by the agent to run and by the objectives to
//! expect. Both sides must agree to the millisecond, or a run that happened would count as missing.

use crate::limits::{INTERVAL_MS_MAX, INTERVAL_MS_MIN};

/// The instants `offset_ms + k * interval_ms` since the Unix epoch, for every k >= 0.
///
/// The offset spreads the checks of a fleet over the interval; it depends on the names only, so a
/// restart, another host or a stranger years later finds the same instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// At least 1.
    pub interval_ms: u64,
    /// Less than `interval_ms`.
    pub offset_ms: u64,
}

impl Grid {
    /// The grid of one check on one agent. An interval outside of the limits is brought inside.
    pub fn of(check: &str, agent: &str, interval_ms: u64) -> Grid {
        let interval_ms = interval_ms.clamp(INTERVAL_MS_MIN, INTERVAL_MS_MAX);
        let key = [check.as_bytes(), &[0], agent.as_bytes()].concat();
        Grid { interval_ms, offset_ms: fnv1a64(&key) % interval_ms }
    }

    /// The first instant strictly after `t_ms`.
    pub fn next_after(&self, t_ms: u64) -> u64 {
        match t_ms.checked_sub(self.offset_ms) {
            None => self.offset_ms,
            Some(since) => (since / self.interval_ms)
                .saturating_add(1)
                .saturating_mul(self.interval_ms)
                .saturating_add(self.offset_ms),
        }
    }

    /// How many instants lie in `[from_ms, until_ms)`. Zero when the interval is empty.
    pub fn count_between(&self, from_ms: u64, until_ms: u64) -> u64 {
        self.count_before(until_ms).saturating_sub(self.count_before(from_ms))
    }

    /// Whether a check should run at `t_ms`.
    pub fn contains(&self, t_ms: u64) -> bool {
        t_ms.checked_sub(self.offset_ms).is_some_and(|since| since % self.interval_ms == 0)
    }

    /// How many instants lie in `[0, t_ms)`.
    fn count_before(&self, t_ms: u64) -> u64 {
        t_ms.saturating_sub(self.offset_ms).div_ceil(self.interval_ms)
    }
}

/// Fowler, Noll and Vo, variant 1a, 64 bits (draft-eastlake-fnv section 2 and 5).
fn fnv1a64(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(grid: Grid, from_ms: u64, until_ms: u64, expect: &[u64]) {
        let start = from_ms.checked_sub(1);
        let mut next = start.map_or_else(
            || if grid.contains(0) { 0 } else { grid.next_after(0) },
            |before| grid.next_after(before),
        );
        let mut instants = Vec::new();
        while next < until_ms {
            instants.push(next);
            next = grid.next_after(next);
        }
        assert_eq!(instants, expect);
        assert_eq!(grid.count_between(from_ms, until_ms), expect.len() as u64);
    }

    #[test]
    fn instants_of_small_grids() {
        let grid = Grid { interval_ms: 10, offset_ms: 3 };
        check(grid, 0, 35, &[3, 13, 23, 33]);
        check(grid, 3, 13, &[3]);
        check(grid, 4, 14, &[13]);
        check(grid, 14, 4, &[]);
        check(Grid { interval_ms: 10, offset_ms: 0 }, 0, 11, &[0, 10]);
    }

    #[test]
    fn fnv1a64_gives_the_published_values() {
        assert_eq!(fnv1a64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_end_of_time_does_not_panic() {
        let grid = Grid::of("a", "b", 0);
        assert_eq!(grid.interval_ms, INTERVAL_MS_MIN);
        assert!(grid.next_after(u64::MAX) >= u64::MAX - INTERVAL_MS_MIN);
        assert!(grid.count_between(0, u64::MAX) > 0);
    }

    proptest! {
        #[test]
        fn counting_equals_stepping(
            interval_ms in 1_000u64..5_000,
            from_ms in 0u64..100_000,
            length_ms in 0u64..50_000,
        ) {
            let grid = Grid::of("http-health", "web-1", interval_ms);
            let until_ms = from_ms + length_ms;
            let mut stepped = u64::from(from_ms < until_ms && grid.contains(from_ms));
            let mut at = grid.next_after(from_ms);
            while at < until_ms {
                prop_assert!(grid.contains(at));
                stepped += 1;
                at = grid.next_after(at);
            }
            prop_assert_eq!(grid.count_between(from_ms, until_ms), stepped);
        }
    }
}
