//! What a test may need of the machine. Where it is missing the test says `SKIPPED`; with `CI=true`
//! in the environment that is a failure.

#![expect(clippy::print_stdout, reason = "a skipped test says so where its result is read")]

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether a disk that loses power can be mounted here.
///
/// # Errors
/// What is missing.
pub fn lossy_disk() -> Result<(), String> {
    root()?;
    match Path::new("/dev/fuse").exists() {
        true => Ok(()),
        false => Err("/dev/fuse is missing".to_owned()),
    }
}

/// Whether network namespaces can be made and cut here.
///
/// # Errors
/// What is missing.
pub fn namespaces() -> Result<(), String> {
    root()?;
    let needed = [
        ("ip", "-V", "iproute2"),
        ("nft", "--version", "nftables"),
        ("faketime", "--version", "faketime"),
    ];
    for (program, version, package) in needed {
        let found = Command::new(program).arg(version).stdout(Stdio::null()).status();
        found.map_err(|why| format!("`{program}` (Debian package {package}): {why}"))?;
    }
    Ok(())
}

/// Says that `what` was left out, or fails where nothing may be left out.
pub fn skip<T>(what: &str, why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{what}: {why}");
    println!("{what}: SKIPPED: {why}");
    None
}

fn root() -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    match uids.split_whitespace().nth(1) {
        Some("0") => Ok(()),
        _ => Err("this needs root".to_owned()),
    }
}
