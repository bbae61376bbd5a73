//! The ledger: results in, reports out.
//!
//! What it reports at `as_of` depends on the leaves it was given and on nothing else: not on the
//! order between agents, and not on how often it was advanced on the way.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{
    AgentName, CheckName, CheckResult, CoverageRow, MeasurementKind, OpenBatch, Outcome,
    UnknownReason,
};

use crate::fleet::Fleet;
use crate::limits::RETENTION_BEYOND_WINDOW_MS;
use crate::objective::{Generation, Rule};
use crate::report::SloReport;
use crate::rows::RowKey;
use crate::series::{HeardRun, Series};
use crate::spoken::Told;
use crate::window::{AS_OF_STEP_MS, HOUR_MS, Window, floor_to};

/// All series of a fleet and all objectives over them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub(crate) as_of_ms: u64,
    pub(crate) fleet: Fleet,
    pub(crate) series: SeriesMap,
    /// By SLO name; generations ascend in time, only the last is open.
    pub(crate) objectives: BTreeMap<String, Vec<Generation>>,
    /// The objectives that look at a check. Derived from `objectives`.
    pub(crate) readers: BTreeMap<CheckName, BTreeSet<String>>,
    /// Nothing before this can matter to any objective, now or later. Derived from `objectives`
    /// and `as_of_ms`.
    pub(crate) kept_from_ms: u64,
    pub(crate) ignored: Ignored,
    /// Rows to write besides those of the series and hours that carry their own mark.
    pub(crate) touched: BTreeSet<RowKey>,
}

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
        let besides = result.measured(MeasurementKind::RunsMissedCount).unwrap_or(0);
        Run {
            check: &batch.check(result).check,
            agent: &batch.header.agent,
            scheduled_at_ms: batch.scheduled_at_ms(result),
            outcome: result.outcome,
            duration_us: result.duration_us,
            runs_missed: u64::try_from(besides).unwrap_or(0).saturating_add(1),
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

/// How many runs were not counted, by reason, since the ledger began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    pub off_grid: u64,
    pub not_assigned: u64,
    pub too_old: u64,
    pub repeated: u64,
}

