//! The agents' own side, real, against the real gateway: enrolment, and an uplink that delivers
//! every batch once whatever is in its way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proofmark_agent::Clock;
use proofmark_agent::identity::{Identity, IdentityConfig, IdentityFault};
use proofmark_agent::uplink::{
    RefusedAction, UplinkConfig, UplinkEvent, UplinkHandle, start, system_random,
};
use proofmark_aggregator::command::{Command, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::ingest::counters::Event;
use proofmark_aggregator::ingest::{AgentDirectory as _, SpecSnapshot};
use proofmark_evidence::{
    AgentName, Checkpoint, Hash, Seen, SigningKey, cosign, log_signature_line, sha256,
};
use proofmark_proto::JoinToken;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bench::{Bench, Gateway};
use super::client::RawAgent;

const PATIENCE: Duration = Duration::from_secs(20);

/// An enrolled agent with its uplink running; `raw` seals its batches.
struct Linked {
    raw: RawAgent,
    uplink: UplinkHandle,
    tasks: JoinSet<()>,
}

async fn enrol(
    dir: &Path,
    gateway: &Gateway,
    token: Option<&JoinToken>,
) -> Result<Identity, IdentityFault> {
    let agent = AgentName::parse("web-1").unwrap();
    let aggregators = [gateway.address.clone()];
    let config = IdentityConfig { data_dir: dir, agent: &agent, aggregators: &aggregators, token };
    Identity::load_or_enrol(&config, &Clock::system()).await
}

impl Linked {
    async fn new(bench: &mut Bench, gateways: &[&Gateway]) -> Linked {
        let dir = TempDir::new().unwrap();
        let token = bench.token(None);
        let identity = enrol(dir.path(), gateways[0], Some(&token)).await.unwrap();
        let raw =
            RawAgent { key: identity.signing_key.clone(), ..RawAgent::unknown(bench, "web-1", 1) };
        let config = UplinkConfig {
            addresses: gateways.iter().map(|gateway| gateway.address.clone()).collect(),
            spec_revision: 0,
            clock: Clock::system(),
            // Always the first address, always the shortest wait.
            random: Box::new(|| 0),
        };
        let mut tasks = JoinSet::new();
        let uplink = start(config, Arc::new(identity), &mut tasks);
        let mut linked = Linked { raw, uplink, tasks };
        let hello = linked.event().await;
        let last_header_hash = Hash::ZERO;
        assert_eq!(hello, UplinkEvent::Connected { epoch: 1, next_seq: 1, last_header_hash });
        linked
    }

    async fn event(&mut self) -> UplinkEvent {
        let event = timeout(PATIENCE, self.uplink.events.recv()).await;
        event.expect("an event in time").expect("the uplink runs")
    }

    /// Skips events until `wanted` says what it waited for.
    async fn until<T>(&mut self, mut wanted: impl FnMut(UplinkEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.event().await) {
                return found;
            }
        }
    }

    /// Seals and hands in the next `count` batches of three results each.
    async fn hand_in(&mut self, count: u64) {
        for _ in 0..count {
            let batch = self.raw.batch();
            self.raw.advance(&batch);
            self.uplink.batches.send(batch).await.unwrap();
        }
    }

    async fn until_acked(&mut self, end: u64) {
        self.until(|event| match event {
            UplinkEvent::Acked { epoch: 1, seq_end } => (seq_end == end).then_some(()),
            _ => None,
        })
        .await;
    }

    fn next_seq(&self, bench: &Bench) -> u64 {
        bench.consensus.find(&self.raw.name).unwrap().next_seq
    }
}

