//! Who may vouch for a log: its own nodes, as leaf 0 and the transitions say it, and whom the
//! caller trusts.
//!
//! Transitions are judged here by their signatures alone. That the leaves say the same is checked
//! after the leaves were read ([`Verifier::check_transitions`]).

use super::findings::Findings;
use super::{Verifier, implied_policy};
use crate::checkpoint::SignedCheckpoint;
use crate::layout::{
    CHECKPOINT_FILE, LogFile, POLICY_FILE, SourceFault, TRANSITIONS_FILE, TileSource, read_at_least,
};
use crate::merkle::Subtrees;
use crate::policy::{Policy, PolicyFault, PolicyVerdict};
use crate::tile::{TILE_WIDTH, parse_tile, subtree_in_tile, width_at};
use crate::transitions::{Transition, policy_at};

/// The log's own policies, oldest first.
pub(super) struct OwnPolicies {
    /// Implied by leaf 0; where that cannot be read, what the policy file says.
    first: Option<Policy>,
    /// Those up to the checkpoint. One beyond it is being written.
    transitions: Vec<Transition>,
    size: u64,
}

impl OwnPolicies {
    /// Reads and judges the files `policy` and `transitions` as of a checkpoint of `size` leaves.
    pub(super) fn read(source: &dyn TileSource, size: u64, findings: &mut Findings) -> OwnPolicies {
        let all = read_transitions(source, findings);
        let implied = implied_policy(source);
        let found = read_policy(source, findings, implied.as_ref(), &all, size);
        let first = implied.or(found);
        let transitions = all.into_iter().filter(|one| one.size() <= size).collect();
        let own = OwnPolicies { first, transitions, size };
        own.check_chain(findings);
        own
    }

    /// Each transition must be vouched for by the nodes before it and by those after it.
    fn check_chain(&self, findings: &mut Findings) {
        let Some(mut before) = self.first.as_ref() else { return };
        for transition in &self.transitions {
            if let Err(fault) = transition.check(before) {
                return findings.add_fault(TRANSITIONS_FILE, fault.slug(), &fault);
            }
            before = &transition.policy;
        }
    }

    /// What the checkpoint must satisfy.
    fn now(&self) -> Option<&Policy> {
        Some(policy_at(self.first.as_ref()?, &self.transitions, self.size))
    }

    /// Whose signatures the file `checkpoint` may carry: at a transition those before it too.
    fn known_at_checkpoint(&self) -> Vec<&Policy> {
        let mut known: Vec<&Policy> = self.now().into_iter().collect();
        if self.transitions.last().is_some_and(|last| last.size() == self.size)
            && let Some(first) = &self.first
        {
            known.push(policy_at(first, &self.transitions, self.size - 1));
        }
        known
    }

    /// The caller's policy decides, if there is one; the log's own must agree too. In the log's own
    /// file, unlike in a note from elsewhere, no signature may be of an unknown key.
    pub(super) fn check_checkpoint(
        &self,
        signed: &SignedCheckpoint,
        pinned: Option<&Policy>,
        findings: &mut Findings,
    ) -> Option<PolicyVerdict> {
        let mut verdict = match pinned.map(|pinned| self.check_pinned(signed, pinned)) {
            None => None,
            Some(Ok(verdict)) => Some(verdict),
            Some(Err((slug, fault))) => {
                findings.add_fault(CHECKPOINT_FILE, slug, &fault);
                return None;
            }
        };
        if let Some(own) = self.now() {
            match own.check(signed) {
                Ok(own) => verdict = verdict.or(Some(own)),
                Err(fault) => {
                    findings.add_fault(CHECKPOINT_FILE, fault.slug(), &fault);
                    return None;
                }
            }
        }
        let known: Vec<&Policy> = pinned.into_iter().chain(self.known_at_checkpoint()).collect();
        let is_known = |name: &str| known.iter().any(|policy| knows(policy, name, signed));
        for line in signed.signatures.iter().filter(|line| !is_known(&line.name)) {
            let expected = "signatures of keys in the policy";
            findings.add(CHECKPOINT_FILE, "signature_unknown", expected, &line.name);
        }
        verdict
    }

    /// By its own quorum; or because one of the log's transitions has that quorum, so that those
    /// whom the caller trusts have handed over to those who signed this.
    fn check_pinned(
        &self,
        signed: &SignedCheckpoint,
        pinned: &Policy,
    ) -> Result<PolicyVerdict, (&'static str, PolicyFault)> {
        let fault = match pinned.check(signed) {
            Ok(verdict) => return Ok(verdict),
            Err(fault) => fault,
        };
        if self.transitions.is_empty() || !matches!(fault, PolicyFault::NoQuorum { .. }) {
            return Err((fault.slug(), fault));
        }
        let mut handed_over = self.transitions.iter().map(|one| pinned.check(&one.signed));
        let verdict = handed_over.find_map(Result::ok).ok_or(("no_roll_over", fault))?;
        let own = self.now().and_then(|own| own.check(signed).ok());
        let cosigners = own.map_or_else(Vec::new, |own| own.cosigners);
        Ok(PolicyVerdict { cosigners, ..verdict })
    }
}

