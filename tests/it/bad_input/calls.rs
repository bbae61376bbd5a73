//! Malformed calls of a live replica's agent port, each against the golden file that the rooms'
//! own test of refusals keeps: `tests/golden/rpc/NAME.txt`.
//!
//! Keys, hashes and times differ between installations; everything else may not.

mod replicas;

use std::net::SocketAddr;
use std::sync::Arc;

use proofmark_aggregator::identity::OperatorIdentity;
use proofmark_evidence::{AgentName, Hash, Origin, SigningKey, sha256};
use proofmark_proto as wire;
use proofmark_tests::installation::{Installation, SETTLE};
use proofmark_tests::{api, golden, wait};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use wire::agent_gateway_client::AgentGatewayClient;
use wire::agent_message::Message as Out;
use wire::gateway_message::Message as In;
use wire::operator_client::OperatorClient;
use wire::{
    AgentMessage, ApplyRequest, CreateTokenRequest, EnrolReply, EnrolRequest, GatewayMessage,
    Hello, JoinToken, Ping, Refusal, RetireAgentRequest, SpecFile, possession_statement,
};

use crate::rpc::client::{RawAgent, raw_batch};

/// event and slug of counters that these calls move
pub const COUNTED: &[(&str, &str)] = &[
    ("rpc", "token_spent"),
    ("rpc", "token_unknown"),
    ("rpc", "token_expired"),
    ("rpc", "bad_possession"),
    ("rpc", "no_certificate"),
    ("rpc", "wrong_role"),
    ("rpc", "hello_first"),
    ("rpc", "wrong_agent"),
    ("rpc", "apply_too_large"),
    ("rpc", "wrong_cluster"),
    ("rpc", "node_address"),
    ("rpc", "node_key_exists"),
    ("rpc", "member_gone"),
    ("rpc", "not_replaceable"),
    ("rpc", "last_voter"),
    ("rpc", "not_a_voter"),
    ("batch", "bad_signature"),
    ("batch", "batch_count_unequal"),
    ("batch", "payload_digest"),
    ("batch", "sequence_gap"),
    ("batch", "sequence_fork"),
    ("batch", "wrong_log"),
    ("batch", "accepted"),
];

/// The differences to the golden files.
pub fn make_all(installation: &Installation) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let mut caller = Caller::new(installation).await;
        let early = caller.new_token(None, 1).await;
        caller.operate().await;
        caller.enrol().await;
        caller.connect().await;
        Box::pin(caller.batches()).await;
        Box::pin(caller.replicas()).await;
        caller.last(&early).await;
        caller.differences
    })
}

/// Somebody with an operator's credential, and an agent `web-1` that this test enrolled itself.
struct Caller {
    address: String,
    http: SocketAddr,
    ca_pem: String,
    operator: Arc<ClientConfig>,
    agent: RawAgent,
    agent_tls: Arc<ClientConfig>,
    differences: Vec<String>,
}

impl Caller {
    async fn new(installation: &Installation) -> Caller {
        let replica = &installation.replicas[0];
        let identity = replica.data.join("identity");
        let operator = OperatorIdentity::load(&identity).expect("made by init");
        let operator = operator.client_config().expect("a whole credential");
        let ca_pem = std::fs::read_to_string(identity.join("ca.pem")).expect("made by init");
        let mut caller = Caller {
            address: replica.grpc.to_string(),
            http: replica.http,
            agent_tls: client_config(&ca_pem, None),
            ca_pem,
            operator,
            agent: agent("web-1", 1),
            differences: Vec::new(),
        };
        let token = caller.token(None, 60).await;
        let (request, tls_key) = request(&token.id, &token.secret, "web-1", &caller.agent.key);
        let EnrolReply { certificate_chain_pem, epoch, origin, .. } =
            caller.ask_enrol(request).await.expect("a good request");
        caller.agent.log_id = Origin::parse(&origin).expect("an origin").log_id();
        caller.agent.epoch = epoch;
        let own = (certificate_chain_pem, tls_key.serialize_pem());
        caller.agent_tls = client_config(&caller.ca_pem, Some(own));
        caller
    }

