//! The list that CI runs and that a person can run before a push: the same list.

use std::time::Duration;

use crate::workspace::{Outcome, cargo};
use crate::{deny, nemesis, sim, stranger, test, tidy};

/// Seeds of the fixed simulator set: the same on every run, so that a red build repeats. Those that
/// once failed are run by the tests besides. Fresh ones (`cargo xtask sim --minutes 5`) follow once
/// some ten thousand of them have held in a row.
const SIM_SEEDS: &str = "220";

/// Power cuts of new installations; the nightly form ages some first.
const POWER_CUTS: &str = "10";

/// The nightly form takes ten, and another seed each night; this one once found a fault.
const CHAOS: [&str; 4] = ["--minutes", "2", "--seed", "498796179"];

type Step = (&'static str, fn() -> Outcome);

const STEPS: &[Step] = &[
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("lints", lints),
    ("tidy", tidy::run),
    ("deny", deny::run),
    ("tests", || test::run(&[])),
    ("sim", || sim::run(&["--seed", "1", "--seeds", SIM_SEEDS].map(str::to_owned))),
    ("sim-planted", || sim::run(&["--planted".to_owned()])),
    ("power-loss", || {
        nemesis::power_loss(&["--cuts", POWER_CUTS, "--aged-mib", "0"].map(str::to_owned))
    }),
    ("chaos", || nemesis::chaos(&CHAOS.map(str::to_owned))),
    ("stranger", stranger::run),
];

/// Runs every step in order and stops at the first that fails.
pub fn run() -> Outcome {
    for (name, step) in STEPS {
        println!("=== {name}");
        let (outcome, took) = timed(step);
        outcome.map_err(|why| format!("=== {name} FAILED after {took:?}\n{why}"))?;
        println!("=== {name} ok in {took:.1?}");
    }
    Ok(())
}

fn lints() -> Outcome {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ])
}

#[expect(clippy::disallowed_methods, reason = "a step's duration is for the reader only")]
fn timed(step: &dyn Fn() -> Outcome) -> (Outcome, Duration) {
    let started = std::time::Instant::now();
    let outcome = step();
    (outcome, started.elapsed())
}
