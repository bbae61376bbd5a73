//! The simulator: a whole cluster in one thread, from one seed.
//!
//! Real: the consensus driver, the command codec, the state. Virtual: clocks, disks, the network,
//! the clients. A run has two phases. In the first everything fails that can: messages are lost,
//! doubled, late and out of order, links are cut in one direction or both, nodes lose power with
//! writes under way. After every step the oracle looks: one leader a term, equal committed
//! prefixes, equal states, no batch counted twice. In the second phase everything works, and
//! everything begun must end: every batch that was ever acknowledged is evidence on every replica.
//!
//! The same seed gives the same run, event by event; a failure names its seed and step.
//! Not simulated: threads, sockets, the log's file format (their own tests do), snapshots and
//! changes of membership (they do not exist yet).

mod client;
mod disk;
mod machine;
mod nemesis;
mod network;
mod oracle;
mod replica;
mod rng;
mod trace;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proofmark_evidence::Hash;

use trace::Trace;
use world::World;

/// A mistake planted into the harness around the driver, to see that the oracle finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The leader answers when it has appended, not when it has applied.
    AckBeforeCommit,
    /// The disk says "durable" when it has only taken the write.
    AckBeforePersist,
    /// The disk forgets whom a node voted for.
    VoteNotSaved,
    /// A batch sent twice is taken twice.
    NoDedupe,
    /// A restart believes the log's commit index instead of what the state has applied.
    AppliedFromHardState,
}

impl Planted {
    pub const ALL: [Planted; 5] = [
        Planted::AckBeforeCommit,
        Planted::AckBeforePersist,
        Planted::VoteNotSaved,
        Planted::NoDedupe,
        Planted::AppliedFromHardState,
    ];

    /// The name on the command line.
    pub fn slug(self) -> &'static str {
        match self {
            Planted::AckBeforeCommit => "ack_before_commit",
            Planted::AckBeforePersist => "ack_before_persist",
            Planted::VoteNotSaved => "vote_not_saved",
            Planted::NoDedupe => "no_dedupe",
            Planted::AppliedFromHardState => "applied_from_hard_state",
        }
    }
}

/// Which run to make.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Events of the first phase; about 350 are one virtual second of three nodes.
    pub steps: u64,
    pub planted: Option<Planted>,
    /// Keep a line for each event.
    pub keep_trace: bool,
}

/// How often what went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub crashes: u64,
    pub isolations: u64,
    pub one_way_cuts: u64,
    /// Power cuts of all nodes after which their clocks ran away.
    pub rushes: u64,
}

/// A run in which everything held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimReport {
    pub seed: u64,
    pub nodes: usize,
    pub virtual_ms: u64,
    pub faults: Faults,
    pub messages_dropped: u64,
    pub messages_duplicated: u64,
    pub terms_led: u64,
    pub entries_committed: u64,
    pub acks: u64,
    /// Equal for equal runs.
    pub trace_hash: Hash,
    pub trace: Vec<String>,
}

/// A run in which something did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimFailure {
    pub seed: u64,
    pub at_ms: u64,
    pub what: String,
    pub trace: Vec<String>,
}

impl fmt::Display for SimFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} at {} ms: {}", self.seed, self.at_ms, self.what)
    }
}

impl std::error::Error for SimFailure {}

/// A run without planted mistakes.
pub fn run(seed: u64, steps: u64) -> Result<SimReport, SimFailure> {
    run_plan(Plan { seed, steps, planted: None, keep_trace: false })
}

/// Makes one run. A panic in the code under test is a failure like any other.
pub fn run_plan(plan: Plan) -> Result<SimReport, SimFailure> {
    let mut world = World::new(plan.seed, plan.planted, Trace::new(plan.keep_trace));
    let life = catch_unwind(AssertUnwindSafe(|| {
        world.suffer(plan.steps)?;
        world.heal()
    }));
    let result = life.unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(&*panic))));
    match result {
        Ok(()) => Ok(report(plan.seed, world)),
        Err(what) => {
            let (seed, at_ms, trace) = (plan.seed, world.now_ms, world.trace.into_lines());
            Err(SimFailure { seed, at_ms, what, trace })
        }
    }
}

fn report(seed: u64, world: World) -> SimReport {
    SimReport {
        seed,
        nodes: world.replicas.len(),
        virtual_ms: world.now_ms,
        faults: world.faults,
        messages_dropped: world.network.dropped,
        messages_duplicated: world.network.duplicated,
        terms_led: world.oracle.terms_led(),
        entries_committed: world.oracle.committed_count(),
        acks: world.acks,
        trace_hash: world.trace.hash(),
        trace: world.trace.into_lines(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: u64 = 6_000;

    #[test]
    fn the_same_seed_is_the_same_run() {
        let [first, second] = [run(11, STEPS), run(11, STEPS)].map(Result::unwrap);
        assert_eq!(first, second);
        assert_ne!(first.trace_hash, run(12, STEPS).unwrap().trace_hash);
    }

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_counted_twice() {
        let reports: Vec<SimReport> = (1..=20)
            .map(|seed| run(seed, STEPS).unwrap_or_else(|failure| panic!("{failure}")))
            .collect();
        let sum = |of: fn(&SimReport) -> u64| reports.iter().map(of).sum::<u64>();
        // A run in which nothing happens proves nothing.
        assert!(sum(|r| r.faults.crashes) > 50, "{reports:?}");
        assert!(sum(|r| r.terms_led) > 50, "{reports:?}");
        assert!(sum(|r| r.acks) > 500, "{reports:?}");
    }

    #[test]
    fn every_planted_mistake_is_found() {
        for planted in Planted::ALL {
            let plan =
                |seed| Plan { seed, steps: STEPS, planted: Some(planted), keep_trace: false };
            let found = (1..=300).find(|seed| run_plan(plan(*seed)).is_err());
            assert!(found.is_some(), "{} was not found in 300 seeds", planted.slug());
        }
    }
}
