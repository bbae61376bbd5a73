//! The agent's own small port, for the host's operator: `GET /healthz` and `GET /metrics`.
//!
//! It only reads numbers. Nothing can be changed through it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_REQUEST_MS_MAX, ADMIN_RETRY_MS};
use crate::metrics::{Gauge, Metrics};

/// Serves on `listener` until it is dropped with its task.
pub async fn serve(listener: TcpListener, metrics: Metrics) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= ADMIN_CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(serve_one(stream, metrics.clone()))),
            Err(error) => {
                tracing::warn!(%error, "admin port: accept failed");
                tokio::time::sleep(Duration::from_millis(ADMIN_RETRY_MS)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Binds the admin port and says where it is.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "admin port");
    Ok(listener)
}

async fn serve_one(stream: TcpStream, metrics: Metrics) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let limit = Duration::from_millis(ADMIN_REQUEST_MS_MAX);
    // A client that breaks off is its own affair.
    let _ = tokio::time::timeout(limit, connection).await;
}

fn respond(method: &Method, path: &str, metrics: &Metrics) -> Response<Full<Bytes>> {
    match (method, path) {
        (&Method::GET, "/healthz") => answer(StatusCode::OK, health(metrics)),
        (&Method::GET, "/metrics") => {
            let mut response = answer(StatusCode::OK, metrics.render());
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        (&Method::GET, _) => answer(StatusCode::NOT_FOUND, "not found\n".to_string()),
        _ => answer(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_string()),
    }
}

/// The agent is healthy while it measures, connected or not: that is what its spool is for.
fn health(metrics: &Metrics) -> String {
    let uplink = match metrics.gauge(Gauge::UplinkConnected) {
        0 => "disconnected",
        _ => "connected",
    };
    let checks = metrics.gauge(Gauge::Checks);
    format!("ok\nuplink {uplink}\nchecks {checks}\n")
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(address: SocketAddr, request_line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("the port is open");
        let request = format!("{request_line} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("read");
        text
    }

    #[tokio::test]
    async fn health_and_metrics_are_served_and_nothing_else() {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let metrics = Metrics::new();
        metrics.set(Gauge::Checks, 7);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, metrics));
        let health = get(address, "GET /healthz").await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        assert!(health.ends_with("ok\nuplink disconnected\nchecks 7\n"), "{health}");
        assert!(get(address, "GET /metrics").await.contains("proofmark_agent_checks 7"));
        assert!(get(address, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(get(address, "POST /healthz").await.starts_with("HTTP/1.1 405"));
    }
}
