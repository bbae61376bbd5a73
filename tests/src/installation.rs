//! A whole installation of real processes on loopback: replicas, agents, and their folders.

mod members;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{self, Ended, Launch, Program};
use crate::proxy::Proxy;
use crate::{api, wait};

/// Below what Linux gives to outgoing connections (32768 and up).
const PORT_FIRST: u16 = 12_000;
const PORTS: u32 = 20_000;

/// How long a group may take to elect, to converge, to publish.
pub const SETTLE: Duration = Duration::from_secs(180);

/// Where a replica of an installation lives.
pub struct Seat {
    /// Where it listens: HTTP, gRPC for agents, gRPC for peers.
    pub listen: [SocketAddr; 3],
    /// What agents and peers are told instead of the last two, when something stands in between.
    pub told: Option<[SocketAddr; 2]>,
    pub launch: Launch,
}

/// An agent that is to join.
pub struct Joining<'a> {
    pub name: &'a str,
    /// The aggregators it knows at first.
    pub addresses: &'a [SocketAddr],
    /// Where it serves its metrics.
    pub admin: Option<SocketAddr>,
    pub launch: Launch,
}

/// One replica's addresses and folder.
pub struct Replica {
    pub name: String,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// What the installation tells agents as this replica's address: a proxy that a test can cut.
    pub door: Proxy,
    peers: SocketAddr,
    told: [SocketAddr; 2],
    pub launch: Launch,
    config: PathBuf,
    pub data: PathBuf,
    running: Option<Program>,
}

/// Replicas and agents under one temporary folder.
pub struct Installation {
    dir: TempDir,
    pub replicas: Vec<Replica>,
    /// Lines that every replica's configuration has besides.
    more: String,
}

/// A running agent.
pub struct Agent {
    pub name: String,
    pub launch: Launch,
    pub admin: Option<SocketAddr>,
    config: PathBuf,
    log: PathBuf,
    dir: PathBuf,
    running: Option<Program>,
}

impl Installation {
    /// Initialises and starts `count` replicas, and waits until one leads.
    pub fn start(count: usize) -> Installation {
        let mut installation = Installation::plan((0..count).map(|_| Seat::loopback()).collect());
        installation.begin();
        installation
    }

    /// Starts `count` replicas, each in the data directory that `lay` makes for it.
    pub fn resume(count: usize, lay: impl Fn(&Replica)) -> Installation {
        let mut installation = Installation::plan((0..count).map(|_| Seat::loopback()).collect());
        for replica in &installation.replicas {
            let config = installation.replica_config(replica);
            std::fs::write(&replica.config, config).expect("config written");
            lay(replica);
        }
        installation.start_all();
        installation
    }

    /// An installation of which nothing is on disk yet but its folder.
    pub fn plan(seats: Vec<Seat>) -> Installation {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let seats = (1..).zip(seats);
        let replicas = seats.map(|(id, seat)| Replica::plan(dir.path(), id, seat)).collect();
        Installation { dir, replicas, more: String::new() }
    }

    /// As [`Installation::start`], with these lines in every replica's configuration besides.
    pub fn start_with(count: usize, more: &str) -> Installation {
        let mut installation = Installation::plan((0..count).map(|_| Seat::loopback()).collect());
        installation.more = more.to_owned();
        installation.begin();
        installation
    }

    /// Initialises and starts every replica, and waits until one leads.
    pub fn begin(&mut self) {
        self.init();
        self.start_all();
    }

    fn start_all(&mut self) {
        (0..self.replicas.len()).for_each(|at| self.start_replica(at));
        self.leader();
    }

    fn init(&self) {
        for replica in &self.replicas {
            std::fs::write(&replica.config, self.replica_config(replica)).expect("config written");
        }
        let first = &self.replicas[0];
        program::must(&["aggregator", "init", "--config", path(&first.config)]);
        for (at, replica) in self.replicas.iter().enumerate().skip(1) {
            let bundle = first.data.join(format!("identity/node-{}.bundle", at + 1));
            let config = path(&replica.config);
            program::must(&["aggregator", "init", "--config", config, "--bundle", path(&bundle)]);
        }
    }

