//! The processes in their namespaces, each on a small disk, and what can be done to them.

use std::net::{IpAddr, SocketAddr};

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
}

impl World {
    pub(super) fn build() -> Result<World, String> {
        net::sweep();
        disk::sweep();
        let names: Vec<String> = nodes().map(|node| node.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let net = Net::build(&names)?;
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        clock::works(folder.path())?;
        let clocks = nodes().map(|node| Clock::right(folder.path().join(format!("{node}.clock"))));
        let clocks = clocks.collect::<Result<Vec<_>, _>>()?;
        // Read by the processes for as long as they live; the system's sweep removes it.
        let _kept = folder.keep();
        let doors: Vec<Proxy> =
            (0..REPLICAS).map(|at| Proxy::on(gateway().into(), at_host(at, GRPC))).collect();
        let launch = |at: usize| -> Result<Launch, String> {
            Ok(Launch { namespace: Some(net.host(at)), environment: clocks[at].environment()? })
        };
        let seats = (0..REPLICAS).map(|at| {
            let listen = [HTTP, GRPC, PEERS].map(|port| at_host(at, port));
            let told = Some([doors[at].address(), at_host(at, PEERS)]);
            Ok(Seat { listen, told, launch: launch(at)? })
        });
        let cluster = Installation::plan(seats.collect::<Result<_, String>>()?);
        let mut disks = Vec::new();
        for replica in &cluster.replicas {
            disks.push(SmallDisk::mount(&replica.data)?);
        }
        for name in AGENTS {
            disks.push(SmallDisk::mount(&cluster.dir().join(name).join("data"))?);
        }
        let addresses: Vec<SocketAddr> = doors.iter().map(Proxy::address).collect();
        let fleet = Fleet::start(cluster, Target::on(gateway().into()), |at| {
            let host = REPLICAS + at;
            Ok(Joining {
                name: AGENTS[at],
                addresses: &addresses,
                admin: Some(at_host(host, ADMIN)),
                launch: launch(host)?,
            })
        })?;
        Ok(World { fleet, doors, clocks, disks, net })
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
        let World { fleet, doors, clocks, disks, net } = self;
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

fn at_host(at: usize, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address(at)), port)
}
