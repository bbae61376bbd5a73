//! From a tree to fields. Reading never stops at the first fault: each reader asks for all of its
//! fields, every fault goes to one [`Reporter`], and only then is a value put together.
//!
//! The rhythm of every reader in this crate:
//!
//! ```text
//! let mut fields = value.fields()?;
//! let url = fields.need("url", Value::url);            // None: a fault was reported
//! let body = fields.maybe("body", Value::probe_text);  // Some(None): absent
//! fields.finish();                                     // everything not asked for is unknown
//! Some(Probe { url: url?, body: body? })
//! ```

use std::cell::RefCell;
use std::sync::Arc;

use crate::fault::{Fault, Faults, Slug, shown};
use crate::limits::{COMPARED_CHARS_MAX, LIST_ITEMS_MAX};
use crate::yaml::{Content, Key, Node, Scalar};

/// Where the faults of one file are collected.
pub(crate) struct Reporter {
    pub(crate) file: Arc<str>,
    faults: RefCell<Faults>,
}

/// One value, its path, and where to report what is wrong with it.
#[derive(Clone)]
pub struct Value<'a> {
    pub(crate) node: &'a Node,
    pub(crate) reporter: &'a Reporter,
    path: String,
}

/// A mapping whose fields are being asked for by name.
pub struct Fields<'a> {
    value: Value<'a>,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl Reporter {
    pub(crate) fn new(file: Arc<str>) -> Self {
        Self { file, faults: RefCell::default() }
    }

    pub(crate) fn into_faults(self) -> Faults {
        self.faults.into_inner()
    }

    fn report(&self, at: (u32, u32), path: &str, slug: Slug, expected: String, got: String) {
        let (line, column) = at;
        let path = if path.is_empty() { "document" } else { path }.to_owned();
        let file = self.file.clone();
        self.faults.borrow_mut().push(Fault { file, line, column, path, expected, got, slug });
    }
}

impl<'a> Value<'a> {
    pub(crate) fn root(node: &'a Node, reporter: &'a Reporter) -> Self {
        Self { node, reporter, path: String::new() }
    }

    /// Reports a fault of this value, and gives the None that a reader then returns.
    pub fn fault<T>(
        &self,
        slug: Slug,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Option<T> {
        let at = self.node.place();
        self.reporter.report(at, &self.path, slug, expected.into(), got.into());
        None
    }

    pub fn wrong_type<T>(&self, expected: impl Into<String>) -> Option<T> {
        self.fault(Slug::WrongType, expected, self.node.content.describe())
    }

    /// Any text, quoted or not, but not nothing: an empty value is a slip, not a wish.
    pub(crate) fn scalar(&self, expected: &str) -> Option<&'a Scalar> {
        match &self.node.content {
            Content::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => self.wrong_type(expected),
        }
    }

    /// Text that may be a number or a boolean.
    pub(crate) fn typed(&self, expected: &str) -> Option<&'a str> {
        match &self.node.content {
            Content::Scalar(scalar) if scalar.typed && !scalar.is_null() => Some(&scalar.text),
            _ => self.wrong_type(expected),
        }
    }

    pub fn fields(&self) -> Option<Fields<'a>> {
        match &self.node.content {
            Content::Mapping(entries) => {
                self.check_count(entries.len())?;
                Some(Fields { value: self.clone(), entries, known: Vec::new() })
            }
            _ => self.wrong_type("a mapping"),
        }
    }

    /// Every item of a list, at most [`LIST_ITEMS_MAX`].
    pub fn items(&self) -> Option<Vec<Value<'a>>> {
        let Content::Sequence(items) = &self.node.content else { return self.wrong_type("a list") };
        self.check_count(items.len())?;
        let at = |(index, node)| Value { node, path: format!("{}[{index}]", self.path), ..*self };
        Some(items.iter().enumerate().map(at).collect())
    }

    /// Every entry of a mapping whose keys the user chooses, at most [`LIST_ITEMS_MAX`]. What is
    /// wrong with a key is reported at its value, whose path names it.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a Key, Value<'a>)>> {
        let Content::Mapping(entries) = &self.node.content else {
            return self.wrong_type("a mapping");
        };
        self.check_count(entries.len())?;
        let at = |(key, node): &'a (Key, Node)| {
            let path = format!("{}.{}", self.path, shown(&key.text));
            (key, Value { node, path, ..*self })
        };
        Some(entries.iter().map(at).collect())
    }

    /// Every item read by `read`; None when one is at fault, after all were read.
    pub fn list_of<T>(&self, mut read: impl FnMut(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        let items: Vec<Option<T>> = self.items()?.iter().map(&mut read).collect();
        items.into_iter().collect()
    }

    fn check_count(&self, count: usize) -> Option<()> {
        match count <= LIST_ITEMS_MAX {
            true => Some(()),
            false => self.fault(
                Slug::TooLarge,
                format!("at most {LIST_ITEMS_MAX} items"),
                count.to_string(),
            ),
        }
    }
}

