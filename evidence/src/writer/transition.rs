//! Publishing the checkpoint with which cosigners hand over to others.
//!
//! Three files, in the order in which they are believed: `transitions` says which policy holds from
//! which size on, `checkpoint` says how far the log has come, `policy` is what follows from both.

use super::files::FileOps;
use super::recover::{damaged, read_text};
use super::{LogWriter, WriterFault, replace};
use crate::checkpoint::SignedCheckpoint;
use crate::layout::{CHECKPOINT_FILE, POLICY_FILE, TRANSITIONS_FILE};
use crate::policy::Policy;
use crate::transitions::{Transition, policy_at};

impl LogWriter {
    /// As [`LogWriter::publish`], for the first checkpoint over a changed set of cosigners: the
    /// policy so far and `policy_text` must both accept it, and from here on only the latter
    /// counts.
    pub fn publish_transition(&mut self, note: &str, policy_text: &str) -> Result<(), WriterFault> {
        let next = Transition::parse(note, policy_text)?;
        self.check_own(&next.signed)?;
        next.check(&self.policy)?;
        self.guard(|writer| writer.publish_transition_checked(next, note))
    }

    /// How the cosigners changed so far, oldest first.
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// What the next checkpoint must satisfy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn publish_transition_checked(
        &mut self,
        next: Transition,
        note: &str,
    ) -> Result<(), WriterFault> {
        let (signed, policy) = (next.signed.clone(), next.policy.clone());
        self.transitions.retain(|known| known.size() < next.size());
        self.transitions.push(next);
        let text = Transition::encode_all(&self.transitions);
        replace(&mut *self.files, TRANSITIONS_FILE, &text)?;
        // A crash here leaves a transition beyond the checkpoint: it is not in force, and whoever
        // publishes it again replaces it.
        self.publish_checked(signed, note)?;
        // A crash here leaves the older policy beside a checkpoint of the newer: open replaces it.
        replace(&mut *self.files, POLICY_FILE, &policy.to_text())?;
        self.policy = policy;
        Ok(())
    }
}

/// The transitions on disk, and the policy in force; puts right a policy file that a crash left
/// behind.
pub(super) fn open(
    files: &mut dyn FileOps,
    found: Policy,
    note: Option<&str>,
) -> Result<(Vec<Transition>, Policy), WriterFault> {
    let Some(text) = read_text(files, TRANSITIONS_FILE)? else {
        return Ok((Vec::new(), found));
    };
    let fault = |why: String| damaged(TRANSITIONS_FILE, "our transitions".to_owned(), why);
    let transitions = Transition::parse_all(&text).map_err(|why| fault(why.to_string()))?;
    let size = match note.map(SignedCheckpoint::parse) {
        None => 0,
        Some(Ok(signed)) => signed.checkpoint.size,
        Some(Err(why)) => {
            let expected = "our checkpoint".to_owned();
            return Err(damaged(CHECKPOINT_FILE, expected, why.to_string()));
        }
    };
    let policy = policy_at(&found, &transitions, size).clone();
    if policy != found {
        replace(files, POLICY_FILE, &policy.to_text())?;
    }
    Ok((transitions, policy))
}
