//! Random lives of a small fleet: specs change, agents come, go, fall silent and catch up.
//!
//! A scenario is turned into the leaves' contents in the order of their arrival. Batches of one
//! agent arrive in order; how those of different agents interleave is up to the scenario.

use proofmark_evidence::{AgentName, CheckName, FailReason, Outcome, UnknownReason};
use proofmark_slo::{GRACE_MS, Ledger, Run, SPEC_LEAD_MS};
use proptest::prelude::*;

use crate::recount::Recount;
use crate::spec::{TestCheck, TestSlo, TestSpec};
use crate::timeline::DAY_START_MS;

pub const SPAN_S: u64 = 2 * 60 * 60;
pub const AGENTS: [&str; 3] = ["ams", "fra", "waw"];
/// Outcome codes that say how a result is sent rather than what it is.
const DROPPED: u8 = 0;
const SENT_TWICE: u8 = 1;
const INTERVALS_S: [u64; 5] = [10, 60, 35, 20, 300];

/// Something the ledger is told, and when.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Spec { revision: u64, effective_at_ms: u64, spec: TestSpec },
    Enrol { agent: AgentName, at_ms: u64 },
    Retire { agent: AgentName, at_ms: u64 },
    Result(HeardResult),
}

#[derive(Clone, Debug, PartialEq)]
pub struct HeardResult {
    pub agent: AgentName,
    pub check: CheckName,
    pub scheduled_at_ms: u64,
    pub outcome: Outcome,
    pub duration_us: u64,
    pub runs_missed: u64,
}

/// Events with the instant of their arrival, ascending.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub events: Vec<(u64, Event)>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Interval(usize, usize),
    WithoutLastAgent(usize),
    Target(u64),
    Limit(bool),
    /// Whether the sliced objective looks at a check that no other one looks at.
    LooksAside(bool),
    Nothing,
    Enrol(usize),
    Retire(usize),
}

prop_compose! {
    /// At most a few thousand results over two hours.
    pub fn scenarios()(
        changes in prop::collection::vec((0..SPAN_S, change()), 0..6),
        outages in prop::collection::vec((0..3_usize, 0..SPAN_S, 0..SPAN_S / 2), 0..4),
        outcomes in prop::collection::vec(0..12_u8, 40),
        delays_ms in prop::collection::vec(0..15_000_u64, 40),
        naps in prop::collection::vec(nap(), 0..4),
        teller in prop_oneof![Just(Telling::Honest), Just(Telling::Late), Just(Telling::Greedy)],
    ) -> Scenario {
        Builder::new(changes).scenario(&Network { outages, outcomes, delays_ms, naps, teller })
    }
}

fn nap() -> impl Strategy<Value = Nap> {
    (0..3_usize, 0..SPAN_S, 0..SPAN_S / 3).prop_map(|(agent, from_s, length_s)| {
        let from_ms = DAY_START_MS + from_s * 1_000;
        Nap { agent, from_ms, until_ms: from_ms + length_s * 1_000 }
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..2_usize, 0..INTERVALS_S.len()).prop_map(|(check, i)| Change::Interval(check, i)),
        (0..2_usize).prop_map(Change::WithoutLastAgent),
        (0..3_u64).prop_map(|step| Change::Target(900 + step * 40)),
        any::<bool>().prop_map(Change::Limit),
        any::<bool>().prop_map(Change::LooksAside),
        Just(Change::Nothing),
        (0..3_usize).prop_map(Change::Enrol),
        (0..3_usize).prop_map(Change::Retire),
    ]
}

/// The spec every scenario begins with.
fn first_spec() -> TestSpec {
    let check = |name, interval_s| TestCheck { name, interval_s, agents: vec![] };
    let slo = |name, window_minutes| TestSlo {
        name,
        checks: vec!["api", "web"],
        agents: vec![],
        limit_ms: Some(500),
        slices: None,
        window_minutes,
        target_milli: 900,
    };
    let sliced = TestSlo {
        checks: vec!["dns"],
        agents: vec!["ams", "fra"],
        slices: Some((5, 800)),
        ..slo("sliced", 60)
    };
    TestSpec {
        checks: vec![check("api", 20), check("web", 60), check("dns", 60)],
        slos: vec![slo("long", 60), slo("short", 5), sliced],
    }
}

struct Builder {
    events: Vec<(u64, Event)>,
    spec: TestSpec,
    revision: u64,
    enrolled: [bool; 3],
}

