//! Enrolment from the agent's side: one token, one request, a certificate and an epoch back.

use std::time::Duration;

use proofmark_evidence::{AgentName, Hash, Origin, Policy, sha256};
use proofmark_proto::agent_gateway_client::AgentGatewayClient;
use proofmark_proto::{EnrolReply, EnrolRequest, JoinToken, Refusal, possession_statement};
use rcgen::{CertificateParams, KeyPair};
use tokio::time::timeout;
use tonic::Status;

use super::fault::IdentityFault;
use super::files::{Enrolled, Keys};
use super::{IdentityConfig, tls};
use crate::clock::Clock;
use crate::limits::{ENROL_MS_MAX, ENROL_ROUNDS_MAX};
use crate::uplink::backoff::Backoff;
use crate::uplink::{dial, system_random, wait};

/// Asks until one address answers, round after round. A refusal for good is an answer.
pub(super) async fn enrol(
    config: &IdentityConfig<'_>,
    token: &JoinToken,
    keys: &Keys,
    clock: &Clock,
) -> Result<Enrolled, IdentityFault> {
    let request = request(config.agent, token, keys)?;
    let mut backoff = Backoff::new(system_random());
    let mut rounds_left = ENROL_ROUNDS_MAX;
    loop {
        rounds_left -= 1;
        match round(config, token, &request).await {
            Err(IdentityFault::Unreachable { address, why }) if rounds_left > 0 => {
                tracing::warn!(%address, %why, rounds_left, "not enrolled yet");
                wait(clock, backoff.next_ms()).await;
            }
            other => return other,
        }
    }
}

/// Asks one address after the other.
async fn round(
    config: &IdentityConfig<'_>,
    token: &JoinToken,
    request: &EnrolRequest,
) -> Result<Enrolled, IdentityFault> {
    let pin = Hash(token.ca_sha256);
    let mut last = IdentityFault::NoAddress;
    for address in config.aggregators.iter().chain(&token.addresses) {
        match ask(address, pin, request.clone()).await {
            Ok(reply) => return accept(config.agent, address, pin, reply),
            Err(fault @ IdentityFault::Refused { .. }) => return Err(fault),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

/// The request, with proof that we hold the key we ask to register.
fn request(
    agent: &AgentName,
    token: &JoinToken,
    keys: &Keys,
) -> Result<EnrolRequest, IdentityFault> {
    let tls_key = KeyPair::from_pem(&keys.tls_key_pem).map_err(IdentityFault::Key)?;
    let csr = CertificateParams::default().serialize_request(&tls_key);
    let csr_der = csr.map_err(IdentityFault::Key)?.der().to_vec();
    let public_key = keys.signing.public().0;
    let statement = possession_statement(&token.id, agent.as_str(), &public_key, &csr_der);
    Ok(EnrolRequest {
        token_id: token.id.to_vec().into(),
        token_secret: token.secret.to_vec().into(),
        agent: agent.to_string(),
        public_key: public_key.to_vec().into(),
        possession: keys.signing.sign(&statement).0.to_vec().into(),
        csr_der: csr_der.into(),
    })
}

async fn ask(address: &str, pin: Hash, request: EnrolRequest) -> Result<EnrolReply, IdentityFault> {
    let unreachable = |why: String| IdentityFault::Unreachable { address: address.into(), why };
    let channel = dial::connect(address, tls::pinned(pin)?).await;
    let channel = channel.map_err(|fault| match tls::wrong_ca(&fault) {
        Some(got) => IdentityFault::WrongCa { address: address.into(), expected: pin, got },
        None => unreachable(fault.to_string()),
    })?;
    let mut client = AgentGatewayClient::new(channel);
    let reply = timeout(Duration::from_millis(ENROL_MS_MAX), client.enrol(request)).await;
    match reply {
        Err(_) => Err(unreachable(format!("no answer in {ENROL_MS_MAX} ms"))),
        Ok(Err(status)) => {
            Err(refused(&status).unwrap_or_else(|| unreachable(status.message().to_owned())))
        }
        Ok(Ok(reply)) => Ok(reply.into_inner()),
    }
}

/// A refusal for good; one that says "later" is treated like an address that does not answer.
fn refused(status: &Status) -> Option<IdentityFault> {
    let refusal = Refusal::from_status(status)?;
    if refusal.action() == proofmark_proto::Action::Retry {
        return None;
    }
    let Refusal { slug, expected, got, .. } = refusal;
    Some(IdentityFault::Refused { slug, expected, got })
}

/// Nothing of the reply is believed beyond the CA the token pinned.
fn accept(
    agent: &AgentName,
    address: &str,
    pin: Hash,
    reply: EnrolReply,
) -> Result<Enrolled, IdentityFault> {
    let bad = |expected, got: String| IdentityFault::BadReply {
        address: address.to_owned(),
        expected,
        got,
    };
    let chain = tls::certificates(&reply.certificate_chain_pem)?;
    let ca = chain.last().map_or(Hash::ZERO, |certificate| sha256(certificate));
    if ca != pin {
        return Err(bad("the pinned CA in the certificate chain", ca.to_string()));
    }
    if reply.epoch == 0 {
        return Err(bad("an epoch from 1", "0".to_owned()));
    }
    let policy = Policy::parse(&reply.policy);
    Ok(Enrolled {
        agent: agent.clone(),
        epoch: reply.epoch,
        origin: Origin::parse(&reply.origin)
            .map_err(|fault| bad("an origin", fault.to_string()))?,
        addresses: reply.addresses,
        certificate_pem: reply.certificate_chain_pem,
        policy: policy.map_err(|fault| bad("a policy", fault.to_string()))?,
    })
}
