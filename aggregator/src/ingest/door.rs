//! The door: accepts TCP, shakes hands by TLS, and lets in a bounded number, each with its role.
//!
//! Everything here happens before anyone is known, so everything is bounded: handshakes in number
//! and time, connections in all and per address. Both ports (agents and peers) have this door.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::counters::{Counters, Event};
use crate::identity::Role;
use crate::limits::{
    ACCEPT_PAUSE_MS, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, CONNECTIONS_WAITING_MAX,
    HANDSHAKE_MS_MAX, HANDSHAKES_MAX,
};

/// Who called, on every request of the connection (`request.extensions()`).
#[derive(Clone, Debug)]
pub struct Caller {
    pub address: SocketAddr,
    pub role: Role,
}

/// Where callers come from: a TCP port in a program, a simulated network in a test.
pub trait Listener: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next caller, on a stream on which small writes leave at once.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // Small answers must not wait for the agent's delayed TCP acknowledgements. A socket that
        // takes no options is dead already: the handshake will say so.
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    }
}

/// A connection that has shaken hands. Its places are free again when it is dropped.
pub struct Guest<S> {
    stream: TlsStream<S>,
    caller: Caller,
    _place: Place,
}

/// Those who came in, for tonic.
pub type Guests<S> = mpsc::Receiver<io::Result<Guest<S>>>;

/// One of all connections, and one of its address's.
struct Place {
    _connection: OwnedSemaphorePermit,
    _address: AddressPlace,
}

/// Accepts until dropped; guests go to the receiver of [`open`].
pub struct Door<L: Listener> {
    listener: L,
    acceptor: TlsAcceptor,
    guests: mpsc::Sender<io::Result<Guest<L::Stream>>>,
    handshakes: JoinSet<()>,
    handshaking: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    addresses: Addresses,
    counters: Counters,
}

/// A door on `listener`. Nobody comes in until [`Door::run`] is polled.
pub fn open<L: Listener>(
    listener: L,
    config: Arc<ServerConfig>,
    counters: Counters,
) -> (Door<L>, Guests<L::Stream>) {
    let (guests, receiver) = mpsc::channel(CONNECTIONS_WAITING_MAX);
    let door = Door {
        listener,
        acceptor: TlsAcceptor::from(config),
        guests,
        handshakes: JoinSet::new(),
        handshaking: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        addresses: Addresses::default(),
        counters,
    };
    (door, receiver)
}

impl<L: Listener> Door<L> {
    /// Accepts for ever; ends when nobody takes guests any more.
    pub async fn run(mut self) {
        let guests = self.guests.clone();
        tokio::select! {
            () = self.accept() => {}
            () = guests.closed() => {}
        }
    }

    async fn accept(&mut self) {
        loop {
            let permit = Arc::clone(&self.handshaking).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            while self.handshakes.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, address)) => self.admit(stream, address, permit),
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// A caller that hung up costs nothing. Anything else means that the system has no room
    /// (EMFILE, ENFILE, ENOBUFS): wait, then go on.
    async fn pause(&self, error: &io::Error) {
        self.counters.note(Event::Connection, "accept_failed");
        if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
            return;
        }
        tracing::warn!(%error, pause_ms = ACCEPT_PAUSE_MS, "accept failed");
        sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
    }

    fn admit(&mut self, stream: L::Stream, address: SocketAddr, permit: OwnedSemaphorePermit) {
        let place = match self.place(address.ip()) {
            Ok(place) => place,
            Err(reason) => return self.counters.note(Event::Connection, reason),
        };
        let (acceptor, guests) = (self.acceptor.clone(), self.guests.clone());
        let counters = self.counters.clone();
        self.handshakes.spawn(async move {
            let shaken = shake_hands(acceptor, stream, address).await;
            drop(permit);
            match shaken {
                Ok((stream, caller)) => {
                    counters.note(Event::Connection, "accepted");
                    // Fails only when the server is gone; the guest goes with it.
                    let _ = guests.send(Ok(Guest { stream, caller, _place: place })).await;
                }
                Err(reason) => counters.note(Event::Connection, reason),
            }
        });
    }

    fn place(&self, ip: IpAddr) -> Result<Place, &'static str> {
        let connection = Arc::clone(&self.connections).try_acquire_owned();
        Ok(Place {
            _connection: connection.map_err(|_| "connections_full")?,
            _address: self.addresses.enter(ip).ok_or("address_full")?,
        })
    }
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: TlsAcceptor,
    stream: S,
    address: SocketAddr,
) -> Result<(TlsStream<S>, Caller), &'static str> {
    let limit = Duration::from_millis(HANDSHAKE_MS_MAX);
    let stream = match timeout(limit, acceptor.accept(stream)).await {
        Err(_) => return Err("handshake_timeout"),
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "TLS handshake failed");
            return Err("handshake_failed");
        }
        Ok(Ok(stream)) => stream,
    };
    let role = Role::of(stream.get_ref().1.peer_certificates()).map_err(|fault| {
        tracing::warn!(%address, %fault, "a verified certificate names no role");
        "certificate_without_role"
    })?;
    Ok((stream, Caller { address, role }))
}

/// Open connections per address.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

struct AddressPlace {
    addresses: Addresses,
    ip: IpAddr,
}

impl Addresses {
    fn enter(&self, ip: IpAddr) -> Option<AddressPlace> {
        let mut counts = self.0.lock().expect("nothing panics while it holds this lock");
        let count = counts.entry(ip).or_default();
        if *count >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(AddressPlace { addresses: self.clone(), ip })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().expect("nothing panics while it holds this lock");
        match counts.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.ip)),
        }
    }
}

impl<S> Connected for Guest<S> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guest<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guest<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let addresses = Addresses::default();
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let places: Vec<_> =
            (0..CONNECTIONS_PER_ADDRESS_MAX).map(|_| addresses.enter(one).unwrap()).collect();
        assert!(addresses.enter(one).is_none());
        assert!(addresses.enter(two).is_some());
        drop(places);
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
