//! Chaos and power cuts live in the tests room; this builds the real program and lets them at it.

use std::path::PathBuf;
use std::process::Command;

use crate::workspace::{Outcome, cargo, run as run_command, target};

/// `args` go to the bin `chaos` as they are, but for `--upgrade-from REV`: then everything begins
/// as the build of that commit, and is upgraded under way.
pub fn chaos(args: &[String]) -> Outcome {
    let Some(at) = args.iter().position(|arg| arg == "--upgrade-from") else {
        return run("chaos", args, None);
    };
    let revision = args.get(at + 1).ok_or("--upgrade-from REV")?;
    let older = build_of(revision)?;
    run("chaos", &[&args[..at], &args[at + 2..]].concat(), Some(older))
}

/// `args` go to the bin `power-loss` as they are.
pub fn power_loss(args: &[String]) -> Outcome {
    run("power-loss", args, None)
}

/// The program as it was at a commit, built beside this build.
fn build_of(revision: &str) -> Result<PathBuf, String> {
    let (tree, build) = (target().join("upgrade/tree"), target().join("upgrade/build"));
    let mut git = Command::new("git");
    match tree.exists() {
        true => git.arg("-C").arg(&tree).args(["checkout", "--quiet", "--detach", revision]),
        false => {
            let add = ["worktree", "add", "--quiet", "--force", "--detach"];
            git.args(add).arg(&tree).arg(revision)
        }
    };
    run_command(&mut git)?;
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.args(["build", "--locked", "--quiet", "--bin", "proofmark", "--manifest-path"]);
    run_command(cargo.arg(tree.join("Cargo.toml")).env("CARGO_TARGET_DIR", &build))?;
    Ok(build.join("debug").join("proofmark"))
}

/// The debug build: its assertions watch too, and nothing here is a figure of speed.
fn run(bin: &str, args: &[String], older: Option<PathBuf>) -> Outcome {
    cargo(&["build", "--locked", "--quiet", "--bin", "proofmark"])?;
    cargo(&["build", "--locked", "--quiet", "--package", "proofmark-tests", "--bin", bin])?;
    let built = target().join("debug");
    let mut command = Command::new(built.join(bin));
    let newest = built.join("proofmark");
    match older {
        Some(older) => command.env("PROOFMARK_BIN", older).env("PROOFMARK_NEW_BIN", newest),
        None => command.env("PROOFMARK_BIN", newest),
    };
    run_command(command.args(args))
}
