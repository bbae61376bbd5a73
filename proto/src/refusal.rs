//! A refusal inside a gRPC status: as details for the program, as the message for a person.

use prost::Message as _;
use tonic::{Code, Status};

use crate::Refusal;
use crate::limits::REFUSAL_TEXT_BYTES_MAX;

impl Refusal {
    /// The status that carries this refusal.
    pub fn into_status(mut self, code: Code) -> Status {
        cut(&mut self.expected);
        cut(&mut self.got);
        Status::with_details(code, self.to_string(), self.encode_to_vec().into())
    }

    /// The refusal that `status` carries, if it carries one.
    pub fn from_status(status: &Status) -> Option<Refusal> {
        match status.details() {
            [] => None,
            details => Refusal::decode(details).ok(),
        }
    }
}

/// One line: "slug: expected X, got Y".
impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.expected.is_empty() && self.got.is_empty() {
            true => out.write_str(&self.slug),
            false => write!(out, "{}: expected {}, got {}", self.slug, self.expected, self.got),
        }
    }
}

fn cut(text: &mut String) {
    let end =
        (0..=REFUSAL_TEXT_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_the_refusal_and_says_it() {
        let refusal = Refusal {
            slug: "wrong_epoch".to_owned(),
            expected: "2".to_owned(),
            got: "1".to_owned(),
            ..Refusal::default()
        };
        let status = refusal.clone().into_status(Code::PermissionDenied);
        assert_eq!(status.message(), "wrong_epoch: expected 2, got 1");
        assert_eq!(Refusal::from_status(&status), Some(refusal));
        assert_eq!(Refusal::from_status(&Status::unavailable("no details")), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let got = "ä".repeat(REFUSAL_TEXT_BYTES_MAX);
        let status = Refusal { got, ..Refusal::default() }.into_status(Code::InvalidArgument);
        let got = Refusal::from_status(&status).unwrap().got;
        assert_eq!(got.len(), REFUSAL_TEXT_BYTES_MAX);
    }
}
