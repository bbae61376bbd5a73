//! What the agents of a long run do: checks at 1 s against the run's own server, and an objective
//! over each agent.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// HTTP and TCP checks in turn, run by these agents only.
pub fn specs(target: SocketAddr, checks: usize, agents: &[&str]) -> String {
    let mut text = String::new();
    let runners = agents.join(", ");
    let names: Vec<String> = (0..checks).map(check_name).collect();
    for (at, name) in names.iter().enumerate() {
        let probe = match at % 2 {
            0 => format!("{{http: {{url: \"http://{target}/{at}\"}}}}"),
            _ => format!("{{tcp: {{address: \"{target}\"}}}}"),
        };
        let written = writeln!(
            text,
            "apiVersion: proofmark/v1\nkind: Check\nmetadata: {{name: {name}}}\nspec: {{interval: \
             1s, timeout: 900ms, agents: [{runners}], probe: {probe}}}\n---"
        );
        written.expect("a String takes every write");
    }
    text.push_str("apiVersion: openslo/v1\nkind: Service\nmetadata: {name: local}\nspec: {}\n");
    let checks = names.join(", ");
    agents.iter().for_each(|agent| text += &objective(agent, &checks));
    text
}

/// The name of check number `at`.
pub fn check_name(at: usize) -> String {
    format!("check-{at}")
}

fn objective(agent: &str, checks: &str) -> String {
    let source = |more: &str| {
        format!(
            "{{metricSource: {{type: proofmark, spec: {{checks: [{checks}], agents: \
             [{agent}]{more}}}}}}}"
        )
    };
    format!(
        "---\napiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: {agent}}}\nspec:\n  service: \
         local\n  indicator:\n    metadata: {{name: {agent}-passes}}\n    spec:\n      \
         ratioMetric:\n        counter: true\n        good: {}\n        total: {}\n  \
         budgetingMethod: Occurrences\n  timeWindow: [{{duration: 1h, isRolling: true}}]\n  \
         objectives: [{{target: 0.99}}]\n",
        source(", outcome: pass"),
        source("")
    )
}
