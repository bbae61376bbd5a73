//! OpenSLO's own schema tests (OpenSLO/OpenSLO `schema-test/spec-files/v1` at c0f6625; which file
//! is valid is said in `schema_test.go` there). We evaluate a part of OpenSLO v1: a valid file may
//! be refused only for what it asks by name of us; an invalid one must never pass.

use std::fs;

use proofmark_spec::{Slug, Source, parse};

use crate::{files_below, root};

/// Invalid by `schema_test.go`; the last two are in no test there, and their schema and SDK
/// reject both.
const INVALID: [&str; 12] = [
    "invalid-apiversion",
    "alert-condition-no-condition",
    "alert-condition-no-sev",
    "alert-notification-target-no-target",
    "alert-policy-malformed-cond",
    "alert-policy-malformed-targetref",
    "alert-policy-many-cond",
    "alert-policy-no-cond",
    "alert-policy-no-notification",
    "service-long-description",
    "sli-ratio-good-and-bad",
    "sli-description-ratio-inline-metricsource",
];

#[test]
fn schema_tests_of_openslo() {
    let directory = root().join("../shared/vectors/openslo/schema-test/spec-files/v1");
    if !directory.exists() {
        // CI must have them: a test that checked nothing must not look like one that passed.
        let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!is_ci, "CI=true, and no OpenSLO files at {}", directory.display());
        println!("SKIPPED: no OpenSLO files at {}", directory.display());
        return;
    }
    let files = files_below(&directory, "yaml");
    assert_eq!(files.len(), 42);
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let result = parse(&[Source { file: name, text: &text }]);
        if INVALID.contains(&name) {
            assert!(result.is_err(), "{name} was accepted");
        } else if let Err(faults) = result {
            let only_by_name = faults.iter().all(|fault| fault.slug == Slug::NotSupportedYet);
            assert!(only_by_name, "{name} is valid OpenSLO:\n{faults}");
        }
    }
}
