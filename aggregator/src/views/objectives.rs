//! Objectives as views: the ledger's report, field by field.

use proofmark_slo::{Budgeting, Burn, Counts, Interval, SloReport};

use super::model::{BurnView, CauseView, CountsView, IntervalView, ObjectiveView};

impl ObjectiveView {
    /// What the API shows of `report`. An auditor's tool makes the same view of its own
    /// recomputed report, so that served and recomputed numbers compare field by field.
    /// `log_size`: the leaves that the report was made from, the first ones of the log.
    pub fn of(report: &SloReport, log_size: u64) -> Self {
        let causes = report
            .causes
            .iter()
            .map(|(reason, count)| CauseView { reason: reason.slug().to_owned(), count: *count });
        Self {
            name: report.slo.clone(),
            service: report.service.clone(),
            revision: report.revision,
            budgeting: budgeting(&report.budgeting).to_owned(),
            target_ppb: report.target_ppb,
            window_ms: report.window_ms,
            since_ms: report.since_ms,
            as_of_ms: report.as_of_ms,
            log_size,
            good: report.counts.good,
            bad: report.counts.bad,
            unknown: report.counts.unknown,
            unknown_causes: causes.collect(),
            slices: report.slices.as_ref().map(counts),
            sli: report.sli_ppb.map(share),
            budget_remaining: report.budget_remaining_ppb.map(|left| IntervalView {
                worst_ppb: left.worst,
                point_ppb: left.point,
                best_ppb: left.best,
            }),
            burn: report.burn.iter().filter_map(burn).collect(),
        }
    }
}

fn budgeting(budgeting: &Budgeting) -> &'static str {
    match budgeting {
        Budgeting::Occurrences => "Occurrences",
        Budgeting::Timeslices { .. } => "Timeslices",
    }
}

fn counts(counts: &Counts) -> CountsView {
    CountsView { good: counts.good, bad: counts.bad, unknown: counts.unknown }
}

/// A share of at most 10^9: it fits.
fn share(interval: Interval<u64>) -> IntervalView {
    let signed = |ppb: u64| i64::try_from(ppb).unwrap_or(i64::MAX);
    IntervalView {
        worst_ppb: signed(interval.worst),
        point_ppb: interval.point.map(signed),
        best_ppb: signed(interval.best),
    }
}

fn burn(burn: &Burn) -> Option<BurnView> {
    let rate = burn.rate_milli?;
    Some(BurnView {
        window: burn.window.to_owned(),
        worst_milli: rate.worst,
        point_milli: rate.point,
        best_milli: rate.best,
    })
}
