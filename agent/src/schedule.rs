//! When what is due. Pure: no async, no clock, no I/O; time comes in as an argument.
//!
//! Every check has a lane on its [`Grid`], which is also what objectives expect by. A lane hands
//! out each of its instants once, in order, whatever the clock does: an instant is either *due*
//! (run it now) or *missed* (too late to run; say so). A clock that goes back makes lanes wait, it
//! never makes them repeat.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proofmark_evidence::{AgentName, CheckName, UnknownReason};
use proofmark_spec::{Check, Grid};

use crate::limits::{PENDING_PLANS_MAX, START_LAG_MS_MAX};

/// A check as one spec revision has it.
#[derive(Clone, Debug)]
pub struct Planned {
    pub name: CheckName,
    pub revision: u64,
    pub check: Check,
}

/// One instant to run now.
#[derive(Clone, Debug)]
pub struct Due {
    pub planned: Arc<Planned>,
    pub scheduled_at_ms: u64,
}

/// Instants of one check that were not run: `count` of them from `first_scheduled_at_ms` on.
#[derive(Clone, Debug)]
pub struct Missed {
    pub planned: Arc<Planned>,
    pub first_scheduled_at_ms: u64,
    /// At least 1.
    pub count: u64,
    pub reason: UnknownReason,
}

/// What [`Schedule::take_due`] hands out, each part in order of time, then name.
#[derive(Debug, Default)]
pub struct Taken {
    pub due: Vec<Due>,
    pub missed: Vec<Missed>,
}

/// The lanes in force and the plans that will follow.
#[derive(Debug)]
pub struct Schedule {
    agent: AgentName,
    lanes: Vec<Lane>,
    /// Ascending by the instant they take effect.
    plans: VecDeque<Plan>,
}

#[derive(Debug)]
struct Lane {
    planned: Arc<Planned>,
    grid: Grid,
    /// The first instant not handed out yet.
    next_at_ms: u64,
}

#[derive(Debug)]
struct Plan {
    from_ms: u64,
    checks: Vec<Arc<Planned>>,
}

impl Schedule {
    /// Lanes whose first instants are at or after `from_ms`.
    pub fn new(checks: Vec<Arc<Planned>>, agent: AgentName, from_ms: u64) -> Schedule {
        let mut schedule = Schedule { agent, lanes: Vec::new(), plans: VecDeque::new() };
        schedule.switch(Plan { from_ms, checks });
        schedule
    }

    /// Puts `checks` in force at exactly `from_ms`: the lanes now in force keep the instants
    /// before it, and no instant of a check is handed out by both.
    pub fn replace(&mut self, checks: Vec<Arc<Planned>>, from_ms: u64) {
        while self.plans.back().is_some_and(|plan| plan.from_ms >= from_ms) {
            self.plans.pop_back();
        }
        if self.plans.len() == PENDING_PLANS_MAX {
            self.plans.pop_back();
        }
        self.plans.push_back(Plan { from_ms, checks });
    }

    /// When to call [`Schedule::take_due`] next; none when there is nothing to wait for.
    pub fn next_due(&self) -> Option<u64> {
        let lanes = self.lanes.iter().map(|lane| lane.next_at_ms);
        lanes.chain(self.plans.front().map(|plan| plan.from_ms)).min()
    }

    /// Hands out every instant up to and including `now_ms`. `why_late` is the reason of those
    /// that are too late to run.
    pub fn take_due(&mut self, now_ms: u64, why_late: UnknownReason) -> Taken {
        let mut taken = self.take(now_ms, now_ms, why_late);
        taken.due.sort_by(|a, b| due_key(a).cmp(&due_key(b)));
        taken
    }

    /// Hands out every instant up to and including `until_ms` as missed for `reason`: nothing runs
    /// any more.
    pub fn take_missed(&mut self, until_ms: u64, reason: UnknownReason) -> Vec<Missed> {
        self.take(until_ms, TOO_LATE_MS, reason).missed
    }