/// What is known of one series at `as_of`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesView {
    pub check: CheckName,
    pub agent: AgentName,
    pub interval_ms: u64,
    /// The run with the newest instant.
    pub last: Option<HeardRun>,
    /// The first instant of the present silence.
    pub silent_since_ms: Option<u64>,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Counts a run at its instant, in every objective that looks at it; and its reason at every
    /// instant it stands for of which nothing else is known.
    ///
    /// Runs of one agent must come in the order of their sequence numbers, and not from far in the
    /// future; admission sees to both. What the first is needed for is told in `series.rs`.
    pub fn count(&mut self, run: &Run<'_>) -> Counted {
        let own = self.try_count(run);
        let told = self.tell(run);
        match own {
            Ok(()) => Counted::Counted,
            Err(_) if told => Counted::Counted,
            Err(reason) => {
                self.ignore(reason);
                reason
            }
        }
    }

    /// Moves on to `as_of_ms` (rounded down to 10 s; never back): what was expected until then and
    /// is not known is unknown from now on. Returns the series that went silent or were heard
    /// again, ascending by (check, agent).
    pub fn advance(&mut self, as_of_ms: u64) -> Vec<CoverageRow> {
        let passed = Window { from_ms: self.as_of_ms, until_ms: floor_to(as_of_ms, AS_OF_STEP_MS) };
        if passed.is_empty() {
            return Vec::new();
        }
        self.as_of_ms = passed.until_ms;
        self.touched.insert(RowKey::Meta);
        self.count_waiting();
        self.count_told();
        self.expect(passed);
        self.drop_old();
        self.turn_series()
    }

    pub fn as_of_ms(&self) -> u64 {
        self.as_of_ms
    }

    /// Every objective in force at `as_of`, ascending by name.
    pub fn report(&self) -> Vec<SloReport> {
        let in_force = self.objectives.iter().filter_map(|(slo, generations)| {
            let now = generations.iter().find(|generation| generation.covers(self.as_of_ms))?;
            Some(now.report(slo, self.as_of_ms))
        });
        in_force.collect()
    }

    /// Every series of which runs are expected until further notice, by (check, agent).
    pub fn series(&self) -> impl Iterator<Item = SeriesView> {
        self.all_series().filter_map(|(check, agent, series)| {
            Some(SeriesView {
                check: check.clone(),
                agent: agent.clone(),
                interval_ms: series.grid()?.interval_ms,
                last: series.last,
                silent_since_ms: series.silent_since_ms,
            })
        })
    }

    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    pub(crate) fn all_series(&self) -> impl Iterator<Item = (&CheckName, &AgentName, &Series)> {
        self.series.iter().flat_map(|(check, agents)| {
            agents.iter().map(move |(agent, series)| (check, agent, series))
        })
    }

    fn try_count(&mut self, run: &Run<'_>) -> Result<(), Counted> {
        if run.scheduled_at_ms < self.kept_from_ms {
            return Err(Counted::TooOld);
        }
        let agents = self.series.get_mut(run.check).ok_or(Counted::NotAssigned)?;
        let series = agents.get_mut(run.agent).ok_or(Counted::NotAssigned)?;
        let heard = HeardRun {
            scheduled_at_ms: run.scheduled_at_ms,
            outcome: run.outcome,
            duration_us: run.duration_us,
        };
        let void = series.hear(heard)?;
        if let Some(reason) = void {
            self.take_back(run.check, run.agent, run.scheduled_at_ms, reason);
        }
        let series = self.series.get_mut(run.check).and_then(|agents| agents.get_mut(run.agent));
        let series = series.ok_or(Counted::NotAssigned)?;
        if !self.readers.contains_key(run.check) {
            return Ok(());
        }
        if heard.scheduled_at_ms >= self.as_of_ms {
            series.waiting.push(heard);
        } else {
            self.enter(run.check, run.agent, heard);
        }
        Ok(())
    }

    /// Writes a run into the cells of the objectives that look at its series.
    fn enter(&mut self, check: &CheckName, agent: &AgentName, run: HeardRun) {
        let (at_ms, as_of_ms) = (run.scheduled_at_ms, self.as_of_ms);
        for slo in self.readers.get(check).into_iter().flatten() {
            for generation in self.objectives.get_mut(slo).into_iter().flatten() {
                let looks = generation.rule.selects(check, agent) && generation.covers(at_ms);
                if looks && at_ms >= generation.kept_from_ms(as_of_ms) {
                    let verdict = generation.rule.judge(run.outcome, run.duration_us);
                    generation.minutes.count(at_ms, verdict);
                }
            }
        }
    }

    /// Runs that came before their time are counted once their time has passed.
    fn count_waiting(&mut self) {
        let mut due = Vec::new();
        for (check, agents) in &mut self.series {
            for (agent, series) in
                agents.iter_mut().filter(|(_, series)| !series.waiting.is_empty())
            {
                let runs = series.take_due(self.as_of_ms);
                due.extend(runs.into_iter().map(|run| (check.clone(), agent.clone(), run)));
            }
        }
        for (check, agent, run) in due {
            match run {
                Ok(run) => self.enter(&check, &agent, run),
                Err(reason) => self.ignore(reason),
            }
        }
    }

    /// Gives the missed runs that a result stands for its reason. Returns whether that was news.
    fn tell(&mut self, run: &Run<'_>) -> bool {
        let Outcome::Unknown(reason) = run.outcome else { return false };
        let (check, agent, as_of_ms) = (run.check, run.agent, self.as_of_ms);
        let series = self.series.get_mut(check).and_then(|agents| agents.get_mut(agent));
        let Some(series) = series else { return false };
        let missed = series.missed(run.scheduled_at_ms, run.runs_missed, reason);
        let kept = missed.and_then(|missed| missed.split_at(self.kept_from_ms).1);
        if !kept.is_some_and(|kept| series.tell(kept, as_of_ms)) {
            return false;
        }
        for told in series.take_told(as_of_ms) {
            self.enter_told(check, agent, told);
        }
        true
    }

    /// What was told of runs before their time is counted once their time has passed.
    fn count_told(&mut self) {
        let mut due = Vec::new();
        for (check, agents) in &mut self.series {
            for (agent, series) in agents {
                let told = series.take_told(self.as_of_ms).into_iter();
                due.extend(told.map(|told| (check.clone(), agent.clone(), told)));
            }
        }
        for (check, agent, told) in due {
            self.enter_told(&check, &agent, told);
        }
    }

    /// Adds the reason to the cells, for every run expected in that time; all of it lies before
    /// `as_of`, and of it only what is kept is looked at, however much was told.
    fn enter_told(&mut self, check: &CheckName, agent: &AgentName, told: Told) {
        let series = self.series.get(check).and_then(|agents| agents.get(agent));
        let Some(series) = series else { return };
        for slo in self.readers.get(check).into_iter().flatten() {
            let generations = self.objectives.get_mut(slo).into_iter().flatten();
            for generation in generations.filter(|one| one.rule.selects(check, agent)) {
                let from_ms = generation.kept_from_ms(self.as_of_ms);
                let kept = Window { from_ms, until_ms: self.as_of_ms };
                let looks = told.window().intersect(kept).intersect(generation.lifetime());
                for assignment in series.assignments.iter() {
                    for part in looks.intersect(assignment.window()).by_minute() {
                        let runs = u32::try_from(assignment.expected(part));
                        let runs = runs.expect("a minute has no more than 60,000 instants");
                        generation.minutes.blame(part.from_ms, told.reason, runs);
                    }
                }
            }
        }
    }

    /// Removes a cause from the cells: its run was heard of after all.
    fn take_back(
        &mut self,
        check: &CheckName,
        agent: &AgentName,
        at_ms: u64,
        reason: UnknownReason,
    ) {
        for slo in self.readers.get(check).into_iter().flatten() {
            for generation in self.objectives.get_mut(slo).into_iter().flatten() {
                let looks = generation.rule.selects(check, agent) && generation.covers(at_ms);
                if looks && at_ms >= generation.kept_from_ms(self.as_of_ms) {
                    generation.minutes.unblame(at_ms, reason);
                }
            }
        }
    }

    /// Adds the runs that were due in `passed` to every objective.
    fn expect(&mut self, passed: Window) {
        for generation in self.objectives.values_mut().flatten() {
            let selected = select(&self.series, &generation.rule);
            let kept = Window { from_ms: generation.kept_from_ms(self.as_of_ms), ..passed };
            let due = passed.intersect(kept).intersect(generation.lifetime());
            for part in due.by_minute() {
                let runs: u64 = selected.iter().map(|one| one.assignments.expected(part)).sum();
                let runs = u32::try_from(runs).expect("a minute of a fleet is far below 2^32");
                generation.minutes.expect(part.from_ms, runs);
            }
        }
    }

    /// Forgets generations that are over, and cells and assignments behind every window.
    fn drop_old(&mut self) {
        let as_of_ms = self.as_of_ms;
        let over = |until_ms: Option<u64>| until_ms.is_some_and(|until_ms| until_ms <= as_of_ms);
        self.remove_generations(|generation| over(generation.until_ms));
        for generation in self.objectives.values_mut().flatten() {
            generation.minutes.drop_before(generation.kept_from_ms(as_of_ms));
        }
        self.refresh_kept_from();
        for series in self.series.values_mut().flat_map(|agents| agents.values_mut()) {
            series.dirty |= series.assignments.drop_before(self.kept_from_ms);
        }
        self.remove_idle_series();
    }

    fn turn_series(&mut self) -> Vec<CoverageRow> {
        let mut rows = Vec::new();
        for (check, agents) in &mut self.series {
            for (agent, series) in agents {
                if let Some(turn) = series.turn(self.as_of_ms) {
                    let (check, agent) = (check.clone(), agent.clone());
                    let (change, since_ms) = (turn.change, turn.since_ms);
                    rows.push(CoverageRow { check, agent, change, since_ms });
                }
            }
        }
        rows
    }

    pub(crate) fn refresh_kept_from(&mut self) {
        let as_of_ms = self.as_of_ms;
        let kept = self.objectives.values().flatten().map(|one| one.kept_from_ms(as_of_ms));
        let nobody = || floor_to(as_of_ms.saturating_sub(RETENTION_BEYOND_WINDOW_MS), HOUR_MS);
        self.kept_from_ms = kept.min().unwrap_or_else(nobody);
    }

    fn ignore(&mut self, reason: Counted) {
        self.touched.insert(RowKey::Meta);
        match reason {
            Counted::Counted => {}
            Counted::OffGrid => self.ignored.off_grid += 1,
            Counted::NotAssigned => self.ignored.not_assigned += 1,
            Counted::TooOld => self.ignored.too_old += 1,
            Counted::Repeated => self.ignored.repeated += 1,
        }
    }
}

type SeriesMap = BTreeMap<CheckName, BTreeMap<AgentName, Series>>;

/// The series that a rule looks at.
fn select<'a>(series: &'a SeriesMap, rule: &Rule) -> Vec<&'a Series> {
    let agents = rule.checks.iter().filter_map(|check| series.get(check)).flatten();
    agents.filter(|(agent, _)| rule.selects_agent(agent)).map(|(_, series)| series).collect()
}
