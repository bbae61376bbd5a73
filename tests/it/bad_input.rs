//! A replica under bad input of every kind, while an agent works: it stays up, says exactly what
//! is wrong, and nothing is lost.
//!
//! [`documents`] applies every bad spec through the program and past it; [`calls`] makes every
//! malformed call of the agent port; [`noise`] is not even a call. Each refusal is held against
//! the same golden file as in the room that makes it.

mod calls;
mod documents;
mod noise;

use std::net::SocketAddr;
use std::time::Duration;

use proofmark_tests::installation::{Agent, Installation, Replica, SETTLE, path};
use proofmark_tests::target::Target;
use proofmark_tests::{api, golden, program, wait};
use serde_json::{Value, json};

use crate::end_to_end::copy_tree;

/// Callers that hold up the drain are cut off after this long.
const DRAIN: Duration = Duration::from_secs(15);

#[test]
fn bad_input_is_refused_word_for_word_and_nothing_is_lost() {
    let target = Target::start();
    let mut installation = Installation::start(1);
    let grpc = installation.replicas[0].grpc;
    let mut steady = installation.start_agent("steady", &[grpc]);
    installation.apply("steady.yaml", &spec(target.address()));
    accepted_past(&installation, 1);
    wait::until("the commands about replicas to be known", SETTLE, || {
        installation.try_members_verb(&["members"]).status.success().then_some(())
    });
    let before = Standing::of(&installation);

    let silent = noise::silent_callers(&installation.replicas[0]);
    let mut differences = documents::apply_all(&installation.replicas[0]);
    differences.extend(calls::make_all(&installation));
    golden::assert_none(&differences);
    noise::make(&installation.replicas[0]);

    let after = Standing::of(&installation);
    assert_eq!(before.pid, after.pid);
    assert_eq!(before.spec, after.spec, "nothing of what was refused is in force");
    accepted_past(&installation, after.steady_next_seq + 2);
    every_counter_moved(&installation.replicas[0]);
    nothing_is_unknown(&installation, after.tick_ms);
    end(&mut installation, &mut steady, silent);
}

/// One check a second, and an objective over it.
fn spec(target: SocketAddr) -> String {
    let results = |more: &str| {
        let of = format!("checks: [steady], agents: [steady]{more}");
        format!("{{metricSource: {{type: proofmark, spec: {{{of}}}}}}}")
    };
    let (good, total) = (results(", outcome: pass"), results(""));
    format!(
        "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: steady}}\nspec: {{interval: 1s, \
         timeout: 900ms, probe: {{http: {{url: \"http://{target}/\"}}}}}}\n---\n\
         apiVersion: openslo/v1\nkind: Service\nmetadata: {{name: local}}\nspec: {{}}\n---\n\
         apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: steady-works}}\nspec:\n  service: \
         local\n  indicator:\n    metadata: {{name: passes}}\n    spec:\n      ratioMetric: \
         {{counter: true, good: {good}, total: {total}}}\n  budgetingMethod: Occurrences\n  \
         timeWindow: [{{duration: 1h, isRolling: true}}]\n  objectives: [{{target: 0.99}}]\n"
    )
}

/// What bad input must not change, and when it was looked at.
struct Standing {
    pid: u32,
    spec: Value,
    steady_next_seq: u64,
    /// When the newest batch was accepted: the replica's own time.
    tick_ms: u64,
}

impl Standing {
    fn of(installation: &Installation) -> Standing {
        let steady = agent(installation, "steady").expect("enrolled");
        Standing {
            pid: installation.replicas[0].pid(),
            spec: installation.json("/api/v1/spec?consistency=stale").expect("serving"),
            steady_next_seq: steady["next_seq"].as_u64().expect("a number"),
            tick_ms: steady["accepted_at_ms"].as_u64().expect("a time"),
        }
    }
}

fn agent(installation: &Installation, name: &str) -> Option<Value> {
    let agents = installation.json("/api/v1/agents?consistency=stale")?;
    agents.as_array()?.iter().find(|agent| agent["name"] == name).cloned()
}

fn accepted_past(installation: &Installation, seq: u64) {
    wait::until("the steady agent's next results", SETTLE, || {
        let steady = agent(installation, "steady")?;
        (steady["next_seq"].as_u64()? > seq).then_some(())
    });
}

/// The slugs of refusals, each counted under its own name.
fn every_counter_moved(replica: &Replica) {
    let slugs = calls::COUNTED.iter().copied().chain(noise::COUNTED.iter().copied());
    for (event, slug) in slugs {
        let line = format!("proofmark_ingest_total{{event=\"{event}\",slug=\"{slug}\"}} ");
        // A handshake that says nothing is given up after some seconds.
        wait::until(&line, SETTLE, || {
            let (_, text) = api::get(replica.http, "/metrics")?;
            let text = String::from_utf8(text).ok()?;
            let count = text.lines().find_map(|found| found.strip_prefix(&line))?;
            (count.parse::<u64>().ok()? > 0).then_some(())
        });
    }
}

/// Every run up to `until_ms` counts as known; the agent may have confessed that it skipped one.
fn nothing_is_unknown(installation: &Installation, until_ms: u64) {
    let slo = wait::until("the objective to be counted past the bad input", SETTLE, || {
        let slo = installation.json("/api/v1/slos/steady-works")?;
        (slo["as_of_ms"].as_u64()? >= until_ms).then_some(slo)
    });
    let causes = slo["unknown_causes"].as_array().expect("causes");
    let lost = causes.iter().filter(|cause| {
        let reason = cause["reason"].as_str().unwrap_or_default();
        !reason.starts_with("skipped_") && cause["count"] != 0
    });
    assert_eq!(lost.count(), 0, "{slo:#}");
    assert!(slo["good"].as_u64() > Some(0), "{slo:#}");
    let steady = agent(installation, "steady").expect("enrolled");
    assert_eq!(steady["silent_checks"], 0, "{steady}");
}

/// Everything drains while callers still hold their connections; the copied log is sound.
fn end(installation: &mut Installation, steady: &mut Agent, silent: Vec<std::net::TcpStream>) {
    steady.stop();
    installation.settled_roots();
    let next_seq = Standing::of(installation).steady_next_seq;
    let patience = wait::Deadline::after(DRAIN);
    installation.stop_replica(0);
    assert!(!patience.passed(), "silent callers held up the drain for more than {DRAIN:?}");
    drop(silent);

    let copy = installation.dir().join("copy");
    copy_tree(&installation.replicas[0].evidence_dir(), &copy);
    let policy = copy.join("policy");
    let verify = ["evidence", "verify", path(&copy), "--policy", path(&policy), "-o", "json"];
    let report: Value = serde_json::from_str(&program::must(&verify)).expect("JSON");
    assert_eq!(report["faults"], json!([]), "{report}");
    let agents = report["agents"].as_array().expect("agents");
    let steady = agents.iter().find(|agent| agent["agent"] == "steady").expect("in the log");
    assert_eq!(steady["seq_first"], 1, "{steady}");
    assert_eq!(steady["results"], steady["seq_last"], "each number once: {steady}");
    let is_whole = steady["seq_last"].as_u64() >= Some(next_seq - 1);
    assert!(is_whole, "expected all that was accepted, up to before {next_seq}: {steady}");
}
