//! When a snapshot is made, and what is let go of after it.
//!
//! The apply thread says when, and gives a copy of the state as it is after an entry; a thread of
//! its own encodes it and makes it durable, so that applying goes on meanwhile. The Raft log is
//! then let go of up to the older of the snapshots that are kept: one damaged snapshot costs
//! nothing, and a follower that lags by less than one needs none.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proofmark_evidence::Hash;

use super::NodeFault;
use crate::clock::Clock;
use crate::config::SnapshotPlan;
use crate::consensus::log_store::LogStore;
use crate::consensus::{ConsensusHandle, Membership, Position, SnapshotMeta};
use crate::limits::{
    SNAPSHOT_COVERED_LOOK_MS, SNAPSHOT_GAP_MS, SNAPSHOT_LOG_FACTOR, SNAPSHOT_TAIL_PARTS,
};
use crate::meters::SnapshotMeter;
use crate::recorder::RecorderHandle;
use crate::snapshot::{About, Snapshot, SnapshotFault, SnapshotStore};
use crate::state::State;

/// A state to be made durable.
pub(super) struct Order {
    pub(super) position: Position,
    pub(super) membership: Membership,
    /// As it was after that entry: encoded here, on the other thread.
    pub(super) state: Box<State>,
    /// Monotonic.
    pub(super) ordered_at_ms: u64,
}

/// What both sides know.
#[derive(Default)]
struct Shared {
    /// An order is being carried out.
    is_busy: AtomicBool,
    /// A peer needs a newer one than there is.
    is_wanted: AtomicBool,
    /// Bytes of the newest snapshot.
    bytes: AtomicU64,
}

/// The apply thread's side: counts what was applied, and orders.
pub struct SnapshotOrders {
    plan: SnapshotPlan,
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
    pub(super) meter: Arc<SnapshotMeter>,
    /// Bytes of the entries applied since the newest order.
    log_bytes: u64,
    ordered_at_ms: u64,
}

/// The other side, before its thread runs.
pub(super) struct SnapshotDesk {
    orders: Receiver<Order>,
    /// Of the Raft log, its newest.
    kept_bytes: u64,
    shared: Arc<Shared>,
    meter: Arc<SnapshotMeter>,
}

/// Says that a peer needs a snapshot. Clones share.
#[derive(Clone)]
pub(super) struct SnapshotWish(Arc<Shared>);

impl SnapshotWish {
    pub(super) fn want(&self) {
        self.0.is_wanted.store(true, SeqCst);
    }
}

/// Both sides.
pub(super) fn orders(plan: SnapshotPlan, clock: &Clock) -> (SnapshotOrders, SnapshotDesk) {
    let (sender, orders) = sync_channel(1);
    let shared = Arc::<Shared>::default();
    let kept_bytes = plan.log_bytes / SNAPSHOT_TAIL_PARTS;
    let meter = Arc::new(SnapshotMeter::new(clock.clone()));
    let shown = Arc::clone(&meter);
    let desk = SnapshotDesk { orders, kept_bytes, shared: Arc::clone(&shared), meter: shown };
    let (log_bytes, ordered_at_ms) = (0, clock.monotonic_ms());
    (SnapshotOrders { plan, orders: sender, shared, meter, log_bytes, ordered_at_ms }, desk)
}

impl SnapshotOrders {
    /// An entry of so many bytes was applied. Whether a snapshot is due after it.
    pub(super) fn is_due_after(&mut self, entry_bytes: usize, now_ms: u64) -> bool {
        self.log_bytes += entry_bytes as u64;
        if self.shared.is_busy.load(SeqCst) {
            return false;
        }
        let age_ms = now_ms.saturating_sub(self.ordered_at_ms);
        // Whoever was offered the newest one has that long to come for it, and as long again.
        if age_ms < SNAPSHOT_GAP_MS.min(self.plan.interval_ms) {
            return false;
        }
        let is_wanted = self.shared.is_wanted.load(SeqCst);
        // A large state is not written out for every few entries.
        let worth = self.shared.bytes.load(SeqCst).saturating_mul(SNAPSHOT_LOG_FACTOR);
        let is_much = self.log_bytes >= self.plan.log_bytes.max(worth);
        is_wanted || is_much || age_ms >= self.plan.interval_ms
    }

    pub(super) fn order(&mut self, order: Order) {
        let now_ms = order.ordered_at_ms;
        self.shared.is_busy.store(true, SeqCst);
        self.shared.is_wanted.store(false, SeqCst);
        (self.log_bytes, self.ordered_at_ms) = (0, now_ms);
        // Without a thread on the other side this replica is ending.
        let _ = self.orders.try_send(order);
    }

