//! The oracle, from outside: what a run left is read by the program that auditors use.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::installation::{Installation, SETTLE, path};
use crate::{api, program, wait};

const STOPS_MAX: usize = 3;

/// What was found sound on every replica.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub leaves: u64,
    pub batches: u64,
    pub results: u64,
    /// Numbers of objectives that were served and recomputed.
    pub numbers: u64,
    pub root: String,
}

/// Waits until every replica has published all, stops them, and verifies each one's evidence under
/// `policy`: roots equal, each agent's results from 1 on, each once, at least to where it was told
/// (`told`: exclusive), and the numbers served those that the evidence gives.
///
/// # Errors
/// What does not hold, with the report that shows it.
pub fn judge(
    cluster: &mut Installation,
    policy: &Path,
    told: &BTreeMap<String, u64>,
) -> Result<Verdict, String> {
    all_published(cluster, told)?;
    let numbers = wait::hoped("numbers of the objectives", SETTLE, || {
        let numbers = cluster.json("/api/v1/slos")?;
        (!numbers.as_array()?.is_empty()).then_some(numbers)
    })?;
    let served = cluster.dir().join("served.json");
    std::fs::write(&served, numbers.to_string()).map_err(|why| why.to_string())?;
    verify_all(cluster, &["--policy", path(policy), "--served", path(&served)], told)
}

/// As [`judge`], where no objective is: the evidence alone.
///
/// # Errors
/// As [`judge`].
pub fn judge_evidence(
    cluster: &mut Installation,
    policy: &Path,
    told: &BTreeMap<String, u64>,
) -> Result<Verdict, String> {
    all_published(cluster, told)?;
    verify_all(cluster, &["--policy", path(policy)], told)
}

/// Replicas do not stop at one instant: the last of them may publish a leaf that the first never
/// saw. Then they are started once more.
fn verify_all(
    cluster: &mut Installation,
    flags: &[&str],
    told: &BTreeMap<String, u64>,
) -> Result<Verdict, String> {
    for _ in 0..STOPS_MAX {
        (0..cluster.replicas.len()).for_each(|at| cluster.stop_replica(at));
        let dirs = cluster.replicas.iter().map(|replica| replica.evidence_dir());
        let verdicts = dirs.map(|dir| {
            let report = verify(&dir, flags)?;
            hold_against(&report, told).map_err(|why| format!("{why}\n{report:#}"))
        });
        let verdicts = verdicts.collect::<Result<Vec<_>, _>>()?;
        let is_one = |of: fn(&Verdict, &Verdict) -> bool| {
            verdicts.windows(2).all(|pair| of(&pair[0], &pair[1]))
        };
        if is_one(|a, b| a.root == b.root) {
            return verdicts.into_iter().next().ok_or_else(|| "no replica".to_owned());
        }
        if is_one(|a, b| a.leaves == b.leaves) {
            return Err(format!("roots differ: {verdicts:?}"));
        }
        (0..cluster.replicas.len()).for_each(|at| cluster.start_replica(at));
        cluster.settled_roots();
    }
    Err("the replicas never stopped at one size".to_owned())
}

/// Every replica has what was acknowledged, and all is proven.
fn all_published(cluster: &Installation, told: &BTreeMap<String, u64>) -> Result<(), String> {
    for replica in &cluster.replicas {
        let what = format!("all that was acknowledged on {}", replica.name);
        wait::hoped(&what, SETTLE * 2, || {
            let agents = api::json(replica.http, "/api/v1/agents?consistency=stale")?;
            let agents = agents.as_array()?;
            let has = |(name, seq_end): (&String, &u64)| {
                let row = agents.iter().find(|row| row["name"] == name.as_str());
                row.is_some_and(|row| row["next_seq"].as_u64() >= Some(*seq_end))
            };
            told.iter().all(has).then_some(())
        })
        .map_err(|why| format!("{why}\n{}", cluster.logs()))?;
    }
    cluster.settled_roots();
    Ok(())
}

fn verify(dir: &Path, flags: &[&str]) -> Result<Value, String> {
    let output =
        program::run_newest(&[&["evidence", "verify", path(dir), "-o", "json"], flags].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => serde_json::from_slice(&output.stdout).map_err(|why| format!("{why}: {said}")),
        false => Err(format!("{}: {}: {said}", dir.display(), output.status)),
    }
}

fn hold_against(report: &Value, told: &BTreeMap<String, u64>) -> Result<Verdict, String> {
    let spans = report["agents"].as_array().ok_or("no agents")?;
    for span in spans {
        let is_whole = span["seq_first"] == 1 && span["results"] == span["seq_last"];
        is_whole.then_some(()).ok_or_else(|| format!("not each number once: {span}"))?;
    }
    for (agent, seq_end) in told.iter().filter(|(_, seq_end)| **seq_end > 1) {
        let span = spans.iter().find(|span| span["agent"] == agent.as_str());
        let last = span.and_then(|span| span["seq_last"].as_u64()).unwrap_or_default();
        if last + 1 < *seq_end {
            return Err(format!("{agent}: acknowledged below {seq_end}, in the log up to {last}"));
        }
    }
    let count = |value: &Value| value.as_u64().ok_or_else(|| format!("{value} is no number"));
    Ok(Verdict {
        leaves: count(&report["size"])?,
        batches: count(&report["batches"])?,
        results: count(&report["results"])?,
        numbers: count(&report["slo"]["compared"])?,
        root: report["root"].to_string(),
    })
}
