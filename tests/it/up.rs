//! `proofmark up`: what a newcomer does first.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use proofmark_tests::installation::path;
use proofmark_tests::program::Program;
use proofmark_tests::{api, program, wait};

/// README, "Two commands": within a minute the page shows objectives with real numbers.
const A_MINUTE: Duration = Duration::from_secs(60);

#[test]
fn up_shows_real_numbers_within_a_minute_and_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let up = start(dir.path(), ports, &[]);
    let first = wait::until("objectives with numbers", A_MINUTE, || with_numbers(ports[0]));
    assert!(first["good"].as_u64() > Some(0), "{first}");

    let server = format!("http://{}", ports[0]);
    let table = program::must(&["get", "slo", "--server", &server]);
    assert!(table.starts_with("SLO "), "{table}");
    let (status, page) = api::get(ports[0], "/").expect("the page");
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, 200);
    let objective = first["name"].as_str().expect("an objective has a name");
    for part in ["Objectives", "Fleet", "Latest failures", "Newest checkpoint", objective] {
        assert!(page.contains(part), "the page lacks {part}");
    }
    let before = size(ports[0]);
    assert!(up.stop().success(), "Ctrl-C drains and exits 0");

    let again = start(dir.path(), ports, &[]);
    wait::until("the log to go on", A_MINUTE, || (size(ports[0]) > before).then_some(()));
    let numbers = || api::json(ports[0], "/api/v1/slos");
    let served = wait::until("the numbers", A_MINUTE, numbers);
    assert!(again.stop().success());
    let evidence = dir.path().join("data/aggregator-1/evidence");
    program::must(&["evidence", "verify", path(&evidence)]);
    a_changed_number_is_found(dir.path(), &evidence, served);
}

/// Numbers as served are recomputed; the same numbers with one more good run are not believed.
fn a_changed_number_is_found(dir: &Path, evidence: &Path, mut served: serde_json::Value) {
    let verify = |served: &serde_json::Value| {
        let file = dir.join("served.json");
        std::fs::write(&file, served.to_string()).expect("written");
        program::run(&["evidence", "verify", path(evidence), "--served", path(&file)])
    };
    assert_eq!(verify(&served).status.code(), Some(0), "{served}");
    let good = served[0]["good"].as_u64().expect("a count");
    served[0]["good"] = (good + 1).into();
    assert_eq!(verify(&served).status.code(), Some(65), "one more good run: {served}");
}

#[test]
fn up_with_three_replicas_publishes_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports();
    let up = start(dir.path(), ports, &["--replicas", "3"]);
    wait::until("a checkpoint with cosignatures of a majority", A_MINUTE, || {
        let checkpoint = api::json(ports[0], "/api/v1/checkpoint")?;
        (checkpoint["cosigners"].as_array()?.len() >= 2).then_some(())
    });
    assert!(up.stop().success());
    for replica in 1..=3 {
        let evidence = dir.path().join(format!("data/aggregator-{replica}/evidence"));
        program::must(&["evidence", "verify", path(&evidence)]);
    }
}

fn start(dir: &Path, ports: [SocketAddr; 3], more: &[&str]) -> Program {
    let [http, grpc, peers] = ports.map(|port| port.to_string());
    let mut args =
        vec!["up", "--data", "data", "--http", &http, "--grpc", &grpc, "--peers", &peers];
    args.extend(more);
    Program::start(&args, dir, &dir.join("up.log"), "ready")
}

fn with_numbers(http: SocketAddr) -> Option<serde_json::Value> {
    let slos = api::json(http, "/api/v1/slos")?;
    slos.as_array()?.iter().find(|slo| slo["good"].as_u64() > Some(0)).cloned()
}

fn size(http: SocketAddr) -> u64 {
    let health = api::json(http, "/api/v1/health");
    health.and_then(|health| health["log_size"].as_u64()).unwrap_or(0)
}

/// Three ports with two free ones after each, for up to three replicas.
fn free_ports() -> [SocketAddr; 3] {
    wait::until("free runs of ports", A_MINUTE, || {
        let held = TcpListener::bind("127.0.0.1:0").ok()?;
        let first = held.local_addr().ok()?.port();
        let run: Vec<TcpListener> = (1..9)
            .map_while(|next| TcpListener::bind(("127.0.0.1", first.checked_add(next)?)).ok())
            .collect();
        let starts = [first, first + 3, first + 6];
        (run.len() == 8).then(|| starts.map(|port| SocketAddr::from(([127, 0, 0, 1], port))))
    })
}
