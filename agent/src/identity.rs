//! Who this agent is: its keys, made here and never leaving; what enrolment brought back.
//!
//! On disk, under `identity/` in the agent's data directory, all mode 0600:
//!
//! | file | what |
//! |---|---|
//! | `signing.key` | Ed25519 seed: signs batches |
//! | `tls.key.pem` | the separate TLS key |
//! | `certificate.pem` | the TLS certificate and the CA that issued it and every aggregator's |
//! | `policy` | C2SP tlog-policy: whose signatures make a checkpoint believable |
//! | `enrolment` | name, epoch, origin, addresses; written last: without it nothing is enrolled |
//!
//! Keys are made before the first request and kept through failed ones, so an enrolment whose
//! answer was lost is asked again with the same key, and gets the same epoch.

mod enrol; // a token becomes a certificate
mod fault; // what can be wrong, and who must act
mod files; // the table above
mod tls; // rustls settings: pinned before enrolment, mutual after

use std::path::Path;
use std::sync::Arc;

use proofmark_evidence::{AgentName, Hash, KeyId, Origin, Policy, SigningKey};
use rustls::ClientConfig;

use crate::clock::Clock;
use crate::limits::{CERTIFICATE_LOOK_MS, CERTIFICATE_WARN_DAYS};
use crate::uplink::wait;

pub use fault::IdentityFault;
pub use proofmark_proto::{JoinToken, TokenFault};

use files::{Directory, Enrolled};

/// What an agent needs to find itself, or to become somebody.
#[derive(Clone, Debug)]
pub struct IdentityConfig<'a> {
    /// The agent's data directory; keys lie in `identity/` below it.
    pub data_dir: &'a Path,
    pub agent: &'a AgentName,
    /// `host:port` of aggregators; together with the token's own.
    pub aggregators: &'a [String],
    /// Only used while the directory holds no enrolment.
    pub token: Option<&'a JoinToken>,
}

/// One life of an agent. Its epoch ends only when an operator retires it.
pub struct Identity {
    pub agent: AgentName,
    /// From 1; sequence numbers start at 1 in each.
    pub epoch: u64,
    /// The log this agent reports to; its hash stands in every batch.
    pub origin: Origin,
    pub signing_key: SigningKey,
    /// As of the start; the uplink follows its roll-overs.
    pub policy: Policy,
    /// `host:port` of aggregators as told last before the start.
    pub addresses: Vec<String>,
    tls: Arc<ClientConfig>,
    directory: Directory,
    /// Unix time in seconds, if the certificate can be read for it.
    certificate_end_s: Option<i64>,
}

impl Identity {
    /// The identity in the data directory; enrols with the token when there is none yet.
    pub async fn load_or_enrol(
        config: &IdentityConfig<'_>,
        clock: &Clock,
    ) -> Result<Identity, IdentityFault> {
        let directory = Directory::open(config.data_dir)?;
        if let Some(enrolled) = directory.enrolled()? {
            let keys = directory.enrolled_keys()?;
            return Identity::new(config.agent, directory, keys, enrolled);
        }
        let keys = directory.keys()?;
        let token = config.token.ok_or_else(|| directory.missing())?;
        // Boxed: once in a life, and large, it must not grow every caller's future.
        let enrolled = Box::pin(enrol::enrol(config, token, &keys, clock)).await?;
        directory.store(&enrolled)?;
        Identity::new(config.agent, directory, keys, enrolled)
    }

    /// Whether the data directory holds an enrolment: then a start needs no token.
    pub fn is_enrolled(data_dir: &Path) -> bool {
        let held = Directory::open(data_dir).and_then(|directory| directory.enrolled());
        matches!(held, Ok(Some(_)))
    }

    /// Who lives in the data directory, if anybody enrolled there. Makes nothing.
    fn look(data_dir: &Path) -> Result<Option<Identity>, IdentityFault> {
        let directory = Directory::at(data_dir);
        let Some(enrolled) = directory.enrolled()? else { return Ok(None) };
        let keys = directory.enrolled_keys()?;
        Identity::new(&enrolled.agent.clone(), directory, keys, enrolled).map(Some)
    }

