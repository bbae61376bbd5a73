//! Writes `tests/golden/data-N`: directories of today's formats, to be opened by tests for ever.
//!
//! To be called once whenever a stored format changed, at the commit that is released with it.

use std::process::Command;

use crate::workspace::{Outcome, cargo, revision, root, run as run_command, target};

const USAGE: &str = "cargo xtask golden-data N [PROOFMARK REVISION]: writes tests/golden/data-N \
                     with this checkout's program, or with another one and what to call it";

/// `args`: the number, and perhaps another program and the revision that it was built from.
pub fn run(args: &[String]) -> Outcome {
    let (number, program, revision) = match args {
        [number] => (number, target().join("debug").join("proofmark"), revision("HEAD")?),
        [number, program, revision] => (number, program.into(), revision.clone()),
        _ => return Err(USAGE.to_owned()),
    };
    let number: u32 = number.parse().map_err(|_| USAGE.to_owned())?;
    let into = root().join("tests/golden").join(format!("data-{number}"));
    if into.exists() {
        return Err(format!("{}: released, never written again: take the next N", into.display()));
    }
    cargo(&["build", "--locked", "--bin", "proofmark"])?;
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(["run", "--quiet", "--locked", "--package", "proofmark-tests"]);
    command.args(["--bin", "golden-data", "--"]).arg(&into).arg(revision);
    run_command(command.env("PROOFMARK_BIN", program))
}
