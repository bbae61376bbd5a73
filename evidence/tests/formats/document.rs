//! FORMATS.md says what the code does.

use proofmark_evidence::*;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../FORMATS.md");
    std::fs::read_to_string(path).expect("FORMATS.md lies at the repository's root")
}

/// The rows of the first table after a heading, each as its cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let document = document();
    let (_, after) = document.split_once(&format!("\n{heading}\n")).expect(heading);
    let cells = |row: &str| row.trim_matches('|').split('|').map(|c| c.trim().into()).collect();
    after
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect()
}

fn check_codes(heading: &str, codes: impl Iterator<Item = (u8, &'static str)>) {
    let written: Vec<_> =
        table(heading).iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expect: Vec<_> = codes.map(|(code, slug)| (code.to_string(), slug.to_owned())).collect();
    assert_eq!(written, expect, "{heading}");
}

#[test]
fn code_tables_are_the_codes() {
    let fails = FailReason::ALL.iter().map(|one| (one.code(), one.slug()));
    check_codes("### Fail reasons", fails);
    let unknowns = UnknownReason::ALL.iter().map(|one| (one.code(), one.slug()));
    check_codes("### Unknown reasons", unknowns);
    let kinds = MeasurementKind::ALL.iter().map(|one| (one.code(), one.slug()));
    check_codes("### Measurement kinds", kinds);
    let decisions = DecisionKind::ALL.iter().map(|one| (one.code(), one.slug()));
    check_codes("## Decision", decisions);
}

#[test]
fn every_payload_type_is_written_down() {
    for kind in LeafKind::ALL {
        let expect = format!("| {} | {} | `{}` |", kind.code(), kind.slug(), kind.payload_type());
        assert!(document().contains(&expect), "FORMATS.md lacks {expect}");
    }
}

#[test]
fn bounds_are_the_bounds() {
    use proofmark_evidence::limits::*;
    let document = document();
    for (expect, bound) in [
        ("At most 4096 bytes. The signature", LEAF_BYTES_MAX),
        ("scheduled instant. At most 1024 bytes", RESULT_BYTES_MAX),
        ("1 to 4096 results", RESULTS_COUNT_MAX),
        ("list of rows, 1 to 256", CHECKS_COUNT_MAX),
        ("a list, at most 7000", COVERAGE_ROWS_COUNT_MAX),
        ("line, 1 to 256 bytes", DETAIL_BYTES_MAX),
        ("target (line, <= 255 bytes)", TARGET_BYTES_MAX),
        ("line, <= 63 bytes", AUTHOR_BYTES_MAX),
        ("`[32]` key), 1 to 15", NODES_COUNT_MAX),
    ] {
        assert!(expect.contains(&bound.to_string()), "{expect}: the bound is {bound}");
        assert!(document.contains(expect), "FORMATS.md lacks {expect:?}");
    }
    assert!(document.contains(&TIME_MS_MAX.to_string()));
}
