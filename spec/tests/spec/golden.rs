//! Every file of `tests/golden/spec` is a bad spec, named by what is wrong with it, and has its
//! whole report beside it. `UPDATE=1` rewrites the reports.

use std::collections::BTreeSet;
use std::fs;

use proofmark_spec::Slug;

use crate::{files_below, read, root};

const FILES_COUNT_MIN: usize = 45;

#[test]
fn every_bad_spec_gives_its_exact_message() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let files = files_below(&root().join("tests/golden/spec"), "yaml");
    assert!(files.len() >= FILES_COUNT_MIN, "only {} files", files.len());
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let faults = match read(name, &fs::read_to_string(&path).unwrap()) {
            Ok(_) => panic!("{name} was accepted"),
            Err(faults) => format!("{faults}\n"),
        };
        let expected_path = path.with_extension("expected");
        if update {
            fs::write(&expected_path, &faults).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if faults != expected {
            wrong.push(format!("{name}\n--- expected\n{expected}--- got\n{faults}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_report_is_left_without_its_spec() {
    for path in files_below(&root().join("tests/golden/spec"), "expected") {
        assert!(path.with_extension("yaml").exists(), "{}", path.display());
    }
}

#[test]
fn every_slug_has_a_bad_spec() {
    let reports = files_below(&root().join("tests/golden/spec"), "expected");
    let texts: Vec<String> = reports.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let missing: BTreeSet<&str> = Slug::ALL
        .iter()
        .map(|slug| slug.as_str())
        .filter(|slug| !texts.iter().any(|text| text.contains(&format!(": {slug}: "))))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
