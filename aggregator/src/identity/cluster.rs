//! Creating a cluster, once, and what each node knows of itself ever after.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::{ClientConfig, ServerConfig};
use serde::{Deserialize, Serialize};

use proofmark_evidence::{Hash, Origin, Policy, PublicKey, SigningKey};

use super::authority::{Authority, CertAndKey, Subject};
use super::fault::IdentityFault;
use super::files;
use super::join::Neighbour;
use super::operator::{OPERATOR_FILE, OperatorIdentity};
use super::tls::{ClientCertificate, client_config, server_config};

pub(super) const NODE_FILE: &str = "node.json";
pub(super) const PEER_CA_FILE: &str = "peer-ca.json";
pub(super) const FILE_VERSION: u32 = 1;

/// What `init` is told.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// The log's name for ever; its hash names the cluster in every signed thing.
    pub origin: Origin,
    /// All nodes; the first is the one whose directory is being made.
    pub nodes: Vec<NodePlan>,
    /// Whom the first operator certificate names.
    pub operator: String,
}

/// One node of the plan.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Raft id, >= 1, unique.
    pub id: u64,
    /// RFC 1123 label, unique; part of the cosigner's name.
    pub name: String,
    /// Host names and addresses under which clients other than ours dial the agent port.
    pub hosts: Vec<String>,
}

/// What every node knows of every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub id: u64,
    pub name: String,
    /// C2SP cosigner name: `<origin>/<name>`.
    pub cosigner_name: String,
    pub cosigner_key: PublicKey,
}

/// This node: its keys, its certificates, its cluster.
pub struct NodeIdentity {
    pub origin: Origin,
    pub node_id: u64,
    pub node_name: String,
    /// The log's key, the same on every node: Ed25519 is deterministic, so all write equal leaves.
    pub log_key: SigningKey,
    /// This node's own key under checkpoints.
    pub cosigner_key: SigningKey,
    /// Those of the log's first leaf by ascending id; then this one, if it joined later.
    pub nodes: Vec<NodeInfo>,
    /// The C2SP tlog-policy text that the log's first leaf implies: how every replica's evidence
    /// begins. What is in force now is said by the state.
    pub policy: String,
    /// The gateway CA: enrols agents.
    pub authority: Authority,
    /// The peer CA: lets nodes in. Absent on some nodes of an older installation.
    pub(super) peer_authority: Option<Authority>,
    has_joined: bool,
    /// Whom to dial before the state says who is there; empty unless this node joined.
    pub neighbours: Vec<Neighbour>,
    gateway: CertAndKey,
    peer_ca_pem: String,
    peer: CertAndKey,
}

/// The bytes of `node.json` and of a bundle.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeFile {
    pub(super) version: u32,
    pub(super) origin: String,
    pub(super) node_id: u64,
    pub(super) log_key: String,
    pub(super) cosigner_key: String,
    pub(super) nodes: Vec<NodeRow>,
    pub(super) gateway_ca: CertAndKey,
    pub(super) gateway: CertAndKey,
    pub(super) peer_ca_pem: String,
    pub(super) peer: CertAndKey,
    /// Only in a bundle: it has a file of its own beside `node.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peer_ca: Option<CertAndKey>,
    /// The last of `nodes` is this one, and not of the log's first leaf.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) has_joined: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) neighbours: Vec<Neighbour>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeRow {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) cosigner_public_key_hex: String,
}

impl NodeIdentity {
    /// Makes the cluster: its CAs and keys, this node's files in `dir`, and one bundle beside them
    /// for every other node of the plan. `now_ms`: Unix time, start of all certificates.
    pub fn create_cluster(
        dir: &Path,
        plan: &ClusterPlan,
        now_ms: u64,
    ) -> Result<NodeIdentity, IdentityFault> {
        plan.check()?;
        refuse_existing(dir)?;
        files::make_directory(dir)?;
        let mut made = plan.make(now_ms)?;
        files::write_secret(&dir.join(PEER_CA_FILE), &made.peer_ca)?;
        files::write_secret(&dir.join(OPERATOR_FILE), &made.operator)?;
        for file in &made.nodes[1..] {
            files::write_secret(&dir.join(format!("node-{}.bundle", file.node_id)), file)?;
        }
        // A crash anywhere above leaves files without node.json: no node exists yet, and running
        // init again replaces them all.
        let own = NodeFile { peer_ca: None, ..made.nodes.swap_remove(0) };
        files::write_secret(&dir.join(NODE_FILE), &own)?;
        NodeIdentity::load(dir)
    }

