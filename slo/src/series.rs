//! One check on one agent: which runs are expected, which were heard of, and since when nothing.
//!
//! Two rules make the counts exact without remembering every run:
//!
//! * A run counts once. The newest counted instants are remembered; an instant among or before
//!   them is `Repeated`. This relies on one invariant: *batches of one agent arrive in sequence
//!   order* (admission enforces it), so a series' instants arrive ascending but for a few that
//!   overtake each other. Nothing is assumed about the order between agents.
//! * A run at or after `as_of` waits in its series until `as_of` has passed it. By then the
//!   assignments that cover it can no longer change (a spec change takes effect after `as_of`),
//!   so every run in a cell is one of the instants that cell expects.
//!
//! A result may stand for many missed runs (`spoken.rs`). It is counted at its own instant like any
//! other; the rest only gives a cause to what is unknown anyway, and waits for `as_of` likewise.
//!
//! Silence is about the agent, not about its runs: who told us why nothing ran is not silent. So
//! the newest instant *spoken of* decides, be it heard or told. Told only up to an instant long
//! ago, the silence goes on from where it began, as when a spool still replays old runs.

use proofmark_evidence::{Outcome, SilenceChange, UnknownReason};
use proofmark_spec::Grid;

use crate::assignment::Assignments;
use crate::count::Counted;
use crate::limits::{GRACE_MS, RECENT_RUNS, SILENT_AFTER_INTERVALS, SPOKEN_AHEAD_MS_MAX};
use crate::spoken::{Spoken, Told, take_instant};

#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) assignments: Assignments,
    pub(crate) recent: RecentRuns,
    pub(crate) waiting: Vec<HeardRun>,
    pub(crate) spoken: Spoken,
    /// What was told of instants at or after `as_of`.
    pub(crate) told_waiting: Vec<Told>,
    /// The newest instant that a result stood for besides its own.
    pub(crate) told_until_ms: Option<u64>,
    /// The run with the newest instant.
    pub(crate) last: Option<HeardRun>,
    /// The first instant of the present silence.
    pub(crate) silent_since_ms: Option<u64>,
    /// The row must be written.
    pub(crate) dirty: bool,
}

/// What is kept of a run until it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardRun {
    pub scheduled_at_ms: u64,
    pub outcome: Outcome,
    pub duration_us: u64,
}

/// How a series changed between silent and heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) change: SilenceChange,
    pub(crate) since_ms: u64,
}

impl Series {
    /// Decides whether the run counts, and if so remembers that it did. Returns the cause that was
    /// counted for its instant before, which is void now.
    pub(crate) fn hear(&mut self, run: HeardRun) -> Result<Option<UnknownReason>, Counted> {
        self.check_expected(run.scheduled_at_ms)?;
        if !self.recent.insert(run.scheduled_at_ms) {
            return Err(Counted::Repeated);
        }
        if self.last.is_none_or(|last| last.scheduled_at_ms < run.scheduled_at_ms) {
            self.last = Some(run);
        }
        self.dirty = true;
        if self.spoken.go_on(run.scheduled_at_ms, &self.assignments) {
            return Ok(None);
        }
        let told = self.spoken.hear(run.scheduled_at_ms);
        let not_counted_yet = take_instant(&mut self.told_waiting, run.scheduled_at_ms);
        self.spoken.settle(self.recent.floor_ms, &self.assignments);
        Ok(told.filter(|_| !not_counted_yet))
    }

    /// The time in which nothing ran, if nothing did at `runs` instants from `first_ms` on. The
    /// first need not be expected: an agent may count from before its assignment.
    pub(crate) fn missed(&self, first_ms: u64, runs: u64, reason: UnknownReason) -> Option<Told> {
        let grid = self.assignments.grid_near(first_ms)?;
        let besides_ms = runs.saturating_sub(1).saturating_mul(grid.interval_ms);
        let last_ms = first_ms.saturating_add(besides_ms);
        grid.contains(first_ms).then_some(Told { first_ms, last_ms, reason })
    }

