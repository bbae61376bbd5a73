//! Plain text for a terminal: aligned columns, ratios in percent, times in UTC.

use time::OffsetDateTime;
use time::macros::format_description;

/// Columns as wide as their widest cell, two spaces apart; the last one is not padded.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..head.len()).map(|at| width(head, rows, at)).collect();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(&head).chain(rows).map(|row| line(row, &widths)).collect()
}

fn width(head: &[&str], rows: &[Vec<String>], at: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
    cells.chain(std::iter::once(head[at].chars().count())).max().unwrap_or(0)
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in row.iter().zip(widths) {
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
    }
    format!("{}\n", text.trim_end())
}

/// Parts per billion as percent, rounded down so that nothing looks better than it is.
pub fn percent(ppb: i64) -> String {
    let thousandths = ppb.div_euclid(10_000);
    let sign = if thousandths < 0 { "-" } else { "" };
    let magnitude = thousandths.unsigned_abs();
    format!("{sign}{}.{:03}%", magnitude / 1000, magnitude % 1000)
}

/// `2026-11-20T08:15:02Z`; what no calendar holds is shown as its number.
pub fn time(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let instant = OffsetDateTime::from_unix_timestamp(seconds).ok();
    instant.and_then(|at| at.format(&format).ok()).unwrap_or_else(|| format!("{unix_ms}ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_do_not_trail() {
        let rows = vec![vec!["web".into(), "99.9%".into()], vec!["database".into(), "1%".into()]];
        assert_eq!(
            table(&["NAME", "SLI"], &rows),
            "NAME      SLI\nweb       99.9%\ndatabase  1%\n"
        );
    }

    #[test]
    fn percent_rounds_down() {
        assert_eq!(percent(999_999_999), "99.999%");
        assert_eq!(percent(-1), "-0.001%");
    }
}