    /// Makes this node from the bundle that [`NodeIdentity::create_cluster`] wrote for it.
    /// The bundle stays where it is: the operator deletes it.
    pub fn from_bundle(dir: &Path, bundle: &Path) -> Result<NodeIdentity, IdentityFault> {
        refuse_existing(dir)?;
        let mut file: NodeFile = files::read_secret(bundle)?;
        files::make_directory(dir)?;
        if let Some(peer_ca) = file.peer_ca.take() {
            files::write_secret(&dir.join(PEER_CA_FILE), &peer_ca)?;
        }
        // A crash here leaves no node.json: no node exists yet, and init goes on.
        files::write_secret(&dir.join(NODE_FILE), &file)?;
        NodeIdentity::load(dir)
    }

    /// The node that lives in `dir`.
    pub fn load(dir: &Path) -> Result<NodeIdentity, IdentityFault> {
        let path = dir.join(NODE_FILE);
        let file: NodeFile = files::read_secret(&path)?;
        let peer_ca = match files::read_secret::<CertAndKey>(&dir.join(PEER_CA_FILE)) {
            Ok(peer_ca) => Some(Authority::load(&peer_ca)?),
            Err(IdentityFault::Missing { .. }) => None,
            Err(fault) => return Err(fault),
        };
        file.into_identity(&path, peer_ca)
    }

    /// The nodes of the log's first leaf, by ascending id.
    pub fn founders(&self) -> impl Iterator<Item = &NodeInfo> {
        let joined = self.has_joined.then_some(self.node_id);
        self.nodes.iter().filter(move |node| Some(node.id) != joined)
    }

    /// Whether this node came when the cluster was there already.
    pub fn has_joined(&self) -> bool {
        self.has_joined
    }

    /// SHA-256 of the origin: names the cluster in batches and between peers.
    pub fn log_id(&self) -> Hash {
        self.origin.log_id()
    }

    /// This node's entry in `nodes`.
    pub fn own(&self) -> &NodeInfo {
        let own = self.nodes.iter().find(|node| node.id == self.node_id);
        own.expect("checked when the file was read")
    }

    /// Makes the settings of both ports and lets them go: a certificate that no handshake takes is
    /// found before any door opens.
    ///
    /// # Errors
    /// A certificate or a key is not what its CA signed.
    pub fn check(&self) -> Result<(), IdentityFault> {
        self.agent_server_config()?;
        self.peer_server_config()?;
        self.peer_client_config().map(drop)
    }

    /// The agent port: a client certificate is optional (Enrol has none); RPCs check the role.
    pub fn agent_server_config(&self) -> Result<Arc<ServerConfig>, IdentityFault> {
        let ca_pem = self.authority.certificate_pem();
        server_config(&self.gateway, ca_pem, ClientCertificate::Optional)
    }

    /// The peer port: nobody without a certificate of the peer CA finishes the handshake.
    pub fn peer_server_config(&self) -> Result<Arc<ServerConfig>, IdentityFault> {
        server_config(&self.peer, &self.peer_ca_pem, ClientCertificate::Required)
    }

    /// For connections to peers; verify node N as [`proofmark_proto::peer_dns_name`]`(N)`.
    pub fn peer_client_config(&self) -> Result<Arc<ClientConfig>, IdentityFault> {
        client_config(&self.peer, &self.peer_ca_pem)
    }
}

fn refuse_existing(dir: &Path) -> Result<(), IdentityFault> {
    let path = dir.join(NODE_FILE);
    match path.exists() {
        true => Err(IdentityFault::Exists { path }),
        false => Ok(()),
    }
}

/// Everything a new cluster needs, before any of it is on disk.
struct Made {
    peer_ca: CertAndKey,
    operator: OperatorIdentity,
    nodes: Vec<NodeFile>,
}

