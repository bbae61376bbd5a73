//! What is wrong with a document, and where. A person reads these; a program reads the slug.

use std::fmt;
use std::sync::Arc;

use crate::limits::{FAULT_TEXT_BYTES_MAX, FAULTS_MAX};

/// The stable, closed list of things that can be wrong. The slug never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slug {
    /// Not YAML, or YAML we refuse by design (tags, merge keys, keys that are not text).
    Syntax,
    /// A bound of [`limits`](crate::limits) was reached.
    TooLarge,
    /// `apiVersion` names no version we read.
    UnknownApiVersion,
    /// `kind` names no kind of this `apiVersion`.
    UnknownKind,
    /// A field this place does not have.
    UnknownField,
    /// The same field written twice in one mapping.
    DuplicateField,
    /// A required field is absent.
    MissingField,
    /// A list where text belongs, text where a number belongs, ...
    WrongType,
    /// The right type, outside of what is allowed.
    OutOfRange,
    /// Not one of a closed list of words.
    UnknownValue,
    /// Not an RFC 1123 label.
    BadName,
    /// Not a duration, or a unit not allowed here.
    BadDuration,
    /// Not a decimal number we hold exactly.
    BadNumber,
    /// Not an `http` or `https` URL.
    BadUrl,
    /// Not `host:port`.
    BadAddress,
    /// Not a regular expression, or one that compiles to too much.
    BadRegexp,
    /// Not a pattern of `*` and `**`.
    BadGlob,
    /// Not a SHA-256 digest in hex.
    BadDigest,
    /// Two fields that exclude each other, or contradict each other.
    Conflict,
    /// Two documents of one kind and name, or one list naming a thing twice.
    DuplicateName,
    /// A name that no document in force bears.
    UnknownReference,
    /// Known to OpenSLO or planned by us, and not evaluated yet: refused rather than ignored.
    NotSupportedYet,
}

/// One thing that is wrong. Displays as `file:line:column: slug: path: expected X, got Y`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Like `spec.probe.http.url`; `document` when the fault is about the whole.
    pub path: String,
    pub expected: String,
    pub got: String,
    pub slug: Slug,
}

/// Every fault of one `parse` or `resolve`, in the order of files, lines and columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    faults: Vec<Fault>,
    /// How many were found beyond [`FAULTS_MAX`].
    more: usize,
}

impl Slug {
    pub const ALL: [Self; 22] = [
        Self::Syntax,
        Self::TooLarge,
        Self::UnknownApiVersion,
        Self::UnknownKind,
        Self::UnknownField,
        Self::DuplicateField,
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::UnknownValue,
        Self::BadName,
        Self::BadDuration,
        Self::BadNumber,
        Self::BadUrl,
        Self::BadAddress,
        Self::BadRegexp,
        Self::BadGlob,
        Self::BadDigest,
        Self::Conflict,
        Self::DuplicateName,
        Self::UnknownReference,
        Self::NotSupportedYet,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::TooLarge => "too_large",
            Self::UnknownApiVersion => "unknown_api_version",
            Self::UnknownKind => "unknown_kind",
            Self::UnknownField => "unknown_field",
            Self::DuplicateField => "duplicate_field",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::UnknownValue => "unknown_value",
            Self::BadName => "bad_name",
            Self::BadDuration => "bad_duration",
            Self::BadNumber => "bad_number",
            Self::BadUrl => "bad_url",
            Self::BadAddress => "bad_address",
            Self::BadRegexp => "bad_regexp",
            Self::BadGlob => "bad_glob",
            Self::BadDigest => "bad_digest",
            Self::Conflict => "conflict",
            Self::DuplicateName => "duplicate_name",
            Self::UnknownReference => "unknown_reference",
            Self::NotSupportedYet => "not_supported_yet",
        }
    }
}

impl Faults {
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// How many there are, those beyond the reported ones included.
    pub fn len(&self) -> usize {
        self.faults.len() + self.more
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.faults.iter()
    }

    /// One line per fault, "and N more" last: what `proofmark apply` prints.
    pub fn to_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        if self.more > 0 {
            lines.push(format!("and {} more", self.more));
        }
        lines
    }

    /// Keeps the first [`FAULTS_MAX`]; counts the rest.
    pub(crate) fn push(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn extend(&mut self, other: Faults) {
        other.faults.into_iter().for_each(|fault| self.push(fault));
        self.more += other.more;
    }

    /// Puts the faults of each file in the order of its lines; files stay in the order given.
    pub(crate) fn sort_within_files(&mut self) {
        for run in self.faults.chunk_by_mut(|a, b| a.file == b.file) {
            run.sort_by(|a, b| (a.line, a.column, &a.path).cmp(&(b.line, b.column, &b.path)));
        }
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, path, expected, got, slug } = self;
        write!(f, "{file}:{line}:{column}: {slug}: {path}: expected {expected}, got {got}")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_lines().join("\n"))
    }
}

/// A user's own text as it may stand in a fault: one line, no control characters, not too long.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if shown.len() >= FAULT_TEXT_BYTES_MAX {
            shown.push_str("...");
            break;
        }
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}
