//! What is not even a call, on all three ports: random bytes, the wrong protocol, heads without
//! end, and callers that begin a sentence and say nothing more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use proofmark_tests::installation::Replica;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::calls::client_config;

const PATIENCE: Duration = Duration::from_secs(5);
/// Callers that say nothing more, on each port in each way.
const SILENT: usize = 8;

/// event and slug of counters that this noise moves
pub const COUNTED: &[(&str, &str)] = &[
    ("connection", "handshake_failed"),
    ("connection", "handshake_timeout"),
    ("connection", "accepted"),
];

/// The beginning of a TLS 1.3 ClientHello of 512 bytes.
const HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0x5a, 0x5a];

/// Connections that began something and go on holding it until they are dropped.
pub fn silent_callers(replica: &Replica) -> Vec<TcpStream> {
    let beginnings: &[&[u8]] = &[b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", HELLO];
    let mut silent = Vec::new();
    for address in replica.ports() {
        for beginning in beginnings {
            silent.extend((0..SILENT).map(|_| began(address, beginning)));
        }
    }
    // These got through the handshake and never speak HTTP/2.
    let stranger = stranger(replica, b"h2");
    for _ in 0..SILENT {
        let tls = shaken(replica.grpc, &stranger).expect("strangers may enrol, so they may shake");
        silent.push(tls.sock);
    }
    silent
}

fn began(address: SocketAddr, beginning: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(beginning).expect("an open connection");
    stream
}

/// Makes all of it; after each piece the port still takes connections and `/healthz` answers.
pub fn make(replica: &Replica) {
    for address in replica.ports() {
        for (what, bytes) in pieces() {
            // Most of it is cut off while it is sent: that is an answer.
            let answer = exchange(connect(address), &bytes);
            assert!(!answer.starts_with(b"HTTP/1.1 2"), "{what} to {address} was accepted");
            still_serves(replica, what);
        }
    }
    http_heads(replica);
    wrong_protocol_inside_tls(replica);
    nobody_without_a_certificate_among_peers(replica);
}

fn pieces() -> Vec<(&'static str, Vec<u8>)> {
    let request =
        |line: &str| format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes();
    vec![
        ("random bytes", random_bytes(64 * 1024)),
        ("zeros", vec![0; 64 * 1024]),
        ("a TLS record that lies", [&HELLO[..3], &[0xff, 0xff], &[0; 4096][..]].concat()),
        ("an SSH greeting", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        (
            "HTTP/2 in the clear",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x01\x09\0\0\0\0\x01x".to_vec(),
        ),
        ("an unknown method", request("\x01\x02 / HTTP/1.1")),
        ("an unknown version", request("GET / HTTP/9.9")),
        ("no path", request("GET")),
        ("a proxy's request", request("CONNECT example.com:443 HTTP/1.1")),
        ("newlines", vec![b'\n'; 64 * 1024]),
    ]
}

/// Heads and bodies that are too large or do not say how large they are.
fn http_heads(replica: &Replica) {
    let large = "x".repeat(1 << 20);
    let many: String = (0..5_000).map(|at| format!("X-{at}: y\r\n")).collect();
    let requests = [
        ("a header of 1 MiB", format!("GET / HTTP/1.1\r\nHost: x\r\nX: {large}\r\n\r\n"), "431"),
        ("5000 headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), "431"),
        ("a path of 1 MiB", format!("GET /{large} HTTP/1.1\r\nHost: x\r\n\r\n"), "4"),
        ("two lengths", two_lengths(), "400"),
        ("a length below zero", post("Content-Length: -1", "x"), "400"),
        ("a body for a reader", post("Content-Length: 1048576", &large), "405"),
        ("a body without end", post("Transfer-Encoding: chunked", "fffffff0\r\nxxxx"), "405"),
        ("chunks of no number", post("Transfer-Encoding: chunked", "zz\r\nxxxx"), "4"),
    ];
    for (what, request, status) in requests {
        let answer = exchange(connect(replica.http), request.as_bytes());
        let answer = String::from_utf8_lossy(&answer);
        let head = answer.lines().next().unwrap_or_default();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {head:?}");
        still_serves(replica, what);
    }
}

fn post(header: &str, body: &str) -> String {
    format!("POST /api/v1/slos HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n{body}")
}

fn two_lengths() -> String {
    post("Content-Length: 1\r\nContent-Length: 2", "xx")
}

/// A stranger may shake hands at the agent port, and then must speak HTTP/2.
fn wrong_protocol_inside_tls(replica: &Replica) {
    let stranger = stranger(replica, b"h2");
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &random_bytes(64 * 1024), &preface_bomb()]
    {
        let mut tls = shaken(replica.grpc, &stranger).expect("strangers may shake");
        // The other side may close while we speak.
        let _ = tls.write_all(bytes).and_then(|()| tls.flush());
        let mut answer = Vec::new();
        let _ = tls.take(1 << 20).read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "HTTP/1 was accepted");
        still_serves(replica, "another protocol inside TLS");
    }
}

/// HTTP/2's greeting, then a thousand streams that are opened and reset at once.
fn preface_bomb() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1_u32..2_000).step_by(2) {
        // HEADERS with indexed `:method GET`, `:scheme https`, `:path /`; then RST_STREAM, CANCEL.
        bytes.extend([0, 0, 3, 1, 4]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0x82, 0x87, 0x84, 0, 0, 4, 3, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0, 0, 0, 8]);
    }
    bytes
}

/// Replicas only: who has no certificate of one hears nothing.
fn nobody_without_a_certificate_among_peers(replica: &Replica) {
    let said = shaken(replica.peers(), &stranger(replica, b"h2")).and_then(|mut tls| {
        // With TLS 1.3 the refusal comes after the client thinks that it has shaken hands.
        tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        let mut answer = [0; 64];
        tls.read(&mut answer)
    });
    assert!(said.is_err() || matches!(said, Ok(0)), "a stranger was heard among peers: {said:?}");
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn stranger(replica: &Replica, protocol: &[u8]) -> Arc<ClientConfig> {
    let ca = std::fs::read_to_string(replica.data.join("identity/ca.pem")).expect("made by init");
    let mut config = ClientConfig::clone(&client_config(&ca, None));
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

fn shaken(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<Tls> {
    let name = ServerName::try_from(proofmark_proto::GATEWAY_DNS_NAME).expect("a DNS name");
    let client = ClientConnection::new(config.clone(), name).expect("valid settings");
    let mut tls = StreamOwned::new(client, connect(address));
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// Says everything, and hears what comes until the other side has had enough, or says no more.
fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    // A port that closes while it is spoken to has answered.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.take(1 << 20).read_to_end(&mut answer);
    answer
}

fn still_serves(replica: &Replica, after: &str) {
    let answer = proofmark_tests::api::get(replica.http, "/healthz");
    assert_eq!(answer.map(|(status, _)| status), Some(200), "after {after}");
}

/// The same in every run (xorshift).
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(count).collect()
}
