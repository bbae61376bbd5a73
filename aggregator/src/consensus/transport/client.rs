//! The dialling side: one task a peer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use proofmark_proto::peer_client::PeerClient;
use proofmark_proto::{ForwardRequest, PeerHello, RaftMessages, peer_dns_name};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::Uri;
use tonic::codegen::{Context, Pin, Poll, Service};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::super::ProposalOutcome;
use super::super::convert;
use super::super::handle::ConsensusHandle;
use super::super::inbox::{Proposal, message_bytes};
use super::super::outbox::{MessageQueue, PeerQueues};
use super::fetch::fetch_pieces;
use super::{PeerAddress, PeerBook, PeerRefused, TransportConfig, closing, hello};
use crate::limits::{
    ENTRY_COMMANDS_MAX, FORWARD_BYTES_MAX, FORWARD_TIMEOUT_MS, IN_USE_REFUSALS_MAX,
    MESSAGE_ENTRIES_BYTES_MAX, PEER_KEEPALIVE_MS, PEER_REDIAL_MS_MAX, PEER_REDIAL_MS_MIN,
    PEER_RPC_BYTES_MAX, PEER_TIMEOUT_MS, RAFT_MESSAGES_PER_FRAME_MAX,
};

/// Dials one peer, again and again.
pub(super) struct Dialer {
    hello: PeerHello,
    peer: PeerAddress,
    connector: Connector,
    handle: ConsensusHandle,
    book: Arc<PeerBook>,
    /// How often in a row the peer said that this identity is in use.
    in_use: AtomicU32,
}

impl Dialer {
    pub(super) fn new(
        config: &TransportConfig,
        peer: PeerAddress,
        handle: ConsensusHandle,
    ) -> Self {
        let connector = Connector::new(config, &peer);
        let (book, in_use) = (Arc::clone(&config.book), AtomicU32::new(0));
        Self { hello: hello(config), peer, connector, handle, book, in_use }
    }

    /// Keeps the peer connected until the transport closes.
    pub(super) async fn run(self, mut queues: PeerQueues, closed: watch::Receiver<bool>) {
        tokio::select! {
            () = self.dial_for_ever(&mut queues) => {}
            () = closing(closed) => {}
        }
    }

    async fn dial_for_ever(&self, queues: &mut PeerQueues) {
        let mut redial_ms = PEER_REDIAL_MS_MIN;
        loop {
            match self.connector.connect().await {
                Ok(channel) => {
                    tracing::info!(peer = self.peer.node_id, "peer connected");
                    if self.talk(channel, queues).await == Talk::Ended {
                        redial_ms = PEER_REDIAL_MS_MIN;
                    }
                    tracing::info!(peer = self.peer.node_id, "peer disconnected");
                }
                Err(fault) => {
                    tracing::debug!(peer = self.peer.node_id, %fault, "peer not reached");
                }
            }
            self.handle.unreachable(self.peer.node_id);
            refuse_while(queues, Duration::from_millis(redial_ms)).await;
            redial_ms = (redial_ms * 2).min(PEER_REDIAL_MS_MAX);
        }
    }

    /// All conversations over one connection; the first that ends, ends all.
    async fn talk(&self, channel: Channel, queues: &mut PeerQueues) -> Talk {
        let client = PeerClient::new(channel)
            .max_decoding_message_size(PEER_RPC_BYTES_MAX)
            .max_encoding_message_size(PEER_RPC_BYTES_MAX);
        let PeerQueues { messages, forwards, fetches } = queues;
        tokio::select! {
            talk = self.stream_messages(client.clone(), messages) => talk,
            () = self.forward_commands(client.clone(), forwards) => Talk::Ended,
            () = fetch_pieces(&self.hello, client, fetches) => Talk::Ended,
        }
    }

