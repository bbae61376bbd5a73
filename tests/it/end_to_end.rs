//! Promises 1 to 5 against real processes that are killed and cut off.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use proofmark_tests::installation::{Agent, Installation, SETTLE, path};
use proofmark_tests::target::Target;
use proofmark_tests::{program, wait};
use serde_json::Value;

const CHECKS: usize = 50;
/// How long the cut-off agent hears nobody.
const CUT: Duration = Duration::from_secs(20);

/// Three replicas, two agents with 50 checks a second each. The leader is killed twice, an agent
/// once, the other agent is cut off for 20 s. Nothing is lost, doubled, or counted as good.
#[test]
fn nothing_is_lost_or_doubled_when_leaders_and_agents_die() {
    let target = Target::start();
    let mut installation = Installation::start(3);
    installation.apply("checks.yaml", &specs(target.address()));

    let direct: Vec<SocketAddr> = installation.replicas.iter().map(|at| at.grpc).collect();
    let behind: Vec<SocketAddr> =
        installation.replicas.iter().map(|replica| replica.door.address()).collect();
    let mut steady = installation.start_agent("steady", &direct);
    let mut cut_off = installation.start_agent("cut-off", &behind);
    wait_until_accepted(&installation, "steady", 200);
    wait_until_accepted(&installation, "cut-off", 200);

    kill_leader_and_bring_it_back(&mut installation);
    steady.kill();
    steady.start();
    installation.replicas.iter().for_each(|replica| replica.door.cut());
    wait::let_pass(CUT);
    let during = until_unknown(&installation);
    installation.replicas.iter().for_each(|replica| replica.door.heal());
    kill_leader_and_bring_it_back(&mut installation);

    let after = until_known(&installation);
    assert!(unknown(&after) < unknown(&during), "the replay must fill what was unknown: {after}");
    stop(&mut [&mut steady, &mut cut_off]);
    judge(&mut installation);
}

/// HTTP and TCP checks at 1 s against the test's own server, and an objective over each agent.
fn specs(target: SocketAddr) -> String {
    let mut text = String::new();
    let mut names = Vec::new();
    for at in 0..CHECKS {
        let probe = match at % 2 {
            0 => format!("{{http: {{url: \"http://{target}/{at}\"}}}}"),
            _ => format!("{{tcp: {{address: \"{target}\"}}}}"),
        };
        let name = format!("check-{at}");
        writeln!(
            text,
            "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: {name}}}\n\
             spec: {{interval: 1s, timeout: 900ms, probe: {probe}}}\n---"
        )
        .expect("a String takes every write");
        names.push(name);
    }
    text.push_str("apiVersion: openslo/v1\nkind: Service\nmetadata: {name: local}\nspec: {}\n");
    for agent in ["steady", "cut-off"] {
        text.push_str(&slo(agent, &names.join(", ")));
    }
    text
}

fn slo(agent: &str, checks: &str) -> String {
    format!(
        "---\napiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: {agent}-agent}}\nspec:\n  \
         service: local\n  indicator:\n    metadata: {{name: {agent}-passes}}\n    spec:\n      \
         ratioMetric:\n        counter: true\n        good: {{metricSource: {{type: proofmark, \
         spec: {{checks: [{checks}], agents: [{agent}], outcome: pass}}}}}}\n        total: \
         {{metricSource: {{type: proofmark, spec: {{checks: [{checks}], agents: [{agent}]}}}}}}\n  \
         budgetingMethod: Occurrences\n  timeWindow: [{{duration: 1h, isRolling: true}}]\n  \
         objectives: [{{target: 0.99}}]\n"
    )
}

fn wait_until_accepted(installation: &Installation, agent: &str, results: u64) {
    wait::until(&format!("{results} results of {agent}"), SETTLE, || {
        let agents = installation.json("/api/v1/agents")?;
        let row = agents.as_array()?.iter().find(|row| row["name"] == agent)?.clone();
        (row["next_seq"].as_u64()? > results).then_some(())
    });
}

fn kill_leader_and_bring_it_back(installation: &mut Installation) {
    let leader = installation.leader();
    installation.kill_replica(leader);
    installation.leader();
    installation.start_replica(leader);
}

/// Numbers are as of some 10 s ago, so the silence of the cut shows a little later.
fn until_unknown(installation: &Installation) -> Value {
    wait::until("silence to count as unknown", SETTLE, || {
        let slo = installation.json("/api/v1/slos/cut-off-agent")?;
        (unknown(&slo) > CHECKS as u64 * 5).then_some(slo)
    })
}

fn unknown(slo: &Value) -> u64 {
    slo["unknown"].as_u64().expect("a count")
}

/// The cut-off agent's spool has replayed when its silence of the cut is counted as known.
fn until_known(installation: &Installation) -> Value {
    wait::until("the replay of the spool", SETTLE, || {
        let slo = installation.json("/api/v1/slos/cut-off-agent")?;
        (unknown(&slo) < CHECKS as u64 * 5).then_some(slo)
    })
}

fn stop(agents: &mut [&mut Agent]) {
    for agent in agents {
        agent.stop();
    }
}

/// The oracle, from outside: roots equal, every sequence whole, served numbers recomputed.
fn judge(installation: &mut Installation) {
    let roots = installation.settled_roots();
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "{roots:?}");
    let served = installation.dir().join("served.json");
    let numbers = installation.json("/api/v1/slos").expect("served");
    std::fs::write(&served, numbers.to_string()).expect("written");
    for at in 0..installation.replicas.len() {
        installation.stop_replica(at);
        let copy = installation.dir().join(format!("copy-{at}"));
        copy_tree(&installation.replicas[at].evidence_dir(), &copy);
        let policy = copy.join("policy");
        let report = program::must(&[
            "evidence",
            "verify",
            path(&copy),
            "--policy",
            path(&policy),
            "--served",
            path(&served),
            "-o",
            "json",
        ]);
        check_report(&serde_json::from_str(&report).expect("JSON"));
    }
}

fn check_report(report: &Value) {
    assert_eq!(report["faults"], serde_json::json!([]), "{report}");
    let agents = report["agents"].as_array().expect("agents");
    assert_eq!(agents.len(), 2, "{report}");
    for agent in agents {
        assert_eq!(agent["seq_first"], 1, "{agent}");
        assert_eq!(agent["results"], agent["seq_last"], "every number exactly once: {agent}");
    }
    assert_eq!(report["slo"]["mismatches"], serde_json::json!([]), "{report}");
    assert!(report["slo"]["compared"].as_u64() > Some(0), "{report}");
}

pub(crate) fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder for the copy");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("copied")),
        }
    }
}
