//! How a reader who keeps nothing but a policy learns of new cosigners: a transition's checkpoint,
//! and the leaves under it that changed the set, each with its path to the checkpoint's root.
//!
//! The old cosigners vouch for the tree, the tree holds the leaves, the leaves name the new ones,
//! and these have signed too. Nothing is believed of whoever brings it.

use crate::checkpoint::{CheckpointFault, SignedCheckpoint};
use crate::cosigners::{CosignerFault, Cosigners};
use crate::hash::Hash;
use crate::header::Header;
use crate::key::PublicKey;
use crate::leaf::{Leaf, LeafFault};
use crate::limits::ROLL_OVER_CHANGES_COUNT_MAX;
use crate::merkle::{ProofFault, verify_inclusion};
use crate::name::Origin;
use crate::policy::{Policy, PolicyFault, PolicyTextFault};
use crate::reader::{LogReader, ReaderFault};

/// Why a policy does not roll over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RollOverFault {
    #[error("roll-over: {0}")]
    Checkpoint(#[from] CheckpointFault),
    #[error("roll-over: {0}")]
    Policy(#[from] PolicyFault),
    #[error("roll-over policy: {0}")]
    PolicyText(#[from] PolicyTextFault),
    /// A person wrote it: a person must say what it becomes.
    #[error("roll-over: expected the policy that a log's own nodes imply, got another")]
    NotImplied,
    #[error("roll-over: expected 1 to {ROLL_OVER_CHANGES_COUNT_MAX} changes, ascending, got {got}")]
    Changes { got: usize },
    #[error("roll-over leaf {index}: {fault}")]
    Leaf { index: u64, fault: LeafFault },
    #[error("roll-over leaf {index}: {fault}")]
    Path { index: u64, fault: ProofFault },
    #[error("roll-over leaf {index}: expected a change of this log's cosigners, got {got}")]
    NoChange { index: u64, got: &'static str },
    #[error("roll-over leaf {index}: {fault}")]
    Cosigner { index: u64, fault: CosignerFault },
}

impl RollOverFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Checkpoint(fault) => fault.slug(),
            Self::Policy(fault) => fault.slug(),
            Self::PolicyText(fault) => fault.slug(),
            Self::NotImplied => "policy_not_implied",
            Self::Changes { .. } => "roll_over_changes",
            Self::Leaf { fault, .. } => fault.slug(),
            Self::Path { fault, .. } => fault.slug(),
            Self::NoChange { .. } => "roll_over_no_change",
            Self::Cosigner { fault, .. } => fault.slug(),
        }
    }
}

/// What proves one transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollOver {
    /// The first checkpoint over the changed set.
    pub note: String,
    pub changes: Vec<ProvenChange>,
}

/// One leaf that changed the set, and its path to the note's root, the sibling first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenChange {
    pub index: u64,
    pub leaf: Vec<u8>,
    pub path: Vec<Hash>,
}

impl RollOver {
    /// Reads what proves the transition of `note`, whose changes are the leaves at `indices`.
    pub fn read(
        reader: &LogReader,
        note: &str,
        size: u64,
        indices: &[u64],
    ) -> Result<RollOver, ReaderFault> {
        let change = |index: &u64| {
            let (index, leaf) = (*index, reader.leaf(*index)?.bytes().to_vec());
            Ok(ProvenChange { index, leaf, path: reader.inclusion_proof(index, size)? })
        };
        let changes = indices.iter().map(change).collect::<Result<_, ReaderFault>>()?;
        Ok(RollOver { note: note.to_owned(), changes })
    }

    /// The policy that follows `before`.
    pub fn apply(&self, before: &Policy) -> Result<Policy, RollOverFault> {
        let signed = SignedCheckpoint::parse(&self.note)?;
        let log_key = before.check(&signed)?.log_key;
        let got = self.changes.len();
        let ascends = self.changes.is_sorted_by(|one, next| one.index < next.index);
        if !ascends || !(1..=ROLL_OVER_CHANGES_COUNT_MAX).contains(&got) {
            return Err(RollOverFault::Changes { got });
        }
        let origin = &signed.checkpoint.origin;
        let mut cosigners = implied(before, origin, &log_key).ok_or(RollOverFault::NotImplied)?;
        for change in &self.changes {
            change.check_into(&mut cosigners, &signed, &log_key)?;
        }
        let after = cosigners.policy(origin, &log_key)?;
        after.check(&signed)?;
        Ok(after)
    }
}

impl ProvenChange {
    fn check_into(
        &self,
        cosigners: &mut Cosigners,
        signed: &SignedCheckpoint,
        log_key: &PublicKey,
    ) -> Result<(), RollOverFault> {
        let (index, checkpoint) = (self.index, &signed.checkpoint);
        let broken = |fault| RollOverFault::Leaf { index, fault };
        let leaf = Leaf::parse(self.leaf.as_slice()).map_err(broken)?;
        verify_inclusion(leaf.hash(), index, checkpoint.size, &self.path, checkpoint.root)
            .map_err(|fault| RollOverFault::Path { index, fault })?;
        leaf.verify(log_key).map_err(broken)?;
        let header = leaf.header().map_err(broken)?;
        let is_ours = header.log_id() == checkpoint.origin.log_id();
        let before = cosigners.clone();
        match header {
            Header::KeyChange(change) if is_ours => cosigners
                .take(&change.change)
                .map_err(|fault| RollOverFault::Cosigner { index, fault })?,
            _ => {}
        }
        match *cosigners == before {
            true => Err(RollOverFault::NoChange { index, got: "another leaf" }),
            false => Ok(()),
        }
    }
}

/// The set behind a policy that a set implies; `None` for every other policy.
fn implied(policy: &Policy, origin: &Origin, log_key: &PublicKey) -> Option<Cosigners> {
    let cosigners = Cosigners::of_genesis(&policy.witness_keys());
    let own = cosigners.policy(origin, log_key).ok()?;
    (own == *policy).then_some(cosigners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{MovedSample, policy};

    #[test]
    fn a_pinned_policy_follows_the_nodes_and_nothing_else() {
        let moved = MovedSample::new();
        let after = moved.roll_over().apply(&policy()).unwrap();
        assert_eq!(after.to_text(), moved.policy_after().to_text());
        let check = |bend: &dyn Fn(&mut RollOver), slug: &str| {
            let mut bent = moved.roll_over();
            bend(&mut bent);
            assert_eq!(bent.apply(&policy()).unwrap_err().slug(), slug);
        };
        check(&|one| one.changes.clear(), "roll_over_changes");
        check(&|one| one.changes.reverse(), "roll_over_changes");
        check(&|one| one.changes[0].path[0] = Hash::ZERO, "root_mismatch");
        check(&|one| one.changes[0].leaf[3] ^= 1, "root_mismatch");
        check(&|one| one.note = moved.note_by(&[0, 3]), "no_quorum"); // one old node of three
        check(&|one| drop(one.changes.pop()), "no_quorum"); // n3 left, untold
        let again = moved.roll_over().apply(&after).unwrap_err();
        assert_eq!(again.slug(), "cosigner_exists", "a transition is made once");
    }
}
