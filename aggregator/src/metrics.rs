//! This program's own metrics, in the OpenMetrics text that Prometheus asks for.
//!
//! Counters are kept here and counted where things happen; gauges are read from the views when
//! somebody scrapes. Names follow Prometheus: base units, `_total` for counters.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::consensus::log_store::LogStore;
use crate::meters::{CatchUpMeter, SnapshotMeter};
use crate::views::model::{IntervalView, ObjectiveView};
use crate::views::{Views, ViewsReader};
use crate::waiting::Waiting;
use crate::{consensus, ingest};

/// The registry. Everything in it is read when somebody scrapes.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// `views` answer the gauges; the counters are those of the rooms that count; the Raft log
    /// knows how large it has grown.
    pub fn new(
        views: ViewsReader,
        ingest: ingest::Counters,
        raft: Arc<consensus::Counters>,
        raft_log: LogStore,
        beside: Beside,
    ) -> Self {
        let mut registry = Registry::with_prefix("proofmark");
        let help = "From a batch's receipt to its ack, of those accepted here";
        registry.register("ingest_accepted_seconds", help, ingest.accepted_seconds());
        let queues = FromQueues::of(&ingest, &raft, &beside);
        registry.register_collector(Box::new(queues));
        registry.register_collector(Box::new(FromViews { views }));
        registry.register_collector(Box::new(FromRooms { ingest, raft, raft_log }));
        let Beside { snapshots, catch_up, .. } = beside;
        registry.register_collector(Box::new(FromMeters { snapshots, catch_up }));
        Self { registry }
    }

    /// The text of one scrape.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String fails only when a Display does; what was written is still served.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

/// What rooms count that have no counters of their own.
pub struct Beside {
    pub recorder: Waiting,
    /// Messages for other replicas.
    pub outgoing: Waiting,
    /// HTTP connections.
    pub http: Waiting,
    pub snapshots: Arc<SnapshotMeter>,
    pub catch_up: Arc<CatchUpMeter>,
}

/// How full each bounded queue is: OPERATING.md, "Queues".
#[derive(Debug)]
struct FromQueues {
    queues: Vec<(&'static str, Waiting)>,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct QueueLabel {
    queue: String,
}

impl FromQueues {
    fn of(ingest: &ingest::Counters, raft: &consensus::Counters, beside: &Beside) -> Self {
        let waits = &raft.waiting;
        let queues = vec![
            ("batches", ingest.batches.clone()),
            ("proposals", waits.proposals.clone()),
            ("peer_messages", waits.peer_messages.clone()),
            ("raft_log", waits.raft_log.clone()),
            ("apply", waits.apply.clone()),
            ("recorder", beside.recorder.clone()),
            ("peer_outgoing", beside.outgoing.clone()),
            ("http", beside.http.clone()),
        ];
        Self { queues }
    }
}

impl Collector for FromQueues {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let label = |queue: &str| QueueLabel { queue: queue.to_owned() };
        let help = "Entries that wait in a bounded queue";
        let mut family = encoder.encode_descriptor("queue_depth", help, None, MetricType::Gauge)?;
        for (queue, waiting) in &self.queues {
            let depth = waiting.depth() as u64;
            ConstGauge::new(depth).encode(family.encode_family(&label(queue))?)?;
        }
        let help = "How long the oldest of them has waited";
        let name = "queue_oldest_age_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (queue, waiting) in &self.queues {
            let age_s = waiting.age_ms() as f64 / 1e3;
            ConstGauge::new(age_s).encode(family.encode_family(&label(queue))?)?;
        }
        Ok(())
    }
}

/// Counters of ingest and consensus, as they stand.
struct FromRooms {
    ingest: ingest::Counters,
    raft: Arc<consensus::Counters>,
    raft_log: LogStore,
}

/// An event of ingest, and why: the same slug as in the reply and the log.
#[derive(Clone, Debug, EncodeLabelSet)]
struct IngestLabel {
    event: String,
    slug: String,
}

// A collector must be printable; what it reads is shared with rooms that own sockets and threads.
impl fmt::Debug for FromRooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromRooms")
    }
}

impl fmt::Debug for FromViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromViews")
    }
}

impl Collector for FromRooms {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "What happened at the agent port, by event and reason";
        let mut family = encoder.encode_descriptor("ingest", help, None, MetricType::Counter)?;
        for ((event, slug), count) in self.ingest.snapshot() {
            let label = IngestLabel { event: event.slug().to_owned(), slug: slug.to_owned() };
            ConstCounter::new(count).encode(family.encode_family(&label)?)?;
        }
        let raft = &self.raft;
        let counters = [
            ("raft_entries_proposed", "Entries proposed as leader", &raft.entries_proposed),
            ("raft_commands_proposed", "Commands in them", &raft.commands_proposed),
            ("raft_proposals_busy", "Proposals told to come back later", &raft.proposals_busy),
            ("raft_log_writes", "Write tasks of the Raft log", &raft.log_writes),
            ("raft_log_flushes", "Flushes that made them durable", &raft.log_flushes),
            ("raft_messages_dropped", "Messages without room in a queue", &raft.messages_dropped),
            ("raft_messages_refused", "Implausible messages from peers", &raft.messages_refused),
        ];
        for (name, help, counter) in counters {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(counter.load(Ordering::Relaxed)).encode(metric)?;
        }
        let help = "Size of the Raft log's files; snapshots let go of old ones";
        let metric = encoder.encode_descriptor("raft_log_bytes", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.raft_log.bytes()).encode(metric)
    }
}

