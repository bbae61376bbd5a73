//! What was found, in the words of whoever found it, and what could not be looked at.

use std::cell::RefCell;
use std::fmt::Display;

use super::{Fault, Report};
use crate::hash::Hash;
use crate::layout::{SourceEntry, SourceFault, TileSource};
use crate::limits::FAULTS_REPORTED_COUNT_MAX;

/// Faults as they come, up to a number, and the count of all.
#[derive(Default)]
pub(super) struct Findings {
    faults: Vec<Fault>,
    pub(super) count: u64,
}

impl Findings {
    pub(super) fn add(
        &mut self,
        file: &str,
        slug: &'static str,
        expected: impl ToString,
        got: impl ToString,
    ) {
        self.add_at(file, None, slug, expected, got);
    }

    /// In the words of the fault that was met.
    pub(super) fn add_fault(&mut self, file: &str, slug: &'static str, fault: &dyn Display) {
        let Sides { expected, got } = Sides::of(&AfterPath { file, fault });
        self.add(file, slug, expected, got);
    }

    pub(super) fn add_at(
        &mut self,
        file: &str,
        leaf: Option<u64>,
        slug: &'static str,
        expected: impl ToString,
        got: impl ToString,
    ) {
        self.count += 1;
        if self.faults.len() < FAULTS_REPORTED_COUNT_MAX {
            let (expected, got) = (expected.to_string(), got.to_string());
            self.faults.push(Fault { file: file.to_owned(), leaf, slug, expected, got });
        }
    }

    /// Those of another part, after the own.
    pub(super) fn append(&mut self, other: Findings) {
        self.count += other.count;
        let room = FAULTS_REPORTED_COUNT_MAX.saturating_sub(self.faults.len());
        self.faults.extend(other.faults.into_iter().take(room));
    }

    /// Whether a listed fault names this file.
    pub(super) fn blame(&self, file: &str) -> bool {
        self.faults.iter().any(|fault| fault.file == file)
    }

    pub(super) fn report(self, size: u64, root: Hash) -> Report {
        Report {
            size,
            root,
            unpublished: 0,
            batches: 0,
            results: 0,
            agents: Vec::new(),
            cosigners: Vec::new(),
            faults: self.faults,
            faults_count: self.count,
            unreadable: false,
        }
    }
}

/// A fault without the path that its file's name says already.
struct AfterPath<'a> {
    file: &'a str,
    fault: &'a dyn Display,
}

impl Display for AfterPath<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.fault.to_string();
        let rest = text.strip_prefix(self.file).and_then(|rest| rest.strip_prefix(": "));
        f.write_str(rest.unwrap_or(&text))
    }
}

/// The two sides of a fault. Every fault of this crate says "what: expected this, got that"; a
/// report keeps the sides apart, and says neither twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sides {
    pub(super) expected: String,
    pub(super) got: String,
}

impl Sides {
    pub(super) fn of(fault: &dyn Display) -> Sides {
        let text = fault.to_string();
        let Some((what, sides)) = text.split_once("expected ") else {
            return Sides { expected: "none of its faults".to_owned(), got: text };
        };
        let what = what.trim_end_matches(": ");
        let place = if what.is_empty() { String::new() } else { format!(" ({what})") };
        // The first: what was got may say anything, `, got` too.
        let (expected, got) = sides.split_once(", got").unwrap_or((sides, " something else"));
        let got = got.trim_start_matches([':', ' ']).to_owned();
        Sides { expected: format!("{expected}{place}"), got }
    }
}

/// A source, and the first thing in it that could not be read. Whoever reads may have a way round
/// it; the report says so all the same.
pub(super) struct Watched<'a> {
    source: &'a dyn TileSource,
    unreadable: RefCell<Option<SourceFault>>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(source: &'a dyn TileSource) -> Watched<'a> {
        Watched { source, unreadable: RefCell::default() }
    }

    pub(super) fn judge(&self, report: Report) -> Report {
        let met = self.unreadable.take();
        let Some(SourceFault::Unreadable { path, message }) = met else { return report };
        let mut report = Report { unreadable: true, ..report };
        if report.is_sound() {
            // It was in nobody's way, and still nobody has seen what it holds.
            let (expected, got) = ("a file that can be read".to_owned(), message);
            let fault = Fault { file: path, leaf: None, slug: "file_unreadable", expected, got };
            report.faults.push(fault);
            report.faults_count += 1;
        }
        report
    }

    fn noted<T>(&self, had: Result<T, SourceFault>) -> Result<T, SourceFault> {
        had.inspect_err(|fault| {
            if matches!(fault, SourceFault::Unreadable { .. }) {
                self.unreadable.borrow_mut().get_or_insert_with(|| fault.clone());
            }
        })
    }
}

impl TileSource for Watched<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        self.noted(self.source.read(path))
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        self.noted(self.source.list(dir))
    }

    fn wait_for_writer(&self) -> bool {
        self.source.wait_for_writer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_two_sides_and_says_each_once() {
        let check = |text: &str, expected: &str, got: &str| {
            let fault = AfterPath { file: "policy", fault: &text };
            let sides = Sides { expected: expected.to_owned(), got: got.to_owned() };
            assert_eq!(Sides::of(&fault), sides);
        };
        check("policy: expected a file, got none", "a file", "none");
        check("expected root a, got b", "root a", "b");
        check("leaf version: expected 1, got 9", "1 (leaf version)", "9");
        check(
            "line 3: expected a key, got \", got, expected\"",
            "a key (line 3)",
            "\", got, expected\"",
        );
        check(
            "policy: expected a file that can be read, got: EIO",
            "a file that can be read",
            "EIO",
        );
        check("expected a valid signature of n1", "a valid signature of n1", "something else");
        check("header of batch: reserved", "none of its faults", "header of batch: reserved");
    }
}
