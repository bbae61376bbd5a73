//! The ledger: results in, reports out.
//!
//! What it reports at `as_of` depends on the leaves it was given and on nothing else: not on the
//! order between agents, and not on how often it was advanced on the way.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{AgentName, CheckName, CoverageRow};

use crate::cells::Objectives;
use crate::count::Counted;
use crate::fleet::Fleet;
use crate::limits::RETENTION_BEYOND_WINDOW_MS;
use crate::objective::{Generation, Rule};
use crate::report::SloReport;
use crate::rows::RowKey;
use crate::series::{HeardRun, Series};
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

    /// Every series of which runs are expected until further notice, by (agent, check).
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
        self.series.iter().flat_map(|(agent, checks)| {
            checks.iter().map(move |(check, series)| (check, agent, series))
        })
    }

    /// Runs that came before their time are counted once their time has passed.
    fn count_waiting(&mut self) {
        let Ledger { series, objectives, readers, as_of_ms, ignored, touched, .. } = self;
        let mut objectives = Objectives { by_slo: objectives, readers, as_of_ms: *as_of_ms };
        let mut due = Vec::new();
        for (agent, checks) in series {
            for (check, series) in checks {
                for run in series.take_due(*as_of_ms) {
                    match run {
                        Ok(run) => due.push(run),
                        Err(reason) => {
                            touched.insert(RowKey::Meta);
                            ignored.add(reason);
                        }
                    }
                }
                objectives.enter(check.as_str(), agent, &due);
                due.clear();
            }
        }
    }

    /// What was told of runs before their time is counted once their time has passed.
    fn count_told(&mut self) {
        let Ledger { series, objectives, readers, as_of_ms, .. } = self;
        let mut objectives = Objectives { by_slo: objectives, readers, as_of_ms: *as_of_ms };
        for (agent, checks) in series {
            for (check, series) in checks {
                for told in series.take_told(*as_of_ms) {
                    objectives.blame(check.as_str(), agent, &series.assignments, told);
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
        for series in self.series.values_mut().flat_map(|checks| checks.values_mut()) {
            series.dirty |= series.assignments.drop_before(self.kept_from_ms);
        }
        self.remove_idle_series();
    }

    fn turn_series(&mut self) -> Vec<CoverageRow> {
        let mut rows = Vec::new();
        for (agent, checks) in &mut self.series {
            for (check, series) in checks {
                if let Some(turn) = series.turn(self.as_of_ms) {
                    let (check, agent) = (check.clone(), agent.clone());
                    let (change, since_ms) = (turn.change, turn.since_ms);
                    rows.push(CoverageRow { check, agent, change, since_ms });
                }
            }
        }
        rows.sort_unstable_by(|a, b| (&a.check, &a.agent).cmp(&(&b.check, &b.agent)));
        rows
    }

    pub(crate) fn refresh_kept_from(&mut self) {
        let as_of_ms = self.as_of_ms;
        let kept = self.objectives.values().flatten().map(|one| one.kept_from_ms(as_of_ms));
        let nobody = || floor_to(as_of_ms.saturating_sub(RETENTION_BEYOND_WINDOW_MS), HOUR_MS);
        self.kept_from_ms = kept.min().unwrap_or_else(nobody);
    }
}

impl Ignored {
    pub(crate) fn add(&mut self, reason: Counted) {
        match reason {
            Counted::Counted => {}
            Counted::OffGrid => self.off_grid += 1,
            Counted::NotAssigned => self.not_assigned += 1,
            Counted::TooOld => self.too_old += 1,
            Counted::Repeated => self.repeated += 1,
        }
    }
}

/// By agent first: a batch is one agent's.
type SeriesMap = BTreeMap<AgentName, BTreeMap<CheckName, Series>>;

/// The series that a rule looks at.
fn select<'a>(series: &'a SeriesMap, rule: &Rule) -> Vec<&'a Series> {
    let agents = series.iter().filter(|(agent, _)| rule.selects_agent(agent));
    agents.flat_map(|(_, checks)| rule.checks.iter().filter_map(|one| checks.get(one))).collect()
}
