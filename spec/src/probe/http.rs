//! `http`: a request and what its answer must be like.

use crate::address::Url;
use crate::fault::{Slug, shown};
use crate::limits::{BODY_BYTES_DEFAULT, BODY_BYTES_MAX};
use crate::pattern::Pattern;
use crate::probe::TlsOptions;
use crate::reader::{Fields, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    pub url: Url,
    pub method: HttpMethod,
    /// In the order written; a name once, whatever its case. After a redirect to another scheme,
    /// host or port only those are sent that cannot be a secret.
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// An answer is valid when its status lies in one of these. By default 200 to 299.
    pub valid_status_codes: Vec<StatusRange>,
    /// At most [`REDIRECTS_MAX`](crate::limits::REDIRECTS_MAX). By default true.
    pub follow_redirects: bool,
    pub fail_if_body_matches_regexp: Vec<Pattern>,
    pub fail_if_body_not_matches_regexp: Vec<Pattern>,
    pub fail_if_header_matches: Vec<HeaderRule>,
    pub fail_if_header_not_matches: Vec<HeaderRule>,
    /// The check fails when the body is longer. By default 1 MiB.
    pub body_size_limit_bytes: u64,
    /// The check fails when the whole answer took longer.
    pub latency_ms_max: Option<u64>,
    pub tls: TlsOptions,
    /// None: whichever the resolver gives first.
    pub preferred_ip_protocol: Option<IpProtocol>,
    /// Whether the other protocol may serve when the preferred one has no address.
    pub ip_protocol_fallback: bool,
    /// About the last request, after redirects.
    pub fail_if_ssl: bool,
    pub fail_if_not_ssl: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

/// Status codes from `first` to `last`, both included: `200`, or `"2xx"` for 200 to 299.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusRange {
    pub first: u16,
    pub last: u16,
}

/// One header of the answer. With several of the name, one that matches is enough to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    pub header: String,
    pub regexp: Pattern,
    /// Whether an answer without the header passes the rule. By default false.
    pub allow_missing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpProtocol {
    Ip4,
    Ip6,
}

const METHODS: [(&str, HttpMethod); 7] = [
    ("GET", HttpMethod::Get),
    ("HEAD", HttpMethod::Head),
    ("POST", HttpMethod::Post),
    ("PUT", HttpMethod::Put),
    ("PATCH", HttpMethod::Patch),
    ("DELETE", HttpMethod::Delete),
    ("OPTIONS", HttpMethod::Options),
];

impl HttpMethod {
    pub fn as_str(self) -> &'static str {
        METHODS.iter().find(|(_, method)| *method == self).map_or("GET", |(word, _)| word)
    }
}

impl StatusRange {
    pub const SUCCESS: Self = Self { first: 200, last: 299 };

    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    fn parse(text: &str) -> Option<Self> {
        let hundreds = |digit: &str| digit.parse::<u16>().ok().filter(|d| (1..=5).contains(d));
        if let Some(digit) = text.strip_suffix("xx") {
            return hundreds(digit).map(|d| Self { first: d * 100, last: d * 100 + 99 });
        }
        let all_digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let status = text.parse().ok().filter(|status| all_digits && (100..=599).contains(status));
        status.map(|status| Self { first: status, last: status })
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let expected = "a status like 200, or a class like 2xx";
        let text = &value.scalar(expected)?.text;
        match Self::parse(text) {
            Some(range) => Some(range),
            None => value.fault(Slug::OutOfRange, expected, value.node.content.describe()),
        }
    }

    fn read_list(value: &Value<'_>) -> Option<Vec<Self>> {
        let ranges = value.list_of(Self::read)?;
        match ranges.is_empty() {
            false => Some(ranges),
            true => value.fault(Slug::OutOfRange, "at least one status", "an empty list"),
        }
    }
}

