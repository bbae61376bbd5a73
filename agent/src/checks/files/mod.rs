//! `files`: every file of a tree, by its SHA-256.
//!
//! A tree is what its files say: contents and names, not times, owners or modes. A symbolic link
//! that is not followed counts as the path it holds; sockets and the like count as being there.
//! What could not be read whole is never reported as something it is not.

mod digests;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proofmark_evidence::{FailReason, MeasurementKind, UnknownReason};
use proofmark_spec::{FilesExpectation, FilesProbe};

use super::Tools;
use super::trace::{Finding, Phase, Trace, fail, unknown};
use crate::limits::CHANGED_NAMES_MAX;
use crate::spool::replace_file;
use digests::{Difference, Digests};
use walk::Tree;

pub(super) async fn run(
    check: &str,
    probe: &FilesProbe,
    tools: &Tools,
    trace: &mut Trace,
) -> Result<(), Finding> {
    trace.enter(Phase::Local);
    let baseline = tools.baselines_dir.as_ref().map(|dir| dir.join(check));
    let stop = StopOnDrop::default();
    let (probe_here, stopped) = (probe.clone(), stop.0.clone());
    let work = move || {
        let expected = open(&probe_here, baseline.as_deref())?;
        Ok((expected, walk::read(&probe_here, &stopped)?))
    };
    // Reading blocks; when the time is up, the flag ends the work at its next chunk.
    let joined = tokio::task::spawn_blocking(work).await;
    let read: Result<_, Finding> =
        joined.map_err(|error| unknown(UnknownReason::AgentFault, error.to_string()))?;
    let (expected, tree) = read?;
    trace.count(MeasurementKind::FilesCount, tree.digests.len() as u64);
    trace.count(MeasurementKind::FilesBytes, tree.bytes);
    match expected {
        Expected::Known { digests, otherwise } => judge(probe, &digests, &tree, otherwise, trace),
        Expected::FirstRun { baseline } => keep(&baseline, probe, &tree),
    }
}

/// What the tree is held to.
enum Expected {
    Known {
        digests: Digests,
        /// What it means when a file has another digest.
        otherwise: FailReason,
    },
    FirstRun {
        baseline: PathBuf,
    },
}

#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn open(probe: &FilesProbe, baseline: Option<&Path>) -> Result<Expected, Finding> {
    let otherwise = FailReason::DigestMismatch;
    match &probe.expectation {
        FilesExpectation::Digests(digests) => {
            Ok(Expected::Known { digests: Digests::of(digests), otherwise })
        }
        FilesExpectation::Manifest(path) => {
            let digests = Digests::read_manifest(Path::new(path))?;
            Ok(Expected::Known { digests, otherwise })
        }
        FilesExpectation::Baseline => {
            let none = "no data directory to keep a baseline in";
            let path = baseline.ok_or_else(|| unknown(UnknownReason::AgentFault, none))?;
            open_baseline(probe, path)
        }
    }
}

fn open_baseline(probe: &FilesProbe, path: &Path) -> Result<Expected, Finding> {
    match Digests::read_baseline(path, &scope(probe))? {
        Some(digests) => Ok(Expected::Known { digests, otherwise: FailReason::FileChanged }),
        None => Ok(Expected::FirstRun { baseline: path.to_path_buf() }),
    }
}

/// What a baseline is about. A spec that looks at other files starts with another baseline.
fn scope(probe: &FilesProbe) -> String {
    format!("{:?} {:?} {:?} {}", probe.path, probe.include, probe.exclude, probe.follow_symlinks)
}

fn keep(baseline: &Path, probe: &FilesProbe, tree: &Tree) -> Result<(), Finding> {
    let bytes = tree.digests.to_baseline(&scope(probe));
    let fault = |what: String| unknown(UnknownReason::AgentFault, format!("baseline: {what}"));
    if let Some(dir) = baseline.parent() {
        std::fs::create_dir_all(dir).map_err(|error| fault(error.to_string()))?;
    }
    replace_file(baseline, bytes.as_bytes()).map_err(|error| fault(error.to_string()))?;
    // A crash here leaves the baseline and no result; the next run compares with it.
    tracing::info!(path = %probe.path, files = tree.digests.len(), "baseline taken");
    Ok(())
}

fn judge(
    probe: &FilesProbe,
    expected: &Digests,
    tree: &Tree,
    otherwise: FailReason,
    trace: &mut Trace,
) -> Result<(), Finding> {
    let difference = expected.covered_by(probe).compare(&tree.digests);
    trace.count(MeasurementKind::FilesChangedCount, difference.count() as u64);
    let reason = match &difference {
        Difference { changed, .. } if !changed.is_empty() => otherwise,
        Difference { missing, .. } if !missing.is_empty() => FailReason::FileMissing,
        Difference { unexpected, .. } if !unexpected.is_empty() => FailReason::FileUnexpected,
        _ => return Ok(()),
    };
    Err(fail(reason, describe(&difference)))
}

/// Counts and the first few names, such as `2 changed (a, b), 1 missing (c)`.
fn describe(difference: &Difference) -> String {
    let Difference { changed, missing, unexpected } = difference;
    let parts = [("changed", changed), ("missing", missing), ("unexpected", unexpected)];
    let told = parts.into_iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| {
        let few = names.iter().take(CHANGED_NAMES_MAX).map(String::as_str).collect::<Vec<_>>();
        let more = if names.len() > few.len() { ", .." } else { "" };
        format!("{} {what} ({}{more})", names.len(), few.join(", "))
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
