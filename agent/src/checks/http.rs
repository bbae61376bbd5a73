//! `http`: one request and what its answer must be like.
//!
//! Own connector instead of a client library, so that each phase has its own time: resolve,
//! connect, TLS, first byte, transfer; over redirects they add up. HTTP/2 is spoken when the peer
//! agrees to it in the TLS handshake (ALPN), else HTTP/1.1.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_TYPE, HOST,
    HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE, USER_AGENT,
};
use hyper::rt::Executor;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proofmark_evidence::{FailReason, MeasurementKind};
use proofmark_spec::{HeaderRule, HttpMethod, HttpProbe, Scheme, Url};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::Tools;
use super::net::{self, Family, io_finding};
use super::redirect;
use super::tls_client::{Strictness, Wanted, handshake};
use super::trace::{Finding, Phase, Trace, fail, judge_latency};
use crate::limits::{HTTP_HEADER_BYTES_MAX, REDIRECTS_MAX};

/// Where the next request goes and how.
struct Step {
    url: Url,
    method: HttpMethod,
    /// Whether every request so far went to where the spec sent the first. Once a redirect has led
    /// away, only [`HARMLESS_HEADERS`] are sent: any other may be a secret, whatever its name.
    is_at_origin: bool,
}

/// Headers that say what is wanted and not who asks.
const HARMLESS_HEADERS: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_CHARSET,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    CONTENT_TYPE,
    RANGE,
    USER_AGENT,
];

enum Connection {
    Plain(TcpStream),
    Http1(Box<TlsStream<TcpStream>>),
    Http2(Box<TlsStream<TcpStream>>),
}

/// The last answer.
struct Answer {
    url: Url,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

pub(super) async fn run(
    probe: &HttpProbe,
    tools: &Tools,
    trace: &mut Trace,
) -> Result<(), Finding> {
    let mut step = Step { url: probe.url.clone(), method: probe.method, is_at_origin: true };
    let mut redirects = 0;
    let answer = loop {
        let connection = connect(probe, &step.url, tools, trace).await?;
        let answer = exchange(probe, &step, connection, trace).await?;
        let Some(next) = follow(probe, &step, &answer)? else { break answer };
        redirects += 1;
        trace.count(MeasurementKind::RedirectsCount, redirects);
        if redirects > u64::from(REDIRECTS_MAX) {
            let detail = format!("more than {REDIRECTS_MAX} redirects");
            return Err(fail(FailReason::Redirects, detail));
        }
        step = next;
    };
    judge(probe, &answer, trace.elapsed_us())
}

async fn connect(
    probe: &HttpProbe,
    url: &Url,
    tools: &Tools,
    trace: &mut Trace,
) -> Result<Connection, Finding> {
    let family =
        Family { preferred: probe.preferred_ip_protocol, fallback: probe.ip_protocol_fallback };
    let stream = net::open(&url.host, url.port, family, trace).await?;
    if url.scheme == Scheme::Http {
        return Ok(Connection::Plain(stream));
    }
    let wanted = Wanted {
        host: &url.host,
        options: &probe.tls,
        strictness: Strictness::Strict,
        alpn: &[b"h2", b"http/1.1"],
    };
    let (stream, _) = handshake(stream, &wanted, &tools.trust, trace).await?;
    Ok(match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Connection::Http2(Box::new(stream)),
        _ => Connection::Http1(Box::new(stream)),
    })
}

/// Sends the request and reads the whole answer. The connection ends with it.
async fn exchange(
    probe: &HttpProbe,
    step: &Step,
    connection: Connection,
    trace: &mut Trace,
) -> Result<Answer, Finding> {
    trace.enter(Phase::FirstByte);
    let owned = DriversOfOne::default();
    let drivers = &owned.0;
    let response = match connection {
        Connection::Plain(stream) => {
            over_http1(stream, request(probe, step, false)?, drivers).await
        }
        Connection::Http1(stream) => {
            over_http1(stream, request(probe, step, false)?, drivers).await
        }
        Connection::Http2(stream) => over_http2(stream, request(probe, step, true)?, drivers).await,
    };
    let response = response.map_err(|error| hyper_finding(&error))?;
    trace.enter(Phase::Transfer);
    let (head, body) = response.into_parts();
    trace.count(MeasurementKind::HttpStatusCode, head.status.as_u16().into());
    let body = read_body(body, probe.body_size_limit_bytes, trace).await?;
    trace.leave();
    let url = step.url.clone();
    Ok(Answer { url, status: head.status.as_u16(), headers: head.headers, body })
}

