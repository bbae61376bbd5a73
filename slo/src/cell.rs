//! The smallest thing an objective remembers: the counts of one minute.

use std::ops::AddAssign;

use crate::counts::Counts;

/// What was expected of one objective in one minute, and what of it is known.
///
/// `good + bad <= expected` always holds once the minute's instants are in the past: a run is
/// counted only if it is one of the expected instants, and each instant only once (see `series`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub expected: u32,
    pub good: u32,
    pub bad: u32,
}

/// The sum of many cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub expected: u64,
    pub good: u64,
    pub bad: u64,
}

impl Cell {
    pub fn is_empty(&self) -> bool {
        *self == Cell::default()
    }
}

impl AddAssign<Cell> for Total {
    fn add_assign(&mut self, cell: Cell) {
        self.expected += u64::from(cell.expected);
        self.good += u64::from(cell.good);
        self.bad += u64::from(cell.bad);
    }
}

impl AddAssign<Total> for Total {
    fn add_assign(&mut self, other: Total) {
        self.expected += other.expected;
        self.good += other.good;
        self.bad += other.bad;
    }
}

impl Total {
    /// Unknown is the rest. Were more known than expected, bad would win: it is never hidden.
    pub fn counts(&self) -> Counts {
        let bad = self.bad.min(self.expected);
        let good = self.good.min(self.expected - bad);
        Counts { good, bad, unknown: self.expected - bad - good }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_unknown() {
        let total = Total { expected: 10, good: 6, bad: 1 };
        assert_eq!(total.counts(), Counts { good: 6, bad: 1, unknown: 3 });
    }

    #[test]
    fn bad_is_never_hidden() {
        let total = Total { expected: 3, good: 3, bad: 2 };
        assert_eq!(total.counts(), Counts { good: 1, bad: 2, unknown: 0 });
    }
}
