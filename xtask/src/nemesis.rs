//! Chaos and power cuts live in the tests room; this builds the real program and lets them at it.

use std::process::Command;

use crate::workspace::{Outcome, cargo, run as run_command, target};

/// `args` go to the bin `chaos` as they are.
pub fn chaos(args: &[String]) -> Outcome {
    run("chaos", args)
}

/// `args` go to the bin `power-loss` as they are.
pub fn power_loss(args: &[String]) -> Outcome {
    run("power-loss", args)
}

/// The debug build: its assertions watch too, and nothing here is a figure of speed.
fn run(bin: &str, args: &[String]) -> Outcome {
    cargo(&["build", "--locked", "--quiet", "--bin", "proofmark"])?;
    cargo(&["build", "--locked", "--quiet", "--package", "proofmark-tests", "--bin", bin])?;
    let built = target().join("debug");
    let mut command = Command::new(built.join(bin));
    run_command(command.env("PROOFMARK_BIN", built.join("proofmark")).args(args))
}
