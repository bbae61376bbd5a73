//! `dns`: one question and what its answer must be like.

use crate::address::HostPort;
use crate::fault::Slug;
use crate::reader::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsProbe {
    /// None: the host's own resolver, as its programs use it.
    pub server: Option<HostPort>,
    pub query_name: String,
    pub query_type: QueryType,
    /// By default NOERROR alone.
    pub valid_rcodes: Vec<Rcode>,
    /// Each must be among the answers, in presentation form (`127.0.0.1`, `10 mail.example.`).
    pub expect_answers: Vec<String>,
    pub min_answers: Option<u32>,
    /// Used only with a `server` of its own.
    pub transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryType {
    A,
    Aaaa,
    Cname,
    Mx,
    Txt,
    Ns,
    Soa,
    Srv,
    Ptr,
}

/// Response codes a check may call valid (IANA's DNS RCODEs).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

const QUERY_TYPES: [(&str, QueryType); 9] = [
    ("A", QueryType::A),
    ("AAAA", QueryType::Aaaa),
    ("CNAME", QueryType::Cname),
    ("MX", QueryType::Mx),
    ("TXT", QueryType::Txt),
    ("NS", QueryType::Ns),
    ("SOA", QueryType::Soa),
    ("SRV", QueryType::Srv),
    ("PTR", QueryType::Ptr),
];

const RCODES: [(&str, Rcode); 6] = [
    ("NOERROR", Rcode::NoError),
    ("FORMERR", Rcode::FormErr),
    ("SERVFAIL", Rcode::ServFail),
    ("NXDOMAIN", Rcode::NxDomain),
    ("NOTIMP", Rcode::NotImp),
    ("REFUSED", Rcode::Refused),
];

const TRANSPORTS: [(&str, Transport); 2] = [("udp", Transport::Udp), ("tcp", Transport::Tcp)];

impl QueryType {
    pub fn as_str(self) -> &'static str {
        QUERY_TYPES.iter().find(|(_, kind)| *kind == self).map_or("A", |(word, _)| word)
    }
}

impl Rcode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    pub fn as_str(self) -> &'static str {
        RCODES.iter().find(|(_, rcode)| *rcode == self).map_or("NOERROR", |(word, _)| word)
    }
}

impl DnsProbe {
    pub(super) fn target(&self) -> String {
        let question = format!("{} {}", self.query_name, self.query_type.as_str());
        match &self.server {
            Some(server) => format!("{question} @{server}"),
            None => question,
        }
    }

    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let server = fields.maybe("server", Value::host_port);
        let query_name = fields.need("query_name", Value::host_name);
        let query_type = fields.or("query_type", QueryType::A, |value| value.choice(&QUERY_TYPES));
        let valid_rcodes = fields.or("valid_rcodes", vec![Rcode::NoError], read_rcodes);
        let expect_answers =
            fields.or("expect_answers", Vec::new(), |value| value.list_of(Value::probe_text));
        let min_answers = fields.maybe("min_answers", |value| value.integer(0, 1_000));
        let transport = fields.or("transport", Transport::Udp, |value| value.choice(&TRANSPORTS));
        fields.finish();
        Some(Self {
            server: server?,
            query_name: query_name?,
            query_type: query_type?,
            valid_rcodes: valid_rcodes?,
            expect_answers: expect_answers?,
            min_answers: min_answers?.and_then(|count| u32::try_from(count).ok()),
            transport: transport?,
        })
    }
}

fn read_rcodes(value: &Value<'_>) -> Option<Vec<Rcode>> {
    let rcodes = value.list_of(|item| item.choice(&RCODES))?;
    match rcodes.is_empty() {
        false => Some(rcodes),
        true => value.fault(Slug::OutOfRange, "at least one response code", "an empty list"),
    }
}
