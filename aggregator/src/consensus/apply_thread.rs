//! The apply thread: committed entries in, in order; replies to those who wait.
//!
//! An ack is one of these replies: decided in `state/admit.rs`, handed on here to whoever proposed,
//! said in `ingest/session.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use raft::eraftpb::{Entry, EntryType};

use super::Applier;
use super::inbox::Inbox;
use super::mailbox::Mailbox;
use super::snapshot::{Position, SnapshotMeta};
use super::storage::{LogSource, entry_bytes};
use super::waiters::Waiters;
use crate::command::Reply;
use crate::limits::{APPLY_BACKLOG_BYTES_MAX, COMMITTED_BYTES_PER_READY_MAX};
use crate::waiting::Ticket;

/// Committed entries that wait. When the applier is slow, later ones are left out here and read
/// from the log when their turn comes: memory stays bounded and the raft thread never waits.
#[derive(Default)]
pub(crate) struct ApplyQueue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// One for each group that was pushed, given back when it is applied.
    waiting: Vec<Ticket>,
    /// Comes before the entries.
    install: Option<SnapshotMeta>,
    /// Everything up to here is committed; 0: no news.
    committed: u64,
    /// Somebody waits to read what is applied.
    pub(crate) look: bool,
    pub(crate) stop: bool,
}

impl ApplyQueue {
    fn is_ready(&self) -> bool {
        self.stop || self.look || self.committed > 0
    }

    pub(crate) fn push(&mut self, entries: Vec<Entry>, ticket: Ticket) {
        self.waiting.push(ticket);
        for entry in entries {
            self.committed = entry.index;
            if self.bytes < APPLY_BACKLOG_BYTES_MAX {
                self.bytes += entry_bytes(&entry);
                self.entries.push_back(entry);
            }
        }
    }

    /// What waited is part of the snapshot: it is not applied any more.
    pub(crate) fn push_install(&mut self, meta: SnapshotMeta) {
        self.entries.clear();
        self.bytes = 0;
        self.committed = meta.position.index;
        self.install = Some(meta);
    }
}

/// Owns the state machine.
pub(crate) struct ApplyThread<A, S> {
    pub(crate) applier: A,
    pub(crate) source: S,
    pub(crate) queue: Arc<Mailbox<ApplyQueue>>,
    pub(crate) inbox: Arc<Mailbox<Inbox>>,
    pub(crate) waiters: Arc<Waiters>,
    /// The first index not applied yet.
    pub(crate) next: u64,
}

impl<A: Applier, S: LogSource> ApplyThread<A, S> {
    /// Applies what is committed until told to stop, then what is still there, and gives the state
    /// machine back.
    pub(crate) fn run(mut self) -> A {
        loop {
            let queue = self.queue.take(ApplyQueue::is_ready);
            if let Some(meta) = queue.install {
                self.install(&meta);
            }
            for entry in queue.entries {
                if !self.catch_up(entry.index) {
                    break;
                }
                self.apply(&entry);
            }
            self.catch_up(queue.committed + 1);
            if queue.look {
                self.applier.look();
            }
            self.inbox.post(|inbox| inbox.applied = self.next - 1);
            if queue.stop {
                return self.applier;
            }
        }
    }

    /// Applies from the log what the queue had no room for, up to `end` (exclusive). `false`: the
    /// log starts over after a snapshot, which comes next and holds all of it.
    fn catch_up(&mut self, end: u64) -> bool {
        while self.next < end {
            match self.source.fetch(self.next, end, COMMITTED_BYTES_PER_READY_MAX) {
                Ok(entries) => entries.iter().for_each(|entry| self.apply(entry)),
                Err(unreadable) if unreadable.is_gone => return false,
                // Durable and committed: a log that lost them must end the process.
                Err(unreadable) => panic!("{unreadable}"),
            }
        }
        true
    }

    fn apply(&mut self, entry: &Entry) {
        assert_eq!(entry.index, self.next, "committed entries come without gaps");
        let replies = match entry.get_entry_type() {
            EntryType::EntryNormal => self.applier.apply(entry.index, &entry.data),
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => self.apply_change(entry),
        };
        self.next += 1;
        self.waiters.resolve(Position { index: entry.index, term: entry.term }, replies);
    }

    /// Raft is told before it hears that the entry is applied, and before the proposer does.
    fn apply_change(&mut self, entry: &Entry) -> Vec<Reply> {
        let (replies, after) = self.applier.apply_change(entry.index, &entry.context);
        self.inbox.post(|inbox| inbox.changed.push((entry.index, after)));
        replies
    }

