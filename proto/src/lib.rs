//! The wire: messages and services of the RPCs, and the few texts both ends of them must agree on.
//!
//! In:  `proto/proofmark/v1/*.proto`.   Out: prost messages, tonic clients and servers.
//! Signed things (leaves, payloads, checkpoint notes) pass through as opaque bytes.
//! This crate never decides anything, opens a socket, or looks inside what was signed.

mod codec; // how large the buffers of a stream are
mod generated; // what protox and tonic made of the .proto files
mod join; // join token text, the statement an enrolling agent signs
pub mod limits;
mod names; // names inside certificates
mod refusal; // a refusal inside a gRPC status

pub use generated::*;
pub use join::{JoinToken, NodeToken, TokenFault, node_possession_statement, possession_statement};
pub use names::{AGENT_URI, GATEWAY_DNS_NAME, NODE_URI, OPERATOR_URI, peer_dns_name};

/// The protocol version spoken here, see the version rules in `agent.proto`.
pub const PROTOCOL: u32 = 1;
