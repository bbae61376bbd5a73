//! Every refusal of the agent port against its golden file: `tests/golden/rpc/<case>.txt`.
//!
//! After each bad call the same gateway must still take a good batch from a good agent, and its
//! sequence must stand where it should: the process stays up and nothing is lost.
//! `UPDATE=1` rewrites the files.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use proofmark_aggregator::command::{Command, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::ingest::AgentDirectory as _;
use proofmark_evidence::{BlobRef, Hash, LeafKind, SealedBatch, SigningKey, SpecChange, sha256};
use proofmark_proto as wire;
use tonic::{Code, Status};
use wire::agent_message::Message as Out;
use wire::gateway_message::Message as In;
use wire::{
    ApplyRequest, CreateTokenRequest, EnrolRequest, Ping, Refusal, RetireAgentRequest, SpecFile,
    possession_statement,
};

use super::bench::{Bench, Gateway};
use super::client::{RawAgent, RawStream, agents, operator, operators, raw_batch, stranger};

/// What a bad call may use. `agent` is registered as `web-1`.
pub struct World {
    bench: Bench,
    gateway: Gateway,
    agent: RawAgent,
}

type Told<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;
type Case = (&'static str, fn(&mut World) -> Told<'_>);

/// name, and the call that must be refused
macro_rules! cases {
    ($($name:literal: $call:path,)*) => {
        const CASES: &[Case] = &[$(($name, |world| Box::pin($call(world)))),*];
    };
}

cases! {
    "enrol-token-unknown": enrol::token_unknown,
    "enrol-token-wrong-secret": enrol::token_wrong_secret,
    "enrol-token-spent": enrol::token_spent,
    "enrol-token-expired": enrol::token_expired,
    "enrol-token-for-other-agent": enrol::token_for_other_agent,
    "enrol-token-id-short": enrol::token_id_short,
    "enrol-agent-exists": enrol::agent_exists,
    "enrol-agent-name": enrol::agent_name,
    "enrol-key-short": enrol::key_short,
    "enrol-possession-of-other-key": enrol::possession_of_other_key,
    "enrol-possession-of-other-name": enrol::possession_of_other_name,
    "enrol-certificate-request-damaged": enrol::request_damaged,
    "enrol-no-leader": enrol::no_leader,
    "connect-no-certificate": connect::no_certificate,
    "connect-operator-certificate": connect::operator_certificate,
    "connect-nothing": connect::nothing,
    "connect-batch-first": connect::batch_first,
    "connect-ping-first": connect::ping_first,
    "connect-hello-twice": connect::hello_twice,
    "connect-hello-other-agent": connect::hello_other_agent,
    "connect-hello-other-key": connect::hello_other_key,
    "connect-hello-key-id-short": connect::hello_key_id_short,
    "connect-hello-ended-epoch": connect::hello_ended_epoch,
    "connect-hello-coming-epoch": connect::hello_coming_epoch,
    "connect-hello-protocol": connect::hello_protocol,
    "connect-agent-unknown": connect::agent_unknown,
    "connect-agent-retired": connect::agent_retired,
    "batch-not-a-leaf": batch::not_a_leaf,
    "batch-leaf-version": batch::leaf_version,
    "batch-leaf-too-large": batch::leaf_too_large,
    "batch-kind-spec-change": batch::kind_spec_change,
    "batch-other-log": batch::other_log,
    "batch-other-agent": batch::other_agent,
    "batch-other-key": batch::other_key,
    "batch-signature-damaged": batch::signature_damaged,
    "batch-header-damaged": batch::header_damaged,
    "batch-other-epoch": batch::other_epoch,
    "batch-payload-too-large": batch::payload_too_large,
    "batch-message-too-large": batch::message_too_large,
    "batch-payload-damaged": batch::payload_damaged,
    "batch-payload-missing": batch::payload_missing,
    "batch-count-unequal": batch::count_unequal,
    "batch-results-root": batch::results_root,
    "batch-in-the-future": batch::in_the_future,
    "batch-gap": batch::gap,
    "batch-fork": batch::fork,
    "batch-previous": batch::previous,
    "batch-busy": batch::busy,
    "batch-no-leader": batch::no_leader,
    "batch-leader-changed": batch::leader_changed,
    "operator-no-certificate": operate::no_certificate,
    "operator-agent-certificate": operate::agent_certificate,
    "apply-no-files": operate::no_files,
    "apply-too-large": operate::too_large,
    "apply-author-too-long": operate::author_too_long,
    "apply-faults": operate::faults,
    "token-agent-name": operate::token_agent_name,
    "token-ttl-zero": operate::token_ttl_zero,
    "retire-unknown-agent": operate::retire_unknown_agent,
    "retire-busy": operate::retire_busy,
}

