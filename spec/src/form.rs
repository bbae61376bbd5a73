//! The reader of our documents, for another program's own YAML (its configuration): the same
//! faults, with the same places, slugs and hints, and every one of them at once.
//!
//! ```
//! use proofmark_spec::form::{Value, read_one};
//!
//! let count = read_one("a.yaml", "count: 9", |value| {
//!     let mut fields = value.fields()?;
//!     let count = fields.need("count", |value| value.integer(1, 5));
//!     fields.finish();
//!     count
//! });
//! let expect = "a.yaml:1:8: out_of_range: count: expected a whole number from 1 to 5, got 9";
//! assert_eq!(count.unwrap_err().to_string(), expect);
//! ```

pub use crate::fault::Slug;
use crate::fault::{Fault, Faults};
use crate::reader::Reporter;
pub use crate::reader::{Fields, Value};
use crate::yaml::{self, Node};

/// Reads a file that holds exactly one document.
///
/// `read` reports to the value it is given, and gives None only if it has reported a fault.
///
/// # Errors
/// Every fault of the file.
pub fn read_one<T>(
    file: &str,
    text: &str,
    read: impl FnOnce(&Value<'_>) -> Option<T>,
) -> Result<T, Faults> {
    let file = file.into();
    let tree = yaml::read(&file, text);
    let mut faults = tree.faults;
    let reporter = Reporter::new(file.clone());
    let found = match &tree.documents[..] {
        [root] => read(&Value::root(root, &reporter)),
        // A document that could not be read is not there, and was reported.
        [] if !faults.is_empty() => None,
        documents => {
            let got = documents.len().to_string();
            let (line, column) = documents.last().map_or((1, 1), Node::place);
            let (path, expected) = ("document".to_owned(), "exactly one document".to_owned());
            let slug = Slug::OutOfRange;
            faults.push(Fault { file, line, column, path, expected, got, slug });
            None
        }
    };
    faults.extend(reporter.into_faults());
    faults.sort_within_files();
    match found {
        Some(found) if faults.is_empty() => Ok(found),
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&str, &str>) {
        let read = read_one("f", text, |value| {
            let mut fields = value.fields()?;
            let name = fields.need("name", Value::name);
            fields.finish();
            name
        });
        let shown = read.map_err(|faults| faults.to_string());
        assert_eq!(shown.as_deref().map_err(String::as_str), expect, "{text}");
    }

    #[test]
    fn one_document_or_every_fault() {
        check("name: a", Ok("a"));
        check("", Err("f:1:1: out_of_range: document: expected exactly one document, got 0"));
        check(
            "name: a\n---\nname: b\n",
            Err("f:3:1: out_of_range: document: expected exactly one document, got 2"),
        );
        check(
            "name: A\nnam: a\n",
            Err("f:1:7: bad_name: name: expected a name of at most 63 lower-case letters, digits \
                 and inner hyphens, got A\n\
                 f:2:1: unknown_field: nam: expected name (the nearest known field), got nam"),
        );
        check("name: [", Err("f:1:7: syntax: document: expected YAML, got unclosed bracket '['"));
    }
}