    /// Holds what was told against the golden file.
    fn check(&mut self, name: &str, told: &str) {
        let file = golden::dir("rpc").join(format!("{name}.txt"));
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        let (expected, told) = (steady(&expected), steady(told));
        if expected != told {
            self.differences.push(format!("{name}\n--- expected\n{expected}--- got\n{told}"));
        }
    }

    async fn channel(&self, tls: Arc<ClientConfig>) -> Channel {
        proofmark_agent::connect(&self.address, tls).await.expect("it serves")
    }

    async fn operators(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel(self.operator.clone()).await)
    }

    async fn token(&self, agent: Option<&str>, ttl_s: u32) -> JoinToken {
        self.new_token(agent, ttl_s).await.0
    }

    /// With the instant (Unix ms) from which on it is good for nothing.
    async fn new_token(&self, agent: Option<&str>, ttl_s: u32) -> (JoinToken, u64) {
        let agent = agent.unwrap_or_default().to_owned();
        let reply = self.operators().await.create_token(CreateTokenRequest { agent, ttl_s }).await;
        let reply = reply.expect("a good request").into_inner();
        (reply.token.parse().expect("a token"), reply.expires_at_ms)
    }

    async fn ask_enrol(&self, request: EnrolRequest) -> Result<EnrolReply, Status> {
        let channel = self.channel(client_config(&self.ca_pem, None)).await;
        let reply = AgentGatewayClient::new(channel).enrol(request).await;
        reply.map(tonic::Response::into_inner)
    }
}

/// The operator's calls.
impl Caller {
    async fn operate(&mut self) {
        let channel = self.channel(client_config(&self.ca_pem, None)).await;
        let answer = OperatorClient::new(channel).apply(apply_of("")).await;
        self.check("operator-no-certificate", &tell(answer));
        let channel = self.channel(self.agent_tls.clone()).await;
        let token = CreateTokenRequest { agent: String::new(), ttl_s: 60 };
        let answer = OperatorClient::new(channel).create_token(token).await;
        self.check("operator-agent-certificate", &tell(answer));

        let mut client = self.operators().await;
        self.check("apply-no-files", &tell(client.apply(ApplyRequest::default()).await));
        let too_large = apply_of(&"#".repeat(512 * 1024 + 1));
        self.check("apply-too-large", &tell(client.apply(too_large).await));
        let author = ApplyRequest { author: "a".repeat(64), ..apply_of("a: 1") };
        self.check("apply-author-too-long", &tell(client.apply(author).await));
        let named = CreateTokenRequest { agent: "Web 1".to_owned(), ttl_s: 60 };
        self.check("token-agent-name", &tell(client.create_token(named).await));
        let brief = CreateTokenRequest::default();
        self.check("token-ttl-zero", &tell(client.create_token(brief).await));
        let nobody = RetireAgentRequest { agent: "nobody".to_owned() };
        self.check("retire-unknown-agent", &tell(client.retire_agent(nobody).await));
    }
}

/// Enrolments that must not be.
impl Caller {
    async fn enrol(&mut self) {
        let key = SigningKey::from_seed([40; 32]);
        let other = SigningKey::from_seed([41; 32]);
        let unknown = request(&[0xee; 16], &[0x5e; 16], "new-1", &key).0;
        self.refused("enrol-token-unknown", unknown).await;
        let unknown = request(&[1; 15], &[0x5e; 16], "new-1", &key).0;
        self.refused("enrol-token-id-short", unknown).await;
        let bound = self.token(Some("web-1"), 60).await;
        let for_other = request(&bound.id, &bound.secret, "new-1", &key).0;
        self.refused("enrol-token-for-other-agent", for_other).await;

        let token = self.token(None, 60).await;
        let good = request(&token.id, &token.secret, "new-1", &key).0;
        let wrong = |secret: [u8; 16]| EnrolRequest {
            token_secret: secret.to_vec().into(),
            ..good.clone()
        };
        self.refused("enrol-token-wrong-secret", wrong([0; 16])).await;
        let exists = request(&token.id, &token.secret, "web-1", &key).0;
        self.refused("enrol-agent-exists", exists).await;
        let named = EnrolRequest { agent: "Web 1".to_owned(), ..good.clone() };
        self.refused("enrol-agent-name", named).await;
        let short = EnrolRequest { public_key: vec![1; 31].into(), ..good.clone() };
        self.refused("enrol-key-short", short).await;
        self.refused("enrol-possession-of-other-key", signed(good.clone(), &other)).await;
        let renamed = EnrolRequest { agent: "new-2".to_owned(), ..good.clone() };
        self.refused("enrol-possession-of-other-name", renamed).await;
        let damaged = EnrolRequest { csr_der: vec![0x30, 0].into(), ..good.clone() };
        self.refused("enrol-certificate-request-damaged", signed(damaged, &key)).await;

        // None of all that spent the token.
        self.ask_enrol(good).await.expect("a good request");
        let second = request(&token.id, &token.secret, "new-2", &other).0;
        self.refused("enrol-token-spent", second).await;
    }

