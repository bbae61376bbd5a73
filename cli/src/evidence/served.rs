//! Numbers that were served, held against the log: each says with how many leaves it was made, and
//! is recomputed when the replay has come to just that leaf. Later leaves may change what is known
//! of that time; they cannot change what was right to say then.

use std::collections::BTreeMap;
use std::path::Path;

use proofmark_aggregator::views::model::ObjectiveView;
use proofmark_evidence::{Header, LeafVisitor, OpenBatch};
use proofmark_slo::Replay;
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::files;

/// The visitor of `verify_log`: feeds a replay, and stops by at every served number's leaf.
pub struct Served {
    replay: Replay,
    /// Not yet compared, by the size of the log they were made from.
    waiting: BTreeMap<u64, Vec<Value>>,
    compared: u64,
    mismatches: Vec<String>,
}

/// What became of all reports in the log and all served numbers.
pub struct Numbers {
    pub compared: u64,
    pub mismatches: Vec<String>,
    /// Served numbers made from more leaves than this log holds: neither right nor wrong here.
    pub not_covered: u64,
}

impl Served {
    /// `file`: what `get slo -o json` printed.
    pub fn new(file: Option<&Path>) -> Result<Served, Failure> {
        let mut waiting: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
        for objective in file.map(read).transpose()?.unwrap_or_default() {
            let size = objective["log_size"].as_u64().unwrap_or(0);
            waiting.entry(size).or_default().push(objective);
        }
        Ok(Served { replay: Replay::new(), waiting, compared: 0, mismatches: Vec::new() })
    }

    /// After the last leaf of a log of `size` leaves.
    pub fn finish(mut self, size: u64) -> Numbers {
        self.compare_at(size);
        let reports = self.replay.mismatches().iter().map(ToString::to_string);
        Numbers {
            compared: self.replay.reports_checked() + self.compared,
            mismatches: reports.chain(self.mismatches).collect(),
            not_covered: self.waiting.values().map(|served| served.len() as u64).sum(),
        }
    }

    /// Compares what was served from the first `size` leaves, which the replay has seen.
    fn compare_at(&mut self, size: u64) {
        for served in self.waiting.remove(&size).unwrap_or_default() {
            self.compared += 1;
            self.mismatches.extend(compare(&mut self.replay, size, &served));
        }
    }
}

impl LeafVisitor for Served {
    fn leaf(&mut self, index: u64, header: &Header, open: Option<&OpenBatch>, payload: &[u8]) {
        self.compare_at(index);
        self.replay.leaf(index, header, open, payload);
    }
}

/// None when the served objective is what the leaves so far give at its `as_of_ms`.
fn compare(replay: &mut Replay, size: u64, served: &Value) -> Option<String> {
    let name = served["name"].as_str().unwrap_or("?").to_owned();
    let as_of_ms = served["as_of_ms"].as_u64().unwrap_or(0);
    let reports = replay.report_at(as_of_ms);
    let recomputed = reports.iter().find(|report| report.slo == name);
    let recomputed = recomputed.map(|report| ObjectiveView::of(report, size));
    let recomputed = serde_json::to_value(recomputed).unwrap_or(Value::Null);
    (recomputed != *served).then(|| format!("slo {name}: served {served}, recomputed {recomputed}"))
}

fn read(path: &Path) -> Result<Vec<Value>, Failure> {
    let wrong = |got: &str| {
        let path = path.display();
        let message = format!("{path}: expected what `get slo -o json` prints, got {got}");
        Failure::new(Exit::Usage, message)
    };
    let text = files::read(path)?.text;
    match serde_json::from_str(&text).map_err(|why| wrong(&why.to_string()))? {
        Value::Array(objectives) if objectives.is_empty() => Err(wrong("no objective")),
        Value::Array(objectives) => Ok(objectives),
        Value::Object(objective) => Ok(vec![Value::Object(objective)]),
        _ => Err(wrong("other JSON")),
    }
}
