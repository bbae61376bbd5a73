//! One replica's configuration: text in, a valid [`Config`] or every fault at once out.
//!
//! `deploy/aggregator.yaml` is the manual; a test parses it.

use std::net::SocketAddr;
use std::path::PathBuf;

use proofmark_evidence::Origin;
use proofmark_evidence::limits::{NODES_COUNT_MAX, ORIGIN_BYTES_MAX};
use proofmark_spec::Faults;
use proofmark_spec::form::{Fields, Slug, Value, read_one};

use crate::consensus::log_store::LogStore;
use crate::consensus::transport::PeerAddress;
use crate::identity::NodeIdentity;
use crate::limits::{
    FETCH_RATE_BYTES, FETCH_RATE_BYTES_MAX, SNAPSHOT_INTERVAL_MS, SNAPSHOT_INTERVAL_MS_MAX,
    SNAPSHOT_INTERVAL_MS_MIN, SNAPSHOT_LOG_BYTES, SNAPSHOT_LOG_BYTES_MAX,
};

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
    pub snapshots: SnapshotPlan,
    /// Bytes a second that this replica gives to others that catch up, all together.
    pub fetch_rate: u64,
    pub log_format: LogFormat,
}

/// When the state is made durable as a snapshot, so that the Raft log can be let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPlan {
    /// After so many bytes of the Raft log.
    pub log_bytes: u64,
    /// And after so many milliseconds in any case.
    pub interval_ms: u64,
}

