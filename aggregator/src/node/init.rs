//! `init`: a replica's directory, made once.
//!
//! Order: identity, evidence, what is shown to others, Raft log. The Raft log comes last, and `run`
//! asks for it first: a crash anywhere before leaves a directory that `run` refuses and that `init`
//! completes with the keys that were made. A directory in which a replica ran is never completed:
//! with a new Raft log it would vote again where it has voted.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use proofmark_evidence::{CHECKPOINT_FILE, LogFile, LogWriter, POLICY_FILE, TILE_WIDTH};

use super::NodeFault;
use crate::config::Config;
use crate::consensus::log_store::{LogIdentity, LogStore};
use crate::identity::{
    ADDRESSES_FILE, CA_FILE, ClusterPlan, IdentityFault, Joining, NodeIdentity, NodePlan,
    write_public,
};

/// Makes the installation (without a bundle) or takes up one replica's part of it (with one).
pub fn init(
    config: &Config,
    bundle: Option<&Path>,
    now_ms: u64,
) -> Result<NodeIdentity, NodeFault> {
    refuse_used(config)?;
    let identity = identity(config, bundle, now_ms)?;
    if identity.node_name != config.node {
        let why =
            format!("expected the keys of {}, got those of {}", config.node, identity.node_name);
        return Err(NodeFault::Room { slug: "identity", why });
    }
    complete(config, &identity)?;
    Ok(identity)
}

fn complete(config: &Config, identity: &NodeIdentity) -> Result<(), NodeFault> {
    // A crash here leaves the keys: init goes on with them.
    evidence(config, identity)?;
    // A crash here leaves an empty evidence log of these keys: init goes on beside it.
    write_public_files(config, identity).map_err(|why| NodeFault::room("identity")(&why))?;
    // A crash here leaves all but the Raft log: init writes the files for others again.
    let voters: Vec<u64> = identity.founders().map(|node| node.id).collect();
    let own = LogIdentity { log_id: identity.log_id().0, node_id: identity.node_id };
    LogStore::create(&config.raft_dir(), own, &voters)
        .map(drop)
        .map_err(|why| NodeFault::room("raft_log")(&why))
}

/// How far a `join` has come in this directory.
pub enum Begun {
    /// The keys are there; a replica of the cluster must be asked.
    Keys(Box<Joining>),
    /// It was asked, and answered: the rest of the directory is missing.
    Identity(Box<NodeIdentity>),
}

/// A new replica's keys, made once. Refuses a directory that was used before.
pub fn begin_join(config: &Config) -> Result<Begun, NodeFault> {
    refuse_used(config)?;
    let (dir, fault) = (config.identity_dir(), NodeFault::room("identity"));
    match NodeIdentity::load(&dir) {
        Ok(identity) if identity.has_joined() => {
            config.check_identity(&identity).map_err(|why| fault(&why))?;
            return Ok(Begun::Identity(Box::new(identity)));
        }
        Ok(identity) => {
            let why = format!(
                "expected an empty directory to join with, got the keys of {}, made by `init`",
                identity.node_name
            );
            return Err(fault(&why));
        }
        Err(IdentityFault::Missing { .. }) => {}
        Err(why) => return Err(fault(&why)),
    }
    Joining::begin(&dir).map(Box::new).map(Begun::Keys).map_err(|why| fault(&why))
}

/// Everything else of a new replica's directory; in the order of [`init`], and completed like it.
pub fn finish_join(config: &Config, identity: &NodeIdentity) -> Result<(), NodeFault> {
    complete(config, identity)
}

fn refuse_used(config: &Config) -> Result<(), NodeFault> {
    let dir = config.data_dir.display().to_string();
    if config.is_initialised() {
        let why = "expected a new directory, got one with a Raft log: `init` was run before";
        return Err(NodeFault::InUse { dir, why: why.to_owned() });
    }
    let Some(trace) = trace_of_run(config) else { return Ok(()) };
    let why = format!(
        "expected a new directory, got one in which a replica ran: {} is there and the Raft log is \
         gone; with a new one it would forget its votes (OPERATING.md, \"One replica is broken\")",
        trace.display()
    );
    Err(NodeFault::InUse { dir, why })
}

/// Something that only a running replica makes. What cannot be looked at counts.
pub(super) fn trace_of_run(config: &Config) -> Option<PathBuf> {
    let evidence = config.evidence_dir();
    let files = [config.signed_file(), evidence.join(CHECKPOINT_FILE), config.tables_dir()];
    let file = files.into_iter().find(|path| path.try_exists().unwrap_or(true));
    // `init` leaves this directory empty.
    let first_leaves = evidence.join(LogFile::Entries { index: 0, width: TILE_WIDTH }.path());
    let leaves = first_leaves.parent().filter(|dir| holds_any(dir));
    file.or_else(|| leaves.map(Path::to_owned))
}

fn holds_any(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(why) => why.kind() != ErrorKind::NotFound,
    }
}

/// The policy file is what makes a directory a log, and comes last in it.
fn evidence(config: &Config, identity: &NodeIdentity) -> Result<(), NodeFault> {
    let (dir, fault) = (config.evidence_dir(), NodeFault::room("evidence"));
    let path = dir.join(POLICY_FILE);
    match std::fs::read_to_string(&path) {
        // Its name may be the rename of a moment ago: open makes it durable.
        Ok(policy) if policy == identity.policy => {
            LogWriter::open(&dir).map(drop).map_err(|why| fault(&why))
        }
        Ok(_) => {
            let why = "expected the policy of this replica's identity, got another log's";
            Err(fault(&format!("{}: {why}", path.display())))
        }
        Err(why) if why.kind() == ErrorKind::NotFound => {
            let made = LogWriter::create(&dir, &identity.origin, &identity.policy);
            made.map(drop).map_err(|why| fault(&why))
        }
        Err(why) => Err(fault(&format!("{}: {why}", path.display()))),
    }
}

/// For operators: where the credential beside it may be shown, and the CA that their other tools
/// (a TLS check, say) may trust. Nothing secret; written again by an `init` that did not end.
fn write_public_files(config: &Config, identity: &NodeIdentity) -> Result<(), IdentityFault> {
    let dir = config.identity_dir();
    let listed = config.nodes.iter().map(|node| &node.grpc);
    let addresses = listed.chain(identity.neighbours.iter().map(|other| &other.grpc));
    let addresses: String = addresses.map(|address| format!("{address}\n")).collect();
    write_public(&dir.join(ADDRESSES_FILE), &addresses)?;
    write_public(&dir.join(CA_FILE), identity.authority.certificate_pem())
}

fn identity(
    config: &Config,
    bundle: Option<&Path>,
    now_ms: u64,
) -> Result<NodeIdentity, NodeFault> {
    let (dir, fault) = (config.identity_dir(), NodeFault::room("identity"));
    match NodeIdentity::load(&dir) {
        Err(IdentityFault::Missing { .. }) => {}
        loaded => return loaded.map_err(|why| fault(&why)),
    }
    let policy = config.evidence_dir().join(POLICY_FILE);
    if policy.try_exists().unwrap_or(true) {
        let why = "expected the identity whose evidence was begun here, got none: put it back";
        return Err(fault(&format!("{}: {why}", policy.display())));
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
