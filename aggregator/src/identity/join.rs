//! A new replica's identity: keys made on its own host, everything else from a replica that lets it
//! in. And the other side: what such a replica gives away.
//!
//! The keys are kept from before the first request on, so that a join whose answer was lost is
//! asked again with the same ones, and is told the same id.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};

use proofmark_evidence::{Hash, PublicKey, SigningKey, sha256};
use proofmark_proto::{
    FirstNode, JoinNodeReply, JoinNodeRequest, KnownNode, NodeToken, node_possession_statement,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::authority::{CertAndKey, CertificateRequest, Subject};
use super::cluster::{FILE_VERSION, NODE_FILE, NodeFile, NodeRow, PEER_CA_FILE, new_key};
use super::fault::IdentityFault;
use super::{NodeIdentity, files};

const JOINING_FILE: &str = "joining.json";

/// Another replica as one that joined was told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    pub id: u64,
    pub name: String,
    /// host:port
    pub grpc: String,
    /// host:port
    pub peers: String,
}

/// A replica that does not exist yet: its keys.
pub struct Joining {
    dir: PathBuf,
    cosigner_key: SigningKey,
    peer_key: KeyPair,
    gateway_key: KeyPair,
}

/// The bytes of `joining.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JoiningFile {
    version: u32,
    cosigner_key: String,
    peer_key_pem: String,
    gateway_key_pem: String,
}

/// Under which name and addresses a replica joins.
#[derive(Clone, Copy, Debug)]
pub struct JoinAs<'a> {
    pub name: &'a str,
    /// host:port
    pub grpc: &'a str,
    /// host:port
    pub peers: &'a str,
}

impl Joining {
    /// The keys in `dir`; made and durable on the first call. Refuses a directory in which a
    /// replica lives already.
    pub fn begin(dir: &Path) -> Result<Joining, IdentityFault> {
        let node = dir.join(NODE_FILE);
        if node.exists() {
            return Err(IdentityFault::Exists { path: node });
        }
        files::make_directory(dir)?;
        let path = dir.join(JOINING_FILE);
        let file = match files::read_secret::<JoiningFile>(&path) {
            Err(IdentityFault::Missing { .. }) => {
                let file = JoiningFile::make()?;
                files::write_secret(&path, &file)?;
                file
            }
            read => read?,
        };
        file.into_joining(dir, &path)
    }

    /// What the new replica asks for.
    pub fn request(
        &self,
        token: &NodeToken,
        join: JoinAs<'_>,
    ) -> Result<JoinNodeRequest, IdentityFault> {
        let mut request = JoinNodeRequest {
            token_id: token.join.id.to_vec().into(),
            token_secret: token.join.secret.to_vec().into(),
            name: join.name.to_owned(),
            log_id: token.log_id.to_vec().into(),
            cosigner_key: self.cosigner_key.public().0.to_vec().into(),
            possession: Vec::new().into(),
            peer_csr_der: request_der(&self.peer_key)?.into(),
            gateway_csr_der: request_der(&self.gateway_key)?.into(),
            grpc: join.grpc.to_owned(),
            peers: join.peers.to_owned(),
        };
        let signed = self.cosigner_key.sign(&node_possession_statement(&request));
        request.possession = signed.0.to_vec().into();
        Ok(request)
    }

