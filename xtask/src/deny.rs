//! The dependency rules, read from cargo's own resolution: one version of each crate that must be
//! single, nothing banned in the tree, and our crates' edges as ARCHITECTURE.md draws them under
//! "Rooms".
//!
//! `deny.toml` holds the same bans plus licences and advisories for `cargo deny`; that program is
//! run too where it is installed, and its absence is said.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::workspace::{Outcome, cargo, root};

/// A second version of one of these is a second implementation of a security boundary.
const SINGLE: &[&str] =
    &["rustls", "tokio-rustls", "hyper", "h2", "http", "prost", "tonic", "ring"];

/// Outside the workspace, and under the same rules.
const FUZZ: &str = "fuzz/Cargo.toml";

/// Name, and why it must not be in the tree.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "a system library that a fresh machine lacks; rustls with ring instead"),
    ("native-tls", "same as openssl-sys"),
    ("aws-lc-rs", "a second crypto provider; ring is the only one"),
    ("aws-lc-sys", "a second crypto provider, and needs cmake"),
    ("serde_yaml", "unmaintained; serde-saphyr instead"),
    ("rsa", "RUSTSEC-2023-0071"),
];

/// Each of our crates, and which of our crates it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("proofmark-evidence", &[]),
    ("proofmark-spec", &[]),
    ("proofmark-proto", &[]),
    ("proofmark-slo", &["proofmark-evidence", "proofmark-spec"]),
    ("proofmark-agent", &["proofmark-evidence", "proofmark-spec", "proofmark-proto"]),
    (
        "proofmark-aggregator",
        &["proofmark-evidence", "proofmark-spec", "proofmark-slo", "proofmark-proto"],
    ),
];

pub fn run() -> Outcome {
    let metadata = metadata("Cargo.toml", &["--locked"])?;
    let mut faults = versions(&metadata);
    faults.extend(edges(&metadata));
    // Its lock follows the workspace's dependencies; nothing else holds it.
    faults.extend(versions(&self::metadata(FUZZ, &[])?));
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    run_cargo_deny()
}

fn run_cargo_deny() -> Outcome {
    let installed = Command::new("cargo-deny").arg("--version").output().is_ok();
    if !installed {
        println!("deny: cargo-deny is not installed here: licences and sources not checked");
        return Ok(());
    }
    let quiet = ["--hide-inclusion-graph", "--allow", "duplicate"];
    let checks = ["bans", "licenses", "sources"];
    let deny = ["deny", "--workspace", "--all-features", "check"];
    cargo(&[&deny, &quiet[..], &checks[..]].concat())?;
    let fuzz = ["deny", "--manifest-path", FUZZ, "check"];
    cargo(&[&fuzz, &quiet[..], &checks[..]].concat())?;
    advisories()
}

/// The database is fetched anew; a machine that cannot reach it says so, which is no fault.
fn advisories() -> Outcome {
    let args = ["deny", "--workspace", "--all-features", "check", "advisories"];
    let output = Command::new("cargo").args(args).current_dir(root()).output();
    let output = output.map_err(|why| format!("cargo deny: {why}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false if said.contains("failed to fetch advisory database") => {
            println!("deny: advisories NOT checked: their database does not answer here");
            Ok(())
        }
        false => Err(said.into_owned()),
    }
}

fn metadata(manifest: &str, more: &[&str]) -> Result<Value, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let args = ["metadata", "--format-version", "1", "--manifest-path", manifest];
    let output = Command::new(cargo).args(args).args(more).current_dir(root()).output();
    let output = output.map_err(|why| format!("cargo metadata: {why}"))?;
    serde_json::from_slice(&output.stdout).map_err(|why| format!("cargo metadata: {why}"))
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn versions(metadata: &Value) -> Vec<String> {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages(metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        seen.entry(name).or_default().insert(package["version"].as_str().unwrap_or_default());
    }
    let banned = BANNED.iter().filter(|(name, _)| seen.contains_key(name));
    let mut faults: Vec<String> =
        banned.map(|(name, why)| format!("deny: {name} is in the tree: {why}")).collect();
    for name in SINGLE {
        match seen.get(name).map(|versions| (versions.len(), versions)) {
            Some((1, _)) => {}
            Some((_, versions)) => {
                faults.push(format!("deny: {name} must be single, found {versions:?}"));
            }
            None => faults.push(format!("deny: {name} left the tree; drop it from the list")),
        }
    }
    faults
}

fn edges(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, allowed) in EDGES {
        let Some(package) = packages(metadata).find(|package| package["name"] == **name) else {
            faults.push(format!("deny: crate {name} is gone; ARCHITECTURE.md names it"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let ours = used.starts_with("proofmark-") && dependency["kind"] != "dev";
            if ours && !allowed.contains(&used) {
                faults
                    .push(format!("deny: {name} must not use {used} (ARCHITECTURE.md, \"Rooms\")"));
            }
        }
    }
    faults
}
