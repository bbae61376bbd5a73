//! From a host's name to an open connection: one address, one attempt.
//!
//! Several addresses are not raced: a race would hide a half-broken dual stack, which is just what
//! a check is there to show.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_net::{DnsError, NetError};
use hickory_proto::op::ResponseCode;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use proofmark_evidence::{FailReason, UnknownReason};
use proofmark_spec::IpProtocol;
use tokio::net::TcpStream;

use super::trace::{Finding, Phase, Trace, fail, unknown};

/// Which address family to ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) preferred: Option<IpProtocol>,
    pub(super) fallback: bool,
}

impl Family {
    /// IPv4 where there is one, else IPv6.
    pub(super) const ANY: Family = Family { preferred: None, fallback: true };

    fn strategy(self) -> LookupIpStrategy {
        match (self.preferred, self.fallback) {
            (None, _) | (Some(IpProtocol::Ip4), true) => LookupIpStrategy::Ipv4thenIpv6,
            (Some(IpProtocol::Ip4), false) => LookupIpStrategy::Ipv4Only,
            (Some(IpProtocol::Ip6), true) => LookupIpStrategy::Ipv6thenIpv4,
            (Some(IpProtocol::Ip6), false) => LookupIpStrategy::Ipv6Only,
        }
    }

    fn allows(self, address: IpAddr) -> bool {
        self.fallback
            || match self.preferred {
                None => true,
                Some(IpProtocol::Ip4) => address.is_ipv4(),
                Some(IpProtocol::Ip6) => address.is_ipv6(),
            }
    }
}

/// Resolves and connects: the first two phases of every check over TCP.
pub(super) async fn open(
    host: &str,
    port: u16,
    family: Family,
    trace: &mut Trace,
) -> Result<TcpStream, Finding> {
    let address = resolve(host, family, trace).await?;
    connect(SocketAddr::new(address, port), trace).await
}

/// One address of a host. A literal address is itself.
pub(super) async fn resolve(
    host: &str,
    family: Family,
    trace: &mut Trace,
) -> Result<IpAddr, Finding> {
    if let Ok(address) = host.parse::<IpAddr>() {
        let detail = || format!("{address} is not of the preferred IP protocol");
        return family
            .allows(address)
            .then_some(address)
            .ok_or_else(|| fail(FailReason::NameNotFound, detail()));
    }
    trace.enter(Phase::Resolve);
    let resolver = system_resolver(family.strategy())?;
    let found = resolver.lookup_ip(host).await.map_err(|error| lookup_finding(host, &error))?;
    trace.leave();
    let no_address = || fail(FailReason::NameNotFound, format!("{host} has no address"));
    found.iter().next().ok_or_else(no_address)
}

/// The resolver this host's programs use. Its files are read anew for each run, so that a changed
/// one is noticed; nothing is cached, since a cache would answer instead of the name servers.
pub(super) fn system_resolver(strategy: LookupIpStrategy) -> Result<TokioResolver, Finding> {
    let not_here = |error: NetError| {
        unknown(UnknownReason::AgentFault, format!("this host's resolver settings: {error}"))
    };
    let mut builder = TokioResolver::builder_tokio().map_err(not_here)?;
    let options = builder.options_mut();
    options.ip_strategy = strategy;
    options.cache_size = 0;
    builder.build().map_err(not_here)
}

/// What a name server said, or that it said nothing.
pub(super) fn lookup_finding(host: &str, error: &NetError) -> Finding {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let detail = match none.response_code {
                ResponseCode::NoError => format!("{host} has no address"),
                code => format!("{host}: {code}"),
            };
            fail(FailReason::NameNotFound, detail)
        }
        NetError::Io(error) if is_ours(error) => {
            unknown(UnknownReason::AgentFault, format!("name lookup: {error}"))
        }
        other => fail(FailReason::NameServer, format!("{host}: {other}")),
    }
}

pub(super) async fn connect(address: SocketAddr, trace: &mut Trace) -> Result<TcpStream, Finding> {
    trace.enter(Phase::Connect);
    let stream = TcpStream::connect(address).await;
    let stream =
        stream.map_err(|error| io_finding(&error, &format!("connect to {address}"), None))?;
    trace.leave();
    // Small requests must not wait for one another; where it is refused the check is only slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// What an I/O error says about the target, or about this host. `otherwise` is the reason for
/// errors that name no cause of their own; without one they mean the target is unreachable.
pub(super) fn io_finding(error: &io::Error, doing: &str, otherwise: Option<FailReason>) -> Finding {
    let detail = format!("{doing}: {error}");
    if is_ours(error) {
        return unknown(UnknownReason::AgentFault, detail);
    }
    let reason = match error.kind() {
        io::ErrorKind::ConnectionRefused => FailReason::ConnectRefused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => FailReason::ConnectReset,
        io::ErrorKind::TimedOut => FailReason::ConnectTimeout,
        _ => otherwise.unwrap_or(FailReason::ConnectUnreachable),
    };
    fail(reason, detail)
}

/// Whether an error is about this host: no file descriptors, memory or ports left, or not allowed.
pub(super) fn is_ours(error: &io::Error) -> bool {
    // No stable ErrorKind exists for these: too many open files in the system, in the process;
    // no buffer space (Linux, then BSD and macOS).
    const TOO_MANY: [i32; 4] = [23, 24, 105, 55];
    error.raw_os_error().is_some_and(|code| TOO_MANY.contains(&code))
        || matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::OutOfMemory
                | io::ErrorKind::AddrNotAvailable
        )
}

#[cfg(test)]
mod tests {
    use proofmark_evidence::Outcome;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn errors_of_this_host_are_unknown_and_errors_of_the_target_are_failures() {
        let check = |error: io::Error, expect: &str| {
            assert_eq!(io_finding(&error, "connect", None).outcome.slug(), expect, "{error}");
        };
        check(io::Error::from_raw_os_error(24), "agent_fault");
        check(io::Error::from_raw_os_error(23), "agent_fault");
        check(io::ErrorKind::PermissionDenied.into(), "agent_fault");
        check(io::ErrorKind::ConnectionRefused.into(), "connect_refused");
        check(io::ErrorKind::ConnectionReset.into(), "connect_reset");
        check(io::ErrorKind::HostUnreachable.into(), "connect_unreachable");
        check(io::ErrorKind::TimedOut.into(), "connect_timeout");
    }

    #[tokio::test]
    async fn a_literal_address_needs_no_resolver_but_must_be_of_the_wanted_family() {
        let mut trace = Trace::new(Clock::manual(0));
        let only_4 = Family { preferred: Some(IpProtocol::Ip4), fallback: false };
        let found = resolve("127.0.0.1", only_4, &mut trace).await;
        assert_eq!(found, Ok(IpAddr::from([127, 0, 0, 1])));
        let refused = resolve("::1", only_4, &mut trace).await.expect_err("not IPv4");
        assert_eq!(refused.outcome, Outcome::Fail(FailReason::NameNotFound));
        assert!(trace.finish().1.is_empty(), "nothing was resolved");
    }
}
