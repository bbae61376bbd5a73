//! `init`: a replica's directory, made once.
//!
//! Order: identity, evidence, Raft log. The Raft log comes last, and `run` asks for it first: a
//! crash here leaves a directory that `run` refuses and that `init` completes with the keys that
//! were made.

use std::path::Path;

use proofmark_evidence::LogWriter;

use super::NodeFault;
use crate::config::Config;
use crate::consensus::log_store::{LogIdentity, LogStore};
use crate::identity::{ADDRESSES_FILE, CA_FILE, ClusterPlan, NodeIdentity, NodePlan};

/// Makes the installation (without a bundle) or takes up one replica's part of it (with one).
pub fn init(
    config: &Config,
    bundle: Option<&Path>,
    now_ms: u64,
) -> Result<NodeIdentity, NodeFault> {
    let dir = config.data_dir.display().to_string();
    if config.raft_dir().exists() {
        let why = "expected a new directory, got one with a Raft log: `init` was run before";
        return Err(NodeFault::InUse { dir, why: why.to_owned() });
    }
    let identity = identity(config, bundle, now_ms)?;
    if identity.node_name != config.node {
        let why =
            format!("expected the keys of {}, got those of {}", config.node, identity.node_name);
        return Err(NodeFault::Room { slug: "identity", why });
    }
    if !config.evidence_dir().exists() {
        LogWriter::create(&config.evidence_dir(), &identity.origin, &identity.policy)
            .map_err(|why| NodeFault::room("evidence")(&why))?;
    }
    write_public_files(config, &identity)?;
    let voters: Vec<u64> = identity.nodes.iter().map(|node| node.id).collect();
    let own = LogIdentity { log_id: identity.log_id().0, node_id: identity.node_id };
    LogStore::create(&config.raft_dir(), own, &voters)
        .map_err(|why| NodeFault::room("raft_log")(&why))?;
    Ok(identity)
}

/// For operators: where the credential beside it may be shown, and the CA that their other tools
/// (a TLS check, say) may trust. Nothing secret; written again by an `init` that did not end.
fn write_public_files(config: &Config, identity: &NodeIdentity) -> Result<(), NodeFault> {
    let dir = config.identity_dir();
    let addresses: String = config.nodes.iter().map(|node| format!("{}\n", node.grpc)).collect();
    let files =
        [(ADDRESSES_FILE, addresses.as_str()), (CA_FILE, identity.authority.certificate_pem())];
    for (name, text) in files {
        std::fs::write(dir.join(name), text).map_err(|why| NodeFault::room("identity")(&why))?;
    }
    Ok(())
}

fn identity(
    config: &Config,
    bundle: Option<&Path>,
    now_ms: u64,
) -> Result<NodeIdentity, NodeFault> {
    let (dir, fault) = (config.identity_dir(), NodeFault::room("identity"));
    if let Ok(identity) = NodeIdentity::load(&dir) {
        return Ok(identity);
    }
    if let Some(bundle) = bundle.filter(|bundle| !bundle.exists()) {
        let why = "expected the bundle that the first replica's `init` wrote, got nothing";
        return Err(fault(&format!("{}: {why}", bundle.display())));
    }
    let made = match bundle {
        Some(bundle) => NodeIdentity::from_bundle(&dir, bundle),
        None => NodeIdentity::create_cluster(&dir, &plan(config), now_ms),
    };
    made.map_err(|why| fault(&why))
}

/// This replica first: the keys of the first node of a plan stay here, the others go to bundles.
fn plan(config: &Config) -> ClusterPlan {
    let plan_of = |node: &crate::config::NodeEntry| NodePlan {
        id: node.id,
        name: node.name.clone(),
        hosts: node.hosts(),
    };
    let (own, others): (Vec<_>, Vec<_>) =
        config.nodes.iter().partition(|node| node.name == config.node);
    ClusterPlan {
        origin: config.origin.clone(),
        nodes: own.into_iter().chain(others).map(plan_of).collect(),
        operator: "operator".to_owned(),
    }
}
