//! How the API says no: a status, a stable slug, a sentence with expected and got.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::views::model::ProblemView;

pub struct Problem {
    status: StatusCode,
    view: ProblemView,
}

impl Problem {
    pub fn not_found(slug: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, slug, message)
    }

    pub fn bad_request(slug: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, slug, message)
    }

    /// Not the caller's fault. The message is for the operator, who finds the slug in the log.
    pub fn internal(slug: &'static str, why: impl std::fmt::Display) -> Self {
        tracing::error!(slug, %why, "a request could not be answered");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, slug, why.to_string())
    }

    fn new(status: StatusCode, slug: &'static str, message: impl Into<String>) -> Self {
        Self { status, view: ProblemView { slug, message: message.into() } }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self.view)).into_response()
    }
}
