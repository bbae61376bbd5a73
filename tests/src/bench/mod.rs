//! `bench ingest`: signed results per second that a cluster of three real processes accepts.
//!
//! In: how long, how many agents, how large a batch. Out: a plain text table: rate, latency, CPU
//! of each stage, and beside them what this machine can do at best, so that a reader compares
//! ratios and not machines. The number is honest or it is an error: every replica writes and
//! flushes as always, and after the run the log is verified and its results are counted.
//!
//! Linux only: CPU of threads is read from /proc.

mod clock;
mod cpu;
mod floor;
mod ledger;
mod load;
mod plan;
mod report;
mod series;
mod stages;

use std::time::Duration;

use crate::installation::Installation;
use crate::wait;

pub use plan::{Plan, USAGE};

use report::Findings;

const REPLICAS: usize = 3;

/// Runs the benchmark; `say` is told what is going on. The table is the result.
pub fn ingest(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    say("measuring this machine alone");
    // The cluster's folder will be made at the same place.
    let scratch = tempfile::tempdir().map_err(|why| why.to_string())?;
    let floor = floor::measure(scratch.path(), plan)?;
    say("starting three replicas");
    let mut cluster = Installation::start(REPLICAS);
    cluster.apply("load.yaml", &series::specs(plan));
    say(&format!("enrolling {} agents", plan.agents));
    let mut load = load::Load::start(&cluster, plan)?;
    say(&format!("warming up for {} s", plan.warm_up_s));
    wait::let_pass(Duration::from_secs(plan.warm_up_s));
    load.check().map_err(|why| format!("{why}\n{}", cluster.logs()))?;
    say(&format!("measuring for {} s", plan.seconds));
    let before = Reading::take(&cluster, &load)?;
    wait::let_pass(Duration::from_secs(plan.seconds));
    let after = Reading::take(&cluster, &load)?;
    say("waiting for the last acks");
    let leader = cluster.replicas[cluster.leader()].name.clone();
    let tally = load.stop().map_err(|why| format!("{why}\n{}", cluster.logs()))?;
    say("stopping the cluster and verifying its log");
    let proof = ledger::prove(&mut cluster, &tally)?;
    let findings = Findings { plan, floor, before, after, tally, leader, proof };
    Ok(report::table(&findings))
}

/// Everything that is read at both ends of the measured time.
pub(crate) struct Reading {
    at_us: u64,
    replicas: Vec<cpu::Sample>,
    own: cpu::Sample,
    /// CPU seconds of all programs on the machine.
    machine_s: f64,
    counts: ledger::Counts,
}

impl Reading {
    fn take(cluster: &Installation, load: &load::Load) -> Result<Reading, String> {
        let pids = cluster.replicas.iter().map(|replica| replica.pid());
        let replicas = pids.map(cpu::Sample::of).collect::<Result<_, _>>()?;
        let own = cpu::Sample::of(std::process::id())?;
        let machine_s = cpu::machine_s()?;
        let counts = ledger::Counts::of(cluster)?;
        Ok(Reading { at_us: load.now_us(), replicas, own, machine_s, counts })
    }
}
