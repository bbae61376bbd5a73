//! Who this node is, and who it lets in: the cluster's CAs, certificates, keys and TLS settings.
//!
//! Two CAs, because two crowds: the *gateway CA* vouches for the agent port's servers, the agents
//! and the operators, and every node holds its key (any node may enrol an agent). The *peer CA*
//! vouches for nodes to nodes, and every node holds its key too (any node may let another in; what
//! that costs: THREATS.md). Nodes of installations made before nodes could join hold it only where
//! the cluster was created.
//!
//! On disk, under the node's `identity/` directory:
//!
//! | file | mode | what |
//! |---|---|---|
//! | `node.json` | 0600 | all this node is: keys, certificates, the other nodes' public keys |
//! | `operator.json` | 0600 | an operator's client certificate and key (only where created) |
//! | `peer-ca.json` | 0600 | the peer CA with its key, to let nodes in |
//! | `starts.json` | 0600 | how often this node was started |
//! | `peer-starts.json` | 0600 | the newest start heard of each peer |
//! | `joining.json` | 0600 | the keys of a node that has not joined yet |
//! | `ca.pem`, `addresses` | | not secret: the gateway CA, and host:port of every agent port |
//! | `node-<id>.bundle` | 0600 | the `node.json` of another node: carry it there, then delete it |
//!
//! This room never talks to a network: it makes rustls settings, others connect.

mod authority; // a CA: makes itself, signs others
mod caller; // who is at the other end, read from a certificate
mod cluster; // creating a cluster, and a node's own file
mod fault; // what can be wrong with files and certificates
mod files; // secrets and what everybody may read, on disk
mod join; // how a new replica gets an identity, and who gives it one
mod operator; // the operator's side of mutual TLS
mod starts; // an old copy, or a second process, of one identity
mod tls; // rustls settings for both ports

pub use authority::{Authority, CertAndKey, CertificateRequest, Subject};
pub use caller::Role;
pub use cluster::{ClusterPlan, NodeIdentity, NodeInfo, NodePlan};
pub use fault::IdentityFault;
pub use files::write_public;
pub use join::{JoinAs, Joining, Neighbour, Newcomer};
pub use operator::{OPERATOR_FILE, OperatorIdentity};
pub use starts::{PeerStarts, Start, StartFault};

/// Beside the identity, for those who only connect: the gateway CA's certificate, PEM.
pub const CA_FILE: &str = "ca.pem";
/// Beside it too: host:port of every node's agent port, one a line.
pub const ADDRESSES_FILE: &str = "addresses";
