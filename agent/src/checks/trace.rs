//! How far a run has come: its phase, the time each phase took, what it measured.

use proofmark_evidence::{FailReason, Measurement, MeasurementKind, Outcome, UnknownReason};

use crate::clock::Clock;

/// Why a run did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) outcome: Outcome,
    pub(super) detail: String,
}

/// What a run is waiting for. Running out of time means something else in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Resolve,
    Connect,
    Tls,
    FirstByte,
    Transfer,
    /// Work on this host: nobody else is to blame for its taking long.
    Local,
}

/// The record of one run. Phases that come again (redirects) add up.
pub(super) struct Trace {
    clock: Clock,
    began_us: u64,
    phase: Phase,
    phase_began_us: Option<u64>,
    measurements: Vec<Measurement>,
}

pub(super) fn fail(reason: FailReason, detail: impl Into<String>) -> Finding {
    Finding { outcome: Outcome::Fail(reason), detail: detail.into() }
}

pub(super) fn unknown(reason: UnknownReason, detail: impl Into<String>) -> Finding {
    Finding { outcome: Outcome::Unknown(reason), detail: detail.into() }
}

impl Phase {
    fn measurement(self) -> Option<MeasurementKind> {
        match self {
            Phase::Resolve => Some(MeasurementKind::ResolveUs),
            Phase::Connect => Some(MeasurementKind::ConnectUs),
            Phase::Tls => Some(MeasurementKind::TlsUs),
            Phase::FirstByte => Some(MeasurementKind::FirstByteUs),
            Phase::Transfer => Some(MeasurementKind::TransferUs),
            Phase::Local => None,
        }
    }
}

impl Trace {
    pub(super) fn new(clock: Clock) -> Trace {
        let began_us = clock.monotonic_us();
        let measurements = Vec::new();
        Trace { clock, began_us, phase: Phase::Local, phase_began_us: None, measurements }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Ends the phase that was, if any, and begins another.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.leave();
        self.phase = phase;
        self.phase_began_us = Some(self.clock.monotonic_us());
    }

    /// Ends the phase and adds its time to what was measured.
    pub(super) fn leave(&mut self) {
        let Some(began_us) = self.phase_began_us.take() else { return };
        if let Some(kind) = self.phase.measurement() {
            let took_us = self.clock.monotonic_us().saturating_sub(began_us);
            let before = self.measured(kind).unwrap_or(0);
            self.measure(kind, before.saturating_add_unsigned(took_us));
        }
    }

    /// Sets one reading; the last one of a kind counts.
    pub(super) fn measure(&mut self, kind: MeasurementKind, value: i64) {
        self.measurements.retain(|one| one.kind != kind);
        self.measurements.push(Measurement { kind, value });
    }

    /// Sets a reading that is a count or a size.
    pub(super) fn count(&mut self, kind: MeasurementKind, value: u64) {
        self.measure(kind, i64::try_from(value).unwrap_or(i64::MAX));
    }

    pub(super) fn measured(&self, kind: MeasurementKind) -> Option<i64> {
        self.measurements.iter().find(|one| one.kind == kind).map(|one| one.value)
    }

    /// Since the start of the run.
    pub(super) fn elapsed_us(&self) -> u64 {
        self.clock.monotonic_us().saturating_sub(self.began_us)
    }

    /// What it means that the time is up now.
    pub(super) fn timed_out(&self, timeout_ms: u64) -> Finding {
        let detail = |doing: &str| format!("{doing}: no end within {timeout_ms} ms");
        match self.phase {
            Phase::Resolve => fail(FailReason::NameServer, detail("name lookup")),
            Phase::Connect => fail(FailReason::ConnectTimeout, detail("connect")),
            Phase::Tls => fail(FailReason::TlsHandshake, detail("TLS handshake")),
            Phase::FirstByte => fail(FailReason::ResponseTimeout, detail("waiting for the answer")),
            Phase::Transfer => fail(FailReason::ResponseTimeout, detail("reading the answer")),
            Phase::Local => unknown(UnknownReason::Cancelled, detail("work on this host")),
        }
    }

    pub(super) fn finish(self) -> (u64, Vec<Measurement>) {
        (self.elapsed_us(), self.measurements)
    }
}

/// Fails a run that was right but slower than the spec allows.
pub(super) fn judge_latency(took_us: u64, latency_ms_max: Option<u64>) -> Result<(), Finding> {
    match latency_ms_max {
        Some(max_ms) if took_us > max_ms.saturating_mul(1_000) => {
            let took_ms = took_us.div_ceil(1_000);
            let detail = format!("expected at most {max_ms} ms, took {took_ms} ms");
            Err(fail(FailReason::LatencyExceeded, detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_that_come_again_add_up_and_the_open_one_says_what_timed_out() {
        let clock = Clock::manual(1_000);
        let mut trace = Trace::new(clock.clone());
        for (phase, ms) in [(Phase::Connect, 5), (Phase::FirstByte, 7), (Phase::Connect, 2)] {
            trace.enter(phase);
            clock.advance_ms(ms);
        }
        trace.leave();
        assert_eq!(trace.measured(MeasurementKind::ConnectUs), Some(7_000));
        assert_eq!(trace.measured(MeasurementKind::FirstByteUs), Some(7_000));
        let expect = Outcome::Fail(FailReason::ConnectTimeout);
        assert_eq!(trace.timed_out(14).outcome, expect);
        assert_eq!(trace.finish().0, 14_000);
    }

    #[test]
    fn latency_is_judged_to_the_microsecond() {
        assert_eq!(judge_latency(5_000, Some(5)), Ok(()));
        assert_eq!(judge_latency(5_000, None), Ok(()));
        let slow = judge_latency(5_001, Some(5)).expect_err("slower");
        assert_eq!(slow.detail, "expected at most 5 ms, took 6 ms");
    }
}