#[tokio::test]
async fn every_refusal_says_what_its_golden_file_says() {
    let mut faults = Vec::new();
    for (name, call) in CASES {
        let mut world = World::new().await;
        let told = call(&mut world).await;
        faults.extend(compare(name, &steady(&told)));
        world.still_takes_a_good_batch(name).await;
        world.gateway.stop().await;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_golden_file_has_its_case() {
    let known: Vec<String> = CASES.iter().map(|(name, _)| format!("{name}.txt")).collect();
    for file in std::fs::read_dir(golden_dir()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} belongs to no case");
    }
}

impl World {
    async fn new() -> World {
        let mut bench = Bench::new();
        let gateway = bench.open().await;
        let agent = RawAgent::registered(&mut bench, "web-1", 1);
        World { bench, gateway, agent }
    }

    async fn still_takes_a_good_batch(&mut self, case: &str) {
        let bystander = RawAgent::registered(&mut self.bench, "bystander", 99);
        let mut stream = RawStream::welcomed(&self.gateway, &self.bench, &bystander).await;
        stream.send_batch(&bystander.batch()).await;
        let answer = stream.next().await;
        assert!(matches!(answer, Ok(Some(In::Ack(_)))), "after {case}: {answer:?}");
        let standing = self.bench.consensus.find(&bystander.name).unwrap();
        assert_eq!(standing.next_seq, 4, "after {case}");
    }

    /// Connects as web-1, sends one batch, tells the answer.
    async fn answer_to(&self, message: Out) -> String {
        let mut stream = RawStream::welcomed(&self.gateway, &self.bench, &self.agent).await;
        stream.send(message).await;
        tell_answer(stream.next().await)
    }

    async fn answer_to_batch(&self, batch: &SealedBatch) -> String {
        self.answer_to(raw_batch(batch.leaf.bytes(), &batch.payload)).await
    }

    /// Opens a stream as web-1 with this first message, which must be refused.
    async fn refused_first(&self, first: Vec<Out>) -> String {
        let opened = RawStream::open(&self.gateway, self.agent.tls(&self.bench), first).await;
        tell(&opened.err().expect("a refusal"))
    }
}

mod enrol {
    use super::*;

    /// A good request of a new agent `new-1`, with a token for anybody.
    fn good(world: &mut World) -> EnrolRequest {
        let token = world.bench.token(None);
        request(&token.id, &token.secret, "new-1", &SigningKey::from_seed([40; 32]))
    }

    fn request(id: &[u8], secret: &[u8], agent: &str, key: &SigningKey) -> EnrolRequest {
        let tls_key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&tls_key).unwrap();
        let unsigned = EnrolRequest {
            token_id: id.to_vec().into(),
            token_secret: secret.to_vec().into(),
            agent: agent.to_owned(),
            public_key: key.public().0.to_vec().into(),
            possession: Vec::new().into(),
            csr_der: csr.der().to_vec().into(),
        };
        signed(unsigned, key)
    }

    fn signed(mut request: EnrolRequest, key: &SigningKey) -> EnrolRequest {
        let EnrolRequest { token_id, agent, public_key, csr_der, .. } = &request;
        let statement = possession_statement(token_id, agent, public_key, csr_der);
        request.possession = key.sign(&statement).0.to_vec().into();
        request
    }

    async fn ask(world: &World, request: EnrolRequest) -> String {
        let mut client = agents(&world.gateway, stranger(&world.bench)).await;
        tell(&client.enrol(request).await.expect_err("a refusal"))
    }

    pub async fn token_unknown(world: &mut World) -> String {
        let key = SigningKey::from_seed([40; 32]);
        ask(world, request(&[0xee; 16], &[0x5e; 16], "new-1", &key)).await
    }

    pub async fn token_wrong_secret(world: &mut World) -> String {
        let request = EnrolRequest { token_secret: vec![0; 16].into(), ..good(world) };
        ask(world, request).await
    }

    pub async fn token_spent(world: &mut World) -> String {
        let token = world.bench.token(None);
        let first = request(&token.id, &token.secret, "new-1", &SigningKey::from_seed([40; 32]));
        let mut client = agents(&world.gateway, stranger(&world.bench)).await;
        client.enrol(first).await.unwrap();
        let second = request(&token.id, &token.secret, "new-2", &SigningKey::from_seed([41; 32]));
        ask(world, second).await
    }

    pub async fn token_expired(world: &mut World) -> String {
        let request = good(world);
        world.bench.clock.advance(600_000);
        ask(world, request).await
    }

    pub async fn token_for_other_agent(world: &mut World) -> String {
        let token = world.bench.token(Some(&world.agent.name));
        let key = SigningKey::from_seed([40; 32]);
        ask(world, request(&token.id, &token.secret, "new-1", &key)).await
    }

    pub async fn token_id_short(world: &mut World) -> String {
        let key = SigningKey::from_seed([40; 32]);
        ask(world, request(&[1; 15], &[0x5e; 16], "new-1", &key)).await
    }

    pub async fn agent_exists(world: &mut World) -> String {
        let token = world.bench.token(None);
        let key = SigningKey::from_seed([40; 32]);
        ask(world, request(&token.id, &token.secret, "web-1", &key)).await
    }

    pub async fn agent_name(world: &mut World) -> String {
        let request = EnrolRequest { agent: "Web 1".to_owned(), ..good(world) };
        ask(world, request).await
    }

    pub async fn key_short(world: &mut World) -> String {
        let request = EnrolRequest { public_key: vec![1; 31].into(), ..good(world) };
        ask(world, request).await
    }

    pub async fn possession_of_other_key(world: &mut World) -> String {
        let request = signed(good(world), &SigningKey::from_seed([41; 32]));
        ask(world, request).await
    }

    pub async fn possession_of_other_name(world: &mut World) -> String {
        let request = EnrolRequest { agent: "new-2".to_owned(), ..good(world) };
        ask(world, request).await
    }

    pub async fn request_damaged(world: &mut World) -> String {
        let unsigned = EnrolRequest { csr_der: vec![0x30, 0].into(), ..good(world) };
        ask(world, signed(unsigned, &SigningKey::from_seed([40; 32]))).await
    }

    pub async fn no_leader(world: &mut World) -> String {
        let request = good(world);
        world.bench.consensus.script(ProposalOutcome::NotLeader { leader: None });
        ask(world, request).await
    }
}

