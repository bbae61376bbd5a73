//! The HTTP API as a test asks it: one GET over a plain socket, JSON out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than a linearizable read waits, also on a machine that is short of time.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back from one `GET`.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; names are compared as HTTP does.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(said, _)| said.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    /// A header that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Status and body of `GET path`; None when nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, Vec<u8>)> {
    ask(address, path).map(|answer| (answer.status, answer.body))
}

/// The whole answer of `GET path`; None when nobody answers.
pub fn ask(address: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).ok()?;
    let split = said.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&said[..split]).into_owned();
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { status, head, body: said.split_off(split + 4) })
}

/// The JSON at `path`; None while there is no answer with status 200.
pub fn json(address: SocketAddr, path: &str) -> Option<Value> {
    match get(address, path)? {
        (200, body) => serde_json::from_slice(&body).ok(),
        _ => None,
    }
}
