//! What is asked of a run: its regime, and flags that change it.

/// How a fleet behaves. Each is a default of all other flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// Agents that catch up: 3,000 results in a batch of about 64 KiB.
    Large,
    /// A thousand agents that report ten results at a time.
    Fleet,
    /// The same fleet among ten thousand connections of agents.
    Crowd,
}

impl Regime {
    pub const ALL: [Regime; 3] = [Regime::Large, Regime::Fleet, Regime::Crowd];

    pub fn name(self) -> &'static str {
        match self {
            Regime::Large => "large",
            Regime::Fleet => "fleet",
            Regime::Crowd => "crowd",
        }
    }

    /// Size of the values that etcd puts beside it, in bytes, and how many at a time.
    pub fn etcd_puts(self) -> (usize, usize) {
        match self {
            Regime::Large => (64 * 1_024, 32),
            Regime::Fleet | Regime::Crowd => (256, 200),
        }
    }
}

/// An agent needs a token to enrol, and a cluster keeps so many.
const AGENTS_MAX: u64 = 1_000;

/// One run of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub regime: Regime,
    /// Measured time at capacity, after the warm-up; and again at half of what that found.
    pub seconds: u64,
    pub warm_up_s: u64,
    /// Time between enrolment and the first batch: so many seconds of results wait, as after an
    /// outage, and are new to the objectives when they come.
    pub backlog_s: u64,
    /// Agents that send, each with an identity and a stream of its own, spread over the replicas.
    pub agents: usize,
    /// Connections of theirs besides, that say nothing.
    pub idle: usize,
    /// Results in each batch.
    pub results: usize,
    /// Checks that each agent runs at 1 s. So many results a second are new to the objectives
    /// for each agent; what an agent sends beyond that repeats an instant.
    pub checks: usize,
    /// Batches sent and not yet acknowledged, for each agent.
    pub in_flight: usize,
    /// Batches each agent has signed before the first is sent: signing is not what is measured.
    pub signed_ahead: usize,
    /// Seconds of etcd's puts before and after.
    pub etcd_s: u64,
}

impl From<Regime> for Plan {
    fn from(regime: Regime) -> Plan {
        let fleet = Plan {
            regime,
            seconds: 12,
            warm_up_s: 5,
            backlog_s: 20,
            agents: 1_000,
            idle: 0,
            results: 10,
            checks: 100,
            in_flight: 2,
            signed_ahead: 0,
            etcd_s: 6,
        };
        match regime {
            Regime::Large => Plan {
                backlog_s: 40,
                agents: 100,
                results: 3_000,
                checks: 900,
                signed_ahead: 60,
                ..fleet
            },
            Regime::Fleet => fleet,
            Regime::Crowd => Plan { idle: 9_000, checks: 10, ..fleet },
        }
    }
}

pub const USAGE: &str = "cargo xtask bench ingest [large|fleet|crowd] [--seconds N] [--agents N] \
    [--idle N] [--results N] [--checks N] [--in-flight N] [--warm-up N] [--backlog N] \
    [--signed-ahead N] [--etcd N]
cargo xtask bench failover [--kills N=30]
cargo xtask bench idle [--seconds N=20]
cargo xtask bench overload [--seconds N=15]";

impl Plan {
    /// Reads the regimes to run, all when none is named, with flags that hold for each.
    pub fn parse(args: &[String]) -> Result<Vec<Plan>, String> {
        let named = Regime::ALL
            .into_iter()
            .find(|regime| args.first().is_some_and(|first| first == regime.name()));
        let flags = &args[usize::from(named.is_some())..];
        let regimes = named.map_or(Regime::ALL.to_vec(), |regime| vec![regime]);
        regimes.into_iter().map(|regime| Plan::from(regime).with(flags)).collect()
    }

    fn with(self, flags: &[String]) -> Result<Plan, String> {
        let mut plan = self;
        for pair in flags.chunks(2) {
            let [flag, value] = pair else { return Err(format!("{pair:?}: {USAGE}")) };
            let number: u64 = value.parse().map_err(|_| format!("{flag} {value}: {USAGE}"))?;
            match flag.as_str() {
                "--seconds" => plan.seconds = within(flag, number, 1, 3_600)?,
                "--warm-up" => plan.warm_up_s = within(flag, number, 1, 600)?,
                "--backlog" => plan.backlog_s = within(flag, number, 0, 3_600)?,
                "--agents" => plan.agents = within(flag, number, 1, AGENTS_MAX)? as usize,
                "--idle" => plan.idle = within(flag, number, 0, 9_999)? as usize,
                "--results" => plan.results = within(flag, number, 1, 4_096)? as usize,
                "--checks" => plan.checks = within(flag, number, 1, 900)? as usize,
                "--in-flight" => plan.in_flight = within(flag, number, 1, 8)? as usize,
                "--signed-ahead" => plan.signed_ahead = within(flag, number, 0, 1_000)? as usize,
                "--etcd" => plan.etcd_s = within(flag, number, 0, 600)?,
                _ => return Err(format!("{flag}: {USAGE}")),
            }
        }
        Ok(plan)
    }
}

/// The only flag of a benchmark that has one; `default` without it.
pub fn parse_one(args: &[String], name: &str, default: u64, max: u64) -> Result<u64, String> {
    match args {
        [] => Ok(default),
        [flag, value] if flag == name => {
            let number = value.parse().map_err(|_| format!("{flag} {value}: {USAGE}"))?;
            within(flag, number, 1, max)
        }
        _ => Err(format!("{args:?}: {USAGE}")),
    }
}

fn within(flag: &str, number: u64, min: u64, max: u64) -> Result<u64, String> {
    match (min..=max).contains(&number) {
        true => Ok(number),
        false => Err(format!("{flag}: expected {min} to {max}, got {number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Vec<Plan>, String> {
        Plan::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_change_the_default() {
        assert_eq!(parse(""), Ok(Regime::ALL.map(Plan::from).to_vec()));
        assert_eq!(parse("fleet"), Ok(vec![Plan::from(Regime::Fleet)]));
        let changed = Plan { seconds: 5, agents: 2, ..Plan::from(Regime::Large) };
        assert_eq!(parse("large --seconds 5 --agents 2"), Ok(vec![changed]));
    }

    #[test]
    fn wrong_flags_are_named() {
        for (line, expect) in [
            ("--agents 0", "--agents: expected 1 to 1000, got 0"),
            ("fleet --in-flight 9", "--in-flight: expected 1 to 8, got 9"),
            ("--seconds x", "--seconds x: cargo xtask"),
            ("--seconds", "cargo xtask"),
            ("huge --speed 9", "cargo xtask"),
        ] {
            let got = parse(line).expect_err(line);
            assert!(got.contains(expect), "{line}: {got}");
        }
    }
}