    fn new(
        agent: &AgentName,
        directory: Directory,
        keys: files::Keys,
        enrolled: Enrolled,
    ) -> Result<Identity, IdentityFault> {
        if enrolled.agent != *agent {
            let (expected, got) = (agent.clone(), enrolled.agent);
            return Err(IdentityFault::OtherAgent { expected, got });
        }
        Ok(Identity {
            tls: tls::mutual(&enrolled.certificate_pem, &keys.tls_key_pem)?,
            certificate_end_s: tls::not_after_s(&enrolled.certificate_pem),
            agent: enrolled.agent,
            epoch: enrolled.epoch,
            origin: enrolled.origin,
            signing_key: keys.signing,
            policy: enrolled.policy,
            addresses: enrolled.addresses,
            directory,
        })
    }

    /// SHA-256 of the origin, as batch headers carry it.
    pub fn log_id(&self) -> Hash {
        self.origin.log_id()
    }

    /// Makes the policy that follows from this one durable, for the next start.
    pub(crate) fn keep_policy(&self, policy: &Policy) -> Result<(), IdentityFault> {
        self.directory.store_policy(policy)
    }

    /// Makes the aggregators' addresses of now durable, for the next start.
    pub(crate) fn keep_addresses(&self, addresses: &[String]) -> Result<(), IdentityFault> {
        self.directory.store_addresses(addresses)
    }

    /// TLS settings for the uplink: shows this agent's certificate, believes the enrolled CA only.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }
}

/// TLS settings of a caller without a certificate that believes the CA of this hash alone; for a
/// program that joins a cluster by a token.
pub fn pinned_tls(ca_sha256: Hash) -> Result<Arc<ClientConfig>, rustls::Error> {
    tls::pinned(ca_sha256)
}

/// The CA that answered instead of the pinned one, when that is why there is no connection.
pub fn wrong_ca(fault: &crate::uplink::DialFault) -> Option<Hash> {
    tls::wrong_ca(fault)
}

/// As [`Identity::load_or_enrol`] would find it. Changes nothing.
pub(crate) fn look(data_dir: &Path) -> Result<Option<Identity>, IdentityFault> {
    Identity::look(data_dir)
}

/// The signing key is not the one that signed the spool of this very life: it was changed.
pub(crate) fn other_key(data_dir: &Path, expected: KeyId, got: KeyId) -> IdentityFault {
    Directory::at(data_dir).other_key(expected, got)
}

/// A certificate that ends takes the agent off the air: says so in time, and once a day.
pub(crate) async fn watch_certificate(identity: Arc<Identity>, clock: Clock) {
    let Some(end_s) = identity.certificate_end_s else { return };
    loop {
        if let Some(days_left) = few_days_left(end_s, clock.unix_ms()) {
            tracing::warn!(
                days_left,
                agent = %identity.agent,
                "this agent's TLS certificate ends soon and is not renewed: stop it, retire it \
                 (`proofmark agent retire`), move its data directory away, and start it with a \
                 new token (`proofmark token create`)"
            );
        }
        wait(&clock, CERTIFICATE_LOOK_MS).await;
    }
}

/// Whole days until a certificate ends, negative after it has, if they are few.
fn few_days_left(end_s: i64, now_ms: u64) -> Option<i64> {
    let now_s = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
    let days_left = end_s.saturating_sub(now_s).div_euclid(86_400);
    (days_left < CERTIFICATE_WARN_DAYS).then_some(days_left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_days_of_a_certificate_are_counted() {
        let end_s = 1_800_000_000;
        let check = |before_end_s: i64, expect: Option<i64>| {
            let now_ms = u64::try_from(end_s - before_end_s).expect("after 1970") * 1_000;
            assert_eq!(few_days_left(end_s, now_ms), expect, "{before_end_s} s before");
        };
        check(365 * 86_400, None);
        check(30 * 86_400, None);
        check(30 * 86_400 - 1, Some(29));
        check(1, Some(0));
        check(-1, Some(-1));
    }
}
