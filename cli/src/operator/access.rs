//! An operator's credential, and the aggregators it may be shown to, tried in turn.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_aggregator::identity::{ADDRESSES_FILE, OPERATOR_FILE, OperatorIdentity};
use tonic::{Code, Response, Status};

use super::Client;
use crate::args::OperatorAccess;
use crate::exit::{Exit, Failure};
use crate::limits::{ASK_ROUND_PAUSE, ASK_ROUNDS_MAX, CALL_TIMEOUT};

/// Folders below `--data` in which a credential may lie: a replica's own, or `up`'s first replica.
const PLACES: &[&str] = &["identity", "aggregator-1/identity"];

pub struct Access {
    identity: OperatorIdentity,
    addresses: Vec<String>,
}

impl Access {
    /// Reads the credential below `--data`, and where to connect.
    pub fn open(access: &OperatorAccess) -> Result<Access, Failure> {
        let folder = folder(&access.data)?;
        let identity = OperatorIdentity::load(&folder)
            .map_err(|why| Failure::new(Exit::Storage, why.to_string()))?;
        let addresses = match access.addresses.is_empty() {
            true => read_addresses(&folder)?,
            false => access.addresses.clone(),
        };
        Ok(Access { identity, addresses })
    }

    /// Who the leaf of a change names.
    pub fn author(&self) -> &str {
        self.identity.name()
    }

    /// Calls the first aggregator that answers; a refusal is an answer. While somebody says "not
    /// now" (an election, a log that is just beginning) all are asked again, for a bounded time.
    pub async fn ask<T, F>(&self, rpc: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut round = 0;
        loop {
            let said = match self.try_each(&rpc).await? {
                Tried::Answered(reply) => return Ok(reply),
                Tried::NotNow(said) if round < ASK_ROUNDS_MAX => said,
                Tried::NotNow(said) | Tried::NoOne(said) => {
                    return Err(Failure::new(Exit::Unavailable, said.join("\n")));
                }
            };
            tracing::debug!(?said, "asking again");
            tokio::time::sleep(ASK_ROUND_PAUSE).await;
            round += 1;
        }
    }

    async fn try_each<T, F>(&self, rpc: &impl Fn(Client) -> F) -> Result<Tried<T>, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let (mut said, mut someone) = (Vec::new(), false);
        for address in &self.addresses {
            match self.try_one(address, rpc).await {
                Ok(reply) => return Ok(Tried::Answered(reply)),
                Err(Refused::Never(failure)) => return Err(failure),
                Err(Refused::NotNow(why)) => {
                    someone = true;
                    said.push(format!("{address}: {why}"));
                }
                Err(Refused::NotThere(why)) => said.push(format!("{address}: {why}")),
            }
        }
        Ok(if someone { Tried::NotNow(said) } else { Tried::NoOne(said) })
    }

    async fn try_one<T, F>(&self, address: &str, rpc: &impl Fn(Client) -> F) -> Result<T, Refused>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let not_there = |why: &dyn std::fmt::Display| Refused::NotThere(why.to_string());
        let tls = self.identity.client_config().map_err(|why| not_there(&why))?;
        let call = async {
            let channel = proofmark_agent::connect(address, Arc::clone(&tls)).await;
            let channel = channel.map_err(|why| not_there(&why))?;
            rpc(Client::new(channel)).await.map_err(|status| refused(address, &status))
        };
        let answer = tokio::time::timeout(CALL_TIMEOUT, call).await;
        let late = || Refused::NotThere(format!("expected an answer within {CALL_TIMEOUT:?}"));
        answer.unwrap_or_else(|_| Err(late())).map(Response::into_inner)
    }
}

/// Waits for a call, for a verb that is not async itself.
pub fn now<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::because(Exit::Unavailable))?.block_on(call)
}

/// What asking every address once came to.
enum Tried<T> {
    Answered(T),
    /// Somebody is there and cannot take the call yet.
    NotNow(Vec<String>),
    NoOne(Vec<String>),
}

/// Why one address did not do it.
pub(super) enum Refused {
    NotThere(String),
    NotNow(String),
    Never(Failure),
}

pub(super) fn refused(address: &str, status: &Status) -> Refused {
    let exit = match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Aborted => {
            return Refused::NotNow(status.message().to_owned());
        }
        Code::InvalidArgument => Exit::Usage,
        _ => Exit::Refused,
    };
    Refused::Never(Failure::new(exit, format!("{address}: {}", status.message())))
}

fn folder(data: &Path) -> Result<PathBuf, Failure> {
    let places = PLACES.iter().map(|place| data.join(place));
    let found = places.into_iter().find(|place| place.join(OPERATOR_FILE).exists());
    found.ok_or_else(|| {
        let message = format!(
            "{}: expected a data directory with an operator's credential (made by `up` or by the \
             first replica's `init`), got none",
            data.display()
        );
        Failure::new(Exit::Storage, message)
    })
}

/// One host:port a line, written by `init` beside the credential.
fn read_addresses(folder: &Path) -> Result<Vec<String>, Failure> {
    let path = folder.join(ADDRESSES_FILE);
    let text = std::fs::read_to_string(&path)
        .map_err(|why| Failure::new(Exit::Storage, format!("{}: {why}", path.display())))?;
    Ok(text.lines().map(str::to_owned).collect())
}
