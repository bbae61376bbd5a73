//! Budgeting by time slices (OpenSLO v1 `Timeslices`): a slice is good, bad, or not yet settled.

use crate::cell::Total;
use crate::counts::Counts;
use crate::minutes::Minutes;
use crate::ratio;
use crate::window::Window;

/// How long a slice is, and how much of it must be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceRule {
    /// Whole minutes. Slices are aligned to the Unix epoch.
    pub slice_ms: u64,
    pub slice_target_ppb: u64,
}

impl SliceRule {
    /// Counts the slices that lie wholly inside the window. A slice in which nothing was expected
    /// does not exist: it is neither good nor unknown.
    pub fn count(self, minutes: &Minutes, window: Window) -> Counts {
        let mut counts = Counts::default();
        let mut slice = (0, Total::default());
        for (at_ms, cell) in minutes.cells(self.whole_slices(window)) {
            let start_ms = at_ms - at_ms % self.slice_ms;
            if start_ms != slice.0 {
                self.judge(slice.1.counts(), &mut counts);
                slice = (start_ms, Total::default());
            }
            slice.1 += cell;
        }
        self.judge(slice.1.counts(), &mut counts);
        counts
    }

    /// Good if it holds even with the unknown bad, bad if it fails even with the unknown good.
    fn judge(self, runs: Counts, slices: &mut Counts) {
        let expected = runs.expected();
        if expected == 0 {
            return;
        }
        let reaches = |good| ratio::reaches(good, expected, self.slice_target_ppb);
        if reaches(runs.good) {
            slices.good += 1;
        } else if !reaches(runs.good + runs.unknown) {
            slices.bad += 1;
        } else {
            slices.unknown += 1;
        }
    }

    fn whole_slices(self, window: Window) -> Window {
        let from_ms = window.from_ms.next_multiple_of(self.slice_ms);
        let until_ms = window.until_ms - window.until_ms % self.slice_ms;
        Window { from_ms, until_ms: until_ms.max(from_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minutes::Verdict;
    use crate::window::MINUTE_MS;

    const HALF: SliceRule = SliceRule { slice_ms: MINUTE_MS, slice_target_ppb: 500_000_000 };

    /// Minutes of (good, bad, unknown) runs, from the epoch on.
    fn minutes(runs: &[(u32, u32, u32)]) -> Minutes {
        let mut minutes = Minutes::default();
        for (minute, &(good, bad, unknown)) in (0..).zip(runs) {
            let at_ms = minute * MINUTE_MS;
            minutes.expect(at_ms, good + bad + unknown);
            (0..good).for_each(|_| minutes.count_all([(at_ms, Verdict::Good)]));
            (0..bad).for_each(|_| minutes.count_all([(at_ms, Verdict::Bad)]));
        }
        minutes
    }

    fn check(rule: SliceRule, runs: &[(u32, u32, u32)], window: (u64, u64), expect: [u64; 3]) {
        let window = Window { from_ms: window.0 * 1_000, until_ms: window.1 * 1_000 };
        let got = rule.count(&minutes(runs), window);
        assert_eq!([got.good, got.bad, got.unknown], expect, "{runs:?}");
    }

    #[test]
    fn a_slice_is_settled_as_soon_as_the_unknown_cannot_turn_it() {
        check(HALF, &[(5, 0, 5)], (0, 60), [1, 0, 0]);
        check(HALF, &[(0, 6, 4)], (0, 60), [0, 1, 0]);
        check(HALF, &[(4, 1, 5)], (0, 60), [0, 0, 1]);
        check(HALF, &[(0, 0, 10)], (0, 60), [0, 0, 1]);
    }

    #[test]
    fn a_slice_without_expected_runs_does_not_exist() {
        check(HALF, &[(1, 0, 0), (0, 0, 0), (1, 0, 0)], (0, 180), [2, 0, 0]);
    }

    #[test]
    fn only_whole_slices_count() {
        let runs = [(1, 0, 0); 10];
        check(HALF, &runs, (0, 90), [1, 0, 0]);
        check(HALF, &runs, (1, 600), [9, 0, 0]);
        let five_minutes = SliceRule { slice_ms: 5 * MINUTE_MS, ..HALF };
        check(five_minutes, &runs, (60, 600), [1, 0, 0]);
        check(five_minutes, &runs, (60, 540), [0, 0, 0]);
    }

    #[test]
    fn the_published_budgeting_vector() {
        // Public gist nobl9-mikec/a1a55d97: the same data as occurrences are 111 of 118.
        let good = [2, 10, 12, 13, 13, 12, 13, 13, 12, 11];
        let total = [4, 10, 12, 13, 14, 15, 14, 13, 12, 11];
        let runs: Vec<_> =
            good.iter().zip(total).map(|(&good, all)| (good, all - good, 0)).collect();
        let rule = SliceRule { slice_target_ppb: 950_000_000, ..HALF };
        check(rule, &runs, (0, 600), [6, 4, 0]);
        let whole = Window { from_ms: 0, until_ms: 600_000 };
        let occurrences = minutes(&runs).total(whole).counts();
        assert_eq!((occurrences.good, occurrences.expected()), (111, 118));
        let left = rule.count(&minutes(&runs), whole).budget_remaining_ppb(950_000_000);
        // 800 % of the budget is spent.
        assert_eq!(left.expect("slices exist").point, Some(-7_000_000_000));
    }
}
