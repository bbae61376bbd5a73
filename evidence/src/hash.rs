//! SHA-256 values and how they are written: lower hex for people, base64 in note formats.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

/// Room for a tree node (65 bytes) and for a passing result behind its prefix.
const JOINED_BYTES: usize = 128;

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

    fn of_digest(digest: &digest::Digest) -> Hash {
        let mut hash = Hash::ZERO;
        hash.0.copy_from_slice(digest.as_ref());
        hash
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
    Hash::of_digest(&digest::digest(&digest::SHA256, bytes))
}

/// The hash of the parts one after the other. What is short, as results and tree nodes are, is
/// joined on the stack: one call of the digest costs half of feeding it piece by piece.
pub fn sha256_parts(parts: &[&[u8]]) -> Hash {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut joined = [0; JOINED_BYTES];
    let Some(joined) = joined.get_mut(..len) else {
        let mut hasher = StreamHasher::new();
        parts.iter().for_each(|part| hasher.update(part));
        return hasher.finish();
    };
    let mut rest = &mut *joined;
    for part in parts {
        let (place, after) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = after;
    }
    sha256(joined)
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
        Hash::of_digest(&self.0.finish())
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

#[cfg(test)]
mod tests {
    use super::*;

    const ABC_HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// FIPS 180-2 appendix B.1.
    #[test]
    fn abc() {
        assert_eq!(sha256(b"abc").to_string(), ABC_HEX);
        assert_eq!(sha256_parts(&[b"a", b"", b"bc"]), sha256(b"abc"));
        for len in [JOINED_BYTES - 1, JOINED_BYTES, JOINED_BYTES + 1] {
            let bytes = vec![7; len];
            let (head, tail) = bytes.split_at(len / 3);
            assert_eq!(sha256_parts(&[head, tail]), sha256(&bytes), "{len} bytes");
        }
        let mut hasher = StreamHasher::new();
        b"abc".iter().for_each(|byte| hasher.update(&[*byte]));
        assert_eq!(hasher.finish(), sha256(b"abc"));
        assert_eq!(format!("{:?}", sha256(b"abc")), "ba7816bf..");
    }

    #[test]
    fn text_has_one_spelling() {
        let hash = sha256(b"abc");
        assert_eq!(Hash::from_hex(ABC_HEX), Ok(hash));
        assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));
        for wrong in [ABC_HEX.to_uppercase(), ABC_HEX[1..].into(), format!("{ABC_HEX}0")] {
            assert_eq!(Hash::from_hex(&wrong).map_err(|f| f.slug()), Err("hash_not_hex"));
        }
        let base64 = hash.to_base64();
        let loose_bits = base64.replace("a0=", "a1=");
        for wrong in [base64.replace('=', ""), loose_bits, format!("{base64}\n"), String::new()] {
            assert_ne!(wrong, base64);
            assert_eq!(Hash::from_base64(&wrong).map_err(|f| f.slug()), Err("hash_not_base64"));
        }
    }
}
