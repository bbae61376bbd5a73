//! A network of namespaces: one for each process, all on one bridge, with links that can be cut.
//!
//! Everything is named after this process, removed when [`Net`] is dropped, and found by [`sweep`]
//! when the process was killed before that.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

const PREFIX: &str = "pmchaos";

/// Namespaces, and what is dropped in each.
pub struct Net {
    hosts: Vec<String>,
    /// By host: what it does not let through.
    cuts: BTreeMap<usize, Vec<Drops>>,
}

/// One way through which a host lets nothing, or not all, pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    pub way: Way,
    pub peer: Ipv4Addr,
    /// Only this port of the peer.
    pub port: Option<u16>,
    /// Packets of a hundred.
    pub percent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    In,
    Out,
}

impl Net {
    /// One namespace for each name, with an address that every other and this process reach.
    ///
    /// # Errors
    /// A command that failed, and what it said.
    pub fn build(names: &[String]) -> Result<Net, String> {
        let mut net = Net { hosts: Vec::new(), cuts: BTreeMap::new() };
        let bridge = bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", gateway()), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for (at, name) in names.iter().enumerate() {
            net.hosts.push(namespace(name));
            net.plug(at, &bridge)?;
        }
        Ok(net)
    }

    /// The namespace of host number `at`, for a [`crate::program::Launch`].
    pub fn host(&self, at: usize) -> String {
        self.hosts[at].clone()
    }

    /// Adds to what a host drops.
    ///
    /// # Errors
    /// nft's words.
    pub fn cut(&mut self, at: usize, drops: Drops) -> Result<(), String> {
        self.cuts.entry(at).or_default().push(drops);
        self.enforce(at)
    }

    /// Every link is whole again.
    ///
    /// # Errors
    /// nft's words.
    pub fn heal(&mut self) -> Result<(), String> {
        let hosts: Vec<usize> = std::mem::take(&mut self.cuts).into_keys().collect();
        hosts.into_iter().try_for_each(|at| self.enforce(at))
    }

    fn plug(&self, at: usize, bridge: &str) -> Result<(), String> {
        let (host, outside, inside) = (&self.hosts[at], format!("{}v{at}", short()), "eth0");
        ip(&["netns", "add", host])?;
        ip(&["link", "add", &outside, "type", "veth", "peer", "name", inside, "netns", host])?;
        ip(&["link", "set", &outside, "master", bridge, "up"])?;
        ip(&["-n", host, "addr", "add", &format!("{}/24", address(at)), "dev", inside])?;
        ip(&["-n", host, "link", "set", inside, "up"])?;
        ip(&["-n", host, "link", "set", "lo", "up"])
    }

    /// Replaces a host's rules by those of its cuts.
    fn enforce(&self, at: usize) -> Result<(), String> {
        let drops = self.cuts.get(&at).map(Vec::as_slice).unwrap_or_default();
        let rules = |way: Way| -> String {
            drops.iter().filter(|drops| drops.way == way).map(Drops::rule).collect()
        };
        let text = format!(
            "flush ruleset\ntable inet chaos {{\nchain in {{ type filter hook input priority \
             0;\n{}}}\nchain out {{ type filter hook output priority 0;\n{}}}\n}}\n",
            rules(Way::In),
            rules(Way::Out)
        );
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.hosts[at], "nft", "-f", "-"]);
        said(nft, Some(&text)).map(drop)
    }
}

impl Drops {
    fn rule(&self) -> String {
        let (peer, port) = match self.way {
            Way::In => ("saddr", "sport"),
            Way::Out => ("daddr", "dport"),
        };
        let port = self.port.map(|number| format!("tcp {port} {number} ")).unwrap_or_default();
        let part = match self.percent {
            100 => String::new(),
            percent => format!("numgen random mod 100 < {percent} "),
        };
        format!("ip {peer} {} {port}{part}drop\n", self.peer)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            // Its veth goes with it. A failure leaves it to the next run's sweep.
            let _ = ip(&["netns", "del", host]);
        }
        let _ = ip(&["link", "del", &bridge()]);
    }
}

/// Removes namespaces and bridges of runs whose process is gone.
pub fn sweep() {
    let is_dead = |name: &str| {
        let process: String = name.chars().take_while(char::is_ascii_digit).collect();
        !process.is_empty() && !Path::new("/proc").join(process).exists()
    };
    let names = listed("/run/netns");
    for host in names.iter().filter(|name| name.strip_prefix(PREFIX).is_some_and(is_dead)) {
        let _ = ip(&["netns", "del", host]);
    }
    let links = listed("/sys/class/net");
    for link in links.iter().filter(|name| name.strip_prefix("pm").is_some_and(is_dead)) {
        let _ = ip(&["link", "del", link]);
    }
}

fn listed(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Where host number `at` is reached.
pub fn address(at: usize) -> Ipv4Addr {
    let last = u8::try_from(at + 10).expect("a handful of hosts");
    Ipv4Addr::new(10, 213, subnet(), last)
}

/// Where this process is reached from every namespace.
pub fn gateway() -> Ipv4Addr {
    Ipv4Addr::new(10, 213, subnet(), 1)
}

/// Two runs at one time seldom have the same.
fn subnet() -> u8 {
    (std::process::id() % 250) as u8
}

fn namespace(name: &str) -> String {
    format!("{PREFIX}{}-{name}", std::process::id())
}

/// Names of links have 15 bytes.
fn short() -> String {
    format!("pm{}", std::process::id())
}

fn bridge() -> String {
    format!("{}br", short())
}

fn ip(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(args);
    said(command, None).map(drop)
}

/// Runs a command with this input; its standard output.
fn said(mut command: Command, input: Option<&str>) -> Result<String, String> {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = || {
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().expect("piped above");
        stdin.write_all(input.unwrap_or_default().as_bytes())?;
        drop(stdin);
        child.wait_with_output()
    };
    let output = run().map_err(|why| format!("{shown}: {why}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_one_rule() {
        let peer = Ipv4Addr::new(10, 0, 0, 9);
        let check = |drops: Drops, rule: &str| assert_eq!(drops.rule(), format!("{rule}\n"));
        check(Drops { way: Way::In, peer, port: None, percent: 100 }, "ip saddr 10.0.0.9 drop");
        let half = Drops { way: Way::Out, peer, port: Some(7), percent: 50 };
        check(half, "ip daddr 10.0.0.9 tcp dport 7 numgen random mod 100 < 50 drop");
    }
}
