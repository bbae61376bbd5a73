//! What applying would change, in lines a person reads before saying yes.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{DocumentKind, Documents};
use crate::fault::shown;
use crate::written::Written;

/// One line per document that comes (`+`) or goes (`-`), one per field that changes (`~`), and the
/// number of those that stay (`=`):
///
/// ```text
/// + Check/http-health
/// ~ SLO/site-availability: target 0.99 -> 0.999
/// = 7 unchanged
/// ```
///
/// Compares words as written: `60s` and `1m` differ, for a person changed one into the other.
///
/// An `apply` merges, so what it does not name stays: its diff has no `-`. Between two whole sets,
/// as two revisions are, there may be some.
pub fn diff(old: &Documents, new: &Documents) -> Vec<String> {
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut lines = Vec::new();
    let mut unchanged = 0;
    for name in names {
        let title = format!("{}/{}", name.0, name.1);
        match (old.get(name), new.get(name)) {
            (Some(_), None) => lines.push(format!("- {title}")),
            (Some(old), Some(new)) if old == new => unchanged += 1,
            (Some(old), Some(new)) => lines.extend(changes(&title, old, new)),
            (None, _) => lines.push(format!("+ {title}")),
        }
    }
    if unchanged > 0 {
        lines.push(format!("= {unchanged} unchanged"));
    }
    lines
}

fn by_name(documents: &Documents) -> BTreeMap<(DocumentKind, &str), &Written> {
    documents.all().map(|(kind, name, written)| ((kind, name), written)).collect()
}

fn changes(title: &str, old: &Written, new: &Written) -> Vec<String> {
    let (old, new) = (old.leaves(), new.leaves());
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let lines = paths.into_iter().filter_map(|path| {
        let field = short(path);
        match (old.get(path), new.get(path)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) => {
                Some(format!("~ {title}: {field} {} -> {}", shown(old), shown(new)))
            }
            (Some(old), None) => Some(format!("~ {title}: {field} {} -> (absent)", shown(old))),
            (None, Some(new)) => Some(format!("~ {title}: {field} (absent) -> {}", shown(new))),
            (None, None) => None,
        }
    });
    let lines: Vec<String> = lines.collect();
    match lines.is_empty() {
        false => lines,
        true => vec![format!("~ {title}: only quotes or the order of fields")],
    }
}

/// A field's path without what every path begins with.
fn short(path: &str) -> &str {
    let path = path.strip_prefix("spec.").unwrap_or(path);
    path.strip_prefix("objectives[0].").unwrap_or(path)
}
