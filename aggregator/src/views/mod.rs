//! Views: what readers see. Immutable snapshots; nothing that reads one can hold up the state, and
//! nothing here writes back.
//!
//! [`StateView`] is made by the apply thread and swapped whole. [`ViewsReader::now`] puts beside it
//! what changes without an entry being applied: this replica's part in the group, the newest
//! checkpoint. Views are stale by design and say as of when.

mod build;
pub mod members;
pub mod model;
mod objectives;

use std::sync::Arc;

use proofmark_evidence::{Cosignature, SignedCheckpoint};
use tokio::sync::watch;

pub use build::{build, family};
use model::{
    AgentView, CheckView, CheckpointView, CosignerView, FailureView, HealthView, ObjectiveView,
    SpecView,
};

use crate::consensus::ConsensusStatus;
use crate::consensus::driver::PeerProgress;
use members::{MemberView, MembersView};

/// What one applied entry left, for readers.
#[derive(Clone, Debug, Default)]
pub struct StateView {
    /// Raft index of the newest entry in it.
    pub applied_index: u64,
    /// The stamp of that entry, Unix milliseconds.
    pub now_ms: u64,
    /// Leaves in the log, published or not.
    pub log_size: u64,
    /// Leaves under the newest checkpoint that the state knows to be published.
    pub published_size: u64,
    pub spec: SpecView,
    /// By name.
    pub agents: Vec<AgentView>,
    /// By agent and check.
    pub checks: Vec<CheckView>,
    /// By name.
    pub objectives: Vec<ObjectiveView>,
    /// Newest first.
    pub failures: Vec<FailureView>,
}

/// Everything the API and the page show, at one instant.
#[derive(Clone, Debug)]
pub struct Views {
    /// The log's name.
    pub origin: Arc<str>,
    /// Where the evidence directory lies, for the reader who wants to copy it.
    pub evidence: Arc<str>,
    pub health: HealthView,
    pub checkpoint: Option<CheckpointView>,
    /// By ascending id; empty until every replica knows the commands that keep the list.
    pub members: Vec<MemberView>,
    pub state: Arc<StateView>,
}

/// Where views come from. Clones share; any number may read.
#[derive(Clone)]
pub struct ViewsReader {
    pub origin: Arc<str>,
    pub evidence: Arc<str>,
    pub node: Arc<str>,
    pub state: watch::Receiver<Arc<StateView>>,
    pub members: watch::Receiver<Arc<MembersView>>,
    pub consensus: watch::Receiver<ConsensusStatus>,
    /// How far the others are, while this replica leads.
    pub progress: watch::Receiver<Vec<PeerProgress>>,
    /// The newest published checkpoint, a signed note; empty: none yet.
    pub published: watch::Receiver<Arc<str>>,
    /// Raised by the recorder, until a restart, when this replica's log differs from the
    /// majority's.
    pub diverged: watch::Receiver<bool>,
    /// What was found when this replica last read its own evidence.
    pub scrubbed: watch::Receiver<Scrubbed>,
}

/// What came of reading the own evidence again.
#[derive(Clone, Debug, Default)]
pub struct Scrubbed {
    /// Leaves that the newest finished round found whole.
    pub size: u64,
    /// The file and what is wrong with it, from then on until a restart.
    pub damage: Option<Arc<str>>,
}

impl ViewsReader {
    pub fn now(&self) -> Views {
        let state = self.state.borrow().clone();
        let checkpoint = checkpoint(&self.published.borrow());
        Views {
            origin: self.origin.clone(),
            evidence: self.evidence.clone(),
            health: self.health(&state, checkpoint.as_ref()),
            checkpoint,
            members: self.members(),
            state,
        }
    }

    fn members(&self) -> Vec<MemberView> {
        let (status, progress) = (*self.consensus.borrow(), self.progress.borrow());
        self.members.borrow().seen(&status, &progress)
    }

    fn health(&self, state: &StateView, checkpoint: Option<&CheckpointView>) -> HealthView {
        let consensus = *self.consensus.borrow();
        let diverged = *self.diverged.borrow();
        let Scrubbed { size: scrubbed_size, damage } = self.scrubbed.borrow().clone();
        let published_size = checkpoint.map_or(0, |checkpoint| checkpoint.size);
        HealthView {
            status: match &damage {
                _ if diverged => "diverged",
                Some(_) => "damaged",
                None => "serving",
            },
            damage: damage.map(|damage| damage.to_string()),
            scrubbed_size,
            node: self.node.to_string(),
            role: consensus.role.slug(),
            leader: consensus.leader,
            term: consensus.term,
            applied_index: consensus.applied,
            // The checkpoint may be newer than the last look at the state.
            log_size: state.log_size.max(published_size),
            published_size,
        }
    }
}

/// A note of our own as its reader wants it; one that does not parse is not shown.
fn checkpoint(note: &str) -> Option<CheckpointView> {
    let signed = SignedCheckpoint::parse(note).ok()?;
    let cosignatures = signed.signatures.iter().filter_map(|line| {
        let cosignature = Cosignature::from_note_signature(line).ok()?;
        Some(CosignerView { name: cosignature.name, cosigned_at_s: cosignature.timestamp_s })
    });
    Some(CheckpointView {
        origin: signed.checkpoint.origin.to_string(),
        size: signed.checkpoint.size,
        root: signed.checkpoint.root.to_base64(),
        cosigners: cosignatures.collect(),
        note: note.to_owned(),
    })
}