impl HttpProbe {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let patterns = |value: &Value<'_>| value.list_of(Value::pattern);
        let rules = |value: &Value<'_>| value.list_of(HeaderRule::read);
        let url = fields.need("url", Value::url);
        let method = fields.or("method", HttpMethod::Get, |value| value.choice(&METHODS));
        let headers = fields.or("headers", Vec::new(), read_headers);
        let body = fields.maybe("body", Value::probe_text);
        let valid = vec![StatusRange::SUCCESS];
        let valid_status_codes = fields.or("valid_status_codes", valid, StatusRange::read_list);
        let follow_redirects = fields.or("follow_redirects", true, Value::boolean);
        let body_matches = fields.or("fail_if_body_matches_regexp", Vec::new(), patterns);
        let body_not_matches = fields.or("fail_if_body_not_matches_regexp", Vec::new(), patterns);
        let header_matches = fields.or("fail_if_header_matches", Vec::new(), rules);
        let header_not_matches = fields.or("fail_if_header_not_matches", Vec::new(), rules);
        let body_size_limit_bytes =
            fields.or("body_size_limit", BODY_BYTES_DEFAULT, |value| value.bytes(BODY_BYTES_MAX));
        let latency_ms_max = fields.maybe("latency_ms_max", Value::latency_ms);
        let tls = fields.or("tls", TlsOptions::default(), TlsOptions::read);
        let preferred_ip_protocol = fields.maybe("preferred_ip_protocol", read_ip_protocol);
        let ip_protocol_fallback = fields.or("ip_protocol_fallback", true, Value::boolean);
        let fail_if_ssl = fields.or("fail_if_ssl", false, Value::boolean);
        let fail_if_not_ssl = fields.or("fail_if_not_ssl", false, Value::boolean);
        let ssl_fits = check_ssl(&fields, fail_if_ssl, fail_if_not_ssl);
        fields.finish();
        ssl_fits?;
        Some(Self {
            url: url?,
            method: method?,
            headers: headers?,
            body: body?,
            valid_status_codes: valid_status_codes?,
            follow_redirects: follow_redirects?,
            fail_if_body_matches_regexp: body_matches?,
            fail_if_body_not_matches_regexp: body_not_matches?,
            fail_if_header_matches: header_matches?,
            fail_if_header_not_matches: header_not_matches?,
            body_size_limit_bytes: body_size_limit_bytes?,
            latency_ms_max: latency_ms_max?,
            tls: tls?,
            preferred_ip_protocol: preferred_ip_protocol?,
            ip_protocol_fallback: ip_protocol_fallback?,
            fail_if_ssl: fail_if_ssl?,
            fail_if_not_ssl: fail_if_not_ssl?,
        })
    }
}

impl HeaderRule {
    fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let header = fields.need("header", |value| read_header_name(value, value.text()?));
        let regexp = fields.need("regexp", Value::pattern);
        let allow_missing = fields.or("allow_missing", false, Value::boolean);
        fields.finish();
        Some(Self { header: header?, regexp: regexp?, allow_missing: allow_missing? })
    }
}

fn check_ssl(fields: &Fields<'_>, if_ssl: Option<bool>, if_not: Option<bool>) -> Option<()> {
    match if_ssl == Some(true) && if_not == Some(true) {
        false => Some(()),
        true => {
            let got = "fail_if_ssl and fail_if_not_ssl";
            fields.fault(Slug::Conflict, "at most one of both", got)
        }
    }
}

fn read_ip_protocol(value: &Value<'_>) -> Option<IpProtocol> {
    value.choice(&[("ip4", IpProtocol::Ip4), ("ip6", IpProtocol::Ip6)])
}

fn read_headers(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let mut all_good = Some(());
    for (key, value) in value.entries()? {
        match (read_header_name(&value, &key.text), read_header_value(&value)) {
            (Some(name), Some(text)) => headers.push((name, text)),
            _ => all_good = None,
        }
    }
    let names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    value.check_unique(&names)?;
    all_good.map(|()| headers)
}

/// A token (RFC 9110 section 5.6.2).
fn read_header_name(value: &Value<'_>, text: &str) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.len() <= 256 && text.bytes().all(is_token) {
        true => Some(text.to_owned()),
        false => value.fault(Slug::BadName, "a header name", shown(text)),
    }
}

/// Visible characters, blanks and tabs (RFC 9110 section 5.5): no line can be smuggled in.
fn read_header_value(value: &Value<'_>) -> Option<String> {
    let text = value.probe_text()?;
    match text.chars().any(|c| c.is_control() && c != '\t') {
        false => Some(text),
        true => value.fault(Slug::OutOfRange, "a header value in one line", shown(&text)),
    }
}
