//! Results into the ledger: one, or a whole batch.
//!
//! A batch is taken series by series: its check table has a hundred rows and its payload thousands
//! of results, and a series is found by two names. Within a series the order is that of the
//! sequence numbers, which is all that `series.rs` relies on.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{
    AgentName, BatchView, CheckName, CheckResult, MeasurementKind, OpenBatch, Outcome, ResultView,
};

use crate::cells::Objectives;
use crate::ledger::{Ignored, Ledger};
use crate::rows::RowKey;
use crate::series::{HeardRun, Series};

/// One result, as the ledger sees it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub check: &'a CheckName,
    pub agent: &'a AgentName,
    pub scheduled_at_ms: u64,
    pub outcome: Outcome,
    pub duration_us: u64,
    /// Runs in a row that the result stands for, its own included: at least 1. More only where
    /// the outcome is unknown: nobody can pass or fail for others.
    pub runs_missed: u64,
}

impl<'a> Run<'a> {
    pub fn of(batch: &'a OpenBatch, result: &CheckResult) -> Run<'a> {
        let besides = result.measured(MeasurementKind::RunsMissedCount);
        Run {
            check: &batch.check(result).check,
            agent: &batch.header.agent,
            scheduled_at_ms: batch.scheduled_at_ms(result),
            outcome: result.outcome,
            duration_us: result.duration_us,
            runs_missed: runs_missed(besides),
        }
    }
}

/// What became of a run. All but the first change no number of any objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Counted,
    /// No instant of the series' grid.
    OffGrid,
    /// Nobody expected this check on this agent at that time.
    NotAssigned,
    /// Before all windows.
    TooOld,
    /// This instant of this series was counted before, or lies before what is remembered.
    Repeated,
}

impl Counted {
    /// Stable name for logs and metrics.
    pub fn slug(self) -> &'static str {
        match self {
            Counted::Counted => "counted",
            Counted::OffGrid => "off_grid",
            Counted::NotAssigned => "not_assigned",
            Counted::TooOld => "too_old",
            Counted::Repeated => "repeated",
        }
    }
}

impl Ledger {
    /// Counts a run at its instant, in every objective that looks at it; and its reason at every
    /// instant it stands for of which nothing else is known.
    ///
    /// Runs of one agent must come in the order of their sequence numbers, and not from far in the
    /// future; admission sees to both. What the first is needed for is told in `series.rs`.
    pub fn count(&mut self, run: &Run<'_>) -> Counted {
        let mut entering = Vec::new();
        let (checks, mut counters) = self.of_agent(run.agent);
        let series = checks.and_then(|checks| checks.get_mut(run.check));
        let mut counting = counters.counting(run.check.as_str(), series, &mut entering);
        let heard = HeardRun {
            scheduled_at_ms: run.scheduled_at_ms,
            outcome: run.outcome,
            duration_us: run.duration_us,
        };
        let counted = counting.count(heard, run.runs_missed);
        counting.enter();
        counted
    }

    /// Counts every result of a batch: the same as [`Ledger::count`] for each, in their order.
    pub fn count_batch(&mut self, batch: &BatchView<'_>) {
        let mut entering = Vec::new();
        let (mut checks, mut counters) = self.of_agent(&batch.header.agent);
        for (check, positions) in ByCheck::of(batch).groups(batch) {
            let series = checks.as_deref_mut().and_then(|checks| checks.get_mut(check));
            let mut counting = counters.counting(check, series, &mut entering);
            for position in positions {
                let result = &batch.results[usize::from(*position)];
                counting.count(heard(batch, result), runs_missed_by(result));
            }
            counting.enter();
        }
    }

    /// The series of one agent, and all that its runs are counted in.
    fn of_agent<'a>(
        &'a mut self,
        agent: &'a AgentName,
    ) -> (Option<&'a mut BTreeMap<CheckName, Series>>, Counters<'a>) {
        let Ledger {
            series, objectives, readers, as_of_ms, kept_from_ms, ignored, touched, ..
        } = self;
        let objectives = Objectives { by_slo: objectives, readers, as_of_ms: *as_of_ms };
        let kept_from_ms = *kept_from_ms;
        (series.get_mut(agent), Counters { agent, objectives, kept_from_ms, ignored, touched })
    }
}

/// What runs of one agent are counted in, besides its series.
struct Counters<'a> {
    agent: &'a AgentName,
    objectives: Objectives<'a>,
    kept_from_ms: u64,
    ignored: &'a mut Ignored,
    touched: &'a mut BTreeSet<RowKey>,
}

impl<'l> Counters<'l> {
    fn counting<'a>(
        &'a mut self,
        check: &'a str,
        series: Option<&'a mut Series>,
        entering: &'a mut Vec<HeardRun>,
    ) -> Counting<'a, 'l> {
        let is_looked_at = self.objectives.readers.contains_key(check);
        Counting { check, series, is_looked_at, entering, counters: self }
    }
}

fn heard(batch: &BatchView<'_>, result: &ResultView<'_>) -> HeardRun {
    HeardRun {
        scheduled_at_ms: batch.scheduled_at_ms(result),
        outcome: result.outcome,
        duration_us: result.duration_us,
    }
}

