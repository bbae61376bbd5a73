//! What an agent with an older policy is sent, so that it believes the nodes of now.
//!
//! Read from the log's own files, which prove it; an agent believes nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use proofmark_evidence::{
    DirSource, Hash, LogReader, Policy, RollOver, TRANSITIONS_FILE, TileSource, Transition, sha256,
};
use proofmark_proto as wire;

use crate::limits::ROLL_OVER_TRIES_MAX;
use crate::views::members::MembersView;

/// What a session knows of its agent's policy.
#[derive(Debug, Default)]
pub(super) struct KnownPolicy {
    /// SHA-256 of its text. `None`: an older agent, which knows no such answer.
    sha256: Option<Hash>,
    /// How often the way from it to the newest was looked for, and not found.
    tries: u32,
}

impl KnownPolicy {
    /// As the agent's Hello says it.
    pub(super) fn of(sha256: &[u8]) -> KnownPolicy {
        KnownPolicy { sha256: sha256.try_into().ok().map(Hash), tries: 0 }
    }

    /// Whether the agent said it: then it knows the messages that came with it.
    pub(super) fn is_known(&self) -> bool {
        self.sha256.is_some()
    }

    /// The agent's policy, when it is not the newest. The files may lag behind the state for a
    /// moment, and a policy that a person wrote has no way to the newest: so a few tries.
    pub(super) fn due(&mut self, members: &MembersView) -> Option<Hash> {
        let known = self.sha256.filter(|known| *known != members.policy_sha256);
        let known = known.filter(|_| !members.cosigner_changes.is_empty())?;
        self.tries += 1;
        (self.tries <= ROLL_OVER_TRIES_MAX).then_some(known)
    }

    /// The agent was told the way to this one.
    pub(super) fn told(&mut self, sha256: Hash) {
        *self = KnownPolicy { sha256: Some(sha256), tries: 0 };
    }
}

/// One transition on its way to an agent.
pub(super) struct Next {
    pub(super) message: wire::RollOver,
    pub(super) policy_sha256: Hash,
}

/// The transitions that an agent with this policy has not seen, oldest first. `changes`: the leaves
/// that changed the cosigners. Empty when it knows the newest, or when its policy is none of this
/// log's: then a person must act.
pub(super) fn after(
    dir: &Arc<PathBuf>,
    first: &str,
    changes: &[u64],
    known_sha256: Hash,
) -> Vec<Next> {
    let source = DirSource::new(dir.as_path());
    let Ok(bytes) = source.read(TRANSITIONS_FILE) else { return Vec::new() };
    let parsed = Transition::parse_all(&String::from_utf8_lossy(&bytes));
    let (Ok(transitions), Ok(reader)) = (parsed, LogReader::open(source)) else {
        return Vec::new();
    };
    let Some(known) = known(first, &transitions, known_sha256) else { return Vec::new() };
    let one = |place: usize| {
        let message = roll_over(&reader, &transitions, changes, place)?;
        let policy = transitions[place].policy.to_text();
        Some(Next { message, policy_sha256: sha256(policy.as_bytes()) })
    };
    // A fault of the disk ends the chain: what follows would not be believed.
    (known..transitions.len()).map_while(one).collect()
}

/// How many transitions lie before the policy of this hash.
fn known(first: &str, transitions: &[Transition], known_sha256: Hash) -> Option<usize> {
    let is_it = |text: &str| sha256(text.as_bytes()) == known_sha256;
    let first = Policy::parse(first).ok()?.to_text();
    let later = transitions.iter().map(|one| one.policy.to_text());
    std::iter::once(first).chain(later).position(|text| is_it(&text))
}

fn roll_over(
    reader: &LogReader,
    transitions: &[Transition],
    changes: &[u64],
    place: usize,
) -> Option<wire::RollOver> {
    let transition = &transitions[place];
    let from = place.checked_sub(1).map_or(0, |before| transitions[before].size());
    let under = |index: &&u64| (from..transition.size()).contains(*index);
    let indices: Vec<u64> = changes.iter().filter(under).copied().collect();
    let note = transition.signed.to_text();
    let RollOver { note, changes } =
        RollOver::read(reader, &note, transition.size(), &indices).ok()?;
    let change = |change: proofmark_evidence::ProvenChange| wire::ProvenChange {
        index: change.index,
        leaf: change.leaf.into(),
        path: change.path.iter().map(|hash| hash.0.to_vec().into()).collect(),
    };
    Some(wire::RollOver { note, changes: changes.into_iter().map(change).collect() })
}
