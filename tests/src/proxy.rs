//! A TCP proxy that a test can cut: how an agent is cut off without touching the machine's network.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Forwards connections to one address until it is cut; a cut one accepts and closes at once.
pub struct Proxy {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let cut = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let proxy = Proxy { address, cut: cut.clone(), open: open.clone() };
        thread::spawn(move || accept(&listener, to, &cut, &open));
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Already closed by a peer: what was wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn heal(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

fn accept(listener: &TcpListener, to: SocketAddr, cut: &AtomicBool, open: &Mutex<Vec<TcpStream>>) {
    for from in listener.incoming().map_while(Result::ok) {
        if cut.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(upstream) = TcpStream::connect(to) else { continue };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, sink) in [(&from, &upstream), (&upstream, &from)] {
            let (Ok(source), Ok(sink)) = (source.try_clone(), sink.try_clone()) else { continue };
            open.extend(source.try_clone());
            thread::spawn(move || pump(source, sink));
        }
    }
}

fn pump(mut source: TcpStream, mut sink: TcpStream) {
    let mut buffer = [0_u8; 16 * 1024];
    while let Ok(count @ 1..) = source.read(&mut buffer) {
        if sink.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = sink.shutdown(Shutdown::Both);
    let _ = source.shutdown(Shutdown::Both);
}
