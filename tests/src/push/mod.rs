//! Load that remembers: agents without checks, in this process, that sign batches, send them through
//! the agent's own uplink, and keep what they were told.
//!
//! What a pusher was told is the strictest witness there is: an aggregator that asks again for what
//! it acknowledged has lost it, and says so the moment it happens.

mod series;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proofmark_agent::Clock;
use proofmark_agent::identity::{Identity, IdentityConfig};
use proofmark_agent::uplink::{self, RefusedAction, UplinkConfig, UplinkEvent, UplinkHandle};
use proofmark_evidence::{AgentName, SealedBatch};
use proofmark_proto::JoinToken;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::installation::Installation;
use series::Series;

/// Batches of one agent that wait for their acks.
const IN_FLIGHT: usize = 8;
/// How long the last acks may take once everything runs again.
const LAST_ACKS: Duration = Duration::from_secs(60);

/// How much is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub agents: usize,
    /// Of one batch; each is about 280 bytes.
    pub results: u16,
    /// Of each agent; fewer when acks do not keep up.
    pub batches_per_s: u32,
}

/// Pushers at work. Dropping them ends them.
pub struct Pushers {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    agents: JoinSet<Result<(), String>>,
    told: Vec<Arc<Told>>,
}

/// What one agent was told so far.
pub struct Told {
    pub agent: String,
    /// Every result below it is acknowledged.
    seq_end: AtomicU64,
    batches: AtomicU64,
}

impl Told {
    pub fn seq_end(&self) -> u64 {
        self.seq_end.load(Ordering::SeqCst)
    }
}

impl Pushers {
    /// Enrols the agents and lets them push until they are stopped.
    ///
    /// # Errors
    /// One could not enrol.
    pub fn start(cluster: &Installation, load: Load) -> Result<Pushers, String> {
        Pushers::start_as(cluster, "push", load)
    }

    /// As [`Self::start`], the agents' names beginning with `prefix`.
    ///
    /// # Errors
    /// One could not enrol.
    pub fn start_as(cluster: &Installation, prefix: &str, load: Load) -> Result<Pushers, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("push")
            .enable_all()
            .build()
            .map_err(|why| why.to_string())?;
        let (stop, stopped) = watch::channel(false);
        let mut pushers = Pushers { runtime, stop, agents: JoinSet::new(), told: Vec::new() };
        for at in 0..load.agents {
            let name = format!("{prefix}-{at}");
            let identity = pushers.runtime.block_on(enrol(cluster, &name))?;
            let told = Told { agent: name, seq_end: AtomicU64::new(1), batches: AtomicU64::new(0) };
            let told = Arc::new(told);
            pushers.told.push(Arc::clone(&told));
            let pusher = Pusher {
                series: Series::new(&identity, load.results)?,
                identity: Arc::new(identity),
                pause: Duration::from_secs(1) / load.batches_per_s,
                told,
                pending: VecDeque::new(),
                handed: None,
            };
            let push = pusher.run(stopped.clone());
            pushers.agents.spawn_on(push, pushers.runtime.handle());
        }
        Ok(pushers)
    }

    /// What each agent was told.
    pub fn told(&self) -> &[Arc<Told>] {
        &self.told
    }

    /// Batches acknowledged so far.
    pub fn batches(&self) -> u64 {
        self.told.iter().map(|told| told.batches.load(Ordering::SeqCst)).sum()
    }

    /// # Errors
    /// An agent was told something that cannot be: the cluster lost or forged something.
    pub fn check(&mut self) -> Result<(), String> {
        match self.agents.try_join_next() {
            None => Ok(()),
            Some(ended) => Err(ended.map_err(|why| why.to_string())?.err().unwrap_or_default()),
        }
    }

    /// Pushes no more and waits for every ack.
    ///
    /// # Errors
    /// As [`Self::check`], or the acks did not come.
    pub fn stop(mut self) -> Result<Vec<Arc<Told>>, String> {
        self.stop.send_replace(true);
        let told = std::mem::take(&mut self.told);
        self.runtime.block_on(async {
            let all = async {
                while let Some(ended) = self.agents.join_next().await {
                    ended.map_err(|why| why.to_string())??;
                }
                Ok(())
            };
            let ended = tokio::time::timeout(LAST_ACKS, all).await;
            ended.unwrap_or_else(|_| Err("pushers: the last acks did not come".to_owned()))
        })?;
        Ok(told)
    }
}

