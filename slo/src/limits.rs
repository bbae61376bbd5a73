//! The few fixed numbers of the arithmetic, with their reasons, and the bounds of what is read.
//! The former are part of what a stranger must know to recompute a report: changing one changes
//! numbers.

use crate::window::{DAY_MS, HOUR_MS, MINUTE_MS};

/// How long after its instant a run may arrive and still be in time. The aggregator evaluates at
/// `as_of = floor(now - GRACE_MS)`, so that runs on their way are not called unknown.
pub const GRACE_MS: u64 = 10_000;

/// From a spec's acceptance until it takes effect; agents switch at that very instant.
pub const SPEC_LEAD_MS: u64 = 5_000;

/// From an agent's enrolment until runs are expected of it: time to fetch the spec.
pub const ENROL_LEAD_MS: u64 = 10_000;

/// A series is called silent when this many intervals (and the grace) passed without a run.
/// Its missing runs are unknown long before; this only decides when to say so.
pub const SILENT_AFTER_INTERVALS: u64 = 3;

/// Cells are kept for an objective's window (or the longest burn window, if that is longer) and
/// this much more, since only whole hours are dropped. Results from before all cells are `TooOld`.
pub const RETENTION_BEYOND_WINDOW_MS: u64 = HOUR_MS;

/// Newest counted instants remembered per series, to count none twice. One series has one run
/// going at a time, so two or three would do; what lies before the oldest counts as repeated.
pub const RECENT_RUNS: usize = 16;

/// Spans of a series' time of which its agent spoke, with silence between them. When there are
/// more, the oldest is forgotten: silence before it stays silence, whatever is told of it later.
/// More than twice what can be taken back (below, and a split at each remembered run).
pub const SPOKEN_SPANS_MAX: usize = 128;

/// Spans told by results that stand for many runs, and young enough to be taken back. Each honest
/// one begins with a run of its own, of which [`RECENT_RUNS`] are remembered. What is told beyond
/// stays silent.
pub const TOLD_SPANS_MAX: usize = 32;

/// An agent that tells of missed runs is taken to have spoken of no more than this beyond `as_of`:
/// the grace, a step of `as_of` and its clock's error fit. Who claims the future is silent in it.
pub const SPOKEN_AHEAD_MS_MAX: u64 = MINUTE_MS;

/// The longest burn window. Cells are kept for it even where an objective's own window is shorter.
pub const BURN_WINDOW_MS_MAX: u64 = 3 * DAY_MS;

// --- what is read ------------------------------------------------------------------------------

/// Reports of one decision leaf. A payload of 1 MiB holds about 8,000; the reader wants a bound.
/// More are refused.
pub const REPORTS_MAX: usize = 100_000;

/// Names in reports and rows: labels. A longer one is refused.
pub const NAME_BYTES_MAX: usize = proofmark_evidence::limits::LABEL_BYTES_MAX;

/// Items of one list in a row of the ledger. Rows are our own; this only keeps a damaged length
/// from reserving memory: the row is refused, and the tables are rebuilt.
pub const ROW_ITEMS_MAX: usize = 1 << 20;
