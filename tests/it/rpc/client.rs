//! Callers that may do anything: raw gRPC with whatever certificate, and batches sealed by hand.

use std::sync::Arc;

use proofmark_aggregator::identity::{OperatorIdentity, Subject};
use proofmark_evidence::{
    AgentName, BatchDraft, BatchHeader, CheckName, CheckRef, CheckResult, Coverage, Hash, Header,
    Leaf, LeafKind, Outcome, SealedBatch, SigningKey,
};
use proofmark_proto as wire;
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
use wire::node_gateway_client::NodeGatewayClient;
use wire::operator_client::OperatorClient;
use wire::{
    AgentMessage, Batch, GatewayMessage, Hello, JoinNodeRequest, NodeToken, PROTOCOL,
    node_possession_statement,
};

use super::bench::{Bench, Gateway};

/// When raw agents' results were due: in the past, and the same in every run, so that hashes in
/// golden files stay.
const BASE_TIME_MS: u64 = 1_700_000_000_000;

/// An agent whose key and every byte the test owns.
pub struct RawAgent {
    pub name: AgentName,
    pub key: SigningKey,
    pub log_id: Hash,
    pub epoch: u64,
    pub seq: u64,
    pub previous: Hash,
    pub base_time_ms: u64,
}

impl RawAgent {
    /// Registered in the state, epoch 1.
    pub fn registered(bench: &mut Bench, name: &str, seed: u8) -> RawAgent {
        let agent = RawAgent::unknown(bench, name, seed);
        bench.register(&agent.name, agent.key.public());
        agent
    }

    /// Nobody has heard of it.
    pub fn unknown(bench: &Bench, name: &str, seed: u8) -> RawAgent {
        RawAgent {
            name: AgentName::parse(name).unwrap(),
            key: SigningKey::from_seed([seed; 32]),
            log_id: bench.identity.log_id(),
            epoch: 1,
            seq: 1,
            previous: Hash::ZERO,
            base_time_ms: BASE_TIME_MS,
        }
    }

    /// Three passes from the next sequence number, sealed.
    pub fn batch(&self) -> SealedBatch {
        let result = |offset_ms| CheckResult::new(0, offset_ms, Outcome::Pass, "");
        let results = (0..3).map(result);
        self.batch_of(results.map(|one| CheckResult { duration_us: 1_000, ..one }).collect())
    }

    /// These results from the next sequence number, sealed.
    pub fn batch_of(&self, results: Vec<CheckResult>) -> SealedBatch {
        let run = results.len() as u64;
        let draft = BatchDraft {
            log_id: self.log_id,
            agent: self.name.clone(),
            epoch: self.epoch,
            seq_first: self.seq,
            base_time_ms: self.base_time_ms,
            checks: vec![CheckRef {
                check: CheckName::parse("home").unwrap(),
                spec_revision: 1,
                target: "http://localhost/".to_owned(),
            }],
            coverage: Coverage { scheduled: run, run, skipped: Vec::new() },
            previous: self.previous,
            seen: None,
            results,
        };
        draft.seal(&self.key).unwrap()
    }

    /// A batch whose header was changed before it was signed.
    pub fn batch_with(&self, change: impl FnOnce(&mut BatchHeader)) -> SealedBatch {
        let SealedBatch { leaf, payload } = self.batch();
        let Ok(Header::Batch(mut header)) = leaf.header() else { panic!("a batch header") };
        change(&mut header);
        let leaf = Leaf::seal(LeafKind::Batch, &header.encode(), &self.key).unwrap();
        SealedBatch { leaf, payload }
    }

    /// The next batch follows `batch`.
    pub fn advance(&mut self, batch: &SealedBatch) {
        let Ok(Header::Batch(header)) = batch.leaf.header() else { panic!("a batch header") };
        self.seq = header.seq_end();
        self.previous = batch.leaf.header_hash();
    }

    pub fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            agent: self.name.to_string(),
            epoch: self.epoch,
            key_id: self.key.key_id().0.0.to_vec().into(),
            spec_revision: 0,
            policy_sha256: Vec::new().into(),
        }
    }

    /// TLS settings with a certificate of this name.
    pub fn tls(&self, bench: &Bench) -> Arc<ClientConfig> {
        let subject = Subject::Agent { name: &self.name };
        let issued = bench.identity.authority.issue(subject, bench.clock.unix_ms()).unwrap();
        let chain = CertificateDer::pem_slice_iter(issued.certificate_chain_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let config = builder(bench).with_client_auth_cert(chain, key).unwrap();
        http2(config)
    }
}

