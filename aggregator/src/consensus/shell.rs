//! A replica's threads: started together, stopped in order.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::Applier;
use super::apply_thread::{ApplyQueue, ApplyThread};
use super::budget::Budget;
use super::commits::Commits;
use super::driver::{Driver, DriverConfig, DriverFault};
use super::handle::{ConsensusHandle, Seen, Shared};
use super::heard::Heard;
use super::inbox::Inbox;
use super::log_store::LogStore;
use super::log_thread::{LogQueue, LogThread};
use super::mailbox::Mailbox;
use super::outbox::PeerOutbox;
use super::pack::Packer;
use super::raft_thread::{RaftThread, Shown};
use super::reads::Reads;
use super::storage::{LogSource, RecoveredLog};
use super::waiters::Waiters;
use crate::clock::Clock;
use crate::limits::{PROPOSALS_BYTES_MAX, PROPOSALS_MAX};
use crate::waiting::Waiting;

/// A running replica: three threads and the state machine on one of them.
pub struct Consensus<A> {
    handle: ConsensusHandle,
    waiters: Arc<Waiters>,
    raft: JoinHandle<()>,
    log: JoinHandle<()>,
    apply: JoinHandle<A>,
}

/// What this room has done since the start. Counters only rise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries this replica proposed as the leader, and the commands in them.
    pub entries_proposed: AtomicU64,
    pub commands_proposed: AtomicU64,
    /// Proposals that were told `Busy` because too many were under way here.
    pub proposals_busy: AtomicU64,
    /// Write tasks, and the flushes that made them durable.
    pub log_writes: AtomicU64,
    pub log_flushes: AtomicU64,
    /// Raft messages for which a queue had no room, in either direction.
    pub messages_dropped: AtomicU64,
    /// Raft messages from peers that were not plausible.
    pub messages_refused: AtomicU64,
    pub waiting: Waits,
}

/// Who waits in this room's queues.
#[derive(Debug, Default)]
pub struct Waits {
    /// Commands proposed here, own and forwarded, until their outcome.
    pub proposals: Waiting,
    /// Peers' messages until the raft thread has taken them.
    pub peer_messages: Waiting,
    /// Write tasks until they are durable.
    pub raft_log: Waiting,
    /// Groups of committed entries until they are applied.
    pub apply: Waiting,
}

impl<A: Applier> Consensus<A> {
    /// Starts a replica over its opened log. `config.applied` is what `applier` has made durable:
    /// everything after it is applied again.
    pub fn start(
        config: &DriverConfig,
        log: (LogStore, RecoveredLog),
        applier: A,
        outbox: PeerOutbox,
        clock: Clock,
    ) -> Result<Self, DriverFault> {
        let (store, recovered) = log;
        let mut driver = Driver::new(config, store.clone(), recovered)?;
        driver.campaign_if_alone();
        let queues = Queues::default();
        let (shown, seen) = channels(&driver);
        let raft = RaftThread {
            driver,
            clock: clock.clone(),
            inbox: Arc::clone(&queues.inbox),
            log: Arc::clone(&queues.log),
            apply: Arc::clone(&queues.apply),
            waiters: Arc::clone(&queues.waiters),
            outbox: outbox.clone(),
            shown,
            counters: Arc::clone(&queues.counters),
            packer: Packer::default(),
            reads: Reads::default(),
            commits: Arc::clone(&queues.commits),
            heard: Heard::default(),
            stalled_ticks: 0,
        };
        let apply = queues.apply_thread(applier, store.clone(), config.applied + 1);
        let log = queues.log_thread(store);
        Ok(Self {
            handle: queues.handle(outbox, seen, clock),
            waiters: queues.waiters,
            raft: spawn("raft", move || raft.run()),
            log: spawn("raft-log", move || log.run()),
            apply: spawn("apply", move || apply.run()),
        })
    }

    /// The door through which everybody else uses this replica.
    pub fn handle(&self) -> ConsensusHandle {
        self.handle.clone()
    }

    /// Stops: proposals under way are answered, what is queued for the disk is made durable, what
    /// is committed is applied. Gives the state machine back, so that its owner can save it.
    pub fn stop(self) -> A {
        self.handle.shared.inbox.post(|inbox| inbox.stop = true);
        self.raft.join().expect(ABORTS);
        self.log.join().expect(ABORTS);
        let applier = self.apply.join().expect(ABORTS);
        self.waiters.lose_before(u64::MAX);
        applier
    }
}

/// What the threads share while they are being built.
#[derive(Default)]
struct Queues {
    inbox: Arc<Mailbox<Inbox>>,
    log: Arc<Mailbox<LogQueue>>,
    apply: Arc<Mailbox<ApplyQueue>>,
    waiters: Arc<Waiters>,
    counters: Arc<Counters>,
    commits: Arc<Commits>,
}

impl Queues {
    fn handle(&self, outbox: PeerOutbox, seen: Seen, clock: Clock) -> ConsensusHandle {
        let (inbox, apply) = (Arc::clone(&self.inbox), Arc::clone(&self.apply));
        let (counters, commits) = (Arc::clone(&self.counters), Arc::clone(&self.commits));
        let waiting = counters.waiting.proposals.clone();
        let budget = Budget::new(PROPOSALS_MAX, PROPOSALS_BYTES_MAX, waiting);
        let shared = Shared { inbox, apply, commits, clock, budget, outbox, seen, counters };
        ConsensusHandle { shared: Arc::new(shared) }
    }

    fn log_thread(&self, store: LogStore) -> LogThread {
        let (queue, inbox) = (Arc::clone(&self.log), Arc::clone(&self.inbox));
        LogThread { store, queue, inbox, counters: Arc::clone(&self.counters) }
    }

    fn apply_thread<A>(&self, applier: A, source: LogStore, next: u64) -> ApplyThread<A, LogStore> {
        let (queue, inbox) = (Arc::clone(&self.apply), Arc::clone(&self.inbox));
        ApplyThread { applier, source, queue, inbox, waiters: Arc::clone(&self.waiters), next }
    }
}

/// What the raft thread shows, and who looks.
fn channels<S: LogSource>(driver: &Driver<S>) -> (Shown, Seen) {
    let (status, status_seen) = watch::channel(driver.status());
    let (progress, progress_seen) = watch::channel(Vec::new());
    let (offer, offer_seen) = watch::channel(None);
    let (wanted, wanted_seen) = watch::channel(0);
    let seen = Seen {
        status: status_seen,
        progress: progress_seen,
        offer: offer_seen,
        wanted: wanted_seen,
    };
    (Shown { status, progress, offer, wanted }, seen)
}

const ABORTS: &str = "a panic in this thread has ended the process";

/// Starts a thread whose panic ends the process: a replica that lost one of its threads would go
/// on being counted by the others.
fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let run = move || {
        let body = std::panic::AssertUnwindSafe(body);
        std::panic::catch_unwind(body).unwrap_or_else(|_| {
            tracing::error!("a consensus thread panicked: the process ends here");
            std::process::abort()
        })
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .expect("a process that cannot start a thread at its start cannot run")
}
