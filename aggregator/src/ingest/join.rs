//! A new replica joins: a node's token and proof of a key become an id, certificates, and the
//! cluster's secrets.
//!
//! As with an agent's enrolment the caller is a stranger: nothing is proposed before its request is
//! whole and its signature good, and the token is judged in the state.

use tonic::{Request, Response, Status};

use proofmark_evidence::{PublicKey, Signature};
use proofmark_proto as wire;
use wire::node_gateway_server::NodeGateway;
use wire::{Action, JoinNodeReply, JoinNodeRequest, KnownNode, node_possession_statement};

use super::refusal::{refuse, unapplied};
use super::{Handles, Proposer};
use crate::command::{Command, NodeHost, NodeName, Reply};
use crate::consensus::ProposalOutcome;
use crate::identity::{CertificateRequest, Newcomer};
use crate::limits::ADDRESS_BYTES_MAX;

/// As much of a wrong text says what it is.
const SHOWN_CHARS: usize = 80;

pub(super) struct NodeDoor<P, D> {
    pub(super) handles: Handles<P, D>,
}

/// A request that is whole and proves its key.
struct Proven {
    token_id: [u8; 16],
    secret: [u8; 16],
    name: NodeName,
    host: NodeHost,
    peer: CertificateRequest,
    gateway: CertificateRequest,
}

/// What is wrong with a request before any token is looked at.
struct Fault {
    slug: &'static str,
    expected: &'static str,
    got: String,
}

#[tonic::async_trait]
impl<P: Proposer, D: Clone + Send + Sync + 'static> NodeGateway for NodeDoor<P, D> {
    async fn join_node(
        &self,
        request: Request<JoinNodeRequest>,
    ) -> Result<Response<JoinNodeReply>, Status> {
        let handles = &self.handles;
        handles.check_serving()?;
        let (request, log_id) = (request.into_inner(), handles.identity.log_id().0);
        let proven = handles.workers.run(move || prove(&request, &log_id)).await;
        let proven = proven.ok_or_else(|| Status::unavailable("shutting down"))?;
        let proven = proven.map_err(|fault| {
            refuse(&handles.counters, fault.slug, Action::Stop, fault.expected, fault.got)
        })?;
        join(handles, proven).await.map(Response::new)
    }
}

async fn join<P: Proposer, D>(
    handles: &Handles<P, D>,
    proven: Proven,
) -> Result<JoinNodeReply, Status> {
    if !handles.identity.can_admit() {
        let expected = "a replica that holds the key of the peer CA";
        let got = "one without identity/peer-ca.json";
        return Err(refuse(&handles.counters, "peer_ca_missing", Action::Retry, expected, got));
    }
    let Proven { token_id, secret, ref name, ref host, .. } = proven;
    let (name, host) = (name.clone(), host.clone());
    let command = Command::JoinNode { token_id, secret, name, host };
    match handles.proposer.propose(command).await {
        // A crash here leaves a node that joined and does not know it: it asks again with the same
        // token, keys and addresses, and gets the same id.
        ProposalOutcome::Applied(Reply::NodeJoined { id }) => reply(handles, &proven, id),
        other => Err(unapplied(&handles.counters, other)),
    }
}

fn reply<P, D>(handles: &Handles<P, D>, proven: &Proven, id: u64) -> Result<JoinNodeReply, Status> {
    let hosts = hosts(&proven.host);
    let newcomer = Newcomer {
        node_id: id,
        name: proven.name.as_str(),
        hosts: &hosts,
        peer: &proven.peer,
        gateway: &proven.gateway,
    };
    let members = handles.members.borrow().clone();
    let known = members.present().filter(|member| member.id != id).map(|member| KnownNode {
        id: member.id,
        name: member.name.clone(),
        grpc: member.grpc.clone(),
        peers: member.peers.clone(),
    });
    let made = handles.identity.admit(&newcomer, known.collect(), handles.clock.unix_ms());
    match made {
        Ok(Some(reply)) => {
            tracing::info!(node = %proven.name, id, "a replica joined");
            Ok(reply)
        }
        Ok(None) => Err(Status::internal("peer CA")),
        Err(fault) => {
            tracing::error!(node = %proven.name, %fault, "no certificates for a new replica");
            Err(Status::internal("certificate"))
        }
    }
}

fn prove(request: &JoinNodeRequest, log_id: &[u8; 32]) -> Result<Proven, Fault> {
    let fault = |slug, expected, got: &dyn std::fmt::Display| Fault {
        slug,
        expected,
        got: got.to_string(),
    };
    if request.log_id[..] != log_id[..] {
        return Err(fault("wrong_cluster", "a token of this cluster's log", &"another log's"));
    }
    let key = PublicKey(bytes("cosigner_key_length", &request.cosigner_key)?);
    let possession = Signature(bytes("possession_length", &request.possession)?);
    let name = NodeName::parse(&request.name).map_err(|_| {
        let expected = "a name of a-z, 0-9 and '-', at most 63 bytes";
        fault("node_name", expected, &shown(&request.name))
    })?;
    key.verify(&node_possession_statement(request), &possession).map_err(|_| {
        let expected = "a signature by the key to join with, over this request";
        fault("bad_possession", expected, &"one that does not verify")
    })?;
    let csr = |der: &[u8]| {
        CertificateRequest::parse(der).map_err(|why| {
            let expected = "a self-signed PKCS#10 request of at most 4096 bytes";
            fault("bad_certificate_request", expected, &why)
        })
    };
    for address in [&request.grpc, &request.peers] {
        if !is_address(address) {
            return Err(fault("node_address", "host:port, at most 259 bytes", &shown(address)));
        }
    }
    Ok(Proven {
        token_id: bytes("token_id_length", &request.token_id)?,
        secret: bytes("token_secret_length", &request.token_secret)?,
        name,
        host: NodeHost { key, grpc: request.grpc.clone(), peers: request.peers.clone() },
        peer: csr(&request.peer_csr_der)?,
        gateway: csr(&request.gateway_csr_der)?,
    })
}

/// What a stranger wrote, quoted; of a long text its beginning and its length.
fn shown(text: &str) -> String {
    let head: String = text.chars().take(SHOWN_CHARS).collect();
    match head.len() == text.len() {
        true => format!("{head:?}"),
        false => format!("{head:?}, of {} bytes", text.len()),
    }
}

fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(host, port)| (!host.is_empty(), port.parse::<u16>()));
    let is_plain = text.chars().all(|char| char.is_ascii_graphic());
    is_plain && text.len() <= ADDRESS_BYTES_MAX && matches!(port, Some((true, Ok(1..))))
}

fn hosts(host: &NodeHost) -> Vec<String> {
    let of = |address: &String| address.rsplit_once(':').map(|(host, _)| host.to_owned());
    let mut hosts: Vec<String> = [&host.grpc, &host.peers].into_iter().filter_map(of).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn bytes<const N: usize>(slug: &'static str, field: &[u8]) -> Result<[u8; N], Fault> {
    let expected = match N {
        16 => "16 bytes",
        32 => "32 bytes",
        _ => "64 bytes",
    };
    field.try_into().map_err(|_| Fault { slug, expected, got: format!("{} bytes", field.len()) })
}
