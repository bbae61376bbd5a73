//! Replicas come and go under load, by real processes: one becomes three, a lost one is replaced, one
//! leaves, leadership moves; and the operator's slips are refused by name. At the end a stranger who
//! pinned the first node's policy believes the log of the last ones, and finds in it each result that
//! an agent was told of, once.

mod late;
mod versions;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proofmark_tests::acks::Acks;
use proofmark_tests::installation::{Installation, Joining, Replica, Seat, free_addresses, path};
use proofmark_tests::judge::judge_evidence;
use proofmark_tests::program::{self, Launch, must};
use proofmark_tests::push::{Load, Pushers, Told};
use proofmark_tests::wait;

const CHECKS: usize = 10;
const LOAD: Load = Load { agents: 2, results: 20, batches_per_s: 10 };

/// `count` checks of a port that is open, once a second each.
fn spec(target: &str) -> String {
    let check = |n: usize| {
        format!(
            "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: c{n}}}\nspec:\n  interval: \
             1s\n  timeout: 500ms\n  probe: {{tcp: {{address: '{target}'}}}}\n---\n"
        )
    };
    (0..CHECKS).map(check).collect()
}

fn copy(from: &Path, to: &Path) {
    let (from, to) = (path(from), path(to));
    let copied = std::process::Command::new("cp").args(["-r", from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()));
}

/// How far the agent's batches are in.
fn next_seq(installation: &Installation) -> u64 {
    let agents = installation.json("/api/v1/agents");
    agents.and_then(|agents| agents[0]["next_seq"].as_u64()).unwrap_or(0)
}

/// More of the agent's results are in than now.
fn goes_on(installation: &Installation) {
    let before = next_seq(installation);
    let more = wait::hoped("more results", proofmark_tests::installation::SETTLE, || {
        (next_seq(installation) > before + 2 * CHECKS as u64).then_some(())
    });
    more.unwrap_or_else(|why| panic!("{why}\n{}", installation.logs()));
}

#[test]
fn replicas_come_and_go_and_a_stranger_follows() {
    let mut installation = Installation::start(1);
    let first_policy = installation.dir().join("first-policy");
    fs::copy(installation.replicas[0].evidence_dir().join("policy"), &first_policy).unwrap();
    let target = installation.replicas[0].http.to_string();
    installation.apply("load.yaml", &spec(&target));
    let (doors, [admin]) = ([installation.replicas[0].door.address()], free_addresses());
    let (name, launch) = ("web-1", Launch::default());
    let joining = Joining { name, addresses: &doors, admin: Some(admin), launch };
    let mut agent = installation.join(joining);
    let acks = Acks::watch([(name.to_owned(), admin)]);
    let mut load = Pushers::start(&installation, LOAD).expect("agents enrol");
    goes_on(&installation);

    // One becomes three.
    let second = installation.add_replica(None);
    let third = installation.add_replica(None);
    goes_on(&installation);

    // Leadership moves where it is told to.
    for to in ["a2", "a1"] {
        installation.members_verb(&["transfer-leader", "--to", to]);
        wait::until("the new leader", proofmark_tests::installation::SETTLE, || {
            (installation.replicas[installation.leader()].name == to).then_some(())
        });
    }

    // The third one's disk is gone; another takes its place.
    installation.kill_replica(third);
    fs::remove_dir_all(&installation.replicas[third].data).unwrap();
    let fourth = installation.add_replica(Some("a3"));
    installation.wait_for_part("a3", "gone");
    installation.forget_replica(third);
    let fourth = fourth - 1;
    goes_on(&installation);

    // The first one leaves: it leads, so it hands over; then its process ends by itself.
    installation.members_verb(&["leave", "a1"]);
    installation.wait_for_part("a1", "gone");
    let ended = installation.replicas[0].ended_by_itself();
    assert_eq!(ended.status.and_then(|status| status.code()), Some(77), "{}", ended.log);
    goes_on(&installation);

    let members = installation.members_verb(&["members"]);
    for (name, part) in [("a1", "gone"), ("a2", "voter"), ("a3", "gone"), ("a4", "voter")] {
        let is_row = |line: &str| line.contains(name) && line.contains(part);
        assert!(members.lines().any(is_row), "{name} {part} in\n{members}");
    }
    // The agent pinned the first node's policy when it enrolled; it has followed, durably.
    let pinned = agent.data_dir().join("identity/policy");
    wait::until("the agent's policy to follow", proofmark_tests::installation::SETTLE, || {
        let now = fs::read(installation.replicas[fourth].evidence_dir().join("policy")).ok()?;
        (fs::read(&pinned).ok()? == now).then_some(())
    });
    load.check().expect("every agent was told what can be");
    let mut told = seq_ends(&load.stop().expect("every ack came"));
    agent.stop();
    told.extend(acks.heard());
    assert_eq!(told.len(), LOAD.agents + 1, "{told:?}");
    assert!(told.values().all(|seq_end| *seq_end > 1), "{told:?}");
    assert_eq!(second, 1);
    let first = installation.forget_replica(0);
    judge_evidence(&mut installation, &first_policy, &told).expect("what was told is in the log");

    for replica in &installation.replicas {
        let log = replica.evidence_dir();
        must(&["evidence", "verify", path(&log), "--policy", path(&log.join("policy"))]);
        accounts_for_its_leaves(replica);
    }
    drop(first);
}

/// Without tables `fsck` goes through the whole Raft log, the changes of the members too.
fn accounts_for_its_leaves(replica: &Replica) {
    fs::remove_dir_all(replica.data.join("tables")).expect("its tables");
    let output = program::run(&["aggregator", "fsck", "--config", path(replica.config())]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("raft") && !said.contains("raft_log_"), "{said}");
}

