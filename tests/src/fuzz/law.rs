//! What a decoder promises, stronger than "does not panic".

use std::fmt::{Debug, Display};

use super::Verdict;

/// A refusal's text is for a person and for a log line, however long the refused bytes were.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// One value, one spelling: bytes that are taken encode to themselves.
pub fn one_spelling<T, E: Display>(
    bytes: &[u8],
    decoded: Result<T, E>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Verdict {
    match decoded {
        Err(fault) => refused(&fault),
        Ok(value) => {
            assert_eq!(encode(&value).escape_ascii().to_string(), bytes.escape_ascii().to_string());
            Verdict::Taken
        }
    }
}

/// Many spellings, one meaning: what is written of a value reads as that value, and is no longer
/// than what was read. For texts that people write.
pub fn one_meaning<T: PartialEq + Debug, E: Display>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Verdict {
    match decode(bytes) {
        Err(fault) => refused(&fault),
        Ok(value) => {
            let again = encode(&value);
            assert!(again.len() <= bytes.len(), "{} bytes became {}", bytes.len(), again.len());
            match decode(&again) {
                Ok(reread) => assert_eq!(reread, value),
                Err(fault) => panic!("what was written of {value:?} is refused: {fault}"),
            }
            Verdict::Taken
        }
    }
}

/// Many spellings, as protobuf allows; unknown fields are not kept.
pub fn message<M: prost::Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Verdict {
    match M::decode(bytes) {
        Err(fault) => refused(&fault),
        Ok(message) => {
            let again = message.encode_to_vec();
            // A negative enum takes ten bytes where five may have been read.
            assert!(again.len() <= 2 * bytes.len(), "{} bytes became {}", bytes.len(), again.len());
            assert_eq!(M::decode(&again[..]).as_ref(), Ok(&message));
            Verdict::Taken
        }
    }
}

/// A refusal says something, and not all that it was given.
pub fn refused(fault: &impl Display) -> Verdict {
    let text = fault.to_string();
    assert!(!text.is_empty(), "a refusal without a word");
    assert!(text.len() <= REFUSAL_BYTES_MAX, "a refusal of {} bytes", text.len());
    let words = text.split([':', ',']).next().unwrap_or_default();
    Verdict::Refused(words.chars().take(60).collect())
}

/// The text of foreign bytes, for decoders of text.
pub fn text(bytes: &[u8]) -> Result<&str, Verdict> {
    std::str::from_utf8(bytes).map_err(|_| Verdict::Refused("not UTF-8".to_owned()))
}