    /// The state became a snapshot from elsewhere.
    pub(super) fn installed(&mut self, bytes: u64, now_ms: u64) {
        self.shared.bytes.store(bytes, SeqCst);
        (self.log_bytes, self.ordered_at_ms) = (0, now_ms);
    }
}

/// The running thread. It ends when the apply thread's side is gone.
pub(super) struct SnapshotMaker {
    thread: JoinHandle<()>,
}

impl SnapshotDesk {
    pub(super) fn wish(&self) -> SnapshotWish {
        SnapshotWish(Arc::clone(&self.shared))
    }

    pub(super) fn meter(&self) -> Arc<SnapshotMeter> {
        Arc::clone(&self.meter)
    }

    /// Tells consensus of the newest snapshot there is for others, and takes orders.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn start(
        self,
        log_id: Hash,
        (store, raft_log): (SnapshotStore, LogStore),
        recorder: RecorderHandle,
        consensus: ConsensusHandle,
    ) -> Result<SnapshotMaker, NodeFault> {
        let SnapshotDesk { orders, kept_bytes, shared, meter } = self;
        let told = Cell::new(0);
        let worker = Worker {
            log_id,
            store,
            raft_log,
            kept_bytes,
            recorder,
            consensus,
            shared,
            meter,
            told,
        };
        let thread = thread::Builder::new().name("snapshot".to_owned());
        let thread = thread.spawn(move || worker.run(&orders));
        let thread = thread.map_err(|why| NodeFault::room("snapshot")(&why))?;
        Ok(SnapshotMaker { thread })
    }
}

impl SnapshotMaker {
    /// Waits for the order at hand. Blocks.
    pub(super) fn stop(self) {
        if self.thread.join().is_err() {
            tracing::error!("the making of snapshots panicked: the Raft log was not compacted");
        }
    }
}

struct Worker {
    log_id: Hash,
    store: SnapshotStore,
    raft_log: LogStore,
    kept_bytes: u64,
    recorder: RecorderHandle,
    consensus: ConsensusHandle,
    shared: Arc<Shared>,
    meter: Arc<SnapshotMeter>,
    /// The index of the newest that consensus was told of; 0: none.
    told: Cell<u64>,
}