impl ClusterPlan {
    fn check(&self) -> Result<(), IdentityFault> {
        let fault = |what, expected, got| Err(IdentityFault::Plan { what, expected, got });
        if self.nodes.is_empty() || self.nodes.iter().any(|node| node.id == 0) {
            return fault("nodes", "at least one, with ids from 1", format!("{:?}", self.nodes));
        }
        let ids: BTreeSet<u64> = self.nodes.iter().map(|node| node.id).collect();
        let names: BTreeSet<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        if ids.len() != self.nodes.len() || names.len() != self.nodes.len() {
            return fault("nodes", "different ids and names", format!("{:?}", self.nodes));
        }
        match names.iter().find(|name| proofmark_evidence::AgentName::parse(name).is_err()) {
            Some(name) => fault("node name", "an RFC 1123 label", (*name).to_owned()),
            None => Ok(()),
        }
    }

    fn make(&self, now_ms: u64) -> Result<Made, IdentityFault> {
        let gateway_ca = Authority::create(&format!("{} gateway CA", self.origin), now_ms)?;
        let peer_ca = Authority::create(&format!("{} peer CA", self.origin), now_ms)?;
        let log_key = new_key()?;
        let cosigners = self.nodes.iter().map(|_| new_key()).collect::<Result<Vec<_>, _>>()?;
        let rows = self.rows(&cosigners);
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for (plan, cosigner) in self.nodes.iter().zip(&cosigners) {
            let (name, hosts) = (plan.name.as_str(), plan.hosts.as_slice());
            nodes.push(NodeFile {
                version: FILE_VERSION,
                origin: self.origin.as_str().to_owned(),
                node_id: plan.id,
                log_key: log_key.to_text(),
                cosigner_key: cosigner.to_text(),
                nodes: rows.clone(),
                gateway_ca: gateway_ca.to_pem(),
                gateway: gateway_ca.issue(Subject::Gateway { name, hosts }, now_ms)?,
                peer_ca_pem: peer_ca.certificate_pem().to_owned(),
                peer: peer_ca.issue(Subject::Peer { node_id: plan.id, name }, now_ms)?,
                peer_ca: Some(peer_ca.to_pem()),
                has_joined: false,
                neighbours: Vec::new(),
            });
        }
        let operator = OperatorIdentity {
            version: FILE_VERSION,
            name: self.operator.clone(),
            ca_pem: gateway_ca.certificate_pem().to_owned(),
            own: gateway_ca.issue(Subject::Operator { name: &self.operator }, now_ms)?,
        };
        Ok(Made { peer_ca: peer_ca.to_pem(), operator, nodes })
    }

    fn rows(&self, cosigners: &[SigningKey]) -> Vec<NodeRow> {
        let row = |(plan, key): (&NodePlan, &SigningKey)| NodeRow {
            id: plan.id,
            name: plan.name.clone(),
            cosigner_public_key_hex: Hash(key.public().0).to_string(),
        };
        let mut rows: Vec<NodeRow> = self.nodes.iter().zip(cosigners).map(row).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }
}

pub(super) fn new_key() -> Result<SigningKey, IdentityFault> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| IdentityFault::Random)?;
    Ok(SigningKey::from_seed(seed))
}

impl NodeFile {
    fn into_identity(
        self,
        path: &Path,
        peer_authority: Option<Authority>,
    ) -> Result<NodeIdentity, IdentityFault> {
        let bad =
            |expected, got: String| IdentityFault::Malformed { path: path.into(), expected, got };
        if self.version != FILE_VERSION {
            return Err(bad("version 1", self.version.to_string()));
        }
        let origin =
            Origin::parse(&self.origin).map_err(|fault| bad("an origin", fault.to_string()))?;
        let key = |text: &str| {
            SigningKey::from_text(text).map_err(|fault| bad("a signing key", fault.to_string()))
        };
        let (log_key, cosigner_key) = (key(&self.log_key)?, key(&self.cosigner_key)?);
        let nodes = self.nodes.iter().map(|row| row.info(&origin, path));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let own = nodes.iter().find(|node| node.id == self.node_id);
        let own = own.ok_or_else(|| bad("this node among the nodes", self.node_id.to_string()))?;
        if own.cosigner_key != cosigner_key.public() {
            return Err(bad("this node's cosigner key", "another key".to_owned()));
        }
        let first = match self.has_joined {
            true => &nodes[..nodes.len() - 1],
            false => &nodes[..],
        };
        Ok(NodeIdentity {
            policy: policy_text(&origin, &log_key, first)
                .map_err(|fault| bad("names and keys for a policy", fault))?,
            node_id: self.node_id,
            node_name: own.name.clone(),
            origin,
            log_key,
            cosigner_key,
            nodes,
            authority: Authority::load(&self.gateway_ca)?,
            peer_authority,
            has_joined: self.has_joined,
            neighbours: self.neighbours,
            gateway: self.gateway,
            peer_ca_pem: self.peer_ca_pem,
            peer: self.peer,
        })
    }
}

