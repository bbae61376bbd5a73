//! The processes in their namespaces, each on a small disk, and what can be done to them.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use tempfile::TempDir;

use super::clock::{self, Clock};
use super::disk::{self, SmallDisk};
use super::fleet::{AGENTS, Fleet, Node, REPLICAS};
use super::net::{self, Drops, Net, Way, address, gateway};
use crate::installation::{Installation, Joining, Seat};
use crate::judge::Verdict;
use crate::program::Launch;
use crate::proxy::Proxy;
use crate::target::Target;

/// Ports inside a namespace, where nobody else has any.
const HTTP: u16 = 7680;
const ADMIN: u16 = 7685;
const GRPC: u16 = 7690;
const PEERS: u16 = 7691;

/// Dropped from the top: processes before their disks and namespaces.
pub(super) struct World {
    pub(super) fleet: Fleet,
    /// What agents reach replicas through: a link that can be slow.
    doors: Vec<Proxy>,
    clocks: Vec<Clock>,
    disks: Vec<SmallDisk>,
    net: Net,
    /// Read by the processes for as long as they live.
    _clock_files: TempDir,
}

impl World {
    pub(super) fn build() -> Result<World, String> {
        net::sweep();
        disk::sweep();
        clock::sweep();
        let names: Vec<String> = nodes().map(|node| node.to_string()).collect();
        let net = Net::build(&names)?;
        let clock_files = tempfile::tempdir().map_err(|why| why.to_string())?;
        let clocks = set_clocks(clock_files.path())?;
        let launches = nodes().map(|Node(at)| {
            let environment = clocks[at].environment()?;
            Ok(Launch { program: None, namespace: Some(net.host(at)), environment })
        });
        let launches = launches.collect::<Result<Vec<Launch>, String>>()?;
        let doors: Vec<Proxy> =
            (0..REPLICAS).map(|at| Proxy::on(gateway().into(), at_host(at, GRPC))).collect();
        let cluster =
            Installation::plan((0..REPLICAS).map(|at| seat(at, &doors, &launches)).collect());
        let disks = mount_disks(&cluster)?;
        let addresses: Vec<SocketAddr> = doors.iter().map(Proxy::address).collect();
        let fleet = Fleet::start(cluster, Target::on(gateway().into()), |at| {
            let (name, host) = (AGENTS[at], REPLICAS + at);
            let (admin, launch) = (Some(at_host(host, ADMIN)), launches[host].clone());
            Ok(Joining { name, addresses: &addresses, admin, launch })
        })?;
        Ok(World { fleet, doors, clocks, disks, net, _clock_files: clock_files })
    }

    pub(super) fn fill(&self, node: Node) {
        self.disks[node.0].fill();
    }

    pub(super) fn free(&self, node: Node) {
        self.disks[node.0].free();
    }

    pub(super) fn set_clock_off(&self, node: Node, seconds: i64) -> Result<(), String> {
        self.clocks[node.0].set_off(seconds)
    }

    pub(super) fn slow_down(&self, replica: usize, delay_ms: u64) {
        self.doors[replica].set_delay_ms(delay_ms);
    }

    /// Nothing, or a share of the packets, goes from one node to another.
    pub(super) fn cut(&mut self, from: Node, to: Node, percent: u8) -> Result<(), String> {
        let door = |replica: Node| (gateway(), Some(self.doors[replica.0].address().port()));
        let is_agent = |node: Node| node.0 >= REPLICAS;
        let (host, way, (peer, port)) = match (is_agent(from), is_agent(to)) {
            (true, _) => (from, Way::Out, door(to)),
            (_, true) => (to, Way::In, door(from)),
            _ => (to, Way::In, (address(from.0), None)),
        };
        self.net.cut(host.0, Drops { way, peer, port, percent })
    }

    /// As [`Fleet::judge`]; disks and namespaces stay until it is done.
    pub(super) fn judge(self) -> Result<Verdict, String> {
        let World { fleet, doors, clocks, disks, net, _clock_files } = self;
        let verdict = fleet.judge();
        drop((doors, clocks, disks, net));
        verdict
    }

    pub(super) fn heal_links(&mut self) -> Result<(), String> {
        self.net.heal()
    }
}

/// Replicas first, then agents.
pub(super) fn nodes() -> impl Iterator<Item = Node> {
    (0..REPLICAS + AGENTS.len()).map(Node)
}

fn set_clocks(folder: &Path) -> Result<Vec<Clock>, String> {
    clock::works(folder)?;
    nodes().map(|node| Clock::right(folder.join(format!("{node}.clock")))).collect()
}

/// Agents are told the doors; replicas find each other without one.
fn seat(at: usize, doors: &[Proxy], launches: &[Launch]) -> Seat {
    let listen = [HTTP, GRPC, PEERS].map(|port| at_host(at, port));
    let told = Some([doors[at].address(), at_host(at, PEERS)]);
    Seat { listen, told, launch: launches[at].clone() }
}

/// In the order of [`nodes`].
fn mount_disks(cluster: &Installation) -> Result<Vec<SmallDisk>, String> {
    let replicas = cluster.replicas.iter().map(|replica| replica.data.clone());
    let agents = AGENTS.iter().map(|name| cluster.dir().join(name).join("data"));
    replicas.chain(agents).map(|at| SmallDisk::mount(&at)).collect()
}

fn at_host(at: usize, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address(at)), port)
}
