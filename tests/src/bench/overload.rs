//! What a cluster does when ten times as much is offered as it can take: it must go on at its peak,
//! tell the rest when to come back, answer in time what it takes, and lose nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::ledger::{self, Counts};
use super::load::{Enrolled, Load, Orders};
use super::memory::resident_bytes;
use super::plan::{Plan, Regime};
use super::{REPLICAS, series};
use crate::installation::Installation;
use crate::{api, wait};

/// Batches under way that saturate a cluster, and ten times as many.
const SATURATED: (usize, usize) = (64, 4);
const OVERLOADED: (usize, usize) = (320, 8);

/// Of the peak, in percent.
const KEPT_MIN: f64 = 90.0;
/// The 99th percentile from receipt to ack, in milliseconds.
const ACCEPTED_P99_MS_MAX: f64 = 250.0;
/// How much of its memory at the beginning of the measured time a cluster may add, in percent.
const GROWTH_MAX: f64 = 25.0;

/// One cluster under one load.
struct Found {
    batches_per_s: f64,
    busy_per_s: f64,
    /// The bound of the bucket that holds it, in milliseconds; none when it is the last.
    p99_ms: Option<f64>,
    resident_before: u64,
    resident_after: u64,
    verdict: String,
}

/// Measures both loads, each with a cluster of its own. The table is the result; a bound that does
/// not hold is an error with the same table.
pub fn overload(seconds: u64, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    let peak = run(SATURATED, seconds, say)?;
    let crowd = run(OVERLOADED, seconds, say)?;
    let kept = 100.0 * crowd.batches_per_s / peak.batches_per_s.max(1.0);
    let growth = 100.0 * (crowd.resident_after as f64 / crowd.resident_before as f64 - 1.0);
    let mut table = String::new();
    for (name, (agents, in_flight), found) in
        [("peak", SATURATED, &peak), ("overload", OVERLOADED, &crowd)]
    {
        let offered = agents * in_flight;
        let p99 = found.p99_ms.map_or("over 5000".to_owned(), |ms| format!("at most {ms:.0}"));
        let (before, after) = (found.resident_before >> 20, found.resident_after >> 20);
        let _ = writeln!(
            table,
            "{name:9} {offered:5} batches offered at once: {:8.0} accepted/s, {:8.0} busy/s, \
             accepted p99 {p99} ms, RSS of all {before} to {after} MiB; {}",
            found.batches_per_s, found.busy_per_s, found.verdict
        );
    }
    let p99_ms = crowd.p99_ms.unwrap_or(f64::INFINITY);
    let _ = writeln!(
        table,
        "kept {kept:.0} % of the peak (at least {KEPT_MIN:.0}); accepted p99 {p99_ms:.0} ms (at \
         most {ACCEPTED_P99_MS_MAX:.0}); memory {growth:+.0} % (at most {GROWTH_MAX:.0})"
    );
    let holds = kept >= KEPT_MIN && p99_ms <= ACCEPTED_P99_MS_MAX && growth <= GROWTH_MAX;
    if holds { Ok(table) } else { Err(format!("a bound does not hold\n{table}")) }
}

fn run(
    (agents, in_flight): (usize, usize),
    seconds: u64,
    say: &mut dyn FnMut(&str),
) -> Result<Found, String> {
    let plan = Plan { agents, in_flight, seconds, ..Plan::from(Regime::Fleet) };
    say(&format!("{agents} agents with {in_flight} batches each"));
    let mut cluster = Installation::start(REPLICAS);
    cluster.apply("load.yaml", &series::specs(&plan));
    let mut load = Enrolled::new(&cluster, &plan)?.connect(&plan)?;
    load.order(Orders::Flood);
    wait::let_pass(Duration::from_secs(plan.warm_up_s));
    let found = measure(&cluster, &mut load, seconds)?;
    say("waiting for the last acks, and verifying the log");
    let tally = load.stop().map_err(|why| format!("{why}\n{}", cluster.logs()))?;
    cluster.settled_roots();
    ledger::prove(&mut cluster, &tally)?;
    Ok(Found { verdict: "nothing lost, nothing doubled, roots equal".to_owned(), ..found })
}

fn measure(cluster: &Installation, load: &mut Load, seconds: u64) -> Result<Found, String> {
    load.check()?;
    let (counts, buckets) = (Counts::of(cluster)?, Buckets::of(cluster)?);
    let resident_before = resident(cluster)?;
    let started_us = load.clock().now_us();
    wait::let_pass(Duration::from_secs(seconds));
    let elapsed_s = (load.clock().now_us() - started_us) as f64 / 1e6;
    let after = Counts::of(cluster)?;
    load.check()?;
    Ok(Found {
        batches_per_s: after.accepted_since(&counts) as f64 / elapsed_s,
        busy_per_s: after.busy_since(&counts) as f64 / elapsed_s,
        p99_ms: Buckets::of(cluster)?.p99_ms_since(&buckets),
        resident_before,
        resident_after: resident(cluster)?,
        verdict: String::new(),
    })
}

fn resident(cluster: &Installation) -> Result<u64, String> {
    cluster.replicas.iter().map(|replica| resident_bytes(replica.pid())).sum()
}

/// `proofmark_ingest_accepted_seconds` of all replicas: batches by the bound they stayed within, in
/// microseconds.
struct Buckets(BTreeMap<u64, u64>);

impl Buckets {
    fn of(cluster: &Installation) -> Result<Buckets, String> {
        let mut sums = BTreeMap::new();
        for replica in &cluster.replicas {
            let (_, text) = api::get(replica.http, "/metrics").ok_or("no metrics")?;
            for (bound_us, count) in String::from_utf8_lossy(&text).lines().filter_map(bucket) {
                *sums.entry(bound_us).or_default() += count;
            }
        }
        Ok(Buckets(sums))
    }

    /// None when it lies beyond the last bound.
    fn p99_ms_since(&self, before: &Buckets) -> Option<f64> {
        let since = |bound: &u64, count: u64| count - before.0.get(bound).copied().unwrap_or(0);
        let all = self.0.iter().map(|(bound, count)| since(bound, *count)).max()?;
        let within = |(bound, count): &(&u64, &u64)| since(bound, **count) * 100 >= all * 99;
        let bound_us = self.0.iter().find(within).map(|(bound, _)| *bound)?;
        (bound_us < u64::MAX).then_some(bound_us as f64 / 1e3)
    }
}

/// Bound and cumulative count of one line of the histogram.
fn bucket(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("proofmark_ingest_accepted_seconds_bucket{le=\"")?;
    let (bound, count) = rest.split_once("\"} ")?;
    let bound_us = match bound {
        "+Inf" => u64::MAX,
        bound => (bound.parse::<f64>().ok()? * 1e6) as u64,
    };
    Some((bound_us, count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_bound_of_its_bucket() {
        let lines = ["0.05\"} 10", "0.1\"} 99", "+Inf\"} 100"];
        let name = "proofmark_ingest_accepted_seconds_bucket{le=\"";
        let counts = lines.iter().filter_map(|line| bucket(&format!("{name}{line}"))).collect();
        let none = Buckets(BTreeMap::new());
        assert_eq!(Buckets(counts).p99_ms_since(&none), Some(100.0));
        assert_eq!(bucket("proofmark_other 1"), None);
    }
}