mod connect {
    use super::*;

    fn hello(world: &World) -> Vec<Out> {
        vec![Out::Hello(world.agent.hello())]
    }

    pub async fn no_certificate(world: &mut World) -> String {
        let opened = RawStream::open(&world.gateway, stranger(&world.bench), hello(world)).await;
        tell(&opened.err().unwrap())
    }

    pub async fn operator_certificate(world: &mut World) -> String {
        let opened = RawStream::open(&world.gateway, operator(&world.bench), hello(world)).await;
        tell(&opened.err().unwrap())
    }

    pub async fn nothing(world: &mut World) -> String {
        world.refused_first(Vec::new()).await
    }

    pub async fn batch_first(world: &mut World) -> String {
        let batch = world.agent.batch();
        world.refused_first(vec![raw_batch(batch.leaf.bytes(), &batch.payload)]).await
    }

    pub async fn ping_first(world: &mut World) -> String {
        world.refused_first(vec![Out::Ping(Ping {})]).await
    }

    pub async fn hello_twice(world: &mut World) -> String {
        world.answer_to(Out::Hello(world.agent.hello())).await
    }

    pub async fn hello_other_agent(world: &mut World) -> String {
        let hello = wire::Hello { agent: "web-2".to_owned(), ..world.agent.hello() };
        world.refused_first(vec![Out::Hello(hello)]).await
    }

