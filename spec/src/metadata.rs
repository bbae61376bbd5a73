//! `metadata` of every document: who it is, and what its author notes about it.

use crate::fault::{Slug, shown};
use crate::name::{is_annotation_key, is_label_key};
use crate::reader::Value;
use crate::yaml::Content;

/// Labels and annotations are checked and stay in [`Written`](crate::Written); nothing of ours
/// reads them yet.
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) display_name: Option<String>,
}

impl Metadata {
    pub(crate) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let name = fields.need("name", Value::name);
        let display_name = fields.maybe("displayName", Value::display_name);
        let labels = fields.maybe("labels", read_labels);
        let annotations = fields.maybe("annotations", read_annotations);
        fields.finish();
        labels.and(annotations)?;
        Some(Self { name: name?, display_name: display_name? })
    }
}

fn read_labels(value: &Value<'_>) -> Option<()> {
    let rule = "a label key of at most 63 letters, digits and inner -._";
    read_notes(value, is_label_key, rule, |value| match &value.node.content {
        Content::Sequence(_) => value.list_of(|item| item.text()).map(|_| ()),
        _ => value.text().map(|_| ()),
    })
}

fn read_annotations(value: &Value<'_>) -> Option<()> {
    let rule = "an annotation key, with or without a DNS prefix/ (openslo.com/ is reserved)";
    read_notes(value, is_annotation_key, rule, |value| value.text().map(|_| ()))
}

fn read_notes(
    value: &Value<'_>,
    is_key: impl Fn(&str) -> bool,
    key_rule: &str,
    read: impl Fn(&Value<'_>) -> Option<()>,
) -> Option<()> {
    let mut all_good = Some(());
    for (key, note) in value.entries()? {
        if !is_key(&key.text) {
            all_good = note.fault(Slug::BadName, key_rule, shown(&key.text));
        }
        all_good = read(&note).and(all_good);
    }
    all_good
}
