//! What an agent is told unasked, and when.

use std::time::Duration;

use proofmark_evidence::sha256;
use proofmark_proto::Hello;
use proofmark_proto::agent_message::Message as Out;
use proofmark_proto::gateway_message::Message as In;
use tokio::time::timeout;

use super::bench::Bench;
use super::client::{RawAgent, RawStream};

const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody publishes a checkpoint here: the replica that an agent talks to may be gone before the
/// next one.
#[tokio::test]
async fn where_replicas_are_is_told_at_once() {
    let mut bench = Bench::new();
    bench.raise_version();
    let gateway = bench.open().await;
    let agent = RawAgent::registered(&mut bench, "web-1", 1);
    let knows_its_policy = sha256(b"a policy").0.to_vec().into();
    let hello = Out::Hello(Hello { policy_sha256: knows_its_policy, ..agent.hello() });
    let mut stream = RawStream::open(&gateway, agent.tls(&bench), vec![hello]).await.unwrap();
    assert!(matches!(stream.next().await, Ok(Some(In::Welcome(_)))));

    bench.seat("n2");
    let told = timeout(PATIENCE, async {
        loop {
            match stream.next().await.unwrap().expect("the stream goes on") {
                In::Addresses(now) => return now.addresses,
                _ => continue,
            }
        }
    });
    let told = told.await.expect("news without a checkpoint");
    assert!(told.contains(&"n2.test:7681".to_owned()), "{told:?}");
    gateway.stop().await;
}
