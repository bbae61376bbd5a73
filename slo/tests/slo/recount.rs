//! The oracle: every report once more from the bare list of events, run by run, without cells,
//! hours, assignments or anything kept. Slow, and plain enough to be believed.

use std::collections::BTreeMap;

use proofmark_evidence::{AgentName, CheckName, Outcome, UnknownReason};
use proofmark_slo::{
    BURN_WINDOWS, Budgeting, Burn, Causes, Counts, ENROL_LEAD_MS, Ledger, SliceRule, SloReport,
    Verdict,
};
use proofmark_spec::Grid;
use proptest::prelude::*;

use crate::scenario::{Event, HeardResult, as_of, feed, scenarios};
use crate::spec::{TestSlo, TestSpec};
use crate::timeline::DAY_START_MS;

const MINUTE_MS: u64 = 60_000;

pub struct Recount<'a> {
    events: Vec<&'a Event>,
}

impl<'a> Recount<'a> {
    pub fn new(events: &'a [(u64, Event)]) -> Recount<'a> {
        Recount { events: events.iter().map(|(_, event)| event).collect() }
    }

    /// Every run of the agent that should happen in `[from_ms, until_ms)`.
    pub fn expected_of(
        &self,
        agent: &AgentName,
        from_ms: u64,
        until_ms: u64,
    ) -> Vec<(CheckName, u64)> {
        let mut runs = Vec::new();
        for (spec, spec_from_ms, spec_until_ms) in self.specs() {
            for check in &spec.checks {
                if !check.agents.is_empty() && !check.agents.contains(&agent.as_str()) {
                    continue;
                }
                let grid = Grid::of(check.name, agent.as_str(), check.interval_s * 1_000);
                let mut at_ms = grid.next_after(from_ms.max(spec_from_ms).max(1) - 1);
                while at_ms < until_ms.min(spec_until_ms) {
                    if self.is_enrolled(agent, at_ms) {
                        runs.push((CheckName::parse(check.name).expect("a label"), at_ms));
                    }
                    at_ms = grid.next_after(at_ms);
                }
            }
        }
        runs
    }

    pub fn reports(&self, as_of_ms: u64) -> Vec<SloReport> {
        let now = self
            .specs()
            .into_iter()
            .find(|(_, from_ms, until_ms)| (*from_ms..*until_ms).contains(&as_of_ms));
        let slos = now.map(|(spec, ..)| spec.slos.clone()).unwrap_or_default();
        slos.iter().map(|slo| self.report(slo, as_of_ms)).collect()
    }

    fn report(&self, slo: &TestSlo, as_of_ms: u64) -> SloReport {
        let (revision, defined_ms) = self.defined(slo, as_of_ms);
        let heard = self.heard();
        // Every expected run of the objective's life, with its verdict if it has one.
        let mut runs = Vec::new();
        for agent in crate::scenario::AGENTS {
            let agent = AgentName::parse(agent).expect("a label");
            if !slo.agents.is_empty() && !slo.agents.contains(&agent.as_str()) {
                continue;
            }
            for (check, at_ms) in self.expected_of(&agent, defined_ms, as_of_ms) {
                if slo.checks.contains(&check.as_str()) {
                    let told = || self.told(&agent, &check, at_ms);
                    let result = heard.get(&(agent.clone(), check.clone(), at_ms));
                    let verdict = result.map(|result| judge(slo, result));
                    runs.push((at_ms, verdict.unwrap_or_else(|| Verdict::Unknown(told()))));
                }
            }
        }
        Recounted { slo, runs, defined_ms, as_of_ms }.report(revision)
    }

    /// The first result of each run.
    fn heard(&self) -> BTreeMap<(AgentName, CheckName, u64), &HeardResult> {
        let mut heard = BTreeMap::new();
        for event in &self.events {
            if let Event::Result(one) = event {
                let key = (one.agent.clone(), one.check.clone(), one.scheduled_at_ms);
                heard.entry(key).or_insert(one);
            }
        }
        heard
    }

    /// Why there is no result of the run: the first that anybody told, or nobody did.
    fn told(&self, agent: &AgentName, check: &CheckName, at_ms: u64) -> UnknownReason {
        for (index, event) in self.events.iter().enumerate() {
            let Event::Result(one) = event else { continue };
            let Outcome::Unknown(reason) = one.outcome else { continue };
            if (&one.agent, &one.check) != (agent, check) || one.runs_missed == 1 {
                continue;
            }
            let last_ms = one.scheduled_at_ms + (one.runs_missed - 1) * self.interval_ms(one);
            let void_ms = self.void_from(index, agent, check);
            if (one.scheduled_at_ms..=last_ms).contains(&at_ms) && at_ms < void_ms {
                return reason;
            }
        }
        UnknownReason::Silent
    }

    /// The interval in force when the result was due.
    fn interval_ms(&self, result: &HeardResult) -> u64 {
        let (spec, ..) = *(self.specs().iter())
            .find(|(_, from_ms, until_ms)| (*from_ms..*until_ms).contains(&result.scheduled_at_ms))
            .expect("it was expected");
        let check = spec.checks.iter().find(|check| check.name == result.check.as_str());
        check.expect("it was expected").interval_s * 1_000
    }

    /// The first instant at which something else held than was known at event `index`.
    fn void_from(&self, index: usize, agent: &AgentName, check: &CheckName) -> u64 {
        let plan = |spec: &TestSpec| {
            let check = spec.checks.iter().find(|one| one.name == check.as_str())?;
            let looks = check.agents.is_empty() || check.agents.contains(&agent.as_str());
            looks.then_some(check.interval_s)
        };
        let (mut known, mut void_ms) = (None, u64::MAX);
        for (place, event) in self.events.iter().enumerate() {
            match event {
                Event::Spec { effective_at_ms, spec, .. } => {
                    if place > index && known != plan(spec) {
                        void_ms = void_ms.min(*effective_at_ms);
                    }
                    known = plan(spec);
                }
                Event::Retire { agent: who, at_ms } if place > index && who == agent => {
                    void_ms = void_ms.min(*at_ms);
                }
                _ => {}
            }
        }
        void_ms
    }

    /// Each spec with the time in which it was in force.
    fn specs(&self) -> Vec<(&'a TestSpec, u64, u64)> {
        let starts: Vec<(&TestSpec, u64)> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Spec { effective_at_ms, spec, .. } => Some((spec, *effective_at_ms)),
                _ => None,
            })
            .collect();
        let ends = starts.iter().skip(1).map(|(_, from_ms)| *from_ms).chain([u64::MAX]);
        starts.iter().zip(ends).map(|((spec, from_ms), end_ms)| (*spec, *from_ms, end_ms)).collect()
    }

    fn is_enrolled(&self, agent: &AgentName, at_ms: u64) -> bool {
        let mut enrolled = false;
        for event in &self.events {
            match event {
                Event::Enrol { agent: who, at_ms: from_ms } if who == agent => {
                    enrolled |= from_ms + ENROL_LEAD_MS <= at_ms;
                }
                Event::Retire { agent: who, at_ms: until_ms } if who == agent => {
                    enrolled &= at_ms < *until_ms;
                }
                _ => {}
            }
        }
        enrolled
    }

    /// The revision, and from when on, the SLO was defined as it is at `as_of_ms`.
    fn defined(&self, slo: &TestSlo, as_of_ms: u64) -> (u64, u64) {
        let mut defined = (0, 0);
        let mut before = None;
        for event in &self.events {
            let Event::Spec { revision, effective_at_ms, spec } = event else { continue };
            let now = spec.slos.iter().find(|one| one.name == slo.name);
            if *effective_at_ms <= as_of_ms && now != before {
                defined = (*revision, *effective_at_ms);
            }
            before = now;
        }
        defined
    }
}

