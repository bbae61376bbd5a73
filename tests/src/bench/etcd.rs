//! etcd beside us: three nodes on this machine, and puts of a given size as fast as they are
//! acknowledged. Ratios to it say more than figures that depend on the machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::clock::Clock;
use super::cpu::Sample;
use super::memory;
use super::report::percentile;
use crate::installation::free_addresses;
use crate::program::Program;
use crate::wait;

pub(super) const NODES: usize = 3;
const SETTLE: Duration = Duration::from_secs(30);
/// As many connections as a few busy clients have: two to each node.
const CONNECTIONS: usize = 6;

/// Three nodes, until dropped.
pub(super) struct Etcd {
    dir: TempDir,
    pub(super) nodes: Vec<Node>,
}

pub(super) struct Node {
    client: String,
    peer: String,
    running: Option<Program>,
}

/// What a run of puts found.
#[derive(Clone, Copy)]
pub(super) struct Puts {
    pub(super) value_bytes: usize,
    pub(super) per_s: f64,
    /// Of all nodes together.
    pub(super) cpu_ms_each: f64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

/// Messages of etcd's KV and Maintenance services, as much of them as is used.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

/// Whether etcd is on this machine.
pub(super) fn is_installed() -> bool {
    Command::new("etcd").arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Etcd {
    /// Starts three nodes and waits until one leads. `None` when etcd is not installed.
    pub(super) fn start() -> Result<Option<Etcd>, String> {
        if !is_installed() {
            return Ok(None);
        }
        let dir = tempfile::tempdir().map_err(|why| why.to_string())?;
        let node = |_| {
            let [client, peer] = free_addresses();
            let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
            Node { client, peer, running: None }
        };
        let mut etcd = Etcd { dir, nodes: (0..NODES).map(node).collect() };
        (0..NODES).for_each(|at| etcd.start_node(at));
        etcd.leader()?;
        Ok(Some(etcd))
    }

    pub(super) fn start_node(&mut self, at: usize) {
        let peers = self.nodes.iter().enumerate();
        let cluster: Vec<String> = peers.map(|(at, node)| format!("e{at}={}", node.peer)).collect();
        let (name, node) = (format!("e{at}"), &self.nodes[at]);
        let data = self.dir.path().join(&name);
        let log = self.dir.path().join(format!("{name}.log"));
        let mut command = Command::new("etcd");
        command.arg("--name").arg(&name).arg("--data-dir").arg(&data);
        command.args(["--listen-client-urls", &node.client]);
        command.args(["--advertise-client-urls", &node.client]);
        command.args(["--listen-peer-urls", &node.peer]);
        command.args(["--initial-advertise-peer-urls", &node.peer]);
        command.args(["--initial-cluster", &cluster.join(",")]);
        command.args(["--initial-cluster-state", "new", "--log-level", "error"]);
        self.nodes[at].running = Some(Program::spawn(command, Path::new(&log)));
    }

    pub(super) fn kill_node(&mut self, at: usize) {
        self.nodes[at].running.take().expect("it runs").kill();
    }

    /// Where each node answers.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| Some(node.running.as_ref()?.id())).collect()
    }

    /// CPU used so far, of each node.
    pub(super) fn sample(&self) -> Result<Vec<Sample>, String> {
        self.pids().into_iter().map(Sample::of).collect()
    }

    /// Resident memory, of each node.
    pub(super) fn resident(&self) -> Result<Vec<u64>, String> {
        self.pids().into_iter().map(memory::resident_bytes).collect()
    }

    /// The node that leads; waits for one.
    pub(super) fn leader(&self) -> Result<usize, String> {
        let runtime = runtime()?;
        let found = wait::until("an etcd leader", SETTLE, || {
            (0..NODES).filter(|at| self.nodes[*at].running.is_some()).find(|at| {
                let status = runtime.block_on(status(&self.nodes[*at].client));
                let header = status.as_ref().and_then(|status| status.header.as_ref());
                header.is_some_and(|header| {
                    status.as_ref().is_some_and(|status| status.leader == header.member_id)
                })
            })
        });
        Ok(found)
    }

    /// Puts values of one size for so long, `in_flight` at a time.
    pub(super) fn puts(
        &self,
        value_bytes: usize,
        in_flight: usize,
        seconds: u64,
    ) -> Result<Puts, String> {
        let clock = Clock::start();
        let until_us = seconds * 1_000_000;
        let before = self.sample()?;
        let runtime = runtime()?;
        let mut latencies_us = runtime.block_on(async {
            let mut channels = Vec::new();
            for at in 0..CONNECTIONS {
                channels.push(open(&self.nodes[at % NODES].client).await?);
            }
            let mut putting = JoinSet::new();
            for at in 0..in_flight {
                let channel = channels[at % CONNECTIONS].clone();
                putting.spawn(
                    async move { put_until(channel, at, value_bytes, clock, until_us).await },
                );
            }
            let mut latencies_us = Vec::new();
            while let Some(ended) = putting.join_next().await {
                latencies_us.extend(ended.map_err(|why| why.to_string())??);
            }
            Ok::<_, String>(latencies_us)
        })?;
        let spent_s = clock.now_us() as f64 / 1e6;
        let after = self.sample()?;
        let cpu_s: f64 = before.iter().zip(&after).map(|(old, new)| new.cpu_s_since(old)).sum();
        latencies_us.sort_unstable();
        let count = latencies_us.len().max(1) as f64;
        Ok(Puts {
            value_bytes,
            per_s: latencies_us.len() as f64 / spent_s,
            cpu_ms_each: cpu_s * 1e3 / count,
            p50_us: percentile(&latencies_us, 500),
            p99_us: percentile(&latencies_us, 990),
        })
    }
}

async fn put_until(
    channel: Channel,
    writer: usize,
    value_bytes: usize,
    clock: Clock,
    until_us: u64,
) -> Result<Vec<u64>, String> {
    let mut latencies_us = Vec::new();
    for turn in 0_u64.. {
        let begun_us = clock.now_us();
        if begun_us >= until_us {
            break;
        }
        let key = format!("bench/{writer}/{turn}");
        put(channel.clone(), key.into_bytes(), vec![7; value_bytes]).await?;
        latencies_us.push(clock.now_us() - begun_us);
    }
    Ok(latencies_us)
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.thread_name("load-etcd").enable_all().build().map_err(|why| why.to_string())
}

pub(super) async fn open(address: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|why| why.to_string())?;
    endpoint.connect().await.map_err(|why| format!("{address}: {why}"))
}

pub(super) async fn put(channel: Channel, key: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|why| why.to_string())?;
    let codec = ProstCodec::<PutRequest, PutResponse>::default();
    let done = client.unary(Request::new(PutRequest { key, value }), path, codec).await;
    done.map(drop).map_err(|status| status.to_string())
}

async fn status(address: &str) -> Option<StatusResponse> {
    let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Status");
    let mut client = Grpc::new(open(address).await.ok()?);
    client.ready().await.ok()?;
    let codec = ProstCodec::<StatusRequest, StatusResponse>::default();
    Some(client.unary(Request::new(StatusRequest {}), path, codec).await.ok()?.into_inner())
}
