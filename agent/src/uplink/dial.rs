//! One TCP and TLS connection to an aggregator, as a tonic channel that never redials by itself.

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proofmark_proto::GATEWAY_DNS_NAME;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::limits::{UPLINK_CONNECT_MS_MAX, UPLINK_KEEPALIVE_MS, UPLINK_KEEPALIVE_TIMEOUT_MS};

/// Why there is no connection. The text is for a person.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    #[error("TCP: {0}")]
    Tcp(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("HTTP/2: {0}")]
    Http(#[from] tonic::transport::Error),
    #[error("expected {what} within {limit_ms} ms, got nothing")]
    Slow { what: &'static str, limit_ms: u64 },
}

/// How bytes reach an address: TCP in a program, a simulated network in a test.
pub trait Network: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// A stream to `address` (host:port) on which small writes leave at once.
    fn dial(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// This machine's network.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Network for Tcp {
    type Stream = TcpStream;

    async fn dial(&self, address: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        // A batch must not wait for the aggregator's delayed TCP acknowledgements.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Dials `address` (host:port). The server must prove our fixed internal name by `tls`'s CA.
pub async fn connect(address: &str, tls: Arc<ClientConfig>) -> Result<Channel, DialFault> {
    connect_over(&Tcp, address, tls).await
}

/// As [`connect`], over any network.
pub(super) async fn connect_over<N: Network>(
    network: &N,
    address: &str,
    tls: Arc<ClientConfig>,
) -> Result<Channel, DialFault> {
    let tcp = within("a TCP connection", network.dial(address)).await?.map_err(DialFault::Tcp)?;
    let name = ServerName::try_from(GATEWAY_DNS_NAME).expect("a constant, valid DNS name");
    let shaking = TlsConnector::from(tls).connect(name, tcp);
    let tls = within("a TLS handshake", shaking).await?.map_err(DialFault::Tls)?;
    let endpoint = endpoint();
    let greeting = endpoint.connect_with_connector(Once(Some(TokioIo::new(tls))));
    Ok(within("an HTTP/2 greeting", greeting).await??)
}

/// HTTP/2 settings. The URI is only a name: the socket is ours already.
fn endpoint() -> Endpoint {
    Endpoint::from_static("http://aggregator.proofmark.internal")
        .http2_keep_alive_interval(Duration::from_millis(UPLINK_KEEPALIVE_MS))
        .keep_alive_timeout(Duration::from_millis(UPLINK_KEEPALIVE_TIMEOUT_MS))
        .keep_alive_while_idle(true)
}

async fn within<T>(what: &'static str, step: impl Future<Output = T>) -> Result<T, DialFault> {
    let limit_ms = UPLINK_CONNECT_MS_MAX;
    let step = timeout(Duration::from_millis(limit_ms), step).await;
    step.map_err(|_| DialFault::Slow { what, limit_ms })
}

/// Gives tonic the connection we made; asked again, it says that the connection is gone.
struct Once<S>(Option<TokioIo<TlsStream<S>>>);

impl<S> Service<Uri> for Once<S> {
    type Response = TokioIo<TlsStream<S>>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _name: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
