//! What happened at the agent port, by name: the source of its metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Events by stable name (refusal slugs among them), counted since start. Clones share.
///
/// Names are ours, never a caller's text: the set is bounded.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    counts: Arc<Mutex<BTreeMap<(Event, &'static str), u64>>>,
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

    pub fn get(&self, event: Event, name: &'static str) -> u64 {
        let counts = self.counts.lock().expect("nothing panics while it holds this lock");
        counts.get(&(event, name)).copied().unwrap_or_default()
    }

    /// All counts, ordered by event and name.
    pub fn snapshot(&self) -> BTreeMap<(Event, &'static str), u64> {
        self.counts.lock().expect("nothing panics while it holds this lock").clone()
    }
}
