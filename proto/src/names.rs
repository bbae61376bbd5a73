//! Names that stand in certificates: one side writes them, the other checks them.

/// DNS name in every aggregator's server certificate on the agent port. Clients verify this fixed
/// name, whatever address they dialled: trust comes from our own CA, addresses may move.
pub const GATEWAY_DNS_NAME: &str = "aggregator.proofmark.internal";

/// SAN URI of an agent's client certificate, followed by the agent's name.
pub const AGENT_URI: &str = "proofmark://agent/";
/// SAN URI of an operator's client certificate, followed by the operator's name.
pub const OPERATOR_URI: &str = "proofmark://operator/";
/// SAN URI of a node's certificate on the peer port, followed by its raft id in decimal.
pub const NODE_URI: &str = "proofmark://node/";

/// DNS name in a node's certificate on the peer port: pins which node answers.
pub fn peer_dns_name(node_id: u64) -> String {
    format!("node-{node_id}.peer.proofmark.internal")
}
