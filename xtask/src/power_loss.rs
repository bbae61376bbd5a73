//! Power cuts live in the tests room; this builds the real program and starts them on it.

use std::process::Command;

use crate::workspace::{Outcome, cargo, run as run_command, target};

/// `args` go to the bin `power-loss` as they are.
pub fn run(args: &[String]) -> Outcome {
    run_nemesis("power-loss", args)
}

/// Builds the program and a bin of the tests room, and runs the bin on it. The debug build: its
/// assertions watch too, and nothing here is a figure of speed.
pub fn run_nemesis(bin: &str, args: &[String]) -> Outcome {
    cargo(&["build", "--locked", "--quiet", "--bin", "proofmark"])?;
    cargo(&["build", "--locked", "--quiet", "--package", "proofmark-tests", "--bin", bin])?;
    let built = target().join("debug");
    let mut command = Command::new(built.join(bin));
    run_command(command.env("PROOFMARK_BIN", built.join("proofmark")).args(args))
}
