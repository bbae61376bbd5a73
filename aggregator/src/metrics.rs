//! This program's own metrics, in the OpenMetrics text that Prometheus asks for.
//!
//! Counters are kept here and counted where things happen; gauges are read from the views when
//! somebody scrapes. Names follow Prometheus: base units, `_total` for counters.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::views::model::{IntervalView, ObjectiveView};
use crate::views::{Views, ViewsReader};

/// Why something was refused: the same slug as in the reply and the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SlugLabel {
    pub slug: String,
}

/// The registry and the counters that other rooms count with.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub batches_accepted: Counter,
    pub batches_duplicate: Counter,
    pub results_accepted: Counter,
    pub admission_refused: Family<SlugLabel, Counter>,
}

impl Metrics {
    /// Registers everything once. `views` answers the gauges at each scrape.
    pub fn new(views: ViewsReader) -> Arc<Self> {
        let mut registry = Registry::with_prefix("proofmark");
        let batches_accepted = Counter::default();
        let batches_duplicate = Counter::default();
        let results_accepted = Counter::default();
        let admission_refused = Family::default();
        let accepted = "Batches acknowledged after commit, first time";
        registry.register("batches_accepted", accepted, batches_accepted.clone());
        let duplicate = "Batches that were in the log already and were acknowledged again";
        registry.register("batches_duplicate", duplicate, batches_duplicate.clone());
        let results = "Results in the accepted batches";
        registry.register("results_accepted", results, results_accepted.clone());
        let refused = "Batches refused or sent back, by reason";
        registry.register("admission_refused", refused, admission_refused.clone());
        registry.register_collector(Box::new(FromViews { views }));
        Arc::new(Self {
            registry,
            batches_accepted,
            batches_duplicate,
            results_accepted,
            admission_refused,
        })
    }

    /// Counts one refusal under its slug.
    pub fn refused(&self, slug: &str) {
        self.admission_refused.get_or_create(&SlugLabel { slug: slug.to_owned() }).inc();
    }

    /// The text of one scrape.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String fails only when a Display does; what was written is still served.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

/// Gauges made from the newest views, so that they cannot disagree with the page.
#[derive(Debug)]
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
        let views = self.views.borrow().clone();
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
    let silent: u64 = views.agents.iter().map(|agent| agent.silent_checks).sum();
    let gauges: [(&str, &str, u64); 7] = [
        ("serving", "1 while this replica serves and signs", u64::from(views.health.status == "serving")),
        ("leader", "1 on the replica that leads", u64::from(views.health.role == "leader")),
        ("raft_term", "Raft term", views.health.term),
        ("raft_applied_index", "Newest applied entry", views.health.applied_index),
        ("log_leaves", "Leaves in the log", views.health.log_size),
        ("log_leaves_published", "Leaves under a published checkpoint", views.health.published_size),
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
    for objective in &views.objectives {
        let Some(interval) = of(objective) else { continue };
        let ends = [("worst", Some(interval.worst_ppb)), ("point", interval.point_ppb),
            ("best", Some(interval.best_ppb))];
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
    for objective in &views.objectives {
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
    for objective in &views.objectives {
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
