//! Enrolment: a join token and proof of a key become an agent with an epoch and a certificate.
//!
//! The caller is a stranger: nothing is proposed before its request is whole and its signature
//! good. The token itself is judged in the state, so that one use means one use on every leader.

use tonic::Status;

use proofmark_evidence::{AgentName, PublicKey, Signature};
use proofmark_proto as wire;
use wire::{Action, EnrolReply, EnrolRequest, possession_statement};

use super::refusal::{refuse, unapplied};
use super::{Handles, Proposer};
use crate::command::{Command, Reply};
use crate::consensus::ProposalOutcome;
use crate::identity::{CertificateRequest, Subject};

/// A request that is whole and proves its key.
struct Proven {
    token_id: [u8; 16],
    secret: [u8; 16],
    agent: AgentName,
    key: PublicKey,
    request: CertificateRequest,
}

/// What is wrong with a request before any token is looked at.
struct Fault {
    slug: &'static str,
    expected: &'static str,
    got: String,
}

pub(super) async fn enrol<P: Proposer, D: Send + Sync>(
    handles: &Handles<P, D>,
    request: EnrolRequest,
) -> Result<EnrolReply, Status> {
    let proven = handles.workers.run(move || prove(&request)).await;
    let proven = proven.ok_or_else(|| Status::unavailable("shutting down"))?;
    let proven = proven.map_err(|fault| {
        refuse(&handles.counters, fault.slug, Action::Stop, fault.expected, fault.got)
    })?;
    let command = Command::Enrol {
        token_id: proven.token_id,
        secret: proven.secret,
        agent: proven.agent.clone(),
        key: proven.key,
    };
    match handles.proposer.propose(command).await {
        // A crash here leaves an enrolled agent without a certificate: it asks again with the same
        // token, name and key, and gets the same epoch and a certificate.
        ProposalOutcome::Applied(Reply::Enrolled { epoch }) => reply(handles, &proven, epoch),
        other => Err(unapplied(&handles.counters, other)),
    }
}

fn reply<P, D>(handles: &Handles<P, D>, proven: &Proven, epoch: u64) -> Result<EnrolReply, Status> {
    let identity = &handles.identity;
    let now_ms = handles.clock.unix_ms();
    let subject = Subject::Agent { name: &proven.agent };
    let chain = identity.authority.certify(subject, &proven.request, now_ms);
    let certificate_chain_pem = chain.map_err(|fault| {
        tracing::error!(agent = %proven.agent, %fault, "no certificate for an enrolled agent");
        Status::internal("certificate")
    })?;
    tracing::info!(agent = %proven.agent, epoch, "agent enrolled");
    Ok(EnrolReply {
        certificate_chain_pem,
        epoch,
        origin: identity.origin.to_string(),
        policy: handles.policy(),
        addresses: handles.addresses(),
    })
}

fn prove(request: &EnrolRequest) -> Result<Proven, Fault> {
    let key = PublicKey(bytes("public_key_length", &request.public_key)?);
    let possession = Signature(bytes("possession_length", &request.possession)?);
    let agent = AgentName::parse(&request.agent).map_err(|_| Fault {
        slug: "agent_name",
        expected: "a name of a-z, 0-9 and '-', at most 63 bytes",
        got: format!("{:?}", request.agent.chars().take(80).collect::<String>()),
    })?;
    let statement = possession_statement(
        &request.token_id,
        &request.agent,
        &request.public_key,
        &request.csr_der,
    );
    key.verify(&statement, &possession).map_err(|_| Fault {
        slug: "bad_possession",
        expected: "a signature by the key to enrol over this request",
        got: "one that does not verify".to_owned(),
    })?;
    let csr = CertificateRequest::parse(&request.csr_der).map_err(|fault| Fault {
        slug: "bad_certificate_request",
        expected: "a self-signed PKCS#10 request of at most 4096 bytes",
        got: fault.to_string(),
    })?;
    Ok(Proven {
        token_id: bytes("token_id_length", &request.token_id)?,
        secret: bytes("token_secret_length", &request.token_secret)?,
        agent,
        key,
        request: csr,
    })
}

fn bytes<const N: usize>(slug: &'static str, field: &[u8]) -> Result<[u8; N], Fault> {
    let expected = match N {
        16 => "16 bytes",
        32 => "32 bytes",
        _ => "64 bytes",
    };
    field.try_into().map_err(|_| Fault { slug, expected, got: format!("{} bytes", field.len()) })
}
