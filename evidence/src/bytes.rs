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

    /// An empty one with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
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

    /// What was read since `earlier`, a clone of this reader.
    pub(crate) fn since(&self, earlier: &ByteReader<'a>) -> &'a [u8] {
        &earlier.rest[..earlier.rest.len() - self.rest.len()]
    }

    /// Exactly `len` bytes, borrowed.
    pub fn take(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], DecodeFault> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeFault::Truncated { what, expected: len, got: self.rest.len() });
        };
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeFault> {
        let Some((byte, rest)) = self.rest.split_first() else {
            return Err(DecodeFault::Truncated { what, expected: 1, got: 0 });
        };
        self.rest = rest;
        Ok(*byte)
    }

    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeFault> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(DecodeFault::UnknownCode { what, got: got.into() }),
        }
    }

    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeFault> {
        // Most numbers are small.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.wide_varint(what)
    }

    fn wide_varint(&mut self, what: &'static str) -> Result<u64, DecodeFault> {
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
    pub fn bytes(&mut self, what: &'static str, bytes_max: usize) -> Result<&'a [u8], DecodeFault> {
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
        let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !is_plain && text.chars().any(char::is_control) {
            return Err(DecodeFault::NotText { what });
        }
        Ok(text)
    }

    /// Length-prefixed UTF-8 of any characters.
    pub fn text(&mut self, what: &'static str, bytes_max: usize) -> Result<&'a str, DecodeFault> {
        std::str::from_utf8(self.bytes(what, bytes_max)?).map_err(|_| DecodeFault::NotText { what })
    }

    /// Refuses what is left over.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeFault> {
        match self.rest.len() {
            0 => Ok(()),
            got => Err(DecodeFault::TrailingBytes { what, got }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut ByteWriter) -> &mut ByteWriter) -> Vec<u8> {
        let mut writer = ByteWriter::new();
        write(&mut writer);
        writer.into_bytes()
    }

    /// Reads one value and the end after it.
    fn read<'a, T>(
        bytes: &'a [u8],
        value: impl FnOnce(&mut ByteReader<'a>) -> Result<T, DecodeFault>,
    ) -> Result<T, &'static str> {
        let mut reader = ByteReader::new(bytes);
        let value = value(&mut reader).map_err(|fault| fault.slug())?;
        reader.finish("test").map_err(|fault| fault.slug())?;
        Ok(value)
    }

    #[test]
    fn numbers_have_one_spelling() {
        for (value, expect) in [
            (0, &[0][..]),
            (1, &[1]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            assert_eq!(written(|w| w.varint(value)), expect);
            assert_eq!(read(expect, |r| r.varint("n")), Ok(value));
        }
    }

    #[test]
    fn other_spellings_of_numbers_are_refused() {
        for (bytes, expect) in [
            (&[0x80, 0][..], "number_not_minimal"),
            (&[0xac, 0x82, 0], "number_not_minimal"),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], "number_not_minimal"),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "number_too_wide"),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80], "number_too_wide"),
            (&[0x80], "truncated"),
            (&[], "truncated"),
            (&[1, 1], "trailing_bytes"),
        ] {
            assert_eq!(read(bytes, |r| r.varint("n")), Err(expect), "{bytes:?}");
        }
    }

    #[test]
    fn signed_numbers_are_zigzagged() {
        for (value, expect) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MIN, u64::MAX)] {
            let bytes = written(|w| w.varint(expect));
            assert_eq!(written(|w| w.signed(value)), bytes);
            assert_eq!(read(&bytes, |r| r.signed("n")), Ok(value));
        }
    }

    #[test]
    fn bounds_hold() {
        let three = &[3, b'a', b'b', b'c'][..];
        assert_eq!(read(three, |r| r.bytes("b", 3)), Ok(&b"abc"[..]));
        assert_eq!(read(three, |r| r.bytes("b", 2)), Err("too_long"));
        assert_eq!(read(three, |r| r.count("c", 3, 1)), Err("trailing_bytes"));
        assert_eq!(read(three, |r| r.count("c", 2, 1)), Err("out_of_range"));
        assert_eq!(read(three, |r| r.count("c", 3, 2)), Err("truncated"));
        assert_eq!(read(&[2], |r| r.bool("b")), Err("unknown_code"));
        assert_eq!(read(&written(|w| w.varint(65_536)), |r| r.u16("n")), Err("out_of_range"));
        assert_eq!(read(&written(|w| w.varint(1 << 32)), |r| r.u32("n")), Err("out_of_range"));
        assert_eq!(read(&[4], |r| r.ranged("n", 5, 6)), Err("out_of_range"));
    }

    /// A length near the largest number is refused before anything is made of that size.
    #[test]
    fn huge_lengths_allocate_nothing() {
        let huge = written(|w| w.varint(u64::MAX));
        assert_eq!(read(&huge, |r| r.bytes("b", usize::MAX).map(drop)), Err("truncated"));
        assert_eq!(read(&huge, |r| r.count("c", usize::MAX, 8)), Err("truncated"));
    }

    #[test]
    fn lines_can_be_shown() {
        for (bytes, expect) in [
            ("", Ok("")),
            ("zwölf", Ok("zwölf")),
            ("a\nb", Err("not_text")),
            ("\u{1b}[2J", Err("not_text")),
            ("\u{85}", Err("not_text")),
        ] {
            assert_eq!(read(&written(|w| w.text(bytes)), |r| r.line("l", 9)), expect);
        }
        assert_eq!(read(&[1, 0xff], |r| r.text("t", 9)), Err("not_text"));
        assert_eq!(read(&written(|w| w.text("a\nb")), |r| r.text("t", 9)), Ok("a\nb"));
    }

    #[test]
    fn faults_say_what_was_expected_and_got() {
        let fault = ByteReader::new(&[1]).fixed::<4>("digest").expect_err("three bytes lack");
        assert_eq!(fault.to_string(), "digest: expected 4 more bytes, got 1");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, ..ProptestConfig::with_cases(64)
        })]

        #[test]
        fn values_come_back(n in any::<u64>(), i in any::<i64>(), text in ".{0,40}", b: bool) {
            let bytes = written(|w| w.varint(n).signed(i).text(&text).bool(b).fixed(&[1, 2]));
            let mut reader = ByteReader::new(&bytes);
            prop_assert_eq!(reader.varint("n"), Ok(n));
            prop_assert_eq!(reader.signed("i"), Ok(i));
            prop_assert_eq!(reader.text("text", 200), Ok(text.as_str()));
            prop_assert_eq!(reader.bool("b"), Ok(b));
            prop_assert_eq!(reader.fixed("array"), Ok([1, 2]));
            prop_assert_eq!(reader.finish("end"), Ok(()));
        }
    }
}
