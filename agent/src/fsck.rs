//! Looks at a stopped agent's data directory and says what is wrong with it. Changes nothing.
//!
//! Each room judges its own files: the identity, the spool, the kept specs, the mark of a stop.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use proofmark_evidence::PublicKey;

use crate::identity::{self, IdentityFault};
use crate::spool::{self, SpoolFault};
use crate::{agent, specs};

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
    /// It sets the damage aside and reports what is lost as `spool_damaged`, unless the aggregator
    /// had it already.
    SetsAside,
    /// It does not start.
    Refuses,
}

/// What there is and what is wrong with it.
#[derive(Debug, Default)]
pub struct Inspection {
    pub findings: Vec<Finding>,
    /// Who the agent is, if it has enrolled: name and epoch.
    pub identity: Option<(String, u64)>,
    pub spool: spool::Held,
}

/// The directory could not be judged at all.
#[derive(Debug, thiserror::Error)]
pub enum FsckFault {
    #[error("{}: data_dir_in_use: expected a stopped agent's, got one in use", .dir.display())]
    InUse { dir: PathBuf },
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
}

/// Judges every file of `data_dir`. Its lock is held meanwhile, so that no agent starts in it.
///
/// # Errors
/// An agent runs in it, or it cannot be read.
pub fn inspect(data_dir: &Path) -> Result<Inspection, FsckFault> {
    let _lock = claim(data_dir)?;
    let mut inspection = Inspection::default();
    let mut key = None;
    match identity::look(data_dir) {
        Ok(None) => {}
        Ok(Some(identity)) => {
            key = Some(identity.signing_key.public());
            inspection.identity = Some((identity.agent.to_string(), identity.epoch));
        }
        Err(fault) => inspection.findings.push(of_identity(data_dir, &fault)),
    }
    inspect_spool(data_dir, key, &mut inspection)?;
    if let Some(fault) = wrong_key(data_dir, key, &inspection) {
        inspection.findings.push(of_identity(data_dir, &fault));
    }
    if inspection.spool.batches > 0 && inspection.findings.is_empty() && key.is_none() {
        inspection.findings.push(Finding {
            file: "identity/enrolment".to_owned(),
            offset: None,
            slug: "identity_missing".to_owned(),
            message: "expected the enrolment by which the spool was signed, got none".to_owned(),
            next: Next::Refuses,
        });
    }
    inspection.findings.extend(specs::inspect(data_dir));
    inspection.findings.extend(agent::inspect_mark(data_dir));
    Ok(inspection)
}

/// The key of this life must be the one that signed what this life spooled.
fn wrong_key(
    data_dir: &Path,
    key: Option<PublicKey>,
    inspection: &Inspection,
) -> Option<IdentityFault> {
    let ((_, epoch), (spooled, _)) = (inspection.identity.as_ref()?, inspection.spool.end?);
    let (key_id, signed_by) = (key?.key_id(), inspection.spool.newest_key_id?);
    let is_wrong = *epoch == spooled && key_id != signed_by;
    is_wrong.then(|| identity::other_key(data_dir, signed_by, key_id))
}

fn inspect_spool(
    data_dir: &Path,
    key: Option<PublicKey>,
    inspection: &mut Inspection,
) -> Result<(), FsckFault> {
    let dir = data_dir.join("spool");
    if !dir.exists() {
        return Ok(()); // an agent that never ran
    }
    let looked = spool::inspect(&dir, key.as_ref());
    let (held, findings) = looked.map_err(|fault| unreadable(&dir, &fault))?;
    inspection.spool = held;
    inspection.findings.extend(findings);
    Ok(())
}

fn unreadable(path: &Path, fault: &SpoolFault) -> FsckFault {
    FsckFault::Unreadable { path: path.to_owned(), error: io::Error::other(fault.to_string()) }
}

fn of_identity(data_dir: &Path, fault: &IdentityFault) -> Finding {
    let file = match fault {
        IdentityFault::Exposed { path, .. }
        | IdentityFault::File { path, .. }
        | IdentityFault::Malformed { path, .. } => path.strip_prefix(data_dir).unwrap_or(path),
        _ => Path::new("identity"),
    };
    Finding {
        file: file.display().to_string(),
        offset: None,
        slug: fault.slug().to_owned(),
        message: fault.to_string(),
        next: Next::Refuses,
    }
}

/// The lock of a directory in which an agent once ran. Where none did, there is none.
fn claim(data_dir: &Path) -> Result<Option<File>, FsckFault> {
    let path = data_dir.join("lock");
    let unreadable = |path: &Path, error| FsckFault::Unreadable { path: path.to_owned(), error };
    std::fs::read_dir(data_dir).map_err(|error| unreadable(data_dir, error))?;
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(FsckFault::InUse { dir: data_dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unreadable(&path, error)),
    }
}
