//! What came of one run of a check. "Could not tell" is an answer of its own, never a pass and
//! never a failure.

use std::fmt;

use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::codes::closed_list;

/// The verdict of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The target was reached and was as the spec wants it.
    Pass,
    /// The target, or the way to it, is not as the spec wants it.
    Fail(FailReason),
    /// Nothing was learnt about the target.
    Unknown(UnknownReason),
}

closed_list! {
    /// Why a run failed. The first cause met on the way counts: resolve, connect, TLS, exchange,
    /// judge.
    FailReason {
        /// The name does not exist (NXDOMAIN) or has no address.
        NameNotFound = 1 "name_not_found",
        /// The name was answered, but not with the answer the spec wants.
        NameAnswer = 2 "name_answer",
        /// The name server answered with another error (rcode), or not at all.
        NameServer = 3 "name_server",
        ConnectRefused = 4 "connect_refused",
        ConnectTimeout = 5 "connect_timeout",
        /// No route, or the network said so.
        ConnectUnreachable = 6 "connect_unreachable",
        /// The peer closed or reset the connection before the exchange was complete.
        ConnectReset = 7 "connect_reset",
        TlsHandshake = 8 "tls_handshake",
        CertificateExpired = 9 "certificate_expired",
        /// Valid now, but for less time than the spec wants.
        CertificateExpiresSoon = 10 "certificate_expires_soon",
        CertificateUntrusted = 11 "certificate_untrusted",
        /// The certificate is for another name.
        CertificateName = 12 "certificate_name",
        HttpStatus = 13 "http_status",
        HttpBody = 14 "http_body",
        HttpHeader = 15 "http_header",
        /// What came back is not HTTP, or another version than the spec wants.
        HttpProtocol = 16 "http_protocol",
        /// Connected, but the answer was not complete within the timeout.
        ResponseTimeout = 17 "response_timeout",
        ResponseTooLarge = 18 "response_too_large",
        /// All was right, only slower than the spec allows.
        LatencyExceeded = 19 "latency_exceeded",
        /// Content has another digest than the one it is held to.
        DigestMismatch = 20 "digest_mismatch",
        FileMissing = 21 "file_missing",
        FileUnexpected = 22 "file_unexpected",
        /// The file changed while it was read, or since the last run.
        FileChanged = 23 "file_changed",
        /// A reading of the host passed its threshold.
        ThresholdExceeded = 24 "threshold_exceeded",
        /// Too many redirects, or one where the spec wants none.
        Redirects = 25 "redirects",
        /// What a TCP peer answered is not what the spec wants.
        ResponseMismatch = 26 "response_mismatch",
    }
}

closed_list! {
    /// Why nothing was learnt.
    UnknownReason {
        /// The check's previous run was still going.
        SkippedOverrun = 1 "skipped_overrun",
        /// The process was gone or the host slept when the run was due; nobody said why.
        SkippedAsleep = 2 "skipped_asleep",
        /// The agent was stopped in order: it was shutting down, or not started again yet.
        SkippedShutdown = 3 "skipped_shutdown",
        /// The agent's limit on runs at one time was reached.
        SkippedBusy = 4 "skipped_busy",
        /// The result had no room in the spool.
        SpoolFull = 5 "spool_full",
        /// The result was lost to a damaged spool segment.
        SpoolDamaged = 6 "spool_damaged",
        /// The probe could not be made: no file descriptors, no permission.
        AgentFault = 7 "agent_fault",
        /// The host does not offer this reading.
        ReadingUnavailable = 8 "reading_unavailable",
        /// The agent said nothing. Only the aggregator decides this; no result carries it.
        Silent = 9 "silent",
        /// The run was stopped before it could tell.
        Cancelled = 10 "cancelled",
    }
}

impl UnknownReason {
    /// Whether an agent may give this reason; `Silent` is for those who waited for the agent.
    pub fn is_agents(self) -> bool {
        self != UnknownReason::Silent
    }

    /// Reads a code an agent may give.
    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<UnknownReason, DecodeFault> {
        let what = "unknown reason";
        let code = reader.u8(what)?;
        UnknownReason::from_code(code)
            .filter(|reason| reason.is_agents())
            .ok_or(DecodeFault::UnknownCode { what, got: code.into() })
    }
}

impl Outcome {
    /// `pass`, or the slug of the reason.
    pub fn slug(&self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail(reason) => reason.slug(),
            Outcome::Unknown(reason) => reason.slug(),
        }
    }

    /// `pass`, `fail` or `unknown`.
    pub fn class(&self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail(_) => "fail",
            Outcome::Unknown(_) => "unknown",
        }
    }

    pub fn is_pass(&self) -> bool {
        *self == Outcome::Pass
    }

    /// One byte for the class; two with the reason's code when it is not a pass.
    pub(crate) fn write(self, writer: &mut ByteWriter) {
        match self {
            Outcome::Pass => writer.u8(0),
            Outcome::Fail(reason) => writer.u8(1).u8(reason.code()),
            Outcome::Unknown(reason) => writer.u8(2).u8(reason.code()),
        };
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<Outcome, DecodeFault> {
        match reader.u8("outcome")? {
            0 => Ok(Outcome::Pass),
            1 => {
                let code = reader.u8("fail reason")?;
                let fault = DecodeFault::UnknownCode { what: "fail reason", got: code.into() };
                FailReason::from_code(code).map(Outcome::Fail).ok_or(fault)
            }
            2 => UnknownReason::read(reader).map(Outcome::Unknown),
            got => Err(DecodeFault::UnknownCode { what: "outcome", got: got.into() }),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.slug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn every_outcome() -> Vec<Outcome> {
        let fails = FailReason::ALL.iter().copied().map(Outcome::Fail);
        let unknowns = UnknownReason::ALL.iter().copied().map(Outcome::Unknown);
        [Outcome::Pass].into_iter().chain(fails).chain(unknowns).collect()
    }

    #[test]
    fn slugs_and_codes_are_unique() {
        let slugs: BTreeSet<_> = every_outcome().iter().map(Outcome::slug).collect();
        assert_eq!(slugs.len(), every_outcome().len());
        assert!(FailReason::ALL.is_sorted_by(|a, b| a.code() < b.code()));
        assert!(UnknownReason::ALL.is_sorted_by(|a, b| a.code() < b.code()));
        for reason in FailReason::ALL {
            assert!(reason.code() >= 1);
            assert_eq!(FailReason::from_code(reason.code()), Some(*reason));
            assert_eq!(FailReason::from_slug(reason.slug()), Some(*reason));
        }
        assert_eq!(FailReason::from_code(0), None);
        assert_eq!(UnknownReason::from_slug("down"), None);
    }

    #[test]
    fn outcomes_come_back_except_the_one_no_agent_gives() {
        for outcome in every_outcome() {
            let mut writer = ByteWriter::new();
            outcome.write(&mut writer);
            let read = Outcome::read(&mut ByteReader::new(&writer.into_bytes()));
            match outcome {
                Outcome::Unknown(UnknownReason::Silent) => {
                    assert_eq!(read.map_err(|fault| fault.slug()), Err("unknown_code"));
                }
                _ => assert_eq!(read, Ok(outcome)),
            }
        }
    }

    #[test]
    fn unknown_codes_are_refused() {
        for bytes in [&[3][..], &[1, 0], &[1, 27], &[2, 0], &[2, 11], &[255, 1]] {
            let fault = Outcome::read(&mut ByteReader::new(bytes)).expect_err("no such code");
            assert_eq!(fault.slug(), "unknown_code", "{bytes:?}");
        }
    }
}
