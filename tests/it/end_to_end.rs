//! Promises 1 to 5 against real processes that are killed and cut off.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use proofmark_evidence::{Checkpoint, Origin, sha256};
use proofmark_slo::ENROL_LEAD_MS;
use proofmark_spec::Grid;
use proofmark_tests::installation::{Agent, Installation, SETTLE, free_addresses, path};
use proofmark_tests::program::Program;
use proofmark_tests::target::Target;
use proofmark_tests::{acks, api, program, wait};
use serde_json::Value;

const CHECKS: usize = 50;
/// How long the cut-off agent hears nobody, at least.
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

    let before = until_all_heard(&installation, 0);

    kill_leader_and_bring_it_back(&mut installation);
    steady.kill();
    steady.start();
    installation.replicas.iter().for_each(|replica| replica.door.cut());
    wait::let_pass(CUT);
    let healed_after_ms = watch_the_silence_grow(&installation, &before);
    installation.replicas.iter().for_each(|replica| replica.door.heal());
    kill_leader_and_bring_it_back(&mut installation);

    // The agent was never stopped: it made every run of the cut and spooled it. What stays silent
    // is what was silent before the cut: instants that passed while the new agent fetched its
    // specs.
    let after = until_all_heard(&installation, healed_after_ms);
    assert_eq!(silent(&after), silent(&before), "the replay fills all of the cut: {after}");
    assert_eq!(counted(&after), expected(&installation, &after), "{after}");
    stop(&mut [&mut steady, &mut cut_off]);
    judge(&mut installation);
}

/// A replica that cosigned another log once stops itself: agents leave it, it votes and never
/// leads, and without it the others go on.
#[test]
fn a_diverged_replica_is_left_by_agents_and_never_leads() {
    let target = Target::start();
    let mut installation = Installation::start(3);
    installation.apply("checks.yaml", &specs(target.address()));
    installation.settled_roots();
    let wrong = 2;
    installation.stop_replica(wrong);
    let signed = installation.replicas[wrong].data.join("last_signed");
    std::fs::write(&signed, signed_elsewhere()).expect("written");
    installation.start_replica(wrong);
    installation.apply("leaf.yaml", SERVICE);
    wait::until("the seal of that leaf to find it", SETTLE, || {
        let (status, _) = api::get(installation.replicas[wrong].http, "/healthz")?;
        (status == 503).then_some(())
    });
    let told = api::json(installation.replicas[wrong].http, "/api/v1/health").expect("served");
    assert_eq!(told["status"], "diverged");

    // It is the first address of this agent, which moves on.
    let addresses: Vec<SocketAddr> = installation.replicas.iter().rev().map(|at| at.grpc).collect();
    let mut agent = installation.start_agent("cut-off", &addresses);
    wait_until_accepted(&installation, "cut-off", 100);

    let leader = installation.leader();
    assert_ne!(leader, wrong, "who diverged has handed leadership away");
    installation.kill_replica(leader);
    let next = installation.leader();
    assert_eq!(next, 1 - leader, "with the vote of the wrong one, the other one");
    installation.start_replica(leader);
    wait::until("proven again, by two of three", SETTLE, || {
        let health = api::json(installation.replicas[next].http, "/api/v1/health")?;
        (health["published_size"].as_u64() > told["log_size"].as_u64()).then_some(())
    });
    agent.stop();
}

const SERVICE: &str =
    "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: another}\nspec: {}\n";

fn signed_elsewhere() -> String {
    let origin = Origin::parse("proofmark.test/it").expect("an origin");
    Checkpoint { origin, size: 1, root: sha256(b"another log") }.to_text()
}

