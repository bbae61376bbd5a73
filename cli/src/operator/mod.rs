//! `apply`, `token create`, `agent retire`, and the verbs about replicas: an operator's changes,
//! over mutually authenticated gRPC.

mod access;
pub mod join;
pub mod members;

use proofmark_proto::operator_client::OperatorClient;
use proofmark_proto::{ApplyRequest, CreateTokenRequest, RetireAgentRequest, SpecFile};
use tonic::transport::Channel;

use crate::args::{Apply, OperatorAccess};
use crate::exit::{Done, Exit, Failure};
use crate::{files, say};
pub use access::Access;

/// Faults are found here first, so that a wrong file is said without an aggregator too.
pub fn apply(apply: &Apply) -> Done {
    let files = files::read_all(&apply.files)?;
    let sources: Vec<_> = files
        .iter()
        .map(|file| proofmark_spec::Source { file: &file.name, text: &file.text })
        .collect();
    proofmark_spec::parse(&sources)
        .map_err(|faults| Failure::new(Exit::Usage, faults.to_lines().join("\n")))?;
    let access = Access::open(&apply.operator)?;
    let change = access::now(apply_files(&access, files, apply.dry_run))?;
    for line in &change.diff {
        println!("{line}");
    }
    match apply.dry_run {
        true => println!("dry run: nothing was changed"),
        false => println!(
            "revision {} takes effect at {}",
            change.revision,
            say::time(change.effective_at_ms)
        ),
    }
    Ok(Exit::Ok)
}

/// What an apply changed, or would.
pub struct Change {
    pub revision: u64,
    pub effective_at_ms: u64,
    pub diff: Vec<String>,
}

/// Applies files through any aggregator; all of them or none.
pub async fn apply_files(
    access: &Access,
    files: Vec<files::SpecFile>,
    dry_run: bool,
) -> Result<Change, Failure> {
    let files = files.into_iter().map(|file| SpecFile { name: file.name, text: file.text });
    let author = access.author().to_owned();
    let request = ApplyRequest { files: files.collect(), dry_run, author };
    let reply = access.ask(|mut client| {
        let request = request.clone();
        async move { client.apply(request).await }
    });
    let reply = reply.await?;
    match reply.faults.is_empty() {
        true => Ok(Change {
            revision: reply.revision,
            effective_at_ms: reply.effective_at_ms,
            diff: reply.diff,
        }),
        false => Err(Failure::new(Exit::Usage, reply.faults.join("\n"))),
    }
}

/// Prints the token and nothing else: it is meant for a pipe.
pub fn create_token(agent: Option<&str>, ttl: &str, operator: &OperatorAccess) -> Done {
    let ttl_s = ttl_seconds(ttl)?;
    // An empty shell variable must not turn a token for one name into one for any.
    if agent.is_some_and(str::is_empty) {
        return Err(Failure::new(Exit::Usage, "--agent: expected a name, got empty text"));
    }
    let access = Access::open(operator)?;
    println!("{}", access::now(token(&access, agent, ttl_s))?);
    Ok(Exit::Ok)
}

/// A join token, good for one enrolment within `ttl_s` seconds.
pub async fn token(access: &Access, agent: Option<&str>, ttl_s: u32) -> Result<String, Failure> {
    let request = CreateTokenRequest { agent: agent.unwrap_or_default().to_owned(), ttl_s };
    let reply = access.ask(|mut client| {
        let request = request.clone();
        async move { client.create_token(request).await }
    });
    Ok(reply.await?.token)
}

pub fn retire(name: &str, operator: &OperatorAccess) -> Done {
    let request = RetireAgentRequest { agent: name.to_owned() };
    let access = Access::open(operator)?;
    access::now(access.ask(|mut client| {
        let request = request.clone();
        async move { client.retire_agent(request).await }
    }))?;
    println!("agent {name} is retired: nothing more is accepted from its key");
    Ok(Exit::Ok)
}

/// `90s`, `15m`, `24h`, `7d`.
fn ttl_seconds(text: &str) -> Result<u32, Failure> {
    let wrong =
        || Failure::new(Exit::Usage, format!("--ttl: expected like 15m or 24h, got {text}"));
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u32 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(seconds).filter(|total| *total > 0).ok_or_else(wrong)
}

type Client = OperatorClient<Channel>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_has_a_unit() {
        let check = |text: &str, expect: Option<u32>| assert_eq!(ttl_seconds(text).ok(), expect);
        check("90s", Some(90));
        check("15m", Some(900));
        check("24h", Some(86_400));
        check("15", None);
        check("0m", None);
        check("m", None);
        check("", None);
        check("9999999999d", None);
    }
}