impl<'a> Fields<'a> {
    /// A field that must be there.
    pub fn need<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(name) {
            Some(value) => read(&value),
            None => self.missing(name),
        }
    }

    /// A field that may be absent: `Some(None)`. The outer None is a fault.
    pub fn maybe<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.get(name) {
            Some(value) => read(&value).map(Some),
            None => Some(None),
        }
    }

    /// A field with a default.
    pub fn or<T>(
        &mut self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        self.maybe(name, read).map(|value| value.unwrap_or(default))
    }

    /// The value of a field, which is known from now on.
    pub fn get(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.is_known(name);
        let (_, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        Some(self.child(name, node))
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.text == name)
    }

    /// A field that is known to the field but not evaluated here yet: never silently ignored.
    pub(crate) fn refuse(&mut self, name: &'static str, instead: &str) -> Option<()> {
        match self.get(name) {
            Some(value) => value.fault(Slug::NotSupportedYet, instead, name),
            None => Some(()),
        }
    }

    /// Reports a field that is not there; gives the None that a reader then returns.
    pub fn missing<T>(&self, name: &str) -> Option<T> {
        let node = self.value.node;
        let path = self.path_of(name);
        let (expected, got) = ("a value".to_owned(), "nothing".to_owned());
        let at = node.place();
        self.value.reporter.report(at, &path, Slug::MissingField, expected, got);
        None
    }

    /// Reports a fault of the mapping as a whole.
    pub fn fault<T>(
        &self,
        slug: Slug,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Option<T> {
        self.value.fault(slug, expected, got)
    }

    /// Exactly one of `names`: the name that is there.
    pub fn one_of(&mut self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().for_each(|name| self.is_known(name));
        let present: Vec<&'static str> =
            names.iter().copied().filter(|name| self.has(name)).collect();
        match present[..] {
            [name] => Some(name),
            [] => self.fault(Slug::MissingField, any_of(names), "none of them"),
            _ => self.fault(Slug::Conflict, any_of(names), present.join(" and ")),
        }
    }

    /// Whatever was not asked for is unknown. The last call of every reader.
    pub fn finish(self) {
        for (key, _) in self.entries {
            if self.known.contains(&key.text.as_str()) {
                continue;
            }
            let (path, at) = (self.path_of(&shown(&key.text)), (key.line, key.column));
            let (expected, got) = (self.expected_instead_of(&key.text), shown(&key.text));
            self.value.reporter.report(at, &path, Slug::UnknownField, expected, got);
        }
    }

    fn is_known(&mut self, name: &'static str) {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
    }

    /// The nearest known name, or all of them when none is near.
    fn expected_instead_of(&self, name: &str) -> String {
        match nearest(name, &self.known) {
            Some(near) => format!("{near} (the nearest known field)"),
            None => any_of(&self.known),
        }
    }

    fn path_of(&self, name: &str) -> String {
        match self.value.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    fn child(&self, name: &str, node: &'a Node) -> Value<'a> {
        Value { node, path: self.path_of(name), reporter: self.value.reporter }
    }
}

/// What a fault expects where one of `words` belongs.
pub(crate) fn any_of(words: &[&str]) -> String {
    match words {
        [word] => (*word).to_owned(),
        words => format!("one of {}", words.join(", ")),
    }
}

/// The same, with the one that was probably meant first.
pub(crate) fn instead_of(word: &str, words: &[&str]) -> String {
    match (nearest(word, words), words) {
        (Some(near), [_, _, ..]) => format!("{near} (the nearest of {})", words.join(", ")),
        _ => any_of(words),
    }
}

/// The candidate with the fewest edits, if they are at most a third of its letters.
fn nearest<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    let name: Vec<char> =
        name.chars().take(COMPARED_CHARS_MAX).flat_map(char::to_lowercase).collect();
    let measured = candidates.iter().map(|candidate| (edits(&name, candidate), *candidate));
    let (edits, near) = measured.min()?;
    (edits <= near.len().div_ceil(3)).then_some(near)
}

/// Levenshtein's distance, ignoring case, one row at a time.
fn edits(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["url", "method", "valid_status_codes", "timeout"];
        let table = [
            ("timeuot", Some("timeout")),
            ("valid_status_code", Some("valid_status_codes")),
            ("Method", Some("method")),
            ("uri", Some("url")),
            ("banana", None),
            ("", None),
        ];
        for (name, expect) in table {
            assert_eq!(nearest(name, &known), expect, "{name}");
        }
    }
}
