//! Looks at a stopped replica's data directory and says what is wrong with it. Changes nothing.
//!
//! Each room judges its own files ([`LogStore::inspect`], [`LogWriter::rehearse`],
//! [`Tables::inspect`] on a copy, the snapshots, the identity, the promise of the last signature);
//! this one asks them in the order in which a start believes them, and compares what they say of
//! each other.

mod claim;
mod compare;
mod evidence;
mod snapshots;

use std::io;
use std::path::{Path, PathBuf};

use proofmark_evidence::Checkpoint;

use crate::config::Config;
use crate::consensus::log_store::{LogIdentity, LogInspection, LogStore, LogStoreFault};
use crate::identity::{IdentityFault, NodeIdentity};
use crate::recorder::last_signed::{self, SignedFile};
use crate::state::State;
use crate::tables::{LoadedRows, Tables, TablesFault};
use evidence::Evidence;

/// Something is not as this program leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Relative to the data directory.
    pub file: String,
    /// Where in it, in bytes, if it has a place.
    pub offset: Option<u64>,
    pub slug: String,
    pub message: String,
    pub next: Next,
}

/// What the next start does about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It mends this by itself and says so; nothing that was promised is touched.
    Mends,
    /// It starts and goes on. A person should still see to it.
    LeavesIt,
    /// It does not start.
    Refuses,
    /// It starts, finds this, and stops serving and signing: the damage is never signed or shown.
    StopsServing,
}

/// What there is and what is wrong with it.
#[derive(Debug, Default)]
pub struct Inspection {
    pub findings: Vec<Finding>,
    /// Whose directory it is: node and origin.
    pub identity: Option<(String, String)>,
    pub log: Option<LogFacts>,
    pub evidence: Option<EvidenceFacts>,
    /// The newest entry whose effects are in the tables; none without tables.
    pub tables_applied: Option<u64>,
    /// After which entries there are snapshots that are whole, the newest first.
    pub snapshots: Vec<u64>,
    /// Leaves under the newest checkpoint that this node cosigned.
    pub signed_size: Option<u64>,
}

/// The Raft log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFacts {
    pub bytes: u64,
    /// Entries from here on are in the log.
    pub first_index: u64,
    pub last_index: u64,
    pub term: u64,
    /// The highest index known to be committed when it was written.
    pub commit: u64,
}

/// The evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceFacts {
    pub published: u64,
    /// Leaves beyond the checkpoint.
    pub unpublished: u64,
}

/// The directory could not be judged at all.
#[derive(Debug, thiserror::Error)]
pub enum FsckFault {
    #[error("{}: in_use: expected a stopped replica's directory, got one in use", .path.display())]
    InUse { path: PathBuf },
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
}

/// Judges every file of the replica that `config` describes. Its locks are held meanwhile, so that
/// none starts in it.
///
/// # Errors
/// A replica runs in it, or it cannot be read.
pub fn inspect(config: &Config) -> Result<Inspection, FsckFault> {
    let _locks = claim::claim(config)?;
    let mut inspection = Inspection::default();
    let identity = identity(config, &mut inspection);
    let log = raft_log(config, identity.as_ref(), &mut inspection)?;
    let evidence = evidence::inspect(config, identity.as_ref(), &mut inspection);
    let signed = signed(config, &mut inspection);
    let rows = tables(config, &mut inspection)?;
    let snapshot = snapshots::inspect(config, identity.as_ref(), &mut inspection);
    compare::compare(Stores { log, evidence, signed, rows, snapshot }, &mut inspection);
    Ok(inspection)
}

/// What could be read of each store.
struct Stores {
    log: Option<LogInspection>,
    evidence: Option<Evidence>,
    signed: Option<Checkpoint>,
    rows: Option<LoadedRows>,
    /// The state in the newest snapshot that is whole.
    snapshot: Option<State>,
}

impl Inspection {
    /// Whether a start needs nobody.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.next == Next::Mends)
    }

    fn find(&mut self, file: &str, slug: &str, message: impl ToString, next: Next) {
        self.find_at(file, None, slug, message, next);
    }

    fn find_at(
        &mut self,
        file: &str,
        offset: Option<u64>,
        slug: &str,
        message: impl ToString,
        next: Next,
    ) {
        let (file, slug, message) = (file.to_owned(), slug.to_owned(), message.to_string());
        self.findings.push(Finding { file, offset, slug, message, next });
    }
}

