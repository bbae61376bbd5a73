//! From the state to a view of it. Runs on the apply thread; copies, so that readers wait for
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_evidence::{AgentName, Outcome};
use proofmark_slo::SeriesView;
use proofmark_spec::Check;

use super::StateView;
use super::model::{AgentView, CheckView, FailureView, ObjectiveView, SpecView};
use crate::state::{Agent, Failure, State};

/// What readers see of `state`.
pub fn build(state: &State) -> StateView {
    let series: Vec<SeriesView> = state.ledger().series().collect();
    let (agents, silent) = (state.agents().iter(), silent_checks(&series));
    StateView {
        applied_index: state.applied(),
        now_ms: state.stamped_at_ms(),
        log_size: state.leaf_count(),
        published_size: state.published_size(),
        spec: spec(state),
        agents: agents.map(|(name, agent)| agent_view(name, agent, &silent)).collect(),
        checks: checks(state, &series),
        objectives: objectives(state),
        failures: state.failures().iter().map(failure).collect(),
    }
}

fn objectives(state: &State) -> Vec<ObjectiveView> {
    let of = |report| ObjectiveView::of(report, state.leaf_count());
    state.ledger().report().iter().map(of).collect()
}

fn spec(state: &State) -> SpecView {
    let newest = state.specs().newest();
    newest.map_or_else(SpecView::default, |(revision, text)| SpecView {
        revision,
        effective_at_ms: text.effective_at_ms,
    })
}

fn agent_view(name: &AgentName, agent: &Agent, silent: &BTreeMap<&AgentName, u64>) -> AgentView {
    AgentView {
        name: name.to_string(),
        key_id: agent.key.key_id().to_string(),
        epoch: agent.epoch,
        enrolled_at_ms: agent.enrolled_at_ms,
        next_seq: agent.next_seq,
        accepted_at_ms: agent.accepted_at_ms,
        retired: agent.is_retired,
        silent_checks: silent.get(name).copied().unwrap_or(0),
    }
}

/// How many checks of each agent are silent; agents without one are absent.
fn silent_checks(series: &[SeriesView]) -> BTreeMap<&AgentName, u64> {
    let mut counts = BTreeMap::new();
    for one in series.iter().filter(|one| one.silent_since_ms.is_some()) {
        *counts.entry(&one.agent).or_default() += 1;
    }
    counts
}

/// By agent, then check: as the series come.
fn checks(state: &State, series: &[SeriesView]) -> Vec<CheckView> {
    let checks = state.specs().in_force().checks.iter();
    let known = |check: &Check| (check.probe.kind(), Arc::from(check.probe.target()));
    let by_name: BTreeMap<&str, (&'static str, Arc<str>)> =
        checks.map(|check| (check.name.as_str(), known(check))).collect();
    let unknown = ("", Arc::from(""));
    let of = |one: &SeriesView| by_name.get(one.check.as_str()).unwrap_or(&unknown);
    series.iter().map(|one| check_view(one, of(one))).collect()
}

fn check_view(one: &SeriesView, (kind, target): &(&'static str, Arc<str>)) -> CheckView {
    let last = one.last.as_ref();
    CheckView {
        check: one.check.clone(),
        agent: one.agent.clone(),
        kind,
        target: Arc::clone(target),
        interval_ms: one.interval_ms,
        outcome: last.map(|run| run.outcome.slug()),
        state: last.map_or("none", |run| family(&run.outcome)),
        scheduled_at_ms: last.map(|run| run.scheduled_at_ms),
        silent_since_ms: one.silent_since_ms,
    }
}

fn failure(failure: &Failure) -> FailureView {
    FailureView {
        id: failure.id.to_string(),
        check: failure.check.to_string(),
        agent: failure.id.agent.to_string(),
        target: failure.target.clone(),
        scheduled_at_ms: failure.scheduled_at_ms,
        outcome: failure.reason.slug().to_owned(),
        state: "fail",
        detail: failure.detail.clone(),
    }
}

/// The family of an outcome: `pass`, `fail` or `unknown`.
pub fn family(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail(_) => "fail",
        Outcome::Unknown(_) => "unknown",
    }
}