    fn replica_config(&self, replica: &Replica) -> String {
        let nodes = self.replicas.iter().enumerate().map(|(at, node)| {
            let (name, [grpc, peers]) = (&node.name, node.told);
            format!("  - {{id: {}, name: {name}, grpc: \"{grpc}\", peers: \"{peers}\"}}\n", at + 1)
        });
        format!(
            "node: {}\norigin: proofmark.test/it\ndata_dir: {}\nlisten:\n  http: {}\n  grpc: {}\n  \
             peers: {}\nnodes:\n{}log_format: text\n{}",
            replica.name,
            replica.data.display(),
            replica.http,
            replica.grpc,
            replica.peers,
            nodes.collect::<String>(),
            self.more
        )
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn start_replica(&mut self, at: usize) {
        let started = self.try_start_replica(at);
        started.unwrap_or_else(|ended| panic!("replica {at}: {:?}\n{}", ended.status, ended.log));
    }

    /// Starts a replica that may refuse.
    ///
    /// # Errors
    /// It ended before it was ready.
    pub fn try_start_replica(&mut self, at: usize) -> Result<(), Ended> {
        let dir = self.dir.path().to_owned();
        self.replicas[at].start(&dir)
    }

    pub fn kill_replica(&mut self, at: usize) {
        self.replicas[at].running.take().expect("it runs").kill();
    }

    /// Stops a replica with SIGTERM; its exit must be 0.
    pub fn stop_replica(&mut self, at: usize) {
        let status = self.replicas[at].running.take().expect("it runs").stop();
        assert!(status.success(), "replica {at}: {status}");
    }

    /// The index of the replica that leads; waits for one.
    pub fn leader(&self) -> usize {
        wait::until("a leader", SETTLE, || {
            let mut running = self.replicas.iter().enumerate();
            running.find_map(|(at, replica)| {
                replica.running.as_ref()?;
                let health = api::json(replica.http, "/api/v1/health")?;
                (health["role"] == "leader").then_some(at)
            })
        })
    }

    /// Applies spec text through the first replica's operator credential.
    pub fn apply(&self, name: &str, text: &str) -> String {
        let file = self.dir.path().join(name);
        std::fs::write(&file, text).expect("spec written");
        program::must(&["apply", "-f", path(&file), "--data", path(&self.replicas[0].data)])
    }

    /// A join token for the agent `name`, as an operator makes it.
    pub fn token(&self, name: &str) -> String {
        let data = path(&self.replicas[0].data);
        program::must(&["token", "create", "--agent", name, "--data", data]).trim().to_owned()
    }

    /// Makes a token, writes a configuration, and starts an agent that knows `addresses`.
    pub fn start_agent(&self, name: &str, addresses: &[SocketAddr]) -> Agent {
        self.join(Joining { name, addresses, admin: None, launch: Launch::default() })
    }

    /// Makes a token, writes a configuration, and starts an agent.
    pub fn join(&self, joining: Joining<'_>) -> Agent {
        let token = format!("join_token: {}\n", self.token(joining.name));
        let mut agent = self.plan_agent(joining, &token);
        agent.start();
        agent
    }

    /// Starts an agent in the data directory that `lay` makes for it: it needs no token.
    pub fn resume_agent(&self, name: &str, addresses: &[SocketAddr], lay: impl Fn(&Path)) -> Agent {
        let joining = Joining { name, addresses, admin: None, launch: Launch::default() };
        let mut agent = self.plan_agent(joining, "");
        lay(&agent.data_dir());
        agent.start();
        agent
    }

    fn plan_agent(&self, joining: Joining<'_>, token: &str) -> Agent {
        let Joining { name, addresses, admin, launch } = joining;
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).expect("agent folder");
        let addresses: String = addresses.iter().map(|to| format!("  - \"{to}\"\n")).collect();
        let serves = admin.map(|admin| format!("admin: \"{admin}\"\n")).unwrap_or_default();
        let config = dir.join("agent.yaml");
        let data = dir.join("data");
        let data = data.display();
        let text =
            format!("name: {name}\ndata_dir: {data}\n{token}{serves}aggregators:\n{addresses}");
        std::fs::write(&config, text).expect("config written");
        let log = self.dir.path().join(format!("{name}.log"));
        Agent { name: name.to_owned(), launch, admin, config, log, dir, running: None }
    }

    /// The JSON at `path` of the first running replica that answers.
    pub fn json(&self, path: &str) -> Option<Value> {
        let running = self.replicas.iter().filter(|replica| replica.running.is_some());
        running.into_iter().find_map(|replica| api::json(replica.http, path))
    }

    /// Waits until every replica has published every leaf, all the same, and answers the roots.
    pub fn settled_roots(&self) -> Vec<String> {
        let settled = wait::hoped("every leaf proven on every replica", SETTLE, || {
            let seen: Option<Vec<_>> = self.replicas.iter().map(Replica::proven).collect();
            seen.filter(|seen| seen.windows(2).all(|pair| pair[0] == pair[1]))
        });
        let seen =
            settled.unwrap_or_else(|why| panic!("{why}\n{}\n{}", self.healths(), self.logs()));
        seen.iter().map(|(_, root)| root.to_string()).collect()
    }

    /// What every replica says of itself, for a failing test's message.
    fn healths(&self) -> String {
        let health = |replica: &Replica| {
            let health = api::json(replica.http, "/api/v1/health").unwrap_or_default();
            format!("{}: {health}\n", replica.name)
        };
        self.replicas.iter().map(health).collect()
    }

