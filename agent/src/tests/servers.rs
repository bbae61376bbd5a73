//! Servers that a test starts on a free port of 127.0.0.1.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A server that reads one request head (and what came with it) and answers it with raw bytes.
pub(crate) async fn serve_http(
    tasks: &mut JoinSet<()>,
    respond: impl Fn(&str) -> String + Send + Sync + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 16 << 10];
            let len = stream.read(&mut request).await.unwrap_or(0);
            let response = respond(&String::from_utf8_lossy(&request[..len]));
            let _ = stream.write_all(response.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

/// A TLS server with a certificate of its own small CA.
pub(crate) struct TlsServer {
    pub(crate) port: u16,
    pub(crate) ca_file: PathBuf,
    requests: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
}

impl TlsServer {
    /// Shakes hands, then closes. The certificate is for `name` and lasts `days` more days.
    pub(crate) async fn start(tasks: &mut JoinSet<()>, name: &str, days: i64) -> TlsServer {
        TlsServer::start_with(tasks, name, days, None).await
    }

    /// Also answers one HTTP request on each connection, in the one version of `alpn`.
    pub(crate) async fn start_http(tasks: &mut JoinSet<()>, alpn: &[u8]) -> TlsServer {
        let answer = Answer { alpn: alpn.to_vec(), location: None };
        TlsServer::start_with(tasks, "localhost", 10, Some(answer)).await
    }

    /// Answers every HTTP request with a redirect.
    pub(crate) async fn start_redirect(tasks: &mut JoinSet<()>, location: String) -> TlsServer {
        let answer = Answer { alpn: b"http/1.1".to_vec(), location: Some(location) };
        TlsServer::start_with(tasks, "localhost", 10, Some(answer)).await
    }

    async fn start_with(
        tasks: &mut JoinSet<()>,
        name: &str,
        days: i64,
        answer: Option<Answer>,
    ) -> TlsServer {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca_file = dir.path().join("ca.pem");
        let alpn = answer.as_ref().map(|answer| answer.alpn.clone());
        let config = server_config(name, days, &ca_file, alpn);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        // `localhost` may be either family; the checks prefer IPv4.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let requests = Arc::new(AtomicU64::new(0));
        let counted = requests.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                if let Some(answer) = &answer {
                    answer_once(stream, answer, counted.clone()).await;
                }
            }
        });
        TlsServer { port, ca_file, requests, _dir: dir }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// What a server says to HTTP over TLS.
struct Answer {
    alpn: Vec<u8>,
    location: Option<String>,
}

impl Answer {
    fn response(&self) -> hyper::Response<http_body_util::Full<bytes::Bytes>> {
        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"hello over TLS"));
        let response = hyper::Response::builder();
        let response = match &self.location {
            Some(location) => response.status(302).header("location", location),
            None => response,
        };
        response.body(body).expect("a response")
    }
}

async fn answer_once(
    stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    answer: &Answer,
    requests: Arc<AtomicU64>,
) {
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let service = service_fn(move |_| {
        requests.fetch_add(1, Ordering::Relaxed);
        let response = answer.response();
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let io = TokioIo::new(stream);
    let _ = match answer.alpn == b"h2" {
        true => {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.serve_connection(io, service).await
        }
        false => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
    };
}

fn server_config(
    name: &str,
    days: i64,
    ca_file: &std::path::Path,
    alpn: Option<Vec<u8>>,
) -> ServerConfig {
    let mut ca_params = CertificateParams::default();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(ca_params, ca_key).expect("a CA");
    std::fs::write(ca_file, ca.pem()).expect("written");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_string()]).expect("a name");
    let now = std::time::Duration::from_millis(crate::clock::Clock::system().unix_ms());
    let day = std::time::Duration::from_secs(86_400);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now - day * 100;
    params.not_after = match u32::try_from(days) {
        Ok(days) => epoch + now + day * days,
        Err(_) => epoch + now - day * days.unsigned_abs() as u32,
    };
    let certificate = params.signed_by(&key, &ca).expect("signed");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone(), ca.der().clone()], key)
        .expect("a certificate and its key");
    config.alpn_protocols = alpn.into_iter().collect();
    config
}
