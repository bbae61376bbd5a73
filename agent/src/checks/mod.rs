//! The checks: each looks at one thing once and says what it saw.
//!
//! In: a [`Check`]. Out: an [`Observation`]. A check never decides when to run, never retries (a
//! retry would hide a failure), and never calls "could not tell" a failure. Every kind is the same
//! three steps: *connect* (or open), *exchange* (or read), *judge*. One time limit covers them all;
//! which step it ran out in is the reason.
//!
//! To add a kind: its words in `spec/src/probe`, one file here, one line in [`Checks::probe`];
//! CONTRIBUTING.md, "To add a check kind", lists every file.

mod dns;
mod files;
mod host;
mod http;
mod net;
mod redirect;
mod tcp;
mod tls;
mod tls_client;
mod trace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proofmark_evidence::{Measurement, Outcome};
use proofmark_spec::{Check, Probe};

use crate::clock::Clock;
use tls_client::TrustStore;
use trace::{Finding, Trace};

/// What one run saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub outcome: Outcome,
    /// From the start of the run to its verdict.
    pub duration_us: u64,
    pub measurements: Vec<Measurement>,
    /// Empty for a pass; else one line for a person.
    pub detail: String,
}

/// Runs checks. Cheap to clone; clones share the trust store.
#[derive(Clone)]
pub struct Checks(Arc<Tools>);

/// What checks need besides their spec.
struct Tools {
    clock: Clock,
    trust: TrustStore,
    /// Where `files` checks keep what they found first; none when nothing is to be kept.
    baselines_dir: Option<PathBuf>,
}

impl Checks {
    pub fn new(clock: Clock, baselines_dir: Option<PathBuf>) -> Checks {
        Checks(Arc::new(Tools { clock, trust: TrustStore::default(), baselines_dir }))
    }

    /// Runs a check once, for at most its timeout.
    pub async fn run(&self, check: &Check) -> Observation {
        let mut trace = Trace::new(self.0.clock.clone());
        let limit = Duration::from_millis(check.timeout_ms);
        let ended = tokio::time::timeout(limit, self.probe(check, &mut trace)).await;
        trace.leave();
        let found = ended.unwrap_or_else(|_| Err(trace.timed_out(check.timeout_ms)));
        observation(trace, found)
    }

    // Boxed, so that a run is as large as its own kind and not as the largest.
    async fn probe(&self, check: &Check, trace: &mut Trace) -> Result<(), Finding> {
        let tools = &*self.0;
        match &check.probe {
            Probe::Http(probe) => Box::pin(http::run(probe, tools, trace)).await,
            Probe::Tcp(probe) => Box::pin(tcp::run(probe, trace)).await,
            Probe::Tls(probe) => Box::pin(tls::run(probe, tools, trace)).await,
            Probe::Dns(probe) => Box::pin(dns::run(probe, trace)).await,
            Probe::Files(probe) => Box::pin(files::run(&check.name, probe, tools, trace)).await,
            Probe::Host(probe) => Box::pin(host::run(probe, trace)).await,
        }
    }
}

/// Runs a check once without an agent around it: nothing is kept, so a `files` check against its
/// baseline has nothing to compare with and is unknown.
pub async fn run_check_once(check: &Check) -> Observation {
    Checks::new(Clock::system(), None).run(check).await
}

fn observation(trace: Trace, found: Result<(), Finding>) -> Observation {
    let (duration_us, measurements) = trace.finish();
    let (outcome, detail) = match found {
        Ok(()) => (Outcome::Pass, String::new()),
        Err(finding) => (finding.outcome, finding.detail),
    };
    Observation { outcome, duration_us, measurements, detail }
}
