//! Why an agent has no identity, sorted by who must act.

use std::io;
use std::path::PathBuf;

use proofmark_evidence::{AgentName, Hash};

#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    // The agent's owner: this directory, this config.
    #[error("{}: expected an enrolment or a join token, got neither", path.display())]
    Missing { path: PathBuf },
    #[error("agent name: expected {expected} as configured, got {got} as enrolled")]
    OtherAgent { expected: AgentName, got: AgentName },
    #[error("{}: expected mode 0600, got {mode:04o}: this key may be known", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: expected {expected}, got {got}", path.display())]
    Malformed { path: PathBuf, expected: &'static str, got: String },
    #[error("aggregators: expected at least one address in the config or the token, got none")]
    NoAddress,

    // Whoever gave out the token.
    #[error("{slug}: expected {expected}, got {got}")]
    Refused { slug: String, expected: String, got: String },

    #[error("wrong_ca: at {address}: expected a CA with SHA-256 {expected}, got {got}")]
    WrongCa { address: String, expected: Hash, got: Hash },

    // The network, or who answers on it: tried again by whoever restarts the agent.
    #[error("enrolling at {address}: {why}")]
    Unreachable { address: String, why: String },
    #[error("enrolling at {address}: expected {expected}, got {got}")]
    BadReply { address: String, expected: &'static str, got: String },

    #[error("making a TLS key: {0}")]
    Key(rcgen::Error),
    #[error("TLS settings: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the system's random generator failed")]
    Random,
}

impl IdentityFault {
    /// The stable word for logs; a refusal keeps the aggregator's.
    pub fn slug(&self) -> &str {
        match self {
            Self::Missing { .. } => "identity_missing",
            Self::OtherAgent { .. } => "identity_other_agent",
            Self::Exposed { .. } => "identity_exposed",
            Self::File { .. } => "identity_file",
            Self::Malformed { .. } => "identity_malformed",
            Self::NoAddress => "enrol_no_address",
            Self::Refused { slug, .. } => slug,
            Self::WrongCa { .. } => "wrong_ca",
            Self::Unreachable { .. } => "enrol_unreachable",
            Self::BadReply { .. } => "enrol_bad_reply",
            Self::Key(_) => "identity_key",
            Self::Tls(_) => "identity_tls",
            Self::Random => "identity_random",
        }
    }
}
