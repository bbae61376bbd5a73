//! `evidence check`: one proof file against a policy, offline.

use std::path::Path;

use proofmark_evidence::{ProvenResult, check_proof};

use super::read_policy;
use crate::exit::{Done, Exit, Failure};
use crate::files;
use crate::say;

pub fn run(proof: &Path, policy: &Path) -> Done {
    let policy = read_policy(policy)?;
    // A proof that is not even text is a proof that does not check.
    let text = files::read(proof).map_err(|failure| match proof.is_file() {
        true => Failure::new(Exit::Evidence, failure.message),
        false => failure,
    });
    let text = text?.text;
    let proven = check_proof(&text, &policy).map_err(|why| {
        Failure::new(Exit::Evidence, format!("{}: {}: {why}", proof.display(), why.slug()))
    })?;
    print!("{}", statement(&proven));
    Ok(Exit::Ok)
}

/// What the file proves, in the order of the chain: result, agent, log, cosigners.
fn statement(proven: &ProvenResult) -> String {
    let result = &proven.result;
    let mut rows = vec![
        ("result", proven.id.to_string()),
        ("check", format!("{} (spec revision {})", proven.check.check, proven.check.spec_revision)),
        ("target", proven.check.target.clone()),
        ("outcome", result.outcome.slug().to_owned()),
        ("scheduled", say::time(proven.scheduled_at_ms)),
        ("duration", format!("{} us", result.duration_us)),
    ];
    if !result.detail.is_empty() {
        rows.push(("detail", result.detail.clone()));
    }
    rows.push(("agent key", proven.agent_key.key_id().to_string()));
    let checkpoint = &proven.checkpoint;
    rows.push((
        "log",
        format!("{} leaf {} of {}", checkpoint.origin, proven.leaf_index, checkpoint.size),
    ));
    for cosigner in &proven.cosigners {
        let at = say::time(cosigner.timestamp_s.saturating_mul(1000));
        rows.push(("cosigned", format!("{} at {at}", cosigner.name)));
    }
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    say::table(&["PROVEN", ""], &rows)
}
