//! The Raft protocol of one replica, without a world: no clock, no disk, no network, no thread.
//!
//! In: ticks, peers' messages, proposals, and notices of what became durable or applied.
//! Out: after each round of inputs at most one [`Output`]: messages to send now, one write for the
//! disk, entries that are committed. The caller owes four things:
//!
//! 1. Write tasks reach the disk in the order of their numbers, each whole or not at all; when a
//!    task is durable, [`Driver::persisted`] says so. Messages that speak of what a task holds
//!    (votes, confirmations) stay in here until then.
//! 2. Committed entries are applied in order; [`Driver::applied`] says how far. What became of a
//!    change of membership is said before that, with [`Driver::change_applied`].
//! 3. A snapshot is durable before [`Driver::install`] hears of it, and installed when the output
//!    says so; [`Driver::snapshot_installed`] says when.
//! 4. [`Driver::take_output`] is called until it gives `None` before the caller sleeps.
//!
//! The same inputs in the same order give the same outputs: elections are timed by
//! [`super::election`], and nothing else here is random.

mod leadership;
mod members;
mod reads;
mod snapshots;
#[cfg(test)]
mod tests;
mod types;

use std::collections::VecDeque;

use bytes::Bytes;
use raft::{RawNode, StateRole};

use super::guard::{self, Known};
use super::logger;
use super::membership::Membership;
use super::snapshot::SnapshotMeta;
use super::storage::{LogSource, RaftStorage, RecoveredLog};
use super::{ConsensusStatus, Role};
use crate::limits::{
    COMMITTED_BYTES_PER_READY_MAX, ELECTION_TICKS, HEARTBEAT_TICKS, INFLIGHT_MESSAGES_MAX,
    MESSAGE_ENTRIES_BYTES_MAX, UNCOMMITTED_BYTES_MAX,
};
use members::Changes;
use snapshots::Snapshots;

pub(crate) use reads::READ_CONTEXT_BYTES;
pub(crate) use snapshots::{from_raft, to_raft};

pub use super::guard::Refused;
pub use super::snapshot::Position;
pub use raft::eraftpb::{Entry, EntryType, HardState, Message, MessageType};
pub use types::{
    ChangeRefused, CompactRefused, DriverConfig, DriverFault, Output, PeerProgress, PeerState,
    ProposeRefused, Read, RoleChange, TransferRefused, WriteTask,
};

/// The driver of one replica, reading its log through `S`.
pub struct Driver<S: LogSource> {
    raw: RawNode<RaftStorage<S>>,
    /// As raft acts by it: what the state said of the newest change that it has applied.
    membership: Membership,
    changes: Changes,
    snapshots: Snapshots,
    jitter_seed: u64,
    ticks: u64,
    /// Readies handed out and not yet durable, oldest first.
    unpersisted: VecDeque<Unpersisted>,
    /// The newest term and vote handed to the disk.
    voted: (u64, u64),
    /// What has to wait for nothing any more, for the next output.
    released: Output,
    shown: RoleChange,
    /// To whom leadership was offered in this term; whoever did not take it is asked last.
    offered: Vec<u64>,
    /// No leadership is sought or taken any more.
    stood_down: bool,
}

/// One ready that the disk has not confirmed.
struct Unpersisted {
    number: u64,
    /// Nothing was written for it: it only waits for those before it.
    empty: bool,
    must_sync: bool,
    /// It holds a new term or vote.
    votes: bool,
    /// The first index its write replaces, if it holds entries.
    first_index: Option<u64>,
    /// To send once this ready is durable.
    messages: Vec<Message>,
    /// To install then.
    install: Option<SnapshotMeta>,
}

impl<S: LogSource> Driver<S> {
    /// A driver over what the log held.
    pub fn new(
        config: &DriverConfig,
        source: S,
        mut recovered: RecoveredLog,
    ) -> Result<Self, DriverFault> {
        check_start(config, &recovered)?;
        // The commit index is written without a flush; what was applied or compacted was committed
        // all the same.
        let known = config.applied.max(recovered.start.index);
        recovered.hard_state.commit = recovered.hard_state.commit.max(known);
        let membership = config.membership.clone();
        let voted = (recovered.hard_state.term, recovered.hard_state.vote);
        let storage = RaftStorage::new(source, recovered, &membership, config.tail_bytes_max);
        let raw = RawNode::new(&raft_config(config), storage, &logger::to_tracing())?;
        let shown = shown(&raw);
        let mut driver = Self {
            raw,
            membership,
            changes: Changes::default(),
            snapshots: Snapshots::default(),
            jitter_seed: config.jitter_seed,
            ticks: 0,
            unpersisted: VecDeque::new(),
            voted,
            released: Output::default(),
            shown,
            offered: Vec::new(),
            stood_down: false,
        };
        driver.set_election_timeout();
        Ok(driver)
    }