impl Builder {
    /// Agents `ams` and `fra` and the first spec from the start, then the changes.
    fn new(mut changes: Vec<(u64, Change)>) -> Builder {
        let (events, enrolled) = (Vec::new(), [false; 3]);
        let mut builder = Builder { events, spec: first_spec(), revision: 0, enrolled };
        changes.extend([(0, Change::Enrol(0)), (0, Change::Enrol(1)), (0, Change::Nothing)]);
        changes.sort_by_key(|(at_s, _)| *at_s);
        for (at_s, change) in changes {
            // Odd milliseconds: nothing real falls on whole seconds.
            builder.change(DAY_START_MS + at_s * 1_000 + at_s % 997, change);
        }
        builder
    }

    fn change(&mut self, at_ms: u64, change: Change) {
        match change {
            Change::Enrol(agent) => return self.enrol(at_ms, agent),
            Change::Retire(agent) => return self.retire(at_ms, agent),
            Change::Interval(check, i) => self.spec.checks[check].interval_s = INTERVALS_S[i],
            Change::WithoutLastAgent(check) => {
                self.spec.checks[check].agents = AGENTS[..2].to_vec()
            }
            Change::Target(milli) => self.spec.slos[0].target_milli = milli,
            Change::Limit(on) => self.spec.slos[2].limit_ms = on.then_some(500),
            Change::LooksAside(aside) => {
                self.spec.slos[2].checks = vec![if aside { "dns" } else { "web" }];
            }
            Change::Nothing => {}
        }
        self.revision += 1;
        let (revision, spec) = (self.revision, self.spec.clone());
        let effective_at_ms = at_ms + SPEC_LEAD_MS;
        self.events.push((at_ms, Event::Spec { revision, effective_at_ms, spec }));
    }

    fn enrol(&mut self, at_ms: u64, agent: usize) {
        if !std::mem::replace(&mut self.enrolled[agent], true) {
            self.events.push((at_ms, Event::Enrol { agent: agent_name(agent), at_ms }));
        }
    }

    fn retire(&mut self, at_ms: u64, agent: usize) {
        if std::mem::replace(&mut self.enrolled[agent], false) {
            self.events.push((at_ms, Event::Retire { agent: agent_name(agent), at_ms }));
        }
    }

    /// Lets every agent report its runs, but for those it drops, late when it was cut off.
    fn scenario(mut self, network: &Network) -> Scenario {
        let until_ms = DAY_START_MS + SPAN_S * 1_000;
        let recount = Recount::new(&self.events);
        let mut results = Vec::new();
        for agent in 0..AGENTS.len() {
            let mut runs = recount.expected_of(&agent_name(agent), DAY_START_MS, until_ms);
            runs.sort_by_key(|(_, at_ms)| *at_ms);
            results.extend(network.results(agent, runs));
        }
        self.events.extend(results);
        // Stable: what arrives at one instant keeps its order.
        self.events.sort_by_key(|(at_ms, _)| *at_ms);
        Scenario { events: self.events }
    }
}

/// What happens to results between their run and the ledger.
struct Network {
    /// Agent, from, length (s).
    outages: Vec<(usize, u64, u64)>,
    outcomes: Vec<u8>,
    delays_ms: Vec<u64>,
    naps: Vec<Nap>,
    teller: Telling,
}

/// A time in which an agent runs nothing, and says so afterwards.
#[derive(Clone, Copy, Debug)]
struct Nap {
    agent: usize,
    from_ms: u64,
    until_ms: u64,
}

/// How agents tell of the runs they missed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Telling {
    Honest,
    /// Long after newer results, as when a damaged spool is found.
    Late,
    /// And of five more, which they then report.
    Greedy,
}

impl Network {
    fn results(&self, agent: usize, runs: Vec<(CheckName, u64)>) -> Vec<(u64, Event)> {
        let (mut results, mut arrives_ms) = (self.told(agent, &runs), 0);
        for (index, (check, at_ms)) in runs.into_iter().enumerate() {
            let delay_ms = self.delays_ms[index % self.delays_ms.len()];
            // A clock up to two seconds ahead is still an honest one.
            let sent_ms = (at_ms + delay_ms).saturating_sub(2_000);
            arrives_ms = sent_ms.max(self.back_ms(agent, at_ms)).max(arrives_ms);
            let code = self.outcomes[(index * 7 + agent) % self.outcomes.len()];
            let copies = match code {
                DROPPED => 0,
                SENT_TWICE => 2,
                _ => 1,
            };
            if self.nap_of(agent, at_ms).is_some() {
                continue;
            }
            let run = Event::Result(result(agent, check, at_ms, code));
            results.extend(std::iter::repeat_n((arrives_ms, run), copies));
        }
        results
    }

