//! The listening side: the `Peer` service.

use std::time::Duration;

use bytes::Bytes;
use proofmark_proto::peer_server::{Peer, PeerServer};
use proofmark_proto::{
    FetchReply, FetchRequest, ForwardReply, ForwardRequest, PROTOCOL, PeerHello, RaftMessage,
    RaftMessages, RaftStreamEnd,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::super::handle::ConsensusHandle;
use super::super::{ProposalOutcome, convert};
use super::fetch::FetchDesk;
use super::{PeerRefused, TransportConfig, closing, incoming};
use crate::command::Command;
use crate::identity::Role;
use crate::limits::{
    FORWARD_TIMEOUT_MS, PEER_HEADER_BYTES_MAX, PEER_KEEPALIVE_MS, PEER_RESETS_MAX,
    PEER_RPC_BYTES_MAX, PEER_STREAMS_MAX, PEER_TIMEOUT_MS,
};

/// Serves peers until the transport closes.
pub(super) async fn serve(
    config: TransportConfig,
    (handle, desk): (ConsensusHandle, FetchDesk),
    listener: TcpListener,
    closed: watch::Receiver<bool>,
) {
    let (accepted, connections) = incoming::queue();
    let tls = config.tls.server.clone();
    let service = PeerServer::new(Service { config, handle, desk, closed: closed.clone() })
        .max_decoding_message_size(PEER_RPC_BYTES_MAX)
        .max_encoding_message_size(PEER_RPC_BYTES_MAX);
    let server = limited_server().add_service(service);
    let serving = server.serve_with_incoming_shutdown(connections, closing(closed.clone()));
    let accepting = incoming::accept(listener, tls, accepted, closed);
    let (served, ()) = tokio::join!(serving, accepting);
    if let Err(fault) = served {
        tracing::error!(%fault, "peer port ended");
    }
}

/// tonic takes hyper's limits away unless they are set.
fn limited_server() -> Server {
    Server::builder()
        .max_concurrent_streams(PEER_STREAMS_MAX)
        .http2_max_local_error_reset_streams(Some(PEER_RESETS_MAX))
        .http2_max_pending_accept_reset_streams(Some(PEER_RESETS_MAX))
        .http2_max_header_list_size(PEER_HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(Duration::from_millis(PEER_KEEPALIVE_MS)))
        .http2_keepalive_timeout(Some(Duration::from_millis(PEER_TIMEOUT_MS)))
}

/// Takes Raft messages for this replica's inbox, commands for it to propose, and asks for pieces of
/// what it has.
struct Service {
    config: TransportConfig,
    handle: ConsensusHandle,
    desk: FetchDesk,
    closed: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Peer for Service {
    async fn raft(
        &self,
        request: Request<Streaming<RaftMessages>>,
    ) -> Result<Response<RaftStreamEnd>, Status> {
        let caller = caller(&request)?;
        let mut stream = request.into_inner();
        tokio::select! {
            taken = self.take_messages(caller, &mut stream) => taken?,
            why = self.config.book.gone(caller) => return Err(turn_away(caller, &why)),
            () = closing(self.closed.clone()) => {}
        }
        Ok(Response::new(RaftStreamEnd {}))
    }

    async fn forward(
        &self,
        request: Request<ForwardRequest>,
    ) -> Result<Response<ForwardReply>, Status> {
        let caller = caller(&request)?;
        let ForwardRequest { from, commands } = request.into_inner();
        let hello = self.check_hello(caller, from.as_ref())?;
        self.config.book.check(caller, hello).map_err(|why| turn_away(caller, &why))?;
        commands.iter().try_for_each(check_command)?;
        let proposing = self.propose_all(commands);
        let timeout = Duration::from_millis(FORWARD_TIMEOUT_MS);
        let outcomes = tokio::time::timeout(timeout, proposing)
            .await
            .map_err(|_| Status::deadline_exceeded("forward_timeout: not committed in time"))?;
        Ok(Response::new(ForwardReply { outcomes }))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<FetchReply>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let hello = self.check_hello(caller, request.from.as_ref())?;
        self.config.book.check(caller, hello).map_err(|why| turn_away(caller, &why))?;
        Ok(Response::new(self.desk.serve(&request).await?))
    }
}

impl Service {
    async fn take_messages(
        &self,
        caller: u64,
        stream: &mut Streaming<RaftMessages>,
    ) -> Result<(), Status> {
        let mut guest = None;
        while let Some(frame) = stream.message().await? {
            if guest.is_none() {
                let hello = self.check_hello(caller, frame.from.as_ref())?;
                let admitted = self.config.book.admit(caller, hello);
                guest = Some(admitted.map_err(|why| turn_away(caller, &why))?);
            }
            frame
                .messages
                .into_iter()
                .try_for_each(|message| self.take_message(caller, message))?;
        }
        Ok(())
    }

    fn take_message(&self, caller: u64, message: RaftMessage) -> Result<(), Status> {
        if message.from != caller {
            let got = message.from;
            return Err(refused(format!("wrong_sender: expected node {caller}, got {got}")));
        }
        let message = convert::from_wire(message)
            .map_err(|fault| refused(format!("message_kind: {fault}")))?;
        self.handle.receive(message);
        Ok(())
    }

    /// All at once, so that they share an entry; the replies in the order of the commands.
    async fn propose_all(&self, commands: Vec<Bytes>) -> Vec<Bytes> {
        let waiting: Vec<_> =
            commands.iter().map(|command| self.handle.submit_here(command.to_vec())).collect();
        let mut outcomes = Vec::with_capacity(waiting.len());
        for outcome in waiting {
            outcomes.push(outcome.await.unwrap_or(ProposalOutcome::Lost).encode().into());
        }
        outcomes
    }

    fn check_hello<'h>(
        &self,
        caller: u64,
        hello: Option<&'h PeerHello>,
    ) -> Result<&'h PeerHello, Status> {
        let Some(hello) = hello else { return Err(refused("no_hello: expected it first")) };
        if hello.protocol != PROTOCOL {
            let got = hello.protocol;
            return Err(refused(format!("protocol: expected {PROTOCOL}, got {got}")));
        }
        if *hello.log_id != self.config.log_id.0 {
            return Err(refused("wrong_cluster: the hello names another log"));
        }
        if hello.node_id != caller {
            let got = hello.node_id;
            return Err(refused(format!("wrong_node: certificate of {caller}, hello of {got}")));
        }
        Ok(hello)
    }
}

/// Said here too: the operator may look at either side first.
fn turn_away(caller: u64, why: &PeerRefused) -> Status {
    tracing::warn!(caller, %why, "a peer is turned away");
    refused(why.to_string())
}

/// The node named by the verified client certificate.
fn caller<T>(request: &Request<T>) -> Result<u64, Status> {
    let certificates = request.peer_certs();
    match Role::of(certificates.as_ref().map(|chain| chain.as_slice())) {
        Ok(Role::Node(node_id)) => Ok(node_id),
        Ok(other) => Err(Status::unauthenticated(format!(
            "not_a_node: expected the certificate of a node, got {}",
            other.describe()
        ))),
        Err(fault) => Err(Status::unauthenticated(format!("not_a_node: {fault}"))),
    }
}

/// What cannot be decoded would stop every replica at its apply: it never gets into the log.
fn check_command(command: &Bytes) -> Result<(), Status> {
    let decoded = Command::decode(command).map(drop);
    decoded.map_err(|fault| Status::invalid_argument(format!("command: {fault}")))
}

fn refused(text: impl Into<String>) -> Status {
    Status::failed_precondition(text.into())
}
