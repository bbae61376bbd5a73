//! `aggregator fsck` and `agent fsck`: a stopped program's data directory, judged and not touched.
//!
//! The rooms judge; this prints what they found, what the next start does about it, and what a
//! person does.

use std::path::Path;

use proofmark_agent::fsck as agent;
use proofmark_aggregator::fsck as aggregator;
use serde_json::{Value, json};

use crate::args::Output;
use crate::exit::{Done, Exit, Failure};
use crate::say;

/// A finding of either program, in words.
struct Line {
    file: String,
    offset: Option<u64>,
    slug: String,
    message: String,
    next: &'static str,
    /// The section of OPERATING.md that helps; none when nobody needs to act.
    section: Option<&'static str>,
}

/// A verdict of either program.
struct Verdict {
    lines: Vec<Line>,
    facts: Vec<(&'static str, String)>,
    facts_json: Value,
}

const BROKEN_REPLICA: &str = "One replica is broken";
const BROKEN_AGENT: &str = "An agent's directory is damaged";

/// Judges the replica that the configuration at `config` describes.
pub fn aggregator(config: &Path, output: Output) -> Done {
    let config = crate::aggregator::read(config)?;
    let inspection = aggregator::inspect(&config).map_err(Failure::because(Exit::Storage))?;
    say(&of_replica(&inspection), output)
}

/// Judges the agent that the configuration at `config` describes.
pub fn agent(config: &Path, output: Output) -> Done {
    let config = crate::agent::read(config)?;
    let inspection = agent::inspect(&config.data_dir).map_err(Failure::because(Exit::Storage))?;
    say(&of_agent(&inspection), output)
}

fn say(verdict: &Verdict, output: Output) -> Done {
    match output {
        Output::Json => println!("{:#}", verdict.as_json()),
        Output::Text => print!("{}", verdict.as_text()),
    }
    Ok(if verdict.is_sound() { Exit::Ok } else { Exit::Evidence })
}

impl Verdict {
    fn is_sound(&self) -> bool {
        self.lines.iter().all(|line| line.section.is_none())
    }

    fn as_text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let at = line.offset.map_or_else(String::new, |offset| format!(" byte {offset}:"));
            let Line { file, slug, message, next, .. } = line;
            text += &format!("{file}:{at} {slug}: {message}\n  next start: {next}\n");
            if let Some(section) = line.section {
                text += &format!("  do: OPERATING.md, \"{section}\"\n");
            }
        }
        text += if self.is_sound() { "sound\n" } else { "NOT SOUND\n" };
        let rows: Vec<Vec<String>> =
            self.facts.iter().map(|(name, fact)| vec![(*name).into(), fact.clone()]).collect();
        text + &say::table(&["STORE", "HOLDS"], &rows)
    }

    fn as_json(&self) -> Value {
        let findings = self.lines.iter().map(|line| {
            json!({
                "file": line.file, "offset": line.offset, "slug": line.slug,
                "message": line.message, "next_start": line.next, "operating": line.section,
            })
        });
        let findings: Vec<Value> = findings.collect();
        json!({ "sound": self.is_sound(), "findings": findings, "facts": self.facts_json })
    }
}

fn of_replica(inspection: &aggregator::Inspection) -> Verdict {
    let line = |finding: &aggregator::Finding| {
        let (next, section) = match finding.next {
            aggregator::Next::Mends => ("mends it by itself", None),
            aggregator::Next::LeavesIt => ("goes on and leaves it there", Some(BROKEN_REPLICA)),
            aggregator::Next::Refuses => ("refuses", Some(BROKEN_REPLICA)),
            aggregator::Next::StopsServing => {
                ("finds it, then stops serving or signing", Some(BROKEN_REPLICA))
            }
        };
        let (file, slug) = (finding.file.clone(), finding.slug.clone());
        let (offset, message) = (finding.offset, finding.message.clone());
        Line { file, offset, slug, message, next, section }
    };
    Verdict {
        lines: inspection.findings.iter().map(line).collect(),
        facts: replica_facts(inspection),
        facts_json: replica_json(inspection),
    }
}

