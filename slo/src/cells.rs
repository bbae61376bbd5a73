//! The cells of the objectives that look at one series: what is written there, and what is taken
//! back.
//!
//! The objectives are looked up once for many runs. Sums do not care in which order runs of
//! different series come, so whoever counts a batch may take it series by series.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{AgentName, CheckName, UnknownReason};

use crate::assignment::Assignments;
use crate::objective::Generation;
use crate::series::HeardRun;
use crate::spoken::Told;
use crate::window::Window;

/// All objectives, and which look at a check.
pub(crate) struct Objectives<'a> {
    pub(crate) by_slo: &'a mut BTreeMap<String, Vec<Generation>>,
    pub(crate) readers: &'a BTreeMap<CheckName, BTreeSet<String>>,
    pub(crate) as_of_ms: u64,
}

impl Objectives<'_> {
    /// Counts runs of one series, all before `as_of`, each in the cell of its instant.
    pub(crate) fn enter(&mut self, check: &str, agent: &AgentName, runs: &[HeardRun]) {
        let as_of_ms = self.as_of_ms;
        self.of_series(check, agent, |generation| {
            let kept_from_ms = generation.kept_from_ms(as_of_ms);
            let lifetime = generation.lifetime();
            let Generation { rule, minutes, .. } = generation;
            let looks = |run: &&HeardRun| {
                lifetime.contains(run.scheduled_at_ms) && run.scheduled_at_ms >= kept_from_ms
            };
            let judged = runs.iter().filter(looks);
            minutes.count_all(
                judged.map(|run| (run.scheduled_at_ms, rule.judge(run.outcome, run.duration_us))),
            );
        });
    }

    /// Adds the reason for every run expected in that time; all of it lies before `as_of`, and of
    /// it only what is kept is looked at, however much was told.
    pub(crate) fn blame(
        &mut self,
        check: &str,
        agent: &AgentName,
        assignments: &Assignments,
        told: Told,
    ) {
        let as_of_ms = self.as_of_ms;
        self.of_series(check, agent, |generation| {
            let kept = Window { from_ms: generation.kept_from_ms(as_of_ms), until_ms: as_of_ms };
            let looks = told.window().intersect(kept).intersect(generation.lifetime());
            for assignment in assignments.iter() {
                for part in looks.intersect(assignment.window()).by_minute() {
                    let runs = u32::try_from(assignment.expected(part));
                    let runs = runs.expect("a minute has no more than 60,000 instants");
                    generation.minutes.blame(part.from_ms, told.reason, runs);
                }
            }
        });
    }

    /// Removes a cause: its run was heard of after all.
    pub(crate) fn take_back(
        &mut self,
        check: &str,
        agent: &AgentName,
        at_ms: u64,
        reason: UnknownReason,
    ) {
        let as_of_ms = self.as_of_ms;
        self.of_series(check, agent, |generation| {
            if generation.covers(at_ms) && at_ms >= generation.kept_from_ms(as_of_ms) {
                generation.minutes.unblame(at_ms, reason);
            }
        });
    }

    fn of_series(
        &mut self,
        check: &str,
        agent: &AgentName,
        mut write: impl FnMut(&mut Generation),
    ) {
        for slo in self.readers.get(check).into_iter().flatten() {
            let generations = self.by_slo.get_mut(slo).into_iter().flatten();
            generations.filter(|one| one.rule.selects(check, agent)).for_each(&mut write);
        }
    }
}
