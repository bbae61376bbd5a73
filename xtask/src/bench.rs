//! Benchmarks live in the tests room; this starts them, as released.

use std::process::Command;

use crate::workspace::{Outcome, cargo, run as run_command, target};

/// `args`: the benchmark's name first (`ingest`), then its flags.
pub fn run(args: &[String]) -> Outcome {
    let Some(name) = args.first().filter(|name| *name == "ingest") else {
        return Err("cargo xtask bench ingest [--seconds N] [--agents N]".to_owned());
    };
    cargo(&["build", "--release", "--locked", "--bin", "proofmark"])?;
    cargo(&["build", "--release", "--locked", "--package", "proofmark-tests", "--bin", "bench"])?;
    let released = target().join("release");
    let mut command = Command::new(released.join("bench"));
    command.env("PROOFMARK_BIN", released.join("proofmark")).arg(name);
    run_command(command.args(&args[1..]))
}
