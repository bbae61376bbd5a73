//! A regular expression that was compiled where its position is known, and is used as it is.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use crate::limits::REGEX_BYTES_MAX;

/// A regular expression over bytes (a response body need not be UTF-8). Linear time; syntax of
/// the `regex` crate. As in Go's RE2, which blackbox_exporter uses, `\w`, `\d` and `\s` are those
/// of ASCII; `(?u)` asks for Unicode's.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// The compiler's reason, its last line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut builder = RegexBuilder::new(text);
        let compiled = builder.unicode(false).size_limit(REGEX_BYTES_MAX).build();
        compiled.map(Self).map_err(|error| last_line(&error.to_string()))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches anywhere in `bytes`.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parser draws a picture of several lines; the reason is in its last.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_bytes_anywhere() {
        let pattern = Pattern::parse("status.*ok").unwrap();
        assert!(pattern.is_match(b"\xff status: ok \xff"));
        assert!(!pattern.is_match(b"status"));
    }

    #[test]
    fn classes_are_ascii_unless_asked() {
        assert!(!Pattern::parse(r"^\w$").unwrap().is_match("ä".as_bytes()));
        assert!(Pattern::parse(r"(?u)^\w$").unwrap().is_match("ä".as_bytes()));
        assert!(Pattern::parse("grün").unwrap().is_match("alles grün".as_bytes()));
        assert!(Pattern::parse("(?i)<TITLE>").unwrap().is_match(b"<title>"));
    }

    #[test]
    fn a_bad_or_huge_expression_is_refused_with_one_line() {
        for text in ["(", "a{1000}{1000}", "(?u)\\w{100}", "(?=x)"] {
            let reason = Pattern::parse(text).unwrap_err();
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
        }
    }
}
