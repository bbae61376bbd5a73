//! The table, as plain text.

use std::fmt::Write as _;

use super::Reading;
use super::floor::Floor;
use super::ledger::Proof;
use super::load::{Acked, Tally};
use super::plan::Plan;
use super::stages::Stages;

/// Everything that was found.
pub(super) struct Findings<'a> {
    pub(super) plan: &'a Plan,
    pub(super) floor: Floor,
    pub(super) before: Reading,
    pub(super) after: Reading,
    pub(super) tally: Vec<Tally>,
    pub(super) leader: String,
    pub(super) proof: Proof,
}

pub(super) fn table(findings: &Findings<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut text, findings);
    text
}

fn write_all(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let Findings { plan, before, after, .. } = findings;
    let seconds = (after.at_us - before.at_us) as f64 / 1e6;
    let acks = acks_within(findings);
    let results = acks.iter().map(|ack| ack.results).sum::<u64>() as f64;
    writeln!(text, "bench ingest: 3 replicas as processes, flush on, leader {}", findings.leader)?;
    writeln!(
        text,
        "{} agents, {} batches in flight each, {} checks at 1 s each; {seconds:.1} s after {} s of \
         warm-up, {} s of backlog",
        plan.agents, plan.in_flight, plan.checks, plan.warm_up_s, plan.backlog_s
    )?;
    let floor = &findings.floor;
    writeln!(
        text,
        "a batch: {} results, a signed leaf of {} bytes, a payload of {} bytes\n",
        plan.results, floor.leaf_bytes, floor.payload_bytes
    )?;
    write_rates(text, &acks, seconds)?;
    write_counts(text, findings)?;
    write_stages(text, findings, results)?;
    write_floor(text, findings, results / seconds)?;
    write_proof(text, findings)
}

fn acks_within(findings: &Findings<'_>) -> Vec<Acked> {
    let (from_us, until_us) = (findings.before.at_us, findings.after.at_us);
    let acks = findings.tally.iter().flat_map(|tally| tally.acks.iter().copied());
    acks.filter(|ack| (from_us..until_us).contains(&ack.at_us)).collect()
}

fn write_rates(text: &mut String, acks: &[Acked], seconds: f64) -> std::fmt::Result {
    let results = acks.iter().map(|ack| ack.results).sum::<u64>() as f64;
    let mut latencies_us: Vec<u64> = acks.iter().map(|ack| ack.latency_us).collect();
    latencies_us.sort_unstable();
    let ms = |percent| percentile(&latencies_us, percent) as f64 / 1e3;
    row(text, "signed results accepted", results / seconds, "per s")?;
    row(text, "batches accepted", acks.len() as f64 / seconds, "per s")?;
    row(text, "ack latency p50", ms(50), "ms")?;
    row(text, "ack latency p99", ms(99), "ms")?;
    row(text, "ack latency max", ms(100), "ms")
}

fn write_counts(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let (before, after) = (&findings.before.counts, &findings.after.counts);
    count(text, "Busy answers", after.busy_since(before))?;
    for (what, since) in after.since(before) {
        count(text, what, since)?;
    }
    let sum = |of: fn(&Tally) -> u64| findings.tally.iter().map(of).sum::<u64>();
    count(text, "streams that ended or did not open", sum(|tally| tally.reconnects))?;
    count(text, "refusals that say: again later", sum(|tally| tally.retries))?;
    let results = sum(|tally| tally.seq_end - 1).max(1);
    let share = 100.0 * sum(|tally| tally.repeated) as f64 / results as f64;
    row(text, "results that repeat an instant", share, "% (not new to the objective)")?;
    writeln!(text)
}

fn write_stages(text: &mut String, findings: &Findings<'_>, results: f64) -> std::fmt::Result {
    let Findings { before, after, .. } = findings;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut stages = Stages::default();
    for (before, after) in before.replicas.iter().zip(&after.replicas) {
        stages.add(&after.since(before), workers);
    }
    writeln!(text, "CPU, all replicas       CPU-s   CPU-s per million results")?;
    let mut line = |name: &str, cpu_s: f64, does: &str| {
        let each = cpu_s * 1e6 / results.max(1.0);
        writeln!(text, "  {name:<18} {cpu_s:>8.2} {each:>8.2}   {does}")
    };
    for (stage, does, cpu_s) in stages.rows() {
        line(stage, cpu_s, does)?;
    }
    for (name, cpu_s) in &stages.unknown {
        line(&format!("  {name}"), *cpu_s, "of all others")?;
    }
    let total = stages.total();
    line("sum", total, &format!("{:.0} results per CPU-second", results / total.max(0.01)))?;
    for (name, does) in
        [("load-sign", "the agents' results, roots and signatures"), ("load-send", "their uplinks")]
    {
        let own = after.own.since(&before.own);
        let cpu_s = own.iter().filter(|used| used.name == name).map(|used| used.cpu_s).sum();
        line(name, cpu_s, does)?;
    }
    let ours = stages.total() + after.own.cpu_s_since(&before.own);
    let others = (after.machine_s - before.machine_s - ours).max(0.0);
    line("other programs", others, "not ours: what the cores did besides")?;
    writeln!(text)
}

fn write_floor(text: &mut String, findings: &Findings<'_>, results_per_s: f64) -> std::fmt::Result {
    let floor = &findings.floor;
    let each = findings.plan.results as f64;
    writeln!(text, "this machine, one core, alone")?;
    row(text, "Ed25519 verify (ring)", floor.verifies_per_s, "per s")?;
    row(text, "SHA-256 (ring, 64 KiB)", floor.sha256_mb_per_s, "MB/s")?;
    row(text, "batches signed", floor.seals_per_s, "per s")?;
    row(text, "batches opened and verified", floor.opens_per_s, "per s")?;
    row(text, "4 KiB append + fdatasync p50", floor.flush_p50_us as f64 / 1e3, "ms")?;
    row(text, "4 KiB append + fdatasync p99", floor.flush_p99_us as f64 / 1e3, "ms")?;
    writeln!(text, "  data on {}", floor.filesystem)?;
    let verifies = 100.0 * results_per_s / floor.verifies_per_s;
    row(text, "results/s over verify/s", verifies, "% (one signature covers a batch)")?;
    let opens = 100.0 * results_per_s / (floor.opens_per_s * each);
    row(text, "results/s over open+verify/s", opens, "%")?;
    writeln!(text)
}

fn write_proof(text: &mut String, findings: &Findings<'_>) -> std::fmt::Result {
    let proof = &findings.proof;
    writeln!(
        text,
        "evidence verify: sound; {} leaves, {} batches, {} cosigners, {} SLO reports recomputed",
        proof.leaves, proof.batches, proof.cosigners, proof.slo_reports
    )?;
    writeln!(
        text,
        "results in the log {}, acknowledged {}: none missing, none doubled, all roots equal",
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
pub(super) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u64> = (1..=100).collect();
        let check = |sorted: &[u64], percent, expect| {
            assert_eq!(percentile(sorted, percent), expect, "{percent}% of {}", sorted.len());
        };
        check(&hundred, 50, 50);
        check(&hundred, 99, 99);
        check(&hundred, 100, 100);
        check(&[7], 1, 7);
        check(&[], 50, 0);
    }
}
