//! How fast the error budget goes, over the windows that alerts of the field look at.

use crate::interval::Interval;
use crate::limits::BURN_WINDOW_MS_MAX;
use crate::window::{DAY_MS, HOUR_MS, MINUTE_MS};

/// Name and length of each burn window, shortest first.
pub const BURN_WINDOWS: [(&str, u64); 6] = [
    ("5m", 5 * MINUTE_MS),
    ("30m", 30 * MINUTE_MS),
    ("1h", HOUR_MS),
    ("6h", 6 * HOUR_MS),
    ("1d", DAY_MS),
    ("3d", BURN_WINDOW_MS_MAX),
];

/// The burn rate over one window: 1000 spends the whole budget exactly over the objective's own
/// window, 14_400 a thirtieth of a 30-day budget in 50 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burn {
    pub window: &'static str,
    /// Thousandths. `None` ("no data") when nothing was expected in the window; for an objective
    /// in time slices also when no whole slice lies inside it.
    pub rate_milli: Option<Interval<u64>>,
}
