//! What a check does. One file per kind: its fields, their defaults, and how they are read. Field
//! names are those of blackbox_exporter's modules wherever it has the same thing.
//!
//! To add a kind: a file here, a variant of [`Probe`], and its name in `KINDS`, `read`, `kind` and
//! `target`; the compiler then leads to the agent, which runs it.

mod dns;
mod files;
mod host;
mod http;
mod tcp;
mod tls;

pub use dns::{DnsProbe, QueryType, Rcode, Transport};
pub use files::{FilesExpectation, FilesProbe};
pub use host::HostProbe;
pub use http::{HeaderRule, HttpMethod, HttpProbe, IpProtocol, StatusRange};
pub use tcp::TcpProbe;
pub use tls::{TlsOptions, TlsProbe, TlsVersion};

use crate::limits::TARGET_BYTES_MAX;
use crate::reader::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    Http(HttpProbe),
    Tcp(TcpProbe),
    Tls(TlsProbe),
    Dns(DnsProbe),
    Files(FilesProbe),
    Host(HostProbe),
}

const KINDS: [&str; 6] = ["http", "tcp", "tls", "dns", "files", "host"];

impl Probe {
    /// The word under `probe:`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Dns(_) => "dns",
            Self::Files(_) => "files",
            Self::Host(_) => "host",
        }
    }

    /// What is probed, as it is published in every signed batch: at most [`TARGET_BYTES_MAX`]
    /// bytes, no control characters, and never a URL's query, which may carry a secret.
    pub fn target(&self) -> String {
        let whole = match self {
            Self::Http(probe) => probe.url.without_query(),
            Self::Tcp(probe) => probe.address.to_string(),
            Self::Tls(probe) => probe.address.to_string(),
            Self::Dns(probe) => probe.target(),
            Self::Files(probe) => probe.path.clone(),
            Self::Host(_) => "host".to_owned(),
        };
        let printable: String = whole.chars().filter(|c| !c.is_control()).collect();
        printable[..printable.floor_char_boundary(TARGET_BYTES_MAX)].to_owned()
    }

    pub(crate) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let probe = fields.one_of(&KINDS).and_then(|kind| match kind {
            "http" => fields.need(kind, HttpProbe::read).map(Self::Http),
            "tcp" => fields.need(kind, TcpProbe::read).map(Self::Tcp),
            "tls" => fields.need(kind, TlsProbe::read).map(Self::Tls),
            "dns" => fields.need(kind, DnsProbe::read).map(Self::Dns),
            "files" => fields.need(kind, FilesProbe::read).map(Self::Files),
            _ => fields.need(kind, HostProbe::read).map(Self::Host),
        });
        fields.finish();
        probe
    }
}
