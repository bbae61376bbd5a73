//! A document as its author wrote it, kept beside what it means: to show where it stood, to
//! compare it with a newer one field by field, and to write it out again for another program.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::yaml::{Content, Node, Scalar, looks_typed};

/// Where a document began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// The fields of one document as written. Two are equal when they say the same in the same words,
/// wherever they stood and however they were laid out. The default is an empty document.
#[derive(Clone, Default)]
pub struct Written {
    node: Option<Arc<Node>>,
    file: Option<Arc<str>>,
}

impl Written {
    pub(crate) fn new(file: &Arc<str>, node: &Node) -> Self {
        Self { node: Some(Arc::new(node.clone())), file: Some(file.clone()) }
    }

    /// None for a document that no file holds (one built by a program).
    pub fn position(&self) -> Option<Position> {
        let (node, file) = (self.node.as_ref()?, self.file.clone()?);
        Some(Position { file, line: node.line, column: node.column })
    }

    /// Where the value at a path like `spec.objectives[0].target` began.
    pub(crate) fn place_of(&self, path: &str) -> Option<Position> {
        let mut node = self.node.as_deref()?;
        for step in path.split('.') {
            let (name, index) = step.split_once('[').unwrap_or((step, ""));
            node = node.field(name)?;
            if let Some(index) = index.strip_suffix(']') {
                node = node.items().get(index.parse::<usize>().ok()?)?;
            }
        }
        Some(Position { file: self.file.clone()?, line: node.line, column: node.column })
    }

    /// Block-style YAML of the same fields in the same order, ending in a line feed. Comments,
    /// anchors and layout are gone. Parsing it gives an equal document.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        if let Some(node) = &self.node {
            write_block(&mut out, node, 0);
        }
        out
    }

    /// Every scalar by its path, in the order of the document: `spec.objectives[0].target`.
    pub(crate) fn leaves(&self) -> BTreeMap<String, String> {
        let mut leaves = BTreeMap::new();
        if let Some(node) = &self.node {
            collect_leaves(&mut leaves, String::new(), node);
        }
        leaves
    }
}

/// The place only: the fields would bury what stands beside them.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position() {
            Some(Position { file, line, column }) => write!(f, "{file}:{line}:{column}"),
            None => f.write_str("-"),
        }
    }
}

impl PartialEq for Written {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl Eq for Written {}

/// Recursion is bounded by the nesting a [`Node`] may have.
fn collect_leaves(leaves: &mut BTreeMap<String, String>, path: String, node: &Node) {
    match &node.content {
        Content::Scalar(scalar) => {
            leaves.insert(path, scalar.text.clone());
        }
        Content::Sequence(items) if items.is_empty() => {
            leaves.insert(path, "[]".to_owned());
        }
        Content::Mapping(entries) if entries.is_empty() => {
            leaves.insert(path, "{}".to_owned());
        }
        Content::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_leaves(leaves, format!("{path}[{index}]"), item);
            }
        }
        Content::Mapping(entries) => {
            for (key, value) in entries {
                let dot = if path.is_empty() { "" } else { "." };
                collect_leaves(leaves, format!("{path}{dot}{}", key.text), value);
            }
        }
    }
}

/// Writes a node whose first line begins where `out` stands; deeper lines get `indent` blanks.
fn write_block(out: &mut String, node: &Node, indent: usize) {
    match &node.content {
        Content::Scalar(scalar) => {
            out.push_str(&scalar_text(scalar));
            out.push('\n');
        }
        Content::Sequence(items) if items.is_empty() => out.push_str("[]\n"),
        Content::Mapping(entries) if entries.is_empty() => out.push_str("{}\n"),
        Content::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                pad(out, if index == 0 { 0 } else { indent });
                out.push_str("- ");
                write_block(out, item, indent + 2);
            }
        }
        Content::Mapping(entries) => {
            for (index, (key, value)) in entries.iter().enumerate() {
                pad(out, if index == 0 { 0 } else { indent });
                out.push_str(&plain_or_quoted(&key.text));
                out.push(':');
                write_value(out, value, indent + 2);
            }
        }
    }
}

fn write_value(out: &mut String, value: &Node, indent: usize) {
    let goes_below = match &value.content {
        Content::Scalar(_) => false,
        Content::Sequence(items) => !items.is_empty(),
        Content::Mapping(entries) => !entries.is_empty(),
    };
    match goes_below {
        true => {
            out.push('\n');
            pad(out, indent);
        }
        false => out.push(' '),
    }
    write_block(out, value, indent);
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar_text(scalar: &Scalar) -> String {
    match scalar.typed {
        true if scalar.is_null() => "null".to_owned(),
        true => scalar.text.clone(),
        false => plain_or_quoted(&scalar.text),
    }
}

fn plain_or_quoted(text: &str) -> String {
    if is_safe_plain(text) { text.to_owned() } else { quoted(text) }
}

/// A word that no YAML reads as anything but text (YAML 1.1 reads `no` as a boolean).
fn is_safe_plain(text: &str) -> bool {
    const WORDS_OF_YAML_1_1: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c))
        && !looks_typed(text)
        && !WORDS_OF_YAML_1_1.contains(&text.to_ascii_lowercase().as_str())
}

/// A double-quoted YAML scalar: JSON's escapes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() => out.push(c),
            c => write!(out, "\\U{:08x}", u32::from(c)).expect("a String takes every write"),
        }
    }
    out.push('"');
    out
}
