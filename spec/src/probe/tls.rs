//! `tls`: a handshake and the certificate it shows; also how an `http` probe does TLS.

use crate::address::HostPort;
use crate::limits::EXPIRES_WITHIN_MS_MAX;
use crate::reader::{Fields, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProbe {
    pub address: HostPort,
    pub tls: TlsOptions,
    /// The check fails when a certificate of the chain expires within this time.
    pub fail_if_expires_within_ms: Option<u64>,
}

/// How the server's certificate is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file on the agent's host. None: the host's own trust store.
    pub ca_file: Option<String>,
    /// Judge only that a handshake succeeds (and what else the check asks about).
    pub insecure_skip_verify: bool,
    /// What the certificate must be for. None: the host of the target.
    pub server_name: Option<String>,
    pub min_version: TlsVersion,
}

/// The oldest version a handshake may agree on. Older ones are not spoken at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    #[default]
    Tls12,
    Tls13,
}

impl TlsProbe {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let address = fields.need("address", Value::host_port);
        let tls = TlsOptions::read_from(&mut fields);
        let within = |value: &Value<'_>| value.probe_duration(1_000, EXPIRES_WITHIN_MS_MAX);
        let fail_if_expires_within_ms = fields.maybe("fail_if_expires_within", within);
        fields.finish();
        Some(Self {
            address: address?,
            tls: tls?,
            fail_if_expires_within_ms: fail_if_expires_within_ms?,
        })
    }
}

impl TlsOptions {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let options = Self::read_from(&mut fields);
        fields.finish();
        options
    }

    fn read_from(fields: &mut Fields<'_>) -> Option<Self> {
        let ca_file = fields.maybe("ca_file", Value::path);
        let insecure_skip_verify = fields.or("insecure_skip_verify", false, Value::boolean);
        let server_name = fields.maybe("server_name", Value::host);
        let min_version = fields.or("min_version", TlsVersion::Tls12, |value| {
            value.choice(&[("TLS12", TlsVersion::Tls12), ("TLS13", TlsVersion::Tls13)])
        });
        Some(Self {
            ca_file: ca_file?,
            insecure_skip_verify: insecure_skip_verify?,
            server_name: server_name?,
            min_version: min_version?,
        })
    }
}