    /// Lets what was told wait for [`Series::take_told`], but for instants that were spoken of
    /// before. Returns whether anything was left.
    pub(crate) fn tell(&mut self, told: Told, as_of_ms: u64) -> bool {
        let new = self.spoken.tell(told, &self.assignments);
        if new.is_empty() {
            return false;
        }
        let ahead_ms = as_of_ms.max(told.first_ms).saturating_add(SPOKEN_AHEAD_MS_MAX);
        self.told_until_ms = self.told_until_ms.max(Some(told.last_ms.min(ahead_ms)));
        self.spoken.settle(self.recent.floor_ms, &self.assignments);
        self.told_waiting.extend(new);
        self.dirty = true;
        true
    }

    /// Takes what was told of instants that `as_of_ms` has passed.
    pub(crate) fn take_told(&mut self, as_of_ms: u64) -> Vec<Told> {
        if self.told_waiting.is_empty() {
            return Vec::new();
        }
        let waited = std::mem::take(&mut self.told_waiting).into_iter();
        let (due, rest): (Vec<_>, Vec<_>) = waited.map(|told| told.split_at(as_of_ms)).unzip();
        self.told_waiting = rest.into_iter().flatten().collect();
        let due: Vec<_> = due.into_iter().flatten().collect();
        self.dirty |= !due.is_empty();
        due
    }

    pub(crate) fn assign(&mut self, grid: Grid, from_ms: u64) {
        if self.assignments.assign(grid, from_ms) {
            self.cut_told(from_ms);
        }
    }

    pub(crate) fn end(&mut self, at_ms: u64) {
        if self.assignments.end(at_ms) {
            self.cut_told(at_ms);
        }
    }

    /// From `from_ms` on another grid holds, or none: what was told before that was known is void.
    fn cut_told(&mut self, from_ms: u64) {
        self.dirty = true;
        self.spoken.cut(from_ms);
        let waited = std::mem::take(&mut self.told_waiting).into_iter();
        self.told_waiting = waited.filter_map(|told| told.split_at(from_ms).0).collect();
    }

    /// Takes the waiting runs that `as_of_ms` has passed. Of those, runs whose assignment ended
    /// before them after they were heard are handed out as refused.
    pub(crate) fn take_due(&mut self, as_of_ms: u64) -> Vec<Result<HeardRun, Counted>> {
        let is_due = |run: &mut HeardRun| run.scheduled_at_ms < as_of_ms;
        let due: Vec<HeardRun> = self.waiting.extract_if(.., is_due).collect();
        self.dirty |= !due.is_empty();
        due.into_iter().map(|run| self.check_expected(run.scheduled_at_ms).map(|()| run)).collect()
    }

    /// Silent: the newest instant spoken of is more than three intervals and the grace ago.
    pub(crate) fn turn(&mut self, as_of_ms: u64) -> Option<Turn> {
        let before = self.silent_since_ms;
        let missed_ms = self.first_missed_if_overdue(as_of_ms);
        self.silent_since_ms = match (before, missed_ms) {
            (Some(since_ms), Some(_)) => Some(since_ms),
            // A new assignment alone starts the waiting afresh but is no sign of life.
            (Some(since_ms), None)
                if self.is_expected_now() && !self.has_spoken_since(since_ms) =>
            {
                Some(since_ms)
            }
            (_, missed_ms) => missed_ms,
        };
        self.dirty |= self.silent_since_ms != before;
        match (before, self.silent_since_ms) {
            (None, Some(since_ms)) => Some(Turn { change: SilenceChange::Silent, since_ms }),
            (Some(_), None) if self.is_expected_now() => {
                let change = SilenceChange::Heard;
                self.spoken_until_ms().map(|since_ms| Turn { change, since_ms })
            }
            _ => None,
        }
    }

    /// The grid in force, if runs are expected until further notice.
    pub(crate) fn grid(&self) -> Option<Grid> {
        self.assignments.open().map(|open| open.grid)
    }