/// TLS settings without a certificate of ours.
pub fn stranger(bench: &Bench) -> Arc<ClientConfig> {
    http2(builder(bench).with_no_client_auth())
}

/// TLS settings with the operator's certificate.
pub fn operator(bench: &Bench) -> Arc<ClientConfig> {
    OperatorIdentity::load(bench.dir.path()).unwrap().client_config().unwrap()
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(bench: &Bench) -> Builder {
    let ca = bench.identity.authority.certificate_pem();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
}

fn http2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn channel(gateway: &Gateway, tls: Arc<ClientConfig>) -> Channel {
    proofmark_agent::connect(&gateway.address, tls).await.unwrap()
}

pub async fn agents(gateway: &Gateway, tls: Arc<ClientConfig>) -> AgentGatewayClient<Channel> {
    AgentGatewayClient::new(channel(gateway, tls).await)
}

pub async fn operators(gateway: &Gateway, tls: Arc<ClientConfig>) -> OperatorClient<Channel> {
    OperatorClient::new(channel(gateway, tls).await)
}

pub async fn nodes(gateway: &Gateway, tls: Arc<ClientConfig>) -> NodeGatewayClient<Channel> {
    NodeGatewayClient::new(channel(gateway, tls).await)
}

/// A good request to join as `name`, on a machine of that name, by the key of this seed.
pub fn join_request(token: &NodeToken, name: &str, seed: u8) -> JoinNodeRequest {
    let csr = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        request.der().to_vec().into()
    };
    let key = SigningKey::from_seed([seed; 32]);
    let unsigned = JoinNodeRequest {
        token_id: token.join.id.to_vec().into(),
        token_secret: token.join.secret.to_vec().into(),
        name: name.to_owned(),
        log_id: token.log_id.to_vec().into(),
        cosigner_key: key.public().0.to_vec().into(),
        possession: Vec::new().into(),
        peer_csr_der: csr(),
        gateway_csr_der: csr(),
        grpc: format!("{name}.test:7681"),
        peers: format!("{name}.test:7682"),
    };
    signed_join(unsigned, &key)
}

/// The request as it is now, with the proof that this key made it.
pub fn signed_join(mut request: JoinNodeRequest, key: &SigningKey) -> JoinNodeRequest {
    let statement = node_possession_statement(&request);
    request.possession = key.sign(&statement).0.to_vec().into();
    request
}

/// A Connect stream on which the test says what it likes.
pub struct RawStream {
    out: mpsc::Sender<AgentMessage>,
    inbound: Streaming<GatewayMessage>,
}

impl RawStream {
    /// Opens a stream with `first` as its first messages; an empty list ends it at once.
    pub async fn open(
        gateway: &Gateway,
        tls: Arc<ClientConfig>,
        first: Vec<Out>,
    ) -> Result<RawStream, Status> {
        let (out, outbound) = mpsc::channel(16);
        let is_empty = first.is_empty();
        for message in first {
            out.try_send(AgentMessage { message: Some(message) }).unwrap();
        }
        let kept = out.clone();
        drop(out);
        let mut client = agents(gateway, tls).await;
        if is_empty {
            let nothing = tonic::codegen::tokio_stream::empty();
            let inbound = client.connect(nothing).await?.into_inner();
            return Ok(RawStream { out: kept, inbound });
        }
        let inbound = client.connect(ReceiverStream::new(outbound)).await?.into_inner();
        Ok(RawStream { out: kept, inbound })
    }

    /// Opens as `agent` and takes the welcome.
    pub async fn welcomed(gateway: &Gateway, bench: &Bench, agent: &RawAgent) -> RawStream {
        let hello = Out::Hello(agent.hello());
        let opened = RawStream::open(gateway, agent.tls(bench), vec![hello]).await;
        let mut stream = opened.unwrap();
        let first = stream.next().await.unwrap();
        assert!(matches!(first, Some(In::Welcome(_))), "{first:?}");
        stream
    }

    pub async fn send(&self, message: Out) {
        self.out.send(AgentMessage { message: Some(message) }).await.unwrap();
    }

    pub async fn send_batch(&self, batch: &SealedBatch) {
        self.send(raw_batch(batch.leaf.bytes(), &batch.payload)).await;
    }

    /// The next message; `None` when the gateway ended the stream in order.
    pub async fn next(&mut self) -> Result<Option<In>, Status> {
        let message = self.inbound.message().await?;
        Ok(message.map(|message| message.message.unwrap()))
    }
}

pub fn raw_batch(leaf: &[u8], payload: &[u8]) -> Out {
    Out::Batch(Batch { leaf: leaf.to_vec().into(), payload: payload.to_vec().into() })
}
