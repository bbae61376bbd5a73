//! One objective as it was defined at one revision, with everything it has counted.

use proofmark_evidence::{AgentName, CheckName, Outcome};
use proofmark_spec::{Criterion, Documents, Slo};

use crate::burn::{BURN_WINDOWS, Burn};
use crate::counts::Counts;
use crate::limits::{BURN_WINDOW_MS_MAX, RETENTION_BEYOND_WINDOW_MS};
use crate::minutes::{Causes, Minutes, Verdict};
use crate::report::SloReport;
use crate::timeslice::SliceRule;
use crate::window::{HOUR_MS, Window, floor_to};

/// What decides the numbers of an objective. Two revisions with equal rules are one generation;
/// a changed rule starts a new one that has seen nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Ascending, each once.
    pub checks: Vec<CheckName>,
    /// Ascending, each once. Empty: all agents.
    pub agents: Vec<AgentName>,
    /// Which of the runs whose outcome is known are good.
    pub good: Criterion,
    pub budgeting: Budgeting,
    pub window_ms: u64,
    /// Less than 10^9: a budget of nothing cannot be divided by.
    pub target_ppb: u64,
}

/// What the budget is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budgeting {
    /// Runs.
    Occurrences,
    /// Slices of time.
    Timeslices(SliceRule),
}

impl Budgeting {
    fn of(slo: &Slo) -> Budgeting {
        match slo.budgeting {
            proofmark_spec::Budgeting::Occurrences => Budgeting::Occurrences,
            proofmark_spec::Budgeting::Timeslices { slice_ms, slice_target } => {
                Budgeting::Timeslices(SliceRule { slice_ms, slice_target_ppb: slice_target.0 })
            }
        }
    }
}

impl Rule {
    /// The rule of an SLO, its indicator looked up in `documents`. `None` if the indicator or one
    /// of its names does not exist: such documents do not pass `Documents::resolve`.
    pub fn of(slo: &Slo, documents: &Documents) -> Option<Rule> {
        let metric = documents.ratio_of(slo)?;
        let checks = metric.checks.iter().map(|name| CheckName::parse(name));
        let agents = metric.agents.iter().map(|name| AgentName::parse(name));
        Some(Rule {
            checks: ascending(checks.collect::<Result<_, _>>().ok()?),
            agents: ascending(agents.collect::<Result<_, _>>().ok()?),
            good: metric.good,
            budgeting: Budgeting::of(slo),
            window_ms: slo.window_ms,
            target_ppb: slo.target.0,
        })
    }

    pub fn selects(&self, check: &str, agent: &AgentName) -> bool {
        self.checks.binary_search_by(|one| one.as_str().cmp(check)).is_ok()
            && self.selects_agent(agent)
    }

    pub fn selects_agent(&self, agent: &AgentName) -> bool {
        self.agents.is_empty() || self.agents.binary_search(agent).is_ok()
    }

    /// Whatever the agent could not tell stays unknown.
    pub fn judge(&self, outcome: Outcome, duration_us: u64) -> Verdict {
        let passed = match outcome {
            Outcome::Pass => true,
            Outcome::Fail(_) => false,
            Outcome::Unknown(reason) => return Verdict::Unknown(reason),
        };
        if self.good.is_met(passed, duration_us) { Verdict::Good } else { Verdict::Bad }
    }
}

/// A rule in force from `from_ms` until `until_ms`, and its cells.
#[derive(Clone, Debug)]
pub(crate) struct Generation {
    /// The spec's revision that brought the rule.
    pub(crate) revision: u64,
    pub(crate) from_ms: u64,
    pub(crate) until_ms: Option<u64>,
    pub(crate) service: String,
    pub(crate) rule: Rule,
    pub(crate) minutes: Minutes,
}

impl Generation {
    pub(crate) fn covers(&self, at_ms: u64) -> bool {
        self.from_ms <= at_ms && self.until_ms.is_none_or(|until_ms| at_ms < until_ms)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.until_ms.is_none()
    }

    pub(crate) fn lifetime(&self) -> Window {
        Window { from_ms: self.from_ms, until_ms: self.until_ms.unwrap_or(u64::MAX) }
    }

    /// Cells that begin before this are dropped, results from before it are too old. Whole hours.
    pub(crate) fn kept_from_ms(&self, as_of_ms: u64) -> u64 {
        let longest_ms = self.rule.window_ms.max(BURN_WINDOW_MS_MAX);
        let reach_ms = longest_ms.saturating_add(RETENTION_BEYOND_WINDOW_MS);
        floor_to(as_of_ms.saturating_sub(reach_ms), HOUR_MS)
    }

    pub(crate) fn report(&self, slo: &str, as_of_ms: u64) -> SloReport {
        let window = Window::rolling(as_of_ms, self.rule.window_ms);
        let counts = self.minutes.total(window).counts();
        let slices = self.slices(window);
        let score = slices.unwrap_or(counts);
        SloReport {
            slo: slo.to_owned(),
            service: self.service.clone(),
            revision: self.revision,
            as_of_ms,
            since_ms: window.from_ms.max(self.from_ms),
            window_ms: self.rule.window_ms,
            target_ppb: self.rule.target_ppb,
            budgeting: self.rule.budgeting,
            counts,
            causes: with_silent(self.minutes.causes(window), counts.unknown),
            slices,
            sli_ppb: score.sli_ppb(),
            budget_remaining_ppb: score.budget_remaining_ppb(self.rule.target_ppb),
            burn: BURN_WINDOWS.map(|(name, length_ms)| self.burn(name, as_of_ms, length_ms)),
        }
    }

    fn burn(&self, window: &'static str, as_of_ms: u64, length_ms: u64) -> Burn {
        let counts = self.budget_counts(Window::rolling(as_of_ms, length_ms));
        Burn { window, rate_milli: counts.burn_rate_milli(self.rule.target_ppb) }
    }

    /// Counts of what the budget is made of.
    fn budget_counts(&self, window: Window) -> Counts {
        self.slices(window).unwrap_or_else(|| self.minutes.total(window).counts())
    }

    fn slices(&self, window: Window) -> Option<Counts> {
        let Budgeting::Timeslices(rule) = self.rule.budgeting else { return None };
        let own = Window { from_ms: self.from_ms, until_ms: u64::MAX };
        Some(rule.count(&self.minutes, window.intersect(own)))
    }
}

/// Whatever is unknown and was not reported as such is silence.
fn with_silent(mut causes: Causes, unknown: u64) -> Causes {
    use proofmark_evidence::UnknownReason::Silent;
    let reported: u64 = causes.values().sum();
    if unknown > reported {
        *causes.entry(Silent).or_default() += unknown - reported;
    }
    causes
}

fn ascending<T: Ord>(mut names: Vec<T>) -> Vec<T> {
    names.sort();
    names.dedup();
    names
}