impl Worker {
    fn run(&self, orders: &Receiver<Order>) {
        let look = Duration::from_millis(SNAPSHOT_COVERED_LOOK_MS);
        loop {
            let done = match orders.recv_timeout(look) {
                Ok(order) => {
                    let done = self.carry_out(order);
                    self.shared.is_busy.store(false, SeqCst);
                    done
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(why) = done.and_then(|()| self.tell_covered()) {
                let slug = why.slug();
                tracing::error!(slug, %why, "no snapshot was made: the Raft log is not compacted");
            }
        }
    }

    fn carry_out(&self, order: Order) -> Result<(), SnapshotFault> {
        if !is_newest_covered(&self.store, self.published_size())? {
            // A newer one would take the place of the last that peers can make use of.
            tracing::debug!("the newest snapshot is not published yet: none is made after it");
            return Ok(());
        }
        // The leaves that the state speaks of come first: it must never be ahead of the evidence.
        self.recorder.sync();
        // A crash here leaves evidence newer than any snapshot: replayed leaves are compared.
        let Order { position, membership, state, ordered_at_ms } = order;
        let (leaf_count, rows) = (state.leaf_count(), state.rows());
        drop(state);
        let about = About { log_id: self.log_id, position, membership, leaf_count };
        self.store.write(&about, &rows)?;
        // A crash here leaves a snapshot that nobody was told of: start-up tells.
        self.store.prune(position.index)?;
        let snapshot = self.store.snapshot(position.index)?;
        let (index, bytes) = (position.index, snapshot.descriptor().bytes());
        self.meter.made(bytes, ordered_at_ms);
        tracing::info!(index, bytes, leaf_count, "snapshot made");
        Ok(())
    }

    /// Tells consensus of the newest snapshot that the published checkpoint covers, once, and lets
    /// go of the log below it. Whoever fetched another would wait for a checkpoint that may need
    /// its own cosignature, and so for ever.
    fn tell_covered(&self) -> Result<(), SnapshotFault> {
        let Some(snapshot) = newest_covered(&self.store, self.published_size())? else {
            return Ok(());
        };
        let index = snapshot.about().position.index;
        if self.told.replace(index) == index {
            return Ok(());
        }
        self.tell(&snapshot);
        self.compact(index)
    }

    fn published_size(&self) -> u64 {
        self.recorder.status().borrow().published_size
    }

    fn tell(&self, snapshot: &Snapshot) {
        self.shared.bytes.store(snapshot.descriptor().bytes(), SeqCst);
        self.consensus.snapshot_made(meta_of(snapshot));
    }

    /// Up to the oldest snapshot that is kept, once there are two, and not the last bytes.
    fn compact(&self, newest: u64) -> Result<(), SnapshotFault> {
        match self.store.oldest(newest)? {
            Some(oldest) if oldest < newest => {
                let position = self.store.snapshot(oldest)?.about().position;
                // A crash here leaves a longer log than is needed: the next snapshot compacts it.
                self.consensus.compact(self.raft_log.compactable(position, self.kept_bytes));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The newest snapshot all of whose leaves are under the published checkpoint.
fn newest_covered(
    store: &SnapshotStore,
    published: u64,
) -> Result<Option<Snapshot>, SnapshotFault> {
    let mut whole = store.indexes()?.into_iter().filter_map(|index| store.snapshot(index).ok());
    Ok(whole.find(|snapshot| snapshot.about().leaf_count <= published))
}

fn is_newest_covered(store: &SnapshotStore, published: u64) -> Result<bool, SnapshotFault> {
    let mut whole = store.indexes()?.into_iter().filter_map(|index| store.snapshot(index).ok());
    Ok(whole.next().is_none_or(|newest| newest.about().leaf_count <= published))
}

/// What consensus knows of a snapshot.
pub(super) fn meta_of(snapshot: &Snapshot) -> SnapshotMeta {
    let About { position, membership, .. } = snapshot.about().clone();
    SnapshotMeta { position, membership, descriptor: snapshot.descriptor().encode().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::DiskFiles;

    fn plan() -> SnapshotPlan {
        SnapshotPlan { log_bytes: 1_000, interval_ms: 60_000 }
    }

    fn order() -> Order {
        let (position, membership, state) = Default::default();
        Order { position, membership, state, ordered_at_ms: 0 }
    }

    #[test]
    fn only_what_is_published_is_offered_and_followed_by_another() {
        let home = tempfile::tempdir().expect("a directory");
        let files = DiskFiles::open(home.path()).expect("it opens");
        let store = SnapshotStore::open(Arc::new(files)).expect("it opens");
        assert!(is_newest_covered(&store, 0).expect("it is read"), "there is none");
        for (index, leaf_count) in [(10, 4), (20, 6)] {
            let position = Position { index, term: 1 };
            let membership = Membership::of_voters([1, 2, 3]);
            let about = About { log_id: Hash::ZERO, position, membership, leaf_count };
            store.write(&about, &[]).expect("it is written");
        }
        let check = |published, expect: Option<u64>, is_newest| {
            let found = newest_covered(&store, published).expect("it is read");
            assert_eq!(found.map(|one| one.about().position.index), expect);
            assert_eq!(is_newest_covered(&store, published).expect("it is read"), is_newest);
        };
        check(3, None, false);
        check(5, Some(10), false);
        check(6, Some(20), true);
    }

    #[test]
    fn a_snapshot_is_due_by_size_by_age_and_when_a_peer_needs_one() {
        let (mut orders, desk) = orders(plan(), &Clock::manual(0));
        let gap_ms = SNAPSHOT_GAP_MS;
        assert!(!orders.is_due_after(999, gap_ms));
        assert!(orders.is_due_after(1, gap_ms), "by size");
        orders.order(order());
        assert!(!orders.is_due_after(5_000, 2 * gap_ms), "one at a time");
        desk.shared.is_busy.store(false, SeqCst);
        desk.shared.bytes.store(2_000, SeqCst);
        assert!(!orders.is_due_after(100, 2 * gap_ms), "a large state waits for more");
        assert!(orders.is_due_after(8_000, 2 * gap_ms));
        orders.installed(0, 0);
        assert!(!orders.is_due_after(1, 59_999));
        assert!(orders.is_due_after(1, 60_000), "by age");
        orders.installed(0, 60_000);
        desk.wish().want();
        let soon_ms = 60_000 + gap_ms - 1;
        assert!(!orders.is_due_after(50_000, soon_ms), "the last one can still be fetched");
        assert!(orders.is_due_after(1, soon_ms + 1), "wanted");
    }
}