    /// One result for every row of runs that were slept through.
    fn told(&self, agent: usize, runs: &[(CheckName, u64)]) -> Vec<(u64, Event)> {
        let mut rows: Vec<(usize, CheckName, Vec<u64>)> = Vec::new();
        for (check, at_ms) in runs {
            let Some(nap) = self.nap_of(agent, *at_ms) else { continue };
            let of_nap = |row: &&mut (usize, CheckName, _)| (row.0, &row.1) == (nap, check);
            match rows.iter_mut().rev().find(of_nap) {
                Some((.., row)) if goes_on(row, *at_ms) => row.push(*at_ms),
                _ => rows.push((nap, check.clone(), vec![*at_ms])),
            }
        }
        let told = rows.into_iter().map(|(nap, check, row)| {
            let mut told = result(agent, check, row[0], 0);
            // Who tells late and of one instant twice may have given it either reason.
            let reasons = [UnknownReason::SkippedAsleep, UnknownReason::SpoolFull];
            let late = self.teller == Telling::Late;
            told.outcome = Outcome::Unknown(reasons[if late { 0 } else { nap % 2 }]);
            let greed = if self.teller == Telling::Greedy { 5 } else { 0 };
            told.runs_missed = row.len() as u64 + greed;
            let delay_ms = if late { 45 * 60_000 } else { 0 };
            (row[row.len() - 1] + delay_ms, Event::Result(told))
        });
        told.collect()
    }

    fn nap_of(&self, agent: usize, at_ms: u64) -> Option<usize> {
        let within = |nap: &Nap| nap.agent == agent && (nap.from_ms..nap.until_ms).contains(&at_ms);
        self.naps.iter().position(within)
    }

    /// When the outage ends in which the run fell; 0 if it fell in none.
    fn back_ms(&self, agent: usize, at_ms: u64) -> u64 {
        let outages = self.outages.iter().filter(|(who, ..)| *who == agent);
        let spans = outages.map(|(_, from_s, length_s)| {
            let from_ms = DAY_START_MS + from_s * 1_000;
            from_ms..from_ms + length_s * 1_000
        });
        spans.filter(|span| span.contains(&at_ms)).map(|span| span.end).max().unwrap_or(0)
    }
}

fn result(agent: usize, check: CheckName, scheduled_at_ms: u64, code: u8) -> HeardResult {
    let (outcome, duration_us) = match code {
        2 => (Outcome::Fail(FailReason::ConnectRefused), 300),
        3 => (Outcome::Pass, 500_001),
        4 => (Outcome::Unknown(UnknownReason::SkippedOverrun), 0),
        5 => (Outcome::Unknown(UnknownReason::SpoolFull), 0),
        _ => (Outcome::Pass, 500_000),
    };
    let (agent, runs_missed) = (agent_name(agent), 1);
    HeardResult { agent, check, scheduled_at_ms, outcome, duration_us, runs_missed }
}

pub fn agent_name(agent: usize) -> AgentName {
    AgentName::parse(AGENTS[agent]).expect("a label")
}

/// The instant up to which the aggregator judges at `now_ms`.
pub fn as_of(now_ms: u64) -> u64 {
    (now_ms - GRACE_MS) / 10_000 * 10_000
}

pub fn feed(ledger: &mut Ledger, event: &Event) {
    match event {
        Event::Spec { revision, effective_at_ms, spec } => {
            ledger.spec_changed(*revision, *effective_at_ms, &spec.documents());
        }
        Event::Enrol { agent, at_ms } => ledger.agent_enrolled(agent, *at_ms),
        Event::Retire { agent, at_ms } => ledger.agent_retired(agent, *at_ms),
        Event::Result(result) => {
            ledger.count(&Run {
                check: &result.check,
                agent: &result.agent,
                scheduled_at_ms: result.scheduled_at_ms,
                outcome: result.outcome,
                duration_us: result.duration_us,
                runs_missed: result.runs_missed,
            });
        }
    }
}

/// Whether the instant follows those of the row in the same step.
fn goes_on(row: &[u64], at_ms: u64) -> bool {
    let last_ms = row[row.len() - 1];
    row.len() == 1 || at_ms - last_ms == row[1] - row[0]
}
