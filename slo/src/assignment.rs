//! Which runs of a series are expected: a grid, from an instant until another.

use proofmark_spec::Grid;

use crate::window::Window;

/// From `from_ms` until `until_ms` (open: until further notice) every instant of `grid` is a run
/// that should happen. A run that does not is unknown; nothing else makes a run expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub from_ms: u64,
    pub until_ms: Option<u64>,
    pub grid: Grid,
}

impl Assignment {
    pub fn covers(&self, at_ms: u64) -> bool {
        self.from_ms <= at_ms && self.until_ms.is_none_or(|until_ms| at_ms < until_ms)
    }

    pub fn window(&self) -> Window {
        Window { from_ms: self.from_ms, until_ms: self.until_ms.unwrap_or(u64::MAX) }
    }

    /// How many runs the window holds.
    pub fn expected(&self, window: Window) -> u64 {
        let shared = window.intersect(self.window());
        self.grid.count_between(shared.from_ms, shared.until_ms)
    }
}

/// The assignments of one series: ascending, never overlapping, only the last may be open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments(Vec<Assignment>);

impl Assignments {
    /// From `from_ms` on, `grid` it is; whatever was open ends there. If it is `grid` that
    /// is open, it just goes on: a change of the spec that leaves the grid alone leaves no seam.
    /// Returns whether anything changed.
    pub fn assign(&mut self, grid: Grid, from_ms: u64) -> bool {
        if self.open().is_some_and(|open| open.grid == grid) {
            return false;
        }
        self.end(from_ms);
        self.0.push(Assignment { from_ms, until_ms: None, grid });
        true
    }

    /// Nothing more is expected from `at_ms` on. Returns whether anything changed.
    pub fn end(&mut self, at_ms: u64) -> bool {
        let before = self.0.clone();
        self.0.retain(|assignment| assignment.from_ms < at_ms);
        if let Some(last) = self.0.last_mut() {
            last.until_ms = Some(last.until_ms.map_or(at_ms, |until_ms| until_ms.min(at_ms)));
        }
        self.0 != before
    }

    /// Forgets what ended before `ms`. Returns whether there was any.
    pub fn drop_before(&mut self, ms: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|assignment| assignment.until_ms.is_none_or(|until_ms| until_ms > ms));
        self.0.len() != before
    }

    pub fn covering(&self, at_ms: u64) -> Option<&Assignment> {
        self.0.iter().find(|assignment| assignment.covers(at_ms))
    }

    /// The grid at that time; where nothing was assigned, or it is forgotten, the next one.
    pub fn grid_near(&self, at_ms: u64) -> Option<Grid> {
        let later = |one: &&Assignment| one.until_ms.is_none_or(|until_ms| at_ms < until_ms);
        self.0.iter().find(later).map(|assignment| assignment.grid)
    }

    pub fn open(&self) -> Option<&Assignment> {
        self.0.last().filter(|assignment| assignment.until_ms.is_none())
    }

    pub fn expected(&self, window: Window) -> u64 {
        self.0.iter().map(|assignment| assignment.expected(window)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Assignment> {
        self.0.iter()
    }

    /// Puts back one that was read from a row.
    pub(crate) fn restore(&mut self, assignment: Assignment) {
        self.0.push(assignment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_S: Grid = Grid { interval_ms: 10_000, offset_ms: 3_000 };
    const MINUTE: Grid = Grid { interval_ms: 60_000, offset_ms: 7_000 };
    const HOUR: Window = Window { from_ms: 0, until_ms: 3_600_000 };

    #[test]
    fn a_new_grid_takes_over_at_its_instant() {
        let mut series = Assignments::default();
        assert!(series.assign(TEN_S, 0));
        assert!(series.assign(MINUTE, 600_000));
        assert_eq!(series.expected(HOUR), 60 + 50);
        assert_eq!(series.covering(599_999).map(|a| a.grid), Some(TEN_S));
        assert_eq!(series.covering(600_000).map(|a| a.grid), Some(MINUTE));
    }

    #[test]
    fn the_same_grid_goes_on_without_a_seam() {
        let mut series = Assignments::default();
        series.assign(TEN_S, 0);
        assert!(!series.assign(TEN_S, 600_000));
        assert_eq!(series.iter().len(), 1);
    }

    #[test]
    fn ending_before_the_start_leaves_nothing() {
        let mut series = Assignments::default();
        series.assign(TEN_S, 50_000);
        assert!(series.end(45_000));
        assert!(series.is_empty());
        assert!(!series.end(45_000));
    }

    #[test]
    fn an_end_is_never_moved_back_into_the_future() {
        let mut series = Assignments::default();
        series.assign(TEN_S, 0);
        series.end(20_000);
        assert!(!series.end(30_000));
        assert_eq!(series.expected(HOUR), 2);
    }
}
