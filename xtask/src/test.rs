//! Every test of the workspace. The whole-system ones start the real binary, so it is built first.

use std::process::Command;

use crate::workspace::{Outcome, cargo, run as run_command, target};

/// `args` go to `cargo test` as they are, e.g. `-p proofmark-slo` or a test's name.
pub fn run(args: &[String]) -> Outcome {
    cargo(&["build", "--locked", "--bin", "proofmark"])?;
    let program = target().join("debug").join("proofmark");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--locked"]).env("PROOFMARK_BIN", program);
    if !args.iter().any(|arg| arg == "-p" || arg == "--package") {
        command.arg("--workspace");
    }
    run_command(command.args(args))
}