    fn check_expected(&self, at_ms: u64) -> Result<(), Counted> {
        let assignment = self.assignments.covering(at_ms).ok_or(Counted::NotAssigned)?;
        if assignment.grid.contains(at_ms) { Ok(()) } else { Err(Counted::OffGrid) }
    }

    fn is_expected_now(&self) -> bool {
        self.assignments.open().is_some()
    }

    fn has_spoken_since(&self, since_ms: u64) -> bool {
        self.spoken_until_ms().is_some_and(|until_ms| until_ms >= since_ms)
    }

    /// The newest instant of which the agent said anything.
    fn spoken_until_ms(&self) -> Option<u64> {
        self.last.map(|last| last.scheduled_at_ms).max(self.told_until_ms)
    }

    fn first_missed_if_overdue(&self, as_of_ms: u64) -> Option<u64> {
        let open = self.assignments.open()?;
        let heard_ms = self.spoken_until_ms();
        let waited_since_ms = heard_ms.unwrap_or(0).max(open.from_ms);
        let overdue_ms = SILENT_AFTER_INTERVALS * open.grid.interval_ms + GRACE_MS;
        if as_of_ms.saturating_sub(waited_since_ms) <= overdue_ms {
            return None;
        }
        Some(match heard_ms {
            Some(heard_ms) if heard_ms >= open.from_ms => open.grid.next_after(heard_ms),
            _ if open.grid.contains(open.from_ms) => open.from_ms,
            _ => open.grid.next_after(open.from_ms),
        })
    }
}

/// The newest counted instants of a series, ascending.
///
/// More than one is kept because a run may overtake the one before it: the note that a run was
/// skipped is ready at once, the run still going is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecentRuns {
    /// Whatever lies at or before it is settled. None until that many runs were counted.
    pub(crate) floor_ms: Option<u64>,
    pub(crate) instants_ms: Vec<u64>,
}

