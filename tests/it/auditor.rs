//! Promise 4 at the auditor's desk: a copy of the directory, the program, and nothing else.

use std::time::Duration;

use proofmark_tests::installation::{Installation, path};
use proofmark_tests::target::Target;
use proofmark_tests::{api, program, wait};

use crate::end_to_end::copy_tree;

const PATIENCE: Duration = Duration::from_secs(60);

/// A failing result is proven alone, offline; a proof that was changed anywhere, in its result, its
/// paths, its leaves or its place in the log, is refused.
#[test]
fn one_failure_is_proven_alone_and_offline() {
    let target = Target::start();
    let mut installation = Installation::start(1);
    installation.apply("check.yaml", &failing_check(target.address()));
    target.set_broken(true);
    let mut agent = installation.start_agent("witness", &[installation.replicas[0].grpc]);
    let id = wait::until("a failure", PATIENCE, || {
        let failures = installation.json("/api/v1/failures")?;
        Some(failures.as_array()?.first()?["id"].as_str()?.to_owned())
    });
    agent.stop();
    installation.settled_roots();
    let served = proof_over_http(&installation, &id);
    installation.stop_replica(0);

    let copy = installation.dir().join("copy");
    copy_tree(&installation.replicas[0].evidence_dir(), &copy);
    let (proof, policy) = (installation.dir().join("one.tlog-proof"), copy.join("policy"));
    program::must(&["evidence", "prove", &id, "--log", path(&copy), "-o", path(&proof)]);
    let said = program::must(&["evidence", "check", path(&proof), "--policy", path(&policy)]);
    for part in [id.as_str(), "http_status", "always-broken"] {
        assert!(said.contains(part), "expected {part} in\n{said}");
    }
    std::fs::write(&proof, served).unwrap();
    program::must(&["evidence", "check", path(&proof), "--policy", path(&policy)]);

    let text = std::fs::read_to_string(&proof).unwrap();
    for changed in changes(&text) {
        std::fs::write(&proof, &changed).unwrap();
        let output = program::run(&["evidence", "check", path(&proof), "--policy", path(&policy)]);
        assert_eq!(output.status.code(), Some(65), "a changed proof must not check:\n{changed}");
    }
}

/// The proof with another index, and with one byte changed at places all over `extra`: its version,
/// the result, the position, the paths, both leaves.
fn changes(proof: &str) -> Vec<String> {
    let extra = proof.lines().find_map(|line| line.strip_prefix("extra ")).expect("an extra line");
    // A character of base64 is six bits of a byte or two; the last ones may be padding.
    let places = (0..extra.len() - 4).step_by(extra.len() / 24);
    let changed_at = |at: usize| {
        let other = if &extra[at..=at] == "A" { "B" } else { "A" };
        proof.replacen(extra, &format!("{}{other}{}", &extra[..at], &extra[at + 1..]), 1)
    };
    let mut changed: Vec<String> = places.map(changed_at).collect();
    changed.push(proof.replacen("index ", "index 1", 1));
    changed
}

fn proof_over_http(installation: &Installation, id: &str) -> Vec<u8> {
    let path = format!("/api/v1/results/{id}/proof");
    let (status, body) = api::get(installation.replicas[0].http, &path).expect("an answer");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    body
}

fn failing_check(target: std::net::SocketAddr) -> String {
    format!(
        "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: always-broken}}\nspec: \
         {{interval: 1s, timeout: 900ms, probe: {{http: {{url: \"http://{target}/\"}}}}}}\n"
    )
}
