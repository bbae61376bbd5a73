//! One regime, from starting the replicas to verifying what they hold.

use std::time::Duration;

use super::cpu::{Sample, machine_s};
use super::etcd::{Etcd, Puts};
use super::floor::{self, Floor};
use super::ledger::{self, Counts, Proof};
use super::load::{Enrolled, Load, Orders, Tally};
use super::memory::{bytes_below, loopback_bytes, resident_bytes};
use super::plan::Plan;
use super::published::{Published, Watcher};
use super::{REPLICAS, report, series};
use crate::installation::Installation;
use crate::wait;

/// Connections settle: buffers of handshakes are given back.
const SETTLED: Duration = Duration::from_secs(5);
/// Between two paces, until the new one shows.
const CHANGED: Duration = Duration::from_secs(3);

/// Everything that was found.
pub(super) struct Findings<'a> {
    pub(super) plan: &'a Plan,
    pub(super) floor: Floor,
    /// Before and after; empty without etcd.
    pub(super) etcd: Vec<Puts>,
    pub(super) flood: Measured,
    pub(super) half: Measured,
    pub(super) tally: Vec<Tally>,
    pub(super) published: Published,
    pub(super) leader: String,
    pub(super) proof: Proof,
    pub(super) resident: Resident,
    pub(super) disk: Disk,
}

/// Two moments, and what happened between.
pub(super) struct Measured {
    pub(super) before: Reading,
    pub(super) after: Reading,
}

/// Everything that is read at both ends of a measured time.
pub(super) struct Reading {
    pub(super) at_us: u64,
    pub(super) replicas: Vec<Sample>,
    pub(super) own: Sample,
    /// CPU seconds of all programs on the machine.
    pub(super) machine_s: f64,
    pub(super) counts: Counts,
    pub(super) loopback_bytes: u64,
}

/// Resident memory of all replicas together, in bytes.
pub(super) struct Resident {
    pub(super) enrolled: u64,
    pub(super) connected: u64,
    pub(super) loaded: u64,
    pub(super) connections: u64,
}

impl Resident {
    /// What the connections added, shared among them.
    pub(super) fn kib_a_connection(&self) -> f64 {
        let grown = self.connected.saturating_sub(self.enrolled) as f64;
        grown / 1_024.0 / self.connections.max(1) as f64
    }
}

/// Bytes of one replica's folders at the end.
pub(super) struct Disk {
    pub(super) evidence: u64,
    pub(super) raft_log: u64,
}

/// Runs one regime; `say` is told what is going on. The table is the result.
pub fn ingest(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    say("measuring this machine alone");
    // The cluster's folder will be made at the same place.
    let scratch = tempfile::tempdir().map_err(|why| why.to_string())?;
    let floor = floor::measure(scratch.path(), plan)?;
    let mut etcd = puts(plan, say)?;
    say("starting three replicas");
    let mut cluster = Installation::start(REPLICAS);
    cluster.apply("load.yaml", &series::specs(plan));
    say(&format!("enrolling {} agents", plan.agents));
    let enrolled = Enrolled::new(&cluster, plan)?;
    let resident_enrolled = resident(&cluster)?;
    say("connecting them");
    let mut load = enrolled.connect(plan)?;
    wait::let_pass(SETTLED);
    cluster.settled_roots();
    let resident_connected = resident(&cluster)?;
    let connections = load.connections();
    let watcher = Watcher::start(cluster.replicas[0].http, load.clock());
    say("at capacity");
    let flood = measure(&cluster, &mut load, plan, Orders::Flood)?;
    let resident_loaded = resident(&cluster)?;
    let orders = half_of(&flood, plan)?;
    say(&format!("at half of it: {orders:?}"));
    let half = measure(&cluster, &mut load, plan, orders)?;
    say("waiting for the last acks");
    let leader = cluster.replicas[cluster.leader()].name.clone();
    let tally = load.stop().map_err(|why| format!("{why}\n{}", cluster.logs()))?;
    cluster.settled_roots();
    let published = watcher.stop();
    let data = &cluster.replicas[0].data;
    let disk = Disk {
        evidence: bytes_below(&data.join("evidence")),
        raft_log: bytes_below(&data.join("raft")),
    };
    say("stopping the cluster and verifying its log");
    let proof = ledger::prove(&mut cluster, &tally)?;
    etcd.extend(puts(plan, say)?);
    let resident = Resident {
        enrolled: resident_enrolled,
        connected: resident_connected,
        loaded: resident_loaded,
        connections,
    };
    Ok(report::table(&Findings {
        plan,
        floor,
        etcd,
        flood,
        half,
        tally,
        published,
        leader,
        proof,
        resident,
        disk,
    }))
}

/// etcd with values of this regime's size, while none of ours runs.
fn puts(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<Vec<Puts>, String> {
    if plan.etcd_s == 0 {
        return Ok(Vec::new());
    }
    let Some(etcd) = Etcd::start()? else {
        say(
            "SKIPPED: etcd is not installed (apt-get install etcd-server); nothing to compare with",
        );
        return Ok(Vec::new());
    };
    let (value_bytes, in_flight) = plan.regime.etcd_puts();
    say(&format!("etcd: puts of {value_bytes} bytes"));
    Ok(vec![etcd.puts(value_bytes, in_flight, plan.etcd_s)?])
}

fn measure(
    cluster: &Installation,
    load: &mut Load,
    plan: &Plan,
    orders: Orders,
) -> Result<Measured, String> {
    load.order(orders);
    let is_flood = orders == Orders::Flood;
    wait::let_pass(if is_flood { Duration::from_secs(plan.warm_up_s) } else { CHANGED });
    load.check().map_err(|why| format!("{why}\n{}", cluster.logs()))?;
    let before = Reading::take(cluster, load)?;
    wait::let_pass(Duration::from_secs(plan.seconds));
    Ok(Measured { before, after: Reading::take(cluster, load)? })
}

/// The pace at which all agents together send half as many batches as were accepted.
fn half_of(flood: &Measured, plan: &Plan) -> Result<Orders, String> {
    let accepted = flood.after.counts.accepted_since(&flood.before.counts);
    if accepted == 0 {
        return Err("no batch was accepted at capacity".to_owned());
    }
    let each_us = 2.0 * flood.seconds() * 1e6 * plan.agents as f64 / accepted as f64;
    Ok(Orders::Pace(each_us as u64))
}

fn resident(cluster: &Installation) -> Result<u64, String> {
    cluster.replicas.iter().map(|replica| resident_bytes(replica.pid())).sum()
}

impl Measured {
    pub(super) fn seconds(&self) -> f64 {
        (self.after.at_us - self.before.at_us) as f64 / 1e6
    }
}

impl Reading {
    fn take(cluster: &Installation, load: &Load) -> Result<Reading, String> {
        let pids = cluster.replicas.iter().map(|replica| replica.pid());
        Ok(Reading {
            at_us: load.clock().now_us(),
            replicas: pids.map(Sample::of).collect::<Result<_, _>>()?,
            own: Sample::of(std::process::id())?,
            machine_s: machine_s()?,
            counts: Counts::of(cluster)?,
            loopback_bytes: loopback_bytes()?,
        })
    }
}