    /// What every program logged, for a failing test's message.
    pub fn logs(&self) -> String {
        let logs = self.replicas.iter().filter_map(|replica| {
            let running = replica.running.as_ref()?;
            Some(format!("--- {}\n{}\n", replica.name, running.log_text()))
        });
        logs.collect()
    }
}

impl Seat {
    /// Free ports of this host.
    pub fn loopback() -> Seat {
        Seat { listen: free_addresses(), told: None, launch: Launch::default() }
    }
}

impl Replica {
    fn plan(dir: &Path, id: usize, seat: Seat) -> Replica {
        let name = format!("a{id}");
        let [http, grpc, peers] = seat.listen;
        let (config, data) = (dir.join(format!("{name}.yaml")), dir.join(&name));
        let door = Proxy::start(grpc);
        let told = seat.told.unwrap_or([door.address(), peers]);
        let launch = seat.launch;
        Replica { name, http, grpc, door, peers, told, launch, config, data, running: None }
    }

    /// Size and root of its checkpoint, when that covers every leaf it has.
    fn proven(&self) -> Option<(Value, Value)> {
        let health = api::json(self.http, "/api/v1/health")?;
        let checkpoint = api::json(self.http, "/api/v1/checkpoint?consistency=stale")?;
        let is_whole = health["log_size"] == health["published_size"]
            && checkpoint["size"] == health["log_size"];
        is_whole.then(|| (checkpoint["size"].clone(), checkpoint["root"].clone()))
    }

    /// Where the other replicas connect.
    pub fn peers(&self) -> SocketAddr {
        self.peers
    }

    /// Every port that it listens on.
    pub fn ports(&self) -> [SocketAddr; 3] {
        [self.http, self.grpc, self.peers]
    }

    /// Sends a signal by name to this replica's process.
    pub fn signal(&self, name: &str) {
        self.running.as_ref().expect("it runs").signal(name);
    }

    /// The process id of a running replica.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("it runs").id()
    }

    /// What a running replica logged so far.
    pub fn log_text(&self) -> String {
        self.running.as_ref().map(Program::log_text).unwrap_or_default()
    }

    pub fn evidence_dir(&self) -> PathBuf {
        self.data.join("evidence")
    }

    /// How its process ended, if it ran and has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.running.as_mut()?.ended()
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Where its log lines go.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    fn start(&mut self, dir: &Path) -> Result<(), Ended> {
        let log = self.log();
        let args = ["aggregator", "run", "--config", path(&self.config)];
        self.running = Some(Program::try_start(&self.launch, &args, dir, &log, "ready")?);
        Ok(())
    }
}

impl Agent {
    pub fn start(&mut self) {
        let started = self.try_start();
        let name = &self.name;
        started.unwrap_or_else(|ended| panic!("agent {name}: {:?}\n{}", ended.status, ended.log));
    }

    /// Starts an agent that may refuse.
    ///
    /// # Errors
    /// It ended before it was ready.
    pub fn try_start(&mut self) -> Result<(), Ended> {
        let args = ["agent", "run", "--config", path(&self.config)];
        let program = Program::try_start(&self.launch, &args, &self.dir, &self.log, "ready");
        self.running = Some(program?);
        Ok(())
    }

    /// Sends a signal by name to this agent's process.
    pub fn signal(&self, name: &str) {
        self.running.as_ref().expect("it runs").signal(name);
    }

    /// How its process ended, if it ran and has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.running.as_mut()?.ended()
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where its log lines go.
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    pub fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
    }

    /// SIGTERM: seals, spools, waits for acks, exits 0.
    pub fn stop(&mut self) {
        let status = self.terminate();
        assert!(status.success(), "agent {}: {status}", self.name);
    }

    /// SIGTERM, and however it ends: a drain may be cut short where acks cannot come.
    pub fn terminate(&mut self) -> ExitStatus {
        self.running.take().expect("it runs").stop()
    }
}

/// Ports that were free a moment ago; all are held at once, so that they differ. None is of those
/// that the system gives to outgoing connections: one of these could take a port while whoever
/// listens on it is killed and not yet started again.
pub fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Test programs that run at one time begin at different ports.
    let first = std::process::id().wrapping_mul(97);
    let candidates = std::iter::repeat_with(|| {
        let offset = first.wrapping_add(TAKEN.fetch_add(1, Ordering::SeqCst)) % PORTS;
        (Ipv4Addr::LOCALHOST, PORT_FIRST + offset as u16)
    });
    let held: Vec<TcpListener> =
        candidates.filter_map(|at| TcpListener::bind(at).ok()).take(N).collect();
    std::array::from_fn(|at| held[at].local_addr().expect("bound"))
}

/// Test folders have UTF-8 names.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a UTF-8 name")
}
