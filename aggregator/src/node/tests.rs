//! One replica, whole, on a real disk and real sockets: begin, stop, go on, lose its tables.

mod init;
mod scrub;
mod snapshots;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::command::{Command, Reply};
use crate::config::{Listen, LogFormat, NodeEntry, SnapshotPlan};
use crate::consensus::ProposalOutcome;
use crate::limits::FETCH_RATE_BYTES;
use crate::views::Views;

const PATIENCE: Duration = Duration::from_secs(30);

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> Config {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let unused = "127.0.0.1:1".to_owned();
        Config {
            node: "a1".into(),
            origin: proofmark_evidence::Origin::parse("proofmark.test/node").unwrap(),
            data_dir: self.dir.path().join("a1"),
            listen: Listen { http: any, grpc: any, peers: any },
            nodes: vec![NodeEntry {
                id: 1,
                name: "a1".into(),
                grpc: unused.clone(),
                peers: unused,
            }],
            snapshots: SnapshotPlan::default(),
            fetch_rate: FETCH_RATE_BYTES,
            log_format: LogFormat::Text,
        }
    }

    async fn start(&self) -> Node {
        Node::start(&self.config(), Clock::system()).await.unwrap()
    }
}

/// Waits until the views say it; views change with every tick.
async fn until(node: &Node, what: &str, fact: impl Fn(&Views) -> bool) -> Views {
    let mut published = node.views().published.clone();
    let mut state = node.views().state.clone();
    let seen = async {
        loop {
            let views = node.views().now();
            if fact(&views) {
                return views;
            }
            tokio::select! {
                changed = published.changed() => changed.unwrap(),
                changed = state.changed() => changed.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

fn all_proven(views: &Views) -> bool {
    let health = &views.health;
    health.log_size > 0 && health.published_size == health.log_size
}

async fn apply(node: &Node, text: &str) -> Reply {
    let command = Command::ApplySpec { author: "test".into(), text: text.into() };
    match node.handle().propose(command).await {
        ProposalOutcome::Applied(reply) => reply,
        other => panic!("{other:?}"),
    }
}

const SERVICE: &str = "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: NAME}\nspec: {}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_begins_goes_on_and_survives_the_loss_of_its_tables() {
    let place = Place::new();
    init(&place.config(), None, Clock::system().unix_ms()).unwrap();
    let node = place.start().await;
    until(&node, "a first proven leaf", all_proven).await;
    let applied = apply(&node, &SERVICE.replace("NAME", "one")).await;
    assert!(matches!(applied, Reply::Applied { revision: 1, .. }), "{applied:?}");
    let before = until(&node, "the spec's leaf", |views| views.health.published_size >= 2).await;
    node.stop().await.unwrap();

    // Stopped in order: the next start goes on from the tables.
    let node = place.start().await;
    let loaded = node.views().now();
    assert!(loaded.state.log_size >= before.state.log_size, "{:?}", loaded.health);
    assert_eq!(loaded.state.spec.revision, 1);
    node.stop().await.unwrap();

    for damage in [delete_tables as fn(&Path), flip_tables, truncate_tables] {
        damage(&place.config().tables_dir());
        let node = place.start().await;
        let views = until(&node, "the rebuilt state", |views| views.state.spec.revision == 1).await;
        assert_eq!(views.health.status, "serving");
        until(&node, "the log to go on", all_proven).await;
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_stopped_in_order_is_proven_to_its_last_leaf() {
    let place = Place::new();
    init(&place.config(), None, Clock::system().unix_ms()).unwrap();
    let node = place.start().await;
    until(&node, "a first proven leaf", all_proven).await;
    apply(&node, &SERVICE.replace("NAME", "last")).await;
    node.stop().await.unwrap();
    struct Leaves(u64);
    impl proofmark_evidence::LeafVisitor for Leaves {
        fn leaf(
            &mut self,
            index: u64,
            _: &proofmark_evidence::Header,
            _: Option<&proofmark_evidence::OpenBatch>,
            _: &[u8],
        ) {
            self.0 = index + 1;
        }
    }
    let source = proofmark_evidence::DirSource::new(place.config().evidence_dir());
    let mut leaves = Leaves(0);
    let report = proofmark_evidence::verify_log_unpinned(&source, &mut leaves);
    assert!(report.is_sound(), "{:?}", report.faults);
    assert_eq!((report.unpublished, report.size, leaves.0), (0, 2, 2));
}

fn delete_tables(dir: &Path) {
    std::fs::remove_dir_all(dir).unwrap();
}

fn flip_tables(dir: &Path) {
    change_db(dir, |bytes| bytes.iter_mut().skip(100).step_by(997).for_each(|byte| *byte ^= 0x55));
}

fn truncate_tables(dir: &Path) {
    change_db(dir, |bytes| bytes.truncate(bytes.len() / 2));
}

fn change_db(dir: &Path, change: impl Fn(&mut Vec<u8>)) {
    let path = dir.join("db");
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_slips_are_refused_by_name() {
    let place = Place::new();
    let refused = Node::start(&place.config(), Clock::system()).await.err().unwrap();
    assert!(matches!(refused, NodeFault::NotInitialised { .. }), "{refused}");

    let now_ms = Clock::system().unix_ms();
    init(&place.config(), None, now_ms).unwrap();
    let again = init(&place.config(), None, now_ms).err().unwrap();
    assert!(matches!(again, NodeFault::InUse { .. }), "{again}");

    let mut other = place.config();
    other.origin = proofmark_evidence::Origin::parse("proofmark.test/other").unwrap();
    let refused = Node::start(&other, Clock::system()).await.err().unwrap();
    let expect = "identity: origin: expected proofmark.test/node, got proofmark.test/other";
    assert_eq!(refused.to_string(), expect);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_the_api_and_the_log_are_served() {
    let place = Place::new();
    init(&place.config(), None, Clock::system().unix_ms()).unwrap();
    let node = place.start().await;
    until(&node, "a first proven leaf", all_proven).await;
    let check = async |path: &str, status: u16, part: &str| {
        let (got, body) = get(node.addresses().http, path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(part), "{path}: expected {part:?} in {body}");
    };
    check("/", 200, "Newest checkpoint").await;
    check("/healthz", 200, "ok").await;
    check("/metrics", 200, "proofmark_serving 1").await;
    check("/openapi.json", 200, "/api/v1/slos/{name}").await;
    check("/api/v1/health", 200, "\"role\":\"leader\"").await;
    check("/api/v1/slos/none", 404, "no_such_slo").await;
    check("/api/v1/results/Web/1/1", 400, "result_id").await;
    check("/api/v1/results/web/1/1", 404, "no_such_result").await;
    check("/log/checkpoint", 200, "proofmark.test/node").await;
    check("/log/policy", 200, "quorum").await;
    check("/log/../raft/x", 404, "").await;
    check("/nothing", 404, "no_such_page").await;
    node.stop().await.unwrap();
}

/// It cosigned another root once: it may not sign this log, and says so to whoever asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diverged_replica_is_read_and_serves_nobody() {
    let place = Place::new();
    let config = place.config();
    init(&config, None, Clock::system().unix_ms()).unwrap();
    let (origin, root) = (config.origin.clone(), proofmark_evidence::sha256(b"another log"));
    let signed = proofmark_evidence::Checkpoint { origin, size: 1, root };
    std::fs::write(config.signed_file(), signed.to_text()).unwrap();

    let node = place.start().await;
    let mut diverged = node.views().diverged.clone();
    let told = tokio::time::timeout(PATIENCE, diverged.wait_for(|raised| *raised)).await;
    told.expect("its first seal is one it may not sign").unwrap();
    let http = node.addresses().http;
    let check = async |path: &str, status: u16, part: &str| {
        let (got, body) = get(http, path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(part), "{path}: expected {part:?} in {body}");
    };
    check("/healthz", 503, "diverged").await;
    check("/metrics", 200, "proofmark_serving 0").await;
    check("/api/v1/health", 200, "\"status\":\"diverged\"").await;
    check("/log/policy", 200, "quorum").await;
    node.stop().await.unwrap();
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}
