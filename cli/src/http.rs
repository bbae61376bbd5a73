//! The read-only HTTP client of this program: one GET, bounded in time and size.

use crate::exit::{Exit, Failure};
use crate::limits::{HTTP_BODY_BYTES_MAX, HTTP_TIMEOUT};

/// A connection pool over its own small runtime, for callers that are not async.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

/// An answer that is 200.
pub struct Answer {
    pub body: Vec<u8>,
    headers: reqwest::header::HeaderMap,
}

impl Answer {
    /// A header's value, when it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer that is not 200.
#[derive(Debug, thiserror::Error)]
pub enum HttpFault {
    #[error("{url}: no answer: {why}")]
    NoAnswer { url: String, why: String },
    #[error("{url}: expected status 200, got {status}: {body}")]
    Status { url: String, status: u16, body: String },
    #[error("{url}: expected at most {limit} bytes, got more")]
    TooLarge { url: String, limit: usize },
}

impl Client {
    pub fn new() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let client = reqwest::Client::builder().timeout(HTTP_TIMEOUT).build();
        Ok(Self {
            runtime: runtime.map_err(Failure::because(Exit::Unavailable))?,
            client: client.map_err(Failure::because(Exit::Unavailable))?,
        })
    }

    /// The body of `url`.
    pub fn get(&self, url: &str) -> Result<Vec<u8>, HttpFault> {
        self.ask(url).map(|answer| answer.body)
    }

    /// The body of `url`, and what its headers say.
    pub fn ask(&self, url: &str) -> Result<Answer, HttpFault> {
        self.runtime.block_on(self.fetch(url))
    }

    async fn fetch(&self, url: &str) -> Result<Answer, HttpFault> {
        let no_answer = |why: reqwest::Error| HttpFault::NoAnswer {
            url: url.to_owned(),
            why: root_cause(&why),
        };
        let mut answer = self.client.get(url).send().await.map_err(no_answer)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > HTTP_BODY_BYTES_MAX {
                return Err(HttpFault::TooLarge {
                    url: url.to_owned(),
                    limit: HTTP_BODY_BYTES_MAX,
                });
            }
            body.extend_from_slice(&chunk);
        }
        if status == 200 {
            return Ok(Answer { body, headers: std::mem::take(answer.headers_mut()) });
        }
        let body = String::from_utf8_lossy(&body).trim().to_owned();
        Err(HttpFault::Status { url: url.to_owned(), status, body })
    }
}

/// "connection refused" says more than "error sending request".
fn root_cause(why: &dyn std::error::Error) -> String {
    let mut deepest = why;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}
