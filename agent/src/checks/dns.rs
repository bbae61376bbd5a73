//! `dns`: one question, and what its answer must be like.
//!
//! With a server of its own: one query, as bytes, to that server, so that its own words are judged.
//! Without: the host's resolver, hosts file included, as the host's programs see names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_net::{DnsError, NetError};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use hickory_resolver::config::LookupIpStrategy;
use proofmark_evidence::{FailReason, MeasurementKind};
use proofmark_spec::{DnsProbe, HostPort, QueryType, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::net::{self, Family, io_finding, lookup_finding};
use super::trace::{Finding, Phase, Trace, fail};
use crate::limits::DNS_ANSWER_BYTES_MAX;

/// What came back: the response code, and the records of the asked type in presentation form.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    rcode: ResponseCode,
    records: Vec<String>,
}

pub(super) async fn run(probe: &DnsProbe, trace: &mut Trace) -> Result<(), Finding> {
    let name = Name::from_utf8(&probe.query_name)
        .map_err(|error| fail(FailReason::NameNotFound, format!("query_name: {error}")))?;
    let answer = match &probe.server {
        Some(server) => ask_server(probe, server, name, trace).await?,
        None => ask_host(probe, name, trace).await?,
    };
    trace.count(MeasurementKind::AnswersCount, answer.records.len() as u64);
    judge(probe, &answer)
}

async fn ask_host(probe: &DnsProbe, name: Name, trace: &mut Trace) -> Result<Answer, Finding> {
    trace.enter(Phase::Resolve);
    let resolver = net::system_resolver(LookupIpStrategy::Ipv4AndIpv6)?;
    let kind = record_type(probe.query_type);
    let looked_up = resolver.lookup(name, kind).await;
    trace.leave();
    match looked_up {
        Ok(found) => {
            let rcode = ResponseCode::NoError;
            Ok(Answer { rcode, records: records_of(kind, found.answers()) })
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            Ok(Answer { rcode: none.response_code, records: Vec::new() })
        }
        Err(NetError::Dns(DnsError::ResponseCode(rcode))) => {
            Ok(Answer { rcode, records: Vec::new() })
        }
        Err(error) => Err(lookup_finding(&probe.query_name, &error)),
    }
}

async fn ask_server(
    probe: &DnsProbe,
    server: &HostPort,
    mut name: Name,
    trace: &mut Trace,
) -> Result<Answer, Finding> {
    // A server knows nothing of this host's search domains: the name is the whole name.
    name.set_fqdn(true);
    let address = net::resolve(&server.host, Family::ANY, trace).await?;
    let server = SocketAddr::new(address, server.port);
    let kind = record_type(probe.query_type);
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, kind));
    // Waiting for a name server is a name lookup, whichever way the question travels.
    trace.enter(Phase::Resolve);
    let reply = match probe.transport {
        Transport::Udp => over_udp(server, &query).await?,
        Transport::Tcp => over_tcp(server, &query).await?,
    };
    // A truncated answer is asked for again over TCP (RFC 7766 section 5).
    let reply = if reply.metadata.truncation { over_tcp(server, &query).await? } else { reply };
    trace.leave();
    let rcode = reply.metadata.response_code;
    Ok(Answer { rcode, records: records_of(kind, &reply.answers) })
}

