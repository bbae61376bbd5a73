//! Between replicas: the `Peer` service, over mutually authenticated TLS.
//!
//! For each other node one task dials it, keeps one stream of Raft messages open, and forwards
//! commands while that node leads. Best effort, as Raft allows: what does not fit a queue, or was
//! on a connection that broke, is gone, and raft is told that the peer was unreachable.
//!
//! Who is believed: a caller whose certificate of the peer CA names the node it says it is, of this
//! cluster, not removed from it, the newest start of its identity ([`PeerBook`]). What it sends is
//! converted and guarded all the same. Peers come and go while this runs, as the state says.

mod client;
mod fetch;
mod incoming;
mod peers;
mod server;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use proofmark_evidence::Hash;
use proofmark_proto::{PROTOCOL, PeerHello};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::handle::ConsensusHandle;
use super::outbox::PeerOutbox;
use crate::command::COMMANDS_NEWEST;
use crate::identity::Start;

pub use peers::{PeerBook, PeerRefused, StatePeers};

pub(crate) use fetch::FetchJob;
pub use fetch::{FetchDesk, reread_ask};

/// Another replica, and where it listens for its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    pub node_id: u64,
    /// host:port
    pub address: String,
}

/// TLS settings for both directions, from `identity`: both sides show certificates of the peer CA.
#[derive(Clone)]
pub struct PeerTls {
    pub server: Arc<rustls::ServerConfig>,
    pub client: Arc<rustls::ClientConfig>,
}

/// What the transport is told.
#[derive(Clone)]
pub struct TransportConfig {
    pub node_id: u64,
    /// Names the cluster: a node of another one is not listened to.
    pub log_id: Hash,
    /// host:port at which the others reach this node.
    pub address: String,
    /// This start of this node.
    pub start: Start,
    /// The other replicas, as they come and go.
    pub book: Arc<PeerBook>,
    pub tls: PeerTls,
}

/// The connections of one replica, before they run.
pub struct Transport {
    config: TransportConfig,
    outbox: PeerOutbox,
}

/// A peer that is dialled, until the switch is dropped or thrown.
struct Dialled {
    address: String,
    stop: watch::Sender<bool>,
}

impl Transport {
    /// The transport, and the sending end that [`super::Consensus::start`] takes.
    pub fn new(config: TransportConfig) -> (Self, PeerOutbox) {
        let outbox = PeerOutbox::default();
        (Self { config, outbox: outbox.clone() }, outbox)
    }

    /// Listens and dials until `shutdown`, then closes every stream in order and returns.
    pub async fn run(
        self,
        handle: ConsensusHandle,
        desk: FetchDesk,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) {
        let (closing, closed) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let served = (handle.clone(), desk);
        tasks.spawn(server::serve(self.config.clone(), served, listener, closed));
        let mut changed = self.config.book.changed();
        let mut dialled = BTreeMap::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            self.dial(&handle, &mut dialled, &mut tasks);
            tokio::select! {
                () = &mut shutdown => break,
                // The book lives as long as this transport: it is never closed here.
                _ = changed.changed() => {}
                Some(_) = tasks.join_next() => {}
            }
        }
        // The tasks hold receivers of their own: these sends reach all of them.
        let _ = closing.send(true);
        for peer in dialled.values() {
            let _ = peer.stop.send(true);
        }
        while tasks.join_next().await.is_some() {}
    }

    /// One task for each peer there is now; those that are gone, or have moved, are let go.
    fn dial(
        &self,
        handle: &ConsensusHandle,
        dialled: &mut BTreeMap<u64, Dialled>,
        tasks: &mut JoinSet<()>,
    ) {
        let peers = self.config.book.peers();
        let stays = |id: &u64, known: &Dialled| {
            peers.iter().any(|peer| peer.node_id == *id && peer.address == known.address)
        };
        dialled.retain(|id, known| {
            let stays = stays(id, known);
            if !stays {
                self.outbox.remove(*id);
                let _ = known.stop.send(true);
            }
            stays
        });
        for peer in peers {
            if dialled.contains_key(&peer.node_id) {
                continue;
            }
            let (stop, stopped) = watch::channel(false);
            let (node_id, address) = (peer.node_id, peer.address.clone());
            let dialer = client::Dialer::new(&self.config, peer, handle.clone());
            tasks.spawn(dialer.run(self.outbox.add(node_id), stopped));
            dialled.insert(node_id, Dialled { address, stop });
        }
    }
}

/// How this node introduces itself.
fn hello(config: &TransportConfig) -> PeerHello {
    PeerHello {
        protocol: PROTOCOL,
        log_id: config.log_id.0.to_vec().into(),
        node_id: config.node_id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commands_version: COMMANDS_NEWEST,
        start_count: config.start.count,
        start_nonce: config.start.nonce.to_vec().into(),
        address: config.address.clone(),
    }
}

/// Resolves once the transport is closing.
async fn closing(mut closed: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the transport.
    let _ = closed.wait_for(|closed| *closed).await;
}

#[cfg(test)]
mod tests;