    async fn refused(&mut self, name: &str, request: EnrolRequest) {
        let told = tell(self.ask_enrol(request).await);
        self.check(name, &told);
    }
}

/// Streams that must not begin.
impl Caller {
    async fn connect(&mut self) {
        let hello = self.agent.hello();
        let stranger = client_config(&self.ca_pem, None);
        let opened = self.open(stranger, vec![Out::Hello(hello.clone())]).await;
        self.check("connect-no-certificate", &tell(opened));
        self.refused_first("connect-nothing", Vec::new()).await;
        let batch = self.agent.batch();
        let first = vec![raw_batch(batch.leaf.bytes(), &batch.payload)];
        self.refused_first("connect-batch-first", first).await;
        self.refused_first("connect-ping-first", vec![Out::Ping(Ping {})]).await;

        let other_key = agent("web-1", 2).hello();
        let wrong: [(&str, Hello); 6] = [
            ("connect-hello-other-agent", Hello { agent: "web-2".to_owned(), ..hello.clone() }),
            ("connect-hello-other-key", Hello { key_id: other_key.key_id, ..hello.clone() }),
            ("connect-hello-key-id-short", Hello { key_id: vec![1; 4].into(), ..hello.clone() }),
            ("connect-hello-ended-epoch", Hello { epoch: 0, ..hello.clone() }),
            ("connect-hello-coming-epoch", Hello { epoch: 2, ..hello.clone() }),
            ("connect-hello-protocol", Hello { protocol: 0, ..hello.clone() }),
        ];
        for (name, hello) in wrong {
            self.refused_first(name, vec![Out::Hello(hello)]).await;
        }
        self.refused_message("connect-hello-twice", Out::Hello(hello)).await;
    }

    async fn refused_first(&mut self, name: &str, first: Vec<Out>) {
        let told = tell(self.open(self.agent_tls.clone(), first).await);
        self.check(name, &told);
    }

    /// Connects as web-1, sends one message, and holds the answer against the golden file.
    async fn refused_message(&mut self, name: &str, message: Out) {
        let told = self.answer_to(message).await;
        self.check(name, &told);
    }

    async fn answer_to(&self, message: Out) -> String {
        let hello = vec![Out::Hello(self.agent.hello())];
        let mut stream = self.open(self.agent_tls.clone(), hello).await.expect("a good Hello");
        let welcome = stream.next().await;
        assert!(matches!(welcome, Ok(Some(In::Welcome(_)))), "{welcome:?}");
        let out = stream.out.as_ref().expect("kept while there is more to say");
        out.send(AgentMessage { message: Some(message) }).await.expect("an open stream");
        // What is in force or published may be told first.
        loop {
            match stream.next().await {
                Ok(Some(In::Refused(refused))) => return tell_refused(refused),
                Ok(Some(In::Ack(_))) => return "accepted\n".to_owned(),
                Ok(Some(_)) => {}
                Ok(None) => return "the end of the stream\n".to_owned(),
                Err(status) => return tell::<()>(Err(status)),
            }
        }
    }

    async fn open(&self, tls: Arc<ClientConfig>, first: Vec<Out>) -> Result<Stream, Status> {
        let (out, outbound) = mpsc::channel(4);
        let kept = (!first.is_empty()).then(|| out.clone());
        for message in first {
            out.send(AgentMessage { message: Some(message) }).await.expect("room for a few");
        }
        drop(out);
        let mut client = AgentGatewayClient::new(self.channel(tls).await);
        let inbound = client.connect(ReceiverStream::new(outbound)).await?.into_inner();
        Ok(Stream { out: kept, inbound })
    }
}

