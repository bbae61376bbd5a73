//! Names: of agents, checks, logs and results. A name that exists is a valid one.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::bytes::{ByteReader, DecodeFault};
use crate::hash::{Hash, sha256};
use crate::limits::{LABEL_BYTES_MAX, ORIGIN_BYTES_MAX};

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "expected 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends, got {got:?}"
    )]
    Label { got: String },
    #[error(
        "expected 1 to 200 printable ASCII characters, no space, no '+', no \"://\", got {got:?}"
    )]
    Origin { got: String },
    #[error("expected agent/epoch/seq such as web-1/1/1234, got {got:?}")]
    ResultId { got: String },
}

impl NameError {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Label { .. } => "name_not_label",
            Self::Origin { .. } => "name_not_origin",
            Self::ResultId { .. } => "name_not_result_id",
        }
    }
}

/// Declares a name type whose texts satisfy `$is_valid`; cloning one is cheap.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $is_valid:path, $bytes_max:path, $fault:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<$name, NameError> {
                if $is_valid(text) {
                    return Ok($name(text.into()));
                }
                Err(NameError::$fault { got: shorten(text) })
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub(crate) fn read(
                reader: &mut ByteReader<'_>,
                what: &'static str,
            ) -> Result<$name, DecodeFault> {
                $name::read_text(reader, what).map(|text| $name(text.into()))
            }

            /// The text of such a name, where it lies.
            pub(crate) fn read_text<'a>(
                reader: &mut ByteReader<'a>,
                what: &'static str,
            ) -> Result<&'a str, DecodeFault> {
                let text = reader.line(what, $bytes_max)?;
                if $is_valid(text) {
                    return Ok(text);
                }
                let fault = NameError::$fault { got: shorten(text) };
                Err(DecodeFault::Name { what, fault })
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<$name, NameError> {
                $name::parse(text)
            }
        }
    };
}

name_type!(
    /// One agent, for all its lives: an RFC 1123 label.
    AgentName, is_label, LABEL_BYTES_MAX, Label
);
name_type!(
    /// One check, through all revisions of its spec: an RFC 1123 label.
    CheckName, is_label, LABEL_BYTES_MAX, Label
);
name_type!(
    /// A log's name in its checkpoints: a URL without a scheme (C2SP tlog-checkpoint), which is
    /// also a note key name. Cosigners' names follow the same rules.
    Origin, is_origin, ORIGIN_BYTES_MAX, Origin
);

impl Origin {
    /// What headers carry to say which log they were made for. Also the C2SP origin hash.
    pub fn log_id(&self) -> Hash {
        sha256(self.0.as_bytes())
    }
}

/// One result, for ever: the agent, the agent's life, and the result's number in that life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultId {
    pub agent: AgentName,
    pub epoch: u64,
    pub seq: u64,
}

impl ResultId {
    /// The form `Display` writes, such as `web-1/1/1234`, and no other.
    pub fn parse(text: &str) -> Result<ResultId, NameError> {
        let fault = || NameError::ResultId { got: shorten(text) };
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or_else(fault);
        let (agent, epoch, seq) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(fault());
        }
        Ok(ResultId {
            agent: AgentName::parse(agent)?,
            epoch: number(epoch).ok_or_else(fault)?,
            seq: number(seq).ok_or_else(fault)?,
        })
    }
}

impl fmt::Display for ResultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.agent, self.epoch, self.seq)
    }
}

impl FromStr for ResultId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ResultId, NameError> {
        ResultId::parse(text)
    }
}

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, at most 63 bytes.
fn is_label(text: &str) -> bool {
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() <= LABEL_BYTES_MAX
        && is_edge(first)
        && is_edge(last)
        && bytes.iter().all(|&byte| is_edge(byte) || byte == b'-')
}

fn is_origin(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ORIGIN_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+')
        && !text.contains("://")
}

/// Decimal, from 1, without sign or leading zeros.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_plain { text.parse().ok() } else { None }
}

/// Wrong input goes into an error message; it may be any length.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let longest = "a".repeat(63);
        for text in ["a", "7", "web-1", "a--b", &longest] {
            assert_eq!(AgentName::parse(text).map(|name| name.to_string()).as_deref(), Ok(text));
        }
        let too_long = "a".repeat(64);
        for text in ["", "-a", "a-", "-", "A", "a.b", "a_b", "a b", "a\n", "ä", "a/b", &too_long] {
            assert_eq!(CheckName::parse(text).map_err(|f| f.slug()), Err("name_not_label"));
        }
    }

    #[test]
    fn origins() {
        let longest = "a".repeat(200);
        for text in ["example.com/log/testdata", "localhost:7680", &longest] {
            assert!(Origin::parse(text).is_ok(), "{text}");
        }
        let too_long = "a".repeat(201);
        for text in ["", "a b", "a+b", "https://a", "a\n", "a\u{a0}b", "ä.example", &too_long] {
            assert_eq!(Origin::parse(text).map_err(|f| f.slug()), Err("name_not_origin"), "{text}");
        }
    }

    /// The origin hash of the C2SP witness protocol, as another implementation computes it.
    #[test]
    fn log_id_is_the_origin_hash() {
        let log_id = Origin::parse("rome2026h1.example.org").unwrap().log_id().to_string();
        assert!(log_id.starts_with("000de184") && log_id.ends_with("9706"), "{log_id}");
    }

    #[test]
    fn result_ids() {
        let id = ResultId::parse("web-1/1/1234").unwrap();
        assert_eq!((id.agent.as_str(), id.epoch, id.seq), ("web-1", 1, 1234));
        assert_eq!(id.to_string(), "web-1/1/1234");
        let largest = format!("web-1/{0}/{0}", u64::MAX);
        assert_eq!(ResultId::parse(&largest).unwrap().to_string(), largest);
        for text in [
            "",
            "web-1",
            "web-1/1",
            "web-1/1/",
            "web-1/1/2/3",
            "web-1/01/2",
            "web-1/1/+2",
            "web-1/1/-2",
            "web-1/0/1",
            "web-1/1/0",
            "/1/2",
            "web-1/1/18446744073709551616",
            "web-1/1/2 ",
        ] {
            assert!(ResultId::parse(text).is_err(), "{text}");
        }
    }
}
