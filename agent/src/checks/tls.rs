//! `tls`: the certificate a peer shows: for this name, from a trusted issuer, for long enough.

use proofmark_evidence::FailReason;
use proofmark_evidence::MeasurementKind::CertificateExpiryS;
use proofmark_spec::TlsProbe;

use super::Tools;
use super::net::{self, Family};
use super::tls_client::{Shown, Strictness, Wanted, handshake, objection_finding};
use super::trace::{Finding, Trace, fail};

pub(super) async fn run(probe: &TlsProbe, tools: &Tools, trace: &mut Trace) -> Result<(), Finding> {
    let address = &probe.address;
    let stream = net::open(&address.host, address.port, Family::ANY, trace).await?;
    let (host, options, alpn) = (address.host.as_str(), &probe.tls, &[][..]);
    let wanted = Wanted { host, options, strictness: Strictness::Inspect, alpn };
    let (_stream, shown) = handshake(stream, &wanted, &tools.trust, trace).await?;
    judge(probe, &shown, trace.measured(CertificateExpiryS))
}

fn judge(probe: &TlsProbe, shown: &Shown, left_s: Option<i64>) -> Result<(), Finding> {
    if let Some(objection) = &shown.objection {
        return Err(objection_finding(objection));
    }
    let Some(within_ms) = probe.fail_if_expires_within_ms else { return Ok(()) };
    let Some(left_s) = left_s else {
        return Err(fail(FailReason::TlsHandshake, "a certificate of the chain is unreadable"));
    };
    let within_s = i64::try_from(within_ms / 1_000).unwrap_or(i64::MAX);
    if left_s > within_s {
        return Ok(());
    }
    let reason = match left_s {
        ..=0 => FailReason::CertificateExpired,
        _ => FailReason::CertificateExpiresSoon,
    };
    Err(fail(reason, format!("expected more than {within_s} s left, got {left_s} s")))
}

#[cfg(test)]
mod tests {
    use proofmark_evidence::MeasurementKind;
    use tokio::task::JoinSet;

    use crate::checks::{Observation, run_check_once};
    use crate::tests::check;
    use crate::tests::servers::{TlsServer, serve_http};

    async fn see(server: &TlsServer, options: &str) -> Observation {
        let ca = server.ca_file.display();
        let port = server.port;
        let probe = format!("tls: {{address: 'localhost:{port}', ca_file: '{ca}', {options}}}");
        run_check_once(&check("5s", &probe)).await
    }

    #[tokio::test]
    async fn a_good_certificate_passes_and_its_time_left_is_measured() {
        let mut tasks = JoinSet::new();
        let server = TlsServer::start(&mut tasks, "localhost", 10).await;
        let seen = see(&server, "fail_if_expires_within: 9d").await;
        assert_eq!(seen.outcome.slug(), "pass", "{}", seen.detail);
        let expiry = MeasurementKind::CertificateExpiryS;
        let left = seen.measurements.iter().find(|one| one.kind == expiry);
        let left_s = left.expect("measured").value;
        assert!((9 * 86_400..=10 * 86_400).contains(&left_s), "{left_s}");
    }

    #[tokio::test]
    async fn each_fault_of_a_certificate_has_its_own_reason() {
        let mut tasks = JoinSet::new();
        let good = TlsServer::start(&mut tasks, "localhost", 10).await;
        let other_name = TlsServer::start(&mut tasks, "other.example", 10).await;
        let expired = TlsServer::start(&mut tasks, "localhost", -1).await;
        let soon = see(&good, "fail_if_expires_within: 11d").await;
        assert_eq!(soon.outcome.slug(), "certificate_expires_soon");
        assert_eq!(see(&other_name, "").await.outcome.slug(), "certificate_name");
        let named = see(&other_name, "server_name: other.example").await;
        assert_eq!(named.outcome.slug(), "pass", "{}", named.detail);
        assert_eq!(see(&expired, "").await.outcome.slug(), "certificate_expired");
        let skipped = see(&expired, "insecure_skip_verify: true").await;
        assert_eq!(skipped.outcome.slug(), "pass");
        let strangers_ca = expired.ca_file.display();
        let probe =
            format!("tls: {{address: 'localhost:{}', ca_file: '{strangers_ca}'}}", good.port);
        let seen = run_check_once(&check("5s", &probe)).await;
        assert_eq!(seen.outcome.slug(), "certificate_untrusted");
    }

    #[tokio::test]
    async fn a_missing_ca_file_is_this_hosts_fault_and_plain_text_is_the_peers() {
        let mut tasks = JoinSet::new();
        let server = TlsServer::start(&mut tasks, "localhost", 10).await;
        let probe = format!("tls: {{address: 'localhost:{}', ca_file: /nowhere}}", server.port);
        let seen = run_check_once(&check("5s", &probe)).await;
        assert_eq!(seen.outcome.slug(), "agent_fault");
        let plain = serve_http(&mut tasks, |_| "HTTP/1.1 200 OK\r\n\r\n".into()).await;
        let probe = format!("tls: {{address: '127.0.0.1:{plain}', insecure_skip_verify: true}}");
        let seen = run_check_once(&check("5s", &probe)).await;
        assert_eq!(seen.outcome.slug(), "tls_handshake");
    }
}
