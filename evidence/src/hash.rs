//! SHA-256 values and how they are written: lower hex for people, base64 in note formats.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// A hash's text is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashTextFault {
    #[error("expected 64 lower-case hex digits, got {got:?}")]
    Hex { got: String },
    #[error("expected 44 characters of canonical base64, got {got:?}")]
    Base64 { got: String },
}

impl HashTextFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Hex { .. } => "hash_not_hex",
            Self::Base64 { .. } => "hash_not_base64",
        }
    }
}

impl Hash {
    /// Stands for "there is none": no known input hashes to it.
    pub const ZERO: Hash = Hash([0; 32]);

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Exactly 64 lower-case digits; upper case is refused, so that one hash has one spelling.
    pub fn from_hex(text: &str) -> Result<Hash, HashTextFault> {
        let fault = || HashTextFault::Hex { got: shorten(text) };
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(fault());
        }
        let mut hash = Hash::ZERO;
        for (byte, pair) in hash.0.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (hex_value(pair[0]), hex_value(pair[1]));
            *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(fault)?;
        }
        Ok(hash)
    }

    /// Standard alphabet with padding, as in C2SP checkpoints.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub fn from_base64(text: &str) -> Result<Hash, HashTextFault> {
        STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Hash)
            .ok_or_else(|| HashTextFault::Base64 { got: shorten(text) })
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first four bytes are enough to tell two hashes apart in a log line.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..")
    }
}

pub fn sha256(bytes: &[u8]) -> Hash {
    sha256_parts(&[bytes])
}

/// The hash of the parts one after the other, without joining them in memory.
pub fn sha256_parts(parts: &[&[u8]]) -> Hash {
    let mut hasher = StreamHasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

/// SHA-256 of bytes that come piece by piece, such as a file.
#[derive(Clone)]
pub struct StreamHasher(digest::Context);

impl StreamHasher {
    #[expect(clippy::new_without_default, reason = "a hash of nothing is no natural default")]
    pub fn new() -> StreamHasher {
        StreamHasher(digest::Context::new(&digest::SHA256))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> Hash {
        let mut hash = Hash::ZERO;
        hash.0.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Wrong input goes into an error message; it may be any length.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
