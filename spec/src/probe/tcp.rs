//! `tcp`: a connection, and at most one line said and one heard.

use crate::address::HostPort;
use crate::pattern::Pattern;
use crate::reader::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpProbe {
    pub address: HostPort,
    /// The check fails when connecting took longer.
    pub latency_ms_max: Option<u64>,
    /// Sent once connected, with a line feed behind it (as blackbox_exporter does).
    pub send: Option<String>,
    /// Must match the first line received.
    pub expect: Option<Pattern>,
}

impl TcpProbe {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let address = fields.need("address", Value::host_port);
        let latency_ms_max = fields.maybe("latency_ms_max", Value::latency_ms);
        let send = fields.maybe("send", Value::probe_text);
        let expect = fields.maybe("expect", Value::pattern);
        fields.finish();
        Some(Self {
            address: address?,
            latency_ms_max: latency_ms_max?,
            send: send?,
            expect: expect?,
        })
    }
}
