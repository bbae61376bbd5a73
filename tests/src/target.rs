//! Local servers that the checks of a test look at: they belong to the test and end with it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// An HTTP server that answers 200, or 500 while it is broken.
pub struct Target {
    address: SocketAddr,
    broken: Arc<AtomicBool>,
}

impl Target {
    pub fn start() -> Target {
        Target::on(Ipv4Addr::LOCALHOST.into())
    }

    /// On an address of this host.
    pub fn on(host: IpAddr) -> Target {
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let broken = Arc::new(AtomicBool::new(false));
        let seen = broken.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let broken = seen.clone();
                thread::spawn(move || answer(stream, &broken));
            }
        });
        Target { address, broken }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

/// One request a connection; a client that only connects (tcp checks) gets nothing.
fn answer(mut stream: std::net::TcpStream, broken: &AtomicBool) {
    let mut request = [0_u8; 4096];
    let Ok(1..) = stream.read(&mut request) else { return };
    let (status, body) = match broken.load(Ordering::SeqCst) {
        true => ("500 Internal Server Error", "broken"),
        false => ("200 OK", "fine"),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // The client may have gone: its check says so, not this server.
    let _ = stream.write_all(answer.as_bytes());
}
