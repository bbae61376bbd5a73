//! `power-loss`: the real binaries under load on disks that lose power.
//!
//! In: how many cuts, a seed. Out: a plain text table, or what was lost. Half of the cuts hit an
//! installation that is aged first (several segments of the Raft log), the others new ones, in their
//! first seconds. A cut hits a replica, an agent, or all replicas at once; by turns everything that
//! was not synced is lost, or a random part of it is kept. The disk is honest: what was synced
//! stays. So every start must succeed: a refusal is a failure too.

mod plan;
mod report;
mod rig;

pub use plan::{Plan, USAGE};

use crate::dice::Dice;
use crate::lossy::{Manner, sweep};
use report::Tally;
use rig::{Age, Rig, Victim};

/// Cuts that one new installation takes before the next is made.
const CUTS_WHILE_NEW: usize = 10;

/// Cuts the power as planned; `say` is told what is going on. The table is the result.
///
/// # Errors
/// What was lost or did not start, after the cut that shows it.
pub fn run(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    sweep::dead_mounts();
    let mut dice = Dice::new(plan.seed);
    let mut tally = Tally::default();
    let aged = if plan.aged_mib == 0 { 0 } else { plan.cuts / 2 };
    let mut left = plan.cuts - aged;
    while left > 0 {
        let cuts = left.min(CUTS_WHILE_NEW);
        say(&format!("a new installation, {cuts} cuts"));
        one_installation(Age::New, cuts, &mut dice, &mut tally, say)?;
        left -= cuts;
    }
    if aged > 0 {
        say(&format!("an installation aged to {} MiB on one replica, {aged} cuts", plan.aged_mib));
        one_installation(Age::Bytes(plan.aged_mib << 20), aged, &mut dice, &mut tally, say)?;
    }
    Ok(tally.table(plan))
}

fn one_installation(
    age: Age,
    cuts: usize,
    dice: &mut Dice,
    tally: &mut Tally,
    say: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let mut rig = Rig::start(age)?;
    for at in 0..cuts {
        let manner = if at % 2 == 0 { Manner::AllLost } else { Manner::SomeKept };
        let victim = rig.choose(dice);
        say(&format!("cut {}: {victim}, {manner:?}", tally.cuts() + 1));
        let cut = rig.cut(victim, manner, dice);
        tally.add(victim, manner, cut.map_err(|why| format!("{victim}, {manner:?}: {why}"))?);
    }
    say("judging what is left");
    tally.found(rig.judge()?);
    Ok(())
}

impl std::fmt::Display for Victim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Victim::Replica(at) => write!(f, "replica a{}", at + 1),
            Victim::Agent(at) => write!(f, "agent {}", rig::AGENTS[*at]),
            Victim::AllReplicas => f.write_str("all replicas"),
        }
    }
}
