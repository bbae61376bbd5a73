//! Views: what readers see. Immutable snapshots, built after entries are applied, swapped whole.
//!
//! A view is a copy: nothing that reads one can hold up the state, and nothing here writes back.
//! Views are stale by design; they carry the instant they were made (`now_ms`) and the index they
//! show (`health.applied_index`).

mod build;
pub mod model;

use std::sync::Arc;

use tokio::sync::watch;

pub use build::{ViewSource, build};
use model::{
    AgentView, CheckView, CheckpointView, FailureView, HealthView, ObjectiveView, SpecView,
};

/// Everything the API and the page show, at one instant.
#[derive(Clone, Debug)]
pub struct Views {
    /// The log's name.
    pub origin: String,
    /// Where the evidence directory lies, for the reader who wants to copy it.
    pub evidence: String,
    /// When this snapshot was made, by this replica's clock.
    pub now_ms: u64,
    pub health: HealthView,
    pub agents: Vec<AgentView>,
    pub checks: Vec<CheckView>,
    pub objectives: Vec<ObjectiveView>,
    /// Newest first.
    pub failures: Vec<FailureView>,
    pub spec: SpecView,
    pub checkpoint: Option<CheckpointView>,
}

/// The newest snapshot, for any number of readers.
pub type ViewsReader = watch::Receiver<Arc<Views>>;
