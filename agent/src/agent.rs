//! One agent's life: find the data directory, the identity, the spool and the specs; start the
//! uplink; then one loop until told to stop, and a drain.

pub mod core;
mod event_loop;
mod hands;
mod outbox;
mod stopped;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofmark_evidence::{Header, MeasurementKind, OpenBatch, SealedBatch};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin;
use crate::checks::Checks;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::fsck::Finding;
use crate::identity::{
    Identity, IdentityConfig, IdentityFault, JoinToken, TokenFault, other_key, watch_certificate,
};
use crate::metrics::Metrics;
use crate::schedule::Planned;
use crate::specs::SpecSet;
use crate::spool::{Damage, FileOps, Keeper, RealFiles, Spool, SpoolFault, sync_names};
use crate::uplink::{self, UplinkConfig, system_random};
use event_loop::{EventLoop, Parts};
use outbox::{Lost, Outbox};
use stopped::Stopped;

/// Why an agent could not start, or had to stop. Sorted by who must act.
#[derive(Debug, thiserror::Error)]
pub enum AgentFault {
    // The agent's owner.
    #[error("{}: expected no other agent on this data directory, got one", path.display())]
    InUse { path: PathBuf },
    #[error("{}: {error}", path.display())]
    DataDir { path: PathBuf, error: std::io::Error },
    #[error("join token in {source_name}: {fault}")]
    Token { source_name: String, fault: TokenFault },
    #[error("admin port {address}: {error}")]
    Admin { address: std::net::SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Identity(#[from] IdentityFault),
    // The host's operator.
    #[error(transparent)]
    Spool(#[from] SpoolFault),
    #[error(
        "when the time to stop was up: expected every result on disk, got {results} not sealed, \
         {batches} sealed batches not written, {instants} instants without room"
    )]
    NotDrained { results: u64, batches: u64, instants: u64 },
    // Us.
    #[error("a part of the agent ended by itself: {part}")]
    PartEnded { part: &'static str },
    #[error("epoch: expected {expected} as enrolled, got {got} from the aggregator")]
    Epoch { expected: u64, got: u64 },
}

impl AgentFault {
    pub fn slug(&self) -> &str {
        match self {
            AgentFault::InUse { .. } => "data_dir_in_use",
            AgentFault::DataDir { .. } => "data_dir",
            AgentFault::Token { .. } => "join_token",
            AgentFault::Admin { .. } => "admin_port",
            AgentFault::Identity(fault) => fault.slug(),
            AgentFault::Spool(fault) => fault.slug(),
            AgentFault::NotDrained { .. } => "not_drained",
            AgentFault::PartEnded { .. } => "part_ended",
            AgentFault::Epoch { .. } => "wrong_epoch",
        }
    }
}

/// Runs an agent until `shutdown` turns true, then drains: running checks finish, results are
/// written, and the aggregator gets a moment to acknowledge them. `ready` is called once, when the
/// agent has its identity and measures.
pub async fn run(
    config: Config,
    clock: Clock,
    shutdown: watch::Receiver<bool>,
    ready: impl FnOnce(),
) -> Result<(), AgentFault> {
    let _lock = claim(&config.data_dir)?;
    let identity = Arc::new(identity(&config, &clock).await?);
    let metrics = Metrics::new();
    let mut tasks = JoinSet::new();
    if let Some(address) = config.admin {
        let bound = admin::bind(address).await;
        let listener = bound.map_err(|error| AgentFault::Admin { address, error })?;
        tasks.spawn(admin::serve(listener, metrics.clone()));
    }
    let specs = SpecSet::load(&config.data_dir);
    let uplink_config = UplinkConfig {
        addresses: config.aggregators.clone(),
        spec_revision: specs.as_ref().map_or(0, |specs| specs.revision),
        clock: clock.clone(),
        random: system_random(),
    };
    let (spool, damage) = open_spool(&config)?;
    check_key(&config.data_dir, &identity, &spool)?;
    let uplink = uplink::start(uplink_config, identity.clone(), &mut tasks);
    tasks.spawn(watch_certificate(identity.clone(), clock.clone()));
    let baselines_dir = config.data_dir.join("baselines");
    let checks = Checks::new(clock.clone(), Some(baselines_dir));
    let stopped = Stopped::take(&config.data_dir)?;
    let agent = EventLoop::new(Parts {
        config,
        clock,
        log_id: identity.log_id(),
        agent: identity.agent.clone(),
        epoch: identity.epoch,
        key: identity.signing_key.clone(),
        checks,
        metrics,
        spool: Start::new(spool, damage)?,
        stopped,
        specs,
        uplink,
        shutdown,
    });
    ready();
    agent.run().await
}

/// The spool's thread and what was found on disk when it started.
pub(crate) struct Start {
    keeper: Keeper,
    reports: tokio::sync::mpsc::Receiver<crate::spool::Report>,
    found: Found,
}

impl Start {
    fn new(spool: Spool<RealFiles>, damage: Option<Damage>) -> Result<Start, SpoolFault> {
        let found = Found::in_spool(&spool, damage.as_ref())?;
        let (keeper, reports) = Keeper::start(spool);
        Ok(Start { keeper, reports, found })
    }
}

/// What the spool held when it was opened.
#[derive(Clone, Debug)]
pub struct Found {
    newest: Option<SealedBatch>,
    damaged: bool,
    bytes: u64,
}

impl Found {
    /// # Errors
    /// The newest batch cannot be read.
    pub fn in_spool<F: FileOps>(
        spool: &Spool<F>,
        damage: Option<&Damage>,
    ) -> Result<Found, SpoolFault> {
        if let Some(damage) = damage {
            tracing::error!(files = ?damage.files, "the spool was damaged; files set aside");
        }
        let (newest, bytes) = (spool.newest()?, spool.bytes());
        Ok(Found { newest, damaged: damage.is_some(), bytes })
    }

    fn outbox(&self, epoch: u64, measured_until_ms: Option<u64>, now_ms: u64) -> Outbox {
        let since_ms = measured_until_ms.map(|until_ms| until_ms + 1);
        let lost = self.damaged.then_some(Lost { since_ms, until_ms: now_ms });
        Outbox::new(epoch, self.newest.as_ref(), since_ms.unwrap_or(0), lost)
    }

    /// The last scheduled instant that the newest batch on disk speaks of.
    fn measured_until_ms(&self, planned: &[Arc<Planned>]) -> Option<u64> {
        let open = self.newest.as_ref()?.open().ok()?;
        open.results.iter().map(|result| spoken_until_ms(&open, result, planned)).max()
    }
}

/// A result that stands for several instants speaks of all of them.
fn spoken_until_ms(
    open: &OpenBatch,
    result: &proofmark_evidence::CheckResult,
    planned: &[Arc<Planned>],
) -> u64 {
    let check = &open.check(result).check;
    let interval_ms =
        planned.iter().find(|one| one.name == *check).map_or(0, |one| one.check.interval_ms);
    let besides = result.measured(MeasurementKind::RunsMissedCount).unwrap_or(0);
    let besides_ms = u64::try_from(besides).unwrap_or(0).saturating_mul(interval_ms);
    open.scheduled_at_ms(result).saturating_add(besides_ms)
}

/// With another key than the one that signed the spool nobody would take what comes next.
fn check_key(
    data_dir: &Path,
    identity: &Identity,
    spool: &Spool<RealFiles>,
) -> Result<(), AgentFault> {
    let Some(newest) = spool.newest()? else { return Ok(()) };
    let Ok(Header::Batch(header)) = newest.leaf.header() else { return Ok(()) };
    let own = identity.signing_key.public().key_id();
    match header.epoch == identity.epoch && header.key_id != own {
        true => Err(other_key(data_dir, header.key_id, own).into()),
        false => Ok(()),
    }
}

/// The mark of a stop, judged and left where it is.
pub(crate) fn inspect_mark(data_dir: &Path) -> Option<Finding> {
    Stopped::inspect(data_dir)
}

/// Two agents on one directory would fork the chain, so the second does not start.
fn claim(data_dir: &Path) -> Result<File, AgentFault> {
    let fault = |error| AgentFault::DataDir { path: data_dir.to_path_buf(), error };
    let spool = data_dir.join("spool");
    std::fs::create_dir_all(&spool).and_then(|()| sync_names(&spool)).map_err(fault)?;
    // A crash before this leaves a directory that a power cut may take, with nothing in it yet.
    let lock = File::create(data_dir.join("lock")).map_err(fault)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(AgentFault::InUse { path: data_dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(fault(error)),
    }
}

fn open_spool(config: &Config) -> Result<(Spool<RealFiles>, Option<Damage>), SpoolFault> {
    Spool::open(RealFiles, &config.data_dir.join("spool"), config.spool_bytes_max)
}

/// The token is looked at only while there is no identity: a spent one may lie about for ever.
async fn identity(config: &Config, clock: &Clock) -> Result<Identity, AgentFault> {
    let token = config.join_token.as_ref().map(read_token).transpose();
    let wanted = IdentityConfig {
        data_dir: &config.data_dir,
        agent: &config.name,
        aggregators: &config.aggregators,
        token: token.as_ref().ok().and_then(Option::as_ref),
    };
    match (Identity::load_or_enrol(&wanted, clock).await, token) {
        (Err(IdentityFault::Missing { .. }), Err(fault)) => Err(fault),
        (found, _) => Ok(found?),
    }
}

fn read_token(token: &config::JoinToken) -> Result<JoinToken, AgentFault> {
    let (source_name, text) = match token {
        config::JoinToken::Text(text) => ("the config".to_string(), text.clone()),
        config::JoinToken::File(path) => {
            let read = std::fs::read_to_string(path);
            let fault = |error| AgentFault::DataDir { path: path.clone(), error };
            (path.display().to_string(), read.map_err(fault)?)
        }
    };
    text.parse().map_err(|fault| AgentFault::Token { source_name, fault })
}
