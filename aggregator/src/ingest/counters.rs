//! What happened at the agent port, by name: the source of its metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use crate::waiting::Waiting;

/// Events by stable name (refusal slugs among them), counted since start. Clones share.
///
/// Names are ours, never a caller's text: the set is bounded.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    counts: Arc<Mutex<BTreeMap<(Event, &'static str), u64>>>,
    /// Batches of all streams between receipt and answer.
    pub batches: Waiting,
    accepted: AcceptedSeconds,
}

/// How long accepted batches took from receipt to their ack.
#[derive(Clone, Debug)]
struct AcceptedSeconds(Histogram);

impl Default for AcceptedSeconds {
    fn default() -> Self {
        let buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0];
        Self(Histogram::new(buckets))
    }
}

/// What a name is about: the label `event` of the metric `proofmark_ingest_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A connection taken or turned away at the door.
    Connection,
    /// A batch answered: "accepted", "duplicate", or the slug of the answer.
    Batch,
    /// An RPC refused before anything was proposed.
    Rpc,
}

impl Event {
    /// The stable name, as shown in metrics.
    pub fn slug(self) -> &'static str {
        match self {
            Event::Connection => "connection",
            Event::Batch => "batch",
            Event::Rpc => "rpc",
        }
    }
}

impl Counters {
    pub fn note(&self, event: Event, name: &'static str) {
        let mut counts = self.counts.lock().expect("nothing panics while it holds this lock");
        *counts.entry((event, name)).or_default() += 1;
    }

    /// A batch was accepted, so long after it was received.
    pub fn note_accepted(&self, after_ms: u64) {
        self.accepted.0.observe(Duration::from_millis(after_ms).as_secs_f64());
    }

    /// The histogram behind [`Counters::note_accepted`].
    pub fn accepted_seconds(&self) -> Histogram {
        self.accepted.0.clone()
    }

    pub fn get(&self, event: Event, name: &'static str) -> u64 {
        let counts = self.counts.lock().expect("nothing panics while it holds this lock");
        counts.get(&(event, name)).copied().unwrap_or_default()
    }

    /// All counts, ordered by event and name.
    pub fn snapshot(&self) -> BTreeMap<(Event, &'static str), u64> {
        self.counts.lock().expect("nothing panics while it holds this lock").clone()
    }
}
