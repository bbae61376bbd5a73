//! The documents as their users meet them: bad ones with their exact messages, our samples,
//! OpenSLO's own files, and any text at all.

mod golden;
mod meaning;
mod openslo;
mod properties;
mod samples;

use std::path::{Path, PathBuf};

use proofmark_spec::{Documents, Faults, Source, parse};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What `apply` does with nothing in force: parse, then resolve.
fn read(file: &str, text: &str) -> Result<Documents, Faults> {
    let documents = parse(&[Source { file, text }])?;
    documents.resolve()?;
    Ok(documents)
}

/// The files below `directory` with this extension, in order.
fn files_below(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is part of the repository");
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}