    async fn stream_messages(
        &self,
        mut client: PeerClient<Channel>,
        queue: &mut MessageQueue,
    ) -> Talk {
        // One frame in hand while one is on its way; raft's own windows bound the rest.
        let (frames, stream) = mpsc::channel(1);
        let pump = async {
            let mut from = Some(self.hello.clone());
            while let Some(frame) = next_frame(queue, from.take()).await {
                if frames.send(frame).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = pump => Talk::Ended,
            ended = client.raft(ReceiverStream::new(stream)) => match ended {
                Ok(_) => Talk::Ended,
                Err(status) => {
                    tracing::warn!(peer = self.peer.node_id, %status, "raft stream ended");
                    self.hear(&status)
                }
            }
        }
    }

    /// Some refusals say that this replica must not run at all. That its identity is in use may be
    /// an earlier process of its own, whose connection the peer has not missed yet.
    fn hear(&self, status: &Status) -> Talk {
        let message = status.message();
        let slug = message.split(':').next().unwrap_or_default();
        let is_in_use = slug == PeerRefused::IN_USE;
        let in_use = match is_in_use {
            true => self.in_use.fetch_add(1, Relaxed) + 1,
            false => self.in_use.swap(0, Relaxed),
        };
        if PeerRefused::FINAL.contains(&slug) || (is_in_use && in_use > IN_USE_REFUSALS_MAX) {
            self.book.refuse_self(message);
        }
        match status.code() {
            Code::FailedPrecondition => Talk::Refused,
            _ => Talk::Ended,
        }
    }

    /// One forward at a time: what is proposed meanwhile travels together in the next.
    async fn forward_commands(
        &self,
        mut client: PeerClient<Channel>,
        queue: &mut mpsc::Receiver<Proposal>,
    ) {
        while let Some(first) = queue.recv().await {
            let (commands, proposals) = gather(first, queue);
            let from = Some(self.hello.clone());
            let mut request = tonic::Request::new(ForwardRequest { from, commands });
            request.set_timeout(Duration::from_millis(FORWARD_TIMEOUT_MS));
            match client.forward(request).await {
                Ok(reply) => answer(proposals, &reply.into_inner().outcomes),
                Err(status) => {
                    // It may have been proposed: dropping the proposals tells their owners Lost. If
                    // the connection is gone, the other conversation will find out.
                    tracing::warn!(peer = self.peer.node_id, %status, "forward failed");
                }
            }
        }
    }
}

/// How a conversation ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Talk {
    Ended,
    /// The peer does not listen to this node: asked again, less and less often.
    Refused,
}

/// Waits for a message, then takes what else is there, as far as one frame goes.
async fn next_frame(queue: &mut MessageQueue, from: Option<PeerHello>) -> Option<RaftMessages> {
    let first = queue.recv().await?;
    let mut bytes = message_bytes(&first);
    let mut messages = vec![convert::to_wire(first)];
    while (bytes as u64) < MESSAGE_ENTRIES_BYTES_MAX && messages.len() < RAFT_MESSAGES_PER_FRAME_MAX
    {
        let Some(message) = queue.try_recv() else { break };
        bytes += message_bytes(&message);
        messages.push(convert::to_wire(message));
    }
    Some(RaftMessages { from, messages })
}

/// The commands of one forward, in the order they were proposed, and who waits for each.
fn gather(first: Proposal, queue: &mut mpsc::Receiver<Proposal>) -> (Vec<Bytes>, Vec<Proposal>) {
    let mut bytes = first.command.len();
    let mut proposals = vec![first];
    while bytes < FORWARD_BYTES_MAX && proposals.len() < ENTRY_COMMANDS_MAX {
        let Ok(proposal) = queue.try_recv() else { break };
        bytes += proposal.command.len();
        proposals.push(proposal);
    }
    let commands = proposals.iter_mut().map(|p| std::mem::take(&mut p.command).into()).collect();
    (commands, proposals)
}

/// Gives each proposer its outcome; what the leader left out or garbled is `Lost`.
fn answer(proposals: Vec<Proposal>, outcomes: &[Bytes]) {
    let mut outcomes = outcomes.iter();
    for proposal in proposals {
        let outcome = outcomes.next().and_then(|bytes| ProposalOutcome::decode(bytes).ok());
        proposal.answer(outcome.unwrap_or(ProposalOutcome::Lost));
    }
}