async fn over_udp(server: SocketAddr, query: &Message) -> Result<Message, Finding> {
    let broken =
        |error| io_finding(&error, &format!("query to {server}"), Some(FailReason::NameServer));
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(broken)?;
    socket.connect(server).await.map_err(broken)?;
    socket.send(&encode(query)?).await.map_err(broken)?;
    let mut bytes = vec![0; DNS_ANSWER_BYTES_MAX];
    loop {
        let len = socket.recv(&mut bytes).await.map_err(broken)?;
        // Anyone can send to this port: what does not answer this question is not listened to.
        if let Some(reply) = decode_reply(&bytes[..len], query) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &Message) -> Result<Message, Finding> {
    let broken =
        |error| io_finding(&error, &format!("query to {server}"), Some(FailReason::NameServer));
    let mut stream = tokio::net::TcpStream::connect(server).await.map_err(broken)?;
    let bytes = encode(query)?;
    let len = u16::try_from(bytes.len()).expect("one question is far below 64 KiB");
    stream.write_all(&[&len.to_be_bytes()[..], &bytes].concat()).await.map_err(broken)?;
    let len = stream.read_u16().await.map_err(broken)?;
    let mut bytes = vec![0; len.into()];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    let other = || fail(FailReason::NameServer, format!("{server} answered another question"));
    decode_reply(&bytes, query).ok_or_else(other)
}

fn encode(query: &Message) -> Result<Vec<u8>, Finding> {
    query.to_vec().map_err(|error| fail(FailReason::NameServer, format!("query: {error}")))
}

fn decode_reply(bytes: &[u8], query: &Message) -> Option<Message> {
    let reply = Message::from_vec(bytes).ok()?;
    let answers_it = reply.metadata.id == query.metadata.id
        && reply.metadata.message_type == hickory_proto::op::MessageType::Response
        && (reply.queries == query.queries || reply.queries.is_empty());
    answers_it.then_some(reply)
}

fn records_of(kind: RecordType, records: &[Record]) -> Vec<String> {
    let wanted = records.iter().filter(|record| record.record_type() == kind);
    wanted.map(|record| record.data.to_string()).collect()
}

fn record_type(kind: QueryType) -> RecordType {
    match kind {
        QueryType::A => RecordType::A,
        QueryType::Aaaa => RecordType::AAAA,
        QueryType::Cname => RecordType::CNAME,
        QueryType::Mx => RecordType::MX,
        QueryType::Txt => RecordType::TXT,
        QueryType::Ns => RecordType::NS,
        QueryType::Soa => RecordType::SOA,
        QueryType::Srv => RecordType::SRV,
        QueryType::Ptr => RecordType::PTR,
    }
}

fn judge(probe: &DnsProbe, answer: &Answer) -> Result<(), Finding> {
    judge_rcode(probe, answer.rcode)?;
    let got = answer.records.len();
    // Where an error code is what the spec wants, there is nothing to count.
    let min_default = u32::from(answer.rcode == ResponseCode::NoError);
    let min = probe.min_answers.unwrap_or(min_default) as usize;
    let kind = probe.query_type.as_str();
    if got < min {
        let reason = if got == 0 { FailReason::NameNotFound } else { FailReason::NameAnswer };
        return Err(fail(reason, format!("expected at least {min} {kind} records, got {got}")));
    }
    let is_there = |expect: &String| answer.records.iter().any(|got| normal(got) == normal(expect));
    match probe.expect_answers.iter().find(|expect| !is_there(expect)) {
        Some(expect) => {
            let got = answer.records.join(", ");
            Err(fail(FailReason::NameAnswer, format!("expected {kind} {expect}, got {got}")))
        }
        None => Ok(()),
    }
}

fn judge_rcode(probe: &DnsProbe, rcode: ResponseCode) -> Result<(), Finding> {
    let got = u16::from(rcode);
    if probe.valid_rcodes.iter().any(|valid| valid.code() == got) {
        return Ok(());
    }
    let valid: Vec<&str> = probe.valid_rcodes.iter().map(|rcode| rcode.as_str()).collect();
    let reason = match rcode {
        ResponseCode::NXDomain => FailReason::NameNotFound,
        _ => FailReason::NameServer,
    };
    Err(fail(reason, format!("expected {}, got {rcode}", valid.join(" or "))))
}

/// Names have no case, and the dot at their end is a matter of taste.
fn normal(record: &str) -> String {
    record.trim_end_matches('.').trim_matches('"').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::A;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;
    use crate::checks::{Observation, run_check_once};
    use crate::tests::check;

    /// Answers by the first label of the name.
    fn reply(query: &[u8], over_udp: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).expect("a query");
        let question = query.queries[0].clone();
        let label = question.name().to_string();
        let mut reply = query.into_response();
        let mut add = |address: [u8; 4]| {
            let data = RData::A(A(address.into()));
            reply.add_answer(Record::from_rdata(question.name().clone(), 60, data));
        };
        match label.split('.').next().unwrap_or_default() {
            "one" => add([192, 0, 2, 1]),
            "two" => {
                add([192, 0, 2, 1]);
                add([192, 0, 2, 2]);
            }
            "long" if over_udp => reply.metadata.truncation = true,
            "long" => add([192, 0, 2, 9]),
            "forged" => reply.metadata.id = reply.metadata.id.wrapping_add(1),
            "silent" => return None,
            "refused" => reply.metadata.response_code = ResponseCode::Refused,
            "empty" => {}
            _ => reply.metadata.response_code = ResponseCode::NXDomain,
        }
        Some(reply.to_vec().expect("encodes"))
    }

    /// A name server on one port for both transports.
    async fn serve(tasks: &mut JoinSet<()>) -> u16 {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = tcp.local_addr().expect("bound").port();
        let udp = UdpSocket::bind(("127.0.0.1", port)).await.expect("binds");
        tasks.spawn(async move {
            let mut bytes = [0; 512];
            while let Ok((len, from)) = udp.recv_from(&mut bytes).await {
                if let Some(reply) = reply(&bytes[..len], true) {
                    let _ = udp.send_to(&reply, from).await;
                }
            }
        });
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let len = stream.read_u16().await.expect("a query");
                let mut bytes = vec![0; len.into()];
                stream.read_exact(&mut bytes).await.expect("a query");
                let reply = reply(&bytes, false).unwrap_or_default();
                let _ = stream.write_u16(reply.len() as u16).await;
                let _ = stream.write_all(&reply).await;
            }
        });
        port
    }

    async fn see(port: u16, name: &str, options: &str) -> Observation {
        let server = format!("server: '127.0.0.1:{port}'");
        let probe = format!("dns: {{{server}, query_name: {name}.example, {options}}}");
        let timeout = if name == "silent" || name == "forged" { "100ms" } else { "5s" };
        run_check_once(&check(timeout, &probe)).await
    }

    #[tokio::test]
    async fn answers_are_judged_by_code_count_and_content() {
        let mut tasks = JoinSet::new();
        let port = serve(&mut tasks).await;
        let cases = [
            ("one", "", "pass"),
            ("one", "transport: tcp", "pass"),
            ("one", "expect_answers: [192.0.2.1]", "pass"),
            ("one", "expect_answers: [192.0.2.2]", "name_answer"),
            ("one", "min_answers: 2", "name_answer"),
            ("two", "min_answers: 2, expect_answers: [192.0.2.2, 192.0.2.1]", "pass"),
            ("long", "expect_answers: [192.0.2.9]", "pass"),
            ("empty", "", "name_not_found"),
            ("empty", "min_answers: 0", "pass"),
            ("nothing", "", "name_not_found"),
            ("nothing", "valid_rcodes: [NXDOMAIN]", "pass"),
            ("refused", "", "name_server"),
            ("silent", "", "name_server"),
            ("forged", "", "name_server"),
        ];
        for (name, options, expect) in cases {
            let seen = see(port, name, options).await;
            assert_eq!(seen.outcome.slug(), expect, "{name} {options}: {}", seen.detail);
        }
    }

    #[tokio::test]
    async fn localhost_is_found_without_a_server() {
        if !std::path::Path::new("/etc/resolv.conf").exists() {
            println!("skipped: this host has no resolver settings");
            return;
        }
        let probe = "dns: {query_name: localhost, expect_answers: [127.0.0.1]}";
        let seen = run_check_once(&check("5s", probe)).await;
        assert_eq!(seen.outcome.slug(), "pass", "{}", seen.detail);
        assert_eq!(seen.measurements.len(), 2);
    }
}
