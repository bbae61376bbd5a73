//! A certificate authority: makes itself once, then signs servers, nodes, operators and agents.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use proofmark_evidence::{AgentName, Hash, sha256};
use proofmark_proto::{AGENT_URI, GATEWAY_DNS_NAME, NODE_URI, OPERATOR_URI, peer_dns_name};

use super::fault::IdentityFault;
use crate::limits::{
    AGENT_CERTIFICATE_DAYS, CA_CERTIFICATE_DAYS, CERTIFICATE_BACKDATE_S, CSR_BYTES_MAX,
};

/// A certificate chain (leaf first) and its private key, both PEM.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertAndKey {
    pub certificate_chain_pem: String,
    pub key_pem: String,
}

/// Whom a certificate is for; decides every name and use in it.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Server of the agent port, reachable under these hosts and addresses besides its fixed name.
    Gateway {
        name: &'a str,
        hosts: &'a [String],
    },
    /// A node on the peer port: server and client.
    Peer {
        node_id: u64,
        name: &'a str,
    },
    Operator {
        name: &'a str,
    },
    Agent {
        name: &'a AgentName,
    },
}

/// A CA with its key. Certificates name what they are for: nothing else is accepted of them.
pub struct Authority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new CA, valid from now for [`CA_CERTIFICATE_DAYS`].
    pub fn create(common_name: &str, now_ms: u64) -> Result<Authority, IdentityFault> {
        let key = KeyPair::generate().map_err(IdentityFault::Certificate)?;
        let mut params = params(common_name, now_ms, CA_CERTIFICATE_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(IdentityFault::Certificate)?;
        Authority::load(&CertAndKey {
            certificate_chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The CA that [`Authority::to_pem`] wrote.
    pub fn load(pem: &CertAndKey) -> Result<Authority, IdentityFault> {
        let certificate = CertificateDer::from_pem_slice(pem.certificate_chain_pem.as_bytes())
            .map_err(|fault| bad_certificate(fault.to_string()))?;
        let key = KeyPair::from_pem(&pem.key_pem).map_err(IdentityFault::Certificate)?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(IdentityFault::Certificate)?;
        Ok(Authority {
            certificate_pem: pem.certificate_chain_pem.clone(),
            certificate,
            key_pem: pem.key_pem.clone(),
            issuer,
        })
    }

    pub fn to_pem(&self) -> CertAndKey {
        CertAndKey {
            certificate_chain_pem: self.certificate_pem.clone(),
            key_pem: self.key_pem.clone(),
        }
    }

    /// PEM of the CA's own certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// SHA-256 of the CA certificate's DER: what a join token pins.
    pub fn sha256(&self) -> Hash {
        sha256(&self.certificate)
    }

    /// A new key and its certificate.
    pub fn issue(&self, subject: Subject<'_>, now_ms: u64) -> Result<CertAndKey, IdentityFault> {
        let key = KeyPair::generate().map_err(IdentityFault::Certificate)?;
        let certificate_chain_pem = self.sign(subject, &key, now_ms)?;
        Ok(CertAndKey { certificate_chain_pem, key_pem: key.serialize_pem() })
    }

    /// Certifies a key made elsewhere. Of the request only the key is used, after its
    /// self-signature proved good; the names in it are ignored.
    pub fn certify(
        &self,
        subject: Subject<'_>,
        request: &CertificateRequest,
        now_ms: u64,
    ) -> Result<String, IdentityFault> {
        self.sign(subject, &request.0.public_key, now_ms)
    }

    fn sign(
        &self,
        subject: Subject<'_>,
        key: &impl PublicKeyData,
        now_ms: u64,
    ) -> Result<String, IdentityFault> {
        let params = subject.params(now_ms)?;
        let leaf = params.signed_by(key, &self.issuer).map_err(IdentityFault::Certificate)?;
        Ok(leaf.pem() + &self.certificate_pem)
    }
}

/// A PKCS#10 request whose self-signature is good.
pub struct CertificateRequest(CertificateSigningRequestParams);

impl CertificateRequest {
    /// Refuses more than [`CSR_BYTES_MAX`] bytes, bad DER, and a bad self-signature.
    pub fn parse(der: &[u8]) -> Result<CertificateRequest, IdentityFault> {
        if der.len() > CSR_BYTES_MAX {
            return Err(IdentityFault::Request(rcgen::Error::CouldNotParseCertificationRequest));
        }
        let der = CertificateSigningRequestDer::from(der);
        let request =
            CertificateSigningRequestParams::from_der(&der).map_err(IdentityFault::Request)?;
        Ok(CertificateRequest(request))
    }
}

impl Subject<'_> {
    fn params(self, now_ms: u64) -> Result<CertificateParams, IdentityFault> {
        let (name, days) = match self {
            Subject::Gateway { name, .. } | Subject::Peer { name, .. } => {
                (name, CA_CERTIFICATE_DAYS)
            }
            Subject::Operator { name } => (name, CA_CERTIFICATE_DAYS),
            Subject::Agent { name } => (name.as_str(), AGENT_CERTIFICATE_DAYS),
        };
        let mut params = params(name, now_ms, days)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.uses();
        params.subject_alt_names = self.alternative_names()?;
        Ok(params)
    }

    fn uses(self) -> Vec<ExtendedKeyUsagePurpose> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        match self {
            Subject::Gateway { .. } => vec![ServerAuth],
            Subject::Peer { .. } => vec![ServerAuth, ClientAuth],
            Subject::Operator { .. } | Subject::Agent { .. } => vec![ClientAuth],
        }
    }

    fn alternative_names(self) -> Result<Vec<SanType>, IdentityFault> {
        match self {
            Subject::Gateway { hosts, .. } => gateway_names(hosts),
            Subject::Peer { node_id, .. } => {
                Ok(vec![dns(&peer_dns_name(node_id))?, uri(&format!("{NODE_URI}{node_id}"))?])
            }
            Subject::Operator { name } => Ok(vec![uri(&format!("{OPERATOR_URI}{name}"))?]),
            Subject::Agent { name } => Ok(vec![uri(&format!("{AGENT_URI}{name}"))?]),
        }
    }
}

/// The fixed name our own clients verify, then what other clients may dial: localhost and hosts.
fn gateway_names(hosts: &[String]) -> Result<Vec<SanType>, IdentityFault> {
    let mut names = vec![dns(GATEWAY_DNS_NAME)?, dns("localhost")?];
    names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    names.push(SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()));
    for host in hosts {
        let name = match host.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => dns(host)?,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn dns(name: &str) -> Result<SanType, IdentityFault> {
    name.try_into().map(SanType::DnsName).map_err(IdentityFault::Certificate)
}

fn uri(name: &str) -> Result<SanType, IdentityFault> {
    name.try_into().map(SanType::URI).map_err(IdentityFault::Certificate)
}

/// Name and validity. The start lies back a little: clocks of a fleet differ.
fn params(common_name: &str, now_ms: u64, days: i64) -> Result<CertificateParams, IdentityFault> {
    let now = i64::try_from(now_ms / 1000).ok();
    let now = now.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let now = now.ok_or_else(|| bad_certificate(format!("the time {now_ms} ms")))?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - Duration::seconds(CERTIFICATE_BACKDATE_S);
    params.not_after = now + Duration::days(days);
    Ok(params)
}

fn bad_certificate(got: String) -> IdentityFault {
    IdentityFault::Caller { expected: "a certificate", got }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::*;

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn leaf(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn certificates_end_when_we_say_and_name_what_they_are_for() {
        let authority = Authority::create("test CA", NOW_MS).unwrap();
        let name = AgentName::parse("web-1").unwrap();
        let issued = authority.issue(Subject::Agent { name: &name }, NOW_MS).unwrap();
        let der = leaf(&issued.certificate_chain_pem);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let validity = certificate.validity();
        let now_s = i64::try_from(NOW_MS / 1000).unwrap();
        assert_eq!(validity.not_after.timestamp(), now_s + 365 * 86_400);
        assert_eq!(validity.not_before.timestamp(), now_s - 3_600);
        assert_eq!(certificate.subject().to_string(), "CN=web-1");
        let uses = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(uses.client_auth && !uses.server_auth);
        assert!(!certificate.is_ca());
    }

    #[test]
    fn names_in_a_request_are_ignored() {
        let authority = Authority::create("test CA", NOW_MS).unwrap();
        let key = KeyPair::generate().unwrap();
        let asked = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        let der = asked.serialize_request(&key).unwrap().der().to_vec();
        let request = CertificateRequest::parse(&der).unwrap();
        let name = AgentName::parse("web-1").unwrap();
        let pem = authority.certify(Subject::Agent { name: &name }, &request, NOW_MS).unwrap();
        let der = leaf(&pem);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(format!("{names:?}"), "[URI(\"proofmark://agent/web-1\")]");
    }

    #[test]
    fn a_damaged_request_is_refused() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::default();
        let mut der = params.serialize_request(&key).unwrap().der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        assert!(CertificateRequest::parse(&der).is_err());
        assert!(CertificateRequest::parse(&vec![0; CSR_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_saved_authority_goes_on_signing() {
        let authority = Authority::create("test CA", NOW_MS).unwrap();
        let again = Authority::load(&authority.to_pem()).unwrap();
        assert_eq!(again.sha256(), authority.sha256());
        let issued = again.issue(Subject::Operator { name: "ann" }, NOW_MS).unwrap();
        assert!(issued.certificate_chain_pem.ends_with(authority.certificate_pem()));
    }
}