/// Nobody is connected: commands for this peer are refused at once, so that their owners look for
/// another leader, and asks are lost. Messages stay in their queue; old ones do no harm.
async fn refuse_while(queues: &mut PeerQueues, wait: Duration) {
    let PeerQueues { forwards, fetches, .. } = queues;
    let refuse_forwards = async {
        while let Some(proposal) = forwards.recv().await {
            proposal.answer(ProposalOutcome::NotLeader { leader: None });
        }
    };
    let lose_fetches = async { while fetches.recv().await.is_some() {} };
    // A closed queue ends `refuse` early: then nothing is left to dial for, and waiting is right.
    let _ = tokio::time::timeout(wait, async {
        tokio::join!(refuse_forwards, lose_fetches);
        std::future::pending::<()>().await;
    })
    .await;
}

/// TCP, then TLS with the name that pins which node answers.
#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    address: String,
    name: String,
}

impl Connector {
    fn new(config: &TransportConfig, peer: &PeerAddress) -> Self {
        Self {
            tls: TlsConnector::from(Arc::clone(&config.tls.client)),
            address: peer.address.clone(),
            name: peer_dns_name(peer.node_id),
        }
    }

    async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let timeout = Duration::from_millis(PEER_TIMEOUT_MS);
        // The scheme is http because the connector below brings the TLS: tonic must not add any.
        let uri = format!("http://{}", self.name);
        Endpoint::from_shared(uri)?
            .connect_timeout(timeout)
            .http2_keep_alive_interval(Duration::from_millis(PEER_KEEPALIVE_MS))
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(true)
            .connect_with_connector(self.clone())
            .await
    }
}

type Dialling = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Dialling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Dialling {
        let Self { tls, address, name } = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

/// What only the tests do.
#[cfg(test)]
pub(super) mod tests_only {
    use super::*;

    pub(in super::super) async fn client(
        config: &TransportConfig,
        peer: &PeerAddress,
    ) -> Result<PeerClient<Channel>, Status> {
        let connected = Connector::new(config, peer).connect().await;
        connected.map(PeerClient::new).map_err(|fault| Status::unavailable(fault.to_string()))
    }

    /// Opens a stream with one empty frame and closes it; the status is the server's verdict.
    pub(in super::super) async fn introduce(
        config: &TransportConfig,
        peer: &PeerAddress,
    ) -> Result<(), Status> {
        let frame = RaftMessages { from: Some(hello(config)), messages: Vec::new() };
        let mut client = client(config, peer).await?;
        client.raft(tokio_stream::once(frame)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::super::budget::Budget;
    use super::super::super::outbox::PeerOutbox;
    use super::*;
    use crate::command::Reply;
    use crate::waiting::Waiting;

    #[test]
    fn each_proposer_hears_its_own_outcome_and_of_a_missing_one_that_it_is_lost() {
        let budget = Budget::new(3, 3, Waiting::default());
        let proposal = |_| {
            let ((reply, heard), permit) = (oneshot::channel(), budget.admit(1).unwrap());
            (Proposal { command: Vec::new(), reply, permit }, heard)
        };
        let (proposals, heard): (Vec<_>, Vec<_>) = (0..3).map(proposal).unzip();
        let done = ProposalOutcome::Applied(Reply::Done);
        let busy = ProposalOutcome::Busy { retry_after_ms: 7 };
        answer(proposals, &[done.encode().into(), busy.encode().into()]);
        let heard: Vec<_> = heard.into_iter().map(|mut one| one.try_recv().unwrap()).collect();
        assert_eq!(heard, [done, busy, ProposalOutcome::Lost]);
    }
    /// Its owner looks for another leader, instead of waiting for this one.
    #[tokio::test]
    async fn while_nobody_is_connected_commands_are_given_back() {
        let (outbox, budget) = (PeerOutbox::default(), Budget::new(1, 1, Waiting::default()));
        let mut queues = outbox.add(2);
        let ((reply, heard), permit) = (oneshot::channel(), budget.admit(1).unwrap());
        let forwarded = outbox.forward(2, Proposal { command: vec![1], reply, permit });
        assert!(forwarded.is_ok());
        let told = tokio::select! {
            () = refuse_while(&mut queues, Duration::from_secs(60)) => panic!("not told"),
            told = heard => told.unwrap(),
        };
        assert_eq!(told, ProposalOutcome::NotLeader { leader: None });
    }
}