async fn over_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
    drivers: &Drivers,
) -> hyper::Result<Response<Incoming>> {
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(HTTP_HEADER_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // The error of a connection also ends the request, which reports it.
    drivers.execute(async { drop(connection.await) });
    sender.send_request(request).await
}

async fn over_http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
    drivers: &Drivers,
) -> hyper::Result<Response<Incoming>> {
    let mut builder = hyper::client::conn::http2::Builder::new(drivers.clone());
    builder.max_header_list_size(HTTP_HEADER_BYTES_MAX as u32);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    drivers.execute(async { drop(connection.await) });
    sender.send_request(request).await
}

/// The tasks that move a connection's bytes.
#[derive(Clone, Default)]
struct Drivers(Arc<Mutex<JoinSet<()>>>);

/// Ends the drivers with the exchange, also when its time is up and the peer hangs. (HTTP/2 keeps
/// a clone of its own executor, so dropping ours would not.)
#[derive(Default)]
struct DriversOfOne(Drivers);

impl Drop for DriversOfOne {
    fn drop(&mut self) {
        self.0.0.lock().expect("no holder of this lock can panic").abort_all();
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Drivers {
    fn execute(&self, driver: F) {
        self.0.lock().expect("no holder of this lock can panic").spawn(driver);
    }
}

fn request(probe: &HttpProbe, step: &Step, http2: bool) -> Result<Request<Full<Bytes>>, Finding> {
    let url = &step.url;
    // HTTP/1.1 sends the path and a Host header (RFC 9112 section 3.2.1); HTTP/2 the whole URL.
    let target = if http2 { url.to_string() } else { url.path_and_query.clone() };
    let body = match step.method == probe.method {
        true => probe.body.clone().unwrap_or_default(),
        false => String::new(),
    };
    let request = Request::builder().method(step.method.as_str()).uri(target);
    let bad = |error: &dyn std::fmt::Display| fail(FailReason::HttpProtocol, error.to_string());
    let mut request = request.body(Full::new(Bytes::from(body))).map_err(|error| bad(&error))?;
    let headers = request.headers_mut();
    let agent = concat!("proofmark/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    if !http2 {
        let host = HeaderValue::from_str(&url.authority()).map_err(|error| bad(&error))?;
        headers.insert(HOST, host);
    }
    for (name, value) in &probe.headers {
        let name = HeaderName::try_from(name).map_err(|error| bad(&error))?;
        if step.is_at_origin || HARMLESS_HEADERS.contains(&name) {
            headers.insert(name, HeaderValue::try_from(value).map_err(|error| bad(&error))?);
        }
    }
    Ok(request)
}

async fn read_body(
    mut body: Incoming,
    bytes_max: u64,
    trace: &mut Trace,
) -> Result<Vec<u8>, Finding> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| hyper_finding(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        bytes.extend_from_slice(data);
        trace.count(MeasurementKind::BodyBytes, bytes.len() as u64);
        if bytes.len() as u64 > bytes_max {
            let detail = format!("expected a body of at most {bytes_max} bytes");
            return Err(fail(FailReason::ResponseTooLarge, detail));
        }
    }
    trace.count(MeasurementKind::BodyBytes, bytes.len() as u64);
    Ok(bytes)
}

fn follow(probe: &HttpProbe, step: &Step, answer: &Answer) -> Result<Option<Step>, Finding> {
    if !probe.follow_redirects || !redirect::is_redirect(answer.status) {
        return Ok(None);
    }
    let Some(location) = answer.headers.get(LOCATION) else { return Ok(None) };
    let bad = |why: String| fail(FailReason::Redirects, format!("Location: {why}"));
    let location = location.to_str().map_err(|_| bad("not ASCII".to_string()))?;
    let url = redirect::resolve(&step.url, location).map_err(bad)?;
    let is_at_origin = step.is_at_origin && url.origin() == step.url.origin();
    let method = redirect::next_method(answer.status, step.method);
    Ok(Some(Step { url, method, is_at_origin }))
}

fn hyper_finding(error: &hyper::Error) -> Finding {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<std::io::Error>() {
            return io_finding(error, "HTTP", Some(FailReason::ConnectReset));
        }
        source = inner.source();
    }
    let reason = match error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        true => FailReason::ConnectReset,
        false => FailReason::HttpProtocol,
    };
    fail(reason, format!("HTTP: {error}"))
}

