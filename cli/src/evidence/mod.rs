//! `proofmark evidence`: the auditor's verbs. They need files, never a running aggregator.

mod check;
mod prove;
mod served;
mod source;
mod verify;

use std::path::Path;

use proofmark_evidence::Policy;

use crate::args::EvidenceVerb;
use crate::exit::{Done, Exit, Failure};
use crate::files;

pub fn run(verb: &EvidenceVerb) -> Done {
    match verb {
        EvidenceVerb::Verify { log, policy, served, output } => {
            verify::run(log, policy.as_deref(), served.as_deref(), *output)
        }
        EvidenceVerb::Prove { result, log, output } => prove::run(result, log, output.as_deref()),
        EvidenceVerb::Check { proof, policy } => check::run(proof, policy),
    }
}

/// A C2SP tlog-policy file: which keys must have signed.
fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let file = files::read(path)?;
    Policy::parse(&file.text)
        .map_err(|why| Failure::new(Exit::Usage, format!("{}: {why}", file.name)))
}
