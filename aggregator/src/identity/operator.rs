//! The operator's side of mutual TLS: what the command line needs to ask an aggregator for changes.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use serde::{Deserialize, Serialize};

use super::authority::CertAndKey;
use super::fault::IdentityFault;
use super::{files, tls};

/// File name under the `identity/` directory where the cluster was created.
pub const OPERATOR_FILE: &str = "operator.json";

/// An operator's client certificate and the CA it believes. Whoever holds the file is an operator.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorIdentity {
    pub(super) version: u32,
    pub(super) name: String,
    pub(super) ca_pem: String,
    pub(super) own: CertAndKey,
}

impl OperatorIdentity {
    /// Reads `operator.json` itself, or the one inside the directory `path`.
    pub fn load(path: &Path) -> Result<OperatorIdentity, IdentityFault> {
        match path.is_dir() {
            true => files::read_secret(&path.join(OPERATOR_FILE)),
            false => files::read_secret(path),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// For connections to the agent port. Verify the server as
    /// [`proofmark_proto::GATEWAY_DNS_NAME`].
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, IdentityFault> {
        tls::client_config(&self.own, &self.ca_pem)
    }
}
