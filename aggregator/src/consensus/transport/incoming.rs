//! The listening side's connections: bounded, and each with a deadline for its handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use super::closing;
use crate::limits::{PEER_HANDSHAKES_MAX, PEER_REDIAL_MS_MAX, PEER_TIMEOUT_MS};

/// Connections whose TLS handshake is done.
pub(super) type Connections = ReceiverStream<io::Result<TlsStream<TcpStream>>>;
type Accepted = mpsc::Sender<io::Result<TlsStream<TcpStream>>>;

/// A queue of accepted connections, and the side that [`accept`] fills.
pub(super) fn queue() -> (Accepted, Connections) {
    let (accepted, connections) = mpsc::channel(PEER_HANDSHAKES_MAX);
    (accepted, ReceiverStream::new(connections))
}

/// Accepts until the transport closes. While all handshakes allowed are running, further
/// connections wait in the kernel's queue.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    accepted: Accepted,
    closed: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let mut handshakes = JoinSet::new();
    let listen = async {
        loop {
            while handshakes.len() >= PEER_HANDSHAKES_MAX {
                handshakes.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, _)) => {
                    handshakes.spawn(handshake(acceptor.clone(), stream, accepted.clone()));
                }
                // Out of file descriptors, most likely: breathe instead of spinning.
                Err(fault) => {
                    tracing::warn!(%fault, "peer port cannot accept");
                    tokio::time::sleep(Duration::from_millis(PEER_REDIAL_MS_MAX)).await;
                }
            }
            while handshakes.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = listen => {}
        () = closing(closed) => {}
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, accepted: Accepted) {
    let timeout = Duration::from_millis(PEER_TIMEOUT_MS);
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(timeout, acceptor.accept(stream)).await {
        // A closed queue means that the server ends: the connection is dropped with the error.
        Ok(Ok(stream)) => drop(accepted.send(Ok(stream)).await),
        Ok(Err(fault)) => tracing::warn!(%fault, "peer handshake failed"),
        Err(_) => tracing::warn!(timeout_ms = PEER_TIMEOUT_MS, "peer handshake took too long"),
    }
}
