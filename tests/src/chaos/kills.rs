//! SIGKILLs of random processes under load, each recovery timed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::fleet::{AGENTS, Fleet, Node, REPLICAS};
use crate::dice::Dice;
use crate::installation::{Installation, Joining, SETTLE, Seat, free_addresses};
use crate::judge::Verdict;
use crate::program::Launch;
use crate::target::Target;
use crate::wait::{self, Stopwatch};

/// One kill's recovery.
struct Recovery {
    /// From the start to the program's word that it is ready.
    ready: Duration,
    /// From the kill to the next batch that anybody acknowledged.
    accepted: Duration,
}

/// By who was killed.
type Recoveries = BTreeMap<&'static str, Vec<Recovery>>;

pub(super) fn run(kills: usize, seed: u64, say: &mut dyn FnMut(&str)) -> Result<String, String> {
    let mut dice = Dice::new(seed);
    let cluster = Installation::plan((0..REPLICAS).map(|_| Seat::loopback()).collect());
    let addresses: Vec<SocketAddr> = cluster.replicas.iter().map(|at| at.grpc).collect();
    let mut fleet = Fleet::start(cluster, Target::start(), |at| {
        let [admin] = free_addresses();
        let (admin, launch) = (Some(admin), Launch::default());
        Ok(Joining { name: AGENTS[at], addresses: &addresses, admin, launch })
    })?;
    let mut recoveries = Recoveries::new();
    for number in 1..=kills {
        let victim = choose(&fleet, &mut dice);
        say(&format!("kill {number}: {victim}"));
        let (who, recovery) =
            kill(&mut fleet, victim).map_err(|why| format!("kill {number}, {victim}: {why}"))?;
        recoveries.entry(who).or_default().push(recovery);
        wait::let_pass(Duration::from_millis(dice.below(1_000)));
    }
    say("judging what is left");
    Ok(table(seed, kills, &recoveries, &fleet.judge()?))
}

/// Every second time whoever leads, for that is the kill that shows.
fn choose(fleet: &Fleet, dice: &mut Dice) -> Node {
    match dice.coin() {
        true => Node(fleet.cluster.leader()),
        false => {
            let nodes = (REPLICAS + AGENTS.len()) as u64;
            Node(usize::try_from(dice.below(nodes)).expect("a handful"))
        }
    }
}

fn kill(fleet: &mut Fleet, victim: Node) -> Result<(&'static str, Recovery), String> {
    fleet.pushers.check()?;
    let who = match fleet.agent_of(victim) {
        Some(_) => "an agent",
        None if fleet.cluster.leader() == victim.0 => "the leader",
        None => "a follower",
    };
    let before = fleet.pushers.batches();
    let since_kill = Stopwatch::start();
    fleet.kill(victim);
    // Of the others, while the victim is gone: what was on its way counts too.
    let accepted = wait::hoped("a batch to be acknowledged after the kill", SETTLE, || {
        (fleet.pushers.batches() > before + 2).then(|| since_kill.passed())
    })?;
    let since_start = Stopwatch::start();
    fleet.start_again(victim)?;
    Ok((who, Recovery { ready: since_start.passed(), accepted }))
}

fn table(seed: u64, kills: usize, recoveries: &Recoveries, verdict: &Verdict) -> String {
    let mut text = format!("chaos: {kills} SIGKILLs, seed {seed}\n");
    text += "killed       kills  next acks ms p50/max  ready again ms p50/max\n";
    for (who, recoveries) in recoveries {
        let accepted = spread(recoveries.iter().map(|one| one.accepted));
        let ready = spread(recoveries.iter().map(|one| one.ready));
        let count = recoveries.len();
        let written = writeln!(text, "{who:<12} {count:>5}  {accepted:>20}  {ready:>22}");
        written.expect("a String takes every write");
    }
    text + &found(verdict)
}

/// What the judge found, for a person.
pub(super) fn found(verdict: &Verdict) -> String {
    let Verdict { leaves, batches, results, numbers, root } = verdict;
    format!(
        "each replica verified: {leaves} leaves, {batches} batches, {results} results, each once; \
         none acknowledged is missing; roots equal ({root}); {numbers} served numbers recomputed\n"
    )
}

/// Median and longest, in milliseconds.
fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<u128> = times.map(|time| time.as_millis()).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    format!("{median}/{}", times.last().copied().unwrap_or_default())
}
