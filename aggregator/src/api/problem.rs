//! How the API says no: a status, a stable slug, a sentence with expected and got.

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use serde::de::DeserializeOwned;

use super::reads::NotFresh;
use crate::views::model::ProblemView;

pub struct Problem {
    status: StatusCode,
    view: ProblemView,
    /// Few answers have any.
    headers: Box<HeaderMap>,
}

impl Problem {
    pub fn not_found(slug: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, slug, message)
    }

    pub fn bad_request(slug: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, slug, message)
    }

    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// Not the caller's fault. The message is for the operator, who finds the slug in the log.
    pub fn internal(slug: &'static str, why: impl std::fmt::Display) -> Self {
        tracing::error!(slug, %why, "a request could not be answered");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, slug, why.to_string())
    }

    /// Nobody vouches for a fresh answer now.
    pub fn not_fresh(why: NotFresh) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, why.slug, why.message);
        let retry_after = [(header::RETRY_AFTER, why.retry_after_s.into())];
        problem.with_headers(retry_after.into_iter().collect())
    }

    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers: Box::new(headers), ..self }
    }

    #[cfg(test)]
    pub fn slug(&self) -> &'static str {
        self.view.slug
    }

    fn new(status: StatusCode, slug: &'static str, message: impl Into<String>) -> Self {
        let view = ProblemView { slug, message: message.into() };
        Self { status, view, headers: Box::default() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, *self.headers, Json(self.view)).into_response()
    }
}

/// The variable parts of a path; what cannot be read is refused in this shape too.
pub struct PathParts<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParts<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = parts.uri.path().to_owned();
        let read = Path::<T>::from_request_parts(parts, state).await;
        let unreadable = |why: axum::extract::rejection::PathRejection| {
            let message =
                format!("expected a path of /openapi.json, got {path}: {}", why.body_text());
            Problem::bad_request("bad_path", message)
        };
        read.map(|Path(read)| PathParts(read)).map_err(unreadable)
    }
}
