//! `evidence verify`: a whole log, offline, and the numbers that were served from it.

use std::path::Path;

use proofmark_aggregator::views::model::ObjectiveView;
use proofmark_evidence::{Report, verify_log, verify_log_unpinned};
use proofmark_slo::Replay;
use serde_json::{Value, json};

use super::read_policy;
use super::source::Source;
use crate::args::Output;
use crate::exit::{Done, Exit, Failure};
use crate::files;
use crate::say;

/// What was found, about the log and about the numbers.
struct Verdict {
    report: Report,
    slo: Numbers,
    pinned: bool,
}

/// Served SLO numbers held against recomputed ones.
struct Numbers {
    /// Reports in the log, and served ones, that were recomputed.
    compared: u64,
    mismatches: Vec<String>,
}

pub fn run(log: &str, policy: Option<&Path>, served: Option<&Path>, output: Output) -> Done {
    let source = Source::open(log)?;
    let mut replay = Replay::new();
    let report = match policy {
        Some(path) => verify_log(&source, &read_policy(path)?, &mut replay),
        None => verify_log_unpinned(&source, &mut replay),
    };
    let slo = numbers(&mut replay, served)?;
    let verdict = Verdict { report, slo, pinned: policy.is_some() };
    match output {
        Output::Json => println!("{:#}", as_json(&verdict)),
        Output::Text => print!("{}", as_text(&verdict)),
    }
    let sound = verdict.report.is_sound() && verdict.slo.mismatches.is_empty();
    Ok(if sound { Exit::Ok } else { Exit::Evidence })
}

fn numbers(replay: &mut Replay, served: Option<&Path>) -> Result<Numbers, Failure> {
    let mut numbers = Numbers {
        compared: replay.reports_checked(),
        mismatches: replay.mismatches().iter().map(ToString::to_string).collect(),
    };
    if let Some(path) = served {
        for objective in read_served(path)? {
            numbers.compared += 1;
            numbers.mismatches.extend(compare(replay, &objective));
        }
    }
    Ok(numbers)
}

fn read_served(path: &Path) -> Result<Vec<Value>, Failure> {
    let fault = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let text = files::read(path)?.text;
    match serde_json::from_str(&text).map_err(|why| fault(why.to_string()))? {
        Value::Array(objectives) => Ok(objectives),
        Value::Object(objective) => Ok(vec![Value::Object(objective)]),
        _ => Err(fault("expected what `get slo -o json` prints, got other JSON".into())),
    }
}

/// None when the served objective is what the log's results give at its `as_of_ms`.
fn compare(replay: &mut Replay, served: &Value) -> Option<String> {
    let name = served["name"].as_str().unwrap_or("?").to_owned();
    let as_of_ms = served["as_of_ms"].as_u64().unwrap_or(0);
    let reports = replay.report_at(as_of_ms);
    let recomputed = reports.iter().find(|report| report.slo == name).map(ObjectiveView::of);
    let recomputed = serde_json::to_value(recomputed).unwrap_or(Value::Null);
    (recomputed != *served).then(|| format!("slo {name}: served {served}, recomputed {recomputed}"))
}

fn as_json(verdict: &Verdict) -> Value {
    let report = &verdict.report;
    let agents = report.agents.iter().map(|span| {
        json!({
            "agent": span.agent.as_str(), "epoch": span.epoch, "seq_first": span.seq_first,
            "seq_last": span.seq_last, "batches": span.batches, "results": span.results,
        })
    });
    let faults = report.faults.iter().map(|fault| {
        json!({
            "file": fault.file, "leaf": fault.leaf, "slug": fault.slug,
            "expected": fault.expected, "got": fault.got,
        })
    });
    let cosigners = report
        .cosigners
        .iter()
        .map(|cosigner| json!({"name": cosigner.name, "cosigned_at_s": cosigner.timestamp_s}));
    json!({
        "size": report.size, "root": report.root.to_base64(), "unpublished": report.unpublished,
        "policy": if verdict.pinned { "given" } else { "the log's own" },
        "batches": report.batches, "results": report.results,
        "agents": agents.collect::<Vec<_>>(), "cosigners": cosigners.collect::<Vec<_>>(),
        "faults": faults.collect::<Vec<_>>(), "faults_count": report.faults_count,
        "slo": {"compared": verdict.slo.compared, "mismatches": verdict.slo.mismatches},
    })
}

fn as_text(verdict: &Verdict) -> String {
    let report = &verdict.report;
    let mut text = String::new();
    for fault in &report.faults {
        let leaf = fault.leaf.map_or_else(String::new, |leaf| format!(" leaf {leaf}:"));
        let (file, slug) = (&fault.file, fault.slug);
        text += &format!("{file}:{leaf} {slug}: expected {}, got {}\n", fault.expected, fault.got);
    }
    let unnamed = report.faults_count.saturating_sub(report.faults.len() as u64);
    if unnamed > 0 {
        text += &format!("and {unnamed} more faults\n");
    }
    for mismatch in &verdict.slo.mismatches {
        text += &format!("{mismatch}\n");
    }
    text + &summary(verdict)
}

fn summary(verdict: &Verdict) -> String {
    let report = &verdict.report;
    let sound = report.is_sound() && verdict.slo.mismatches.is_empty();
    let mut text = format!(
        "{}: {} leaves, {} batches, {} results, root {}\n",
        if sound { "sound" } else { "NOT SOUND" },
        report.size,
        report.batches,
        report.results,
        report.root.to_base64()
    );
    for cosigner in &report.cosigners {
        let at = say::time(cosigner.timestamp_s.saturating_mul(1000));
        text += &format!("cosigned by {} at {at}\n", cosigner.name);
    }
    for span in &report.agents {
        let (agent, epoch) = (&span.agent, span.epoch);
        text += &format!(
            "agent {agent} epoch {epoch}: results {} to {}, each once\n",
            span.seq_first, span.seq_last
        );
    }
    text += &format!("{} SLO reports recomputed\n", verdict.slo.compared);
    if report.unpublished > 0 {
        text += &format!("{} leaves are not under a checkpoint yet\n", report.unpublished);
    }
    if !verdict.pinned {
        text += "the policy is the log's own: give --policy to pin keys that you got elsewhere\n";
    }
    text
}
