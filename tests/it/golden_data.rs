//! Directories that earlier versions wrote are opened by this one, for ever.
//!
//! To add one when a stored format changed: `cargo xtask golden-data N`. None is ever removed or
//! written again: somebody has such a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proofmark_evidence::{DirSource, LogReader};
use proofmark_tests::golden_data::{self, AGENT};
use proofmark_tests::installation::{Installation, path};
use proofmark_tests::{api, program, wait};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn up_goes_on_in_a_directory_of_every_released_format() {
    for released in golden_data::all() {
        let dir = tempfile::tempdir().unwrap();
        let ports = golden_data::free_ports();
        let facts = &golden_data::facts(&released)["up"];
        let up = golden_data::resume_up(&released, dir.path(), ports);
        wait::until("the log to go on", PATIENCE, || {
            let health = api::json(ports[0], "/api/v1/health")?;
            (health["published_size"].as_u64() > facts["size"].as_u64()).then_some(())
        });
        assert!(up.stop().success(), "{released:?}");
        grown_from(facts, &dir.path().join("data/aggregator-1/evidence"));
    }
}

#[test]
fn a_cluster_goes_on_and_an_agent_replays_its_spool() {
    for released in golden_data::all() {
        let facts = &golden_data::facts(&released)["cluster"];
        let spooled = facts["spooled_seq_end"].as_u64().expect("a fact");
        let mut installation = golden_data::resume_cluster(&released);
        let mut agent = golden_data::resume_agent(&released, &installation);
        wait::until("what was spooled then", PATIENCE, || {
            (accepted(&installation)? >= spooled).then_some(())
        });
        agent.stop();
        installation.settled_roots();
        for at in 0..installation.replicas.len() {
            installation.stop_replica(at);
            grown_from(facts, &installation.replicas[at].evidence_dir());
        }
    }
}

/// The agent's first sequence number that no replica has.
fn accepted(installation: &Installation) -> Option<u64> {
    let agents = installation.json("/api/v1/agents")?;
    let agent = agents.as_array()?.iter().find(|agent| agent["name"] == AGENT)?.clone();
    agent["next_seq"].as_u64()
}

/// The evidence of today verifies and begins with the evidence of then.
fn grown_from(facts: &Value, evidence: &Path) {
    program::must(&["evidence", "verify", path(evidence)]);
    let log = LogReader::open(DirSource::new(PathBuf::from(evidence))).expect("published");
    let size = facts["size"].as_u64().expect("a fact");
    assert!(log.size() > size, "{evidence:?}: {} leaves, {size} then", log.size());
    let root = log.root_at(size).expect("the leaves of then").to_base64();
    assert_eq!(Some(root.as_str()), facts["root"].as_str(), "{evidence:?}");
}