    fn install(&mut self, meta: &SnapshotMeta) {
        self.applier.install(meta);
        let got = self.applier.membership();
        assert_eq!(got.as_ref(), Some(&meta.membership), "the snapshot's members, and the state's");
        self.next = meta.position.index + 1;
        self.inbox.post(|inbox| inbox.installed = meta.position.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::membership::Membership;
    use crate::consensus::storage::LogUnreadable;
    use crate::waiting::Waiting;

    /// A log whose entry at each index holds that index.
    struct Numbers;

    impl LogSource for Numbers {
        fn fetch(&self, low: u64, high: u64, _: u64) -> Result<Vec<Entry>, LogUnreadable> {
            // Two at a time, so that catching up takes several rounds.
            Ok((low..high).take(2).map(|index| entry(index, 0)).collect())
        }
    }

    #[derive(Default)]
    struct Seen(Vec<u64>);

    impl Applier for Seen {
        fn apply(&mut self, index: u64, _: &[u8]) -> Vec<Reply> {
            self.0.push(index);
            Vec::new()
        }

        fn apply_change(&mut self, index: u64, _: &[u8]) -> (Vec<Reply>, Option<Membership>) {
            self.0.push(index);
            (Vec::new(), Some(Membership::of_voters([index])))
        }

        fn install(&mut self, snapshot: &SnapshotMeta) {
            self.0.push(1_000 + snapshot.position.index);
        }

        fn look(&mut self) {
            self.0.push(0);
        }

        fn membership(&self) -> Option<Membership> {
            Some(Membership::of_voters([1]))
        }
    }

    fn entry(index: u64, bytes: usize) -> Entry {
        Entry { index, term: 1, data: vec![0; bytes].into(), ..Entry::default() }
    }

    fn run(next: u64, fill: impl Fn(&mut ApplyQueue)) -> (Vec<u64>, Inbox) {
        let queue = Arc::new(Mailbox::<ApplyQueue>::default());
        queue.post(|queue| fill(queue));
        queue.post(|queue| queue.stop = true);
        let inbox = Arc::new(Mailbox::<Inbox>::default());
        let (applier, waiters, seen) = (Seen::default(), Arc::default(), Arc::clone(&inbox));
        let thread = ApplyThread { applier, source: Numbers, queue, inbox, waiters, next };
        (thread.run().0, seen.take(|_| true))
    }

    fn applied(next: u64, pushes: &[Vec<Entry>]) -> Vec<u64> {
        run(next, |queue| {
            pushes
                .iter()
                .for_each(|entries| queue.push(entries.clone(), Waiting::default().enter()))
        })
        .0
    }

    #[test]
    fn entries_are_applied_in_order_from_the_first_unapplied() {
        assert_eq!(applied(4, &[vec![entry(4, 1), entry(5, 1)], vec![entry(6, 1)]]), [4, 5, 6]);
        assert!(applied(4, &[]).is_empty());
    }

    #[test]
    fn what_the_queue_had_no_room_for_is_read_from_the_log() {
        let big = APPLY_BACKLOG_BYTES_MAX;
        let pushes = [vec![entry(1, big), entry(2, 1), entry(3, 1)], vec![entry(4, 1)]];
        assert_eq!(applied(1, &pushes), [1, 2, 3, 4]);
    }

    #[test]
    fn who_reads_is_shown_what_is_applied_even_when_nothing_comes() {
        let (order, _) = run(4, |queue| queue.look = true);
        assert_eq!(order, [0]);
        let (order, _) = run(4, |queue| {
            queue.look = true;
            queue.push(vec![entry(4, 1)], Waiting::default().enter());
        });
        assert_eq!(order, [4, 0]);
    }

    #[test]
    fn raft_hears_what_became_of_a_change_before_it_hears_how_far_the_state_is() {
        let entry_type = EntryType::EntryConfChangeV2;
        let change = Entry { index: 5, term: 1, entry_type, ..Entry::default() };
        let (order, inbox) = run(4, |queue| {
            queue.push(vec![entry(4, 1), change.clone(), entry(6, 1)], Waiting::default().enter())
        });
        assert_eq!(order, [4, 5, 6]);
        assert_eq!(inbox.changed, [(5, Some(Membership::of_voters([5])))]);
        assert_eq!(inbox.applied, 6);
    }

    #[test]
    fn a_snapshot_takes_the_place_of_what_waited() {
        let meta = SnapshotMeta {
            position: Position { index: 40, term: 2 },
            membership: Membership::of_voters([1]),
            descriptor: bytes::Bytes::new(),
        };
        let (order, inbox) = run(4, |queue| {
            queue.push(vec![entry(4, 1), entry(5, 1)], Waiting::default().enter());
            queue.push_install(meta.clone());
            queue.push(vec![entry(41, 1)], Waiting::default().enter());
        });
        assert_eq!(order, [1_040, 41]);
        assert_eq!((inbox.installed, inbox.applied), (40, 41));
    }

    /// A log that starts over after a snapshot at 40, which is on its way here.
    struct Reset;

    impl LogSource for Reset {
        fn fetch(&self, low: u64, high: u64, _: u64) -> Result<Vec<Entry>, LogUnreadable> {
            Err(LogUnreadable { low, high, cause: "gone".to_owned(), is_gone: true })
        }
    }

    #[test]
    fn a_log_that_starts_over_meanwhile_is_waited_for() {
        let queue = Arc::new(Mailbox::<ApplyQueue>::default());
        queue.post(|queue| queue.push(vec![entry(9, 1)], Waiting::default().enter()));
        queue.post(|queue| queue.stop = true);
        let (inbox, waiters) = Default::default();
        let (applier, next) = (Seen::default(), 4);
        let thread = ApplyThread { applier, source: Reset, queue, inbox, waiters, next };
        assert!(thread.run().0.is_empty());
    }
}
