//! What the views show, as plain values: the JSON of the HTTP API and the rows of the page.
//!
//! Times are Unix milliseconds, ratios parts per billion; a name says its unit. An interval's
//! ends are what the number would be were every unknown bad (`worst`) or good (`best`).

use std::fmt::Display;
use std::sync::Arc;

use proofmark_evidence::{AgentName, CheckName};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// One replica, as it sees itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthView {
    /// `serving`; `diverged`: this replica's log differs from the majority's and it stopped; or
    /// `damaged`: a file of its evidence is not what it was, so that it signs no more.
    pub status: &'static str,
    /// The damaged file and what is wrong with it.
    pub damage: Option<String>,
    /// Leaves that were found whole when this replica last read all of its evidence.
    pub scrubbed_size: u64,
    pub node: String,
    /// `leader`, `follower` or `candidate`.
    pub role: &'static str,
    /// The leader's node id, when one is known.
    pub leader: Option<u64>,
    pub term: u64,
    /// Raft index of the newest applied entry.
    pub applied_index: u64,
    /// Leaves in the log, published or not.
    pub log_size: u64,
    /// Leaves under the newest published checkpoint.
    pub published_size: u64,
}

/// One enrolled agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentView {
    pub name: String,
    /// SHA-256 of its public key, hex.
    pub key_id: String,
    pub epoch: u64,
    pub enrolled_at_ms: u64,
    /// Every sequence number below this one is in the log.
    pub next_seq: u64,
    /// When its newest batch was accepted; absent before the first.
    pub accepted_at_ms: Option<u64>,
    pub retired: bool,
    /// Checks of this agent that should have been heard and were not.
    pub silent_checks: u64,
}

/// One check on one agent. A fleet has a hundred thousand of them: their texts are shared.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CheckView {
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub check: CheckName,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub agent: AgentName,
    pub kind: &'static str,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub target: Arc<str>,
    pub interval_ms: u64,
    /// `pass`, or the slug of why not; absent before the first result.
    pub outcome: Option<&'static str>,
    /// `pass`, `fail`, `unknown` or `none`: the outcome's family.
    pub state: &'static str,
    pub scheduled_at_ms: Option<u64>,
    pub silent_since_ms: Option<u64>,
}

fn as_text<S: Serializer>(text: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

/// A ratio that is not exact while something is unknown.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct IntervalView {
    pub worst_ppb: i64,
    /// Over what is known; absent when nothing is.
    pub point_ppb: Option<i64>,
    pub best_ppb: i64,
}

/// How fast the budget burns in one window; 1000 spends it exactly over the objective's window.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BurnView {
    pub window: String,
    pub worst_milli: u64,
    pub point_milli: Option<u64>,
    pub best_milli: u64,
}

/// How many runs (or slices) of a window were unknown, by cause.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CauseView {
    pub reason: String,
    pub count: u64,
}

/// How many are good, bad, unknown.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CountsView {
    pub good: u64,
    pub bad: u64,
    pub unknown: u64,
}

/// One objective at one instant. A stranger recomputes it from the log's first `log_size` leaves.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ObjectiveView {
    pub name: String,
    pub service: String,
    /// Spec revision of the definition in force.
    pub revision: u64,
    /// `Occurrences` or `Timeslices`.
    pub budgeting: String,
    pub target_ppb: u64,
    pub window_ms: u64,
    /// Where the counted window begins: later than `window_ms` ago while the definition is young.
    pub since_ms: u64,
    /// The window ends here; always a multiple of 10 s.
    pub as_of_ms: u64,
    /// Made from the log's first so many leaves: with them a stranger recomputes every field.
    pub log_size: u64,
    /// Runs, by what is known of them.
    pub good: u64,
    pub bad: u64,
    pub unknown: u64,
    pub unknown_causes: Vec<CauseView>,
    /// Slices, when the budget is made of them; then the ratios below are made of them too.
    pub slices: Option<CountsView>,
    /// Absent while nothing was expected yet: no data is not good.
    pub sli: Option<IntervalView>,
    pub budget_remaining: Option<IntervalView>,
    pub burn: Vec<BurnView>,
}

/// A result that did not pass.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailureView {
    /// `agent/epoch/sequence`.
    pub id: String,
    pub check: String,
    pub agent: String,
    pub target: String,
    pub scheduled_at_ms: u64,
    pub outcome: String,
    pub state: &'static str,
    pub detail: String,
}

/// One measurement of a result; the kind says the unit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MeasurementView {
    pub kind: String,
    pub value: i64,
}

/// One result, read from the evidence.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResultView {
    pub id: String,
    pub check: String,
    pub agent: String,
    pub target: String,
    pub spec_revision: u64,
    pub scheduled_at_ms: u64,
    pub outcome: String,
    pub state: &'static str,
    pub duration_us: u64,
    pub measurements: Vec<MeasurementView>,
    pub detail: String,
    /// Where its batch stands in the log.
    pub leaf_index: u64,
}

/// Who cosigned a checkpoint, and when it says so.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CosignerView {
    pub name: String,
    pub cosigned_at_s: u64,
}

/// The newest published checkpoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CheckpointView {
    pub origin: String,
    pub size: u64,
    /// RFC 6962 root, base64 as in the checkpoint's own text.
    pub root: String,
    pub cosigners: Vec<CosignerView>,
    /// The signed note, byte for byte.
    pub note: String,
}

/// Which specs are in force; revision 0: none yet.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct SpecView {
    pub revision: u64,
    pub effective_at_ms: u64,
}

/// An error of the API: a stable slug, and a sentence with expected and got.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemView {
    pub slug: &'static str,
    pub message: String,
}