async fn enrol(cluster: &Installation, name: &str) -> Result<Identity, String> {
    let token: JoinToken = cluster.token(name).parse().map_err(|fault| format!("{fault}"))?;
    let addresses: Vec<String> =
        cluster.replicas.iter().map(|replica| replica.grpc.to_string()).collect();
    let config = IdentityConfig {
        data_dir: &cluster.dir().join(name),
        agent: &AgentName::parse(name).map_err(|fault| fault.to_string())?,
        aggregators: &addresses,
        token: Some(&token),
    };
    let identity = Identity::load_or_enrol(&config, &Clock::system()).await;
    identity.map_err(|fault| format!("{name}: {fault}"))
}

/// One agent: what it signed and was not acknowledged, in memory.
struct Pusher {
    identity: Arc<Identity>,
    series: Series,
    pause: Duration,
    told: Arc<Told>,
    /// Oldest first, each with its exclusive end.
    pending: VecDeque<(SealedBatch, u64)>,
    /// How many of them, from the front, the uplink has on this connection; none without one.
    handed: Option<usize>,
}

impl Pusher {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) -> Result<(), String> {
        let mut tasks = JoinSet::new();
        let UplinkHandle { batches, mut events } = self.connect(&mut tasks);
        let mut due = tokio::time::interval(self.pause);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_stopping = false;
        while !(is_stopping && self.pending.is_empty()) {
            let has_room = self.pending.len() < IN_FLIGHT && !is_stopping;
            let has_next = self.handed.is_some_and(|handed| handed < self.pending.len());
            tokio::select! {
                event = events.recv() => self.take(event.ok_or("the uplink ended")?)?,
                place = batches.reserve(), if has_next => {
                    self.hand_over(place.map_err(|_| "the uplink ended")?);
                }
                _ = due.tick(), if has_room => {
                    let sealed = self.series.seal_next(Clock::system().unix_ms())?;
                    self.pending.push_back(sealed);
                }
                _ = stopped.wait_for(|raised| *raised), if !is_stopping => is_stopping = true,
            }
        }
        drop((batches, events));
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    fn connect(&self, tasks: &mut JoinSet<()>) -> UplinkHandle {
        let config = UplinkConfig {
            addresses: Vec::new(), // the enrolment's
            spec_revision: 0,
            clock: Clock::system(),
            random: uplink::system_random(),
        };
        uplink::start(config, Arc::clone(&self.identity), tasks)
    }

    fn hand_over(&mut self, place: mpsc::Permit<'_, SealedBatch>) {
        let Some(at) = self.handed else { return };
        place.send(self.pending[at].0.clone());
        self.handed = Some(at + 1);
    }

    fn take(&mut self, event: UplinkEvent) -> Result<(), String> {
        let acknowledged = self.told.seq_end();
        match event {
            UplinkEvent::Acked { seq_end, .. } => self.settle(seq_end),
            // A follower may welcome with an older number; what was acknowledged stays so.
            UplinkEvent::Connected { next_seq, .. } => {
                self.settle(next_seq);
                self.handed = Some(0);
            }
            UplinkEvent::Disconnected { .. } => self.handed = None,
            UplinkEvent::Refused { action: RefusedAction::Retry, .. } => {}
            UplinkEvent::Refused { action: RefusedAction::ResendFrom { seq }, .. }
                if seq >= acknowledged =>
            {
                self.settle(seq);
                self.handed = Some(0);
            }
            UplinkEvent::Refused { slug, expected, got, .. } => {
                let agent = &self.told.agent;
                return Err(format!(
                    "{agent}, acknowledged below {acknowledged}: {slug}: expected {expected}, got \
                     {got}"
                ));
            }
            UplinkEvent::Specs { .. } | UplinkEvent::Seen(_) => {}
        }
        Ok(())
    }

    fn settle(&mut self, seq_end: u64) {
        while let Some((_, end)) = self.pending.pop_front_if(|(_, end)| *end <= seq_end) {
            self.handed = self.handed.map(|handed| handed.saturating_sub(1));
            self.told.seq_end.store(end, Ordering::SeqCst);
            self.told.batches.fetch_add(1, Ordering::SeqCst);
        }
    }
}
