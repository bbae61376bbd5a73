//! rustls settings of the agent's own connections: ring, TLS 1.3 only, our CA only.

use std::sync::Arc;

use proofmark_evidence::{Hash, sha256};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::uplink::DialFault;

/// After enrolment: shows our certificate, believes servers of the CA in the same file.
pub(super) fn mutual(chain_pem: &str, key_pem: &str) -> Result<Arc<ClientConfig>, Error> {
    let chain = certificates(chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes());
    let key = key.map_err(|fault| Error::General(format!("tls.key.pem: {fault}")))?;
    let mut roots = RootCertStore::empty();
    for ca in &chain[1..] {
        roots.add(ca.clone())?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok(http2(config))
}

/// Before enrolment: no certificate of ours, and a server must show the CA the token pins.
pub(super) fn pinned(ca_sha256: Hash) -> Result<Arc<ClientConfig>, Error> {
    let verifier = PinnedCa { ca_sha256, algorithms: provider().signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(http2(config))
}

/// Seconds since 1970 at which the first certificate of the file ends.
pub(super) fn not_after_s(chain_pem: &str) -> Option<i64> {
    let chain = certificates(chain_pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The certificates of a PEM text: at least one of ours and its CA.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|fault| Error::General(format!("certificate.pem: {fault}")))?;
    match chain.len() {
        0 | 1 => Err(Error::General(format!(
            "certificate.pem: expected a certificate and its CA, got {} certificates",
            chain.len()
        ))),
        _ => Ok(chain),
    }
}

fn http2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Believes a chain that contains the pinned CA, and then only what that CA vouches for.
#[derive(Debug)]
struct PinnedCa {
    ca_sha256: Hash,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What the server showed instead of the pinned CA: the hash of its last certificate.
#[derive(Debug, thiserror::Error)]
#[error("expected the pinned CA, got a CA with SHA-256 {got}")]
struct WrongCa {
    got: Hash,
}

/// The hash of the CA that a server showed in place of the pinned one, if that is the fault.
pub(super) fn wrong_ca(fault: &DialFault) -> Option<Hash> {
    let DialFault::Tls(error) = fault else { return None };
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref::<WrongCa>().map(|wrong| wrong.got)
        }
        _ => None,
    }
}

impl PinnedCa {
    /// The certificate with the pinned hash, among those shown above the server's own.
    fn find<'a>(&self, shown: &'a [CertificateDer<'a>]) -> Result<&'a CertificateDer<'a>, Error> {
        let pinned = shown.iter().find(|certificate| sha256(certificate) == self.ca_sha256);
        pinned.ok_or_else(|| {
            let got = shown.last().map_or(Hash::ZERO, |certificate| sha256(certificate));
            let wrong = OtherError(Arc::new(WrongCa { got }));
            Error::InvalidCertificate(CertificateError::Other(wrong))
        })
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.find(intermediates)?.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|fault| Error::General(fault.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("expected TLS 1.3, got TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
