//! What the tests of several modules need: checks from a line of YAML; small servers in
//! [`servers`].

pub(crate) mod servers;

use std::sync::Arc;

use proofmark_evidence::CheckName;
use proofmark_spec::{Check, Source};

use crate::schedule::Planned;

/// A check named `test` with this timeout and probe, the latter in flow style.
pub(crate) fn check(timeout: &str, probe: &str) -> Check {
    parse(&document("test", "1h", Some(timeout), probe))
}

pub(crate) fn document(name: &str, interval: &str, timeout: Option<&str>, probe: &str) -> String {
    let timeout = timeout.map_or(String::new(), |timeout| format!("  timeout: {timeout}\n"));
    format!(
        "apiVersion: proofmark/v1\nkind: Check\nmetadata:\n  name: {name}\nspec:\n  \
         interval: {interval}\n{timeout}  probe:\n    {probe}\n"
    )
}

pub(crate) fn planned_every(name: &str, interval_ms: u64) -> Arc<Planned> {
    planned(name, 1, interval_ms)
}

pub(crate) fn planned(name: &str, revision: u64, interval_ms: u64) -> Arc<Planned> {
    let interval = format!("{}s", interval_ms / 1_000);
    let check = parse(&document(name, &interval, None, "tcp: {address: '127.0.0.1:1'}"));
    let name = CheckName::parse(name).expect("a label");
    Arc::new(Planned { name, revision, check })
}

pub(crate) fn planned_with_target(name: &str, path: &str) -> Arc<Planned> {
    let check = parse(&document(name, "60s", None, &format!("files: {{path: /{path}}}")));
    let name = CheckName::parse(name).expect("a label");
    Arc::new(Planned { name, revision: 1, check })
}

fn parse(text: &str) -> Check {
    let parsed = proofmark_spec::parse(&[Source { file: "test.yaml", text }]);
    let mut documents = parsed.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    documents.checks.remove(0)
}
