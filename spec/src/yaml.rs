//! Text to trees. The only module that knows the YAML parser underneath (`granit-parser`).
//!
//! A scalar keeps its text as written: `0.999` is not yet a number and `no` is not a boolean. What
//! it means is decided where it is read, by the field that wants it. Parsing is by events and an
//! explicit stack, so no nesting of the input can overflow ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use granit_parser::{
    ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, StrInput,
};

use crate::fault::{Fault, Faults, Slug, shown};
use crate::limits::{
    DOCUMENTS_MAX, EXPANDED_BYTES_MAX, NESTING_MAX, NODE_WEIGHT_BYTES, TEXT_BYTES_MAX,
};

/// One value and the place of its first character.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) content: Content,
    /// From 1.
    pub(crate) line: u32,
    /// From 1, in characters.
    pub(crate) column: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    /// In the order written; keys are unique.
    Mapping(Vec<(Key, Node)>),
}

/// Text after quotes and escapes are undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes, and looks like a number, a boolean or null: only then it may be one.
    pub(crate) typed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// What one file held: the documents that could be read, and what was wrong with the others.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) documents: Vec<Node>,
    pub(crate) faults: Faults,
}

/// What stands in the place of a node decides whether two are the same, not where it stands.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

impl Eq for Node {}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl Node {
    /// The value of a field, if this is a mapping that has it.
    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        let Content::Mapping(entries) = &self.content else { return None };
        entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }

    /// Line and column of the first character.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.line, self.column)
    }

    /// The items of a list; none for anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.content {
            Content::Sequence(items) => items,
            _ => &[],
        }
    }
}

impl Scalar {
    fn new(text: &str, style: ScalarStyle) -> Self {
        let typed = style == ScalarStyle::Plain && looks_typed(text);
        Self { text: text.to_owned(), typed }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.typed && is_null(&self.text)
    }
}

impl Content {
    /// How a fault names it: `a list of 3`, `12`, `text "12"`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Sequence(items) => format!("a list of {}", items.len()),
            Self::Mapping(entries) => format!("a mapping of {}", entries.len()),
            Self::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Self::Scalar(Scalar { text, .. }) if text.is_empty() => "empty text".to_owned(),
            Self::Scalar(Scalar { text, typed: false }) if looks_typed(text) => {
                format!("text \"{}\"", shown(text))
            }
            Self::Scalar(Scalar { text, .. }) => shown(text),
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether a text without quotes may mean something else than itself. `10s` and `1.20` count too:
/// only the field that reads them knows.
pub(crate) fn looks_typed(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    let starts_like_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    is_null(text)
        || matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
        || (starts_like_number && has_digit && text.chars().all(part))
}

/// Reads every document of one file. A document that cannot be read costs one fault, and reading
/// goes on at the next `---`.
pub(crate) fn read(file: &Arc<str>, text: &str) -> Read {
    let mut read = Read::default();
    if text.len() > TEXT_BYTES_MAX {
        read.faults.push(Trouble::too_long(text.len()).into_fault(file));
        return read;
    }
    let mut parser = Parser::new_from_str_with_options(text, options());
    let mut builder = Builder::default();
    loop {
        match builder.next_document(&mut parser) {
            Ok(Some(document)) => read.documents.push(document),
            Ok(None) => return read,
            Err(trouble) => {
                let goes_on = !trouble.fatal && matches!(parser.proceed_next_document(), Ok(true));
                read.faults.push(trouble.into_fault(file));
                if !goes_on {
                    return read;
                }
            }
        }
    }
}

/// The parser's own bounds are as narrow as ours, so that it never works for nothing.
fn options() -> Options {
    let mut options = Options::default();
    options.flow_nesting_limit = NESTING_MAX;
    options.block_nesting_limit = NESTING_MAX;
    options
}

/// Why a document could not be read.
struct Trouble {
    mark: Marker,
    slug: Slug,
    expected: String,
    got: String,
    /// Nothing after it is worth reading.
    fatal: bool,
}

impl Trouble {
    fn new(mark: Marker, slug: Slug, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { mark, slug, expected: expected.into(), got: got.into(), fatal: false }
    }

    fn too_large(mark: Marker, expected: String, got: &str) -> Self {
        Self { fatal: true, ..Self::new(mark, Slug::TooLarge, expected, got) }
    }

    fn too_long(bytes: usize) -> Self {
        let expected = format!("at most {TEXT_BYTES_MAX} bytes in one file");
        Self::too_large(Marker::new(0, 1, 0), expected, &format!("{bytes} bytes"))
    }

    fn too_deep(mark: Marker) -> Self {
        Self::new(mark, Slug::TooLarge, format!("at most {NESTING_MAX} levels of nesting"), "more")
    }