fn judge(probe: &HttpProbe, answer: &Answer, took_us: u64) -> Result<(), Finding> {
    let is_tls = answer.url.scheme == Scheme::Https;
    if probe.fail_if_ssl && is_tls {
        return Err(fail(FailReason::HttpProtocol, "expected no TLS, got https"));
    }
    if probe.fail_if_not_ssl && !is_tls {
        return Err(fail(FailReason::HttpProtocol, "expected TLS, got http"));
    }
    judge_status(probe, answer)?;
    judge_headers(probe, &answer.headers)?;
    judge_body(probe, &answer.body)?;
    judge_latency(took_us, probe.latency_ms_max)
}

fn judge_status(probe: &HttpProbe, answer: &Answer) -> Result<(), Finding> {
    let valid = &probe.valid_status_codes;
    if valid.iter().any(|range| range.contains(answer.status)) {
        return Ok(());
    }
    let ranges: Vec<String> = (valid.iter())
        .map(|range| match range.first == range.last {
            true => range.first.to_string(),
            false => format!("{} to {}", range.first, range.last),
        })
        .collect();
    let detail = format!("expected status {}, got {}", ranges.join(" or "), answer.status);
    Err(fail(FailReason::HttpStatus, detail))
}

fn judge_headers(probe: &HttpProbe, headers: &HeaderMap) -> Result<(), Finding> {
    let found = |rule: &HeaderRule| {
        let values = headers.get_all(&rule.header).iter();
        values.map(|value| rule.regexp.is_match(value.as_bytes())).reduce(|a, b| a || b)
    };
    for rule in &probe.fail_if_header_matches {
        if found(rule).unwrap_or(!rule.allow_missing) {
            let detail = format!("header {} is missing or matches {}", rule.header, rule.regexp);
            return Err(fail(FailReason::HttpHeader, detail));
        }
    }
    for rule in &probe.fail_if_header_not_matches {
        if !found(rule).unwrap_or(rule.allow_missing) {
            let detail =
                format!("header {} is missing or does not match {}", rule.header, rule.regexp);
            return Err(fail(FailReason::HttpHeader, detail));
        }
    }
    Ok(())
}

