//! Judges a whole log: what a stranger runs on a copy of the directory, or against a server.
//!
//! From the top down, so that each file is held to something already believed: the policy judges
//! the checkpoint, the checkpoint's root the tiles, a tile the leaves below it, a leaf the blob
//! beside it, and the leaves before it the leaf. A fault therefore names the one file that is
//! wrong. Memory is one tile per level, one bundle and a few words per agent, whatever the size.

mod files;
mod findings;
mod leaves;
mod policies;
mod rules;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transition_tests;
mod tree;

use self::findings::{Findings, Watched};
use self::policies::OwnPolicies;
use self::rules::Rules;
use crate::checkpoint::SignedCheckpoint;
use crate::hash::Hash;
use crate::header::Header;
use crate::key::PublicKey;
use crate::key_change::KeyChangeKind;
use crate::layout::{CHECKPOINT_FILE, LogFile, TileSource, read_at_least};
use crate::leaf::{Leaf, LeafFault};
use crate::limits::WRITER_WAITS_COUNT_MAX;
use crate::merkle::empty_root;
use crate::name::AgentName;
use crate::policy::{Cosigner, Policy};
use crate::seal::OpenBatch;
use crate::tile::{Items, Prefix, width_at};

/// Something in the log is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file that is wrong, relative to the log.
    pub file: String,
    pub leaf: Option<u64>,
    pub slug: &'static str,
    pub expected: String,
    pub got: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.file)?;
        if let Some(leaf) = self.leaf {
            write!(f, "leaf {leaf}: ")?;
        }
        write!(f, "{}: expected {}, got {}", self.slug, self.expected, self.got)
    }
}

/// One life of one agent, as far as the published log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSpan {
    pub agent: AgentName,
    pub epoch: u64,
    pub key: PublicKey,
    /// First and last result; both 0 while there is none.
    pub seq_first: u64,
    pub seq_last: u64,
    pub batches: u64,
    pub results: u64,
}

/// The verdict, with what was counted on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Published leaves and their root, as the checkpoint says.
    pub size: u64,
    pub root: Hash,
    /// Verified leaves that lie beyond the checkpoint; a reader is not shown them.
    pub unpublished: u64,
    pub batches: u64,
    pub results: u64,
    /// By agent, then epoch.
    pub agents: Vec<AgentSpan>,
    /// Whose cosignatures of the checkpoint hold, and when they say to have signed.
    pub cosigners: Vec<Cosigner>,
    /// The first hundred.
    pub faults: Vec<Fault>,
    pub faults_count: u64,
    /// Some of the files that are there could not be read. A fault names one; what else is said may
    /// be for want of them: this log was not judged.
    pub unreadable: bool,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.faults_count == 0
    }
}

/// Is shown every published leaf that holds, in order. `open` is there for batches whose payload
/// holds too.
pub trait LeafVisitor {
    fn leaf(&mut self, index: u64, header: &Header, open: Option<&OpenBatch>, payload: &[u8]);
}

/// For those who only want the report.
impl LeafVisitor for () {
    fn leaf(&mut self, _: u64, _: &Header, _: Option<&OpenBatch>, _: &[u8]) {}
}

/// Verifies a log under the caller's own policy. Never panics, whatever the files hold.
///
/// A node may go on writing the directory meanwhile: growth is no fault. A blob whose leaf is not
/// there yet is waited for, two seconds at most; what still belongs to no leaf then is a fault.
pub fn verify_log(
    source: &dyn TileSource,
    policy: &Policy,
    visitor: &mut dyn LeafVisitor,
) -> Report {
    verify_with(source, Some(policy), visitor, &mut CheckEach)
}

/// Verifies that a log holds together under the policy that its own first leaf implies. It says
/// nothing of who made the log: a forger has keys of his own.
pub fn verify_log_unpinned(source: &dyn TileSource, visitor: &mut dyn LeafVisitor) -> Report {
    verify_with(source, None, visitor, &mut CheckEach)
}

