//! An operator's credential, and the aggregators it may be shown to, tried in turn.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_aggregator::identity::{ADDRESSES_FILE, OperatorIdentity};
use tonic::{Code, Response, Status};

use super::{CALL_TIMEOUT, Client};
use crate::args::OperatorAccess;
use crate::exit::{Exit, Failure};

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

    /// Calls the first aggregator that answers. A refusal is an answer; a replica that cannot take
    /// the call now is not.
    pub fn call<T, F>(&self, rpc: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(Failure::because(Exit::Unavailable))?.block_on(self.ask(rpc))
    }

    /// The same, for a caller that is async already.
    pub async fn ask<T, F>(&self, rpc: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut said = Vec::new();
        for address in &self.addresses {
            match self.try_one(address, &rpc).await {
                Ok(reply) => return Ok(reply),
                Err(failure) if failure.exit == Exit::Unavailable => said.push(failure.message),
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::new(Exit::Unavailable, said.join("\n")))
    }

    async fn try_one<T, F>(&self, address: &str, rpc: &impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let unavailable =
            |why: String| Failure::new(Exit::Unavailable, format!("{address}: {why}"));
        let tls = self.identity.client_config().map_err(|why| unavailable(why.to_string()))?;
        let call = async {
            let channel = proofmark_agent::connect(address, Arc::clone(&tls)).await;
            let channel = channel.map_err(|why| unavailable(why.to_string()))?;
            rpc(Client::new(channel)).await.map_err(|status| failure(address, &status))
        };
        let answer = tokio::time::timeout(CALL_TIMEOUT, call).await;
        let late = || unavailable(format!("expected an answer within {CALL_TIMEOUT:?}, got none"));
        answer.unwrap_or_else(|_| Err(late())).map(Response::into_inner)
    }
}

fn failure(address: &str, status: &Status) -> Failure {
    let exit = match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Aborted => {
            Exit::Unavailable
        }
        Code::InvalidArgument => Exit::Usage,
        _ => Exit::Refused,
    };
    Failure::new(exit, format!("{address}: {}", status.message()))
}

fn folder(data: &Path) -> Result<PathBuf, Failure> {
    let places = PLACES.iter().map(|place| data.join(place));
    let found = places.into_iter().find(|place| place.join(ADDRESSES_FILE).exists());
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
