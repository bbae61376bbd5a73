//! How fresh an answer must be, and how fresh it is: `?consistency=linearizable|stale`, and the
//! headers that each answer of `/api/v1` carries.
//!
//! A linearizable answer holds everything that anybody was told before the question came, and is
//! refused when no majority can vouch for it. A stale one is what this replica has, at once, with
//! its age. This room does not know how a majority is asked: the node hands it in ([`Freshness`]).

use std::pin::Pin;

use axum::Json;
use axum::extract::{FromRequestParts, RawQuery};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::Problem;
use crate::views::Views;

/// What the node knows of how fresh this replica is.
pub trait Freshness: Send + Sync {
    /// Waits until views, evidence and index here hold all that was acknowledged, by any replica,
    /// before this was called.
    ///
    /// # Errors
    /// Nobody could vouch for that in time. What is here may be stale.
    fn caught_up(&self) -> Pin<Box<dyn Future<Output = Result<(), NotFresh>> + Send + '_>>;

    /// How long ago, in milliseconds, what has applied `applied` was all there was; `None`: never
    /// since this replica started.
    fn age_ms(&self, applied: u64) -> Option<u64>;
}

/// Why nothing fresher than stale can be had here now. The caller may ask again, or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFresh {
    pub slug: &'static str,
    pub message: String,
    pub retry_after_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    Linearizable,
    Stale,
}

impl Consistency {
    const ALL: [Consistency; 2] = [Consistency::Linearizable, Consistency::Stale];

    pub fn word(self) -> &'static str {
        match self {
            Consistency::Linearizable => "linearizable",
            Consistency::Stale => "stale",
        }
    }

    /// What the query asks for; `default` when it does not say.
    fn of(query: &str, default: Consistency) -> Result<Consistency, Problem> {
        let mut asked = query.split('&').filter_map(|pair| pair.strip_prefix("consistency="));
        let (first, second) = (asked.next(), asked.next());
        let Some(word) = first else { return Ok(default) };
        let found = Consistency::ALL.into_iter().find(|one| one.word() == word);
        found.filter(|_| second.is_none()).ok_or_else(|| {
            let message = format!("expected consistency=linearizable or =stale once, got {query}");
            Problem::bad_request("bad_consistency", message)
        })
    }
}

/// One read that is as fresh as was asked for: the views to answer from.
pub struct Read {
    pub views: Views,
    consistency: Consistency,
    age_ms: Option<u64>,
}

impl Read {
    /// The answer, and how fresh it is.
    pub fn tell<T>(self, body: T) -> Told<T> {
        Told { freshness: self.headers(), body }
    }

    /// As [`Read::tell`]; "no such thing" has its freshness too.
    pub fn tell_found<T>(self, found: Result<T, Problem>) -> Result<Told<T>, Problem> {
        let freshness = self.headers();
        match found {
            Ok(body) => Ok(Told { freshness, body }),
            Err(problem) => Err(problem.with_headers(freshness)),
        }
    }

    fn headers(&self) -> HeaderMap {
        let (state, age) = (&self.views.state, self.age_ms.map(|age_ms| age_ms.to_string()));
        let said = [
            (CONSISTENCY, Some(self.consistency.word().to_owned())),
            (APPLIED_INDEX, Some(state.applied_index.to_string())),
            (LOG_SIZE, Some(state.log_size.to_string())),
            (AS_OF_MS, Some(state.now_ms.to_string())),
            (AGE_MS, age),
        ];
        let written = said.into_iter().filter_map(|(name, value)| {
            let value = HeaderValue::from_str(&value?).ok()?;
            Some((HeaderName::from_static(name), value))
        });
        written.collect()
    }
}

/// `linearizable` or `stale`.
pub const CONSISTENCY: &str = "proofmark-consistency";
/// The newest entry of the Raft log in the answer.
pub const APPLIED_INDEX: &str = "proofmark-applied-index";
/// Leaves of the log that the answer knows of.
pub const LOG_SIZE: &str = "proofmark-log-size";
/// The leader's stamp of that entry, Unix milliseconds.
pub const AS_OF_MS: &str = "proofmark-as-of-ms";
/// Everything older than so many milliseconds is in the answer. Absent: nobody knows.
pub const AGE_MS: &str = "proofmark-age-ms";

impl FromRequestParts<Api> for Read {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Read, Problem> {
        read(parts, api, Consistency::Linearizable).await
    }
}

/// As [`Read`], of what a replica says of itself: stale unless asked otherwise, for it is wanted
/// most when there is no majority.
pub struct OwnRead(pub Read);

impl FromRequestParts<Api> for OwnRead {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<OwnRead, Problem> {
        read(parts, api, Consistency::Stale).await.map(OwnRead)
    }
}

async fn read(parts: &mut Parts, api: &Api, default: Consistency) -> Result<Read, Problem> {
    let Ok(RawQuery(query)) = RawQuery::from_request_parts(parts, api).await;
    let consistency = Consistency::of(&query.unwrap_or_default(), default)?;
    let age_ms = match consistency {
        Consistency::Linearizable => {
            api.freshness.caught_up().await.map_err(Problem::not_fresh)?;
            Some(0)
        }
        Consistency::Stale => api.freshness.age_ms(api.views.now().state.applied_index),
    };
    // Taken after the age was: what came in between only makes it younger.
    Ok(Read { views: api.views.now(), consistency, age_ms })
}

/// An answer in JSON that says how fresh it is.
pub struct Told<T> {
    freshness: HeaderMap,
    body: T,
}

impl Told<String> {
    /// The text itself, instead of JSON.
    pub fn into_text(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        (self.freshness, kind, self.body).into_response()
    }
}

impl<T: serde::Serialize> IntoResponse for Told<T> {
    fn into_response(self) -> Response {
        (self.freshness, Json(self.body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_asks_for_one_consistency_or_for_none() {
        let check = |query: &str, expect: Result<Consistency, &str>| {
            let got = Consistency::of(query, Consistency::Linearizable);
            assert_eq!(got.map_err(|problem| problem.slug()), expect, "{query}");
        };
        check("", Ok(Consistency::Linearizable));
        check("consistency=stale", Ok(Consistency::Stale));
        check("x=1&consistency=linearizable", Ok(Consistency::Linearizable));
        check("stale", Ok(Consistency::Linearizable));
        check("consistency=", Err("bad_consistency"));
        check("consistency=eventual", Err("bad_consistency"));
        check("consistency=STALE", Err("bad_consistency"));
        check("consistency=stale&consistency=linearizable", Err("bad_consistency"));
    }
}
