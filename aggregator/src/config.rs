//! One replica's configuration: text in, a valid [`Config`] or every fault at once out.
//!
//! `deploy/aggregator.yaml` is the manual; a test parses it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use proofmark_evidence::Origin;
use proofmark_evidence::limits::NODES_COUNT_MAX;
use proofmark_spec::Faults;
use proofmark_spec::form::{Fields, Slug, Value, read_one};

use crate::consensus::transport::PeerAddress;
use crate::identity::NodeIdentity;

/// A valid configuration. After this no value means "forgot".
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this replica's entry in `nodes`.
    pub node: String,
    pub origin: Origin,
    pub data_dir: PathBuf,
    pub listen: Listen,
    /// Every replica, in ascending id; the same on all of them.
    pub nodes: Vec<NodeEntry>,
    pub log_format: LogFormat,
}

/// Where this replica listens.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub peers: SocketAddr,
}

/// One replica as the others and the agents reach it.
#[derive(Clone, Debug)]
pub struct NodeEntry {
    pub id: u64,
    pub name: String,
    /// host:port
    pub grpc: String,
    /// host:port
    pub peers: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Reads one configuration file; `file` names it in faults.
    pub fn parse(text: &str, file: &str) -> Result<Config, Faults> {
        read_one(file, text, |value| {
            let mut fields = value.fields()?;
            let node = fields.need("node", Value::name);
            let origin = fields.need("origin", origin);
            let data_dir = fields.need("data_dir", Value::path);
            let listen = fields.need("listen", listen);
            let nodes = fields.need("nodes", nodes);
            let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
            let log_format = fields.or("log_format", LogFormat::Text, |value| value.choice(&words));
            let listed = check_listed(&mut fields, node.as_deref(), nodes.as_deref());
            fields.finish();
            listed?;
            Some(Config {
                node: node?,
                origin: origin?,
                data_dir: data_dir?.into(),
                listen: listen?,
                nodes: nodes?,
                log_format: log_format?,
            })
        })
    }

    pub fn identity_dir(&self) -> PathBuf {
        self.data_dir.join("identity")
    }

    pub fn raft_dir(&self) -> PathBuf {
        self.data_dir.join("raft")
    }

    pub fn evidence_dir(&self) -> PathBuf {
        self.data_dir.join("evidence")
    }

    pub fn tables_dir(&self) -> PathBuf {
        self.data_dir.join("tables")
    }

    /// The recorder's durable memory of what this node cosigned last.
    pub fn signed_file(&self) -> PathBuf {
        self.data_dir.join("last_signed")
    }

    /// The credential of operators, made by the first replica's `init`.
    pub fn operator_file(data_dir: &Path) -> PathBuf {
        data_dir.join("identity").join(crate::identity::OPERATOR_FILE)
    }

    /// Every other replica.
    pub fn peers_of(&self, node_id: u64) -> Vec<PeerAddress> {
        let others = self.nodes.iter().filter(|node| node.id != node_id);
        let address = |node: &NodeEntry| PeerAddress { node_id: node.id, address: node.peers.clone() };
        others.map(address).collect()
    }

    /// The directory's keys must be those of the configured replica, of the configured log.
    pub fn check_identity(&self, identity: &NodeIdentity) -> Result<(), String> {
        if identity.origin != self.origin {
            return Err(format!("origin: expected {}, got {}", identity.origin, self.origin));
        }
        if identity.node_name != self.node {
            return Err(format!("node: expected {}, got {}", identity.node_name, self.node));
        }
        let made: Vec<_> = identity.nodes.iter().map(|node| (node.id, &node.name)).collect();
        let mut listed: Vec<_> = self.nodes.iter().map(|node| (node.id, &node.name)).collect();
        listed.sort();
        let same = made.iter().all(|node| listed.contains(node)) && made.len() == listed.len();
        let changed = || format!("nodes: expected those of `init` {made:?}, got {listed:?}");
        if same { Ok(()) } else { Err(changed()) }
    }
}

impl NodeEntry {
    /// The hosts that this replica's certificates name.
    pub fn hosts(&self) -> Vec<String> {
        let host = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
        let mut hosts: Vec<String> =
            [&self.grpc, &self.peers].into_iter().filter_map(|address| host(address)).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

fn origin(value: &Value<'_>) -> Option<Origin> {
    const EXPECTED: &str = "a log's name: a schema-less URL prefix without spaces or `+`";
    let text = value.text()?;
    match Origin::parse(text) {
        Ok(origin) => Some(origin),
        Err(_) => value.fault(Slug::BadName, EXPECTED, text),
    }
}

fn listen(value: &Value<'_>) -> Option<Listen> {
    let mut fields = value.fields()?;
    let http = fields.need("http", socket_address);
    let grpc = fields.need("grpc", socket_address);
    let peers = fields.need("peers", socket_address);
    fields.finish();
    Some(Listen { http: http?, grpc: grpc?, peers: peers? })
}

fn socket_address(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => value.fault(Slug::BadAddress, "address:port", text),
    }
}

fn nodes(value: &Value<'_>) -> Option<Vec<NodeEntry>> {
    let nodes = value.list_of(node)?;
    if nodes.is_empty() || nodes.len() > NODES_COUNT_MAX {
        let expected = format!("1 to {NODES_COUNT_MAX} nodes");
        return value.fault(Slug::OutOfRange, expected, nodes.len().to_string());
    }
    let ids: Vec<u64> = nodes.iter().map(|node| node.id).collect();
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    value.check_unique(&ids).and(value.check_unique(&names))?;
    Some(nodes)
}

fn node(value: &Value<'_>) -> Option<NodeEntry> {
    let mut fields = value.fields()?;
    let id = fields.need("id", |value| value.integer(1, u64::from(u32::MAX)));
    let name = fields.need("name", Value::name);
    let grpc = fields.need("grpc", Value::host_port);
    let peers = fields.need("peers", Value::host_port);
    fields.finish();
    Some(NodeEntry {
        id: id?,
        name: name?,
        grpc: grpc?.to_string(),
        peers: peers?.to_string(),
    })
}

fn check_listed(
    fields: &mut Fields<'_>,
    node: Option<&str>,
    nodes: Option<&[NodeEntry]>,
) -> Option<()> {
    let (Some(node), Some(nodes)) = (node, nodes) else { return Some(()) };
    if nodes.iter().any(|entry| entry.name == node) {
        return Some(());
    }
    let names: Vec<&str> = nodes.iter().map(|entry| entry.name.as_str()).collect();
    fields.get("node")?.fault(Slug::UnknownReference, format!("one of {}", names.join(", ")), node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_valid() {
        let text = include_str!("../../deploy/aggregator.yaml");
        let config = Config::parse(text, "deploy/aggregator.yaml").unwrap();
        assert_eq!(config.nodes.len(), 3);
        assert_eq!(config.nodes[0].hosts(), ["a1.example.com"]);
    }
}
