//! The few fixed numbers of the arithmetic, with their reasons. All of them are part of what a
//! stranger must know to recompute a report: changing one changes numbers.

use crate::window::HOUR_MS;

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
