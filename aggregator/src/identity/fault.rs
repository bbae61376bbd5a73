//! What can be wrong with this node's identity. Each names the file or the certificate.

use std::path::PathBuf;

/// For the operator of this node: nothing here heals by itself.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    #[error("{}: expected no identity yet, got one: a node is created once", path.display())]
    Exists { path: PathBuf },
    #[error("{}: expected this node's identity, got nothing: run init first", path.display())]
    Missing { path: PathBuf },
    #[error("{}: expected mode 0600, got {mode:04o}: its keys may be known", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{}: expected {expected}, got {got}", path.display())]
    Malformed { path: PathBuf, expected: &'static str, got: String },
    #[error("{what}: expected {expected}, got {got}")]
    Plan { what: &'static str, expected: &'static str, got: String },
    #[error("{0}")]
    Request(rcgen::Error),
    #[error("making a certificate: {0}")]
    Certificate(rcgen::Error),
    #[error("certificate: expected {expected}, got {got}")]
    Caller { expected: &'static str, got: String },
    #[error("TLS settings: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the system's random generator failed")]
    Random,
}
