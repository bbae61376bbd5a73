//! What a check does. One file per kind: its fields, their defaults, and how they are read. Field
//! names are those of blackbox_exporter's modules wherever it has the same thing.
//!
//! To add a kind: a file here, a row of `KINDS`, a variant of [`Probe`]; the compiler then leads to
//! the rest and to the agent, which runs it, and a test to the starter, which shows it.

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

/// Every kind: the word under `probe:`, and who reads what stands there.
const KINDS: [(&str, ReadProbe); 6] = [
    ("http", |value| HttpProbe::read(value).map(Probe::Http)),
    ("tcp", |value| TcpProbe::read(value).map(Probe::Tcp)),
    ("tls", |value| TlsProbe::read(value).map(Probe::Tls)),
    ("dns", |value| DnsProbe::read(value).map(Probe::Dns)),
    ("files", |value| FilesProbe::read(value).map(Probe::Files)),
    ("host", |value| HostProbe::read(value).map(Probe::Host)),
];

type ReadProbe = fn(&Value<'_>) -> Option<Probe>;

impl Probe {
    /// Every word that may stand under `probe:`.
    pub fn kinds() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|(kind, _)| *kind)
    }

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
        let probe = fields.one_of(&KINDS.map(|(kind, _)| kind)).and_then(|present| {
            let (kind, read) = KINDS.iter().find(|(kind, _)| *kind == present)?;
            fields.need(kind, read)
        });
        fields.finish();
        probe
    }
}