fn judge(slo: &TestSlo, result: &HeardResult) -> Verdict {
    let limit_us = slo.limit_ms.unwrap_or(u64::MAX / 1_000) * 1_000;
    match result.outcome {
        Outcome::Unknown(reason) => Verdict::Unknown(reason),
        Outcome::Pass if result.duration_us <= limit_us => Verdict::Good,
        _ => Verdict::Bad,
    }
}

/// One objective's runs: instant and verdict.
struct Recounted<'a> {
    slo: &'a TestSlo,
    runs: Vec<(u64, Verdict)>,
    defined_ms: u64,
    as_of_ms: u64,
}

impl Recounted<'_> {
    fn report(&self, revision: u64) -> SloReport {
        let (slo, window_ms) = (self.slo, self.slo.window_minutes * MINUTE_MS);
        let target_ppb = slo.target_milli * 1_000_000;
        let from_ms = self.window_start(window_ms);
        let counts = self.runs_since(from_ms);
        let slices = slo.slices.map(|_| self.budget_since(from_ms));
        let score = slices.unwrap_or(counts);
        SloReport {
            slo: slo.name.to_owned(),
            service: "shop".to_owned(),
            revision,
            as_of_ms: self.as_of_ms,
            since_ms: from_ms.max(self.defined_ms),
            window_ms,
            target_ppb,
            budgeting: slo.slices.map_or(Budgeting::Occurrences, |(minutes, milli)| {
                let (slice_ms, slice_target_ppb) = (minutes * MINUTE_MS, milli * 1_000_000);
                Budgeting::Timeslices(SliceRule { slice_ms, slice_target_ppb })
            }),
            counts,
            causes: self.causes_since(from_ms),
            slices,
            sli_ppb: score.sli_ppb(),
            budget_remaining_ppb: score.budget_remaining_ppb(target_ppb),
            burn: BURN_WINDOWS.map(|(window, length_ms)| {
                let counts = self.budget_since(self.window_start(length_ms));
                Burn { window, rate_milli: counts.burn_rate_milli(target_ppb) }
            }),
        }
    }

    fn window_start(&self, length_ms: u64) -> u64 {
        (self.as_of_ms - length_ms) / MINUTE_MS * MINUTE_MS
    }

    fn runs_since(&self, from_ms: u64) -> Counts {
        self.runs_between(from_ms, self.as_of_ms)
    }

    fn runs_between(&self, from_ms: u64, until_ms: u64) -> Counts {
        let mut counts = Counts::default();
        for (_, verdict) in
            self.runs.iter().filter(|(at_ms, _)| (from_ms..until_ms).contains(at_ms))
        {
            match verdict {
                Verdict::Good => counts.good += 1,
                Verdict::Bad => counts.bad += 1,
                Verdict::Unknown(_) => counts.unknown += 1,
            }
        }
        counts
    }

    fn causes_since(&self, from_ms: u64) -> Causes {
        let mut causes = Causes::new();
        for (at_ms, verdict) in &self.runs {
            if let (Verdict::Unknown(reason), true) = (verdict, *at_ms >= from_ms) {
                *causes.entry(*reason).or_default() += 1;
            }
        }
        causes
    }

    fn budget_since(&self, from_ms: u64) -> Counts {
        let Some((minutes, milli)) = self.slo.slices else { return self.runs_since(from_ms) };
        let slice_ms = minutes * MINUTE_MS;
        let mut slices = Counts::default();
        let mut start_ms = from_ms.max(self.defined_ms).div_ceil(slice_ms) * slice_ms;
        while start_ms + slice_ms <= self.as_of_ms {
            let runs = self.runs_between(start_ms, start_ms + slice_ms);
            let enough = |good: u64| good * 1_000 >= milli * runs.expected();
            match (enough(runs.good), enough(runs.good + runs.unknown)) {
                _ if runs.expected() == 0 => {}
                (true, _) => slices.good += 1,
                (false, false) => slices.bad += 1,
                (false, true) => slices.unknown += 1,
            }
            start_ms += slice_ms;
        }
        slices
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_ledger_says_what_a_recount_says(
        scenario in scenarios(),
        mut looks_s in prop::collection::vec(600..10_000_u64, 1..5),
    ) {
        looks_s.sort_unstable();
        let mut ledger = Ledger::new();
        let mut fed = 0;
        for look_s in looks_s {
            let now_ms = DAY_START_MS + look_s * 1_000;
            let arrived = scenario.events.partition_point(|(at_ms, _)| *at_ms <= now_ms);
            scenario.events[fed..arrived].iter().for_each(|(_, event)| feed(&mut ledger, event));
            fed = arrived;
            ledger.advance(as_of(now_ms));
            let expect = Recount::new(&scenario.events[..arrived]).reports(as_of(now_ms));
            prop_assert_eq!(ledger.report(), expect);
        }
    }
}