    /// The instants in `[from_ms, until_ms)` as missed for `reason`, one row for each check; for
    /// results that existed and were lost. Where they begin may not be known: then each check's
    /// last instant stands for them. Lanes do not move.
    pub fn lost(&self, from_ms: Option<u64>, until_ms: u64, reason: UnknownReason) -> Vec<Missed> {
        let rows = self.lanes.iter().filter_map(|lane| {
            let from_ms = from_ms.unwrap_or(until_ms.saturating_sub(lane.grid.interval_ms));
            let first_scheduled_at_ms = first_at_or_after(&lane.grid, from_ms);
            let count = lane.grid.count_between(from_ms, until_ms);
            let planned = lane.planned.clone();
            (count > 0).then_some(Missed { planned, first_scheduled_at_ms, count, reason })
        });
        rows.collect()
    }

    /// Checks in force now.
    pub fn checks(&self) -> usize {
        self.lanes.len()
    }

    /// Every instant up to and including `until_ms`, judged by how late it is at `now_ms`.
    fn take(&mut self, until_ms: u64, now_ms: u64, why_late: UnknownReason) -> Taken {
        let mut taken = Taken::default();
        while self.plans.front().is_some_and(|plan| plan.from_ms <= until_ms) {
            let plan = self.plans.pop_front().expect("the loop just saw it");
            self.take_before(plan.from_ms, now_ms, why_late, &mut taken);
            self.switch(plan);
        }
        self.take_before(until_ms.saturating_add(1), now_ms, why_late, &mut taken);
        taken
    }

    fn take_before(
        &mut self,
        until_ms: u64,
        now_ms: u64,
        why_late: UnknownReason,
        taken: &mut Taken,
    ) {
        for lane in &mut self.lanes {
            lane.take_before(until_ms, now_ms, why_late, taken);
        }
    }

    fn switch(&mut self, plan: Plan) {
        let last_handed_out: BTreeMap<CheckName, u64> =
            self.lanes.iter().map(|lane| (lane.planned.name.clone(), lane.before_next())).collect();
        let agent = self.agent.as_str();
        self.lanes = (plan.checks.into_iter())
            .map(|planned| {
                let grid = Grid::of(planned.name.as_str(), agent, planned.check.interval_ms);
                let last_ms = last_handed_out.get(&planned.name).copied();
                let after_last_ms = last_ms.map_or(0, |last_ms| last_ms + 1);
                let next_at_ms = first_at_or_after(&grid, plan.from_ms.max(after_last_ms));
                Lane { planned, grid, next_at_ms }
            })
            .collect();
    }
}

impl Lane {
    /// The instant before the next one: the last handed out, or one before this lane began.
    fn before_next(&self) -> u64 {
        self.next_at_ms.saturating_sub(self.grid.interval_ms)
    }

    fn take_before(
        &mut self,
        until_ms: u64,
        now_ms: u64,
        why_late: UnknownReason,
        taken: &mut Taken,
    ) {
        let count = self.grid.count_between(self.next_at_ms, until_ms);
        if count == 0 {
            return;
        }
        let interval_ms = self.grid.interval_ms;
        let first_ms = self.next_at_ms;
        let last_ms = first_ms + (count - 1) * interval_ms;
        self.next_at_ms = last_ms + interval_ms;
        let lag_ms = now_ms.saturating_sub(last_ms);
        let in_time = lag_ms < interval_ms && lag_ms <= START_LAG_MS_MAX;
        if in_time {
            let planned = self.planned.clone();
            taken.due.push(Due { planned, scheduled_at_ms: last_ms });
        }
        let missed = if in_time { count - 1 } else { count };
        if missed > 0 {
            taken.missed.push(Missed {
                planned: self.planned.clone(),
                first_scheduled_at_ms: first_ms,
                count: missed,
                reason: why_late,
            });
        }
    }
}

/// A time at which no instant can be run any more.
const TOO_LATE_MS: u64 = u64::MAX;

fn first_at_or_after(grid: &Grid, at_ms: u64) -> u64 {
    if grid.contains(at_ms) { at_ms } else { grid.next_after(at_ms) }
}

fn due_key(due: &Due) -> (u64, &CheckName) {
    (due.scheduled_at_ms, &due.planned.name)
}

/// Which checks run now, and whether another may start.
#[derive(Debug)]
pub struct Running {
    limit: usize,
    checks: BTreeSet<CheckName>,
}

impl Running {
    pub fn new(limit: usize) -> Running {
        Running { limit, checks: BTreeSet::new() }
    }

