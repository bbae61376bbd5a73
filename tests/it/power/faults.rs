//! What each storage fault does, as OPERATING.md says in "What a disk can do": a process ends by
//! itself, or goes on and says so. Then the disk is well again, and the next start is sound, also
//! through a power cut: what a failed sync left in memory only is not taken for durable.

use std::os::unix::process::ExitStatusExt as _;

use proofmark_tests::acks;
use proofmark_tests::dice::Dice;
use proofmark_tests::installation::{Agent, Installation, Joining, SETTLE, Seat, free_addresses};
use proofmark_tests::judge::judge_evidence;
use proofmark_tests::lossy::{Fault, LossyDisk, Manner};
use proofmark_tests::program::Launch;
use proofmark_tests::push::{Load, Pushers};
use proofmark_tests::target::Target;
use proofmark_tests::{wait, workload};

/// What is expected of a process that meets a fault.
#[derive(Clone, Copy)]
enum Expect {
    /// It ends by a signal it sends itself (abort), and its log says this.
    Aborts(&'static str),
    /// It ends with this code, and its log says this.
    Exits(i32, &'static str),
    /// It goes on, and its log says this.
    Says(&'static str),
}

use Expect::{Aborts, Exits, Says};
use Fault::{Full, SyncFails};

const RAFT: Expect = Aborts("raft log could not be written: the process ends here");
const EVIDENCE: Expect = Aborts("the evidence cannot be written: the process aborts");

/// Whose path, what it meets, what it does.
const REPLICA: &[(&str, Fault, Expect)] = &[
    ("/raft", SyncFails, RAFT),
    ("/raft", Full, RAFT),
    ("/evidence", SyncFails, EVIDENCE),
    ("/evidence/payload", SyncFails, EVIDENCE),
    ("/evidence/tile/entries", SyncFails, EVIDENCE),
    ("/evidence", Full, EVIDENCE),
    ("/last_signed", SyncFails, EVIDENCE),
    ("/last_signed", Full, EVIDENCE),
    ("/tables", SyncFails, Says("tables not saved; the next start replays more")),
    ("/tables", Full, Says("tables not saved; the next start replays more")),
];

const AGENT: &[(&str, Fault, Expect)] = &[
    ("/spool", SyncFails, Exits(74, "spool: cannot sync")),
    ("/spool", Full, Says("spool: cannot write")),
];

const LOAD: Load = Load { agents: 1, results: 20, batches_per_s: 20 };

#[test]
fn a_replica_ends_or_says_so_and_the_next_start_is_sound() {
    let mut cluster = Installation::plan(vec![Seat::loopback()]);
    let Some(mut disk) = super::disk(&cluster.replicas[0].data) else { return };
    cluster.begin();
    let policy = cluster.replicas[0].evidence_dir().join("policy");
    let policy_kept = cluster.dir().join("policy");
    std::fs::copy(policy, &policy_kept).expect("copied");
    let pushers = Pushers::start(&cluster, LOAD).expect("enrolled");
    for (at, (part, fault, expect)) in (0..).zip(REPLICA) {
        let what = format!("{part} {fault:?}");
        acknowledged_again(&pushers, &what);
        disk.plant(*fault, part);
        meet(&what, &disk, *expect, &cluster.replicas[0].log(), || cluster.replicas[0].ended());
        disk.heal();
        if cluster.replicas[0].ended().is_none() {
            acknowledged_again(&pushers, &what);
        }
        cluster.kill_replica(0);
        cluster.start_replica(0);
        acknowledged_again(&pushers, &what);
        disk.cut_power();
        cluster.kill_replica(0);
        disk.restore_power(Manner::AllLost, &mut Dice::new(at)).expect("mounted again");
        let started = cluster.try_start_replica(0);
        started.unwrap_or_else(|ended| panic!("{what}: {:?}\n{}", ended.status, ended.log));
    }
    let told = pushers.stop().expect("all acknowledged");
    let told = told.iter().map(|told| (told.agent.clone(), told.seq_end())).collect();
    judge_evidence(&mut cluster, &policy_kept, &told).expect("nothing acknowledged is lost");
}

#[test]
fn an_agent_ends_or_says_so_and_the_next_start_is_sound() {
    let target = Target::start();
    let mut cluster = Installation::start(1);
    let Some(mut disk) = super::disk(&cluster.dir().join("web-1").join("data")) else { return };
    cluster.apply("checks.yaml", &workload::specs(target.address(), 10, &["web-1"]));
    let [admin] = free_addresses();
    let addresses = [cluster.replicas[0].grpc];
    let (name, launch) = ("web-1", Launch::default());
    let mut agent =
        cluster.join(Joining { name, addresses: &addresses, admin: Some(admin), launch });
    let acks = acks::Acks::watch([("web-1".to_owned(), admin)]);
    for (at, (part, fault, expect)) in (0..).zip(AGENT) {
        let what = format!("{part} {fault:?}");
        heard_again(&acks, &what);
        disk.plant(*fault, part);
        meet(&what, &disk, *expect, &agent.log(), || agent.ended());
        disk.heal();
        restart(&mut agent);
        heard_again(&acks, &what);
        disk.cut_power();
        agent.kill();
        disk.restore_power(Manner::AllLost, &mut Dice::new(at)).expect("mounted again");
        agent.start();
    }
    heard_again(&acks, "the end");
    agent.stop();
    let policy = agent.data_dir().join("identity/policy");
    judge_evidence(&mut cluster, &policy, &acks.heard()).expect("nothing acknowledged is lost");
}

fn restart(agent: &mut Agent) {
    agent.kill();
    agent.start();
}

/// Waits until the fault was met and answered as it must be.
fn meet(
    what: &str,
    disk: &LossyDisk,
    expect: Expect,
    log: &std::path::Path,
    mut ended: impl FnMut() -> Option<std::process::ExitStatus>,
) {
    let says = |part: &str| std::fs::read_to_string(log).unwrap_or_default().contains(part);
    wait::until(&format!("{what}: the fault to be met"), SETTLE, || (disk.met() > 0).then_some(()));
    let line = match expect {
        Aborts(line) | Exits(_, line) | Says(line) => line,
    };
    wait::until(&format!("{what}: {line}"), SETTLE, || says(line).then_some(()));
    match expect {
        Says(_) => assert_eq!(ended(), None, "{what}: goes on"),
        Aborts(_) => {
            let status = wait::until(&format!("{what}: its end"), SETTLE, &mut ended);
            assert_eq!(status.signal(), Some(6), "{what}: {status}");
        }
        Exits(code, _) => {
            let status = wait::until(&format!("{what}: its end"), SETTLE, &mut ended);
            assert_eq!(status.code(), Some(code), "{what}: {status}");
        }
    }
}

fn acknowledged_again(pushers: &Pushers, what: &str) {
    let before = pushers.batches();
    let what = format!("{what}: batches to be acknowledged");
    wait::until(&what, SETTLE, || (pushers.batches() > before + 2).then_some(()));
}

fn heard_again(acks: &acks::Acks, what: &str) {
    let sum = |acks: &acks::Acks| acks.heard().values().sum::<u64>();
    let before = sum(acks);
    let what = format!("{what}: results to be acknowledged");
    wait::until(&what, SETTLE, || (sum(acks) > before + 10).then_some(()));
}
