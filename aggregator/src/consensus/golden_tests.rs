//! The driver as transcripts: commands, then everything three replicas said and did.
//!
//! `UPDATE=1 cargo test -p proofmark-aggregator golden` writes the transcripts anew. Commit the
//! changes only if you understand what caused them.

use std::fmt::Write as _;
use std::path::Path;

use super::stage::Stage;

/// Runs the commands of a transcript and compares what was said.
fn check(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/consensus/golden").join(name);
    let expect = std::fs::read_to_string(&file).unwrap();
    let mut stage = Stage::new();
    let mut got = String::new();
    for block in expect.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let commands = block.split("----").next().unwrap().trim();
        commands.lines().filter(|line| !line.starts_with('#')).for_each(|line| stage.run(line));
        let said = std::mem::take(&mut stage.said);
        writeln!(got, "{commands}\n----\n{said}").unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(&file, &got).unwrap();
    }
    assert_eq!(got.trim_end(), expect.trim_end(), "{name}: UPDATE=1 writes it anew");
}

#[test]
fn golden_election_and_replication() {
    check("election_and_replication.txt");
}

#[test]
fn golden_leader_crashes_before_it_commits() {
    check("leader_crashes_before_it_commits.txt");
}

#[test]
fn golden_one_way_partition() {
    check("one_way_partition.txt");
}

#[test]
fn golden_nothing_is_confirmed_before_it_is_durable() {
    check("nothing_is_confirmed_before_it_is_durable.txt");
}

#[test]
fn golden_leadership_is_handed_over() {
    check("leadership_is_handed_over.txt");
}

#[test]
fn golden_members_join_and_are_replaced() {
    check("members_join_and_are_replaced.txt");
}

#[test]
fn golden_a_snapshot_takes_the_place_of_a_log() {
    check("a_snapshot_takes_the_place_of_a_log.txt");
}

#[test]
fn golden_leadership_is_transferred() {
    check("leadership_is_transferred.txt");
}

#[test]
fn golden_reads_ask_a_majority() {
    check("reads_ask_a_majority.txt");
}
