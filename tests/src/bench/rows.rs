//! What PERFORMANCE.md says of a regime, as rows of its table.

use super::etcd::Puts;
use super::ingest::{Findings, Measured};
use super::plan::Regime;
use super::report::{acks, percentile, results_of, within};

/// The few figures that an aim is held to.
struct Figures {
    results_per_s: f64,
    batches_per_s: f64,
    cpu_us_a_result: f64,
    cpu_us_a_batch: f64,
    repeated_percent: f64,
    half_p99_ms: f64,
    evidence_bytes: f64,
    connection_kib: f64,
    /// Puts a second and CPU microseconds of each; none without etcd.
    etcd: Option<(f64, f64)>,
}

/// A line for each aim of this regime.
pub(super) fn rows(findings: &Findings<'_>) -> String {
    let figures = Figures::of(findings);
    let regime = findings.plan.regime;
    let row = |(aim, figure): (&str, String)| {
        format!("| {}: {aim} | {figure} | `bench ingest {}` |\n", regime.name(), regime.name())
    };
    figures.aims(regime).into_iter().map(row).collect()
}

impl Figures {
    fn of(findings: &Findings<'_>) -> Figures {
        let all = acks(findings);
        let (flood, half) = (within(&all, &findings.flood), within(&all, &findings.half));
        let (results, batches) = (results_of(&flood).max(1.0), (flood.len() as f64).max(1.0));
        let (seconds, cpu_us) = (findings.flood.seconds(), cpu_s(&findings.flood) * 1e6);
        let mut latencies_us: Vec<u64> = half.iter().map(|ack| ack.latency_us).collect();
        latencies_us.sort_unstable();
        let proven = (findings.proof.results as f64).max(1.0);
        let repeated = findings.tally.iter().map(|tally| tally.repeated).sum::<u64>() as f64;
        Figures {
            results_per_s: results / seconds,
            batches_per_s: batches / seconds,
            cpu_us_a_result: cpu_us / results,
            cpu_us_a_batch: cpu_us / batches,
            repeated_percent: 100.0 * repeated / proven,
            half_p99_ms: percentile(&latencies_us, 990) as f64 / 1e3,
            evidence_bytes: findings.disk.evidence as f64 / proven,
            connection_kib: findings.resident.kib_a_connection(),
            etcd: mean(&findings.etcd),
        }
    }

    fn aims(&self, regime: Regime) -> Vec<(&'static str, String)> {
        let mut aims = match regime {
            Regime::Large => vec![
                ("results accepted", format!("{:.0}/s", self.results_per_s)),
                (
                    "CPU a result, three nodes",
                    format!(
                        "{:.2} us ({:.0} % repeat an instant)",
                        self.cpu_us_a_result, self.repeated_percent
                    ),
                ),
            ],
            Regime::Fleet | Regime::Crowd => vec![
                ("batches accepted beside etcd's puts", self.beside(self.batches_per_s, |e| e.0)),
                ("CPU-us a batch beside etcd's put", self.beside(self.cpu_us_a_batch, |e| e.1)),
            ],
        };
        if regime == Regime::Crowd {
            let kib = format!("{:.1} KiB", self.connection_kib);
            aims.push(("resident, each connected agent", kib));
        }
        aims.push(("accepted p99 at half of capacity", format!("{:.1} ms", self.half_p99_ms)));
        aims.push(("evidence on disk, a result", format!("{:.1} bytes", self.evidence_bytes)));
        aims
    }

    fn beside(&self, ours: f64, of: impl Fn((f64, f64)) -> f64) -> String {
        match self.etcd.map(of) {
            Some(etcd) => format!("{ours:.0} beside {etcd:.0}"),
            None => format!("{ours:.0} (etcd SKIPPED)"),
        }
    }
}

fn cpu_s(measured: &Measured) -> f64 {
    let replicas = measured.before.replicas.iter().zip(&measured.after.replicas);
    replicas.map(|(before, after)| after.cpu_s_since(before)).sum()
}

fn mean(puts: &[Puts]) -> Option<(f64, f64)> {
    let of = |figure: fn(&Puts) -> f64| puts.iter().map(figure).sum::<f64>() / puts.len() as f64;
    (!puts.is_empty()).then(|| (of(|puts| puts.per_s), of(|puts| puts.cpu_ms_each * 1e3)))
}
