//! Where a probe goes: a URL or a host and port.

use std::fmt;
use std::net::Ipv6Addr;

use crate::limits::URL_BYTES_MAX;

/// An absolute `http` or `https` URL (RFC 3986), taken apart. No user information: a password in
/// a URL would end up in every signed batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub scheme: Scheme,
    /// Lower case. An IPv6 address stands without brackets.
    pub host: String,
    pub port: u16,
    /// Begins with `/`; no fragment. Percent-encoding as written.
    pub path_and_query: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// `host:port`; an IPv6 address is written in brackets and kept without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    /// Not 0.
    pub port: u16,
}

impl Url {
    /// # Errors
    /// What is wrong with it, as a fault's "got".
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("{} bytes (most: {URL_BYTES_MAX})", text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a blank or a character that must be percent-encoded".to_owned());
        }
        let (scheme, rest) = text.split_once("://").ok_or("no ://")?;
        let scheme = Scheme::parse(scheme).ok_or_else(|| format!("scheme {scheme}"))?;
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("a user or password in the URL".to_owned());
        }
        let (host, port) = split_authority(authority)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(scheme.default_port()),
            path_and_query: format!("{slash}{path}"),
        })
    }

    /// Who answers, as far as a URL tells (RFC 6454 section 4): what may be told to one origin is
    /// not meant for another.
    pub fn origin(&self) -> (Scheme, &str, u16) {
        (self.scheme, &self.host, self.port)
    }

    /// `host:port` as it belongs in a `Host` header: the port only when it is not the default.
    pub fn authority(&self) -> String {
        match self.port == self.scheme.default_port() {
            true => bracketed(&self.host),
            false => format!("{}:{}", bracketed(&self.host), self.port),
        }
    }

    /// Without the query, which may carry what should not be published.
    pub fn without_query(&self) -> String {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        format!("{}://{}{path}", self.scheme.as_str(), self.authority())
    }
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl HostPort {
    /// None unless both a host and a port from 1 are there.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_authority(text).ok()?;
        Some(Self { host, port: port? })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path_and_query)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(&self.host), self.port)
    }
}

/// A host name (letters, digits, `-`, `_`, `.`) or an address of either family: what TLS and DNS
/// can be asked for.
pub(crate) fn is_host(text: &str) -> bool {
    is_host_name(text) || text.parse::<Ipv6Addr>().is_ok()
}

/// `_` is no host name character by RFC 1123, but names with it exist and resolve.
pub(crate) fn is_host_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let text = text.strip_suffix('.').unwrap_or(text);
    let label_is_good = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(good);
    text.len() <= 253 && text.split('.').all(label_is_good)
}

fn split_authority(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("[ without ]")?;
            host.parse::<Ipv6Addr>().map_err(|_| format!("host [{host}]"))?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")).ok_or("text after ]")?)
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            let host_is_good = is_host_name(host);
            host_is_good.then_some(()).ok_or_else(|| match host {
                "" => "no host".to_owned(),
                host => format!("host {host}"),
            })?;
            (host, port)
        }
    };
    if port.is_empty() {
        return match text.ends_with(':') {
            true => Err("no port after :".to_owned()),
            false => Ok((host.to_owned(), None)),
        };
    }
    let all_digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse::<u16>().ok().filter(|number| all_digits && *number > 0);
    let number = number.ok_or_else(|| format!("port {port}"))?;
    Ok((host.to_owned(), Some(number)))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&str, &str>) {
        let shown = Url::parse(text).map(|url| url.to_string());
        assert_eq!(shown.as_deref().map_err(String::as_str), expect, "{text}");
    }

    #[test]
    fn urls() {
        check("http://example.com", Ok("http://example.com/"));
        check("HTTPS://Example.com:443/a?b=c#d", Ok("https://example.com/a?b=c"));
        check("http://127.0.0.1:7680/healthz", Ok("http://127.0.0.1:7680/healthz"));
        check("http://[::1]:80?q", Ok("http://[::1]/?q"));
        check("https://a.example:8443", Ok("https://a.example:8443/"));
        check("ftp://example.com", Err("scheme ftp"));
        check("example.com", Err("no ://"));
        check("http://", Err("no host"));
        check("http://:80", Err("no host"));
        check("http://a b", Err("a blank or a character that must be percent-encoded"));
        check("http://u:p@a.example", Err("a user or password in the URL"));
        check("http://a:0", Err("port 0"));
        check("http://a:+1", Err("port +1"));
        check("http://a:", Err("no port after :"));
        check("http://a:65536", Err("port 65536"));
        check("http://[::1", Err("[ without ]"));
        check("http://[::1]x", Err("text after ]"));
        check("http://a..b", Err("host a..b"));
    }

    #[test]
    fn the_published_form_has_no_query() {
        let url = Url::parse("https://a.example:8443/x?token=1").unwrap();
        assert_eq!(url.without_query(), "https://a.example:8443/x");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let check = |other: &str, is_same: bool| {
            let [one, other] = ["https://a.example/x", other].map(|text| Url::parse(text).unwrap());
            assert_eq!(one.origin() == other.origin(), is_same, "{other}");
        };
        check("https://A.example:443/y?q", true);
        check("http://a.example:443/x", false);
        check("https://b.example/x", false);
        check("https://a.example:8443/x", false);
    }

    #[test]
    fn host_and_port() {
        for good in ["localhost:7681", "127.0.0.1:1", "[::1]:65535", "_x.example:53"] {
            assert_eq!(HostPort::parse(good).unwrap().to_string(), good);
        }
        for bad in ["localhost", ":80", "::1:80", "a:0", "a:x", "", "[::1]", "http://a:80", "a:"] {
            assert_eq!(HostPort::parse(bad), None, "{bad}");
        }
    }
}
