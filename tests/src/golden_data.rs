//! Data directories of a released format: how one is written, once, and made ready to be opened by
//! whatever comes after it.
//!
//! `tests/golden/data-N` holds `up` (one replica and its agent, stopped in order, tables saved) and
//! `cluster` (three replicas, the third of them killed, and the agent `web-1`, killed while nobody
//! took its batches). Its keys are throw-away keys: whoever has the checkout has them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proofmark_aggregator::clock::Clock;
use proofmark_aggregator::identity::{CertificateRequest, NodeIdentity, Subject};
use proofmark_evidence::{AgentName, DirSource, LogReader};
use serde_json::{Value, json};

use crate::installation::{Agent, Installation, path};
use crate::program::Program;
use crate::{api, golden, wait};

/// The agent of `cluster`.
pub const AGENT: &str = "web-1";
/// Replicas of `cluster`.
pub const REPLICAS: usize = 3;

const PATIENCE: Duration = Duration::from_secs(60);
/// Batches that the agent of `cluster` holds and nobody has acknowledged, at least.
const SPOOLED_BYTES_MIN: u64 = 1_000;
/// Leaves that each log has, at least.
const LEAVES_MIN: u64 = 12;

/// A check that passes or fails and is a result either way, once a second.
const SPEC: &str = "\
apiVersion: proofmark/v1
kind: Check
metadata: {name: port}
spec: {interval: 1s, timeout: 900ms, probe: {tcp: {address: \"127.0.0.1:9\"}}}
---
apiVersion: openslo/v1
kind: Service
metadata: {name: local}
spec: {}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: port-open}
spec:
  service: local
  indicator:
    metadata: {name: port-passes}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: proofmark, spec: {checks: [port], outcome: pass}}}
        total: {metricSource: {type: proofmark, spec: {checks: [port]}}}
  budgetingMethod: Occurrences
  timeWindow: [{duration: 1h, isRolling: true}]
  objectives: [{target: 0.99}]
";

/// Every directory of a released format, oldest first.
pub fn all() -> Vec<PathBuf> {
    let root = golden::dir("");
    let entries = std::fs::read_dir(&root).expect("the folder of golden files");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let is_data = |path: &PathBuf| name_of(path).starts_with("data-");
    let mut found: Vec<PathBuf> = paths.filter(is_data).collect();
    found.sort();
    assert!(!found.is_empty(), "{}: no data-N in it", root.display());
    found
}

/// What was true of the directory when it was written.
pub fn facts(released: &Path) -> Value {
    let file = released.join("facts.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{file:?}: {why}"));
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{file:?}: {why}"))
}

/// Writes `into` with the program under test. `revision` says which one that is.
pub fn write(into: &Path, revision: &str) {
    assert!(!into.exists(), "{}: there already, and never written again", into.display());
    let (up, cluster) = (write_up(&into.join("up")), write_cluster(&into.join("cluster")));
    let facts = json!({ "written_by": revision, "up": up, "cluster": cluster });
    std::fs::write(into.join("facts.json"), format!("{facts:#}\n")).expect("facts written");
}

fn write_up(into: &Path) -> Value {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ports = free_ports();
    let up = start_up(dir.path(), "data", ports);
    wait::until("some leaves", PATIENCE, || {
        let health = api::json(ports[0], "/api/v1/health")?;
        (health["published_size"].as_u64() >= Some(LEAVES_MIN)).then_some(())
    });
    assert!(up.stop().success(), "it drains");
    copy(&dir.path().join("data"), into);
    log_facts(&into.join("aggregator-1"))
}

fn write_cluster(into: &Path) -> Value {
    let mut installation = Installation::start(REPLICAS);
    installation.apply("check.yaml", SPEC);
    let addresses: Vec<_> = installation.replicas.iter().map(|replica| replica.grpc).collect();
    let mut agent = installation.start_agent(AGENT, &addresses);
    wait::until("some leaves", PATIENCE, || {
        let health = installation.json("/api/v1/health")?;
        (health["published_size"].as_u64() >= Some(LEAVES_MIN)).then_some(())
    });
    installation.kill_replica(REPLICAS - 1);
    (0..REPLICAS - 1).for_each(|at| installation.stop_replica(at));
    let held = spool_bytes(agent.data_dir());
    wait::until("batches that nobody takes", PATIENCE, || {
        (spool_bytes(agent.data_dir()) > held + SPOOLED_BYTES_MIN).then_some(())
    });
    agent.kill();
    copy(&agent.data_dir(), &into.join(AGENT));
    for replica in &installation.replicas {
        copy(&replica.data, &into.join(&replica.name));
    }
    let held = proofmark_agent::fsck::inspect(&into.join(AGENT)).expect("a readable spool").spool;
    let (_, seq_end) = held.end.expect("batches that nobody took");
    let mut facts = log_facts(&into.join("a1"));
    facts["spooled_seq_end"] = seq_end.into();
    facts
}

