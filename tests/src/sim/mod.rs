//! The simulator: a whole installation in one thread, from one seed.
//!
//! Real, unchanged: consensus driver, command codec, state, recorder, evidence writer, admission;
//! the agents' core, schedule, batcher, outbox, spool, window. Virtual: clocks, disks, the network,
//! what checks see, the operator. A run has two halves. In the first everything fails that can:
//! messages, links, power, processes, disks, clocks. After every step the oracle looks. In the
//! second everything works, and everything begun must end: what any agent's disk has confirmed is
//! evidence on every replica, proven, counted once, and the numbers are those of what really
//! happened.
//!
//! The same seed gives the same run, event by event; a failure names its seed. Start at [`run_plan`];
//! the loop is `world`, what goes wrong `nemesis`, what must hold `oracle`.
//! Not simulated: threads, sockets, TLS, sled.

mod agent;
pub mod campaign;
mod cast;
mod disk;
mod gateway;
mod nemesis;
mod network;
mod operator;
mod oracle;
mod planted;
mod replica;
mod report;
mod rng;
pub mod scenes;
mod specs;
mod trace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use disk::{Coverage, Fault};
pub use planted::Planted;
pub use report::{Faults, SimFailure, SimReport};

use trace::Trace;
use world::World;

/// Which run to make.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// How long the first half lasts, virtual milliseconds.
    pub cruel_ms: u64,
    pub planted: Option<Planted>,
    /// Keep the story.
    pub keep_story: bool,
}

/// A first half that is long enough for several of everything.
pub const CRUEL_MS: u64 = 25_000;

/// A run without planted mistakes.
pub fn run(seed: u64) -> Result<SimReport, SimFailure> {
    run_plan(Plan { seed, cruel_ms: CRUEL_MS, planted: None, keep_story: false })
}

/// Makes one run. A panic in the code under test is a failure like any other.
pub fn run_plan(plan: Plan) -> Result<SimReport, SimFailure> {
    let failure = |at_ms, what, story| SimFailure { seed: plan.seed, at_ms, what, story };
    let mut world = World::new(plan.seed, plan.planted, Trace::new(plan.keep_story))
        .map_err(|what| failure(0, what, Vec::new()))?;
    let life = catch_unwind(AssertUnwindSafe(|| {
        world.suffer(plan.cruel_ms)?;
        world.heal()
    }));
    let result = life.unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(&*panic))));
    match result {
        Ok(()) => Ok(report(plan.seed, world)),
        Err(what) => Err(failure(world.now_ms, what, world.trace.into_parts().1)),
    }
}

fn report(seed: u64, world: World) -> SimReport {
    let mut coverage = Coverage::default();
    world.nodes.iter().for_each(|node| coverage.add(&node.replica.disk.coverage()));
    world.agents.iter().for_each(|agent| coverage.add(&agent.disk.coverage()));
    let mut faults = world.faults;
    faults.messages_lost = world.network.dropped;
    faults.messages_doubled = world.network.duplicated;
    faults.messages_late = world.network.delayed;
    let (trace_hash, story) = world.trace.into_parts();
    SimReport {
        seed,
        nodes: world.nodes.len(),
        virtual_ms: world.now_ms,
        faults,
        coverage,
        terms_led: world.oracle.terms_led(),
        entries_committed: world.oracle.committed_count(),
        acks: world.oracle.acks,
        publications: world.oracle.publications,
        reads: world.reads,
        trace_hash,
        story,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

#[cfg(test)]
mod tests;
