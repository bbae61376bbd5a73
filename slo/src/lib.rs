//! Objectives over results: how good a service was, and how much of that is known.
//!
//! In:  specs in force, agents enrolled and retired, results (at the instant they were due), and
//!      the instant `as_of` up to which to judge.
//! Out: an [`SloReport`] per objective: good, bad and unknown, the indicator, the budget left and
//!      its burn rates, each an [`Interval`] from worst to best; and the series that fell silent.
//! This crate never asks the time, reads or writes anything, uses a float, or iterates in random
//! order: replicas and strangers who are given the same leaves come to the same bytes.
//!
//! A run is *expected* if an agent was assigned the check at that instant of its grid. Expected
//! and not heard of is *unknown*, whatever the reason; nothing missing is ever counted as good.
//! Start at [`Ledger`]; [`Replay`] is the same for those who only have the log.

pub mod limits;

// Exact numbers.
mod counts;
mod interval;
mod ratio;
mod window;

// What is expected, and of whom.
mod assignment;
mod fleet;
mod series;
mod spoken;

// What an objective remembers and makes of it.
mod burn;
mod cell;
mod cells;
mod minutes;
mod objective;
mod report;
mod timeslice;

// All of it together; how it is kept; how a stranger redoes it.
mod changes;
mod count;
mod ledger;
mod replay;
mod row_values;
mod rows;

pub use burn::{BURN_WINDOWS, Burn};
pub use count::{Counted, Run};
pub use counts::Counts;
pub use interval::Interval;
pub use ledger::{Ignored, Ledger, SeriesView};
pub use limits::{ENROL_LEAD_MS, GRACE_MS, SPEC_LEAD_MS};
pub use minutes::{Causes, Verdict};
pub use objective::Budgeting;
pub use ratio::{ONE_MILLI, ONE_PPB};
pub use replay::{Mismatch, Replay};
pub use report::{SloReport, decode_reports, encode_reports};
pub use rows::{RowChange, RowFault};
pub use series::HeardRun;
pub use timeslice::SliceRule;