/// A missing file: the cosigners never changed.
fn read_transitions(source: &dyn TileSource, findings: &mut Findings) -> Vec<Transition> {
    let bytes = match source.read(TRANSITIONS_FILE) {
        Ok(bytes) => bytes,
        Err(SourceFault::NotFound { .. }) => return Vec::new(),
        Err(fault) => {
            findings.add_fault(TRANSITIONS_FILE, fault.slug(), &fault);
            return Vec::new();
        }
    };
    let parsed = Transition::parse_all(&String::from_utf8_lossy(&bytes));
    parsed.unwrap_or_else(|fault| {
        findings.add_fault(TRANSITIONS_FILE, fault.slug(), &fault);
        Vec::new()
    })
}

/// The file must say exactly what leaf 0 and the transitions imply; while a transition is being
/// written, what they implied a moment ago or will in a moment.
fn read_policy(
    source: &dyn TileSource,
    findings: &mut Findings,
    implied: Option<&Policy>,
    all: &[Transition],
    size: u64,
) -> Option<Policy> {
    let text = match source.read(POLICY_FILE) {
        Ok(bytes) => bytes,
        Err(fault) => {
            findings.add_fault(POLICY_FILE, fault.slug(), &fault);
            return None;
        }
    };
    if let Some(first) = implied {
        let under_way = all
            .iter()
            .filter(|one| one.size() >= size)
            .flat_map(|one| [policy_at(first, all, one.size().saturating_sub(1)), &one.policy]);
        let mut right = std::iter::once(policy_at(first, all, size)).chain(under_way);
        if !right.any(|policy| policy.to_text().as_bytes() == text) {
            let expected = match all {
                [] => "exactly the policy that the log's first leaf implies",
                _ => "exactly the policy that the log's first leaf and its transitions imply",
            };
            findings.add(POLICY_FILE, "policy_not_implied", expected, "another text");
        }
        return None;
    }
    let Ok(text) = String::from_utf8(text) else {
        findings.add(POLICY_FILE, "policy_malformed", "UTF-8", "other bytes");
        return None;
    };
    let faulty = |fault| findings.add_fault(POLICY_FILE, "policy_malformed", &fault);
    Policy::parse(&text).map_err(faulty).ok()
}

fn knows(policy: &Policy, name: &str, signed: &SignedCheckpoint) -> bool {
    let mut lines = signed.signatures.iter().filter(|line| line.name == name);
    lines.all(|line| policy.verifier_keys().any(|key| line.is_by(key)))
}

impl Verifier<'_> {
    /// What the transitions say of the log must be what the log says: its root at each, and the
    /// cosigners that its leaves name. Without this a quorum could hand over to anybody.
    pub(super) fn check_transitions(&mut self, own: &OwnPolicies) {
        for transition in &own.transitions {
            let (size, expected) = (transition.size(), transition.signed.checkpoint.root);
            let tiles = SizedTiles { source: self.source, size: self.size };
            // A tile that cannot be had is reported where the tree is checked.
            if let Some(got) = tiles.root_at(size).filter(|got| *got != expected) {
                let expected = format!("root {expected} at size {size}");
                self.findings.add(TRANSITIONS_FILE, "transition_root", expected, got);
            }
            self.check_cosigners(size, &transition.policy);
        }
        if let Some(now) = own.now() {
            self.check_cosigners(self.size, now);
        }
    }

    fn check_cosigners(&mut self, size: u64, policy: &Policy) {
        let Some(implied) = self.rules.policy_at(size) else { return };
        if implied != *policy {
            let expected = format!("the policy at size {size} that the log's leaves imply");
            self.findings.add(TRANSITIONS_FILE, "transition_missing", expected, "another");
        }
    }
}

/// The tree of a published size, from the tiles as they are.
struct SizedTiles<'a> {
    source: &'a dyn TileSource,
    size: u64,
}

impl SizedTiles<'_> {
    fn root_at(&self, size: u64) -> Option<crate::hash::Hash> {
        self.range_root(0, size).ok()
    }
}

impl Subtrees for SizedTiles<'_> {
    type Fault = ();

    fn subtree(&self, height: u32, index: u64) -> Result<crate::hash::Hash, ()> {
        let (level, inside) = ((height / 8) as u8, height % 8);
        let first = index << inside;
        let (index, place) = (first / TILE_WIDTH, first % TILE_WIDTH);
        let width = width_at(level, index, self.size);
        let file = LogFile::Tile { level, index, width };
        let (_, bytes) = read_at_least(self.source, file).map_err(drop)?;
        let known = bytes.get(..32 * width as usize).ok_or(())?;
        let hashes = parse_tile(known, width).map_err(drop)?;
        Ok(subtree_in_tile(&hashes, inside, place >> inside))
    }
}
