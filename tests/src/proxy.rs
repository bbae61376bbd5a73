//! A TCP proxy that a test can cut or slow down: how an agent is cut off without touching the machine's network.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wait;

/// Forwards connections to one address until it is cut; a cut one accepts and closes at once.
pub struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
}

/// What the proxy's threads share with its owner.
#[derive(Default)]
struct Link {
    cut: AtomicBool,
    delay_ms: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn start(to: SocketAddr) -> Proxy {
        Proxy::on(Ipv4Addr::LOCALHOST.into(), to)
    }

    /// On an address of this host.
    pub fn on(host: IpAddr, to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let link = Arc::new(Link::default());
        let proxy = Proxy { address, link: Arc::clone(&link) };
        thread::spawn(move || accept(&listener, to, &link));
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&self) {
        self.link.cut.store(true, Ordering::SeqCst);
        for stream in self.link.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Already closed by a peer: what was wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on every piece that is read waits so long before it goes on, either way.
    pub fn set_delay_ms(&self, delay_ms: u64) {
        self.link.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.link.cut.store(false, Ordering::SeqCst);
    }
}

fn accept(listener: &TcpListener, to: SocketAddr, link: &Arc<Link>) {
    for from in listener.incoming().map_while(Result::ok) {
        if link.cut.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(upstream) = TcpStream::connect(to) else { continue };
        let mut open = link.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, sink) in [(&from, &upstream), (&upstream, &from)] {
            let (Ok(source), Ok(sink)) = (source.try_clone(), sink.try_clone()) else { continue };
            open.extend(source.try_clone());
            let link = Arc::clone(link);
            thread::spawn(move || pump(source, sink, &link));
        }
    }
}

fn pump(mut source: TcpStream, mut sink: TcpStream, link: &Link) {
    let mut buffer = [0_u8; 16 * 1024];
    while let Ok(count @ 1..) = source.read(&mut buffer) {
        let delay_ms = link.delay_ms.load(Ordering::SeqCst);
        if delay_ms > 0 {
            wait::let_pass(Duration::from_millis(delay_ms));
        }
        if sink.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = sink.shutdown(Shutdown::Both);
    let _ = source.shutdown(Shutdown::Both);
}