fn judge_body(probe: &HttpProbe, body: &[u8]) -> Result<(), Finding> {
    let bad = probe.fail_if_body_matches_regexp.iter().find(|pattern| pattern.is_match(body));
    if let Some(pattern) = bad {
        return Err(fail(FailReason::HttpBody, format!("the body matches {pattern}")));
    }
    let wanted = &probe.fail_if_body_not_matches_regexp;
    match wanted.iter().find(|pattern| !pattern.is_match(body)) {
        Some(pattern) => {
            Err(fail(FailReason::HttpBody, format!("the body does not match {pattern}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proofmark_evidence::MeasurementKind::{
        BodyBytes, ConnectUs, FirstByteUs, HttpStatusCode, RedirectsCount, TlsUs, TransferUs,
    };

    use super::*;
    use crate::checks::{Observation, run_check_once};
    use crate::tests::check;
    use crate::tests::servers::{TlsServer, serve_http};

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
    }

    /// A small site; its answers depend on the path.
    fn site(request: &str) -> String {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path {
            "/ok" => answer("200 OK", "x-kind: good\r\n", "all is well"),
            "/gone" => answer("410 Gone", "", ""),
            "/loop" => answer("302 Found", "location: /loop\r\n", ""),
            "/hop" => answer("301 Moved", "location: ok\r\n", "moved"),
            "/post" => answer("303 See Other", "location: /echo\r\n", ""),
            "/echo" => answer("200 OK", "", request),
            "/large" => answer("200 OK", "", &"x".repeat(5_000)),
            "/half" => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_string(),
            "/silent" => String::new(),
            _ => "SSH-2.0-not-http\r\n\r\n".to_string(),
        }
    }

    async fn see(port: u16, path: &str, options: &str) -> Observation {
        let probe = format!("http: {{url: 'http://127.0.0.1:{port}{path}', {options}}}");
        run_check_once(&check("5s", &probe)).await
    }

    fn measured(seen: &Observation, kind: MeasurementKind) -> Option<i64> {
        seen.measurements.iter().find(|one| one.kind == kind).map(|one| one.value)
    }

    #[tokio::test]
    async fn a_good_answer_passes_with_every_phase_measured() {
        let mut tasks = JoinSet::new();
        let port = serve_http(&mut tasks, site).await;
        let seen = see(port, "/ok", "").await;
        assert_eq!((seen.outcome.slug(), seen.detail.as_str()), ("pass", ""));
        assert_eq!(measured(&seen, HttpStatusCode), Some(200));
        assert_eq!(measured(&seen, BodyBytes), Some(11));
        for kind in [ConnectUs, FirstByteUs, TransferUs] {
            assert!(measured(&seen, kind).is_some(), "{kind:?}");
        }
        assert_eq!(measured(&seen, TlsUs), None);
    }

    #[tokio::test]
    async fn each_fault_of_an_answer_has_its_own_reason() {
        let mut tasks = JoinSet::new();
        let port = serve_http(&mut tasks, site).await;
        let rule = "fail_if_body_not_matches_regexp: [well, ill]";
        let cases = [
            ("/gone", "", "http_status"),
            ("/gone", "valid_status_codes: [410]", "pass"),
            ("/ok", "fail_if_body_matches_regexp: [well]", "http_body"),
            ("/ok", rule, "http_body"),
            ("/ok", "fail_if_header_matches: [{header: X-Kind, regexp: goo}]", "http_header"),
            ("/ok", "fail_if_header_not_matches: [{header: x-kind, regexp: bad}]", "http_header"),
            ("/ok", "fail_if_header_not_matches: [{header: none, regexp: a}]", "http_header"),
            ("/ok", "fail_if_not_ssl: true", "http_protocol"),
            ("/large", "body_size_limit: 4999", "response_too_large"),
            ("/large", "body_size_limit: 5000", "pass"),
            ("/half", "", "connect_reset"),
            ("/silent", "", "connect_reset"),
            ("/no-http", "", "http_protocol"),
            ("/loop", "", "redirects"),
            ("/loop", "follow_redirects: false", "http_status"),
        ];
        for (path, options, expect) in cases {
            let seen = see(port, path, options).await;
            assert_eq!(seen.outcome.slug(), expect, "{path} {options}: {}", seen.detail);
        }
    }

    #[tokio::test]
    async fn redirects_are_followed_and_counted() {
        let mut tasks = JoinSet::new();
        let port = serve_http(&mut tasks, site).await;
        let seen = see(port, "/hop", "").await;
        assert_eq!(seen.outcome.slug(), "pass", "{}", seen.detail);
        assert_eq!(measured(&seen, RedirectsCount), Some(1));
        assert_eq!(measured(&seen, BodyBytes), Some(11));
    }

    #[tokio::test]
    async fn a_post_answered_with_see_other_goes_on_as_a_get_without_its_body() {
        let mut tasks = JoinSet::new();
        let port = serve_http(&mut tasks, site).await;
        let rules = "method: POST, body: secret, headers: {x-key: k}, \
             fail_if_body_matches_regexp: [secret], \
             fail_if_body_not_matches_regexp: ['^GET /echo HTTP/1.1', 'x-key: k']";
        let seen = see(port, "/post", rules).await;
        assert_eq!(seen.outcome.slug(), "pass", "{}", seen.detail);
    }

    /// Headers of which the first origin may see all and another one only what it needs.
    const HEADERS: &str = "{authorization: hidden, cookie: hidden, x-api-key: hidden, \
                           host: hidden, accept: a/shown}";
    const ONLY_SHOWN: &str =
        "fail_if_body_matches_regexp: [hidden], fail_if_body_not_matches_regexp: [a/shown]";

    #[tokio::test]
    async fn secrets_follow_a_redirect_only_within_the_origin() {
        let mut tasks = JoinSet::new();
        let other = serve_http(&mut tasks, site).await;
        let redirect = move |request: &str| {
            let location = match request.split(' ').nth(1).unwrap_or_default() {
                "/port" => format!("http://127.0.0.1:{other}/echo"),
                "/host" => format!("http://localhost:{other}/echo"),
                "/here" => "/echo".to_string(),
                _ => return site(request),
            };
            answer("302 Found", &format!("location: {location}\r\n"), "")
        };
        let port = serve_http(&mut tasks, redirect).await;
        for path in ["/port", "/host"] {
            let seen = see(port, path, &format!("headers: {HEADERS}, {ONLY_SHOWN}")).await;
            assert_eq!(seen.outcome.slug(), "pass", "{path}: {}", seen.detail);
        }
        let all = "fail_if_body_not_matches_regexp: ['x-api-key: hidden', 'cookie: hidden']";
        let seen = see(port, "/here", &format!("headers: {HEADERS}, {all}")).await;
        assert_eq!(seen.outcome.slug(), "pass", "{}", seen.detail);
    }

    #[tokio::test]
    async fn secrets_do_not_follow_a_redirect_out_of_tls() {
        let mut tasks = JoinSet::new();
        let plain = serve_http(&mut tasks, site).await;
        let location = format!("http://localhost:{plain}/echo");
        let server = TlsServer::start_redirect(&mut tasks, location).await;
        let (port, ca) = (server.port, server.ca_file.display());
        let url = format!("url: 'https://localhost:{port}/', tls: {{ca_file: '{ca}'}}");
        let probe = format!("http: {{{url}, headers: {HEADERS}, {ONLY_SHOWN}}}");
        let seen = run_check_once(&check("5s", &probe)).await;
        assert_eq!(seen.outcome.slug(), "pass", "{}", seen.detail);
        assert_eq!(measured(&seen, RedirectsCount), Some(1));
    }

    #[tokio::test]
    async fn over_tls_both_versions_are_spoken_and_a_bad_certificate_gets_no_request() {
        let mut tasks = JoinSet::new();
        for alpn in [&b"h2"[..], b"http/1.1"] {
            let server = TlsServer::start_http(&mut tasks, alpn).await;
            let (port, ca) = (server.port, server.ca_file.display());
            let url = format!("url: 'https://localhost:{port}/'");
            let body = "fail_if_body_not_matches_regexp: [hello over TLS]";
            let probe = format!("http: {{{url}, tls: {{ca_file: '{ca}'}}, {body}}}");
            let seen = run_check_once(&check("5s", &probe)).await;
            assert_eq!(seen.outcome.slug(), "pass", "{}", seen.detail);
            assert!(measured(&seen, TlsUs).is_some());
            let probe =
                format!("http: {{{url}, tls: {{ca_file: '{ca}', server_name: a.example}}}}");
            let seen = run_check_once(&check("5s", &probe)).await;
            assert_eq!(seen.outcome.slug(), "certificate_name");
            assert_eq!(server.requests(), 1);
        }
    }
}
