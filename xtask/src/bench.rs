//! Benchmarks live in the tests room; this starts them, as released.

use std::process::Command;

use crate::workspace::{Outcome, cargo, run as run_command, target};

const NAMES: [&str; 4] = ["ingest", "failover", "idle", "overload"];

/// `args`: the benchmark's name first, then its flags.
pub fn run(args: &[String]) -> Outcome {
    let Some(name) = args.first().filter(|name| NAMES.contains(&name.as_str())) else {
        return Err("cargo xtask bench ingest|failover|idle|overload [flags]; `--help` lists them"
            .to_owned());
    };
    for (package, bin) in [("proofmark-cli", "proofmark"), ("proofmark-tests", "bench")] {
        cargo(&["build", "--release", "--locked", "--package", package, "--bin", bin])?;
    }
    // Replicas write beside the build: the system's temporary folder may be memory, which costs
    // no flush anything.
    let data = target().join("bench");
    std::fs::create_dir_all(&data).map_err(|why| format!("{}: {why}", data.display()))?;
    let released = target().join("release");
    let mut command = Command::new(released.join("bench"));
    command.env("PROOFMARK_BIN", released.join("proofmark")).env("TMPDIR", &data).arg(name);
    run_command(command.args(&args[1..]))
}
