//! Old evidence that changed on the disk is noticed by the replica that has it.

use proofmark_evidence::LogFile;

use super::*;

/// A replica that published a spec and was stopped in order.
async fn stopped() -> Place {
    let place = Place::new();
    init(&place.config(), None, Clock::system().unix_ms()).unwrap();
    let node = place.start().await;
    let applied = apply_first(&node).await;
    assert!(matches!(applied, Reply::Applied { revision: 1, .. }), "{applied:?}");
    until(&node, "the spec's leaf", |views| views.health.published_size >= 2).await;
    node.stop().await.unwrap();
    place
}

async fn apply_first(node: &Node) -> Reply {
    until(node, "a first proven leaf", all_proven).await;
    apply(node, &SERVICE.replace("NAME", "one")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_evidence_is_whole_stays_serving() {
    let place = stopped().await;
    let node = place.start().await;
    let views = until(&node, "a scrub", |views| views.health.scrubbed_size >= 2).await;
    assert_eq!((views.health.status, views.health.damage), ("serving", None));
    until(&node, "the log to go on", all_proven).await;
    node.stop().await.unwrap();
}

/// One letter of a spec that was published long ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_evidence_is_damaged_names_the_file_and_is_still_read() {
    let place = stopped().await;
    let path = place.config().evidence_dir().join(LogFile::Payload { index: 0 }.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|word| word == b"openslo").unwrap();
    bytes[at] ^= 0x01;
    std::fs::write(&path, bytes).unwrap();

    let node = place.start().await;
    let views = until(&node, "the damage", |views| views.health.status != "serving").await;
    assert_eq!(views.health.status, "damaged");
    let damage = views.health.damage.unwrap();
    assert!(damage.starts_with("payload/000: leaf 1: "), "{damage}");
    let http = node.addresses().http;
    let check = async |path: &str, status: u16, part: &str| {
        let (got, body) = get(http, path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(part), "{path}: expected {part:?} in {body}");
    };
    check("/healthz", 503, "damaged: payload/000: leaf 1: ").await;
    check("/metrics", 200, "proofmark_evidence_damaged 1").await;
    check("/metrics", 200, "proofmark_serving 0").await;
    check("/api/v1/health", 200, "\"status\":\"damaged\"").await;
    check("/", 200, "payload/000: leaf 1: ").await;
    check("/log/policy", 200, "quorum").await;
    // The Raft log has it, and so do the others' evidence.
    let applied = apply(&node, &SERVICE.replace("NAME", "two")).await;
    assert!(matches!(applied, Reply::Applied { revision: 2, .. }), "{applied:?}");
    node.stop().await.unwrap();
}
