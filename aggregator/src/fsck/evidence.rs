//! The evidence, as the next start would have it, verified as a stranger does.

use proofmark_evidence::{
    CHECKPOINT_FILE, DirSource, Fault, LogWriter, Policy, Rehearsal, Report, WriterFault,
    verify_log, verify_log_unpinned,
};

use super::{EvidenceFacts, Inspection, Next};
use crate::config::Config;
use crate::identity::NodeIdentity;

/// A log that a start would open.
pub(super) struct Evidence {
    pub(super) rehearsal: Rehearsal,
    /// Leaves under the published checkpoint, if this node cosigned it.
    pub(super) cosigned_size: Option<u64>,
}

pub(super) fn inspect(
    config: &Config,
    identity: Option<&NodeIdentity>,
    inspection: &mut Inspection,
) -> Option<Evidence> {
    let dir = config.evidence_dir();
    let policy = identity.and_then(|identity| Policy::parse(&identity.policy).ok());
    match LogWriter::rehearse(&dir) {
        Ok(rehearsal) => {
            // A log that never published has nothing that a stranger could verify.
            if rehearsal.size() > 0 || dir.join(CHECKPOINT_FILE).exists() {
                let report = verify(&rehearsal, policy.as_ref());
                let published = report.size;
                let unpublished = rehearsal.size().saturating_sub(published);
                inspection.evidence = Some(EvidenceFacts { published, unpublished });
                let is_published = dir.join(CHECKPOINT_FILE).exists();
                let faults = report.faults.iter();
                // Until the first checkpoint its absence is the only thing to be said.
                let next = Next::StopsServing;
                faults.filter(|_| is_published).for_each(|fault| damaged(fault, next, inspection));
            }
            mended(&rehearsal, inspection);
            let name = identity.map(|identity| identity.own().cosigner_name.as_str());
            let cosigned_size = name.and_then(|name| rehearsal.cosigned_size(name));
            Some(Evidence { rehearsal, cosigned_size })
        }
        Err(fault) => {
            refused(&fault, inspection);
            let report = verify(&DirSource::new(dir), policy.as_ref());
            report.faults.iter().for_each(|fault| damaged(fault, Next::Refuses, inspection));
            None
        }
    }
}

fn verify(source: &dyn proofmark_evidence::TileSource, policy: Option<&Policy>) -> Report {
    match policy {
        Some(policy) => verify_log(source, policy, &mut ()),
        None => verify_log_unpinned(source, &mut ()),
    }
}

/// What a start takes, the replica finds when it reads all of its evidence again.
fn damaged(fault: &Fault, next: Next, inspection: &mut Inspection) {
    let leaf = fault.leaf.map_or_else(String::new, |leaf| format!("leaf {leaf}: "));
    let message = format!("{leaf}expected {}, got {}", fault.expected, fault.got);
    let next = if fault.slug == "file_unexpected" { Next::LeavesIt } else { next };
    let file = format!("evidence/{}", fault.file);
    inspection.find(&file, fault.slug, message, next);
}

fn refused(fault: &WriterFault, inspection: &mut Inspection) {
    let file = match fault {
        WriterFault::Damaged { file, .. } | WriterFault::Disk { file, .. } => file.as_str(),
        WriterFault::NotLog => proofmark_evidence::POLICY_FILE,
        _ => "",
    };
    let file = format!("evidence/{file}");
    inspection.find(file.trim_end_matches('/'), fault.slug(), fault, Next::Refuses);
}

/// What a crash left beyond the newest leaf or checkpoint.
fn mended(rehearsal: &Rehearsal, inspection: &mut Inspection) {
    for path in rehearsal.changes() {
        let message = "beyond what was promised: a start writes, cuts or removes it";
        inspection.find(&format!("evidence/{path}"), "evidence_tail", message, Next::Mends);
    }
}
