//! What a single value may be: text, names, numbers, durations, patterns, addresses. Each reader
//! takes a [`Value`], reports what is wrong with it, and gives None then.

use std::collections::BTreeSet;

use crate::address::{HostPort, Url, is_host, is_host_name};
use crate::decimal::{DecimalFault, PartsPerBillion, parse_scaled};
use crate::duration::{Shorthand, parse_probe_duration, parse_shorthand, show_ms};
use crate::fault::{Slug, shown};
use crate::glob::{GLOB_RULE, Glob};
use crate::limits::{DESCRIPTION_CHARS_MAX, DISPLAY_NAME_CHARS_MAX, PROBE_TEXT_BYTES_MAX};
use crate::name::{NAME_RULE, is_name};
use crate::pattern::Pattern;
use crate::reader::{Value, any_of, instead_of};

impl<'a> Value<'a> {
    /// Any text, quoted or not; may be empty only in quotes.
    pub fn text(&self) -> Option<&'a str> {
        self.scalar("text").map(|scalar| scalar.text.as_str())
    }

    pub(crate) fn display_name(&self) -> Option<String> {
        self.text_up_to(DISPLAY_NAME_CHARS_MAX)
    }

    pub(crate) fn description(&self) -> Option<String> {
        self.text_up_to(DESCRIPTION_CHARS_MAX)
    }

    /// Any text of a probe, bounded in bytes; may be empty.
    pub(crate) fn probe_text(&self) -> Option<String> {
        let text = self.text()?;
        if text.len() <= PROBE_TEXT_BYTES_MAX {
            return Some(text.to_owned());
        }
        let expected = format!("at most {PROBE_TEXT_BYTES_MAX} bytes");
        self.fault(Slug::TooLarge, expected, format!("{} bytes", text.len()))
    }

    /// The path of a file on the agent's host.
    pub fn path(&self) -> Option<String> {
        let text = self.probe_text()?;
        match text.is_empty() || text.contains('\0') {
            false => Some(text),
            true => self.fault(Slug::OutOfRange, "a path", self.node.content.describe()),
        }
    }

    /// An RFC 1123 label.
    pub fn name(&self) -> Option<String> {
        self.word(Slug::BadName, NAME_RULE, |text| is_name(text).then(|| text.to_owned()))
    }

    /// One or more different names.
    pub fn names(&self) -> Option<Vec<String>> {
        let names = self.list_of(Value::name)?;
        if names.is_empty() {
            return self.fault(Slug::OutOfRange, "at least one name", "an empty list");
        }
        self.check_unique(&names)?;
        Some(names)
    }

    /// Reports the first item that is there twice.
    pub fn check_unique<T: Ord + ToString>(&self, items: &[T]) -> Option<()> {
        let mut seen = BTreeSet::new();
        match items.iter().find(|item| !seen.insert(*item)) {
            None => Some(()),
            Some(twice) => {
                let got = format!("{} twice", shown(&twice.to_string()));
                self.fault(Slug::DuplicateName, "each item once", got)
            }
        }
    }

    /// `true` or `false`, without quotes; no other word.
    pub fn boolean(&self) -> Option<bool> {
        match self.typed("true or false")? {
            "true" => Some(true),
            "false" => Some(false),
            _ => self.wrong_type("true or false"),
        }
    }

    /// A whole number without quotes, from `min` to `max`.
    pub fn integer(&self, min: u64, max: u64) -> Option<u64> {
        let expected = format!("a whole number from {min} to {max}");
        let text = self.typed(&expected)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.wrong_type(expected);
        }
        match text.parse().ok().filter(|number| (min..=max).contains(number)) {
            Some(number) => Some(number),
            None => self.fault(Slug::OutOfRange, expected, shown(text)),
        }
    }

    pub(crate) fn latency_ms(&self) -> Option<u64> {
        self.integer(1, 24 * 60 * 60 * 1_000)
    }

    /// A decimal without sign or exponent, times 10^`digits`, exactly.
    pub(crate) fn decimal(&self, digits: usize, expected: &str) -> Option<u64> {
        let text = self.typed(expected)?;
        match parse_scaled(text, digits) {
            Ok(number) => Some(number),
            Err(DecimalFault::NotADecimal) => self.fault(Slug::BadNumber, expected, shown(text)),
            Err(DecimalFault::TooLarge) => self.fault(Slug::OutOfRange, expected, shown(text)),
            Err(DecimalFault::TooPrecise) => {
                let expected = format!("{expected} (digits behind the point: at most {digits})");
                self.fault(Slug::BadNumber, expected, shown(text))
            }
        }
    }

    /// A ratio (or, with 7 digits, a percentage) that `is_inside` its range.
    pub(crate) fn ratio(
        &self,
        digits: usize,
        expected: &str,
        is_inside: impl Fn(PartsPerBillion) -> bool,
    ) -> Option<PartsPerBillion> {
        let ratio = PartsPerBillion(self.decimal(digits, expected)?);
        match is_inside(ratio) {
            true => Some(ratio),
            false => self.fault(Slug::OutOfRange, expected, self.node.content.describe()),
        }
    }

    /// A percentage above 0 and up to 100, in thousandths of the whole.
    pub(crate) fn permille(&self) -> Option<u32> {
        let expected = "a percentage above 0 and up to 100";
        let permille = self.decimal(1, expected)?;
        match u32::try_from(permille).ok().filter(|permille| (1..=1_000).contains(permille)) {
            Some(permille) => Some(permille),
            None => self.fault(Slug::OutOfRange, expected, self.node.content.describe()),
        }
    }

    /// `[0-9]+(ms|s|m|h|d)`, in milliseconds.
    pub fn probe_duration(&self, min_ms: u64, max_ms: u64) -> Option<u64> {
        let range = format!("{} to {}", show_ms(min_ms), show_ms(max_ms));
        let expected = format!("a duration from {range}, like 500ms, 2s, 5m, 1h");
        let ms = self.word(Slug::BadDuration, &expected, parse_probe_duration)?;
        match (min_ms..=max_ms).contains(&ms) {
            true => Some(ms),
            false => self.fault(Slug::OutOfRange, format!("a duration from {range}"), show_ms(ms)),
        }
    }

    /// An OpenSLO duration shorthand.
    pub(crate) fn shorthand(&self) -> Option<u64> {
        let expected = "a duration like 5m, 1h, 1d, 4w";
        match self.word(Slug::BadDuration, expected, parse_shorthand)? {
            Shorthand::Ms(ms) => Some(ms),
            Shorthand::Calendar => {
                let got = self.node.content.describe();
                self.fault(Slug::NotSupportedYet, "minutes, hours, days or weeks", got)
            }
        }
    }

    /// Bytes: a whole number, alone or with `KiB` or `MiB`.
    pub fn bytes(&self, max: u64) -> Option<u64> {
        let expected = format!("a size from 1 to {max} bytes, like 65536, 64KiB, 1MiB");
        let size = self.word(Slug::BadNumber, &expected, parse_bytes)?;
        match (1..=max).contains(&size) {
            true => Some(size),
            false => self.fault(Slug::OutOfRange, expected, self.node.content.describe()),
        }
    }

    /// One of a closed list of words, exactly as written there.
    pub fn choice<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let text = self.scalar(&any_of(&names))?.text.as_str();
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => Some(*choice),
            None => {
                let got = self.node.content.describe();
                self.fault(Slug::UnknownValue, instead_of(text, &names), got)
            }
        }
    }

    pub(crate) fn pattern(&self) -> Option<Pattern> {
        let text = self.probe_text()?;
        match Pattern::parse(&text) {
            Ok(pattern) => Some(pattern),
            Err(reason) => {
                let got = format!("\"{}\" ({})", shown(&text), shown(&reason));
                self.fault(Slug::BadRegexp, "a regular expression", got)
            }
        }
    }

    pub(crate) fn glob(&self) -> Option<Glob> {
        self.word(Slug::BadGlob, GLOB_RULE, Glob::parse)
    }

    pub fn url(&self) -> Option<Url> {
        let text = self.text()?;
        match Url::parse(text) {
            Ok(url) => Some(url),
            Err(reason) => {
                // What stands before an @ may be a password: it is not repeated.
                let text = if text.contains('@') { "a URL" } else { text };
                let got = format!("{} ({})", shown(text), shown(&reason));
                self.fault(Slug::BadUrl, "an http or https URL", got)
            }
        }
    }

    /// A host and a port, as `host:port` or `[address]:port`.
    pub fn host_port(&self) -> Option<HostPort> {
        let expected = "host:port, like localhost:443 or [::1]:443";
        self.word(Slug::BadAddress, expected, HostPort::parse)
    }

    /// A host name or an address without a port.
    pub fn host(&self) -> Option<String> {
        let read = |text: &str| is_host(text).then(|| text.to_owned());
        self.word(Slug::BadAddress, "a host name or address", read)
    }

    pub(crate) fn host_name(&self) -> Option<String> {
        let read = |text: &str| is_host_name(text).then(|| text.to_owned());
        self.word(Slug::BadAddress, "a domain name", read)
    }

    /// 64 hex digits, either case.
    pub(crate) fn digest(&self) -> Option<[u8; 32]> {
        self.word(Slug::BadDigest, "a SHA-256 digest of 64 hex digits", parse_digest)
    }

    fn text_up_to(&self, chars_max: usize) -> Option<String> {
        let text = self.text()?;
        let chars = text.chars().count();
        if chars <= chars_max {
            return Some(text.to_owned());
        }
        let expected = format!("at most {chars_max} characters");
        self.fault(Slug::OutOfRange, expected, format!("{chars} characters"))
    }

    /// A scalar that `read` understands; one that it does not is reported, cut if it is long.
    pub fn word<T>(
        &self,
        slug: Slug,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        match read(&self.scalar(expected)?.text) {
            Some(value) => Some(value),
            None => self.fault(slug, expected, self.node.content.describe()),
        }
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit_bytes = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_bytes)
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes: Vec<u8> =
        digits?.chunks(2).map(|pair| pair.iter().fold(0, |b, d| b << 4 | d)).collect();
    if text.len() == 64 { bytes.try_into().ok() } else { None }
}
