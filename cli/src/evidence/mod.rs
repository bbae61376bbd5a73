//! `proofmark evidence`: the auditor's verbs. They need files, never a running aggregator.

mod check;
mod prove;
mod source;
mod verify;

use std::path::Path;

use proofmark_evidence::Policy;

use crate::args::EvidenceVerb;
use crate::exit::{Done, Exit, Failure};

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
    let fault = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|why| fault(why.to_string()))?;
    Policy::parse(&text).map_err(|why| fault(why.to_string()))
}
