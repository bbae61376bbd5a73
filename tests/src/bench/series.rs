//! What the load agents report: checks at 1 s, all on their grids, in batches as an agent that
//! catches up after an outage makes them.

use std::fmt::Write as _;

use proofmark_agent::identity::Identity;
use proofmark_evidence::{
    AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Coverage, FailReason, Hash,
    MeasurementKind, Outcome, SealedBatch, SigningKey,
};
use proofmark_spec::Grid;

use super::plan::Plan;

const INTERVAL_MS: u64 = 1_000;
const TARGET: &str = "127.0.0.1:9";
/// Rows of one batch's check table: a hundred checks at 1 s are one batch a second.
const ROWS_MAX: usize = 100;
/// How far ahead of the time an instant may lie. Admission refuses what lies 30 s ahead.
const AHEAD_MS_MAX: u64 = 20_000;
/// Runs are expected of an agent this long after it enrolled (`proofmark_slo::ENROL_LEAD_MS`), and
/// a second for the enrolment itself.
const LEAD_MS: u64 = 11_000;
/// One result in so many fails.
const FAILING: usize = 97;

/// The checks, and an objective over all of them.
pub(super) fn specs(plan: &Plan) -> String {
    let mut text = String::new();
    let names: Vec<String> = (0..plan.checks).map(check_name).collect();
    for name in &names {
        let written = writeln!(
            text,
            "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: {name}}}\nspec: {{interval: \
             1s, timeout: 900ms, probe: {{tcp: {{address: \"{TARGET}\"}}}}}}\n---"
        );
        written.expect("a String takes every write");
    }
    let checks = names.join(", ");
    text + &format!(
        "apiVersion: openslo/v1\nkind: Service\nmetadata: {{name: load}}\nspec: {{}}\n---\n\
         apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: load}}\nspec:\n  service: load\n  \
         indicator:\n    metadata: {{name: load-passes}}\n    spec:\n      ratioMetric:\n        \
         counter: true\n        good: {{metricSource: {{type: proofmark, spec: {{checks: \
         [{checks}], outcome: pass}}}}}}\n        total: {{metricSource: {{type: proofmark, spec: \
         {{checks: [{checks}]}}}}}}\n  budgetingMethod: Occurrences\n  timeWindow: [{{duration: \
         1h, isRolling: true}}]\n  objectives: [{{target: 0.99}}]\n"
    )
}

fn check_name(at: usize) -> String {
    format!("load-{at}")
}

/// Who signs, for which log.
pub(super) struct Whose {
    pub(super) log_id: Hash,
    pub(super) agent: AgentName,
    pub(super) epoch: u64,
    pub(super) key: SigningKey,
}

impl From<&Identity> for Whose {
    fn from(identity: &Identity) -> Whose {
        Whose {
            log_id: identity.log_id(),
            agent: identity.agent.clone(),
            epoch: identity.epoch,
            key: identity.signing_key.clone(),
        }
    }
}

/// One agent's results, and its place in its own sequence.
pub(super) struct Series {
    whose: Whose,
    groups: Vec<Group>,
    results: usize,
    turn: usize,
    seq_next: u64,
    previous: Hash,
    /// Results at an instant that was sent before, because the next one lies too far ahead.
    pub(super) repeated: u64,
}

/// Checks that travel in one batch, and the next second they report.
struct Group {
    checks: Vec<CheckRef>,
    offsets_ms: Vec<u32>,
    second: u64,
}

impl Series {
    pub(super) fn new(whose: Whose, plan: &Plan, now_ms: u64) -> Result<Series, String> {
        let names: Vec<String> = (0..plan.checks).map(check_name).collect();
        let rows = ROWS_MAX.min(plan.results);
        let groups = names.chunks(rows).map(|names| Group::new(names, &whose.agent, now_ms));
        Ok(Series {
            groups: groups.collect::<Result<_, _>>()?,
            whose,
            results: plan.results,
            turn: 0,
            seq_next: 1,
            previous: Hash::ZERO,
            repeated: 0,
        })
    }

    /// The next batch, signed.
    pub(super) fn seal_next(&mut self, now_ms: u64) -> Result<SealedBatch, String> {
        let group = &mut self.groups[self.turn];
        let (base_second, results, repeated) = group.take(self.results, now_ms);
        let count = results.len() as u64;
        let draft = BatchDraft {
            log_id: self.whose.log_id,
            agent: self.whose.agent.clone(),
            epoch: self.whose.epoch,
            seq_first: self.seq_next,
            base_time_ms: base_second * INTERVAL_MS,
            checks: group.checks.clone(),
            coverage: Coverage { scheduled: count, run: count, skipped: Vec::new() },
            previous: self.previous,
            seen: None,
            results,
        };
        let batch = draft.seal(&self.whose.key).map_err(|fault| fault.to_string())?;
        self.turn = (self.turn + 1) % self.groups.len();
        self.seq_next += count;
        self.previous = batch.leaf.header_hash();
        self.repeated += repeated;
        Ok(batch)
    }
}

