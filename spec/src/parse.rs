//! Texts in, documents or all faults out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::{DocumentKind, Documents};
use crate::envelope::Document;
use crate::fault::{Faults, Slug};
use crate::limits::DOCUMENTS_MAX;
use crate::reader::{Reporter, Value};
use crate::yaml::{self, Content, Node};

/// The text of one YAML file: any number of documents, or lists of them (as OpenSLO allows).
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// As the user knows it; every fault begins with it.
    pub file: &'a str,
    pub text: &'a str,
}

/// Reads all files as one set of documents. References between documents are not looked at, for
/// what they refer to may be in force already: that is [`Documents::resolve`], after a merge.
///
/// # Errors
/// Every fault of every file, in the order given and by line. One fault anywhere refuses all.
pub fn parse(sources: &[Source<'_>]) -> Result<Documents, Faults> {
    let mut set = Set::default();
    for source in sources {
        set.read_file(source);
    }
    set.documents.sort();
    if set.faults.is_empty() { Ok(set.documents) } else { Err(set.faults) }
}

/// What was read so far.
#[derive(Default)]
struct Set {
    documents: Documents,
    faults: Faults,
    documents_count: usize,
    /// Where each name was first given.
    first: BTreeMap<(DocumentKind, String), String>,
}

impl Set {
    fn read_file(&mut self, source: &Source<'_>) {
        let file: Arc<str> = Arc::from(source.file);
        let read = yaml::read(&file, source.text);
        let reporter = Reporter::new(file);
        for node in &read.documents {
            match &node.content {
                Content::Sequence(items) => {
                    items.iter().for_each(|item| self.read_document(item, &reporter));
                }
                _ => self.read_document(node, &reporter),
            }
        }
        let mut faults = read.faults;
        faults.extend(reporter.into_faults());
        faults.sort_within_files();
        self.faults.extend(faults);
    }

    fn read_document(&mut self, node: &Node, reporter: &Reporter) {
        let value = Value::root(node, reporter);
        self.documents_count += 1;
        if self.documents_count > DOCUMENTS_MAX {
            let expected = format!("at most {DOCUMENTS_MAX} documents");
            value.fault::<()>(Slug::TooLarge, expected, "one more");
            return;
        }
        let Some(document) = Document::read(&value) else { return };
        let (kind, name) = document.id();
        let here = format!("{}:{}", reporter.file, node.line);
        if let Some(first) = self.first.get(&(kind, name.to_owned())) {
            let expected = format!("each {kind} once (first at {first})");
            value.fault::<()>(Slug::DuplicateName, expected, format!("{kind}/{name} again"));
            return;
        }
        self.first.insert((kind, name.to_owned()), here);
        self.documents.push(document);
    }
}