    pub async fn hello_other_key(world: &mut World) -> String {
        world.agent.key = SigningKey::from_seed([2; 32]);
        world.refused_first(hello(world)).await
    }

    pub async fn hello_key_id_short(world: &mut World) -> String {
        let hello = wire::Hello { key_id: vec![1; 4].into(), ..world.agent.hello() };
        world.refused_first(vec![Out::Hello(hello)]).await
    }

    pub async fn hello_ended_epoch(world: &mut World) -> String {
        let hello = wire::Hello { epoch: 0, ..world.agent.hello() };
        world.refused_first(vec![Out::Hello(hello)]).await
    }

    pub async fn hello_coming_epoch(world: &mut World) -> String {
        let hello = wire::Hello { epoch: 2, ..world.agent.hello() };
        world.refused_first(vec![Out::Hello(hello)]).await
    }

    pub async fn hello_protocol(world: &mut World) -> String {
        let hello = wire::Hello { protocol: 0, ..world.agent.hello() };
        world.refused_first(vec![Out::Hello(hello)]).await
    }

    pub async fn agent_unknown(world: &mut World) -> String {
        world.agent = RawAgent::unknown(&world.bench, "ghost", 3);
        world.refused_first(hello(world)).await
    }

    pub async fn agent_retired(world: &mut World) -> String {
        let agent = world.agent.name.clone();
        assert_eq!(world.bench.consensus.apply(&Command::Retire { agent }), Reply::Retired);
        world.refused_first(hello(world)).await
    }
}

mod batch {
    use super::*;

    pub async fn not_a_leaf(world: &mut World) -> String {
        world.answer_to(raw_batch(b"not a leaf", &[])).await
    }

    pub async fn leaf_version(world: &mut World) -> String {
        let SealedBatch { leaf, payload } = world.agent.batch();
        let mut bytes = leaf.bytes().to_vec();
        bytes[0] = 9;
        world.answer_to(raw_batch(&bytes, &payload)).await
    }

    pub async fn leaf_too_large(world: &mut World) -> String {
        world.answer_to(raw_batch(&[1; 4097], &[])).await
    }

    pub async fn kind_spec_change(world: &mut World) -> String {
        let header = SpecChange {
            log_id: world.agent.log_id,
            key_id: world.agent.key.key_id(),
            revision: 1,
            received_at_ms: 1,
            effective_at_ms: 1,
            author: "web-1".to_owned(),
            payload: BlobRef::of(b"kind: Check"),
        };
        let key = &world.agent.key;
        let leaf = proofmark_evidence::Leaf::seal(LeafKind::SpecChange, &header.encode(), key);
        world.answer_to(raw_batch(leaf.unwrap().bytes(), b"kind: Check")).await
    }

    pub async fn other_log(world: &mut World) -> String {
        world.agent.log_id = sha256(b"another.log");
        world.answer_to_batch(&world.agent.batch()).await
    }

    pub async fn other_agent(world: &mut World) -> String {
        let other = RawAgent::registered(&mut world.bench, "web-2", 2);
        world.answer_to_batch(&other.batch()).await
    }

    pub async fn other_key(world: &mut World) -> String {
        let forged = RawAgent::unknown(&world.bench, "web-1", 2).batch();
        world.answer_to_batch(&forged).await
    }

    /// Byte 2 of a leaf is the first of its signature.
    pub async fn signature_damaged(world: &mut World) -> String {
        let SealedBatch { leaf, payload } = world.agent.batch();
        let mut bytes = leaf.bytes().to_vec();
        bytes[2] ^= 1;
        world.answer_to(raw_batch(&bytes, &payload)).await
    }

    /// The header's last byte says whether a checkpoint follows.
    pub async fn header_damaged(world: &mut World) -> String {
        let SealedBatch { leaf, payload } = world.agent.batch();
        let mut bytes = leaf.bytes().to_vec();
        *bytes.last_mut().unwrap() = 7;
        world.answer_to(raw_batch(&bytes, &payload)).await
    }

    pub async fn other_epoch(world: &mut World) -> String {
        let batch = world.agent.batch_with(|header| header.epoch = 2);
        world.answer_to_batch(&batch).await
    }