    /// One tick of the caller's clock has passed.
    pub fn tick(&mut self) {
        // An election between a snapshot's way into the log and into the state would count members
        // and entries that are not there yet; raft panics. Its leader keeps the time meanwhile.
        if self.snapshots.is_installing() {
            return;
        }
        self.tick_always();
    }

    /// [`Driver::tick`] without its caution: for the simulator, which plants this mistake.
    #[doc(hidden)]
    pub fn tick_always(&mut self) {
        self.ticks += 1;
        self.forgo_election();
        self.raw.tick();
        self.set_election_timeout();
        self.give_up_on_snapshots();
    }

    /// A message came from a peer.
    pub fn message(&mut self, message: Message) -> Result<(), Refused> {
        guard::check(&message, &self.known())?;
        match message.get_msg_type() {
            // Offered and not taken: the leader asks another one.
            MessageType::MsgTimeoutNow if self.forgoes_leadership() => return Ok(()),
            MessageType::MsgReadIndex if self.has_too_many_reads() => return Ok(()),
            MessageType::MsgSnapshot => return self.note_offer(message),
            // What raft itself may still say no to (a vote it cannot count) changes nothing.
            _ => drop(self.raw.step(message)),
        }
        self.set_election_timeout();
        Ok(())
    }

    /// Appends one entry, as the leader.
    pub fn propose(&mut self, data: Bytes) -> Result<Position, ProposeRefused> {
        self.append(Entry { data, ..Entry::default() })
    }

    /// The write task of this number, and all before it, are durable.
    pub fn persisted(&mut self, number: u64) {
        let mut newest = None;
        while let Some(front) = self.unpersisted.front() {
            if front.number > number && !front.empty {
                break;
            }
            newest = Some(front.number);
            let ready = self.unpersisted.pop_front().expect("it was just looked at");
            self.released.messages.extend(ready.messages);
            if ready.install.is_some() {
                self.released.install = ready.install;
            }
        }
        if let Some(newest) = newest {
            self.raw.on_persist_ready(newest);
            let durable_end = self.durable_end();
            self.raw.mut_store().evict(durable_end);
        }
    }

    /// Everything up to `index` is applied.
    pub fn applied(&mut self, index: u64) {
        // What was applied while a snapshot was on its way in is part of it.
        if !self.snapshots.is_installing() && index > self.raw.raft.raft_log.applied() {
            self.raw.advance_apply_to(index);
            self.compact_when_due();
        }
    }

    /// A message to this peer was dropped: its replication starts over from what it confirms.
    pub fn unreachable(&mut self, node_id: u64) {
        self.raw.report_unreachable(node_id);
    }

    /// Whether [`Driver::take_output`] may have something.
    pub fn has_output(&self) -> bool {
        self.released != Output::default() || self.raw.has_ready() || self.can_begin_install()
    }

    /// Whether a write that a promise depends on is still on its way to the disk.
    pub fn is_flushing(&self) -> bool {
        self.unpersisted.iter().any(|ready| ready.must_sync)
    }

    /// One round of work, or `None` when there is nothing to do until the next input.
    pub fn take_output(&mut self) -> Option<Output> {
        self.begin_install();
        self.note_wanted_snapshot();
        if !self.has_output() {
            return None;
        }
        let mut output = Output::default();
        if self.raw.has_ready() {
            self.take_ready(&mut output);
        }
        let released = std::mem::take(&mut self.released);
        // Nobody is node 0: that is a snapshot's confirmation when no leader is known.
        output.messages.extend(released.messages.into_iter().filter(|message| message.to != 0));
        output.install = released.install;
        output.offer = released.offer;
        output.snapshot_wanted = released.snapshot_wanted;
        output.compact = released.compact;
        Some(output)
    }

    /// What this replica knows. `applied` is what the caller reported.
    pub fn status(&self) -> ConsensusStatus {
        let shown = shown(&self.raw);
        ConsensusStatus {
            node_id: self.raw.raft.id,
            role: shown.role,
            term: shown.term,
            leader: shown.leader,
            commit: self.raw.raft.raft_log.committed,
            applied: self.raw.raft.raft_log.applied(),
        }
    }

