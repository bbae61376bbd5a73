//! The views as JSON, one handler a view.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::problem::{PathParts, Problem};
use crate::views::members::MemberView;
use crate::views::model::{
    AgentView, CheckView, CheckpointView, FailureView, HealthView, ObjectiveView, ProblemView,
    SpecView,
};

/// This replica, as it sees itself.
#[utoipa::path(get, path = "/api/v1/health", responses((status = 200, body = HealthView)))]
pub async fn health(State(api): State<Api>) -> Json<HealthView> {
    Json(api.views.now().health)
}

/// Every enrolled agent, by name.
#[utoipa::path(get, path = "/api/v1/agents", responses((status = 200, body = Vec<AgentView>)))]
pub async fn agents(State(api): State<Api>) -> Json<Vec<AgentView>> {
    Json(api.views.now().state.agents.clone())
}

/// Every check on every agent, with its newest outcome.
#[utoipa::path(get, path = "/api/v1/checks", responses((status = 200, body = Vec<CheckView>)))]
pub async fn checks(State(api): State<Api>) -> Json<Vec<CheckView>> {
    Json(api.views.now().state.checks.clone())
}

/// Every objective: SLI, budget and burn as intervals.
#[utoipa::path(get, path = "/api/v1/slos", responses((status = 200, body = Vec<ObjectiveView>)))]
pub async fn slos(State(api): State<Api>) -> Json<Vec<ObjectiveView>> {
    Json(api.views.now().state.objectives.clone())
}

/// One objective by name.
#[utoipa::path(
    get,
    path = "/api/v1/slos/{name}",
    params(("name" = String, Path, description = "the SLO's metadata.name")),
    responses((status = 200, body = ObjectiveView), (status = 404, body = ProblemView))
)]
pub async fn slo(
    State(api): State<Api>,
    PathParts(name): PathParts<String>,
) -> Result<Json<ObjectiveView>, Problem> {
    let state = api.views.now().state;
    let found = state.objectives.iter().find(|objective| objective.name == name);
    let missing =
        || Problem::not_found("no_such_slo", format!("expected an applied SLO, got {name}"));
    found.cloned().map(Json).ok_or_else(missing)
}

/// The latest results that did not pass, newest first.
#[utoipa::path(get, path = "/api/v1/failures", responses((status = 200, body = Vec<FailureView>)))]
pub async fn failures(State(api): State<Api>) -> Json<Vec<FailureView>> {
    Json(api.views.now().state.failures.clone())
}

/// Which specs are in force.
#[utoipa::path(get, path = "/api/v1/spec", responses((status = 200, body = SpecView)))]
pub async fn spec(State(api): State<Api>) -> Json<SpecView> {
    Json(api.views.now().state.spec.clone())
}

/// The newest published checkpoint and who cosigned it.
#[utoipa::path(
    get,
    path = "/api/v1/checkpoint",
    responses((status = 200, body = CheckpointView), (status = 404, body = ProblemView))
)]
pub async fn checkpoint(State(api): State<Api>) -> Result<Json<CheckpointView>, Problem> {
    let checkpoint = api.views.now().checkpoint;
    let missing = || Problem::not_found("nothing_published", "expected a checkpoint, got none yet");
    checkpoint.map(Json).ok_or_else(missing)
}

/// Every replica there ever was: its part, who leads, and how far each is as the leader knows it.
#[utoipa::path(get, path = "/api/v1/members", responses((status = 200, body = Vec<MemberView>)))]
pub async fn members(State(api): State<Api>) -> Json<Vec<MemberView>> {
    Json(api.views.now().members)
}
