//! The one small codec behind every format of ours: headers, results, commands, state rows.
//!
//! A value has exactly one spelling. Numbers are LEB128 in their shortest form, signed numbers are
//! zigzagged first, byte strings carry their length, fixed arrays do not. The reader refuses
//! everything else and checks each bound before it allocates, so that any bytes can be given to it.

use crate::name::NameError;

/// Why bytes are not what they should be. `what` names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    #[error("{what}: expected {expected} more bytes, got {got}")]
    Truncated { what: &'static str, expected: usize, got: usize },
    #[error("{what}: expected the end, got {got} more bytes")]
    TrailingBytes { what: &'static str, got: usize },
    #[error("{what}: expected the shortest form of the number, got a longer one")]
    NotMinimal { what: &'static str },
    #[error("{what}: expected a number of at most 64 bits, got a larger one")]
    TooWide { what: &'static str },
    #[error("{what}: expected {min}..={max}, got {got}")]
    OutOfRange { what: &'static str, min: u64, max: u64, got: u64 },
    #[error("{what}: expected at most {expected} bytes, got {got}")]
    TooLong { what: &'static str, expected: usize, got: usize },
    #[error("{what}: expected UTF-8 without control characters")]
    NotText { what: &'static str },
    #[error("{what}: expected a known code, got {got}")]
    UnknownCode { what: &'static str, got: u64 },
    #[error("{what}: expected more than {previous}, got {got}: the list must ascend")]
    NotAscending { what: &'static str, previous: u64, got: u64 },
    #[error("{what}: expected {expected}, got {got}: they must be equal")]
    Unequal { what: &'static str, expected: u64, got: u64 },
    #[error("{what}: expected each once, got {got} twice")]
    Twice { what: &'static str, got: String },
    #[error("{what}: {rule}")]
    Rule { what: &'static str, rule: &'static str },
    #[error("{what}: {fault}")]
    Name { what: &'static str, fault: NameError },
}

impl DecodeFault {
    /// Stable name for replies, logs and metrics.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::NotMinimal { .. } => "number_not_minimal",
            Self::TooWide { .. } => "number_too_wide",
            Self::OutOfRange { .. } => "out_of_range",
            Self::TooLong { .. } => "too_long",
            Self::NotText { .. } => "not_text",
            Self::UnknownCode { .. } => "unknown_code",
            Self::NotAscending { .. } => "not_ascending",
            Self::Unequal { .. } => "unequal",
            Self::Twice { .. } => "twice",
            Self::Rule { .. } => "rule_broken",
            Self::Name { .. } => "bad_name",
        }
    }
}

/// Appends values; never fails. What it is given must already be within the reader's bounds.
#[derive(Clone, Debug, Default)]
pub struct ByteWriter {
    bytes: Vec<u8>,
}

impl ByteWriter {
    pub fn new() -> ByteWriter {
        ByteWriter::default()
    }

    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Unsigned LEB128, 1 to 10 bytes.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8)
    }

    /// Zigzag (0, -1, 1, -2, ...), then LEB128.
    pub fn signed(&mut self, value: i64) -> &mut Self {
        self.varint(((value << 1) ^ (value >> 63)) as u64)
    }

    /// Bytes of a length both sides know.
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Length, then bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(bytes.len() as u64).fixed(bytes)
    }

    /// Length, then UTF-8.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads values in the order they were written; each call names the field for its fault.
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    pub fn new(bytes: &'a [u8]) -> ByteReader<'a> {
        ByteReader { rest: bytes }
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Exactly `len` bytes, borrowed.
    pub fn take(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], DecodeFault> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeFault::Truncated { what, expected: len, got: self.rest.len() });
        };
        self.rest = rest;
        Ok(head)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeFault> {
        Ok(self.take(what, 1)?[0])
    }

    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeFault> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(DecodeFault::UnknownCode { what, got: got.into() }),
        }
    }

    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeFault> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            if shift == 63 && byte > 1 {
                return Err(DecodeFault::TooWide { what });
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let is_minimal = byte != 0 || shift == 0;
                return if is_minimal { Ok(value) } else { Err(DecodeFault::NotMinimal { what }) };
            }
        }
        unreachable!("the tenth byte of a number ends it or is refused");
    }

    /// A number within `min..=max`.
    pub fn ranged(&mut self, what: &'static str, min: u64, max: u64) -> Result<u64, DecodeFault> {
        let got = self.varint(what)?;
        if (min..=max).contains(&got) {
            return Ok(got);
        }
        Err(DecodeFault::OutOfRange { what, min, max, got })
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeFault> {
        Ok(self.ranged(what, 0, u16::MAX.into())? as u16)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeFault> {
        Ok(self.ranged(what, 0, u32::MAX.into())? as u32)
    }

    pub fn signed(&mut self, what: &'static str) -> Result<i64, DecodeFault> {
        let value = self.varint(what)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// How many items follow: at most `count_max`, and no more than the rest can hold when each
    /// takes `item_bytes_min` or more. A vector of that capacity is safe to allocate.
    pub fn count(
        &mut self,
        what: &'static str,
        count_max: usize,
        item_bytes_min: usize,
    ) -> Result<usize, DecodeFault> {
        let count = self.ranged(what, 0, count_max as u64)? as usize;
        let expected = count.saturating_mul(item_bytes_min);
        if expected > self.rest.len() {
            return Err(DecodeFault::Truncated { what, expected, got: self.rest.len() });
        }
        Ok(count)
    }

    pub fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeFault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(what, N)?);
        Ok(array)
    }

    /// Length-prefixed bytes, at most `bytes_max` of them.
    pub fn bytes(
        &mut self,
        what: &'static str,
        bytes_max: usize,
    ) -> Result<&'a [u8], DecodeFault> {
        let len = self.varint(what)?;
        match usize::try_from(len) {
            Ok(len) if len <= bytes_max => self.take(what, len),
            _ => Err(DecodeFault::TooLong {
                what,
                expected: bytes_max,
                got: usize::try_from(len).unwrap_or(usize::MAX),
            }),
        }
    }

    /// Length-prefixed UTF-8 without control characters: it can be shown on a terminal as it is.
    pub fn line(&mut self, what: &'static str, bytes_max: usize) -> Result<&'a str, DecodeFault> {
        let text = self.text(what, bytes_max)?;
        if text.chars().any(char::is_control) {
            return Err(DecodeFault::NotText { what });
        }
        Ok(text)
    }

    /// Length-prefixed UTF-8 of any characters.
    pub fn text(&mut self, what: &'static str, bytes_max: usize) -> Result<&'a str, DecodeFault> {
        std::str::from_utf8(self.bytes(what, bytes_max)?)
            .map_err(|_| DecodeFault::NotText { what })
    }

    /// Refuses what is left over.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeFault> {
        match self.rest.len() {
            0 => Ok(()),
            got => Err(DecodeFault::TrailingBytes { what, got }),
        }
    }
}