    fn known(&self) -> Known<'_> {
        Known {
            node_id: self.raw.raft.id,
            membership: &self.membership,
            term: self.raw.raft.term,
            last_index: self.raw.raft.raft_log.last_index(),
            leads: self.leads(),
        }
    }

    fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn append(&mut self, entry: Entry) -> Result<Position, ProposeRefused> {
        // Never through a follower: raft 0.7 would forward it as MsgPropose, which peers drop.
        if !self.leads() {
            return Err(ProposeRefused::NotLeader);
        }
        let (msg_type, from) = (MessageType::MsgPropose, self.raw.raft.id);
        let proposal =
            Message { msg_type, from, entries: vec![entry].into(), ..Message::default() };
        self.raw.step(proposal).map_err(|_| ProposeRefused::Full)?;
        let (index, term) = (self.raw.raft.raft_log.last_index(), self.raw.raft.term);
        Ok(Position { index, term })
    }

    /// The asynchronous ready of raft 0.7: send the leader's messages, hold back the others,
    /// make the entries readable, and only then tell raft that they are on their way.
    fn take_ready(&mut self, output: &mut Output) {
        let mut ready = self.raw.ready();
        output.messages = ready.take_messages();
        output.committed = ready.take_committed_entries();
        output.reads = self.reads_of(ready.take_read_states());
        self.changes.note_committed(&output.committed);
        let task = WriteTask {
            number: ready.number(),
            reset: snapshots::position_of(ready.snapshot()),
            entries: ready.take_entries(),
            hard_state: ready.hs().cloned(),
            must_sync: ready.must_sync(),
        };
        let mut messages = ready.take_persisted_messages();
        let votes = self.note_vote(task.hard_state.as_ref());
        if votes || self.unpersisted.iter().any(|ready| ready.votes) {
            messages.append(&mut output.messages);
        }
        let store = self.raw.mut_store();
        task.reset.into_iter().for_each(|position| store.start_after(position));
        store.append(&task.entries);
        self.raw.advance_append_async(ready);
        self.note_write(task, votes, messages, output);
        output.role = self.take_role_change();
    }

    /// Whether the disk is to learn of a new term or vote. Nobody hears of a term before that: one
    /// that is forgotten would come twice. Raft 0.7 sees to it for every vote that it asks for, but
    /// the only voter of a group leads without asking, and speaks to its learners at once.
    fn note_vote(&mut self, hard_state: Option<&HardState>) -> bool {
        let Some(state) = hard_state else { return false };
        let before = std::mem::replace(&mut self.voted, (state.term, state.vote));
        before != self.voted
    }

    fn note_write(
        &mut self,
        task: WriteTask,
        votes: bool,
        messages: Vec<Message>,
        output: &mut Output,
    ) {
        let (number, must_sync) = (task.number, task.must_sync);
        let empty = task.entries.is_empty() && task.hard_state.is_none() && task.reset.is_none();
        let first_index = task.entries.first().map(|entry| entry.index);
        let install = task.reset.and_then(|_| self.snapshots.installing());
        let ready = Unpersisted { number, empty, must_sync, votes, first_index, messages, install };
        self.unpersisted.push_back(ready);
        if !empty {
            output.write = Some(task);
        } else if self.unpersisted.len() == 1 {
            // Nothing to write and nothing to wait for.
            self.persisted(number);
        }
    }

    fn take_role_change(&mut self) -> Option<RoleChange> {
        let now = shown(&self.raw);
        let changed = now != self.shown;
        if now.term != self.shown.term {
            self.offered.clear();
        }
        self.shown = now;
        changed.then_some(now)
    }

    /// Entries below this index are on disk and no write on its way replaces them.
    fn durable_end(&self) -> u64 {
        let end = self.raw.raft.raft_log.last_index() + 1;
        self.unpersisted.iter().filter_map(|ready| ready.first_index).fold(end, u64::min)
    }
}

fn check_start(config: &DriverConfig, recovered: &RecoveredLog) -> Result<(), DriverFault> {
    let (applied, last_index) = (config.applied, recovered.last_index);
    if applied > last_index {
        return Err(DriverFault::LogBehindState { applied, last_index });
    }
    if applied < recovered.start.index {
        return Err(DriverFault::StateBehindLog { applied, start: recovered.start.index });
    }
    if !config.membership.is_whole() {
        return Err(DriverFault::Membership { membership: config.membership.clone() });
    }
    Ok(())
}

fn shown<S: LogSource>(raw: &RawNode<RaftStorage<S>>) -> RoleChange {
    let role = match raw.raft.state {
        StateRole::Leader => Role::Leader,
        StateRole::Follower => Role::Follower,
        StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
    };
    let leader = Some(raw.raft.leader_id).filter(|id| *id != raft::INVALID_ID);
    RoleChange { role, term: raw.raft.term, leader }
}

/// The settings of raft 0.7, whose defaults are unsafe or slow for us.
fn raft_config(config: &DriverConfig) -> raft::Config {
    raft::Config {
        id: config.node_id,
        applied: config.applied,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        // A node that was cut off asks first, and disturbs nobody when it comes back.
        pre_vote: true,
        // A leader that nobody hears steps down, so its clients look elsewhere.
        check_quorum: true,
        max_size_per_msg: MESSAGE_ENTRIES_BYTES_MAX,
        max_inflight_msgs: INFLIGHT_MESSAGES_MAX,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: COMMITTED_BYTES_PER_READY_MAX,
        // A read is confirmed by a majority: no clock is trusted.
        read_only_option: raft::ReadOnlyOption::Safe,
        ..raft::Config::default()
    }
}
