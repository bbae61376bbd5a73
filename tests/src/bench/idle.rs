//! `bench idle`: what three replicas cost that nobody talks to, beside three nodes of etcd.

use std::fmt::Write as _;
use std::time::Duration;

use super::REPLICAS;
use super::cpu::Sample;
use super::etcd::Etcd;
use super::memory::resident_bytes;
use crate::installation::Installation;
use crate::wait;

/// After the start, until elections and first checkpoints are over.
const SETTLED: Duration = Duration::from_secs(10);

/// CPU of all nodes and resident memory of each.
struct Cost {
    cpu_ms_per_s: f64,
    resident_mib: f64,
}

/// Measures both for so many seconds. The table is the result.
pub fn idle(seconds: u64, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    say("three replicas");
    let ours = ours(seconds)?;
    say("three nodes of etcd");
    let etcd = etcd(seconds)?;
    let mut text = String::from("bench idle: three nodes that nobody talks to\n");
    let mut line = |who: &str, cost: &Cost| {
        let Cost { cpu_ms_per_s, resident_mib } = cost;
        writeln!(
            text,
            "  {who:<10} {cpu_ms_per_s:>7.1} CPU-ms per s, all; {resident_mib:>6.1} MiB resident, each"
        )
    };
    // Writing to a String cannot fail.
    let _ = line("proofmark", &ours);
    match etcd {
        Some(etcd) => {
            let _ = line("etcd", &etcd);
            let ratio =
                (ours.cpu_ms_per_s / etcd.cpu_ms_per_s, ours.resident_mib / etcd.resident_mib);
            let _ = writeln!(text, "  ratio      {:>7.2} CPU, {:.2} memory", ratio.0, ratio.1);
        }
        None => text.push_str("  etcd: SKIPPED, not installed\n"),
    }
    Ok(text)
}

fn ours(seconds: u64) -> Result<Cost, String> {
    let cluster = Installation::start(REPLICAS);
    let pids: Vec<u32> = cluster.replicas.iter().map(|replica| replica.pid()).collect();
    let sample = || pids.iter().map(|pid| Sample::of(*pid)).collect();
    let resident = || pids.iter().map(|pid| resident_bytes(*pid)).collect();
    cost(seconds, sample, resident)
}

fn etcd(seconds: u64) -> Result<Option<Cost>, String> {
    let Some(etcd) = Etcd::start()? else { return Ok(None) };
    cost(seconds, || etcd.sample(), || etcd.resident()).map(Some)
}

fn cost(
    seconds: u64,
    sample: impl Fn() -> Result<Vec<Sample>, String>,
    resident: impl Fn() -> Result<Vec<u64>, String>,
) -> Result<Cost, String> {
    wait::let_pass(SETTLED);
    let before = sample()?;
    wait::let_pass(Duration::from_secs(seconds));
    let after = sample()?;
    let cpu_s: f64 = before.iter().zip(&after).map(|(old, new)| new.cpu_s_since(old)).sum();
    let resident = resident()?;
    let bytes = resident.iter().sum::<u64>() as f64 / resident.len().max(1) as f64;
    let (cpu_ms_per_s, resident_mib) = (cpu_s * 1e3 / seconds as f64, bytes / f64::from(1 << 20));
    Ok(Cost { cpu_ms_per_s, resident_mib })
}
