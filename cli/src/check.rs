//! `check run FILE`: the checks of a spec file, once, here, without a server. What it prints is
//! what an agent would sign.

use std::path::Path;

use proofmark_agent::{Observation, run_check_once};
use proofmark_evidence::Outcome;
use proofmark_spec::{Check, Source, parse};
use serde_json::{Value, json};

use crate::args::Output;
use crate::exit::{Done, Exit, Failure};
use crate::files;
use crate::say;

pub fn run(file: &Path, name: Option<&str>, output: Output) -> Done {
    let file = files::read(file)?;
    let documents = parse(&[Source { file: &file.name, text: &file.text }])
        .map_err(|faults| Failure::new(Exit::Usage, faults.to_lines().join("\n")))?;
    let chosen: Vec<&Check> = documents
        .checks
        .iter()
        .filter(|check| name.is_none_or(|name| check.name == name))
        .collect();
    if chosen.is_empty() {
        let wanted = name.unwrap_or("any");
        let message = format!("{}: expected a check named {wanted}, got none", file.name);
        return Err(Failure::new(Exit::Usage, message));
    }
    let seen = observe(&chosen)?;
    match output {
        Output::Json => println!("{:#}", Value::Array(seen.iter().map(as_json).collect())),
        Output::Text => print!("{}", as_text(&seen)),
    }
    Ok(verdict(&seen))
}

struct Seen<'a> {
    check: &'a Check,
    observation: Observation,
}

/// One after the other, as a person reads them.
fn observe<'a>(checks: &[&'a Check]) -> Result<Vec<Seen<'a>>, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(Failure::because(Exit::Storage))?;
    let run = |check: &&'a Check| {
        let observation = runtime.block_on(run_check_once(check));
        Seen { check, observation }
    };
    Ok(checks.iter().map(run).collect())
}

/// A failure outweighs what could not be told.
fn verdict(seen: &[Seen<'_>]) -> Exit {
    let any = |is: fn(&Outcome) -> bool| seen.iter().any(|seen| is(&seen.observation.outcome));
    if any(|outcome| matches!(outcome, Outcome::Fail(_))) {
        return Exit::Failed;
    }
    if any(|outcome| matches!(outcome, Outcome::Unknown(_))) { Exit::Unknown } else { Exit::Ok }
}

fn as_json(seen: &Seen<'_>) -> Value {
    let observation = &seen.observation;
    let measurements: serde_json::Map<String, Value> = observation
        .measurements
        .iter()
        .map(|measurement| (measurement.kind.slug().to_owned(), measurement.value.into()))
        .collect();
    json!({
        "check": seen.check.name.as_str(), "kind": seen.check.probe.kind(),
        "target": seen.check.probe.target(), "outcome": observation.outcome.slug(),
        "duration_us": observation.duration_us, "measurements": measurements,
        "detail": observation.detail,
    })
}

fn as_text(seen: &[Seen<'_>]) -> String {
    let rows = seen.iter().map(|seen| {
        let observation = &seen.observation;
        let measured = observation.measurements.iter();
        let measured = measured.map(|one| format!("{}={}", one.kind.slug(), one.value));
        vec![
            seen.check.name.to_string(),
            observation.outcome.slug().to_owned(),
            format!("{} us", observation.duration_us),
            observation.detail.clone(),
            measured.collect::<Vec<_>>().join(" "),
        ]
    });
    say::table(&["CHECK", "OUTCOME", "DURATION", "DETAIL", "MEASURED"], &rows.collect::<Vec<_>>())
}
