//! Names of documents and agents: RFC 1123 labels, as OpenSLO v1 and Kubernetes want them.

use crate::limits::NAME_BYTES_MAX;

/// What a fault says was expected.
pub(crate) const NAME_RULE: &str =
    "a name of at most 63 lower-case letters, digits and inner hyphens";

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, at most 63 bytes (RFC 1123 section 2.1).
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// OpenSLO v1 label key: `^[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$`.
pub(crate) fn is_label_key(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let ends_well = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= NAME_BYTES_MAX
        && text.bytes().all(inner)
        && ends_well(text.bytes().next())
        && ends_well(text.bytes().last())
}

/// Annotation key as Kubernetes writes it: an optional DNS `prefix/` of at most 253 bytes, then a
/// label key. `openslo.com/` is reserved by OpenSLO v1.
pub(crate) fn is_annotation_key(text: &str) -> bool {
    match text.split_once('/') {
        None => is_label_key(text),
        Some((prefix, key)) => prefix != "openslo.com" && is_dns_name(prefix) && is_label_key(key),
    }
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        for good in ["a", "0", "web-1", &"a".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn annotation_keys_may_have_a_prefix_that_is_not_openslos() {
        for good in ["note", "example.com/note", "a-b.c/X.y_Z"] {
            assert!(is_annotation_key(good), "{good}");
        }
        for bad in ["", "/note", "example.com/", "openslo.com/note", "a/b/c", "A.com/x", ".x"] {
            assert!(!is_annotation_key(bad), "{bad}");
        }
    }
}