    pub async fn payload_too_large(world: &mut World) -> String {
        let leaf = world.agent.batch().leaf;
        world.answer_to(raw_batch(leaf.bytes(), &vec![0; 960 * 1024 + 1])).await
    }

    pub async fn message_too_large(world: &mut World) -> String {
        let leaf = world.agent.batch().leaf;
        world.answer_to(raw_batch(leaf.bytes(), &vec![0; 1040 * 1024])).await
    }

    pub async fn payload_damaged(world: &mut World) -> String {
        let SealedBatch { leaf, payload } = world.agent.batch();
        let mut payload = payload.to_vec();
        *payload.last_mut().unwrap() ^= 1;
        world.answer_to(raw_batch(leaf.bytes(), &payload)).await
    }

    pub async fn payload_missing(world: &mut World) -> String {
        let leaf = world.agent.batch().leaf;
        world.answer_to(raw_batch(leaf.bytes(), &[])).await
    }

    pub async fn count_unequal(world: &mut World) -> String {
        let batch = world.agent.batch_with(|header| header.count = 4);
        world.answer_to_batch(&batch).await
    }

    pub async fn results_root(world: &mut World) -> String {
        let batch = world.agent.batch_with(|header| header.results_root = Hash::ZERO);
        world.answer_to_batch(&batch).await
    }

    /// The newest result lies 2 ms after the base time.
    pub async fn in_the_future(world: &mut World) -> String {
        world.agent.base_time_ms = world.bench.clock.unix_ms() + 30_000;
        world.answer_to_batch(&world.agent.batch()).await
    }

    pub async fn gap(world: &mut World) -> String {
        world.agent.seq = 7;
        world.answer_to_batch(&world.agent.batch()).await
    }

    pub async fn fork(world: &mut World) -> String {
        world.answer_to_batch(&world.agent.batch()).await;
        world.agent.base_time_ms -= 1_000;
        world.answer_to_batch(&world.agent.batch()).await
    }

    pub async fn previous(world: &mut World) -> String {
        let first = world.agent.batch();
        world.answer_to_batch(&first).await;
        world.agent.advance(&first);
        world.agent.previous = sha256(b"something else");
        world.answer_to_batch(&world.agent.batch()).await
    }

    async fn scripted(world: &World, outcome: ProposalOutcome) -> String {
        world.bench.consensus.script(outcome);
        world.answer_to_batch(&world.agent.batch()).await
    }

    pub async fn busy(world: &mut World) -> String {
        scripted(world, ProposalOutcome::Busy { retry_after_ms: 75 }).await
    }

    pub async fn no_leader(world: &mut World) -> String {
        scripted(world, ProposalOutcome::NotLeader { leader: Some(2) }).await
    }

    pub async fn leader_changed(world: &mut World) -> String {
        scripted(world, ProposalOutcome::Lost).await
    }
}

mod operate {
    use super::*;

    fn apply_of(text: &str) -> ApplyRequest {
        let file = SpecFile { name: "checks.yaml".to_owned(), text: text.to_owned() };
        ApplyRequest { files: vec![file], dry_run: false, author: String::new() }
    }

    async fn refused_apply(world: &World, request: ApplyRequest) -> String {
        let mut client = operators(&world.gateway, operator(&world.bench)).await;
        tell(&client.apply(request).await.expect_err("a refusal"))
    }

    async fn refused_token(world: &World, request: CreateTokenRequest) -> String {
        let mut client = operators(&world.gateway, operator(&world.bench)).await;
        tell(&client.create_token(request).await.expect_err("a refusal"))
    }

    async fn refused_retire(world: &World, agent: &str) -> String {
        let request = RetireAgentRequest { agent: agent.to_owned() };
        let mut client = operators(&world.gateway, operator(&world.bench)).await;
        tell(&client.retire_agent(request).await.expect_err("a refusal"))
    }

    pub async fn no_certificate(world: &mut World) -> String {
        let mut client = operators(&world.gateway, stranger(&world.bench)).await;
        tell(&client.apply(apply_of("")).await.unwrap_err())
    }

