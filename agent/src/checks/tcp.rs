//! `tcp`: connect, perhaps say a line, perhaps expect one.

use proofmark_evidence::{FailReason, MeasurementKind};
use proofmark_spec::TcpProbe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::net::{self, Family, io_finding};
use super::trace::{Finding, Phase, Trace, fail, judge_latency};
use crate::limits::DIALOGUE_BYTES_MAX;

pub(super) async fn run(probe: &TcpProbe, trace: &mut Trace) -> Result<(), Finding> {
    let address = &probe.address;
    let mut stream = net::open(&address.host, address.port, Family::ANY, trace).await?;
    let line = exchange(&mut stream, probe, trace).await?;
    judge(probe, line.as_deref(), trace)
}

/// Sends the line, if any, and reads the first line back, if one is expected.
async fn exchange(
    stream: &mut TcpStream,
    probe: &TcpProbe,
    trace: &mut Trace,
) -> Result<Option<Vec<u8>>, Finding> {
    let broken = |error| io_finding(&error, "dialogue", Some(FailReason::ConnectReset));
    if let Some(send) = &probe.send {
        trace.enter(Phase::FirstByte);
        stream.write_all(format!("{send}\n").as_bytes()).await.map_err(broken)?;
    }
    if probe.expect.is_none() {
        return Ok(None);
    }
    trace.enter(Phase::FirstByte);
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        if line.len() >= DIALOGUE_BYTES_MAX {
            let detail = format!("no line end in {DIALOGUE_BYTES_MAX} bytes");
            return Err(fail(FailReason::ResponseTooLarge, detail));
        }
        let got = stream.read_buf(&mut line).await.map_err(broken)?;
        if got == 0 {
            break;
        }
    }
    trace.leave();
    Ok(Some(line.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec()))
}

fn judge(probe: &TcpProbe, line: Option<&[u8]>, trace: &Trace) -> Result<(), Finding> {
    if let (Some(expect), Some(line)) = (&probe.expect, line) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !expect.is_match(line) {
            let detail = format!("expected a line that matches {expect}, got {} bytes", line.len());
            let reason = match line.is_empty() {
                true => FailReason::ConnectReset,
                false => FailReason::ResponseMismatch,
            };
            return Err(fail(reason, detail));
        }
    }
    let connect_us = trace.measured(MeasurementKind::ConnectUs).unwrap_or(0);
    judge_latency(u64::try_from(connect_us).unwrap_or(0), probe.latency_ms_max)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use crate::checks::run_check_once;
    use crate::tests::check;

    /// A server that greets, reads one line, and answers it in upper case.
    async fn serve(tasks: &mut JoinSet<()>, greeting: &'static str) -> u16 {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                let _ = stream.write_all(greeting.as_bytes()).await;
                let _ = stream.read_line(&mut line).await;
                let _ = stream.write_all(line.to_uppercase().as_bytes()).await;
            }
        });
        port
    }

    async fn slug(probe: &str) -> &'static str {
        run_check_once(&check("5s", probe)).await.outcome.slug()
    }

    #[tokio::test]
    async fn connecting_is_enough_unless_a_line_is_expected() {
        let mut tasks = JoinSet::new();
        let port = serve(&mut tasks, "").await;
        let address = format!("address: '127.0.0.1:{port}'");
        assert_eq!(slug(&format!("tcp: {{{address}}}")).await, "pass");
        assert_eq!(slug(&format!("tcp: {{{address}, send: ping, expect: ^PING$}}")).await, "pass");
        let wrong = format!("tcp: {{{address}, send: ping, expect: pong}}");
        assert_eq!(slug(&wrong).await, "response_mismatch");
    }

    #[tokio::test]
    async fn only_the_first_line_counts() {
        let mut tasks = JoinSet::new();
        let port = serve(&mut tasks, "220 ready\r\n250 later\r\n").await;
        let address = format!("address: '127.0.0.1:{port}'");
        assert_eq!(slug(&format!("tcp: {{{address}, expect: ^220 ready$}}")).await, "pass");
        assert_eq!(slug(&format!("tcp: {{{address}, expect: ^250}}")).await, "response_mismatch");
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_and_a_silent_peer_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let silent = format!("tcp: {{address: '127.0.0.1:{port}', expect: x}}");
        let seen = run_check_once(&check("50ms", &silent)).await;
        assert_eq!(seen.outcome.slug(), "response_timeout");
        assert!(seen.detail.contains("50 ms"), "{}", seen.detail);
        drop(listener);
        assert_eq!(slug(&format!("tcp: {{address: '127.0.0.1:{port}'}}")).await, "connect_refused");
    }
}