/// Snapshots and catching up.
#[derive(Debug)]
struct FromMeters {
    snapshots: Arc<SnapshotMeter>,
    catch_up: Arc<CatchUpMeter>,
}

impl Collector for FromMeters {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let seconds = |ms: u64| ms as f64 / 1e3;
        let made = self.snapshots.newest();
        let values = made.map_or([None; 4], |made| {
            let times = [made.took_ms, made.stalled_ms, made.age_ms].map(seconds);
            [made.bytes as f64, times[0], times[1], times[2]].map(Some)
        });
        let names = [
            ("snapshot_bytes", "Bytes of the newest snapshot made here"),
            ("snapshot_seconds", "From its order until it was durable"),
            ("snapshot_stall_seconds", "What of that no entry was applied for"),
            ("snapshot_age_seconds", "Since then"),
        ];
        for ((name, help), value) in names.into_iter().zip(values) {
            let Some(value) = value else { continue };
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        let catch_up = &self.catch_up;
        let gauges = [
            (
                "catch_up_active",
                "1 while a snapshot of another replica, or its leaves, are fetched",
                u64::from(catch_up.is_active.load(Ordering::Relaxed)),
            ),
            (
                "catch_up_leaves_missing",
                "Leaves of it that are still to come",
                catch_up.leaves_missing.load(Ordering::Relaxed),
            ),
        ];
        for (name, help, value) in gauges {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        let counters = [
            ("snapshots_made", "Snapshots made here", made.map_or(0, |made| made.count)),
            (
                "catch_up_fetched_bytes",
                "What peers sent to catch up with",
                catch_up.fetched_bytes.load(Ordering::Relaxed),
            ),
            (
                "catch_up_gave_up",
                "Snapshots of other replicas that could not be had",
                catch_up.gave_up.load(Ordering::Relaxed),
            ),
        ];
        for (name, help, value) in counters {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        Ok(())
    }
}

/// Gauges made from the newest views, so that they cannot disagree with the page.
struct FromViews {
    views: ViewsReader,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct SloLabel {
    slo: String,
    bound: String,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct SloWindowLabel {
    slo: String,
    window: String,
    bound: String,
}

impl Collector for FromViews {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let views = self.views.now();
        replica(&mut encoder, &views)?;
        ratios(&mut encoder, "slo_sli_ratio", "Service level indicator", &views, |slo| slo.sli)?;
        let help = "Error budget left as a share of the whole";
        ratios(&mut encoder, "slo_error_budget_remaining_ratio", help, &views, |slo| {
            slo.budget_remaining
        })?;
        runs(&mut encoder, &views)?;
        burn(&mut encoder, &views)
    }
}

fn replica(encoder: &mut DescriptorEncoder, views: &Views) -> fmt::Result {
    let silent: u64 = views.state.agents.iter().map(|agent| agent.silent_checks).sum();
    let gauges: [(&str, &str, u64); 9] = [
        (
            "serving",
            "1 while this replica serves and signs",
            u64::from(views.health.status == "serving"),
        ),
        (
            "evidence_damaged",
            "1 since a damaged file was found in this replica's evidence",
            u64::from(views.health.damage.is_some()),
        ),
        (
            "evidence_scrubbed_leaves",
            "Leaves found whole by the newest scrub",
            views.health.scrubbed_size,
        ),
        ("leader", "1 on the replica that leads", u64::from(views.health.role == "leader")),
        ("raft_term", "Raft term", views.health.term),
        ("raft_applied_index", "Newest applied entry", views.health.applied_index),
        ("log_leaves", "Leaves in the log", views.health.log_size),
        (
            "log_leaves_published",
            "Leaves under a published checkpoint",
            views.health.published_size,
        ),
        ("checks_silent", "Checks that should have been heard and were not", silent),
    ];
    for (name, help, value) in gauges {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)?;
    }
    Ok(())
}

fn ratios(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    views: &Views,
    of: impl Fn(&ObjectiveView) -> Option<IntervalView>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for objective in &views.state.objectives {
        let Some(interval) = of(objective) else { continue };
        let ends = [
            ("worst", Some(interval.worst_ppb)),
            ("point", interval.point_ppb),
            ("best", Some(interval.best_ppb)),
        ];
        for (bound, ppb) in ends {
            let Some(ppb) = ppb else { continue };
            let label = SloLabel { slo: objective.name.clone(), bound: bound.into() };
            ConstGauge::new(ppb as f64 / 1e9).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}

fn runs(encoder: &mut DescriptorEncoder, views: &Views) -> fmt::Result {
    let help = "Runs or slices in the objective's window, by what is known of them";
    let mut family = encoder.encode_descriptor("slo_window_runs", help, None, MetricType::Gauge)?;
    for objective in &views.state.objectives {
        let counts =
            [("good", objective.good), ("bad", objective.bad), ("unknown", objective.unknown)];
        for (bound, count) in counts {
            let label = SloLabel { slo: objective.name.clone(), bound: bound.into() };
            ConstGauge::new(count).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}

fn burn(encoder: &mut DescriptorEncoder, views: &Views) -> fmt::Result {
    let help = "Error budget burn rate";
    let mut family = encoder.encode_descriptor("slo_burn_rate", help, None, MetricType::Gauge)?;
    for objective in &views.state.objectives {
        for burn in &objective.burn {
            for (bound, milli) in [("worst", burn.worst_milli), ("best", burn.best_milli)] {
                let label = SloWindowLabel {
                    slo: objective.name.clone(),
                    window: burn.window.clone(),
                    bound: bound.into(),
                };
                ConstGauge::new(milli as f64 / 1e3).encode(family.encode_family(&label)?)?;
            }
        }
    }
    Ok(())
}
