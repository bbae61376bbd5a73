//! The table of one regime, as plain text.

use std::fmt::Write as _;

use super::etcd::Puts;
use super::ingest::{Findings, Measured};
use super::load::{Acked, Tally};
use super::rows::rows;
use super::stages::Stages;

pub(super) fn table(findings: &Findings<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut text, findings);
    text
}

fn write_all(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let plan = findings.plan;
    writeln!(
        text,
        "bench ingest {}: 3 replicas as processes, flush on, TLS on, leader {}",
        plan.regime.name(),
        findings.leader
    )?;
    writeln!(
        text,
        "{} agents, {} batches in flight each, {} checks at 1 s each, {} idle connections besides; {} s \
         of backlog, {} batches signed ahead",
        plan.agents, plan.in_flight, plan.checks, plan.idle, plan.backlog_s, plan.signed_ahead
    )?;
    let floor = &findings.floor;
    writeln!(
        text,
        "a batch: {} results, a signed leaf of {} bytes, a payload of {} bytes",
        plan.results, floor.leaf_bytes, floor.payload_bytes
    )?;
    write_measured(text, "at capacity", findings, &findings.flood)?;
    write_stages(text, findings)?;
    write_measured(text, "at half of capacity", findings, &findings.half)?;
    write_bytes(text, findings)?;
    write_etcd(text, findings)?;
    write_floor(text, findings)?;
    write_proof(text, findings)?;
    writeln!(text, "{}", rows(findings))
}

/// All acks, ascending in time.
pub(super) fn acks(findings: &Findings<'_>) -> Vec<Acked> {
    let mut acks: Vec<Acked> =
        findings.tally.iter().flat_map(|tally| tally.acks.iter().copied()).collect();
    acks.sort_by_key(|ack| ack.at_us);
    acks
}

pub(super) fn within(acks: &[Acked], measured: &Measured) -> Vec<Acked> {
    let (from_us, until_us) = (measured.before.at_us, measured.after.at_us);
    acks.iter().copied().filter(|ack| (from_us..until_us).contains(&ack.at_us)).collect()
}

pub(super) fn results_of(acks: &[Acked]) -> f64 {
    acks.iter().map(|ack| ack.results).sum::<u64>() as f64
}

fn write_measured(
    text: &mut String,
    title: &str,
    findings: &Findings<'_>,
    measured: &Measured,
) -> std::fmt::Result {
    let all = acks(findings);
    let acks = within(&all, measured);
    let seconds = measured.seconds();
    writeln!(text, "\n{title}, {seconds:.1} s")?;
    row(text, "signed results accepted", results_of(&acks) / seconds, "per s")?;
    row(text, "batches accepted", acks.len() as f64 / seconds, "per s")?;
    let mut latencies_us: Vec<u64> = acks.iter().map(|ack| ack.latency_us).collect();
    percentiles(text, "accepted", &mut latencies_us)?;
    let (from_us, until_us) = (measured.before.at_us, measured.after.at_us);
    let mut lags_us = findings.published.lags_us(&all, from_us, until_us);
    percentiles(text, "accepted to proven", &mut lags_us)?;
    let (before, after) = (&measured.before.counts, &measured.after.counts);
    count(text, "Busy answers", after.busy_since(before))?;
    for (what, since) in after.since(before) {
        count(text, what, since)?;
    }
    Ok(())
}

fn percentiles(text: &mut String, what: &str, times_us: &mut [u64]) -> std::fmt::Result {
    times_us.sort_unstable();
    let ms = |permille| percentile(times_us, permille) as f64 / 1e3;
    let (p50, p99, p999) = (ms(500), ms(990), ms(999));
    let what = format!("{what}, p50 / p99 / p99.9");
    writeln!(text, "  {what:<36} {p50:>10.2} {p99:.2} {p999:.2} ms")
}

fn write_stages(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let Measured { before, after } = &findings.flood;
    let acks = within(&acks(findings), &findings.flood);
    let (results, batches) = (results_of(&acks).max(1.0), (acks.len() as f64).max(1.0));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut stages = Stages::default();
    for (before, after) in before.replicas.iter().zip(&after.replicas) {
        stages.add(&after.since(before), workers);
    }
    writeln!(text, "\nCPU, all replicas       CPU-s   CPU-us a result   CPU-us a batch")?;
    let mut line = |name: &str, cpu_s: f64, does: &str| {
        let (result, batch) = (cpu_s * 1e6 / results, cpu_s * 1e6 / batches);
        writeln!(text, "  {name:<18} {cpu_s:>8.2} {result:>12.3} {batch:>15.1}   {does}")
    };
    for (stage, does, cpu_s) in stages.rows() {
        line(stage, cpu_s, does)?;
    }
    for (name, cpu_s) in &stages.unknown {
        line(&format!("  {name}"), *cpu_s, "of all others")?;
    }
    line("sum", stages.total(), "")?;
    for (at, (before, after)) in before.replicas.iter().zip(&after.replicas).enumerate() {
        line(&format!("  replica a{}", at + 1), after.cpu_s_since(before), "")?;
    }
    let load = after.own.cpu_s_since(&before.own);
    line("load", load, "the agents: signing, TLS, uplinks")?;
    let others = (after.machine_s - before.machine_s - stages.total() - load).max(0.0);
    line("other programs", others, "not ours: what the cores did besides")
}

