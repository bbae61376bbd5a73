//! How the page says numbers: times in UTC, ratios in percent, intervals as ranges.

use time::OffsetDateTime;
use time::macros::format_description;

use crate::views::model::{CauseView, IntervalView};

const PPB_PER_PERCENT: i64 = 10_000_000;

/// `2026-11-20 08:15:02Z`; an instant outside of what a calendar holds is shown as its number.
pub fn time(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let instant = OffsetDateTime::from_unix_timestamp(seconds).ok();
    instant.and_then(|at| at.format(&format).ok()).unwrap_or_else(|| format!("{unix_ms} ms"))
}

/// The largest unit that divides: `28d`, `90m`, `250ms`.
pub fn duration(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = units.iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

/// Parts per billion as percent, rounded down so that nothing looks better than it is.
pub fn percent(ppb: i64) -> String {
    let thousandths = ppb.div_euclid(PPB_PER_PERCENT / 1000);
    let sign = if thousandths < 0 { "-" } else { "" };
    let magnitude = thousandths.unsigned_abs();
    let text = format!("{sign}{}.{:03}", magnitude / 1000, magnitude % 1000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The value over what is known; no number when nothing is.
pub fn point(interval: &IntervalView) -> String {
    interval.point_ppb.map_or_else(|| "unknown".to_owned(), percent)
}

/// `[worst, best]`, or nothing when they are equal.
pub fn range(interval: &IntervalView) -> String {
    if interval.worst_ppb == interval.best_ppb {
        return String::new();
    }
    format!("[{}, {}]", percent(interval.worst_ppb), percent(interval.best_ppb))
}

/// How wide a bar to draw for a budget, 0 to 100.
pub fn bar_percent(ppb: i64) -> u64 {
    u64::try_from(ppb.div_euclid(PPB_PER_PERCENT).clamp(0, 100)).unwrap_or(0)
}

/// Thousandths as a plain number: `14.4`.
pub fn milli(value: u64) -> String {
    let text = format!("{}.{:03}", value / 1000, value % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `silent 12, skipped_asleep 3`.
pub fn causes(causes: &[CauseView]) -> String {
    let shown = causes.iter().filter(|cause| cause.count > 0);
    shown.map(|cause| format!("{} {}", cause.reason, cause.count)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_so_that_nothing_looks_better_than_it_is() {
        let check = |ppb, expect: &str| assert_eq!(percent(ppb), expect);
        check(1_000_000_000, "100 %");
        check(999_999_999, "99.999 %");
        check(999_000_000, "99.9 %");
        check(-500_000_000, "-50 %");
        check(-1, "-0.001 %");
        check(0, "0 %");
    }

    #[test]
    fn nothing_known_is_no_number() {
        let unknown = IntervalView { worst_ppb: 0, point_ppb: None, best_ppb: 1_000_000_000 };
        assert_eq!((point(&unknown), range(&unknown)), ("unknown".into(), "[0 %, 100 %]".into()));
    }

    #[test]
    fn times_and_durations_are_short() {
        assert_eq!(time(1_763_626_502_000), "2025-11-20 08:15:02Z");
        assert_eq!(duration(2_419_200_000), "28d");
        assert_eq!(duration(90_000), "90s");
        assert_eq!(duration(250), "250ms");
        assert_eq!(milli(14_400), "14.4");
        assert_eq!(milli(0), "0");
    }
}