    /// Becomes a replica. Nothing of the reply is believed beyond the CA and the log that the token
    /// names.
    pub fn complete(
        self,
        token: &NodeToken,
        join: JoinAs<'_>,
        reply: JoinNodeReply,
    ) -> Result<NodeIdentity, IdentityFault> {
        let path = self.dir.join(NODE_FILE);
        let bad =
            |expected, got: String| IdentityFault::Malformed { path: path.clone(), expected, got };
        let ca = sha256(&certificate(&reply.gateway_ca_pem)?);
        if ca != Hash(token.join.ca_sha256) {
            return Err(bad("the gateway CA that the token pins", ca.to_string()));
        }
        let log_id = sha256(reply.origin.as_bytes());
        if log_id != Hash(token.log_id) {
            return Err(bad("the log that the token names", reply.origin));
        }
        let peer_ca = CertAndKey {
            certificate_chain_pem: reply.peer_ca_pem.clone(),
            key_pem: reply.peer_ca_key_pem.clone(),
        };
        let file = self.node_file(join, reply).ok_or_else(|| {
            bad("keys of 32 bytes for the log's first nodes", "another length".to_owned())
        })?;
        files::write_secret(&self.dir.join(PEER_CA_FILE), &peer_ca)?;
        // A crash here leaves no node.json: no replica exists yet, and joining again, with the same
        // keys and token, replaces what is there.
        files::write_secret(&path, &file)?;
        let identity = NodeIdentity::load(&self.dir)?;
        // A crash here leaves keys that are in node.json too: nobody reads them again.
        match fs::remove_file(self.dir.join(JOINING_FILE)) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(IdentityFault::File { path: self.dir.join(JOINING_FILE), source })
            }
            _ => Ok(identity),
        }
    }

    fn node_file(&self, join: JoinAs<'_>, reply: JoinNodeReply) -> Option<NodeFile> {
        let row = |id, name: &str, key: PublicKey| NodeRow {
            id,
            name: name.to_owned(),
            cosigner_public_key_hex: Hash(key.0).to_string(),
        };
        let first = |node: &FirstNode| {
            Some(row(node.id, &node.name, PublicKey(node.cosigner_key[..].try_into().ok()?)))
        };
        let mut nodes = reply.first_nodes.iter().map(first).collect::<Option<Vec<_>>>()?;
        nodes.push(row(reply.node_id, join.name, self.cosigner_key.public()));
        let neighbours = reply.nodes.into_iter().map(Neighbour::of).collect();
        Some(NodeFile {
            version: FILE_VERSION,
            origin: reply.origin,
            node_id: reply.node_id,
            log_key: reply.log_key,
            cosigner_key: self.cosigner_key.to_text(),
            nodes,
            gateway_ca: CertAndKey {
                certificate_chain_pem: reply.gateway_ca_pem,
                key_pem: reply.gateway_ca_key_pem,
            },
            gateway: own(reply.gateway_certificate_pem, &self.gateway_key),
            peer_ca_pem: reply.peer_ca_pem,
            peer: own(reply.peer_certificate_pem, &self.peer_key),
            peer_ca: None,
            has_joined: true,
            neighbours,
        })
    }
}

impl JoiningFile {
    fn make() -> Result<JoiningFile, IdentityFault> {
        let pem = || KeyPair::generate().map(|key| key.serialize_pem());
        Ok(JoiningFile {
            version: FILE_VERSION,
            cosigner_key: new_key()?.to_text(),
            peer_key_pem: pem().map_err(IdentityFault::Certificate)?,
            gateway_key_pem: pem().map_err(IdentityFault::Certificate)?,
        })
    }

    fn into_joining(self, dir: &Path, path: &Path) -> Result<Joining, IdentityFault> {
        let bad = |got: String| IdentityFault::Malformed {
            path: path.into(),
            expected: "the keys that `join` made",
            got,
        };
        if self.version != FILE_VERSION {
            return Err(bad(format!("version {}", self.version)));
        }
        let key = |pem: &str| KeyPair::from_pem(pem).map_err(IdentityFault::Certificate);
        Ok(Joining {
            dir: dir.to_owned(),
            cosigner_key: SigningKey::from_text(&self.cosigner_key)
                .map_err(|fault| bad(fault.to_string()))?,
            peer_key: key(&self.peer_key_pem)?,
            gateway_key: key(&self.gateway_key_pem)?,
        })
    }
}

impl Neighbour {
    fn of(node: KnownNode) -> Neighbour {
        let KnownNode { id, name, grpc, peers } = node;
        Neighbour { id, name, grpc, peers }
    }
}

/// Whom a replica lets in, and what it may ask to be certified.
pub struct Newcomer<'a> {
    pub node_id: u64,
    pub name: &'a str,
    /// Under which clients other than ours dial its agent port.
    pub hosts: &'a [String],
    pub peer: &'a CertificateRequest,
    pub gateway: &'a CertificateRequest,
}

impl NodeIdentity {
    /// Everything a newcomer needs, secrets of the cluster included. `None`: this replica does not
    /// hold the peer CA's key; another may.
    pub fn admit(
        &self,
        newcomer: &Newcomer<'_>,
        nodes: Vec<KnownNode>,
        now_ms: u64,
    ) -> Result<Option<JoinNodeReply>, IdentityFault> {
        let Some(peer_ca) = &self.peer_authority else { return Ok(None) };
        let Newcomer { node_id, name, hosts, .. } = *newcomer;
        let peer = peer_ca.certify(Subject::Peer { node_id, name }, newcomer.peer, now_ms)?;
        let subject = Subject::Gateway { name, hosts };
        let gateway = self.authority.certify(subject, newcomer.gateway, now_ms)?;
        let (gateway_ca, peer_ca) = (self.authority.to_pem(), peer_ca.to_pem());
        let first = |node: &super::NodeInfo| FirstNode {
            id: node.id,
            name: node.name.clone(),
            cosigner_key: node.cosigner_key.0.to_vec().into(),
        };
        Ok(Some(JoinNodeReply {
            node_id,
            peer_certificate_pem: peer,
            gateway_certificate_pem: gateway,
            log_key: self.log_key.to_text(),
            gateway_ca_pem: gateway_ca.certificate_chain_pem,
            gateway_ca_key_pem: gateway_ca.key_pem,
            peer_ca_pem: peer_ca.certificate_chain_pem,
            peer_ca_key_pem: peer_ca.key_pem,
            origin: self.origin.to_string(),
            first_nodes: self.founders().map(first).collect(),
            nodes,
        }))
    }