fn identity(config: &Config, inspection: &mut Inspection) -> Option<NodeIdentity> {
    let loaded = NodeIdentity::load(&config.identity_dir());
    let checked = loaded.and_then(|identity| identity.check().map(|()| identity));
    match checked {
        Ok(identity) => {
            let (node, origin) = (identity.node_name.clone(), identity.origin.to_string());
            inspection.identity = Some((node, origin));
            if let Err(why) = config.check_identity(&identity) {
                inspection.find("identity/node.json", "identity", why, Next::Refuses);
            }
            Some(identity)
        }
        Err(fault) => {
            let file = identity_file(&fault, &config.data_dir);
            inspection.find(&file, "identity", fault, Next::Refuses);
            None
        }
    }
}

fn identity_file(fault: &IdentityFault, data_dir: &Path) -> String {
    match fault {
        IdentityFault::Exposed { path, .. }
        | IdentityFault::File { path, .. }
        | IdentityFault::Malformed { path, .. }
        | IdentityFault::Missing { path } => {
            path.strip_prefix(data_dir).unwrap_or(path).display().to_string()
        }
        _ => "identity/node.json".to_owned(),
    }
}

fn raft_log(
    config: &Config,
    identity: Option<&NodeIdentity>,
    inspection: &mut Inspection,
) -> Result<Option<LogInspection>, FsckFault> {
    let own = identity.map(|node| LogIdentity { log_id: node.log_id().0, node_id: node.node_id });
    match LogStore::inspect(&config.raft_dir(), own) {
        Ok(log) => {
            inspection.log = Some(log.facts);
            if let Some(torn) = &log.torn {
                let message = format!(
                    "{} bytes after the last whole record: an unfinished write, or the last record \
                     rotted",
                    torn.bytes
                );
                let file = format!("raft/{}", torn.file);
                inspection.find_at(&file, Some(torn.offset), "raft_log_torn", message, Next::Mends);
            }
            for file in &log.needless {
                let message = "below a snapshot: a crash kept it from being removed";
                inspection.find(&format!("raft/{file}"), "raft_log_needless", message, Next::Mends);
            }
            Ok(Some(log))
        }
        Err(LogStoreFault::Io { path, cause }) => {
            Err(FsckFault::Unreadable { path: path.into(), error: cause })
        }
        Err(fault) => {
            let (file, offset) = raft_file(&fault);
            inspection.find_at(&file, offset, fault.slug(), &fault, Next::Refuses);
            Ok(None)
        }
    }
}

fn raft_file(fault: &LogStoreFault) -> (String, Option<u64>) {
    let name = |file: &str| {
        let name = Path::new(file).file_name().unwrap_or_default();
        format!("raft/{}", name.to_string_lossy())
    };
    match fault {
        LogStoreFault::Damaged { file, offset, .. } => (name(file), Some(*offset)),
        LogStoreFault::Identity { file, .. } => (name(file), None),
        _ => ("raft".to_owned(), None),
    }
}

fn signed(config: &Config, inspection: &mut Inspection) -> Option<Checkpoint> {
    match last_signed::read(&SignedFile::on_disk(&config.signed_file())) {
        Ok(signed) => {
            inspection.signed_size = signed.as_ref().map(|signed| signed.size);
            signed
        }
        Err(fault) => {
            inspection.find("last_signed", "last_signed", fault, Next::Refuses);
            None
        }
    }
}

/// Tables hold nothing alone: whatever is wrong with them, a start builds them again.
fn tables(config: &Config, inspection: &mut Inspection) -> Result<Option<LoadedRows>, FsckFault> {
    let dir = config.tables_dir();
    if !dir.exists() {
        return Ok(None);
    }
    match Tables::inspect(&dir) {
        Ok(None) => {
            // sled takes some damage for an empty database.
            let message = "expected what was saved, got nothing: no save yet, or damage";
            inspection.find("tables", "tables_empty", message, Next::Mends);
            Ok(None)
        }
        Ok(rows) => {
            inspection.tables_applied = rows.as_ref().map(|rows| rows.applied_index);
            Ok(rows)
        }
        Err(TablesFault::Disk { path, fault }) => Err(FsckFault::Unreadable { path, error: fault }),
        Err(fault) => {
            inspection.find("tables", fault.slug(), &fault, Next::Mends);
            Ok(None)
        }
    }
}