fn spool_bytes(agent: PathBuf) -> u64 {
    let entries = std::fs::read_dir(agent.join("spool")).expect("the agent made it");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len())).sum()
}

fn log_facts(replica: &Path) -> Value {
    let log = LogReader::open(DirSource::new(replica.join("evidence"))).expect("a published log");
    let checkpoint = &log.checkpoint().checkpoint;
    json!({ "size": checkpoint.size, "root": checkpoint.root.to_base64() })
}

/// `up` as a copy of the released directory, in `dir`, its agent's certificate issued anew.
pub fn resume_up(released: &Path, dir: &Path, ports: [std::net::SocketAddr; 3]) -> Program {
    copy(&released.join("up"), &dir.join("data"));
    let data = dir.join("data");
    renew_certificate(&data.join("agent"), "local", &data.join("aggregator-1"));
    start_up(dir, "data", ports)
}

/// The cluster as a copy of the released directory, running.
pub fn resume_cluster(released: &Path) -> Installation {
    let cluster = released.join("cluster");
    Installation::resume(REPLICAS, |replica| copy(&cluster.join(&replica.name), &replica.data))
}

/// The agent of the cluster, with the spool it had.
pub fn resume_agent(released: &Path, installation: &Installation) -> Agent {
    let addresses: Vec<_> = installation.replicas.iter().map(|replica| replica.grpc).collect();
    installation.resume_agent(AGENT, &addresses, |data| {
        copy(&released.join("cluster").join(AGENT), data);
        renew_certificate(data, AGENT, &installation.replicas[0].data);
    })
}

/// An agent's certificate lives for a year; a golden directory lives longer.
fn renew_certificate(agent: &Path, name: &str, replica: &Path) {
    let identity = agent.join("identity");
    let key = std::fs::read_to_string(identity.join("tls.key.pem")).expect("the agent's TLS key");
    let key = rcgen::KeyPair::from_pem(&key).expect("a key");
    let csr = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    let request = CertificateRequest::parse(csr.der()).expect("our own request");
    let name = AgentName::parse(name).expect("a name");
    let node = NodeIdentity::load(&replica.join("identity")).expect("a replica's identity");
    let chain =
        node.authority.certify(Subject::Agent { name: &name }, &request, Clock::system().unix_ms());
    std::fs::write(identity.join("certificate.pem"), chain.expect("a certificate")).expect("kept");
}

/// A copy of the released `up`'s replica in `dir`, and the configuration that describes it: one
/// replica that leads itself.
pub fn lay_replica(released: &Path, dir: &Path, [http, grpc, peers]: [SocketAddr; 3]) -> PathBuf {
    let data = dir.join("data");
    copy(&released.join("up/aggregator-1"), &data);
    let config = dir.join("replica.yaml");
    let text = format!(
        "node: aggregator-1\norigin: proofmark.local/up\ndata_dir: {}\nlisten: {{http: \"{http}\", \
         grpc: \"{grpc}\", peers: \"{peers}\"}}\nnodes: [{{id: 1, name: aggregator-1, grpc: \
         \"{grpc}\", peers: \"{peers}\"}}]\n",
        data.display()
    );
    std::fs::write(&config, text).expect("config written");
    config
}

/// A copy of the released cluster's agent in `dir`, and its configuration.
pub fn lay_agent(released: &Path, dir: &Path) -> PathBuf {
    let data = dir.join("data");
    copy(&released.join("cluster").join(AGENT), &data);
    let config = dir.join("agent.yaml");
    let (data, nowhere) = (data.display(), "127.0.0.1:9");
    let text = format!("name: {AGENT}\ndata_dir: {data}\naggregators: [\"{nowhere}\"]\n");
    std::fs::write(&config, text).expect("config written");
    config
}

fn start_up(dir: &Path, data: &str, ports: [std::net::SocketAddr; 3]) -> Program {
    let [http, grpc, peers] = ports.map(|port| port.to_string());
    let args = ["up", "--data", data, "--http", &http, "--grpc", &grpc, "--peers", &peers];
    Program::start(&args, dir, &dir.join("up.log"), "ready")
}

/// Three ports that were free a moment ago.
pub fn free_ports() -> [std::net::SocketAddr; 3] {
    crate::installation::free_addresses()
}

/// Copies a directory for its owner's eyes only, as git cannot keep it. Locks stay behind.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap_or_else(|why| panic!("{}: {why}", path(to)));
    for entry in std::fs::read_dir(from).unwrap_or_else(|why| panic!("{}: {why}", path(from))) {
        let entry = entry.expect("a readable folder").path();
        let target = to.join(name_of(&entry));
        match entry.is_dir() {
            true => copy(&entry, &target),
            false if name_of(&entry) == "lock" => {}
            false => {
                std::fs::copy(&entry, &target).expect("copied");
                let owner_only = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(&target, owner_only).expect("our own copy");
            }
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}
