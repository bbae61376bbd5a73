//! A replica that joins when the Raft log no longer begins at its beginning: snapshot, evidence, join.

use std::time::Duration;

use super::*;

/// Snapshots and files so small that a few seconds of load are more than the log keeps.
const SMALL: &str = "snapshots: {log_bytes: 256KiB, interval: 5s}\n";
const HEAVY: Load = Load { agents: 2, results: 200, batches_per_s: 10 };
const LET_GO: Duration = Duration::from_secs(180);

#[test]
fn a_replica_joins_after_the_log_was_let_go_of_and_has_all_that_was_acknowledged() {
    let mut installation = Installation::start_with(1, SMALL);
    let policy = installation.dir().join("first-policy");
    fs::copy(installation.replicas[0].evidence_dir().join("policy"), &policy).unwrap();
    let mut load = Pushers::start(&installation, HEAVY).expect("agents enrol");
    let gone_up_to = wait::until("the log to be let go of", LET_GO, || {
        let is_whole = installation.replicas[0].data.join("raft").join(FIRST_FILE).exists();
        installation.replicas[0].log_begins_after().filter(|_| !is_whole)
    });
    assert!(gone_up_to > 1);

    // It gets its vote only when it has caught up; no log leads there.
    let second = installation.add_replica(None);
    let said = installation.replicas[second].log_text();
    assert!(said.contains("a snapshot is offered: catching up"), "{said}");
    // Both votes are needed now: what is acknowledged from here on is in both logs.
    let before = load.batches();
    wait::until("load with two votes", LET_GO, || (load.batches() > before + 20).then_some(()));

    load.check().expect("every agent was told what can be");
    let told = seq_ends(&load.stop().expect("every ack came"));
    assert!(told.values().all(|seq_end| *seq_end > 1), "{told:?}");
    judge_evidence(&mut installation, &policy, &told).expect("what was told is in the log");
}

/// Of a Raft log that was never let go of.
const FIRST_FILE: &str = "00000000000000000001.raftlog";