/// Batches that must not be taken, and in between the good ones that must.
impl Caller {
    async fn batches(&mut self) {
        self.bytes_that_are_no_batch().await;
        self.batches_of_others().await;
        let changed = self.agent.batch_with(|header| header.count = 4);
        self.refused_batch("batch-count-unequal", &changed).await;
        let changed = self.agent.batch_with(|header| header.results_root = Hash::ZERO);
        self.refused_batch("batch-results-root", &changed).await;
        let ahead = RawAgent { seq: 7, ..self.again() };
        self.refused_batch("batch-gap", &ahead.batch()).await;

        let first = self.agent.batch();
        let message = raw_batch(first.leaf.bytes(), &first.payload);
        assert_eq!(self.answer_to(message).await, "accepted\n");
        let fork = RawAgent { base_time_ms: self.agent.base_time_ms - 1_000, ..self.again() };
        self.refused_batch("batch-fork", &fork.batch()).await;
        self.agent.advance(&first);
        let severed = RawAgent { previous: sha256(b"something else"), ..self.again() };
        self.refused_batch("batch-previous", &severed.batch()).await;
    }

    async fn bytes_that_are_no_batch(&mut self) {
        let batch = self.agent.batch();
        let (leaf, payload) = (batch.leaf.bytes().to_vec(), batch.payload.to_vec());
        let with = |at: usize, change: fn(u8) -> u8| {
            let mut bytes = leaf.clone();
            bytes[at] = change(bytes[at]);
            bytes
        };
        let mut other_payload = payload.clone();
        *other_payload.last_mut().expect("results") ^= 1;
        let wrong: [(&str, Vec<u8>, Vec<u8>); 9] = [
            ("batch-not-a-leaf", b"not a leaf".to_vec(), Vec::new()),
            ("batch-leaf-version", with(0, |_| 9), payload.clone()),
            ("batch-signature-damaged", with(2, |byte| byte ^ 1), payload.clone()),
            ("batch-header-damaged", with(leaf.len() - 1, |_| 7), payload.clone()),
            ("batch-leaf-too-large", vec![1; 4097], Vec::new()),
            ("batch-payload-missing", leaf.clone(), Vec::new()),
            ("batch-payload-damaged", leaf.clone(), other_payload),
            ("batch-payload-too-large", leaf.clone(), vec![0; 960 * 1024 + 1]),
            ("batch-message-too-large", leaf.clone(), vec![0; 1040 * 1024]),
        ];
        for (name, leaf, payload) in wrong {
            self.refused_message(name, raw_batch(&leaf, &payload)).await;
        }
    }

    async fn batches_of_others(&mut self) {
        let of = |name: &str, seed| RawAgent { log_id: self.agent.log_id, ..agent(name, seed) };
        let (other_agent, other_key) = (of("web-2", 2), of("web-1", 2));
        let other_log = RawAgent { log_id: sha256(b"another.log"), ..self.again() };
        self.refused_batch("batch-other-agent", &other_agent.batch()).await;
        self.refused_batch("batch-other-key", &other_key.batch()).await;
        self.refused_batch("batch-other-log", &other_log.batch()).await;
        let other_epoch = self.agent.batch_with(|header| header.epoch = 2);
        self.refused_batch("batch-other-epoch", &other_epoch).await;
    }

    async fn refused_batch(&mut self, name: &str, batch: &proofmark_evidence::SealedBatch) {
        self.refused_message(name, raw_batch(batch.leaf.bytes(), &batch.payload)).await;
    }

    /// The same agent once more, to be changed.
    fn again(&self) -> RawAgent {
        let RawAgent { name, key, log_id, epoch, seq, previous, base_time_ms } = &self.agent;
        RawAgent {
            name: name.clone(),
            key: SigningKey::from_seed(*key.seed()),
            log_id: *log_id,
            epoch: *epoch,
            seq: *seq,
            previous: *previous,
            base_time_ms: *base_time_ms,
        }
    }

