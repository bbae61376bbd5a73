//! Which checkpoint to believe: first how the cosigners changed, then a checkpoint that the ones in
//! force at its size vouch for.

use proofmark_evidence::limits::TRANSITIONS_BYTES_MAX;
use proofmark_evidence::{Origin, Policy, SignedCheckpoint, Transition};

use super::{Ask, Evidence, Piece};

/// What is known of a peer's word so far.
#[derive(Default)]
pub(super) struct Vouching {
    /// The file `transitions` of one peer, as far as it has come.
    text: Vec<u8>,
    /// Whose.
    peer: Option<u64>,
    transitions: Option<Vec<Transition>>,
    is_asked: bool,
}

/// A checkpoint that is believed, and how it came to be its cosigners'.
pub(super) struct Vouched {
    pub(super) signed: SignedCheckpoint,
    pub(super) note: String,
    /// All there are up to the checkpoint.
    pub(super) transitions: Vec<Transition>,
}

/// Why there is no checkpoint yet.
pub(super) enum Refusal {
    Wrong(String),
    /// It does not cover enough: the next one may.
    NotYet,
}

impl Vouching {
    /// The next thing to ask, and whom.
    pub(super) fn next_ask(&self) -> Option<(Ask, Option<u64>)> {
        let ask = match self.transitions {
            None => Ask::Transitions { at: self.text.len() as u64 },
            Some(_) => Ask::Checkpoint,
        };
        (!self.is_asked).then_some((ask, self.peer))
    }

    pub(super) fn asked(&mut self, peer: u64) {
        self.is_asked = true;
        if self.peer != Some(peer) {
            // Another peer's file may be longer, and its checkpoint newer.
            *self = Vouching { peer: Some(peer), is_asked: true, ..Vouching::default() };
        }
    }

    pub(super) fn missed(&mut self) {
        self.is_asked = false;
        self.peer = None;
    }

    /// Takes a piece. `Some`: a checkpoint of `origin` over `leaf_count` leaves or more.
    ///
    /// # Errors
    /// It is not to be believed, or does not cover enough. Both are asked for again, of anybody.
    pub(super) fn got(
        &mut self,
        ask: Ask,
        piece: &Piece,
        wanted: (&Origin, u64),
        evidence: &dyn Evidence,
    ) -> Result<Option<Vouched>, Refusal> {
        self.is_asked = false;
        let taken = match ask {
            Ask::Transitions { at } => self.got_transitions(at, piece).map(|()| None),
            Ask::Checkpoint => self.judge(piece, wanted, evidence).map(Some),
            _ => Ok(None),
        };
        if taken.is_err() {
            *self = Vouching::default();
        }
        taken
    }

    fn got_transitions(&mut self, at: u64, piece: &Piece) -> Result<(), Refusal> {
        let wrong = |why: String| Refusal::Wrong(format!("transitions: {why}"));
        if at != self.text.len() as u64 {
            return Ok(()); // of a peer that is not asked any more
        }
        let is_whole = at + piece.bytes.len() as u64 >= piece.total;
        if piece.total > TRANSITIONS_BYTES_MAX as u64 || (piece.bytes.is_empty() && !is_whole) {
            return Err(wrong(format!("{} bytes at {at} of {}", piece.bytes.len(), piece.total)));
        }
        self.text.extend_from_slice(&piece.bytes);
        if is_whole {
            let text = std::str::from_utf8(&self.text).map_err(|why| wrong(why.to_string()))?;
            let parsed = if text.is_empty() { Ok(Vec::new()) } else { Transition::parse_all(text) };
            self.transitions = Some(parsed.map_err(|why| wrong(why.to_string()))?);
        }
        Ok(())
    }

    fn judge(
        &self,
        piece: &Piece,
        (origin, leaf_count): (&Origin, u64),
        evidence: &dyn Evidence,
    ) -> Result<Vouched, Refusal> {
        let wrong = |why: String| Refusal::Wrong(format!("checkpoint: {why}"));
        if piece.bytes.is_empty() {
            return Err(Refusal::NotYet);
        }
        let note = String::from_utf8(piece.bytes.to_vec()).map_err(|why| wrong(why.to_string()))?;
        let signed = SignedCheckpoint::parse(&note).map_err(|why| wrong(why.to_string()))?;
        let (size, got) = (signed.checkpoint.size, &signed.checkpoint.origin);
        if got != origin {
            return Err(wrong(format!("expected one of {origin}, got one of {got}")));
        }
        let known = self.transitions.iter().flatten();
        let transitions: Vec<_> = known.filter(|one| one.size() <= size).cloned().collect();
        let policy = policy_in_force(evidence, &transitions).map_err(wrong)?;
        policy.check(&signed).map_err(|why| wrong(format!("{}: {why}", why.slug())))?;
        match size < leaf_count {
            true => Err(Refusal::NotYet),
            false => Ok(Vouched { signed, note, transitions }),
        }
    }
}

/// From the policy that this replica believes, hand-over by hand-over.
fn policy_in_force(evidence: &dyn Evidence, transitions: &[Transition]) -> Result<Policy, String> {
    let believed = evidence.believed().ok_or("this replica is ending")?;
    let (published_size, mut policy) = believed;
    for transition in transitions.iter().filter(|one| one.size() > published_size) {
        transition.check(&policy).map_err(|why| format!("{}: {why}", why.slug()))?;
        policy = transition.policy.clone();
    }
    Ok(policy)
}
