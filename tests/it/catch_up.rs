//! A replica that was away while the others let go of their Raft log comes back by a snapshot and
//! the evidence, proven, through a kill in the middle of it; and nobody else is the slower for it.

use std::path::PathBuf;
use std::time::Duration;

use proofmark_tests::installation::{Installation, path};
use proofmark_tests::push::{Load, Pushers};
use proofmark_tests::{api, program, wait};

/// Snapshots and files so small that a few seconds of load are more than the log keeps, and a rate
/// at which catching up takes long enough to be interrupted.
const SMALL: &str = "snapshots: {log_bytes: 256KiB, interval: 5s}\nfetch_rate: 2MiB\n";
const LOAD: Load = Load { agents: 4, results: 200, batches_per_s: 5 };
/// How long a rate is measured.
const WINDOW: Duration = Duration::from_secs(4);

/// A whole state and its evidence in pieces, while other tests keep both cores busy.
const CATCH_UP: Duration = Duration::from_secs(180);

#[test]
fn a_replica_whose_log_is_gone_catches_up_by_snapshot_while_load_goes_on() {
    let mut cluster = Installation::start_with(3, SMALL);
    let mut load = Pushers::start(&cluster, LOAD).expect("agents enrol");
    until_pushed(&cluster, &mut load, 50);

    let away = (cluster.leader() + 1) % 3;
    let stopped_at = applied(&cluster, away);
    cluster.kill_replica(away);
    let gone_up_to = wait::until("the others' logs to be let go of", CATCH_UP, || {
        let others = (0..3).filter(|at| *at != away);
        let oldest: Option<Vec<u64>> =
            others.map(|at| cluster.replicas[at].log_begins_after()).collect();
        oldest?.into_iter().min().filter(|index| *index > stopped_at)
    });
    until_pushed(&cluster, &mut load, 200);
    let alone = batches_within(&load, WINDOW);

    cluster.start_replica(away);
    wait_for_line(&cluster, away, "a snapshot is offered: catching up");
    // The best of three, and a quarter: other tests share these cores. What it costs on a quiet
    // machine is for a benchmark.
    let beside = (0..3).map(|_| batches_within(&load, WINDOW)).max().unwrap_or_default();
    assert!(beside * 4 > alone, "{alone} batches without the follower, {beside} beside it");
    cluster.kill_replica(away);
    let fetched = leaves_on_disk(&cluster, away);
    cluster.start_replica(away);
    // The entries that lead there are gone everywhere: only a snapshot does, whether it was taken
    // before the kill, by the start after it, or later.
    wait::until("a state that no log leads to", CATCH_UP, || {
        (applied_if_served(&cluster, away) > Some(gone_up_to)).then_some(())
    });
    assert!(leaves_on_disk(&cluster, away) >= fetched, "what was fetched is kept");

    load.check().expect("every agent was told what can be");
    let told = load.stop().expect("every ack came");
    assert!(told.iter().all(|agent| agent.seq_end() > 1));
    let roots = cluster.settled_roots();
    assert_eq!(roots.len(), 3);
    for at in 0..3 {
        cluster.stop_replica(at);
        let evidence = cluster.replicas[at].evidence_dir();
        program::must(&["evidence", "verify", path(&evidence)]);
    }
}

fn applied(cluster: &Installation, at: usize) -> u64 {
    applied_if_served(cluster, at).expect("it serves")
}

fn applied_if_served(cluster: &Installation, at: usize) -> Option<u64> {
    api::json(cluster.replicas[at].http, "/api/v1/health")?["applied_index"].as_u64()
}

fn until_pushed(cluster: &Installation, load: &mut Pushers, batches: u64) {
    let pushed = wait::hoped("load", CATCH_UP, || {
        load.check().expect("every agent was told what can be");
        (load.batches() > batches).then_some(())
    });
    let words = |why| format!("{why}: {} batches\n{}", load.batches(), cluster.logs());
    pushed.unwrap_or_else(|why| panic!("{}", words(why)));
}

fn batches_within(load: &Pushers, window: Duration) -> u64 {
    let before = load.batches();
    wait::let_pass(window);
    load.batches() - before
}

fn wait_for_line(cluster: &Installation, at: usize, part: &str) {
    wait::until(part, CATCH_UP, || cluster.replicas[at].log_text().contains(part).then_some(()));
}

/// Full bundles of leaves, counted by their files.
fn leaves_on_disk(cluster: &Installation, at: usize) -> usize {
    let dir: PathBuf = cluster.replicas[at].evidence_dir().join("tile/entries");
    std::fs::read_dir(dir).map_or(0, |entries| entries.count())
}
