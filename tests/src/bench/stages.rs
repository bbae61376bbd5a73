//! Which stage of a result's way a thread works for.

use std::collections::BTreeMap;

use super::cpu::Used;

/// Stage names as the table prints them, in the order of a result's way.
const STAGES: [(&str, &str); 9] = [
    ("network", "TLS, gRPC, streams, forwarding, HTTP (async workers)"),
    ("admission", "signature, roots, strict decoding (blocking threads)"),
    ("raft", "Raft itself, packing entries"),
    ("raft-log", "append and flush of the Raft log"),
    ("apply", "state: dedupe, objectives, views"),
    ("recorder", "evidence: Merkle tree, tiles, index, signatures"),
    ("main", "the first thread"),
    ("ended", "threads that ended meanwhile"),
    ("other", "all others"),
];

/// CPU seconds by stage.
#[derive(Default)]
pub(super) struct Stages {
    by_stage: BTreeMap<&'static str, f64>,
    /// Names of threads no stage is known for.
    pub(super) unknown: BTreeMap<String, f64>,
}

impl Stages {
    /// Adds one replica's threads. Tokio gives all its threads one name; the oldest, as many as
    /// the machine has cores, are the async workers, the younger ones serve blocking work.
    pub(super) fn add(&mut self, used: &[Used], workers: usize) {
        for thread in used {
            let stage = stage_of(&thread.name, thread.nth < workers);
            *self.by_stage.entry(stage).or_default() += thread.cpu_s;
            if stage == "other" && thread.cpu_s > 0.0 {
                *self.unknown.entry(thread.name.clone()).or_default() += thread.cpu_s;
            }
        }
    }

    /// Stage, what it does, CPU seconds; those that used none are left out.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
        let row = |(stage, does): (&'static str, &'static str)| {
            let cpu_s = self.by_stage.get(stage).copied().unwrap_or(0.0);
            (cpu_s > 0.0).then_some((stage, does, cpu_s))
        };
        STAGES.into_iter().filter_map(row)
    }

    pub(super) fn total(&self) -> f64 {
        self.by_stage.values().sum()
    }
}

fn stage_of(name: &str, is_worker: bool) -> &'static str {
    match name {
        _ if name.starts_with("tokio-r") && is_worker => "network",
        _ if name.starts_with("tokio-r") => "admission",
        "proofmark" => "main",
        _ => STAGES.iter().map(|(stage, _)| *stage).find(|stage| *stage == name).unwrap_or("other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_put_where_they_work() {
        let check = |name, is_worker, expect| assert_eq!(stage_of(name, is_worker), expect);
        check("tokio-rt-worker", true, "network");
        check("tokio-rt-worker", false, "admission");
        check("raft-log", true, "raft-log");
        check("recorder", true, "recorder");
        check("proofmark", true, "main");
        check("sled-io-0", true, "other");
    }
}
