//! `bench failover`: how long nobody's writes are accepted when the leader is killed under load,
//! beside etcd's.
//!
//! A kill's time ends with the first write that was begun after it and acknowledged. Ours are the
//! agents' batches, with the waits that agents keep; etcd's are puts begun every few milliseconds
//! at both survivors.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::task::JoinSet;

use super::clock::Clock;
use super::etcd::{self, Etcd, NODES};
use super::ledger;
use super::load::{Enrolled, Load, Orders, Tally};
use super::plan::{Plan, Regime};
use super::report::percentile;
use super::{REPLICAS, series};
use crate::installation::Installation;
use crate::wait;

/// Between a killed node's return and the next kill: it catches up.
const RECOVERED: Duration = Duration::from_secs(3);
/// Longer than any failover: a new leader is up and has accepted.
const FAILED_OVER: Duration = Duration::from_secs(4);
/// One put of etcd's every so often at each survivor.
const PROBE: Duration = Duration::from_millis(5);

/// A fleet that sends a few thousand batches a second between its agents.
fn plan() -> Plan {
    Plan { agents: 100, checks: 100, backlog_s: 11, in_flight: 1, ..Plan::from(Regime::Fleet) }
}

/// One batch of each agent every 50 ms: about 2,000 a second.
const PACE: Orders = Orders::Pace(50_000);

/// Kills the leader `kills` times. The table is the result.
pub fn failover(kills: u64, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    let ours = ours(kills, say)?;
    let etcd = etcds(kills, say)?;
    let mut text = format!("bench failover: leader killed under load, {kills} times\n");
    write(&mut text, "proofmark", &ours.outages_us);
    let _ = writeln!(text, "  elections without a kill: {}", ours.other_elections);
    match etcd {
        Some(outages_us) => write(&mut text, "etcd", &outages_us),
        None => text.push_str("  etcd: SKIPPED, not installed\n"),
    }
    let _ = writeln!(text, "  results in the log {}: none missing, none doubled", ours.results);
    Ok(text)
}

fn write(text: &mut String, who: &str, outages_us: &[u64]) {
    let mut sorted = outages_us.to_vec();
    sorted.sort_unstable();
    let s = |permille| percentile(&sorted, permille) as f64 / 1e6;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "  {who:<10} median {:.2} s, best {:.2} s, worst {:.2} s, of {}",
        s(500),
        s(1),
        s(1_000),
        sorted.len()
    );
}

struct Ours {
    outages_us: Vec<u64>,
    other_elections: u64,
    results: u64,
}

fn ours(kills: u64, say: &mut dyn FnMut(&str)) -> Result<Ours, String> {
    let plan = plan();
    say("starting three replicas and a fleet");
    let mut cluster = Installation::start(REPLICAS);
    cluster.apply("load.yaml", &series::specs(&plan));
    let load = Enrolled::new(&cluster, &plan)?.connect(&plan)?;
    load.order(PACE);
    wait::let_pass(FAILED_OVER);
    let term_before = term(&cluster);
    let mut killed_us = Vec::new();
    for kill in 1..=kills {
        killed_us.push(kill_leader(&mut cluster, &load));
        say(&format!("kill {kill}"));
    }
    let term_after = term(&cluster);
    let tally = load.stop()?;
    let proof = ledger::prove(&mut cluster, &tally)?;
    let outages_us = killed_us.iter().filter_map(|at_us| outage_us(&tally, *at_us)).collect();
    let other_elections = (term_after - term_before).saturating_sub(kills);
    Ok(Ours { outages_us, other_elections, results: proof.results })
}

/// The newest term that any replica knows.
fn term(cluster: &Installation) -> u64 {
    let health = cluster.json("/api/v1/health");
    health.and_then(|health| health["term"].as_u64()).unwrap_or(0)
}

/// Kills, waits, starts it again, waits; returns when it was killed.
fn kill_leader(cluster: &mut Installation, load: &Load) -> u64 {
    let leader = cluster.leader();
    let at_us = load.clock().now_us();
    cluster.kill_replica(leader);
    wait::let_pass(FAILED_OVER);
    cluster.start_replica(leader);
    wait::let_pass(RECOVERED);
    at_us
}

/// From the kill to the first ack of a batch that was handed over after it.
fn outage_us(tally: &[Tally], killed_us: u64) -> Option<u64> {
    let acks = tally.iter().flat_map(|tally| &tally.acks);
    let new = acks.filter(|ack| ack.at_us - ack.latency_us >= killed_us);
    new.map(|ack| ack.at_us - killed_us).min()
}

fn etcds(kills: u64, say: &mut dyn FnMut(&str)) -> Result<Option<Vec<u64>>, String> {
    let Some(mut etcd) = Etcd::start()? else { return Ok(None) };
    let runtime = etcd::runtime()?;
    let mut outages_us = Vec::new();
    for kill in 1..=kills {
        let leader = etcd.leader()?;
        let addresses = etcd.addresses();
        let survivors = (0..NODES).filter(|at| *at != leader).map(|at| addresses[at].clone());
        let probing = runtime.spawn(probe(survivors.collect(), kill));
        wait::let_pass(Duration::from_secs(1));
        let clock = Clock::start();
        etcd.kill_node(leader);
        let killed_us = clock.now_us();
        wait::let_pass(FAILED_OVER);
        let (origin, acks) = runtime.block_on(probing).map_err(|why| why.to_string())??;
        let killed_us = origin.now_us() - (clock.now_us() - killed_us);
        let new = acks.iter().filter(|(begun_us, _)| *begun_us >= killed_us);
        outages_us.extend(new.map(|(_, at_us)| at_us - killed_us).min());
        etcd.start_node(leader);
        wait::let_pass(RECOVERED);
        say(&format!("etcd: kill {kill}"));
    }
    Ok(Some(outages_us))
}

/// Puts begun at a steady pace for five seconds, whatever becomes of those before: when each was
/// begun and acknowledged.
async fn probe(addresses: Vec<String>, turn: u64) -> Result<(Clock, Vec<(u64, u64)>), String> {
    let clock = Clock::start();
    let mut channels = Vec::new();
    for address in &addresses {
        channels.push(etcd::open(address).await?);
    }
    let mut putting = JoinSet::new();
    let mut pace = tokio::time::interval(PROBE);
    while clock.now_us() < 5_000_000 {
        pace.tick().await;
        for (at, channel) in channels.iter().cloned().enumerate() {
            let begun_us = clock.now_us();
            let key = format!("failover/{turn}/{at}/{begun_us}").into_bytes();
            putting.spawn(async move {
                let done = etcd::put(channel, key, vec![7; 256]).await;
                done.ok().map(|()| (begun_us, clock.now_us()))
            });
        }
    }
    let mut acks = Vec::new();
    while let Some(ended) = putting.join_next().await {
        acks.extend(ended.map_err(|why| why.to_string())?);
    }
    Ok((clock, acks))
}