fn write_bytes(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let Measured { before, after } = &findings.flood;
    let results = results_of(&within(&acks(findings), &findings.flood)).max(1.0);
    let all = (findings.proof.results as f64).max(1.0);
    let wire = (after.loopback_bytes - before.loopback_bytes) as f64;
    writeln!(text, "\nbytes and memory")?;
    row(text, "on the loopback, all of it", wire / results, "bytes a result")?;
    row(
        text,
        "evidence on disk, each replica",
        findings.disk.evidence as f64 / all,
        "bytes a result",
    )?;
    row(
        text,
        "Raft log on disk, each replica",
        findings.disk.raft_log as f64 / all,
        "bytes a result",
    )?;
    let resident = &findings.resident;
    let each = |bytes: u64| bytes as f64 / 3.0 / f64::from(1 << 20);
    row(text, "resident, each replica, enrolled", each(resident.enrolled), "MiB")?;
    row(text, "resident, each replica, connected", each(resident.connected), "MiB")?;
    row(text, "resident, each replica, under load", each(resident.loaded), "MiB")?;
    row(text, "resident, each connected agent", resident.kib_a_connection(), "KiB")?;
    let sum = |of: fn(&Tally) -> u64| findings.tally.iter().map(of).sum::<u64>();
    count(text, "streams that ended or did not open", sum(|tally| tally.reconnects))?;
    count(text, "refusals that say: again later", sum(|tally| tally.retries))?;
    let share = 100.0 * sum(|tally| tally.repeated) as f64 / all;
    row(text, "results that repeat an instant", share, "% (not new to the objective)")
}

fn write_etcd(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    if findings.etcd.is_empty() {
        return writeln!(text, "\netcd: SKIPPED, not installed or not asked for");
    }
    writeln!(text, "\netcd, three nodes, before and after")?;
    for Puts { value_bytes, per_s, cpu_ms_each, p50_us, p99_us } in &findings.etcd {
        let (p50_ms, p99_ms) = (*p50_us as f64 / 1e3, *p99_us as f64 / 1e3);
        writeln!(
            text,
            "  {value_bytes} bytes: {per_s:.0} puts/s, {cpu_ms_each:.3} CPU-ms each, p50 / p99 \
             {p50_ms:.1} {p99_ms:.1} ms"
        )?;
    }
    let Measured { before, after } = &findings.flood;
    let batches = within(&acks(findings), &findings.flood).len().max(1) as f64;
    let used = before.replicas.iter().zip(&after.replicas);
    let cpu_s: f64 = used.map(|(before, after)| after.cpu_s_since(before)).sum();
    let runs = findings.etcd.len() as f64;
    let per_s = findings.etcd.iter().map(|puts| puts.per_s).sum::<f64>() / runs;
    let cpu_ms = findings.etcd.iter().map(|puts| puts.cpu_ms_each).sum::<f64>() / runs;
    row(text, "batches/s over puts/s", batches / findings.flood.seconds() / per_s, "")?;
    row(text, "CPU of a batch over CPU of a put", cpu_s * 1e3 / batches / cpu_ms, "")
}

fn write_floor(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let floor = &findings.floor;
    writeln!(text, "\nthis machine, one core, alone")?;
    row(text, "Ed25519 verify (ring)", floor.verifies_per_s, "per s")?;
    row(text, "SHA-256 (ring, 64 KiB)", floor.sha256_mb_per_s, "MB/s")?;
    row(text, "batches signed", floor.seals_per_s, "per s")?;
    row(text, "batches opened and verified", floor.opens_per_s, "per s")?;
    row(text, "4 KiB append + fdatasync p50", floor.flush_p50_us as f64 / 1e3, "ms")?;
    row(text, "4 KiB append + fdatasync p99", floor.flush_p99_us as f64 / 1e3, "ms")?;
    writeln!(text, "  data on {}", floor.filesystem)
}

fn write_proof(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let proof = &findings.proof;
    writeln!(
        text,
        "\nevidence verify: sound; {} leaves, {} batches, {} cosigners, {} SLO reports recomputed",
        proof.leaves, proof.batches, proof.cosigners, proof.slo_reports
    )?;
    writeln!(
        text,
        "results in the log {}, acknowledged {}: none missing, none doubled, all roots equal\n",
        proof.results, proof.acknowledged
    )
}

fn count(text: &mut String, name: &str, value: u64) -> std::fmt::Result {
    writeln!(text, "  {name:<36} {value:>10}")
}

fn row(text: &mut String, name: &str, value: f64, unit: &str) -> std::fmt::Result {
    let shown = if value >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    writeln!(text, "  {name:<36} {shown:>10} {unit}")
}

/// Nearest rank; 0 of nothing.
pub(super) fn percentile(sorted: &[u64], permille: usize) -> u64 {
    let rank = (sorted.len() * permille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u64> = (1..=100).collect();
        let check = |sorted: &[u64], permille, expect| {
            assert_eq!(percentile(sorted, permille), expect, "{permille} of {}", sorted.len());
        };
        check(&hundred, 500, 50);
        check(&hundred, 990, 99);
        check(&hundred, 999, 100);
        check(&[7], 10, 7);
        check(&[], 500, 0);
    }
}