    fn into_fault(self, file: &Arc<str>) -> Fault {
        Fault {
            file: file.clone(),
            line: line_of(self.mark),
            column: column_of(self.mark),
            path: "document".to_owned(),
            expected: self.expected,
            got: self.got,
            slug: self.slug,
        }
    }
}

impl From<ScanError> for Trouble {
    fn from(error: ScanError) -> Self {
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return Self::too_deep(*error.marker());
        }
        Self::new(*error.marker(), Slug::Syntax, "YAML", shown(&error.info()))
    }
}

/// Puts events together. Lives as long as one file: its weight is the file's.
#[derive(Default)]
struct Builder {
    /// The containers that are open, outermost first.
    open: Vec<Open>,
    /// Finished nodes that bear an anchor, in this document.
    anchors: BTreeMap<usize, Measured>,
    weight_bytes: usize,
    documents_count: usize,
}

/// A container whose end has not come yet.
struct Open {
    mark: Marker,
    anchor: usize,
    weight_before_bytes: usize,
    depth_inside: usize,
    inside: Inside,
}

enum Inside {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<(Key, Node)>,
        /// The line of each key so far.
        lines: BTreeMap<String, u32>,
        /// A key that waits for its value.
        key: Option<Key>,
    },
}

impl Inside {
    fn new_mapping() -> Self {
        Self::Mapping { entries: Vec::new(), lines: BTreeMap::new(), key: None }
    }
}

/// A finished node with what an alias to it would cost.
#[derive(Clone)]
struct Measured {
    node: Node,
    weight_bytes: usize,
    /// Containers inside each other, itself included; 0 for a scalar.
    depth: usize,
}

impl Builder {
    /// The next document that is not empty.
    fn next_document<'text>(
        &mut self,
        parser: &mut Parser<'text, StrInput<'text>>,
    ) -> Result<Option<Node>, Trouble> {
        self.open.clear();
        self.anchors.clear();
        let mut root = None;
        while let Some(event) = parser.next_event() {
            let (event, span) = event?;
            if matches!(event, Event::DocumentEnd) {
                match root.take() {
                    Some(node) => return Ok(Some(node)),
                    None => continue,
                }
            }
            if let Some(node) = self.take(event, span)? {
                root = self.keep_root(node, span)?;
            }
        }
        Ok(None)
    }

    /// An empty document (only comments between two `---`) is none.
    fn keep_root(&mut self, node: Node, span: Span) -> Result<Option<Node>, Trouble> {
        if matches!(&node.content, Content::Scalar(scalar) if scalar.is_null()) {
            return Ok(None);
        }
        self.documents_count += 1;
        if self.documents_count > DOCUMENTS_MAX {
            let expected = format!("at most {DOCUMENTS_MAX} documents");
            return Err(Trouble::too_large(span.start, expected, "one more"));
        }
        Ok(Some(node))
    }

    /// Takes one event; gives the root node when it is finished.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Trouble> {
        match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => {
                Err(Trouble::new(span.start, Slug::Syntax, "a value without a tag", "a tag"))
            }
            Event::Scalar(text, style, anchor, None) => self.scalar(&text, style, anchor, span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::SequenceStart(_, anchor, None) => {
                self.open(anchor, span, Inside::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, None) => self.open(anchor, span, Inside::new_mapping()),
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            _ => Ok(None),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        span: Span,
    ) -> Result<Option<Node>, Trouble> {
        let weight_bytes = NODE_WEIGHT_BYTES + text.len();
        self.weigh(weight_bytes, span)?;
        let content = Content::Scalar(Scalar::new(text, style));
        let node = Node { content, line: line_of(span.start), column: column_of(span.start) };
        self.place(anchor, Measured { node, weight_bytes, depth: 0 }, span)
    }

    /// An alias stands for a copy of its anchor's node, at the alias's own place.
    fn alias(&mut self, anchor: usize, span: Span) -> Result<Option<Node>, Trouble> {
        let Some(mut measured) = self.anchors.get(&anchor).cloned() else {
            let got = "an alias inside of its own anchor";
            return Err(Trouble::new(span.start, Slug::Syntax, "a finished anchor", got));
        };
        self.weigh(measured.weight_bytes, span)?;
        measured.node.line = line_of(span.start);
        measured.node.column = column_of(span.start);
        self.place(0, measured, span)
    }

    fn open(&mut self, anchor: usize, span: Span, inside: Inside) -> Result<Option<Node>, Trouble> {
        let weight_before_bytes = self.weight_bytes;
        self.weigh(NODE_WEIGHT_BYTES, span)?;
        let mark = span.start;
        self.open.push(Open { mark, anchor, weight_before_bytes, depth_inside: 0, inside });
        self.check_depth(0, span)?;
        Ok(None)
    }

    fn close(&mut self, span: Span) -> Result<Option<Node>, Trouble> {
        let Some(open) = self.open.pop() else { return Ok(None) };
        let content = match open.inside {
            Inside::Sequence(items) => Content::Sequence(items),
            Inside::Mapping { entries, .. } => Content::Mapping(entries),
        };
        let node = Node { content, line: line_of(open.mark), column: column_of(open.mark) };
        let weight_bytes = self.weight_bytes - open.weight_before_bytes;
        self.place(open.anchor, Measured { node, weight_bytes, depth: open.depth_inside + 1 }, span)
    }

    /// Puts a finished node where it belongs: into the innermost open container, or out.
    fn place(
        &mut self,
        anchor: usize,
        measured: Measured,
        span: Span,
    ) -> Result<Option<Node>, Trouble> {
        self.check_depth(measured.depth, span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, measured.clone());
        }
        let Measured { node, depth, .. } = measured;
        let Some(open) = self.open.last_mut() else { return Ok(Some(node)) };
        open.depth_inside = open.depth_inside.max(depth);
        match &mut open.inside {
            Inside::Sequence(items) => items.push(node),
            Inside::Mapping { entries, lines, key } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(as_key(node, lines, span)?),
            },
        }
        Ok(None)
    }

    fn weigh(&mut self, more_bytes: usize, span: Span) -> Result<(), Trouble> {
        self.weight_bytes = self.weight_bytes.saturating_add(more_bytes);
        if self.weight_bytes <= EXPANDED_BYTES_MAX {
            return Ok(());
        }
        let expected = format!("at most {EXPANDED_BYTES_MAX} bytes with aliases expanded");
        Err(Trouble::too_large(span.start, expected, "more"))
    }

    fn check_depth(&self, inside: usize, span: Span) -> Result<(), Trouble> {
        if self.open.len() + inside <= NESTING_MAX {
            return Ok(());
        }
        Err(Trouble::too_deep(span.start))
    }
}

