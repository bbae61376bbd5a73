//! Exact decimals. A target of 0.999 is nine hundred ninety-nine thousandths, not the nearest
//! float: it is read from the text as written and kept as a whole number of billionths.

use std::fmt;

/// Billionths: 1 is `PartsPerBillion(1_000_000_000)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartsPerBillion(pub u64);

/// Why a text is not a decimal we hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecimalFault {
    /// Not `[0-9]+(.[0-9]+)?`: no sign, no exponent, no infinity.
    NotADecimal,
    /// More digits behind the point than are kept exactly.
    TooPrecise,
    TooLarge,
}

impl PartsPerBillion {
    pub const ZERO: Self = Self(0);
    pub const ONE: Self = Self(1_000_000_000);

    /// Reads a ratio such as `0.999`; at most 9 digits behind the point. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        parse_scaled(text, 9).ok().map(Self)
    }

    /// Reads a percentage such as `99.9`; at most 7 digits behind the point.
    pub fn parse_percent(text: &str) -> Option<Self> {
        parse_scaled(text, 7).ok().map(Self)
    }
}

/// The number times 10^`digits`, exactly.
pub(crate) fn parse_scaled(text: &str, digits: usize) -> Result<u64, DecimalFault> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(DecimalFault::NotADecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > digits {
        return Err(DecimalFault::TooPrecise);
    }
    format!("{whole}{fraction:0<digits$}").parse().map_err(|_| DecimalFault::TooLarge)
}

/// The shortest decimal: `0.999`, `1`, `0`.
impl fmt::Display for PartsPerBillion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / Self::ONE.0, self.0 % Self::ONE.0);
        match format!("{fraction:09}").trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            digits => write!(f, "{whole}.{digits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: Result<u64, DecimalFault>) {
        assert_eq!(parse_scaled(text, 9), expect, "{text}");
    }

    #[test]
    fn decimals_are_read_exactly() {
        check("0.999", Ok(999_000_000));
        check("0.999000000000000", Ok(999_000_000));
        check("1", Ok(1_000_000_000));
        check("0.000000001", Ok(1));
        check("00.5", Ok(500_000_000));
        check("0.0000000001", Err(DecimalFault::TooPrecise));
        check("99999999999", Err(DecimalFault::TooLarge));
        for text in ["", ".", ".5", "5.", "-0.5", "+1", "1e3", "0x10", ".inf", ".nan", "1_000"] {
            check(text, Err(DecimalFault::NotADecimal));
        }
    }

    #[test]
    fn percent_and_ratio_mean_the_same() {
        assert_eq!(PartsPerBillion::parse_percent("99.95"), PartsPerBillion::parse("0.9995"));
    }

    proptest! {
        #[test]
        fn display_reads_back(parts in any::<u64>()) {
            let number = PartsPerBillion(parts);
            prop_assert_eq!(PartsPerBillion::parse(&number.to_string()), Some(number));
        }

        #[test]
        fn any_text_is_refused_or_read(text in "\\PC{0,30}") {
            let _ = PartsPerBillion::parse(&text);
        }
    }
}
