//! Many agents' identities, made as any agent makes its own: a token, keys, an enrolment.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proofmark_agent::Clock as AgentClock;
use proofmark_agent::identity::{Identity, IdentityConfig};
use proofmark_aggregator::identity::OperatorIdentity;
use proofmark_evidence::AgentName;
use proofmark_proto::operator_client::OperatorClient;
use proofmark_proto::{CreateTokenRequest, JoinToken};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

use crate::installation::Installation;

/// Enrolments under way at once.
const AT_ONCE: usize = 16;
const TOKEN_TTL_S: u32 = 600;
/// How often, and how long after each other, a token is asked for while nobody leads.
const TRIES: u32 = 50;
const RETRY: Duration = Duration::from_millis(200);

/// Where agents keep their keys: in memory if the machine offers it, for flushing thousands of
/// small files is not what is measured.
fn folder() -> Result<TempDir, String> {
    let shared = Path::new("/dev/shm");
    let made = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    made.map_err(|why| why.to_string())
}

/// Enrols `load-0`, `load-1` and so on at all replicas in turn; in the order of their numbers. A
/// cluster keeps a thousand tokens for a day, and one that was asked for again while nobody led may
/// be there twice: then the last few agents find none left, and the fleet goes without them.
pub(super) async fn enrol(
    cluster: &Installation,
    addresses: &[String],
    count: usize,
) -> Result<Vec<Identity>, String> {
    let dir = folder()?;
    let operator = operator(cluster).await?;
    let mut identities = Vec::with_capacity(count);
    let mut under_way = JoinSet::new();
    for at in 0..count {
        if under_way.len() >= AT_ONCE {
            identities.extend(next(&mut under_way).await?);
        }
        let (operator, dir) = (operator.clone(), dir.path().to_owned());
        let mut own = addresses.to_vec();
        own.rotate_left(at % addresses.len().max(1));
        under_way.spawn(async move {
            let one = Box::pin(enrol_one(operator, &dir, &own, at)).await;
            one.map(|identity| (at, identity))
        });
    }
    while !under_way.is_empty() {
        identities.extend(next(&mut under_way).await?);
    }
    if identities.len() * 20 < count * 19 {
        return Err(format!("expected {count} agents to enrol, got {}", identities.len()));
    }
    identities.sort_by_key(|(at, _)| *at);
    Ok(identities.into_iter().map(|(_, identity)| identity).collect())
}

type Enrolled = Result<(usize, Identity), String>;

/// `None`: there was no token left for it.
async fn next(under_way: &mut JoinSet<Enrolled>) -> Result<Option<(usize, Identity)>, String> {
    let ended = under_way.join_next().await.ok_or("nothing was under way")?;
    match ended.map_err(|why| why.to_string())? {
        Ok(enrolled) => Ok(Some(enrolled)),
        Err(why) if why.contains("tokens_full") => Ok(None),
        Err(why) => Err(why),
    }
}

async fn operator(cluster: &Installation) -> Result<OperatorClient<Channel>, String> {
    let leader = &cluster.replicas[cluster.leader()];
    let keys = OperatorIdentity::load(&cluster.replicas[0].data.join("identity"));
    let tls = keys.and_then(|keys| keys.client_config()).map_err(|fault| fault.to_string())?;
    let channel = proofmark_agent::connect(&leader.grpc.to_string(), Arc::clone(&tls)).await;
    channel.map(OperatorClient::new).map_err(|fault| fault.to_string())
}

async fn enrol_one(
    mut operator: OperatorClient<Channel>,
    dir: &Path,
    addresses: &[String],
    at: usize,
) -> Result<Identity, String> {
    let name = format!("load-{at}");
    let token = token(&mut operator, &name).await?;
    let config = IdentityConfig {
        data_dir: &dir.join(&name),
        agent: &AgentName::parse(&name).map_err(|fault| fault.to_string())?,
        aggregators: addresses,
        token: Some(&token),
    };
    let identity = Identity::load_or_enrol(&config, &AgentClock::system()).await;
    identity.map_err(|fault| format!("{name}: {fault}"))
}

/// Asks again while a leader is being elected: on a busy machine that is nobody's fault.
async fn token(operator: &mut OperatorClient<Channel>, name: &str) -> Result<JoinToken, String> {
    let mut tries = 0;
    loop {
        let request = CreateTokenRequest { agent: name.to_owned(), ttl_s: TOKEN_TTL_S };
        match operator.create_token(request).await {
            Ok(reply) => {
                let token = reply.into_inner().token;
                return token.parse().map_err(|fault| format!("{name}: {fault}"));
            }
            Err(status) if status.code() == Code::Unavailable && tries < TRIES => tries += 1,
            Err(status) => return Err(format!("{name}: {status}")),
        }
        tokio::time::sleep(RETRY).await;
    }
}