impl Default for SnapshotPlan {
    fn default() -> Self {
        Self { log_bytes: SNAPSHOT_LOG_BYTES, interval_ms: SNAPSHOT_INTERVAL_MS }
    }
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
            let snapshots = fields.or("snapshots", SnapshotPlan::default(), snapshots);
            let rate = |value: &Value<'_>| value.bytes(FETCH_RATE_BYTES_MAX);
            let fetch_rate = fields.or("fetch_rate", FETCH_RATE_BYTES, rate);
            let listed = check_listed(&mut fields, node.as_deref(), nodes.as_deref());
            fields.finish();
            listed?;
            Some(Config {
                node: node?,
                origin: origin?,
                data_dir: data_dir?.into(),
                listen: listen?,
                nodes: nodes?,
                snapshots: snapshots?,
                fetch_rate: fetch_rate?,
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

    pub fn snapshots_dir(&self) -> PathBuf {
        self.data_dir.join("snapshots")
    }

    /// The recorder's durable memory of what this node cosigned last.
    pub fn signed_file(&self) -> PathBuf {
        self.data_dir.join("last_signed")
    }

    /// Whether `init` came to its end here: the Raft log is what it makes last.
    pub fn is_initialised(&self) -> bool {
        LogStore::exists(&self.raft_dir())
    }

    /// This replica's own entry.
    pub fn own(&self) -> &NodeEntry {
        let own = self.nodes.iter().find(|node| node.name == self.node);
        own.expect("a configuration lists its own node")
    }

    /// Every other replica that is listed. Once the state keeps a list of its own, that one counts.
    pub fn other_nodes(&self) -> impl Iterator<Item = PeerAddress> + '_ {
        let others = self.nodes.iter().filter(|node| node.name != self.node);
        others.map(|node| PeerAddress { node_id: node.id, address: node.peers.clone() })
    }

    /// The directory's keys must be those of the configured replica, of the configured log. A
    /// replica that joined needs to list nobody but itself.
    pub fn check_identity(&self, identity: &NodeIdentity) -> Result<(), String> {
        if identity.origin != self.origin {
            return Err(format!("origin: expected {}, got {}", identity.origin, self.origin));
        }
        if identity.node_name != self.node {
            return Err(format!("node: expected {}, got {}", identity.node_name, self.node));
        }
        if identity.has_joined() {
            return Ok(());
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
    let expected = format!(
        "a log's name: a schema-less URL prefix of at most {ORIGIN_BYTES_MAX} bytes, without \
         spaces or `+`"
    );
    value.word(Slug::BadName, &expected, |text| Origin::parse(text).ok())
}

fn listen(value: &Value<'_>) -> Option<Listen> {
    let mut fields = value.fields()?;
    let http = fields.need("http", socket_address);
    let grpc = fields.need("grpc", socket_address);
    let peers = fields.need("peers", socket_address);
    fields.finish();
    let listen = Listen { http: http?, grpc: grpc?, peers: peers? };
    // Port 0 is another port each time.
    let ports = [listen.http, listen.grpc, listen.peers].into_iter().filter(|at| at.port() > 0);
    value.check_unique(&ports.collect::<Vec<_>>())?;
    Some(listen)
}

fn snapshots(value: &Value<'_>) -> Option<SnapshotPlan> {
    let mut fields = value.fields()?;
    let plan = SnapshotPlan::default();
    let bytes = |value: &Value<'_>| value.bytes(SNAPSHOT_LOG_BYTES_MAX);
    let log_bytes = fields.or("log_bytes", plan.log_bytes, bytes);
    let interval = |value: &Value<'_>| {
        value.probe_duration(SNAPSHOT_INTERVAL_MS_MIN, SNAPSHOT_INTERVAL_MS_MAX)
    };
    let interval_ms = fields.or("interval", plan.interval_ms, interval);
    fields.finish();
    Some(SnapshotPlan { log_bytes: log_bytes?, interval_ms: interval_ms? })
}

fn socket_address(value: &Value<'_>) -> Option<SocketAddr> {
    value.word(Slug::BadAddress, "IP address:port, like 127.0.0.1:7680", |text| text.parse().ok())
}

fn nodes(value: &Value<'_>) -> Option<Vec<NodeEntry>> {
    let is_alone = value.items()?.len() == 1;
    let nodes = value.list_of(|value| node(value, is_alone))?;
    if nodes.is_empty() || nodes.len() > NODES_COUNT_MAX {
        let expected = format!("1 to {NODES_COUNT_MAX} nodes");
        return value.fault(Slug::OutOfRange, expected, nodes.len().to_string());
    }
    let ids: Vec<u64> = nodes.iter().map(|node| node.id).collect();
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let addresses: Vec<&String> = nodes.iter().flat_map(|node| [&node.grpc, &node.peers]).collect();
    let is_unique =
        [value.check_unique(&ids), value.check_unique(&names), value.check_unique(&addresses)];
    is_unique.into_iter().collect::<Option<()>>()?;
    Some(nodes)
}

/// A replica alone in its list may go without an id: it is the first of a new installation, or it
/// joins one and is told its id.
fn node(value: &Value<'_>, is_alone: bool) -> Option<NodeEntry> {
    let mut fields = value.fields()?;
    let read = |value: &Value<'_>| value.integer(1, u64::from(u32::MAX));
    let id = match is_alone {
        true => fields.or("id", 1, read),
        false => fields.need("id", read),
    };
    let name = fields.need("name", Value::name);
    let grpc = fields.need("grpc", Value::host_port);
    let peers = fields.need("peers", Value::host_port);
    fields.finish();
    Some(NodeEntry { id: id?, name: name?, grpc: grpc?.to_string(), peers: peers?.to_string() })
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
    use std::path::Path;

    use super::*;

    #[test]
    fn the_sample_is_valid() {
        let text = include_str!("../../deploy/aggregator.yaml");
        let config = Config::parse(text, "deploy/aggregator.yaml").unwrap();
        assert_eq!(config.nodes.len(), 3);
        assert_eq!(config.nodes[0].hosts(), ["a1.example.com"]);
    }
    /// Each `tests/golden/aggregator-config/*.yaml` is a bad config; the `.expected` beside it
    /// holds its exact messages. `UPDATE=1` rewrites them.
    #[test]
    fn bad_configs_say_exactly_this() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/aggregator-config");
        let mut bad = Vec::new();
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                bad.push(path);
            } else {
                assert!(path.with_extension("yaml").exists(), "{} has no config", path.display());
            }
        }
        assert!(bad.len() >= 15, "only {} bad configs in {}", bad.len(), dir.display());
        let wrong: Vec<String> = bad.iter().filter_map(|path| difference(path)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn difference(path: &Path) -> Option<String> {
        let file = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let got = match Config::parse(&text, file) {
            Ok(_) => return Some(format!("{file} was accepted")),
            Err(faults) => format!("{faults}\n"),
        };
        let golden = path.with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        (got != expected).then(|| format!("{file}\n--- expected\n{expected}--- got\n{got}"))
    }
}