/// How leaf signatures are checked: tests that verify one log hundreds of times remember them.
trait SignatureCheck {
    fn check(&mut self, leaf: &Leaf, key: &PublicKey) -> Result<(), LeafFault>;
}

struct CheckEach;

impl SignatureCheck for CheckEach {
    fn check(&mut self, leaf: &Leaf, key: &PublicKey) -> Result<(), LeafFault> {
        leaf.verify(key)
    }
}

fn verify_with(
    source: &dyn TileSource,
    policy: Option<&Policy>,
    visitor: &mut dyn LeafVisitor,
    signatures: &mut dyn SignatureCheck,
) -> Report {
    let watched = Watched::new(source);
    watched.judge(verify_watched(&watched, policy, visitor, signatures))
}

fn verify_watched(
    source: &dyn TileSource,
    policy: Option<&Policy>,
    visitor: &mut dyn LeafVisitor,
    signatures: &mut dyn SignatureCheck,
) -> Report {
    // The checkpoint is read first: whatever a writer adds meanwhile lies beyond it.
    let (mut findings, mut of_checkpoint) = (Findings::default(), Findings::default());
    let signed = read_checkpoint(source, &mut of_checkpoint);
    let (size, root) = match &signed {
        Some(signed) => (signed.checkpoint.size, signed.checkpoint.root),
        None => (0, empty_root()),
    };
    let own = OwnPolicies::read(source, size, &mut findings);
    findings.append(of_checkpoint);
    let Some(signed) = signed else { return findings.report(size, root) };
    let Some(verdict) = own.check_checkpoint(&signed, policy, &mut findings) else {
        return findings.report(size, root);
    };
    let rules = Rules::new(signed.checkpoint.origin.clone(), verdict.log_key, signatures);
    let (unpublished, waits_left) = (0, WRITER_WAITS_COUNT_MAX);
    let mut verifier = Verifier { source, size, findings, rules, visitor, unpublished, waits_left };
    verifier.check_tree(root);
    verifier.check_transitions(&own);
    verifier.check_files();
    let (batches, results, agents) = verifier.rules.into_counts();
    let (unpublished, cosigners) = (verifier.unpublished, verdict.cosigners);
    let report = verifier.findings.report(size, root);
    Report { unpublished, batches, results, agents, cosigners, ..report }
}

/// The state of one verification.
struct Verifier<'a> {
    source: &'a dyn TileSource,
    size: u64,
    findings: Findings,
    rules: Rules<'a>,
    visitor: &'a mut dyn LeafVisitor,
    unpublished: u64,
    /// How often a writer may still be waited for.
    waits_left: u32,
}

/// Leaf 0 names origin, log key and nodes; it signs itself, so damage to it implies nothing.
fn implied_policy(source: &dyn TileSource) -> Option<Policy> {
    let (_, bytes) = read_at_least(source, LogFile::Entries { index: 0, width: 1 }).ok()?;
    let leaf = Leaf::parse(Items::new(Prefix::Entry, &bytes).next()?).ok()?;
    let Header::KeyChange(change) = leaf.header().ok()? else { return None };
    let KeyChangeKind::Genesis { origin, log_key, nodes } = change.change else { return None };
    leaf.verify(&log_key).ok()?;
    Policy::for_nodes(&origin, &log_key, &nodes).ok()
}

fn read_checkpoint(source: &dyn TileSource, findings: &mut Findings) -> Option<SignedCheckpoint> {
    let bytes = match source.read(CHECKPOINT_FILE) {
        Ok(bytes) => bytes,
        Err(fault) => {
            findings.add_fault(CHECKPOINT_FILE, fault.slug(), &fault);
            return None;
        }
    };
    let note = String::from_utf8_lossy(&bytes);
    match SignedCheckpoint::parse(&note) {
        Ok(signed) => Some(signed),
        Err(fault) => {
            findings.add_fault(CHECKPOINT_FILE, fault.slug(), &fault);
            None
        }
    }
}

/// A tile's file as it is named at this size.
fn tile_file(level: u8, index: u64, size: u64) -> LogFile {
    LogFile::Tile { level, index, width: width_at(level, index, size) }
}