impl Group {
    fn new(names: &[String], agent: &AgentName, now_ms: u64) -> Result<Group, String> {
        let offset = |name: &String| Grid::of(name, agent.as_str(), INTERVAL_MS).offset_ms as u32;
        let row = |name: &String| {
            let check = CheckName::parse(name).map_err(|fault| fault.to_string())?;
            Ok(CheckRef { check, spec_revision: 1, target: TARGET.to_owned() })
        };
        Ok(Group {
            checks: names.iter().map(row).collect::<Result<_, String>>()?,
            offsets_ms: names.iter().map(offset).collect(),
            second: (now_ms + LEAD_MS) / INTERVAL_MS,
        })
    }

    /// The first second of the batch, its results, and how many repeat an instant.
    fn take(&mut self, count: usize, now_ms: u64) -> (u64, Vec<CheckResult>, u64) {
        let rows = self.checks.len();
        let seconds = count.div_ceil(rows) as u64;
        let newest = (now_ms + AHEAD_MS_MAX) / INTERVAL_MS;
        let repeats = (self.second + seconds).saturating_sub(newest).min(seconds);
        let first = self.second - repeats;
        self.second = first + seconds;
        let result = |at: usize| {
            let second_ms = (at / rows) as u32 * INTERVAL_MS as u32;
            result(at, at % rows, second_ms + self.offsets_ms[at % rows])
        };
        (first, (0..count).map(result).collect(), repeats * rows.min(count) as u64)
    }
}

/// As a tcp check makes it: a lag, a connect time, and now and then a failure with its detail.
fn result(at: usize, row: usize, offset_ms: u32) -> CheckResult {
    let (outcome, detail) = match at % FAILING {
        1 => (Outcome::Fail(FailReason::ConnectRefused), "connection refused"),
        _ => (Outcome::Pass, ""),
    };
    let mut result = CheckResult::new(row as u16, offset_ms, outcome, detail);
    result.duration_us = 900 + 7 * at as u64;
    result.measure(MeasurementKind::StartLagUs, 150 + at as i64);
    result.measure(MeasurementKind::ConnectUs, 800 + 7 * at as i64);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Regime;

    fn series(plan: &Plan, now_ms: u64) -> Series {
        let agent = AgentName::parse("load-1").expect("a label");
        let key = SigningKey::from_seed([1; 32]);
        let whose = Whose { log_id: Hash([1; 32]), agent, epoch: 1, key };
        Series::new(whose, plan, now_ms).expect("valid names")
    }

    /// Every batch follows the one before, every result lies on its grid and not too far ahead.
    #[test]
    fn batches_are_what_an_agent_would_send() {
        let now_ms = 1_763_600_000_000;
        for (results, checks) in [(1, 1), (100, 900), (250, 130), (4_096, 900)] {
            let plan = Plan { results, checks, ..Plan::from(Regime::Fleet) };
            let mut series = series(&plan, now_ms);
            let mut seq_next = 1;
            for _ in 0..40 {
                let open = series.seal_next(now_ms).unwrap().open().unwrap();
                assert_eq!(open.header.seq_first, seq_next);
                seq_next = open.header.seq_end();
                for result in &open.results {
                    let at_ms = open.scheduled_at_ms(result);
                    let name = open.check(result).check.as_str();
                    assert!(Grid::of(name, "load-1", 1_000).contains(at_ms), "{name} {at_ms}");
                    let ahead = results.div_ceil(ROWS_MAX.min(checks)) as u64 * 1_000;
                    assert!(at_ms <= now_ms + AHEAD_MS_MAX + ahead, "{at_ms}");
                }
            }
        }
    }

    #[test]
    fn repeats_are_counted() {
        let plan = Plan { results: 10, checks: 10, ..Plan::from(Regime::Fleet) };
        let now_ms = 1_763_600_000_000;
        let mut series = series(&plan, now_ms);
        (0..9).for_each(|_| drop(series.seal_next(now_ms).unwrap()));
        assert_eq!(series.repeated, 0);
        (0..3).for_each(|_| drop(series.seal_next(now_ms).unwrap()));
        assert_eq!(series.repeated, 30);
        drop(series.seal_next(now_ms + 1_000).unwrap());
        assert_eq!(series.repeated, 30);
    }
}
