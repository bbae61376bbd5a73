//! `evidence verify`: a whole log, offline, and the numbers that were served from it.

use std::path::Path;

use proofmark_evidence::{Report, verify_log, verify_log_unpinned};
use serde_json::{Value, json};

use super::read_policy;
use super::served::{Numbers, Served};
use super::source::Source;
use crate::args::Output;
use crate::exit::{Done, Exit};
use crate::say;

/// What was found, about the log and about the numbers.
struct Verdict {
    report: Report,
    slo: Numbers,
    pinned: bool,
    /// How to end when the log could not be read, which is no verdict.
    unreadable: Exit,
}

/// What to do about a log that could not be read to its end: ask again, or look at the disk.
fn unreadable(log: &str) -> Exit {
    if Source::is_url(log) { Exit::Unavailable } else { Exit::Storage }
}

pub fn run(log: &str, policy: Option<&Path>, served: Option<&Path>, output: Output) -> Done {
    let source = Source::open(log)?;
    let mut served = Served::new(served)?;
    let report = match policy {
        Some(path) => verify_log(&source, &read_policy(path)?, &mut served),
        None => verify_log_unpinned(&source, &mut served),
    };
    let slo = served.finish(report.size);
    let verdict = Verdict { report, slo, pinned: policy.is_some(), unreadable: unreadable(log) };
    match output {
        Output::Json => println!("{:#}", as_json(&verdict)),
        Output::Text => print!("{}", as_text(&verdict)),
    }
    Ok(verdict.exit())
}

impl Verdict {
    fn is_sound(&self) -> bool {
        self.report.is_sound() && self.slo.mismatches.is_empty()
    }

    /// A served number that is newer than this copy can be judged by a newer copy.
    fn exit(&self) -> Exit {
        match self.is_sound() {
            false if self.report.unreadable => self.unreadable,
            false => Exit::Evidence,
            true if self.slo.not_covered > 0 => Exit::Unavailable,
            true => Exit::Ok,
        }
    }
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
        "slo": {
            "compared": verdict.slo.compared, "mismatches": verdict.slo.mismatches,
            "not_covered": verdict.slo.not_covered,
        },
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
    let mut text = format!(
        "{}: {} leaves, {} batches, {} results, root {}\n",
        if verdict.is_sound() { "sound" } else { "NOT SOUND" },
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
    if verdict.slo.not_covered > 0 {
        let count = verdict.slo.not_covered;
        text +=
            &format!("{count} served numbers are newer than this copy of the log: copy again\n");
    }
    if report.unpublished > 0 {
        text += &format!("{} leaves are not under a checkpoint yet\n", report.unpublished);
    }
    if !verdict.pinned {
        text += "the policy is the log's own: give --policy to pin keys that you got elsewhere\n";
    }
    text
}
