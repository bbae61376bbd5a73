//! Good, bad and unknown: three counts, and the three numbers made of them.

use crate::interval::Interval;
use crate::ratio::{self, Rounding};

/// How many of the expected runs (or slices) were good, bad, or never settled.
///
/// Unknown is what was expected less what is known, so the three add up to the expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub good: u64,
    pub bad: u64,
    pub unknown: u64,
}

impl Counts {
    pub fn expected(&self) -> u64 {
        self.known() + self.unknown
    }

    pub fn known(&self) -> u64 {
        self.good + self.bad
    }

    /// The indicator, parts per billion. `None` ("no data") when nothing was expected.
    pub fn sli_ppb(&self) -> Option<Interval<u64>> {
        self.ends().map(|ends| ends.with(ratio::share_ppb))
    }

    /// The share of the error budget that is left, parts per billion, negative when overspent.
    pub fn budget_remaining_ppb(&self, target_ppb: u64) -> Option<Interval<i64>> {
        let remaining =
            |good, whole, rounding| ratio::budget_remaining_ppb(good, whole, target_ppb, rounding);
        self.ends().map(|ends| ends.with(remaining))
    }

    /// How many times faster than allowed the budget goes, thousandths. Worst is the highest.
    pub fn burn_rate_milli(&self, target_ppb: u64) -> Option<Interval<u64>> {
        // Of good runs we fear too few, of bad ones too many: the rounding turns round.
        let rate = |good: u64, whole: u64, rounding| {
            ratio::burn_rate_milli(whole - good, whole, target_ppb, opposite(rounding))
        };
        self.ends().map(|ends| ends.with(rate))
    }

    fn ends(&self) -> Option<Ends> {
        let whole = self.expected();
        (whole > 0).then_some(Ends {
            worst: (self.good, whole),
            point: (self.known() > 0).then_some((self.good, self.known())),
            best: (self.good + self.unknown, whole),
        })
    }
}

/// The (good, whole) pairs of an interval's three values.
struct Ends {
    worst: (u64, u64),
    point: Option<(u64, u64)>,
    best: (u64, u64),
}

impl Ends {
    fn with<T>(self, number: impl Fn(u64, u64, Rounding) -> T) -> Interval<T> {
        Interval {
            worst: number(self.worst.0, self.worst.1, Rounding::Down),
            point: self.point.map(|(good, whole)| number(good, whole, Rounding::Down)),
            best: number(self.best.0, self.best.1, Rounding::Up),
        }
    }
}

fn opposite(rounding: Rounding) -> Rounding {
    match rounding {
        Rounding::Down => Rounding::Up,
        Rounding::Up => Rounding::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(good: u64, bad: u64, unknown: u64) -> Counts {
        Counts { good, bad, unknown }
    }

    #[test]
    fn unknown_widens_the_interval_and_leaves_the_point() {
        let sli = counts(90, 5, 5).sli_ppb().expect("runs were expected");
        assert_eq!(sli.worst, 900_000_000);
        assert_eq!(sli.point, Some(947_368_421));
        assert_eq!(sli.best, 950_000_000);
        assert!(!sli.is_settled());
        assert!(counts(90, 10, 0).sli_ppb().expect("runs were expected").is_settled());
    }

    #[test]
    fn nothing_expected_is_no_data() {
        assert_eq!(counts(0, 0, 0).sli_ppb(), None);
        assert_eq!(counts(0, 0, 0).budget_remaining_ppb(990_000_000), None);
        assert_eq!(counts(0, 0, 0).burn_rate_milli(990_000_000), None);
    }

    #[test]
    fn all_unknown_has_no_point_and_the_widest_ends() {
        let sli = counts(0, 0, 7).sli_ppb().expect("runs were expected");
        assert_eq!(sli, Interval { worst: 0, point: None, best: 1_000_000_000 });
    }

    #[test]
    fn the_worst_burn_is_the_highest_and_rounds_up() {
        let burn = counts(1, 1, 1).burn_rate_milli(0).expect("runs were expected");
        assert_eq!(burn, Interval { worst: 667, point: Some(500), best: 333 });
    }

    #[test]
    fn the_published_budgeting_vector() {
        // Public gist nobl9-mikec/a1a55d97: good 111 of 118 at a target of 95 %.
        let occurrences = counts(111, 7, 0);
        let sli = occurrences.sli_ppb().expect("runs were expected");
        assert_eq!((sli.worst, sli.best), (940_677_966, 940_677_967));
        let left = occurrences.budget_remaining_ppb(950_000_000).expect("runs were expected");
        assert_eq!((left.worst, left.best), (-186_440_678, -186_440_677));
    }
}
