//! Golden files: what was said, word for word. `UPDATE=1` is the one switch that rewrites them.

use std::path::{Path, PathBuf};

/// The folder `tests/golden/NAME`.
pub fn dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// The difference between `got` and the file, if there is one; with `UPDATE=1` there is none.
pub fn difference(file: &Path, got: &str) -> Option<String> {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, got).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        return None;
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    let name = file.display();
    (expected != got).then(|| format!("{name}\n--- expected\n{expected}--- got\n{got}"))
}

/// Fails with every difference at once.
pub fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The files of a folder that end with `.EXTENSION`, in the order of their names.
pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    files.sort();
    files
}
