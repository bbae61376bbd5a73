//! Where the checkout is, and how a step runs a command in it.

use std::path::{Path, PathBuf};
use std::process::Command;

pub type Outcome = Result<(), String>;

/// The root of the checkout: the folder above this crate.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("a crate folder lies in the workspace").to_owned()
}

/// Where cargo puts what it builds, also when the environment moves it.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `cargo ARGS` in the checkout's root.
pub fn cargo(args: &[&str]) -> Outcome {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    run(Command::new(cargo).args(args))
}

/// The short name of a commit; an error where there is no history.
pub fn revision(name: &str) -> Result<String, String> {
    let mut command = Command::new("git");
    let output = command.args(["rev-parse", "--short", name]).current_dir(root()).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        _ => Err(format!("git rev-parse {name}: expected a commit of this checkout's history")),
    }
}

/// Runs a command to its end; a failure names the command and its exit.
pub fn run(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    let status = command.current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(why) => Err(format!("{shown}: could not start: {why}")),
    }
}
