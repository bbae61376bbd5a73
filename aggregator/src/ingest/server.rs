//! The HTTP/2 server behind the door, with every limit set that `limits.rs` lists for the agent
//! port.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use proofmark_proto::agent_gateway_server::AgentGatewayServer;
use proofmark_proto::node_gateway_server::NodeGatewayServer;
use proofmark_proto::operator_server::OperatorServer;

use super::door::{self, Listener};
use super::gateway::{Gateway, Sessions};
use super::join::NodeDoor;
use super::operator::OperatorDesk;
use super::{AgentDirectory, Handles, Proposer};
use crate::limits::*;

/// Why the agent port does not serve. For the operator of this node.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityFault),
    #[error("agent port: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("agent port: {0}")]
    Listener(#[from] io::Error),
}

/// Serves the agent port until `shutdown` says true, then drains: no new connection or batch is
/// taken, batches under way are answered, streams end in order.
pub async fn serve<P: Proposer, D: AgentDirectory>(
    listener: impl Listener,
    handles: Handles<P, D>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ServeFault> {
    let config = handles.identity.agent_server_config()?;
    let (door, guests) = door::open(listener, config, handles.counters.clone());
    let sessions = Arc::new(Sessions::default());
    let desk = OperatorDesk::new(handles.clone());
    let nodes = NodeDoor { handles: handles.clone() };
    let gateway = Gateway {
        handles,
        sessions: Arc::clone(&sessions),
        under_way: Arc::new(Semaphore::new(BATCHES_UNDER_WAY_MAX)),
        shutdown: shutdown.clone(),
    };
    let serving = hardened_server()
        .add_service(
            NodeGatewayServer::new(nodes)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(REPLY_BYTES_MAX),
        )
        .add_service(
            AgentGatewayServer::new(gateway)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(REPLY_BYTES_MAX),
        )
        .add_service(
            OperatorServer::new(desk)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(REPLY_BYTES_MAX),
        )
        .serve_with_incoming_shutdown(ReceiverStream::new(guests), is_true(shutdown.clone()));
    let accepting = async {
        tokio::select! {
            () = door.run() => {}
            () = is_true(shutdown) => {}
        }
    };
    let (served, ()) = tokio::join!(serving, accepting);
    sessions.finish().await;
    Ok(served?)
}

/// Resolves when the flag is raised, or its owner is gone.
async fn is_true(mut flag: watch::Receiver<bool>) {
    // An error means that the sender was dropped: the node is going down.
    let _ = flag.wait_for(|raised| *raised).await;
}

fn hardened_server() -> Server {
    let ms = Duration::from_millis;
    Server::builder()
        .max_concurrent_streams(AGENT_STREAMS_MAX)
        .concurrency_limit_per_connection(CONNECTION_REQUESTS_MAX)
        .load_shed(true)
        .timeout(ms(RPC_MS_MAX))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_adaptive_window(Some(false))
        .http2_keepalive_interval(Some(ms(KEEPALIVE_INTERVAL_MS)))
        .http2_keepalive_timeout(Some(ms(KEEPALIVE_TIMEOUT_MS)))
        .max_connection_age(ms(CONNECTION_AGE_MS_MAX))
        .max_connection_age_grace(ms(CONNECTION_AGE_GRACE_MS))
        .accept_http1(false)
}