/// Of each agent the first number of which it was not told.
fn seq_ends(told: &[Arc<Told>]) -> BTreeMap<String, u64> {
    told.iter().map(|told| (told.agent.clone(), told.seq_end())).collect()
}

#[test]
fn the_operators_slips_are_refused_by_name() {
    let mut installation = Installation::start(1);
    installation.add_replica(None);
    let third = installation.add_replica(None);
    let refused = |words: &[&str], slug: &str| {
        let output = installation.try_members_verb(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(slug), "{words:?}: expected {slug}, got {said}");
        assert_eq!(output.status.code(), Some(77), "{words:?}: {said}");
    };
    refused(&["invite", "--name", "a1"], "member_exists");
    refused(&["replace", "a9", "--name", "b1"], "no_such_member");
    refused(&["leave", "a9"], "no_such_member");
    refused(&["transfer-leader", "--to", "a9"], "no_such_member");

    // A token of this cluster, a configuration of another one.
    let at = installation.plan_newcomer();
    let config = installation.replicas[at].config().to_owned();
    let token = installation.members_verb(&["invite", "--name", "a4"]);
    let own = fs::read_to_string(&config).unwrap();
    let other = installation.dir().join("other.yaml");
    fs::write(&other, own.replace("proofmark.test/it", "proofmark.test/other")).unwrap();
    let join = |config: &Path, token: &str| {
        let config = config.to_str().unwrap();
        let output =
            program::run(&["aggregator", "join", "--config", config, "--token", token.trim()]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = join(&other, &token);
    assert!(code == Some(77) && said.contains("wrong_cluster"), "{said}");
    // Another name than the token's; then a token that was used.
    let named = installation.dir().join("named.yaml");
    fs::write(&named, own.replace("a4", "a7")).unwrap();
    let (code, said) = join(&named, &token);
    assert!(code == Some(77) && said.contains("token_for_other_node"), "{said}");
    let (code, said) = join(&config, &token);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = join(&config, &token);
    assert!(code == Some(74) && said.contains("in_use"), "{said}");
    installation.start_replica(at);
    installation.wait_for_part("a4", "voter");

    // An old data directory back from a backup.
    installation.stop_replica(at);
    let data = installation.replicas[at].data.clone();
    let backup = installation.dir().join("backup");
    copy(&data, &backup);
    for _ in 0..2 {
        installation.start_replica(at);
        installation.wait_for_part("a4", "voter");
        heard(&installation, "a4");
        installation.stop_replica(at);
    }
    let newest = installation.dir().join("newest");
    fs::rename(&data, &newest).unwrap();
    copy(&backup, &data);
    installation.start_replica(at);
    let ended = installation.replicas[at].ended_by_itself();
    // Its peers know of later starts; its leader, of what it once confirmed: either ends it.
    let is_named = |word: &str| ended.log.contains(word);
    let by_name = is_named("identity_old") || is_named("lost what it confirmed");
    assert!(by_name && !ended.status.is_some_and(|status| status.success()), "{}", ended.log);

    // A second process with one identity.
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&newest, &data).unwrap();
    installation.start_replica(at);
    heard(&installation, "a4");
    let twin = twin(&installation, at);
    let mut twin = installation.start_twin(&twin);
    let status =
        wait::until("the twin to end", proofmark_tests::installation::SETTLE, || twin.ended());
    assert_eq!(status.code(), Some(77), "{}", twin.log_text());
    assert!(twin.log_text().contains("identity_in_use"), "{}", twin.log_text());
    heard(&installation, "a4");

    // A removed node that comes back, and the last majority.
    installation.kill_replica(third);
    wait::until("the lost one to be missed", proofmark_tests::installation::SETTLE, || {
        let output = installation.members_verb(&["members"]);
        let is_row = |line: &str| line.contains("a3") && line.contains(" -  ");
        output.lines().any(is_row).then_some(())
    });
    installation.members_verb(&["leave", "a4"]);
    installation.wait_for_part("a4", "gone");
    let ended = installation.replicas[at].ended_by_itself();
    assert!(ended.log.contains("removed_node"), "{}", ended.log);
    let again =
        installation.try_start_replica(at).map(|()| installation.replicas[at].ended_by_itself());
    let log = again.map_or_else(|ended| ended.log, |ended| ended.log);
    assert!(log.contains("removed_node"), "{log}");
    let output = installation.try_members_verb(&["leave", "a2"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("last_majority"), "{said}");
}

/// The leader hears this replica.
fn heard(installation: &Installation, name: &str) {
    wait::until("the replica to be heard", proofmark_tests::installation::SETTLE, || {
        let members = installation.members_verb(&["members"]);
        let is_row = |line: &&str| line.contains(name) && !line.contains(" -  -");
        let row = members.lines().find(is_row)?;
        let lag = row.split_whitespace().nth(4)?;
        lag.parse::<u64>().ok().map(drop)
    });
}

/// A copy of a running replica's directory, to be started on ports of its own.
fn twin(installation: &Installation, at: usize) -> std::path::PathBuf {
    let replica = &installation.replicas[at];
    let data = installation.dir().join("twin");
    copy(&replica.data, &data);
    let seat = Seat::loopback();
    let mut config = fs::read_to_string(replica.config()).expect("its configuration");
    config = config.replace(path(&replica.data), path(&data));
    for (old, new) in replica.ports().iter().zip(seat.listen) {
        config = config.replace(&format!(": {old}"), &format!(": {new}"));
    }
    let written = installation.dir().join("twin.yaml");
    fs::write(&written, config).expect("written");
    written
}
