//! A small language for the life of a series, so that tests need not know the ledger's API.
//!
//! A timeline is a list of `when what [xN]`, in the order in which the ledger gets to know it:
//!
//! * `09:00 pass x5`: the five runs due from 09:00 on passed. Also `slow` (a pass that took a
//!   second), `fail`, or the slug of any reason why a run stayed unknown. `pass@b` is of agent b.
//! * `09:06 missed x30 skipped_asleep`: one result for the thirty runs due from 09:06 on.
//! * `09:05 silence x3` says nothing to the ledger; it only makes a gap readable.
//! * `09:10 look`: advance to that instant; adds a line to what came out.
//! * `09:10 enrol b`, `09:10 retire b`, `09:10 interval 30`, `09:10 target 950`,
//!   `09:10 apply` (the same spec again): changes. Of specs it is the instant they take effect.
//!
//! It begins at 09:00 with agent `a` and one check a minute.

use proofmark_evidence::{AgentName, CheckName, FailReason, Outcome, UnknownReason};
use proofmark_slo::{Counted, Counts, ENROL_LEAD_MS, Interval, Ledger, Run, SloReport};
use proofmark_spec::Grid;

use crate::spec::{TestCheck, TestSlo, TestSpec};

/// 2026-01-01 00:00 UTC.
pub const DAY_START_MS: u64 = 1_767_225_600_000;
const SLOW_US: u64 = 1_000_000;
const FAST_US: u64 = 1_000;

/// 90 % of an hour's runs.
pub fn occurrences() -> TestSlo {
    TestSlo {
        name: "story",
        checks: vec!["web"],
        agents: vec![],
        limit_ms: None,
        slices: None,
        window_minutes: 60,
        target_milli: 900,
    }
}

/// 90 % of an hour's slices of five minutes, each of which needs 80 %.
pub fn timeslices() -> TestSlo {
    TestSlo { slices: Some((5, 800)), ..occurrences() }
}

/// Tells the story and returns what each `look` saw.
pub fn tell(slo: &TestSlo, story: &str) -> Vec<SloReport> {
    let mut teller = Teller::new(slo.clone());
    for part in story.split(',') {
        teller.tell(part.trim());
    }
    teller.seen
}

pub struct Teller {
    pub ledger: Ledger,
    pub seen: Vec<SloReport>,
    /// What became of the runs that did not count.
    pub ignored: Vec<Counted>,
    spec: TestSpec,
    revision: u64,
}

impl Teller {
    pub fn new(slo: TestSlo) -> Teller {
        let check = TestCheck { name: "web", interval_s: 60, agents: vec![] };
        let spec = TestSpec { checks: vec![check], slos: vec![slo] };
        let ledger = Ledger::new();
        let mut teller = Teller { ledger, seen: vec![], ignored: vec![], spec, revision: 0 };
        teller.enrol(instant("09:00"), "a");
        teller.apply(instant("09:00"));
        teller
    }

    pub fn spec(&self) -> &TestSpec {
        &self.spec
    }

    pub fn tell(&mut self, part: &str) {
        let words: Vec<&str> = part.split_whitespace().collect();
        let at_ms = instant(words[0]);
        match words[1..] {
            ["look"] => self.look(at_ms),
            ["apply"] => self.apply(at_ms),
            ["enrol", agent] => self.enrol(at_ms, agent),
            ["retire", agent] => self.ledger.agent_retired(&name(agent), at_ms),
            ["interval", seconds] => {
                self.spec.checks[0].interval_s = seconds.parse().expect("seconds");
                self.apply(at_ms);
            }
            ["target", milli] => {
                self.spec.slos[0].target_milli = milli.parse().expect("thousandths");
                self.apply(at_ms);
            }
            [missed, times, reason] => {
                let (_, agent) = missed.split_once('@').unwrap_or((missed, "a"));
                let first_ms = self.grid(agent).next_after(at_ms - 1);
                self.run(agent, first_ms, reason, times[1..].parse().expect("xN"));
            }
            [what] => self.runs(at_ms, what, 1),
            [what, times] => self.runs(at_ms, what, times[1..].parse().expect("xN")),
            _ => panic!("not a part of a story: {part}"),
        }
    }

    fn look(&mut self, at_ms: u64) {
        self.ledger.advance(at_ms);
        self.seen.extend(self.ledger.report());
    }

    fn apply(&mut self, effective_at_ms: u64) {
        self.revision += 1;
        self.ledger.spec_changed(self.revision, effective_at_ms, &self.spec.documents());
    }

    fn enrol(&mut self, expected_from_ms: u64, agent: &str) {
        self.ledger.agent_enrolled(&name(agent), expected_from_ms - ENROL_LEAD_MS);
    }

    fn runs(&mut self, from_ms: u64, what: &str, times: u64) {
        let (what, agent) = what.split_once('@').unwrap_or((what, "a"));
        let grid = self.grid(agent);
        let mut at_ms = grid.next_after(from_ms - 1);
        for _ in 0..times {
            if what != "silence" {
                self.run(agent, at_ms, what, 1);
            }
            at_ms = grid.next_after(at_ms);
        }
    }

    fn grid(&self, agent: &str) -> Grid {
        Grid::of("web", agent, self.spec.checks[0].interval_s * 1_000)
    }

    fn run(&mut self, agent: &str, scheduled_at_ms: u64, what: &str, runs_missed: u64) {
        let (outcome, duration_us) = match what {
            "pass" => (Outcome::Pass, FAST_US),
            "slow" => (Outcome::Pass, SLOW_US),
            "fail" => (Outcome::Fail(FailReason::HttpStatus), FAST_US),
            slug => (Outcome::Unknown(UnknownReason::from_slug(slug).expect("a slug")), 0),
        };
        let (check, agent) = (CheckName::parse("web").expect("a label"), name(agent));
        let (check, agent) = (&check, &agent);
        let run = Run { check, agent, scheduled_at_ms, outcome, duration_us, runs_missed };
        match self.ledger.count(&run) {
            Counted::Counted => {}
            ignored => self.ignored.push(ignored),
        }
    }
}

/// `09:05` or `09:05:10` of the tests' day.
pub fn instant(text: &str) -> u64 {
    let parts = text.split(':').map(|part| part.parse::<u64>().expect("a number"));
    let seconds = parts.zip([3_600, 60, 1]).map(|(part, unit)| part * unit).sum::<u64>();
    DAY_START_MS + seconds * 1_000
}

/// `good/bad/unknown`.
pub fn show_counts(counts: Counts) -> String {
    format!("{}/{}/{}", counts.good, counts.bad, counts.unknown)
}

/// Percent, `worst..best`, or one number if it is settled.
pub fn show_percent<T: Copy + PartialEq + Into<i128>>(interval: Option<Interval<T>>) -> String {
    let Some(interval) = interval else { return "no data".to_owned() };
    let show = |value: T| {
        let ppb: i128 = value.into();
        let sign = if ppb < 0 { "-" } else { "" };
        format!("{sign}{}.{:02}%", ppb.abs() / 10_000_000, ppb.abs() / 100_000 % 100)
    };
    match interval.is_settled() {
        true => show(interval.worst),
        false => format!("{}..{}", show(interval.worst), show(interval.best)),
    }
}

fn name(agent: &str) -> AgentName {
    AgentName::parse(agent).expect("a label")
}