    /// Notes that `check` starts, or says why it must not.
    pub fn start(&mut self, check: &CheckName) -> Result<(), UnknownReason> {
        if self.checks.contains(check) {
            return Err(UnknownReason::SkippedOverrun);
        }
        if self.checks.len() >= self.limit {
            return Err(UnknownReason::SkippedBusy);
        }
        self.checks.insert(check.clone());
        Ok(())
    }

    pub fn finished(&mut self, check: &CheckName) {
        self.checks.remove(check);
    }

    pub fn count(&self) -> usize {
        self.checks.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{planned, planned_every};

    const AGENT: &str = "web-1";

    fn agent() -> AgentName {
        AgentName::parse(AGENT).expect("a label")
    }

    fn one_check(interval_ms: u64, from_ms: u64) -> (Schedule, Grid) {
        let checks = vec![planned_every("a", interval_ms)];
        (Schedule::new(checks, agent(), from_ms), Grid::of("a", AGENT, interval_ms))
    }

    fn take(schedule: &mut Schedule, now_ms: u64) -> Taken {
        schedule.take_due(now_ms, UnknownReason::SkippedAsleep)
    }

    fn due_times(taken: &Taken) -> Vec<u64> {
        taken.due.iter().map(|due| due.scheduled_at_ms).collect()
    }

    fn missed_rows(taken: &Taken) -> Vec<(u64, u64)> {
        taken.missed.iter().map(|row| (row.first_scheduled_at_ms, row.count)).collect()
    }

    #[test]
    fn a_loop_on_time_gets_every_instant_once_and_never_drifts() {
        let (mut schedule, grid) = one_check(1_000, 5_000_000);
        let mut expected = grid.next_after(4_999_999);
        for _ in 0..100 {
            assert_eq!(schedule.next_due(), Some(expected));
            assert!(take(&mut schedule, expected - 1).due.is_empty());
            let late_by_a_bit = expected + 7;
            assert_eq!(due_times(&take(&mut schedule, late_by_a_bit)), [expected]);
            expected += 1_000;
        }
    }

    #[test]
    fn a_sleep_of_many_intervals_is_one_missed_row_and_the_newest_instant_still_runs() {
        let (mut schedule, grid) = one_check(1_000, 5_000_000);
        let first = grid.next_after(4_999_999);
        let taken = take(&mut schedule, first + 3_600_000 + 100);
        assert_eq!(missed_rows(&taken), [(first, 3_600)]);
        assert_eq!(taken.missed[0].reason, UnknownReason::SkippedAsleep);
        assert_eq!(due_times(&taken), [first + 3_600_000]);
    }

    #[test]
    fn an_instant_of_a_slow_check_that_is_minutes_late_is_missed_not_run() {
        let (mut schedule, grid) = one_check(3_600_000, 50_000_000);
        let first = grid.next_after(49_999_999);
        let taken = take(&mut schedule, first + START_LAG_MS_MAX + 1);
        assert_eq!((due_times(&taken), missed_rows(&taken)), (vec![], vec![(first, 1)]));
    }

    #[test]
    fn what_is_taken_as_missed_never_runs_and_has_the_reason_given() {
        let (mut schedule, grid) = one_check(1_000, 5_000_000);
        let first = grid.next_after(4_999_999);
        schedule.replace(vec![planned("a", 2, 1_000)], first + 3_000);
        let reason = UnknownReason::SkippedShutdown;
        let rows = schedule.take_missed(first + 4_000, reason);
        let told: Vec<_> = (rows.iter())
            .map(|row| (row.planned.revision, row.first_scheduled_at_ms, row.count, row.reason))
            .collect();
        assert_eq!(told, [(1, first, 3, reason), (2, first + 3_000, 2, reason)]);
        assert_eq!(due_times(&take(&mut schedule, first + 5_000)), [first + 5_000]);
    }

    #[test]
    fn lost_instants_are_counted_from_where_they_began_or_one_stands_for_all() {
        let (schedule, grid) = one_check(1_000, 5_000_000);
        let first = grid.next_after(4_999_999);
        let lost = |from_ms, until_ms| {
            let rows = schedule.lost(from_ms, until_ms, UnknownReason::SpoolDamaged);
            rows.iter().map(|row| (row.first_scheduled_at_ms, row.count)).collect::<Vec<_>>()
        };
        assert_eq!(lost(Some(first), first + 3_000), [(first, 3)]);
        assert_eq!(lost(Some(first + 1), first + 1_000), []);
        assert_eq!(lost(None, first), [(first - 1_000, 1)]);
        assert_eq!(lost(None, first + 1), [(first, 1)]);
    }

    #[test]
    fn a_clock_set_back_repeats_nothing() {
        let (mut schedule, grid) = one_check(1_000, 5_000_000);
        let first = grid.next_after(4_999_999);
        assert_eq!(due_times(&take(&mut schedule, first)), [first]);
        let back = take(&mut schedule, first - 60_000);
        assert!(back.due.is_empty() && back.missed.is_empty());
        assert_eq!(due_times(&take(&mut schedule, first + 1_000)), [first + 1_000]);
    }

    #[test]
    fn a_plan_takes_over_at_its_instant_and_not_before() {
        let (mut schedule, grid) = one_check(1_000, 5_000_000);
        let switch_ms = 5_010_000;
        schedule.replace(vec![planned("a", 2, 1_000), planned("b", 2, 1_000)], switch_ms);
        let mut seen = Vec::new();
        for now_ms in 5_000_000..5_020_000 {
            seen.extend(take(&mut schedule, now_ms).due);
        }
        let of_a: Vec<_> = seen.iter().filter(|due| due.planned.name.as_str() == "a").collect();
        assert_eq!(of_a.len() as u64, grid.count_between(5_000_000, 5_020_000));
        for due in &seen {
            let expected = if due.scheduled_at_ms < switch_ms { 1 } else { 2 };
            assert_eq!(due.planned.revision, expected, "{}", due.scheduled_at_ms);
        }
        assert_eq!(seen.iter().filter(|due| due.planned.name.as_str() == "b").count(), 10);
    }

    #[test]
    fn a_plan_that_comes_late_repeats_no_instant() {
        let (mut schedule, grid) = one_check(1_000, 5_000_000);
        let first = grid.next_after(4_999_999);
        take(&mut schedule, first + 5_000);
        schedule.replace(vec![planned("a", 2, 1_000)], first);
        assert!(due_times(&take(&mut schedule, first + 5_500)).is_empty());
        assert_eq!(due_times(&take(&mut schedule, first + 6_000)), [first + 6_000]);
    }

    #[test]
    fn a_newer_plan_for_the_same_time_replaces_the_waiting_one() {
        let (mut schedule, _) = one_check(1_000, 0);
        schedule.replace(vec![planned("b", 2, 1_000)], 10_000);
        schedule.replace(vec![planned("c", 3, 1_000)], 10_000);
        take(&mut schedule, 20_000);
        assert_eq!(schedule.lanes.len(), 1);
        assert_eq!(schedule.lanes[0].planned.name.as_str(), "c");
    }

    #[test]
    fn running_checks_refuse_themselves_and_then_everyone() {
        let name = |text| CheckName::parse(text).expect("a label");
        let mut running = Running::new(2);
        assert_eq!(running.start(&name("a")), Ok(()));
        assert_eq!(running.start(&name("a")), Err(UnknownReason::SkippedOverrun));
        assert_eq!(running.start(&name("b")), Ok(()));
        assert_eq!(running.start(&name("c")), Err(UnknownReason::SkippedBusy));
        running.finished(&name("a"));
        assert_eq!(running.start(&name("c")), Ok(()));
        assert_eq!(running.count(), 2);
    }

    proptest! {
        /// However the loop stumbles and the clock jumps, every instant of the grid comes out once.
        #[test]
        fn every_instant_once(steps in prop::collection::vec(-3_000i64..8_000, 1..60)) {
            let (mut schedule, grid) = one_check(1_000, 1_000_000);
            let (mut now, mut newest) = (1_000_000u64, 1_000_000u64);
            let mut counted = 0;
            let mut last_due = 0;
            for step in steps {
                now = now.saturating_add_signed(step).max(1_000_000);
                newest = newest.max(now);
                let taken = take(&mut schedule, now);
                counted += taken.missed.iter().map(|row| row.count).sum::<u64>();
                for due in taken.due {
                    prop_assert!(grid.contains(due.scheduled_at_ms));
                    prop_assert!(due.scheduled_at_ms > last_due);
                    last_due = due.scheduled_at_ms;
                    counted += 1;
                }
            }
            prop_assert_eq!(counted, grid.count_between(1_000_000, newest + 1));
        }
    }
}
