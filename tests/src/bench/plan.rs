//! What is asked of a run: its flags.

/// One run of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Measured time, after the warm-up.
    pub seconds: u64,
    pub warm_up_s: u64,
    /// Time between enrolment and the first batch: so many seconds of results wait, as after an
    /// outage, and are new to the objectives when they come.
    pub backlog_s: u64,
    /// Load agents, each with an identity and a stream of its own, spread over the replicas.
    pub agents: usize,
    /// Results in each batch.
    pub results: usize,
    /// Checks that each agent runs at 1 s. So many results a second are new to the objectives
    /// for each agent; what an agent sends beyond that repeats an instant.
    pub checks: usize,
    /// Batches sent and not yet acknowledged, for each agent.
    pub in_flight: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            seconds: 20,
            warm_up_s: 5,
            backlog_s: 0,
            agents: 8,
            results: 100,
            checks: 900,
            in_flight: 8,
        }
    }
}

pub const USAGE: &str = "cargo xtask bench ingest [--seconds N=20] [--agents N=8] \
    [--results N=100] [--checks N=900] [--in-flight N=8] [--warm-up N=5] \
    [--backlog N=0]";

impl Plan {
    /// Reads flags with their values.
    pub fn parse(args: &[String]) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for pair in args.chunks(2) {
            let [flag, value] = pair else { return Err(format!("{pair:?}: {USAGE}")) };
            let number: u64 = value.parse().map_err(|_| format!("{flag} {value}: {USAGE}"))?;
            match flag.as_str() {
                "--seconds" => plan.seconds = within(flag, number, 1, 3_600)?,
                "--warm-up" => plan.warm_up_s = within(flag, number, 1, 600)?,
                "--backlog" => plan.backlog_s = within(flag, number, 0, 3_600)?,
                "--agents" => plan.agents = within(flag, number, 1, 500)? as usize,
                "--results" => plan.results = within(flag, number, 1, 4_096)? as usize,
                "--checks" => plan.checks = within(flag, number, 1, 900)? as usize,
                "--in-flight" => plan.in_flight = within(flag, number, 1, 8)? as usize,
                _ => return Err(format!("{flag}: {USAGE}")),
            }
        }
        Ok(plan)
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

    fn parse(line: &str) -> Result<Plan, String> {
        Plan::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_change_the_default() {
        assert_eq!(parse(""), Ok(Plan::default()));
        let changed = Plan { seconds: 5, agents: 2, ..Plan::default() };
        assert_eq!(parse("--seconds 5 --agents 2"), Ok(changed));
    }

    #[test]
    fn wrong_flags_are_named() {
        for (line, expect) in [
            ("--agents 0", "--agents: expected 1 to 500, got 0"),
            ("--in-flight 9", "--in-flight: expected 1 to 8, got 9"),
            ("--seconds x", "--seconds x: cargo xtask"),
            ("--seconds", "cargo xtask"),
            ("--speed 9", "--speed: cargo xtask"),
        ] {
            let got = parse(line).expect_err(line);
            assert!(got.contains(expect), "{line}: {got}");
        }
    }
}
