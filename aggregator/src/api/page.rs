//! The one page: views in, HTML out. Rendered on the server; no script.

use askama::Template;

use super::words;
use crate::limits::PAGE_FAILURES_MAX;
use crate::views::Views;
use crate::views::members::MemberView;
use crate::views::model::{CheckView, CheckpointView, FailureView, HealthView, ObjectiveView};

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    origin: &'a str,
    evidence: &'a str,
    as_of: String,
    health: &'a HealthView,
    objectives: Vec<ObjectiveRow>,
    checks: Vec<CheckRow>,
    failures: Vec<FailureRow>,
    members: Vec<MemberRow>,
    checkpoint: Option<CheckpointRow>,
}

struct MemberRow {
    id: u64,
    name: String,
    part: String,
    leads: bool,
    lag: String,
    peers: String,
}

struct ObjectiveRow {
    title: String,
    service: String,
    budgeting: String,
    window: String,
    target: String,
    state: &'static str,
    sli: String,
    sli_range: String,
    budget: String,
    budget_range: String,
    bar_worst_percent: u64,
    bar_best_percent: u64,
    good: u64,
    bad: u64,
    unknown: u64,
    causes: String,
    burn: Vec<BurnChip>,
}

struct BurnChip {
    window: String,
    rate: String,
}

struct CheckRow {
    agent: String,
    check: String,
    kind: String,
    interval: String,
    target: String,
    outcome: String,
    state: &'static str,
    silent: String,
    when: String,
}

struct FailureRow {
    id: String,
    check: String,
    outcome: String,
    state: &'static str,
    detail: String,
    when: String,
}

struct CheckpointRow {
    size: u64,
    root: String,
    cosigners: Vec<CosignerRow>,
    note: String,
}

struct CosignerRow {
    name: String,
    when: String,
}

/// The page over one snapshot of the views.
pub fn render(views: &Views) -> Result<String, askama::Error> {
    let state = &views.state;
    let page = Page {
        origin: &views.origin,
        evidence: &views.evidence,
        as_of: words::time(state.now_ms),
        health: &views.health,
        objectives: state.objectives.iter().map(ObjectiveRow::new).collect(),
        checks: state.checks.iter().map(CheckRow::new).collect(),
        failures: state.failures.iter().take(PAGE_FAILURES_MAX).map(FailureRow::new).collect(),
        members: views.members.iter().filter(|one| !one.is_gone()).map(MemberRow::new).collect(),
        checkpoint: views.checkpoint.as_ref().map(CheckpointRow::new),
    };
    page.render()
}

impl ObjectiveRow {
    fn new(view: &ObjectiveView) -> Self {
        let budget = view.budget_remaining;
        Self {
            title: view.name.clone(),
            service: view.service.clone(),
            budgeting: view.budgeting.clone(),
            window: words::duration(view.window_ms),
            target: words::percent(i64::try_from(view.target_ppb).unwrap_or(i64::MAX)),
            state: state_of(view),
            sli: view.sli.map_or_else(|| "no data".into(), |sli| words::point(&sli)),
            sli_range: view.sli.map_or_else(String::new, |sli| words::range(&sli)),
            budget: budget.map_or_else(|| "no data".into(), |left| words::point(&left)),
            budget_range: budget.map_or_else(String::new, |left| words::range(&left)),
            bar_worst_percent: budget.map_or(0, |left| words::bar_percent(left.worst_ppb)),
            bar_best_percent: budget.map_or(0, |left| words::bar_percent(left.best_ppb)),
            good: view.good,
            bad: view.bad,
            unknown: view.unknown,
            causes: words::causes(&view.unknown_causes),
            burn: view.burn.iter().map(BurnChip::new).collect(),
        }
    }
}

/// Judged by the worst end: missing evidence is never shown as good.
fn state_of(view: &ObjectiveView) -> &'static str {
    match view.budget_remaining {
        None => "none",
        Some(left) if left.worst_ppb >= 0 => "pass",
        Some(left) if left.best_ppb >= 0 => "unknown",
        Some(_) => "fail",
    }
}

impl BurnChip {
    fn new(view: &crate::views::model::BurnView) -> Self {
        let rate = match view.point_milli {
            Some(point) if view.worst_milli == view.best_milli => words::milli(point),
            _ => format!("{}–{}", words::milli(view.best_milli), words::milli(view.worst_milli)),
        };
        Self { window: view.window.clone(), rate }
    }
}

impl CheckRow {
    fn new(view: &CheckView) -> Self {
        let silent =
            view.silent_since_ms.map(|since| format!("silent since {}", words::time(since)));
        Self {
            agent: view.agent.to_string(),
            check: view.check.to_string(),
            kind: view.kind.to_owned(),
            interval: words::duration(view.interval_ms),
            target: view.target.to_string(),
            outcome: view.outcome.unwrap_or("not heard yet").to_owned(),
            state: if silent.is_some() { "unknown" } else { view.state },
            silent: silent.unwrap_or_default(),
            when: view.scheduled_at_ms.map_or_else(String::new, words::time),
        }
    }
}

impl FailureRow {
    fn new(view: &FailureView) -> Self {
        Self {
            id: view.id.clone(),
            check: view.check.clone(),
            outcome: view.outcome.clone(),
            state: view.state,
            detail: view.detail.clone(),
            when: words::time(view.scheduled_at_ms),
        }
    }
}

impl MemberRow {
    fn new(view: &MemberView) -> Self {
        Self {
            id: view.id,
            name: view.name.clone(),
            part: match &view.replaces {
                Some(old) => format!("{} for {old}", view.part),
                None => view.part.to_owned(),
            },
            leads: view.leads,
            lag: view.lag_entries.map_or_else(|| "not known here".into(), |lag| lag.to_string()),
            peers: view.peers.clone(),
        }
    }
}

impl CheckpointRow {
    fn new(view: &CheckpointView) -> Self {
        let cosigners = view.cosigners.iter().map(|cosigner| CosignerRow {
            name: cosigner.name.clone(),
            when: words::time(cosigner.cosigned_at_s.saturating_mul(1000)),
        });
        Self {
            size: view.size,
            root: view.root.clone(),
            cosigners: cosigners.collect(),
            note: view.note.clone(),
        }
    }
}
