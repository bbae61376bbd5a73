//! The views as JSON, one handler a view.

use super::problem::{PathParts, Problem};
use super::reads::{OwnRead, Read, Told};
use crate::views::members::MemberView;
use crate::views::model::{
    AgentView, CheckView, CheckpointView, FailureView, HealthView, ObjectiveView, ProblemView,
    SpecView,
};

/// This replica, as it sees itself.
#[utoipa::path(get, path = "/api/v1/health", responses((status = 200, body = HealthView)))]
pub async fn health(OwnRead(read): OwnRead) -> Told<HealthView> {
    let health = read.views.health.clone();
    read.tell(health)
}

/// Every enrolled agent, by name.
#[utoipa::path(get, path = "/api/v1/agents", responses((status = 200, body = Vec<AgentView>)))]
pub async fn agents(read: Read) -> Told<Vec<AgentView>> {
    let shown = read.views.state.agents.clone();
    read.tell(shown)
}

/// Every check on every agent, with its newest outcome.
#[utoipa::path(get, path = "/api/v1/checks", responses((status = 200, body = Vec<CheckView>)))]
pub async fn checks(read: Read) -> Told<Vec<CheckView>> {
    let shown = read.views.state.checks.clone();
    read.tell(shown)
}

/// Every objective: SLI, budget and burn as intervals.
#[utoipa::path(get, path = "/api/v1/slos", responses((status = 200, body = Vec<ObjectiveView>)))]
pub async fn slos(read: Read) -> Told<Vec<ObjectiveView>> {
    let shown = read.views.state.objectives.clone();
    read.tell(shown)
}

/// One objective by name.
#[utoipa::path(
    get,
    path = "/api/v1/slos/{name}",
    params(("name" = String, Path, description = "the SLO's metadata.name")),
    responses((status = 200, body = ObjectiveView), (status = 404, body = ProblemView))
)]
pub async fn slo(
    PathParts(name): PathParts<String>,
    read: Read,
) -> Result<Told<ObjectiveView>, Problem> {
    let mut objectives = read.views.state.objectives.iter();
    let found = objectives.find(|objective| objective.name == name).cloned();
    let missing =
        || Problem::not_found("no_such_slo", format!("expected an applied SLO, got {name}"));
    read.tell_found(found.ok_or_else(missing))
}

/// The latest results that did not pass, newest first.
#[utoipa::path(get, path = "/api/v1/failures", responses((status = 200, body = Vec<FailureView>)))]
pub async fn failures(read: Read) -> Told<Vec<FailureView>> {
    let shown = read.views.state.failures.clone();
    read.tell(shown)
}

/// Which specs are in force.
#[utoipa::path(get, path = "/api/v1/spec", responses((status = 200, body = SpecView)))]
pub async fn spec(read: Read) -> Told<SpecView> {
    let shown = read.views.state.spec.clone();
    read.tell(shown)
}

/// The newest published checkpoint and who cosigned it.
#[utoipa::path(
    get,
    path = "/api/v1/checkpoint",
    responses((status = 200, body = CheckpointView), (status = 404, body = ProblemView))
)]
pub async fn checkpoint(read: Read) -> Result<Told<CheckpointView>, Problem> {
    let checkpoint = read.views.checkpoint.clone();
    let missing = || Problem::not_found("nothing_published", "expected a checkpoint, got none yet");
    read.tell_found(checkpoint.ok_or_else(missing))
}

/// Every replica there ever was: its part, who leads, and how far each is as the leader knows it.
#[utoipa::path(get, path = "/api/v1/members", responses((status = 200, body = Vec<MemberView>)))]
pub async fn members(read: Read) -> Told<Vec<MemberView>> {
    let shown = read.views.members.clone();
    read.tell(shown)
}
