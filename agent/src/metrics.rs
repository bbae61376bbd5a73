//! What the agent counts about itself, as Prometheus text.
//!
//! A closed list: every metric is a line of [`Counter::ALL`] or [`Gauge::ALL`], so the page costs
//! the same for one check and for ten thousand. Per-check numbers are results, not metrics.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proofmark_evidence::Outcome;

/// Declares an enum of metrics with their names and helps.
macro_rules! metrics_list {
    ($(#[$doc:meta])* $list:ident { $($metric:ident $name:literal $help:literal)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $list { $($metric),* }

        impl $list {
            const ALL: &'static [($list, &'static str, &'static str)] =
                &[$(($list::$metric, concat!("proofmark_agent_", $name), $help)),*];
        }
    };
}

metrics_list! {
    /// Numbers that only grow.
    Counter {
        InstantsMissed "instants_missed_total" "Scheduled instants that were not run."
        ResultsUnspooled "results_unspooled_total" "Results that had no room and were only counted."
        BatchesSealed "batches_sealed_total" "Batches signed."
        ResultsSealed "results_sealed_total" "Results in signed batches."
        SpoolFailures "spool_write_failures_total" "Spool writes that failed and were tried again."
        SpoolLosses "spool_losses_total" "Times sealed results were lost."
        UplinkConnects "uplink_connects_total" "Streams opened to an aggregator."
        UplinkDisconnects "uplink_disconnects_total" "Streams lost."
        UplinkRefusals "uplink_refusals_total" "Batches an aggregator refused."
        SpecsRefused "specs_refused_total" "Spec sets that could not be read and were not used."
    }
}

metrics_list! {
    /// Numbers that go up and down.
    Gauge {
        Checks "checks" "Checks in force."
        ChecksRunning "checks_running" "Checks running now."
        SpecRevision "spec_revision" "Newest spec revision known."
        SpoolBytes "spool_bytes" "Bytes in the spool."
        SequenceNext "sequence_next" "Sequence number of the next result to be sealed."
        SequenceAcknowledged "sequence_acknowledged" "First sequence number not acknowledged yet."
        UplinkConnected "uplink_connected" "1 while a stream to an aggregator is open."
    }
}

/// Cheap to clone; clones share the numbers.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    counters: Vec<AtomicU64>,
    gauges: Vec<AtomicU64>,
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    /// By (class, slug), both from closed lists.
    results: BTreeMap<(&'static str, &'static str), u64>,
    start_lag_us: u64,
    started: u64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Metrics(Arc::new(Numbers {
            counters: zeros(Counter::ALL.len()),
            gauges: zeros(Gauge::ALL.len()),
            runs: Mutex::default(),
        }))
    }

    pub fn add(&self, counter: Counter, amount: u64) {
        self.0.counters[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    pub fn set(&self, gauge: Gauge, value: u64) {
        self.0.gauges[gauge as usize].store(value, Ordering::Relaxed);
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.0.counters[counter as usize].load(Ordering::Relaxed)
    }

    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.0.gauges[gauge as usize].load(Ordering::Relaxed)
    }

    pub fn count_result(&self, outcome: &Outcome) {
        let mut runs = self.0.runs.lock().expect("no holder of this lock can panic");
        *runs.results.entry((outcome.class(), outcome.slug())).or_default() += 1;
    }

    pub fn count_start(&self, lag_us: u64) {
        let mut runs = self.0.runs.lock().expect("no holder of this lock can panic");
        runs.start_lag_us += lag_us;
        runs.started += 1;
    }

    /// The text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        let mut page = String::new();
        for (counter, name, help) in Counter::ALL {
            line(&mut page, name, help, "counter", self.counter(*counter));
        }
        for (gauge, name, help) in Gauge::ALL {
            line(&mut page, name, help, "gauge", self.gauge(*gauge));
        }
        self.render_runs(&mut page);
        page
    }

    fn render_runs(&self, page: &mut String) {
        let runs = self.0.runs.lock().expect("no holder of this lock can panic");
        let name = "proofmark_agent_results_total";
        head(page, name, "Results by outcome.", "counter");
        for ((class, slug), count) in &runs.results {
            write_line(
                page,
                format_args!("{name}{{outcome=\"{class}\",reason=\"{slug}\"}} {count}"),
            );
        }
        let name = "proofmark_agent_start_lag_seconds";
        head(page, name, "From the scheduled instant to the start of the run.", "summary");
        let (whole, micros) = (runs.start_lag_us / 1_000_000, runs.start_lag_us % 1_000_000);
        write_line(page, format_args!("{name}_sum {whole}.{micros:06}"));
        write_line(page, format_args!("{name}_count {}", runs.started));
    }
}

fn line(page: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    head(page, name, help, kind);
    write_line(page, format_args!("{name} {value}"));
}

fn head(page: &mut String, name: &str, help: &str, kind: &str) {
    write_line(page, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn write_line(page: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(page, "{line}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use proofmark_evidence::FailReason;

    use super::*;

    #[test]
    fn the_page_shows_every_metric_with_help_and_type() {
        let metrics = Metrics::new();
        metrics.add(Counter::ResultsSealed, 3);
        metrics.add(Counter::ResultsSealed, 4);
        metrics.set(Gauge::SpecRevision, 9);
        metrics.count_result(&Outcome::Pass);
        metrics.count_result(&Outcome::Fail(FailReason::HttpStatus));
        metrics.count_start(1_500_000);
        let page = metrics.render();
        for line in [
            "# TYPE proofmark_agent_results_sealed_total counter",
            "proofmark_agent_results_sealed_total 7",
            "proofmark_agent_spec_revision 9",
            "proofmark_agent_results_total{outcome=\"pass\",reason=\"pass\"} 1",
            "proofmark_agent_results_total{outcome=\"fail\",reason=\"http_status\"} 1",
            "proofmark_agent_start_lag_seconds_sum 1.500000",
            "proofmark_agent_start_lag_seconds_count 1",
        ] {
            assert!(page.lines().any(|got| got == line), "{line} is not in\n{page}");
        }
        let helps = page.lines().filter(|line| line.starts_with("# HELP")).count();
        assert_eq!(helps, Counter::ALL.len() + Gauge::ALL.len() + 2);
    }
}
