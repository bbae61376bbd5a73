//! `chaos`: three replicas and four agents as real processes, and a nemesis that works on them.
//!
//! In: minutes or a number of kills, a seed. Out: a plain text table, or what did not hold. With
//! `--minutes` every process lives in a network namespace of its own ([`net`]), on a small disk of
//! its own, and the nemesis kills, stops, cuts, delays, fills and sets clocks ([`nemesis`]). With
//! `--kills` processes on loopback are killed under load, and each recovery is timed ([`kills`]).
//! At the end everything is healed and judged from outside.

mod clock;
mod disk;
mod fleet;
mod kills;
mod nemesis;
pub mod net;
mod plan;
mod silence;
mod world;

pub use plan::{Plan, USAGE, Work};

/// Does the work of the plan; `say` is told what is going on. The table is the result.
///
/// # Errors
/// What did not hold.
pub fn run(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    match plan.work {
        Work::Minutes(minutes) => nemesis::run(minutes, plan.seed, say),
        Work::Kills(kills) => kills::run(kills, plan.seed, say),
    }
}
