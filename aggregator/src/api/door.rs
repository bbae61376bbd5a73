//! The HTTP door: accepts connections and hands their requests to the router.
//!
//! axum's own `serve` bounds nothing: a caller that begins a request and says nothing more would
//! keep its place for ever. Here places are counted and heads have a deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::limits::{ACCEPT_PAUSE_MS, HTTP_CONNECTIONS_MAX, HTTP_HEAD_MS_MAX};
use crate::waiting::{Ticket, Waiting};

/// Serves until `stop` resolves; then answers what is under way. Dropped, it cuts every connection.
/// Each connection is counted in `open`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    open: Waiting,
    stop: impl Future<Output = ()>,
) {
    serve_with(listener, http(HTTP_HEAD_MS_MAX), (router, open), stop).await;
}

/// HTTP/1 with a deadline for each request's head.
fn http(head_ms_max: u64) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(head_ms_max));
    http
}

async fn serve_with(
    listener: TcpListener,
    http: http1::Builder,
    (router, open): (Router, Waiting),
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            match accept(&listener, &places).await {
                Ok((stream, place)) => {
                    let service = TowerToHyperService::new(router.clone());
                    let connection = http.serve_connection(TokioIo::new(stream), service);
                    let place = (place, open.enter());
                    connections.spawn(converse(connection, closed.clone(), place));
                }
                // Out of file descriptors, most likely: breathe instead of spinning.
                Err(error) => {
                    tracing::warn!(%error, pause_ms = ACCEPT_PAUSE_MS, "HTTP accept failed");
                    sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    // No receiver is left when nobody is connected.
    let _ = closing.send(true);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place.expect("the semaphore is never closed")))
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

async fn converse(
    connection: Connection,
    closed: watch::Receiver<bool>,
    _place: (OwnedSemaphorePermit, Ticket),
) {
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = raised(closed) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

/// Resolves when the flag is raised, or its owner is gone.
async fn raised(mut flag: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the door.
    let _ = flag.wait_for(|raised| *raised).await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn open(head_ms_max: u64) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "fine" }));
        let mut served = JoinSet::new();
        let router = (router, Waiting::default());
        served.spawn(serve_with(listener, http(head_ms_max), router, pending()));
        (address, served)
    }

    /// Says `text` and hears everything until the door closes.
    async fn say(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_head_without_end_is_given_up() {
        let (address, _served) = open(50).await;
        assert!(!say(address, "GET / HTTP/1.1\r\nX-Slow: ").await.contains("fine"));
        assert!(say(address, REQUEST).await.ends_with("fine"));
    }

    #[tokio::test]
    async fn one_more_than_there_are_places_waits_for_one() {
        let (address, _served) = open(HTTP_HEAD_MS_MAX).await;
        let mut silent = Vec::new();
        for _ in 0..HTTP_CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let answer = say(address, REQUEST);
        tokio::pin!(answer);
        let early = tokio::time::timeout(Duration::from_millis(100), answer.as_mut()).await;
        assert!(early.is_err(), "answered without a place: {early:?}");
        silent.pop();
        assert!(answer.await.ends_with("fine"));
    }
}