/// Only a result without an outcome stands for others.
fn runs_missed_by(result: &ResultView<'_>) -> u64 {
    match result.outcome {
        Outcome::Unknown(_) => runs_missed(result.measured(MeasurementKind::RunsMissedCount)),
        _ => 1,
    }
}

fn runs_missed(besides: Option<i64>) -> u64 {
    u64::try_from(besides.unwrap_or(0)).unwrap_or(0).saturating_add(1)
}

/// One series while runs of it are counted.
struct Counting<'a, 'l> {
    check: &'a str,
    series: Option<&'a mut Series>,
    is_looked_at: bool,
    /// Heard, and to be written into the cells.
    entering: &'a mut Vec<HeardRun>,
    counters: &'a mut Counters<'l>,
}

impl Counting<'_, '_> {
    fn count(&mut self, run: HeardRun, runs_missed: u64) -> Counted {
        let own = self.hear(run);
        let told = self.tell(run, runs_missed);
        match own {
            Ok(()) => Counted::Counted,
            Err(_) if told => Counted::Counted,
            Err(reason) => {
                self.counters.touched.insert(RowKey::Meta);
                self.counters.ignored.add(reason);
                reason
            }
        }
    }

    fn hear(&mut self, run: HeardRun) -> Result<(), Counted> {
        if run.scheduled_at_ms < self.counters.kept_from_ms {
            return Err(Counted::TooOld);
        }
        let series = self.series.as_deref_mut().ok_or(Counted::NotAssigned)?;
        let void = series.hear(run)?;
        if self.is_looked_at && run.scheduled_at_ms >= self.counters.objectives.as_of_ms {
            series.waiting.push(run);
        } else if self.is_looked_at {
            self.entering.push(run);
        }
        if let Some(reason) = void {
            self.enter();
            self.counters.objectives.take_back(
                self.check,
                self.counters.agent,
                run.scheduled_at_ms,
                reason,
            );
        }
        Ok(())
    }

    /// Gives the missed runs that a result stands for its reason. Returns whether that was news.
    fn tell(&mut self, run: HeardRun, runs_missed: u64) -> bool {
        let Outcome::Unknown(reason) = run.outcome else { return false };
        let Some(series) = self.series.as_deref_mut() else { return false };
        let as_of_ms = self.counters.objectives.as_of_ms;
        let missed = series.missed(run.scheduled_at_ms, runs_missed, reason);
        let kept = missed.and_then(|missed| missed.split_at(self.counters.kept_from_ms).1);
        if !kept.is_some_and(|kept| series.tell(kept, as_of_ms)) {
            return false;
        }
        for told in series.take_told(as_of_ms) {
            self.counters.objectives.blame(
                self.check,
                self.counters.agent,
                &series.assignments,
                told,
            );
        }
        self.enter();
        true
    }

    /// Writes what was heard into the cells.
    fn enter(&mut self) {
        if !self.entering.is_empty() {
            self.counters.objectives.enter(self.check, self.counters.agent, self.entering);
            self.entering.clear();
        }
    }
}

/// A batch's results by their check: a counting sort of their positions.
struct ByCheck {
    /// Positions in the batch: those of one check together, ascending.
    positions: Vec<u16>,
    /// A row of each check's in the header's table, and where its positions end.
    ends: Vec<(u16, usize)>,
}

impl ByCheck {
    fn of(batch: &BatchView<'_>) -> ByCheck {
        let checks = &batch.header.checks;
        let mut rows: Vec<u16> = (0..).take(checks.len()).collect();
        // By name: that is how the ledger's series lie too.
        rows.sort_unstable_by_key(|row| checks[usize::from(*row)].check);
        // One check may have several rows, one for each revision it ran at.
        let mut group_of = vec![0; checks.len()];
        let mut ends: Vec<(u16, usize)> = Vec::with_capacity(rows.len());
        for row in rows {
            let check = checks[usize::from(row)].check;
            if ends.last().is_none_or(|(last, _)| checks[usize::from(*last)].check != check) {
                ends.push((row, 0));
            }
            group_of[usize::from(row)] = ends.len() - 1;
        }
        ByCheck { positions: sort(batch, &group_of, &mut ends), ends }
    }

    fn groups<'a>(
        &'a self,
        batch: &'a BatchView<'_>,
    ) -> impl Iterator<Item = (&'a str, &'a [u16])> {
        let mut start = 0;
        self.ends.iter().map(move |(row, end)| {
            let positions = &self.positions[start..*end];
            start = *end;
            (batch.header.checks[usize::from(*row)].check, positions)
        })
    }
}

/// Places every position in its group, and each group's end in `ends`.
fn sort(batch: &BatchView<'_>, group_of: &[usize], ends: &mut [(u16, usize)]) -> Vec<u16> {
    let group = |result: &ResultView<'_>| group_of[usize::from(result.check_index)];
    for result in &batch.results {
        ends[group(result)].1 += 1;
    }
    let mut before = 0;
    for (_, end) in ends.iter_mut() {
        // Its start for now; each position placed moves it on, to its end at last.
        before += std::mem::replace(end, before);
    }
    let mut positions = vec![0; batch.results.len()];
    for (position, result) in (0..).zip(&batch.results) {
        let end = &mut ends[group(result)].1;
        positions[*end] = position;
        *end += 1;
    }
    positions
}