impl RecentRuns {
    /// Whether the instant is new; it is then remembered.
    fn insert(&mut self, at_ms: u64) -> bool {
        if self.floor_ms.is_some_and(|floor_ms| at_ms <= floor_ms) {
            return false;
        }
        let Err(place) = self.instants_ms.binary_search(&at_ms) else { return false };
        match (self.instants_ms.len() < RECENT_RUNS, place) {
            (true, _) => self.instants_ms.insert(place, at_ms),
            (false, 0) => self.floor_ms = Some(at_ms),
            // The oldest makes room: the others move up to the new one's place.
            (false, _) => {
                self.floor_ms = Some(self.instants_ms[0]);
                self.instants_ms[..place].rotate_left(1);
                self.instants_ms[place - 1] = at_ms;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { interval_ms: 10_000, offset_ms: 0 };

    fn run(at_s: u64) -> HeardRun {
        HeardRun { scheduled_at_ms: at_s * 1_000, outcome: Outcome::Pass, duration_us: 1 }
    }

    fn silent(since_ms: u64) -> Option<Turn> {
        Some(Turn { change: SilenceChange::Silent, since_ms })
    }

    fn heard(since_ms: u64) -> Option<Turn> {
        Some(Turn { change: SilenceChange::Heard, since_ms })
    }

    fn series() -> Series {
        let mut series = Series::default();
        series.assignments.assign(GRID, 100_000);
        series
    }

    #[test]
    fn a_run_counts_once_in_whatever_order_neighbours_come() {
        let mut series = series();
        for at_s in [100, 120, 110, 130] {
            assert_eq!(series.hear(run(at_s)), Ok(None));
        }
        for at_s in [100, 110, 120, 130] {
            assert_eq!(series.hear(run(at_s)), Err(Counted::Repeated));
        }
        assert_eq!(series.last, Some(run(130)));
    }

    #[test]
    fn what_lies_before_the_remembered_runs_is_settled() {
        let mut series = series();
        for step in 1..=RECENT_RUNS as u64 + 1 {
            assert_eq!(series.hear(run(100 + step * 10)), Ok(None));
        }
        assert_eq!(series.hear(run(100)), Err(Counted::Repeated));
        assert_eq!(series.recent.instants_ms.len(), RECENT_RUNS);
    }

    #[test]
    fn a_run_must_be_one_of_the_expected() {
        assert_eq!(series().hear(run(90)), Err(Counted::NotAssigned));
        assert_eq!(series().hear(run(101)), Err(Counted::OffGrid));
    }

    #[test]
    fn a_waiting_run_whose_assignment_went_away_is_refused() {
        let mut series = series();
        series.waiting = vec![run(110), run(130), run(140)];
        series.assignments.end(120_000);
        assert_eq!(series.take_due(140_000), [Ok(run(110)), Err(Counted::NotAssigned)]);
        // A run at `as_of` itself is not due yet.
        assert_eq!(series.waiting, [run(140)]);
    }

    #[test]
    fn silence_begins_at_the_first_missed_run_and_ends_with_a_heard_one() {
        let mut series = series();
        series.hear(run(110)).expect("110 s is expected");
        assert_eq!(series.turn(150_000), None);
        assert_eq!(series.turn(160_000), silent(120_000));
        assert_eq!(series.turn(170_000), None);
        series.hear(run(170)).expect("170 s is expected");
        assert_eq!(series.turn(180_000), heard(170_000));
    }

    fn tell(series: &mut Series, first_s: u64, runs: u64, as_of_s: u64) {
        let reason = UnknownReason::SkippedAsleep;
        let told = series.missed(first_s * 1_000, runs, reason).expect("on the grid");
        series.tell(told, as_of_s * 1_000);
    }

    #[test]
    fn who_tells_of_missed_runs_up_to_now_is_not_silent() {
        let mut series = series();
        series.hear(run(110)).expect("110 s is expected");
        assert_eq!(series.turn(300_000), silent(120_000));
        tell(&mut series, 120, 10, 300);
        assert_eq!(series.turn(310_000), None, "told up to 210 s, long ago");
        assert_eq!(series.silent_since_ms, Some(120_000));
        tell(&mut series, 220, 9, 310);
        assert_eq!(series.turn(320_000), heard(300_000));
        assert_eq!(series.turn(340_000), None);
        assert_eq!(series.turn(350_000), silent(310_000), "from the first not told of");
    }

    #[test]
    fn who_claims_the_future_is_silent_in_it() {
        let mut series = series();
        tell(&mut series, 100, u64::MAX, 110);
        assert_eq!(series.turn(200_000), None);
        assert_eq!(series.turn(220_000), silent(180_000));
    }

    #[test]
    fn what_was_told_ends_where_the_assignment_does() {
        let mut series = series();
        tell(&mut series, 100, 100, 100);
        series.end(200_000);
        series.assign(GRID, 300_000);
        let told: Vec<_> = series.take_told(1_000_000);
        assert_eq!(told.iter().map(|one| one.last_ms).max(), Some(199_999));
        assert_eq!(series.hear(run(300)), Ok(None), "nothing was told of it");
        assert_eq!(series.hear(run(190)), Ok(Some(UnknownReason::SkippedAsleep)));
    }

    #[test]
    fn never_heard_is_silent_too() {
        assert_eq!(series().turn(140_000), None);
        assert_eq!(series().turn(150_000), silent(100_000));
    }

    #[test]
    fn a_spool_still_replaying_old_runs_does_not_end_the_silence() {
        let mut series = series();
        series.turn(300_000);
        series.hear(run(110)).expect("110 s is expected");
        assert_eq!(series.turn(310_000), None);
        assert_eq!(series.silent_since_ms, Some(100_000));
    }

    #[test]
    fn a_new_grid_is_no_sign_of_life() {
        let mut series = series();
        series.turn(300_000);
        series.assignments.assign(Grid { interval_ms: 20_000, ..GRID }, 310_000);
        assert_eq!(series.turn(320_000), None);
        assert_eq!(series.silent_since_ms, Some(100_000));
    }
}
