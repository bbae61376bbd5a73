//! Unknown grows only where the nemesis explains it.

use proofmark_slo::ENROL_LEAD_MS;
use proofmark_spec::Grid;
use serde_json::Value;

use super::fleet::{AGENTS, CHECKS, Fleet};
use crate::installation::SETTLE;
use crate::{api, wait, workload};

/// A process that starts takes so long to do its checks again.
const START_MS: u64 = 8_000;
const INTERVAL_MS: u64 = 1_000;

/// A time in which an agent could not do or keep its checks.
pub(super) struct Gap {
    pub(super) agent: usize,
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
}

/// The silence of each agent at some instant.
pub(super) struct Silence(Vec<u64>);

impl Silence {
    /// Waits until everything is heard up to an instant after `after_ms`, and takes each agent's
    /// count of runs that nothing was heard of. All that was due must be counted, as something.
    pub(super) fn take(fleet: &Fleet, after_ms: u64) -> Result<Silence, String> {
        let of = |agent: &&str| {
            let slo = wait::hoped(&format!("all of {agent} to be heard"), SETTLE * 3, || {
                whole(fleet, agent, after_ms)
            })?;
            let (got, expected) = (counted(&slo), expected(fleet, agent, &slo).ok_or("no agents")?);
            match got == expected {
                true => Ok(silent(&slo)),
                false => {
                    Err(format!("{agent}: {expected} runs were due, counted are {got}: {slo}"))
                }
            }
        };
        AGENTS.iter().map(of).collect::<Result<_, _>>().map(Silence)
    }

    /// How much may be silent beyond `before`: what was due in the gaps of each agent.
    pub(super) fn check_since(&self, before: &Silence, gaps: &[Gap]) -> Result<String, String> {
        let mut text = "agent   silent before  now  explained at most\n".to_owned();
        for (at, agent) in AGENTS.iter().enumerate() {
            let gaps = gaps.iter().filter(|gap| gap.agent == at);
            let explained: u64 = gaps.map(|gap| due(agent, gap)).sum();
            let (earlier, now) = (before.0[at], self.0[at]);
            text += &format!("{agent:<7} {earlier:>13}  {now:>3}  {explained:>17}\n");
            if now > earlier + explained {
                return Err(format!("{text}{agent} is silent without a reason"));
            }
        }
        Ok(text)
    }
}

fn due(agent: &str, gap: &Gap) -> u64 {
    let until_ms = gap.until_ms + START_MS;
    grids(agent).map(|grid| grid.count_between(gap.from_ms - INTERVAL_MS, until_ms)).sum()
}

fn grids(agent: &str) -> impl Iterator<Item = Grid> {
    (0..CHECKS).map(move |at| Grid::of(&workload::check_name(at), agent, INTERVAL_MS))
}

/// The agent's objective, as of an instant after `after_ms` up to which every check was heard.
fn whole(fleet: &Fleet, agent: &str, after_ms: u64) -> Option<Value> {
    let replica = fleet.cluster.replicas.first()?;
    let checks = api::json(replica.http, "/api/v1/checks")?;
    let rows = checks.as_array()?.iter().filter(|row| row["agent"] == agent);
    let heard_ms = rows.map(|row| row["scheduled_at_ms"].as_u64()).min()??;
    let slo = api::json(replica.http, &format!("/api/v1/slos/{agent}"))?;
    let as_of_ms = slo["as_of_ms"].as_u64()?;
    let is_whole = counted(&slo) > 0 && (after_ms + 1..=heard_ms).contains(&as_of_ms);
    is_whole.then_some(slo)
}

fn counted(slo: &Value) -> u64 {
    ["good", "bad", "unknown"].iter().filter_map(|name| slo[name].as_u64()).sum()
}

fn silent(slo: &Value) -> u64 {
    let causes = slo["unknown_causes"].as_array().into_iter().flatten();
    causes
        .filter(|cause| cause["reason"] == "silent")
        .filter_map(|cause| cause["count"].as_u64())
        .sum()
}

/// What the grids expect of an agent until the objective's instant.
fn expected(fleet: &Fleet, agent: &str, slo: &Value) -> Option<u64> {
    let agents = fleet.cluster.json("/api/v1/agents")?;
    let row = agents.as_array()?.iter().find(|row| row["name"] == agent)?.clone();
    let from_ms = row["enrolled_at_ms"].as_u64()? + ENROL_LEAD_MS;
    let as_of_ms = slo["as_of_ms"].as_u64()?;
    Some(grids(agent).map(|grid| grid.count_between(from_ms, as_of_ms)).sum())
}
