//! rustls settings for both ports: ring, TLS 1.3 only, HTTP/2 only.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::CertAndKey;
use super::fault::IdentityFault;

const HTTP2: &[u8] = b"h2";

/// Whether a client may come without a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientCertificate {
    /// Each RPC then checks the role; the agent port needs it for Enrol.
    Optional,
    Required,
}

/// A server that shows `own` and believes client certificates of `ca_pem`.
pub(super) fn server_config(
    own: &CertAndKey,
    ca_pem: &str,
    client: ClientCertificate,
) -> Result<Arc<ServerConfig>, IdentityFault> {
    let (chain, key) = parse(own)?;
    check_signatures(&chain, ca_pem)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(client_verifier(ca_pem, client)?)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// A client that shows `own` and believes servers of `ca_pem`, and of nobody else.
pub(super) fn client_config(
    own: &CertAndKey,
    ca_pem: &str,
) -> Result<Arc<ClientConfig>, IdentityFault> {
    let (chain, key) = parse(own)?;
    check_signatures(&chain, ca_pem)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(ca_pem)?)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

fn client_verifier(
    ca_pem: &str,
    client: ClientCertificate,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityFault> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), provider());
    let verifier = match client {
        ClientCertificate::Optional => builder.allow_unauthenticated().build(),
        ClientCertificate::Required => builder.build(),
    };
    verifier.map_err(|fault| malformed(fault.to_string()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(ca_pem: &str) -> Result<RootCertStore, IdentityFault> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.map_err(|fault| malformed(fault.to_string()))?)?;
    }
    Ok(roots)
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn parse(own: &CertAndKey) -> Result<ChainAndKey, IdentityFault> {
    let chain = CertificateDer::pem_slice_iter(own.certificate_chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|fault| malformed(fault.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes())
        .map_err(|fault| malformed(fault.to_string()))?;
    Ok((chain, key))
}

/// A certificate in which a bit changed is a certificate that no handshake takes: better to find it
/// at the start. The CA signs itself, and what else the
/// chain holds.
fn check_signatures(chain: &[CertificateDer<'_>], ca_pem: &str) -> Result<(), IdentityFault> {
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes());
    let ca = ca.map_err(|fault| malformed(fault.to_string()))?;
    let ca = certificate(&ca)?;
    let is_signed = |one: &X509Certificate<'_>| one.verify_signature(Some(ca.public_key())).is_ok();
    let unsigned = || malformed("a certificate that its CA did not sign".to_owned());
    if !is_signed(&ca) {
        return Err(unsigned());
    }
    for one in chain {
        certificate(one).and_then(|one| is_signed(&one).then_some(()).ok_or_else(unsigned))?;
    }
    Ok(())
}

fn certificate<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityFault> {
    let parsed = X509Certificate::from_der(der);
    parsed.map(|(_, parsed)| parsed).map_err(|fault| malformed(fault.to_string()))
}

fn malformed(got: String) -> IdentityFault {
    IdentityFault::Caller { expected: "PEM certificates and key", got }
}
