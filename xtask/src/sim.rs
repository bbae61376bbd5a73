//! The deterministic simulator lives in the tests room; this starts it, as released: its oracle
//! checks invariants itself and needs no debug assertions.

use std::process::Command;

use crate::workspace::{Outcome, revision, run as run_command};

/// `args` go to the simulator as they are. A failure names the commit beside its seed.
pub fn run(args: &[String]) -> Outcome {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--locked", "--release"]);
    command.args(["--package", "proofmark-tests", "--bin", "sim", "--"]);
    command.env("PROOFMARK_COMMIT", revision("HEAD").unwrap_or_default());
    run_command(command.args(args))
}