fn replica_facts(inspection: &aggregator::Inspection) -> Vec<(&'static str, String)> {
    let none = || "-".to_owned();
    let identity = inspection.identity.as_ref();
    let log = inspection.log.map(|log| {
        format!(
            "entries {} to {}, term {}, committed to {} at least, {} bytes",
            log.first_index, log.last_index, log.term, log.commit, log.bytes
        )
    });
    let evidence = inspection.evidence.map(|evidence| {
        format!("{} leaves published, {} beyond", evidence.published, evidence.unpublished)
    });
    let signed = inspection.signed_size.map(|size| format!("{size} leaves"));
    let tables =
        inspection.tables_applied.map(|applied| format!("the state after entry {applied}"));
    let snapshots = inspection.snapshots.iter().map(u64::to_string).collect::<Vec<_>>();
    let snapshots = (!snapshots.is_empty())
        .then(|| format!("whole ones after entries {}", snapshots.join(" and ")));
    vec![
        ("identity", identity.map_or_else(none, |(node, log)| format!("{node} of {log}"))),
        ("raft", log.unwrap_or_else(none)),
        ("evidence", evidence.unwrap_or_else(none)),
        ("last_signed", signed.unwrap_or_else(none)),
        ("tables", tables.unwrap_or_else(none)),
        ("snapshots", snapshots.unwrap_or_else(none)),
    ]
}

fn replica_json(inspection: &aggregator::Inspection) -> Value {
    json!({
        "node": inspection.identity.as_ref().map(|(node, _)| node),
        "origin": inspection.identity.as_ref().map(|(_, origin)| origin),
        "raft": inspection.log.map(|log| json!({
            "first_index": log.first_index, "last_index": log.last_index, "term": log.term,
            "commit": log.commit, "bytes": log.bytes,
        })),
        "evidence": inspection.evidence.map(|evidence| json!({
            "published": evidence.published, "unpublished": evidence.unpublished,
        })),
        "signed_size": inspection.signed_size,
        "tables_applied": inspection.tables_applied,
        "snapshots": inspection.snapshots,
    })
}

fn of_agent(inspection: &agent::Inspection) -> Verdict {
    let line = |finding: &agent::Finding| {
        let (next, section) = match finding.next {
            agent::Next::Mends => ("mends it by itself", None),
            agent::Next::SetsAside => {
                ("sets it aside and reports what is lost as spool_damaged", Some(BROKEN_AGENT))
            }
            agent::Next::Refuses => ("refuses", Some(BROKEN_AGENT)),
        };
        let (file, slug) = (finding.file.clone(), finding.slug.clone());
        let (offset, message) = (finding.offset, finding.message.clone());
        Line { file, offset, slug, message, next, section }
    };
    Verdict {
        lines: inspection.findings.iter().map(line).collect(),
        facts: agent_facts(inspection),
        facts_json: agent_json(inspection),
    }
}

fn agent_facts(inspection: &agent::Inspection) -> Vec<(&'static str, String)> {
    let identity = inspection.identity.as_ref();
    let identity = identity.map(|(agent, epoch)| format!("{agent}, epoch {epoch}"));
    let held = inspection.spool;
    let end = held.end.map_or_else(
        || "no batch".to_owned(),
        |(epoch, seq_end)| {
            format!("{} batches, up to epoch {epoch} number {seq_end}", held.batches)
        },
    );
    let aside = match held.damaged_files {
        0 => String::new(),
        files => format!(", {files} files set aside before"),
    };
    vec![
        ("identity", identity.unwrap_or_else(|| "not enrolled".to_owned())),
        ("spool", format!("{end}, {} bytes in {} segments{aside}", held.bytes, held.segments)),
    ]
}

fn agent_json(inspection: &agent::Inspection) -> Value {
    let held = inspection.spool;
    json!({
        "agent": inspection.identity.as_ref().map(|(agent, _)| agent),
        "epoch": inspection.identity.as_ref().map(|(_, epoch)| epoch),
        "spool": {
            "segments": held.segments, "batches": held.batches, "bytes": held.bytes,
            "epoch": held.end.map(|(epoch, _)| epoch), "seq_end": held.end.map(|(_, end)| end),
            "damaged_files": held.damaged_files,
        },
    })
}
