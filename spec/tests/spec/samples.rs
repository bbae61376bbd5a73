//! The samples are the manual, so they must be right: each directory of `deploy/specs` is what a
//! user would apply at once.

use std::collections::BTreeSet;
use std::fs;

use proofmark_spec::{Probe, Source, diff, parse};

use crate::{files_below, root};

/// What `proofmark up` fills in.
const PLACEHOLDERS: [(&str, &str); 4] = [
    ("${HTTP_ADDRESS}", "127.0.0.1:7680"),
    ("${GRPC_ADDRESS}", "127.0.0.1:7681"),
    ("${CA_FILE}", "./proofmark-data/ca.pem"),
    ("${DATA_DIR}", "./proofmark-data"),
];

#[test]
fn every_sample_directory_parses_and_resolves() {
    let mut directories = 0;
    for entry in fs::read_dir(root().join("deploy/specs")).unwrap() {
        let directory = entry.unwrap().path();
        let files: Vec<(String, String)> = files_below(&directory, "yaml")
            .iter()
            .map(|path| (path.display().to_string(), filled(&fs::read_to_string(path).unwrap())))
            .collect();
        let sources: Vec<Source<'_>> =
            files.iter().map(|(file, text)| Source { file, text }).collect();
        let documents = parse(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        documents.resolve().unwrap_or_else(|faults| panic!("{faults}"));
        assert!(!documents.checks.is_empty() && !documents.slos.is_empty());
        assert!(documents.slos.iter().all(|slo| documents.ratio_of(slo).is_some()));
        reads_back(&documents);
        directories += 1;
    }
    assert!(directories >= 2);
}

/// Written out again, nothing is lost: what an agent is sent is what was applied.
fn reads_back(documents: &proofmark_spec::Documents) {
    let text = documents.to_yaml();
    let again = parse(&[Source { file: "again", text: &text }]);
    let again = again.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    assert!(&again == documents, "{:#?}", diff(documents, &again));
    assert_eq!(again.to_yaml(), text);
}

#[test]
fn the_starter_covers_every_probe_kind() {
    let path = root().join("deploy/specs/starter/starter.yaml");
    let text = filled(&fs::read_to_string(path).unwrap());
    let documents = parse(&[Source { file: "starter.yaml", text: &text }]).unwrap();
    let shown: BTreeSet<&str> = documents.checks.iter().map(|check| check.probe.kind()).collect();
    assert_eq!(shown, Probe::kinds().collect());
}

fn filled(text: &str) -> String {
    PLACEHOLDERS.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}