fn as_key(node: Node, lines: &mut BTreeMap<String, u32>, span: Span) -> Result<Key, Trouble> {
    let Content::Scalar(Scalar { text, .. }) = node.content else {
        let got = node.content.describe();
        return Err(Trouble::new(span.start, Slug::Syntax, "a key that is text", got));
    };
    if text == "<<" {
        let expected = "keys written out";
        return Err(Trouble::new(span.start, Slug::NotSupportedYet, expected, "merge key <<"));
    }
    if let Some(first) = lines.insert(text.clone(), node.line) {
        let expected = format!("{} once (first on line {first})", shown(&text));
        return Err(Trouble::new(span.start, Slug::DuplicateField, expected, "it again"));
    }
    Ok(Key { text, line: node.line, column: node.column })
}

fn line_of(mark: Marker) -> u32 {
    u32::try_from(mark.line().max(1)).unwrap_or(u32::MAX)
}

fn column_of(mark: Marker) -> u32 {
    u32::try_from(mark.col() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Vec<Node> {
        let read = read(&Arc::from("f"), text);
        assert!(read.faults.is_empty(), "{}", read.faults);
        read.documents
    }

    #[test]
    fn scalars_keep_their_text_and_whether_they_may_be_typed() {
        let table = [
            ("0.999", "0.999", true),
            ("1.20", "1.20", true),
            ("012", "012", true),
            ("10s", "10s", true),
            ("true", "true", true),
            ("no", "no", false),
            ("'0.999'", "0.999", false),
            ("\"a\\tb\"", "a\tb", false),
            ("2020-01-21 12:30:00", "2020-01-21 12:30:00", false),
            ("localhost:80", "localhost:80", false),
        ];
        for (written, text, typed) in table {
            let root = documents(&format!("a: {written}")).remove(0);
            let expect = Content::Scalar(Scalar { text: text.to_owned(), typed });
            assert_eq!(root.field("a").unwrap().content, expect, "{written}");
        }
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let root = documents("a: 1\nä: {b: [x, y]}\n").remove(0);
        let list = root.field("ä").unwrap().field("b").unwrap();
        let at: Vec<(u32, u32)> = list.items().iter().map(|n| (n.line, n.column)).collect();
        assert_eq!(at, [(2, 9), (2, 12)]);
    }

    #[test]
    fn empty_documents_are_none() {
        assert_eq!(documents("---\n# nothing\n---\na: 1\n---\n...\n").len(), 1);
        assert_eq!(documents("").len(), 0);
    }

    #[test]
    fn a_damaged_document_does_not_hide_the_others() {
        let read = read(&Arc::from("f"), "a: 1\n---\nb: [\n---\nc: 3\n");
        assert_eq!((read.documents.len(), read.faults.len()), (2, 1));
    }
}