#[tokio::test]
async fn an_agent_enrols_once_and_finds_itself_again() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let dir = TempDir::new().unwrap();
    let token = bench.token(None);
    let first = enrol(dir.path(), &gateway, Some(&token)).await.unwrap();
    let again = enrol(dir.path(), &gateway, None).await.unwrap();
    assert_eq!((first.epoch, again.epoch), (1, 1));
    assert_eq!(first.signing_key.public(), again.signing_key.public());
    assert_eq!(again.policy.to_text(), bench.identity.policy);
    assert_eq!(again.addresses, std::slice::from_ref(&gateway.address));
    // The reply was lost: the same token and key get the same epoch.
    std::fs::remove_file(dir.path().join("identity/enrolment")).unwrap();
    assert_eq!(enrol(dir.path(), &gateway, Some(&token)).await.unwrap().epoch, 1);
    // It was killed before it stored the reply, and its next start brings another token.
    std::fs::remove_file(dir.path().join("identity/enrolment")).unwrap();
    let other = bench.token(None);
    assert_eq!(enrol(dir.path(), &gateway, Some(&other)).await.unwrap().epoch, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn enrolment_waits_for_a_leader() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let dir = TempDir::new().unwrap();
    let token = bench.token(None);
    bench.consensus.script(ProposalOutcome::NotLeader { leader: None });
    assert_eq!(enrol(dir.path(), &gateway, Some(&token)).await.unwrap().epoch, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn an_agent_that_cannot_enrol_says_why() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let token = bench.token(None);
    let other_ca = JoinToken { ca_sha256: sha256(b"another CA").0, ..token.clone() };
    let check = async |token: Option<&JoinToken>, slug: &str, expect: &str| {
        let dir = TempDir::new().unwrap();
        let fault = enrol(dir.path(), &gateway, token).await.err().expect("no identity");
        assert_eq!(fault.slug(), slug);
        assert!(fault.to_string().contains(expect), "{fault}");
    };
    check(None, "identity_missing", "expected an enrolment or a join token, got neither").await;
    let (expected, got) = (sha256(b"another CA"), bench.identity.authority.sha256());
    let pin = format!("expected a CA with SHA-256 {expected}, got {got}");
    check(Some(&other_ca), "wrong_ca", &pin).await;
    let dir = TempDir::new().unwrap();
    enrol(dir.path(), &gateway, Some(&token)).await.unwrap();
    check(Some(&token), "token_spent", "token_spent").await;
    gateway.stop().await;
}

#[tokio::test]
async fn batches_are_acknowledged_and_the_uplink_ends_when_all_are() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let mut linked = Linked::new(&mut bench, &[&gateway]).await;
    linked.hand_in(20).await;
    linked.until_acked(61).await;
    assert_eq!(linked.next_seq(&bench), 61);
    let Linked { uplink: UplinkHandle { batches, events }, mut tasks, .. } = linked;
    drop(batches);
    timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap().unwrap();
    drop(events);
    gateway.stop().await;
}

#[tokio::test]
async fn what_nobody_decided_is_sent_again_and_counted_once() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let mut linked = Linked::new(&mut bench, &[&gateway]).await;
    bench.consensus.script(ProposalOutcome::Busy { retry_after_ms: 1 });
    linked.hand_in(8).await;
    linked.until_acked(25).await;
    bench.consensus.script(ProposalOutcome::NotLeader { leader: None });
    linked.hand_in(8).await;
    linked.until_acked(49).await;
    assert_eq!(linked.next_seq(&bench), 49);
    gateway.stop().await;
}

#[tokio::test]
async fn a_batch_that_will_never_be_taken_comes_back() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let mut linked = Linked::new(&mut bench, &[&gateway]).await;
    let bad = linked.raw.batch_with(|header| header.count = 4);
    linked.uplink.batches.send(bad).await.unwrap();
    let refused = linked.until(|event| match event {
        UplinkEvent::Refused { slug, expected, got, action } => Some((slug, expected, got, action)),
        _ => None,
    });
    let (slug, expected, got, action) = refused.await;
    assert_eq!((slug.as_str(), action), ("batch_count_unequal", RefusedAction::Drop));
    assert_eq!((expected.as_str(), got.as_str()), ("results: 4 as the header says", "3"));
    // Its replacement, with the same sequence numbers, is taken on the same stream.
    linked.hand_in(1).await;
    linked.until_acked(4).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_retired_agent_is_told_to_stop() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let mut linked = Linked::new(&mut bench, &[&gateway]).await;
    let agent = linked.raw.name.clone();
    assert_eq!(bench.consensus.apply(&Command::Retire { agent }), Reply::Retired);
    linked.hand_in(1).await;
    let refused = linked.until(|event| match event {
        UplinkEvent::Refused { slug, action, .. } => Some((slug, action)),
        _ => None,
    });
    assert_eq!(refused.await, ("retired_agent".to_owned(), RefusedAction::Stop));
    gateway.stop().await;
}

