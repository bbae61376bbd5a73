//! Two ways to write a duration, both from the field: a probe's like blackbox_exporter's (`500ms`,
//! `2s`, `5m`), an objective's like OpenSLO's shorthand (`5m`, `1d`, `4w`). Where they look alike
//! they mean the same. In OpenSLO `m` is a minute and `M` a month.

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const WEEK_MS: u64 = 7 * DAY_MS;

/// `[0-9]+(ms|s|m|h|d)` in milliseconds. None for anything else, and beyond what u64 holds.
pub(crate) fn parse_probe_duration(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return None,
    };
    number.checked_mul(unit_ms)
}

/// An OpenSLO v1 duration shorthand, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shorthand {
    Ms(u64),
    /// `M`, `Q` or `Y`: a span of the calendar, whose length depends on where it lies.
    Calendar,
}

/// `^[1-9][0-9]*[mhdwMQY]$` (OpenSLO v1).
pub(crate) fn parse_shorthand(text: &str) -> Option<Shorthand> {
    let (number, unit) = split(text).filter(|_| !text.starts_with('0'))?;
    let unit_ms = match unit {
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        "w" => WEEK_MS,
        "M" | "Q" | "Y" => return Some(Shorthand::Calendar),
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Shorthand::Ms)
}

/// The largest unit that divides: `90000` is `90s`.
pub(crate) fn show_ms(ms: u64) -> String {
    let units = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s")];
    let fits = units.iter().find(|(unit_ms, _)| ms > 0 && ms.is_multiple_of(*unit_ms));
    fits.map_or_else(|| format!("{ms}ms"), |(unit_ms, unit)| format!("{}{unit}", ms / unit_ms))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn probe_durations() {
        let table = [
            ("500ms", Some(500)),
            ("2s", Some(2_000)),
            ("5m", Some(300_000)),
            ("14d", Some(14 * DAY_MS)),
            ("0s", Some(0)),
            ("1w", None),
            ("1.5s", None),
            ("1h30m", None),
            ("s", None),
            ("10", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, expect) in table {
            assert_eq!(parse_probe_duration(text), expect, "{text}");
        }
    }

    #[test]
    fn openslo_durations() {
        let table = [
            ("5m", Some(Shorthand::Ms(300_000))),
            ("4w", Some(Shorthand::Ms(28 * DAY_MS))),
            ("1M", Some(Shorthand::Calendar)),
            ("1Q", Some(Shorthand::Calendar)),
            ("0m", None),
            ("05m", None),
            ("1s", None),
            ("1m extra", None),
            ("", None),
        ];
        for (text, expect) in table {
            assert_eq!(parse_shorthand(text), expect, "{text}");
        }
    }

    proptest! {
        #[test]
        fn shown_durations_read_back(ms in 0u64..100 * DAY_MS) {
            prop_assert_eq!(parse_probe_duration(&show_ms(ms)), Some(ms));
        }
    }
}
