//! Between replicas: the `Peer` service, over mutually authenticated TLS.
//!
//! For each other node one task dials it, keeps one stream of Raft messages open, and forwards
//! commands while that node leads. Best effort, as Raft allows: what does not fit a queue, or was
//! on a connection that broke, is gone, and raft is told that the peer was unreachable.
//!
//! Who is believed: a caller whose certificate of the peer CA names the node it says it is, of this
//! cluster, listed in the configuration. What it sends is converted and guarded all the same.

mod client;
mod fetch;
mod incoming;
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
use super::outbox::{PeerOutbox, PeerQueues};

pub use fetch::FetchDesk;
pub(crate) use fetch::FetchJob;

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
    /// All voters but this node.
    pub peers: Vec<PeerAddress>,
    pub tls: PeerTls,
}

/// The connections of one replica, before they run.
pub struct Transport {
    config: TransportConfig,
    queues: BTreeMap<u64, PeerQueues>,
}

impl Transport {
    /// The transport, and the sending end that [`super::Consensus::start`] takes.
    pub fn new(config: TransportConfig) -> (Self, PeerOutbox) {
        let ids: Vec<u64> = config.peers.iter().map(|peer| peer.node_id).collect();
        let (outbox, queues) = PeerOutbox::new(&ids);
        (Self { config, queues }, outbox)
    }

    /// Listens and dials until `shutdown`, then closes every stream in order and returns.
    pub async fn run(
        mut self,
        handle: ConsensusHandle,
        desk: FetchDesk,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) {
        let (closing, closed) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for peer in &self.config.peers {
            if let Some(queues) = self.queues.remove(&peer.node_id) {
                let dialer = client::Dialer::new(&self.config, peer.clone(), handle.clone());
                tasks.spawn(dialer.run(queues, closed.clone()));
            }
        }
        tasks.spawn(server::serve(self.config, (handle, desk), listener, closed));
        shutdown.await;
        // The tasks hold receivers of their own: this send reaches all of them.
        let _ = closing.send(true);
        while tasks.join_next().await.is_some() {}
    }
}

/// How this node introduces itself.
fn hello(config: &TransportConfig) -> PeerHello {
    PeerHello {
        protocol: PROTOCOL,
        log_id: config.log_id.0.to_vec().into(),
        node_id: config.node_id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Resolves once the transport is closing.
async fn closing(mut closed: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the transport.
    let _ = closed.wait_for(|closed| *closed).await;
}

#[cfg(test)]
mod tests;