    /// What needs time to have passed, and what ends the agent.
    async fn last(&mut self, (early, expires_at_ms): &(JoinToken, u64)) {
        let key = SigningKey::from_seed([42; 32]);
        wait::until("the cluster's time to pass the token's", SETTLE, || {
            let agents = api::json(self.http, "/api/v1/agents")?;
            let steady = agents.as_array()?.iter().find(|agent| agent["name"] == "steady")?;
            (steady["accepted_at_ms"].as_u64()? >= *expires_at_ms).then_some(())
        });
        let late = request(&early.id, &early.secret, "late", &key).0;
        self.refused("enrol-token-expired", late).await;
        let retire = RetireAgentRequest { agent: "web-1".to_owned() };
        self.operators().await.retire_agent(retire).await.expect("a good request");
        let hello = vec![Out::Hello(self.agent.hello())];
        self.refused_first("connect-agent-retired", hello).await;
    }
}

struct Stream {
    /// None when nothing more is said.
    out: Option<mpsc::Sender<AgentMessage>>,
    inbound: Streaming<GatewayMessage>,
}

impl Stream {
    async fn next(&mut self) -> Result<Option<In>, Status> {
        let message = self.inbound.message().await?;
        Ok(message.map(|message| message.message.expect("a known message")))
    }
}

/// An agent before its life: what its enrolment says is filled in later.
fn agent(name: &str, seed: u8) -> RawAgent {
    RawAgent {
        name: AgentName::parse(name).expect("a valid name"),
        key: SigningKey::from_seed([seed; 32]),
        log_id: Hash::ZERO,
        epoch: 1,
        seq: 1,
        previous: Hash::ZERO,
        base_time_ms: 1_700_000_000_000,
    }
}

fn request(
    id: &[u8],
    secret: &[u8],
    agent: &str,
    key: &SigningKey,
) -> (EnrolRequest, rcgen::KeyPair) {
    let tls_key = rcgen::KeyPair::generate().expect("randomness");
    let csr = rcgen::CertificateParams::default().serialize_request(&tls_key).expect("a request");
    let unsigned = EnrolRequest {
        token_id: id.to_vec().into(),
        token_secret: secret.to_vec().into(),
        agent: agent.to_owned(),
        public_key: key.public().0.to_vec().into(),
        possession: Vec::new().into(),
        csr_der: csr.der().to_vec().into(),
    };
    (signed(unsigned, key), tls_key)
}

fn signed(mut request: EnrolRequest, key: &SigningKey) -> EnrolRequest {
    let EnrolRequest { token_id, agent, public_key, csr_der, .. } = &request;
    let statement = possession_statement(token_id, agent, public_key, csr_der);
    request.possession = key.sign(&statement).0.to_vec().into();
    request
}

fn apply_of(text: &str) -> ApplyRequest {
    let file = SpecFile { name: "checks.yaml".to_owned(), text: text.to_owned() };
    ApplyRequest { files: vec![file], dry_run: false, author: String::new() }
}

/// TLS settings that believe the CA, with a certificate chain and key (PEM) or without.
pub fn client_config(ca_pem: &str, own: Option<(String, String)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("PEM");
    roots.add(ca).expect("a CA certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring speaks TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a key of the certificate")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A refused call, in the words of the golden files.
fn tell<T>(answer: Result<T, Status>) -> String {
    let Err(status) = answer else { return "accepted\n".to_owned() };
    let said = format!("status: {:?}\nmessage: {}\n", status.code(), status.message());
    said + &Refusal::from_status(&status).map_or(String::new(), |refusal| tell_refusal(&refusal))
}

fn tell_refused(refused: wire::Refused) -> String {
    let wire::Refused { epoch, seq_first, refusal } = refused;
    let refusal = tell_refusal(&refusal.expect("a refusal inside"));
    format!("answer: refused epoch {epoch} seq {seq_first}\n{refusal}")
}

fn tell_refusal(refusal: &Refusal) -> String {
    let action = match refusal.action() {
        wire::Action::ResendFrom => format!("resend from {}", refusal.resend_from_seq),
        other => format!("{other:?}").to_lowercase(),
    };
    let Refusal { slug, expected, got, .. } = refusal;
    format!("slug: {slug}\naction: {action}\nexpected: {expected}\ngot: {got}\n")
}

/// Hashes in hex and Unix times in milliseconds, by their length.
fn steady(told: &str) -> String {
    let mut out = String::new();
    for word in told.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        out += match (end.len(), end.bytes().all(|byte| byte.is_ascii_digit())) {
            (64, _) => "<hash>",
            (13, true) => "<time>",
            _ => end,
        };
        out += &word[end.len()..];
    }
    out
}
