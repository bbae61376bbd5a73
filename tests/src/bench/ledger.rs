//! What the cluster says it did, and the proof: its log, verified by the program that strangers
//! run, holds exactly what was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::load::Tally;
use crate::installation::{Installation, SETTLE, path};
use crate::{api, program, wait};

/// What the replicas counted since their start, summed over them: batches by how they were
/// answered, and the Raft log's entries and flushes.
pub(super) struct Counts(BTreeMap<String, u64>);

const BATCHES: &str = "proofmark_ingest_total{event=\"batch\",slug=\"";
/// Names of answers that ask the agent to come again, whatever was full or unsure.
const BUSY: [&str; 6] = [
    "ingest_full",
    "consensus_full",
    "no_leader",
    "leader_changed",
    "unknown_agent",
    "shutting_down",
];
const BUSY_PREFIX: &str = "Busy, ";
/// Metrics without labels that tell how much was packed together.
const RAFT: [(&str, &str); 3] = [
    ("proofmark_raft_commands_proposed_total", "raft: commands proposed"),
    ("proofmark_raft_entries_proposed_total", "raft: entries they were packed into"),
    ("proofmark_raft_log_flushes_total", "raft: flushes of all three logs"),
];

impl Counts {
    pub(super) fn of(cluster: &Installation) -> Result<Counts, String> {
        let mut counts = BTreeMap::new();
        for replica in &cluster.replicas {
            let page = api::get(replica.http, "/metrics");
            let (_, body) = page.ok_or_else(|| format!("{}: no metrics", replica.name))?;
            for (what, count) in String::from_utf8_lossy(&body).lines().filter_map(parse) {
                *counts.entry(what).or_default() += count;
            }
        }
        Ok(Counts(counts))
    }

    /// What came since `before`.
    pub(super) fn since<'a>(&'a self, before: &Counts) -> BTreeMap<&'a str, u64> {
        let new = |(what, count): (&'a String, &u64)| {
            let earlier = before.0.get(what).copied().unwrap_or(0);
            (what.as_str(), count.saturating_sub(earlier))
        };
        self.0.iter().map(new).filter(|(_, count)| *count > 0).collect()
    }

    /// Batches since `before` that were accepted.
    pub(super) fn accepted_since(&self, before: &Counts) -> u64 {
        self.since(before).get("answers: accepted").copied().unwrap_or(0)
    }

    /// Answers since `before` that asked an agent to come again.
    pub(super) fn busy_since(&self, before: &Counts) -> u64 {
        let rows = self.since(before).into_iter();
        rows.filter(|(what, _)| what.contains(BUSY_PREFIX)).map(|(_, count)| count).sum()
    }
}

/// One line of the metrics page, if it is one that the table shows.
fn parse(line: &str) -> Option<(String, u64)> {
    let (name, count) = line.rsplit_once(' ')?;
    let count = count.parse().ok()?;
    if let Some(slug) = name.strip_prefix(BATCHES) {
        let slug = slug.strip_suffix("\"}")?;
        let busy = if BUSY.contains(&slug) { BUSY_PREFIX } else { "" };
        return Some((format!("answers: {busy}{slug}"), count));
    }
    let (_, shown) = RAFT.iter().find(|(metric, _)| *metric == name)?;
    Some(((*shown).to_owned(), count))
}

/// What `evidence verify` found.
pub(super) struct Proof {
    pub(super) leaves: u64,
    pub(super) batches: u64,
    pub(super) results: u64,
    pub(super) acknowledged: u64,
    pub(super) slo_reports: u64,
    pub(super) cosigners: usize,
}

/// Waits until all is published and all roots are equal, stops the cluster, verifies one replica's
/// log and holds it against what every agent was told.
pub(super) fn prove(cluster: &mut Installation, tallies: &[Tally]) -> Result<Proof, String> {
    for replica in &cluster.replicas {
        let what = format!("every acknowledged result on {}", replica.name);
        wait::until(&what, SETTLE, || has_all(replica.http, tallies));
    }
    cluster.settled_roots();
    for at in 0..cluster.replicas.len() {
        cluster.stop_replica(at);
    }
    let dir = cluster.replicas[0].evidence_dir();
    let (log, policy) = (path(&dir), dir.join("policy"));
    let args = ["evidence", "verify", log, "--policy", path(&policy), "-o", "json"];
    let output = program::run(&args);
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|why| {
        format!("evidence verify: {why}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    if !output.status.success() {
        return Err(format!("evidence verify: {}: {report:#}", output.status));
    }
    let agents = report["agents"].as_array().ok_or("evidence verify names no agents")?;
    tallies.iter().try_for_each(|tally| check_agent(tally, agents))?;
    let acknowledged = tallies.iter().map(|tally| tally.seq_end - 1).sum();
    let results = number(&report["results"])?;
    if results != acknowledged || agents.len() != tallies.len() {
        return Err(format!("the log holds {results} results, acknowledged were {acknowledged}"));
    }
    Ok(Proof {
        leaves: number(&report["size"])?,
        batches: number(&report["batches"])?,
        results,
        acknowledged,
        slo_reports: number(&report["slo"]["compared"])?,
        cosigners: report["cosigners"].as_array().map_or(0, Vec::len),
    })
}

/// Whether a replica shows every agent where it was acknowledged. Views lag by up to a second, and
/// the log's size is of the same view: before this it may look settled at an older size.
fn has_all(http: SocketAddr, tallies: &[Tally]) -> Option<()> {
    let agents = api::json(http, "/api/v1/agents")?;
    let agents = agents.as_array()?;
    let has = |tally: &Tally| {
        let row = agents.iter().find(|row| row["name"] == tally.agent.as_str());
        row.is_some_and(|row| row["next_seq"] == tally.seq_end)
    };
    tallies.iter().all(has).then_some(())
}

/// From 1 to the last acknowledged, each number once: neither lost nor doubled nor unasked for.
fn check_agent(tally: &Tally, agents: &[Value]) -> Result<(), String> {
    let span = agents.iter().find(|span| span["agent"] == tally.agent.as_str());
    let span = span.ok_or_else(|| format!("{}: not in the log", tally.agent))?;
    let last = tally.seq_end - 1;
    let is_whole = number(&span["seq_first"])? == 1
        && number(&span["seq_last"])? == last
        && number(&span["results"])? == last;
    match is_whole {
        true => Ok(()),
        false => Err(format!("{}: acknowledged 1 to {last}, in the log {span}", tally.agent)),
    }
}

fn number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("evidence verify: expected a number, got {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_metrics_page() {
        let check = |line, expect: Option<(&str, u64)>| {
            assert_eq!(parse(line), expect.map(|(what, count)| (what.to_owned(), count)));
        };
        let busy = "proofmark_ingest_total{event=\"batch\",slug=\"ingest_full\"} 12";
        check(busy, Some(("answers: Busy, ingest_full", 12)));
        let accepted = "proofmark_ingest_total{event=\"batch\",slug=\"accepted\"} 3";
        check(accepted, Some(("answers: accepted", 3)));
        check("proofmark_ingest_total{event=\"rpc\",slug=\"idle\"} 1", None);
        let flushes = "proofmark_raft_log_flushes_total 7";
        check(flushes, Some(("raft: flushes of all three logs", 7)));
        check("# TYPE proofmark_ingest counter", None);
        check("proofmark_log_leaves 4", None);
    }
}