impl NodeRow {
    fn info(&self, origin: &Origin, path: &Path) -> Result<NodeInfo, IdentityFault> {
        let key = Hash::from_hex(&self.cosigner_public_key_hex).map_err(|fault| {
            let (path, expected) = (path.into(), "64 hex digits of a public key");
            IdentityFault::Malformed { path, expected, got: fault.to_string() }
        })?;
        Ok(NodeInfo {
            id: self.id,
            name: self.name.clone(),
            cosigner_name: format!("{origin}/{}", self.name),
            cosigner_key: PublicKey(key.0),
        })
    }
}

/// The policy that follows from the keys: the log's signature and a majority of its nodes.
fn policy_text(
    origin: &Origin,
    log_key: &SigningKey,
    nodes: &[NodeInfo],
) -> Result<String, String> {
    let cosigners: Vec<(String, PublicKey)> =
        nodes.iter().map(|node| (node.cosigner_name.clone(), node.cosigner_key)).collect();
    Policy::for_nodes(origin, &log_key.public(), &cosigners)
        .map(|policy| policy.to_text())
        .map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn plan(nodes: &[(u64, &str)]) -> ClusterPlan {
        let node = |(id, name): &(u64, &str)| NodePlan {
            id: *id,
            name: (*name).to_owned(),
            hosts: vec!["a.example".to_owned(), "192.0.2.1".to_owned()],
        };
        ClusterPlan {
            origin: Origin::parse("proofmark.test/log").unwrap(),
            nodes: nodes.iter().map(node).collect(),
            operator: "ann".to_owned(),
        }
    }

    #[test]
    fn a_cluster_is_created_once_and_every_node_finds_itself_in_its_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("1"), dir.path().join("2"));
        let plan = plan(&[(1, "a"), (2, "b"), (3, "c")]);
        let one = NodeIdentity::create_cluster(&first, &plan, NOW_MS).unwrap();
        let two = NodeIdentity::from_bundle(&second, &first.join("node-2.bundle")).unwrap();
        assert_eq!((one.node_id, two.node_id), (1, 2));
        assert_eq!(one.nodes, two.nodes);
        assert_eq!(one.policy, two.policy);
        assert_eq!(one.log_key.public(), two.log_key.public());
        assert_ne!(one.cosigner_key.public(), two.cosigner_key.public());
        assert_eq!(two.own().cosigner_name, "proofmark.test/log/b");
        assert_eq!(NodeIdentity::load(&second).unwrap().policy, one.policy);
        let again = NodeIdentity::create_cluster(&first, &plan, NOW_MS);
        assert!(matches!(again, Err(IdentityFault::Exists { .. })));
    }

    #[test]
    fn tls_settings_come_out_of_every_identity() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(&[(1, "a")]);
        let node = NodeIdentity::create_cluster(dir.path(), &plan, NOW_MS).unwrap();
        assert_eq!(node.agent_server_config().unwrap().alpn_protocols, [b"h2"]);
        assert_eq!(node.peer_server_config().unwrap().alpn_protocols, [b"h2"]);
        assert_eq!(node.peer_client_config().unwrap().alpn_protocols, [b"h2"]);
        let operator = OperatorIdentity::load(dir.path()).unwrap();
        assert_eq!(operator.name(), "ann");
        assert_eq!(operator.client_config().unwrap().alpn_protocols, [b"h2"]);
    }

    #[test]
    fn bad_plans_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        for nodes in
            [&[][..], &[(0, "a")], &[(1, "a"), (1, "b")], &[(1, "a"), (2, "a")], &[(1, "A")]]
        {
            let got = NodeIdentity::create_cluster(dir.path(), &plan(nodes), NOW_MS);
            assert!(matches!(got, Err(IdentityFault::Plan { .. })), "{nodes:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
