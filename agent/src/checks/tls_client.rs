//! A TLS handshake that remembers what it was shown.
//!
//! rustls asks a verifier whether to go on. Ours asks the usual one and writes down its verdict and
//! the certificates; *strict* then obeys the verdict, *inspect* goes on anyway, so that a bad
//! certificate can still be described. An `http` check is always strict: nothing is sent to a peer
//! that is not who it should be.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use proofmark_evidence::{FailReason, MeasurementKind, UnknownReason};
use proofmark_spec::{TlsOptions, TlsVersion};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::net::io_finding;
use super::trace::{Finding, Phase, Trace, fail, unknown};

/// The host's own trust store, read once.
#[derive(Default)]
pub(super) struct TrustStore {
    native: OnceLock<Arc<RootCertStore>>,
}

/// What to do when the certificate is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Break off.
    Strict,
    /// Go on and tell.
    Inspect,
}

/// What one handshake wants.
pub(super) struct Wanted<'a> {
    pub(super) host: &'a str,
    pub(super) options: &'a TlsOptions,
    pub(super) strictness: Strictness,
    /// Protocols offered, in order of preference.
    pub(super) alpn: &'a [&'a [u8]],
}

/// What the peer showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// The peer's own certificate first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// What is wrong with it; none when it is good.
    pub(super) objection: Option<Error>,
}

/// Does the handshake and measures it, also how long the certificates have left.
pub(super) async fn handshake(
    stream: TcpStream,
    wanted: &Wanted<'_>,
    trust: &TrustStore,
    trace: &mut Trace,
) -> Result<(TlsStream<TcpStream>, Shown), Finding> {
    let shown = Arc::new(Mutex::new(Shown::default()));
    let config = client_config(wanted, trust, &shown)?;
    let name = wanted.options.server_name.as_deref().unwrap_or(wanted.host);
    let name = ServerName::try_from(name.trim_end_matches('.').to_string()).map_err(|_| {
        fail(FailReason::CertificateName, format!("{name} is no name for a certificate"))
    })?;
    trace.enter(Phase::Tls);
    let done = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    trace.leave();
    let shown = shown.lock().expect("no holder of this lock can panic").clone();
    measure_expiry(&shown, trace);
    let stream = done.map_err(|error| handshake_finding(&error))?;
    Ok((stream, shown))
}

/// What an objection to a certificate means for the check.
pub(super) fn objection_finding(error: &Error) -> Finding {
    let reason = match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                FailReason::CertificateExpired
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                FailReason::CertificateName
            }
            _ => FailReason::CertificateUntrusted,
        },
        _ => FailReason::TlsHandshake,
    };
    fail(reason, error.to_string())
}

/// Seconds from `now_s` until the first certificate of the chain ends. None when one of them is
/// not readable or there is none.
pub(super) fn expires_in_s(chain: &[CertificateDer<'_>], now_s: i64) -> Option<i64> {
    let ends = chain.iter().map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    let ends: Option<Vec<i64>> = ends.collect();
    ends?.into_iter().min().map(|end_s| end_s - now_s)
}

fn measure_expiry(shown: &Shown, trace: &mut Trace) {
    let now_s = i64::try_from(trace.clock().unix_ms() / 1_000).unwrap_or(i64::MAX);
    if let Some(left_s) = expires_in_s(&shown.chain, now_s) {
        trace.measure(MeasurementKind::CertificateExpiryS, left_s);
    }
}

fn handshake_finding(error: &std::io::Error) -> Finding {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(error) => objection_finding(error),
        None => io_finding(error, "TLS handshake", Some(FailReason::TlsHandshake)),
    }
}

fn client_config(
    wanted: &Wanted<'_>,
    trust: &TrustStore,
    shown: &Arc<Mutex<Shown>>,
) -> Result<ClientConfig, Finding> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = match wanted.options.min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let skip = wanted.options.insecure_skip_verify;
    let judge = if skip { None } else { Some(judge(wanted.options, trust, &provider)?) };
    let verifier = RecordingVerifier {
        judge,
        strict: wanted.strictness == Strictness::Strict,
        provider: provider.clone(),
        shown: shown.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| unknown(UnknownReason::AgentFault, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = wanted.alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn judge(
    options: &TlsOptions,
    trust: &TrustStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Finding> {
    let roots = match &options.ca_file {
        Some(path) => Arc::new(roots_from(Path::new(path))?),
        None => trust.native(),
    };
    WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|error| unknown(UnknownReason::AgentFault, format!("trust store: {error}")))
}

impl TrustStore {
    fn native(&self) -> Arc<RootCertStore> {
        let load = || {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "trust store: a source could not be read");
            }
            let (good, bad) = roots.add_parsable_certificates(found.certs);
            tracing::debug!(good, bad, "trust store read");
            Arc::new(roots)
        };
        self.native.get_or_init(load).clone()
    }
}

fn roots_from(path: &Path) -> Result<RootCertStore, Finding> {
    let fault = |what: String| {
        unknown(UnknownReason::AgentFault, format!("ca_file {}: {what}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    Ok(roots)
}

#[derive(Debug)]
struct RecordingVerifier {
    /// None: every certificate will do.
    judge: Option<Arc<WebPkiServerVerifier>>,
    strict: bool,
    provider: Arc<CryptoProvider>,
    shown: Arc<Mutex<Shown>>,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.judge.as_ref().map_or(Ok(ServerCertVerified::assertion()), |judge| {
            judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        });
        let chain = std::iter::once(end_entity).chain(intermediates);
        *self.shown.lock().expect("no holder of this lock can panic") = Shown {
            chain: chain.map(|certificate| certificate.clone().into_owned()).collect(),
            objection: verdict.as_ref().err().cloned(),
        };
        if self.strict { verdict } else { Ok(ServerCertVerified::assertion()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