/// The second SIGTERM does not wait for acks that cannot come.
#[test]
fn a_second_signal_ends_the_drain() {
    let target = Target::start();
    let installation = Installation::start(1);
    installation.apply("checks.yaml", &specs(target.address()));
    let door = &installation.replicas[0].door;
    let config = installation.dir().join("impatient.yaml");
    let [admin] = free_addresses();
    let text = format!(
        "name: impatient\ndata_dir: {}\njoin_token: {}\nadmin: \"{admin}\"\naggregators: \
         [\"{}\"]\n",
        installation.dir().join("impatient").display(),
        installation.token("impatient"),
        door.address()
    );
    std::fs::write(&config, text).expect("written");
    let log = installation.dir().join("impatient.log");
    let args = ["agent", "run", "--config", path(&config)];
    let mut agent = Program::start(&args, installation.dir(), &log, "ready");
    wait_until_accepted(&installation, "impatient", 50);
    // The agent stays connected and hears nothing: what it seals from here on waits for its ack.
    installation.replicas[0].signal("STOP");
    wait::until("results that wait for their acks", SETTLE, || {
        (acks::waiting(admin)? >= CHECKS as u64).then_some(())
    });
    agent.signal("TERM");
    agent.wait_for_line("draining");
    assert_eq!(agent.stop().code(), Some(75), "cut short, and said so");
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

fn objective(installation: &Installation) -> Option<Value> {
    installation.json("/api/v1/slos/cut-off-agent")
}

fn as_of_ms(slo: &Value) -> u64 {
    slo["as_of_ms"].as_u64().expect("an instant")
}

/// Runs that should have been and of which nothing was heard. Runs that the agent itself calls
/// unknown (this machine was too busy for one) are heard.
fn silent(slo: &Value) -> u64 {
    let causes = slo["unknown_causes"].as_array().expect("causes");
    let silent = causes.iter().find(|cause| cause["reason"] == "silent");
    silent.map_or(0, |cause| cause["count"].as_u64().expect("a count"))
}

fn counted(slo: &Value) -> u64 {
    ["good", "bad", "unknown"].iter().map(|name| slo[name].as_u64().expect("a count")).sum()
}

/// What the grids expect of the cut-off agent until `slo`'s instant, counted here.
fn expected(installation: &Installation, slo: &Value) -> u64 {
    let agents = || installation.json("/api/v1/agents");
    let agents = wait::until("the agents", SETTLE, agents);
    let agents = agents.as_array().expect("a list");
    let agent = agents.iter().find(|row| row["name"] == "cut-off").expect("enrolled");
    let from_ms = agent["enrolled_at_ms"].as_u64().expect("an instant") + ENROL_LEAD_MS;
    let grids = (0..CHECKS).map(|at| Grid::of(&format!("check-{at}"), "cut-off", 1_000));
    grids.map(|grid| grid.count_between(from_ms, as_of_ms(slo))).sum()
}

/// The cut-off agent's objective at an instant after `after_ms` up to which every check was heard.
/// An agent's results come in the order of its runs: whoever heard a later one heard all before.
fn until_all_heard(installation: &Installation, after_ms: u64) -> Value {
    wait::until("all runs until then to be heard", SETTLE * 2, || {
        let heard_ms = heard_ms(installation)?;
        let slo = objective(installation)?;
        let is_whole = counted(&slo) > 0 && (after_ms + 1..=heard_ms).contains(&as_of_ms(&slo));
        is_whole.then_some(slo)
    })
}

/// Until when every check of the cut-off agent was heard.
fn heard_ms(installation: &Installation) -> Option<u64> {
    let checks = installation.json("/api/v1/checks")?;
    let rows = checks.as_array()?.iter().filter(|row| row["agent"] == "cut-off");
    rows.map(|row| row["scheduled_at_ms"].as_u64()).min()?
}

/// Numbers are as of some 10 s ago, so the silence of the cut shows a little later. From then on it
/// grows by every run that is due. Answers an instant of the cut, the last one looked at.
fn watch_the_silence_grow(installation: &Installation, before: &Value) -> u64 {
    let first = wait::until("silence to count as unknown", SETTLE, || {
        objective(installation).filter(|slo| silent(slo) > silent(before))
    });
    let second = wait::until("the next look at the silence", SETTLE, || {
        objective(installation).filter(|slo| as_of_ms(slo) > as_of_ms(&first))
    });
    let due = expected(installation, &second) - expected(installation, &first);
    assert!(due > 0, "time has passed: {first} {second}");
    assert_eq!(silent(&second) - silent(&first), due, "nothing of the cut is called known");
    as_of_ms(&second)
}

fn stop(agents: &mut [&mut Agent]) {
    for agent in agents {
        agent.stop();
    }
}

/// The oracle, from outside: three copied directories give one root, every sequence is whole, the
/// served numbers are recomputed. The policy is what an agent was given when it enrolled: an
/// auditor who took it from the directory under audit would believe whoever wrote that.
fn judge(installation: &mut Installation) {
    installation.settled_roots();
    let served = installation.dir().join("served.json");
    let numbers = || installation.json("/api/v1/slos");
    let numbers = wait::until("the numbers", SETTLE, numbers);
    std::fs::write(&served, numbers.to_string()).expect("written");
    let policy = installation.dir().join("cut-off/data/identity/policy");
    let mut roots = Vec::new();
    for at in 0..installation.replicas.len() {
        installation.stop_replica(at);
        let copy = installation.dir().join(format!("copy-{at}"));
        copy_tree(&installation.replicas[at].evidence_dir(), &copy);
        let text = |path: &Path| std::fs::read_to_string(path).expect("a policy");
        assert_eq!(text(&copy.join("policy")), text(&policy), "the log's own policy");
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
        let report: Value = serde_json::from_str(&report).expect("JSON");
        check_report(&report);
        roots.push((report["size"].clone(), report["root"].clone()));
    }
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "recomputed: {roots:?}");
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

pub(crate) fn copy_tree(from: &Path, to: &Path) {
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