    /// Whether this replica can let others in.
    pub fn can_admit(&self) -> bool {
        self.peer_authority.is_some()
    }
}

fn own(certificate_chain_pem: String, key: &KeyPair) -> CertAndKey {
    CertAndKey { certificate_chain_pem, key_pem: key.serialize_pem() }
}

fn request_der(key: &KeyPair) -> Result<Vec<u8>, IdentityFault> {
    let request = CertificateParams::default().serialize_request(key);
    Ok(request.map_err(IdentityFault::Certificate)?.der().to_vec())
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, IdentityFault> {
    let parsed = CertificateDer::from_pem_slice(pem.as_bytes());
    parsed.map_err(|fault| IdentityFault::Caller {
        expected: "a certificate",
        got: fault.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ClusterPlan, NodePlan};
    use proofmark_evidence::Origin;
    use proofmark_proto::JoinToken;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn cluster(dir: &Path, origin: &str) -> NodeIdentity {
        let node = NodePlan { id: 1, name: "a1".to_owned(), hosts: Vec::new() };
        let origin = Origin::parse(origin).unwrap();
        let plan = ClusterPlan { origin, nodes: vec![node], operator: "o".to_owned() };
        NodeIdentity::create_cluster(dir, &plan, NOW_MS).unwrap()
    }

    fn token(of: &NodeIdentity) -> NodeToken {
        let ca_sha256 = of.authority.sha256().0;
        let join = JoinToken { id: [1; 16], secret: [2; 16], ca_sha256, addresses: Vec::new() };
        NodeToken { join, log_id: of.log_id().0 }
    }

    const AS: JoinAs<'static> = JoinAs { name: "a2", grpc: "h:1", peers: "h:2" };

    fn admit(by: &NodeIdentity, request: &JoinNodeRequest) -> JoinNodeReply {
        let newcomer = Newcomer {
            node_id: 2,
            name: &request.name,
            hosts: &["h".to_owned()],
            peer: &CertificateRequest::parse(&request.peer_csr_der).unwrap(),
            gateway: &CertificateRequest::parse(&request.gateway_csr_der).unwrap(),
        };
        by.admit(&newcomer, Vec::new(), NOW_MS).unwrap().unwrap()
    }

    #[test]
    fn a_newcomer_becomes_a_replica_that_can_let_others_in() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("1"), dir.path().join("2"));
        let one = cluster(&first, "proofmark.test/log");
        let joining = Joining::begin(&second).unwrap();
        let asked = joining.request(&token(&one), AS).unwrap();
        let again = Joining::begin(&second).unwrap().request(&token(&one), AS).unwrap();
        assert_eq!(asked.cosigner_key, again.cosigner_key, "keys are made once");
        let two = joining.complete(&token(&one), AS, admit(&one, &asked)).unwrap();
        assert_eq!((two.node_id, two.node_name.as_str()), (2, "a2"));
        assert_eq!((&two.policy, two.founders().count()), (&one.policy, 1));
        assert_eq!(two.own().cosigner_name, "proofmark.test/log/a2");
        assert!(two.can_admit() && two.peer_server_config().is_ok());
        let exists = Joining::begin(&second).err().unwrap();
        assert!(matches!(exists, IdentityFault::Exists { .. }), "{exists}");
    }

    #[test]
    fn another_cluster_cannot_take_a_newcomer_in() {
        let dir = tempfile::tempdir().unwrap();
        let one = cluster(&dir.path().join("1"), "proofmark.test/log");
        let other = cluster(&dir.path().join("2"), "proofmark.test/other");
        let new = dir.path().join("3");
        let asked = Joining::begin(&new).unwrap().request(&token(&one), AS).unwrap();
        let reply = admit(&other, &asked);
        let refused = Joining::begin(&new).unwrap().complete(&token(&one), AS, reply);
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains("expected the gateway CA that the token pins"), "{refused}");
        let mut reply = admit(&one, &asked);
        reply.origin = "proofmark.test/other".to_owned();
        let refused = Joining::begin(&new).unwrap().complete(&token(&one), AS, reply);
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains("expected the log that the token names"), "{refused}");
        assert!(!new.join(NODE_FILE).exists());
    }
}
