//! The HTTP API as a test asks it: one GET over a plain socket, JSON out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(5);

/// Status and body of `GET path`; None when nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, answer.split_off(split + 4)))
}

/// The JSON at `path`; None while there is no answer with status 200.
pub fn json(address: SocketAddr, path: &str) -> Option<Value> {
    match get(address, path)? {
        (200, body) => serde_json::from_slice(&body).ok(),
        _ => None,
    }
}