#[tokio::test]
async fn when_one_aggregator_leaves_the_next_one_takes_over() {
    let mut bench = Bench::new();
    let (first, second) = (bench.open().await, bench.open().await);
    let mut linked = Linked::new(&mut bench, &[&first, &second]).await;
    linked.hand_in(2).await;
    linked.until_acked(7).await;
    first.stop().await;
    let standing = linked.until(|event| match event {
        UplinkEvent::Connected { next_seq, .. } => Some(next_seq),
        _ => None,
    });
    assert_eq!(standing.await, 7);
    linked.hand_in(2).await;
    linked.until_acked(13).await;
    assert_eq!(linked.next_seq(&bench), 13);
    second.stop().await;
}

#[tokio::test]
async fn specs_and_believed_checkpoints_arrive_when_they_change() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let mut linked = Linked::new(&mut bench, &[&gateway]).await;
    let specs = SpecSnapshot { revision: 3, effective_at_ms: 9, text: "kind: Check".into() };
    bench.specs.send_replace(specs);
    let text = "kind: Check".to_owned();
    let expected = UplinkEvent::Specs { revision: 3, effective_at_ms: 9, text };
    assert_eq!(linked.event().await, expected);

    let stranger = SigningKey::from_seed([9; 32]);
    let forged = note(&bench, 7, &stranger, &stranger);
    bench.checkpoint.send_replace(forged.into());
    let own = &bench.identity;
    let good = note(&bench, 8, &own.log_key, &own.cosigner_key);
    // Both may arrive, or only the newer: the forged one must never be seen.
    bench.checkpoint.send_replace(good.into());
    let seen = Seen { size: 8, root: sha256(b"root") };
    assert_eq!(linked.event().await, UplinkEvent::Seen(seen));
    gateway.stop().await;
}

/// A checkpoint note of this log, signed and cosigned by the given keys.
fn note(bench: &Bench, size: u64, log_key: &SigningKey, node_key: &SigningKey) -> String {
    let origin = bench.identity.origin.clone();
    let text = Checkpoint { origin: origin.clone(), size, root: sha256(b"root") }.to_text();
    let name = &bench.identity.own().cosigner_name;
    let cosigned = cosign(name, node_key, 1_800_000_000, &text);
    format!("{text}\n{}{}", log_signature_line(&origin, log_key, &text), cosigned.line())
}

/// Neither garbage nor silence at the door keeps an agent out.
#[tokio::test]
async fn a_port_scanner_bothers_nobody() {
    let mut bench = Bench::new();
    let gateway = bench.open().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(&gateway.address).await.unwrap());
        let mut loud = TcpStream::connect(&gateway.address).await.unwrap();
        loud.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        // The gateway answers with a TLS alert or a reset, and closes.
        let _ = loud.read_to_end(&mut Vec::new()).await;
    }
    let mut linked = Linked::new(&mut bench, &[&gateway]).await;
    linked.hand_in(1).await;
    linked.until_acked(4).await;
    assert_eq!(gateway.counters.get(Event::Connection, "handshake_failed"), 50);
    gateway.stop().await;
}

#[test]
fn the_system_gives_different_numbers() {
    let mut random = system_random();
    assert_ne!((random(), random()), (random(), random()));
}
