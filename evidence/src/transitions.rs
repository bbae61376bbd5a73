//! The checkpoints with which cosigners handed over to others, kept for ever.
//!
//! The file `transitions` of a log: each entry is the note of the first checkpoint over a changed
//! set of cosigners, and the policy from there on. A reader who pinned an older policy believes the
//! note by the old nodes' signatures, and from then on the new nodes. See FORMATS.md.

use crate::checkpoint::{CheckpointFault, SignedCheckpoint};
use crate::limits::{
    NOTE_BYTES_MAX, POLICY_BYTES_MAX, TRANSITIONS_BYTES_MAX, TRANSITIONS_COUNT_MAX,
};
use crate::name::Origin;
use crate::policy::{Policy, PolicyFault, PolicyTextFault};

const FIRST_LINE: &str = "proofmark/transitions/v1\n";

/// Why bytes are no transitions, or a transition does not follow from what is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionFault {
    #[error("expected at most {TRANSITIONS_BYTES_MAX} bytes, {TRANSITIONS_COUNT_MAX} entries")]
    TooLarge,
    #[error("expected `proofmark/transitions/v1` and then notes with their policies, got {got}")]
    Text { got: String },
    #[error("expected sizes that ascend, got {got} after {before}")]
    Order { before: u64, got: u64 },
    #[error("transition: {0}")]
    Checkpoint(#[from] CheckpointFault),
    #[error("transition policy: {0}")]
    PolicyText(#[from] PolicyTextFault),
    #[error("transition at {size}: {fault}")]
    Refused { size: u64, fault: PolicyFault },
    #[error("transition at {size}: expected a policy for {expected} alone, got {got}")]
    OtherLog { size: u64, expected: Origin, got: String },
}

impl TransitionFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::TooLarge => "transitions_too_large",
            Self::Text { .. } => "transitions_malformed",
            Self::Order { .. } => "transitions_order",
            Self::Checkpoint(fault) => fault.slug(),
            Self::PolicyText(fault) => fault.slug(),
            Self::Refused { .. } => "transition_refused",
            Self::OtherLog { .. } => "transition_other_log",
        }
    }
}

/// One hand-over: a checkpoint that the cosigners before and after it vouch for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub signed: SignedCheckpoint,
    /// In force from this checkpoint on.
    pub policy: Policy,
}

impl Transition {
    pub fn parse(note: &str, policy: &str) -> Result<Transition, TransitionFault> {
        let signed = SignedCheckpoint::parse(note)?;
        Ok(Transition { signed, policy: Policy::parse(policy)? })
    }

    pub fn size(&self) -> u64 {
        self.signed.checkpoint.size
    }

    /// Both the policy before and the one after must accept the checkpoint, and the one after must
    /// speak of this log and no other.
    pub fn check(&self, before: &Policy) -> Result<(), TransitionFault> {
        let size = self.size();
        for policy in [before, &self.policy] {
            let checked = policy.check(&self.signed);
            checked.map_err(|fault| TransitionFault::Refused { size, fault })?;
        }
        let origin = &self.signed.checkpoint.origin;
        let origins: Vec<&str> = self.policy.origins().collect();
        match origins == [origin.as_str()] {
            true => Ok(()),
            false => {
                let (expected, got) = (origin.clone(), origins.join(", "));
                Err(TransitionFault::OtherLog { size, expected, got })
            }
        }
    }

    /// The bytes of the file `transitions`.
    pub fn encode_all(transitions: &[Transition]) -> String {
        let mut text = FIRST_LINE.to_owned();
        for transition in transitions {
            let (note, policy) = (transition.signed.to_text(), transition.policy.to_text());
            text += &format!("note {}\n{note}policy {}\n{policy}", note.len(), policy.len());
        }
        text
    }

    /// The inverse of [`Transition::encode_all`], strict: one spelling, sizes ascend.
    pub fn parse_all(text: &str) -> Result<Vec<Transition>, TransitionFault> {
        if text.len() > TRANSITIONS_BYTES_MAX {
            return Err(TransitionFault::TooLarge);
        }
        let mut rest = text.strip_prefix(FIRST_LINE).ok_or_else(|| malformed(text))?;
        let mut transitions: Vec<Transition> = Vec::new();
        while !rest.is_empty() {
            if transitions.len() == TRANSITIONS_COUNT_MAX {
                return Err(TransitionFault::TooLarge);
            }
            let note = take_part(&mut rest, "note ", NOTE_BYTES_MAX)?;
            let policy = take_part(&mut rest, "policy ", POLICY_BYTES_MAX)?;
            let next = Transition::parse(note, policy)?;
            let before = transitions.last().map_or(0, Transition::size);
            if next.size() <= before {
                return Err(TransitionFault::Order { before, got: next.size() });
            }
            transitions.push(next);
        }
        match Transition::encode_all(&transitions) == text {
            true => Ok(transitions),
            false => Err(TransitionFault::Text { got: "another spelling".to_owned() }),
        }
    }
}

/// The policy in force at `size`: the newest transition's at or below it, else `first`.
pub fn policy_at<'a>(first: &'a Policy, transitions: &'a [Transition], size: u64) -> &'a Policy {
    let past = transitions.iter().rev().find(|transition| transition.size() <= size);
    past.map_or(first, |transition| &transition.policy)
}

fn take_part<'t>(
    rest: &mut &'t str,
    word: &str,
    bytes_max: usize,
) -> Result<&'t str, TransitionFault> {
    let (line, after) = rest.split_once('\n').ok_or_else(|| malformed(rest))?;
    let len = line.strip_prefix(word).and_then(|digits| digits.parse::<usize>().ok());
    let len = len.filter(|len| *len <= bytes_max).ok_or_else(|| malformed(line))?;
    let part = after.get(..len).ok_or_else(|| malformed(after))?;
    *rest = &after[len..];
    Ok(part)
}

fn malformed(got: &str) -> TransitionFault {
    TransitionFault::Text { got: format!("{:?}", got.chars().take(60).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;
    use crate::sample;

    fn transition(size: u64) -> Transition {
        let note = sample::note(size, sha256(b"root"), &[0, 1]);
        Transition::parse(&note, &sample::policy().to_text()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_no_other_spelling_is() {
        let text = Transition::encode_all(&[transition(5), transition(9)]);
        let read = Transition::parse_all(&text).unwrap();
        assert_eq!(read.iter().map(Transition::size).collect::<Vec<_>>(), [5, 9]);
        assert_eq!(Transition::parse_all(FIRST_LINE), Ok(Vec::new()));
        let cuts = (FIRST_LINE.len() + 1..text.len()).filter(|cut| text.is_char_boundary(*cut));
        for cut in cuts {
            let is_whole = cut == Transition::encode_all(&[transition(5)]).len();
            assert_eq!(Transition::parse_all(&text[..cut]).is_ok(), is_whole, "cut at {cut}");
        }
        let check = |text: &str, slug: &str| {
            assert_eq!(Transition::parse_all(text).unwrap_err().slug(), slug, "{text}");
        };
        check("", "transitions_malformed");
        check(&text.replace("note ", "note 0"), "transitions_malformed");
        check(&Transition::encode_all(&[transition(5), transition(5)]), "transitions_order");
    }
}
