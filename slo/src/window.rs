//! Spans of time: the rolling windows, and the minutes and hours they are made of.
//!
//! All times are milliseconds since the Unix epoch; minutes, hours and slices are aligned to it.

pub const MINUTE_MS: u64 = 60_000;
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Objectives are evaluated at multiples of this.
pub const AS_OF_STEP_MS: u64 = 10_000;

/// `[from_ms, until_ms)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from_ms: u64,
    pub until_ms: u64,
}

impl Window {
    /// The last `length_ms` before `as_of_ms`. Its start is moved back to a whole minute, so that
    /// it is made of whole cells; it may thus be up to a minute longer than asked.
    pub fn rolling(as_of_ms: u64, length_ms: u64) -> Window {
        let from_ms = floor_to(as_of_ms.saturating_sub(length_ms), MINUTE_MS);
        Window { from_ms, until_ms: as_of_ms }
    }

    /// What both windows cover; empty when that is nothing.
    pub fn intersect(self, other: Window) -> Window {
        let from_ms = self.from_ms.max(other.from_ms);
        Window { from_ms, until_ms: self.until_ms.min(other.until_ms).max(from_ms) }
    }

    pub fn contains(self, at_ms: u64) -> bool {
        (self.from_ms..self.until_ms).contains(&at_ms)
    }

    pub fn is_empty(self) -> bool {
        self.from_ms >= self.until_ms
    }

    /// The parts of this window that lie in one minute each, ascending.
    pub fn by_minute(self) -> impl Iterator<Item = Window> {
        let mut from_ms = self.from_ms;
        std::iter::from_fn(move || {
            let rest = Window { from_ms, until_ms: self.until_ms };
            let minute_end_ms = floor_to(from_ms, MINUTE_MS) + MINUTE_MS;
            from_ms = minute_end_ms;
            (!rest.is_empty())
                .then(|| Window { until_ms: minute_end_ms.min(rest.until_ms), ..rest })
        })
    }
}

/// The greatest multiple of `step_ms` that is not after `at_ms`.
pub fn floor_to(at_ms: u64, step_ms: u64) -> u64 {
    at_ms - at_ms % step_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from_ms: u64, until_ms: u64) -> Window {
        Window { from_ms, until_ms }
    }

    #[test]
    fn a_rolling_window_starts_at_a_whole_minute() {
        assert_eq!(Window::rolling(610_000, 5 * MINUTE_MS), window(300_000, 610_000));
        assert_eq!(Window::rolling(600_000, 5 * MINUTE_MS), window(300_000, 600_000));
        assert_eq!(Window::rolling(10_000, DAY_MS), window(0, 10_000));
    }

    #[test]
    fn windows_apart_share_nothing() {
        assert!(window(0, 10).intersect(window(20, 30)).is_empty());
        assert_eq!(window(0, 25).intersect(window(20, 30)), window(20, 25));
    }

    #[test]
    fn a_window_falls_into_minutes_and_their_parts() {
        let parts: Vec<_> = window(50_000, 130_000).by_minute().collect();
        let expect = [window(50_000, 60_000), window(60_000, 120_000), window(120_000, 130_000)];
        assert_eq!(parts, expect);
        assert_eq!(window(7, 7).by_minute().count(), 0);
    }
}
