//! Where `up` keeps and binds everything, and the configurations that follow from it.

use std::net::SocketAddr;
use std::path::PathBuf;

use proofmark_agent::JoinToken;
use proofmark_agent::identity::Identity;
use proofmark_aggregator::config::{Config, Listen, LogFormat, NodeEntry, SnapshotPlan};
use proofmark_aggregator::identity::NodeIdentity;
use proofmark_aggregator::limits::FETCH_RATE_BYTES;
use proofmark_evidence::{AgentName, Origin};

use crate::args::{OperatorAccess, Up};
use crate::exit::{Exit, Failure};
use crate::limits::UP_TOKEN_TTL_S;
use crate::operator::{self, Access};

/// The log's name: the last label says that it is a trial's.
const ORIGIN: &str = "proofmark.local/up";
const AGENT: &str = "local";

/// `data/aggregator-N`, `data/agent`, `data/specs`.
pub struct Layout {
    pub data: PathBuf,
    pub replicas: Vec<Config>,
}

impl Layout {
    /// Reads the flags, makes what does not exist yet, and refuses what does not fit what does.
    pub fn of(up: &Up) -> Result<Layout, Failure> {
        std::fs::create_dir_all(&up.data).map_err(|why| storage(&up.data, &why))?;
        let data = up.data.canonicalize().map_err(|why| storage(&up.data, &why))?;
        let count = u16::from(up.replicas);
        let nodes: Vec<NodeEntry> = (1..=count)
            .map(|id| {
                Ok(NodeEntry {
                    id: u64::from(id),
                    name: format!("aggregator-{id}"),
                    grpc: nth(up.grpc, id)?.to_string(),
                    peers: nth(up.peers, id)?.to_string(),
                })
            })
            .collect::<Result<_, Failure>>()?;
        let replica = |id: u16| {
            let name = format!("aggregator-{id}");
            Ok(Config {
                data_dir: data.join(&name),
                node: name,
                origin: Origin::parse(ORIGIN).expect("a constant, valid origin"),
                listen: Listen {
                    http: nth(up.http, id)?,
                    grpc: nth(up.grpc, id)?,
                    peers: nth(up.peers, id)?,
                },
                nodes: nodes.clone(),
                snapshots: SnapshotPlan::default(),
                fetch_rate: FETCH_RATE_BYTES,
                log_format: LogFormat::Text,
            })
        };
        let replicas = (1..=count).map(replica).collect::<Result<_, Failure>>()?;
        let layout = Layout { data, replicas };
        layout.refuse_another_size(count)?;
        super::init_replicas(&layout)?;
        Ok(layout)
    }

    /// Membership does not change in this version: more replicas need another directory. The
    /// first replica's keys say how many there are, however far their directories got.
    fn refuse_another_size(&self, count: u16) -> Result<(), Failure> {
        let Ok(identity) = NodeIdentity::load(&self.replicas[0].identity_dir()) else {
            return Ok(());
        };
        let made = identity.nodes.len();
        if made == usize::from(count) {
            return Ok(());
        }
        let message = format!(
            "{}: expected --replicas {made}, as it was made, got --replicas {count}",
            self.data.display()
        );
        Err(Failure::new(Exit::Storage, message))
    }

    pub fn operator(&self) -> OperatorAccess {
        OperatorAccess { data: self.data.clone(), addresses: Vec::new() }
    }

    pub fn agent_dir(&self) -> PathBuf {
        self.data.join("agent")
    }

    /// A token for the first start; an enrolled agent needs none.
    pub async fn token_if_needed(&self, access: &Access) -> Result<Option<String>, Failure> {
        if Identity::is_enrolled(&self.agent_dir()) {
            return Ok(None);
        }
        operator::token(access, Some(AGENT), UP_TOKEN_TTL_S).await.map(Some)
    }

    pub fn agent(&self, token: Option<String>) -> proofmark_agent::Config {
        let name = AgentName::parse(AGENT).expect("a constant, valid name");
        let addresses = self.replicas[0].nodes.iter().map(|node| node.grpc.clone()).collect();
        let join_token = token.map(JoinToken::Text);
        proofmark_agent::Config::with_defaults(name, self.agent_dir(), addresses, join_token)
    }
}

/// The address of replica `id`: the given port, one more for each further replica.
fn nth(first: SocketAddr, id: u16) -> Result<SocketAddr, Failure> {
    let port = first.port().checked_add(id - 1);
    let port = port.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{first}: expected room for {id} ports, got the last"))
    })?;
    Ok(SocketAddr::new(first.ip(), port))
}

fn storage(path: &std::path::Path, why: &std::io::Error) -> Failure {
    Failure::new(Exit::Storage, format!("{}: {why}", path.display()))
}