    pub async fn agent_certificate(world: &mut World) -> String {
        let mut client = operators(&world.gateway, world.agent.tls(&world.bench)).await;
        let request = CreateTokenRequest { agent: String::new(), ttl_s: 60 };
        tell(&client.create_token(request).await.unwrap_err())
    }

    pub async fn no_files(world: &mut World) -> String {
        refused_apply(world, ApplyRequest::default()).await
    }

    pub async fn too_large(world: &mut World) -> String {
        refused_apply(world, apply_of(&"#".repeat(512 * 1024 + 1))).await
    }

    pub async fn author_too_long(world: &mut World) -> String {
        let request = ApplyRequest { author: "a".repeat(64), ..apply_of("a: 1") };
        refused_apply(world, request).await
    }

    /// Not a gRPC fault: the reply lists all that is wrong, and nothing was applied.
    pub async fn faults(world: &mut World) -> String {
        let text = "apiVersion: proofmark/v1\nkind: Check\nmetadata: {name: UP}\nspec: {}\n";
        let mut client = operators(&world.gateway, operator(&world.bench)).await;
        let reply = client.apply(apply_of(text)).await.unwrap().into_inner();
        assert_eq!(reply.revision, 0);
        reply.faults.join("\n") + "\n"
    }

    pub async fn token_agent_name(world: &mut World) -> String {
        let request = CreateTokenRequest { agent: "Web 1".to_owned(), ttl_s: 60 };
        refused_token(world, request).await
    }

    pub async fn token_ttl_zero(world: &mut World) -> String {
        refused_token(world, CreateTokenRequest::default()).await
    }

    pub async fn retire_unknown_agent(world: &mut World) -> String {
        refused_retire(world, "nobody").await
    }

    pub async fn retire_busy(world: &mut World) -> String {
        world.bench.consensus.script(ProposalOutcome::Busy { retry_after_ms: 75 });
        refused_retire(world, "web-1").await
    }
}

fn tell_answer(answer: Result<Option<In>, Status>) -> String {
    match answer {
        Err(status) => tell(&status),
        Ok(Some(In::Refused(refused))) => {
            let wire::Refused { epoch, seq_first, refusal } = refused;
            let refusal = tell_refusal(&refusal.expect("a refusal inside"));
            format!("answer: refused epoch {epoch} seq {seq_first}\n{refusal}")
        }
        Ok(Some(In::Busy(busy))) => {
            format!("answer: busy\nslug: {}\nretry_after_ms: {}\n", busy.slug, busy.retry_after_ms)
        }
        Ok(other) => format!("answer: {other:?}\n"),
    }
}

/// A refused RPC, as a program and as a person sees it.
fn tell(status: &Status) -> String {
    assert_ne!(status.code(), Code::Ok);
    let said = format!("status: {:?}\nmessage: {}\n", status.code(), status.message());
    said + &Refusal::from_status(status).map_or(String::new(), |refusal| tell_refusal(&refusal))
}

fn tell_refusal(refusal: &Refusal) -> String {
    let action = match refusal.action() {
        wire::Action::ResendFrom => format!("resend from {}", refusal.resend_from_seq),
        other => format!("{other:?}").to_lowercase(),
    };
    let Refusal { slug, expected, got, .. } = refusal;
    format!("slug: {slug}\naction: {action}\nexpected: {expected}\ngot: {got}\n")
}

/// Unix times in milliseconds move with the clock; nothing else may.
fn steady(told: &str) -> String {
    let mut out = String::new();
    let mut rest = told;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let len = rest[at..].bytes().take_while(u8::is_ascii_digit).count();
        let is_word = rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric())
            || rest[at + len..].starts_with(|c: char| c.is_ascii_alphanumeric());
        out += &rest[..at];
        out += match len == 13 && !is_word {
            true => "<time>",
            false => &rest[at..at + len],
        };
        rest = &rest[at + len..];
    }
    out + rest
}

/// The difference to the golden file, if there is one.
fn compare(name: &str, got: &str) -> Option<String> {
    let path = golden_dir().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, got).unwrap();
        return None;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    (expected != got).then(|| format!("{name}: expected\n{expected}got\n{got}"))
}

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/rpc")
}
