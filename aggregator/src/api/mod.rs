//! The HTTP door: JSON, the page, metrics, and the log's own files. Read only.
//!
//! In: `GET` requests. Out: views, results and proofs read from the evidence. This room knows
//! views and the evidence directory and nothing else: never the state, never consensus.
//!
//! Routes: `/` page · `/healthz` · `/api/v1/...` JSON, described by `/openapi.json` · `/metrics`
//! · `/log/...` the C2SP files, so that `proofmark evidence verify http://host/log` works.

mod described;
mod door;
mod json;
mod log_files;
mod page;
mod problem;
mod reads;
mod results;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;

use crate::metrics::Metrics;
use crate::tables::ResultIndex;
use crate::views::ViewsReader;
use described::ReadsDescribed;
pub use door::serve;
use problem::Problem;
pub use reads::{Consistency, Freshness, NotFresh};

/// What the handlers share. All of it is read only.
#[derive(Clone)]
pub struct Api {
    pub views: ViewsReader,
    pub evidence_dir: Arc<PathBuf>,
    pub index: ResultIndex,
    pub metrics: Arc<Metrics>,
    pub freshness: Arc<dyn Freshness>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Proofmark",
        description = "What an aggregator knows. Read only; every number here can be recomputed \
                       from the log's files under /log. Any replica answers; how fresh the answer \
                       must be is the caller's choice, and how fresh it is stands in its headers."
    ),
    modifiers(&ReadsDescribed),
    paths(
        json::health,
        json::agents,
        json::checks,
        json::slos,
        json::slo,
        json::failures,
        json::spec,
        json::checkpoint,
        json::members,
        results::result,
        results::proof,
    )
)]
struct Document;

/// The HTTP API and page over `api`.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .route("/api/v1/health", get(json::health))
        .route("/api/v1/agents", get(json::agents))
        .route("/api/v1/checks", get(json::checks))
        .route("/api/v1/slos", get(json::slos))
        .route("/api/v1/slos/{name}", get(json::slo))
        .route("/api/v1/failures", get(json::failures))
        .route("/api/v1/spec", get(json::spec))
        .route("/api/v1/checkpoint", get(json::checkpoint))
        .route("/api/v1/members", get(json::members))
        .route("/api/v1/results/{agent}/{epoch}/{seq}", get(results::result))
        .route("/api/v1/results/{agent}/{epoch}/{seq}/proof", get(results::proof))
        .route("/log/{*path}", get(log_files::file))
        .fallback(no_such_page)
        .method_not_allowed_fallback(read_only)
        .with_state(api)
}

/// The OpenAPI document as served, for the golden test and for clients' generators.
pub fn openapi_json() -> String {
    Document::openapi().to_pretty_json().expect("the derived document is plain data")
}

async fn page(State(api): State<Api>) -> Response {
    let views = api.views.now();
    match page::render(&views) {
        Ok(html) => Html(html).into_response(),
        Err(why) => Problem::internal("page_render", why).into_response(),
    }
}

/// For load balancers: 200 while this replica serves, 503 when it has stopped itself.
async fn healthz(State(api): State<Api>) -> (StatusCode, String) {
    let health = api.views.now().health;
    match (health.status, health.damage) {
        ("serving", _) => (StatusCode::OK, "ok\n".to_owned()),
        ("damaged", Some(damage)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("damaged: {damage}\n"))
        }
        (status, _) => (StatusCode::SERVICE_UNAVAILABLE, format!("{status}\n")),
    }
}

async fn metrics(State(api): State<Api>) -> Response {
    let text = api.metrics.render();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}

async fn no_such_page(uri: Uri) -> Problem {
    let message = format!("expected a path of /openapi.json, got {}", uri.path());
    Problem::not_found("no_such_page", message)
}

async fn read_only(method: Method) -> Problem {
    Problem::method_not_allowed(format!("expected GET: this API is read only, got {method}"))
}
