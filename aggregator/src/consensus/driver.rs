//! The Raft protocol of one replica, without a world: no clock, no disk, no network, no thread.
//!
//! In: ticks, peers' messages, proposals, and notices of what became durable or applied.
//! Out: after each round of inputs at most one [`Output`]: messages to send now, one write for the
//! disk, entries that are committed. The caller owes three things:
//!
//! 1. Write tasks reach the disk in the order of their numbers, each whole or not at all; when a
//!    task is durable, [`Driver::persisted`] says so. Messages that speak of what a task holds
//!    (votes, confirmations) stay in here until then.
//! 2. Committed entries are applied in order; [`Driver::applied`] says how far.
//! 3. [`Driver::take_output`] is called until it gives `None` before the caller sleeps.
//!
//! The same inputs in the same order give the same outputs: elections are timed by
//! [`super::election`], and nothing else here is random.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::{RawNode, StateRole};

use super::election;
use super::guard::{self, Known};
use super::logger;
use super::storage::{LogSource, RaftStorage, RecoveredLog};
use super::{ConsensusStatus, Role};
use crate::limits::{
    COMMITTED_BYTES_PER_READY_MAX, ELECTION_TICKS, HEARTBEAT_TICKS, INFLIGHT_MESSAGES_MAX,
    MESSAGE_ENTRIES_BYTES_MAX, UNCOMMITTED_BYTES_MAX,
};

pub use super::guard::Refused;
pub use raft::eraftpb::{Entry, HardState, Message, MessageType};

/// The driver of one replica, reading its log through `S`.
pub struct Driver<S: LogSource> {
    raw: RawNode<RaftStorage<S>>,
    voters: Vec<u64>,
    jitter_seed: u64,
    ticks: u64,
    /// Readies handed out and not yet durable, oldest first.
    unpersisted: VecDeque<Unpersisted>,
    /// Messages whose time has come, for the next output.
    released: Vec<Message>,
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
    /// The first index its write replaces, if it holds entries.
    first_index: Option<u64>,
    /// To send once this ready is durable.
    messages: Vec<Message>,
}

/// What a replica is told once, at its start.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// This replica's id; one of the voters.
    pub node_id: u64,
    /// The highest index whose effects are durable in the state: entries above it are handed out
    /// as committed again. Never taken from the hard state.
    pub applied: u64,
    /// Where the election timeouts come from.
    pub jitter_seed: u64,
    /// Newest entries kept in memory, in bytes: `limits::LOG_TAIL_BYTES_MAX`, or less in a test.
    pub tail_bytes_max: usize,
}

/// What the caller must do after a round of inputs.
#[derive(Debug, Default, PartialEq)]
pub struct Output {
    /// To send now, in any order, best effort.
    pub messages: Vec<Message>,
    /// To write, after all earlier ones.
    pub write: Option<WriteTask>,
    /// To apply, in order. All of them are durable here.
    pub committed: Vec<Entry>,
    /// The role, term or leader changed.
    pub role: Option<RoleChange>,
}

/// One atomic write: entries and hard state belong to one record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteTask {
    /// Rises with every task; [`Driver::persisted`] takes it back.
    pub number: u64,
    /// Replace everything from the first one's index on.
    pub entries: Vec<Entry>,
    /// Replaces the older one.
    pub hard_state: Option<HardState>,
    /// Whether a promise depends on it. If not it may wait for the next flush, and counts as
    /// durable at once: it holds no more than a newer commit index, which a restart learns again.
    pub must_sync: bool,
}

/// What this replica believes of the group's leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    pub role: Role,
    pub term: u64,
    pub leader: Option<u64>,
}

/// Where a proposal went in the leader's log. Committed at this very index and term, it is this
/// proposal; at this index with another term, it is another leader's, and this one was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// Why a driver does not start. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum DriverFault {
    #[error("node {node_id} is not among the log's voters {voters:?}")]
    NotVoter { node_id: u64, voters: Vec<u64> },
    #[error("the state has applied index {applied}, the raft log ends at {last_index}: log lost")]
    LogBehindState { applied: u64, last_index: u64 },
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
}

/// Why a proposal was not taken. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeRefused {
    #[error("this replica does not lead")]
    NotLeader,
    #[error("too much is uncommitted")]
    Full,
}

impl<S: LogSource> Driver<S> {
    /// A driver over what the log held.
    pub fn new(
        config: &DriverConfig,
        source: S,
        mut recovered: RecoveredLog,
    ) -> Result<Self, DriverFault> {
        let voters = recovered.voters.clone();
        if !voters.contains(&config.node_id) {
            return Err(DriverFault::NotVoter { node_id: config.node_id, voters });
        }
        let (applied, last_index) = (config.applied, recovered.last_index);
        if applied > last_index {
            return Err(DriverFault::LogBehindState { applied, last_index });
        }
        // The commit index is written without a flush; what was applied was committed all the same.
        recovered.hard_state.commit = recovered.hard_state.commit.max(applied);
        let storage = RaftStorage::new(source, recovered, config.tail_bytes_max);
        let raw = RawNode::new(&raft_config(config), storage, &logger::to_tracing())?;
        let shown = shown(&raw);
        let mut driver = Self {
            raw,
            voters,
            jitter_seed: config.jitter_seed,
            ticks: 0,
            unpersisted: VecDeque::new(),
            released: Vec::new(),
            shown,
            offered: Vec::new(),
            stood_down: false,
        };
        driver.set_election_timeout();
        Ok(driver)
    }

    /// One tick of the caller's clock has passed.
    pub fn tick(&mut self) {
        // A snapshot that is handed out and not applied must not meet an election. None exists in
        // this version: peers' are refused, and a whole log never makes one.
        debug_assert!(self.raw.snap().is_none());
        self.ticks += 1;
        self.forgo_election();
        self.raw.tick();
        self.set_election_timeout();
    }

    /// A message came from a peer.
    pub fn message(&mut self, message: Message) -> Result<(), Refused> {
        let known = Known {
            node_id: self.raw.raft.id,
            voters: &self.voters,
            term: self.raw.raft.term,
            last_index: self.raw.raft.raft_log.last_index(),
            leads: self.raw.raft.state == StateRole::Leader,
        };
        guard::check(&message, &known)?;
        if self.stood_down && message.get_msg_type() == MessageType::MsgTimeoutNow {
            return Ok(()); // offered and not taken: the leader asks another one
        }
        // What raft itself may still say no to (a vote it cannot count) changes nothing.
        let _ = self.raw.step(message);
        self.set_election_timeout();
        Ok(())
    }

    /// Appends one entry, as the leader.
    pub fn propose(&mut self, data: Bytes) -> Result<Position, ProposeRefused> {
        // Never through a follower: raft 0.7 would forward it as MsgPropose, which peers drop.
        if self.raw.raft.state != StateRole::Leader {
            return Err(ProposeRefused::NotLeader);
        }
        let entry = Entry { data, ..Entry::default() };
        let (msg_type, from) = (MessageType::MsgPropose, self.raw.raft.id);
        let proposal =
            Message { msg_type, from, entries: vec![entry].into(), ..Message::default() };
        self.raw.step(proposal).map_err(|_| ProposeRefused::Full)?;
        let (index, term) = (self.raw.raft.raft_log.last_index(), self.raw.raft.term);
        Ok(Position { index, term })
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
            self.released.extend(ready.messages);
        }
        if let Some(newest) = newest {
            self.raw.on_persist_ready(newest);
            let durable_end = self.durable_end();
            self.raw.mut_store().evict(durable_end);
        }
    }

    /// Everything up to `index` is applied.
    pub fn applied(&mut self, index: u64) {
        if index > self.raw.raft.raft_log.applied() {
            self.raw.advance_apply_to(index);
        }
    }

    /// A message to this peer was dropped: its replication starts over from what it confirms.
    pub fn unreachable(&mut self, node_id: u64) {
        self.raw.report_unreachable(node_id);
    }

    /// Asks for votes now instead of waiting for a silence, when there is nobody else to hear.
    pub fn campaign_if_alone(&mut self) {
        if self.voters.len() == 1 {
            let _ = self.raw.campaign();
            self.set_election_timeout();
        }
    }

    /// Offers leadership, if this replica has it, to the other voter that has confirmed the most.
    /// Answers to whom; `None` when there is nobody, or nothing to offer. Until it is taken, or an
    /// election timeout has passed, proposals are refused; asked again, it is the next one's turn.
    pub fn hand_over(&mut self) -> Option<u64> {
        if self.raw.raft.state != StateRole::Leader {
            return None;
        }
        let me = self.raw.raft.id;
        let others: Vec<u64> = self.voters.iter().copied().filter(|id| *id != me).collect();
        if others.iter().all(|id| self.offered.contains(id)) {
            self.offered.clear();
        }
        let progress = self.raw.raft.prs();
        let confirmed = |id: u64| progress.get(id).map_or(0, |of| of.matched);
        let open = others.into_iter().filter(|id| !self.offered.contains(id));
        let next = open.max_by_key(|id| (confirmed(*id), std::cmp::Reverse(*id)))?;
        self.offered.push(next);
        self.raw.transfer_leader(next);
        Some(next)
    }

    /// From now on this replica never asks for votes and takes no leadership that is offered. It
    /// votes and replicates as before. It keeps what leadership it has: see [`Driver::hand_over`].
    pub fn stand_down(&mut self) {
        self.stood_down = true;
    }

    /// Whether [`Driver::take_output`] has something.
    pub fn has_output(&self) -> bool {
        !self.released.is_empty() || self.raw.has_ready()
    }

    /// Whether a write that a promise depends on is still on its way to the disk.
    pub fn is_flushing(&self) -> bool {
        self.unpersisted.iter().any(|ready| ready.must_sync)
    }

    /// One round of work, or `None` when there is nothing to do until the next input.
    pub fn take_output(&mut self) -> Option<Output> {
        if !self.has_output() {
            return None;
        }
        let mut output = Output::default();
        if self.raw.has_ready() {
            self.take_ready(&mut output);
        }
        output.messages.append(&mut self.released);
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

    /// The asynchronous ready of raft 0.7: send the leader's messages, hold back the others,
    /// make the entries readable, and only then tell raft that they are on their way.
    fn take_ready(&mut self, output: &mut Output) {
        let mut ready = self.raw.ready();
        output.messages = ready.take_messages();
        output.committed = ready.take_committed_entries();
        let task = WriteTask {
            number: ready.number(),
            entries: ready.take_entries(),
            hard_state: ready.hs().cloned(),
            must_sync: ready.must_sync(),
        };
        let messages = ready.take_persisted_messages();
        self.raw.mut_store().append(&task.entries);
        self.raw.advance_append_async(ready);
        self.note_write(task, messages, output);
        output.role = self.take_role_change();
    }

    fn note_write(&mut self, task: WriteTask, messages: Vec<Message>, output: &mut Output) {
        let (number, must_sync) = (task.number, task.must_sync);
        let empty = task.entries.is_empty() && task.hard_state.is_none();
        let first_index = task.entries.first().map(|entry| entry.index);
        let ready = Unpersisted { number, empty, must_sync, first_index, messages };
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

    /// A replica that stood down has waited long enough to vote for others, and never so long that
    /// it would ask for votes.
    fn forgo_election(&mut self) {
        let raft = &mut self.raw.raft;
        if self.stood_down && raft.state != StateRole::Leader {
            raft.election_elapsed = raft.election_elapsed.min(ELECTION_TICKS - 1);
            raft.set_randomized_election_timeout(2 * ELECTION_TICKS - 1);
        }
    }

    fn set_election_timeout(&mut self) {
        let (id, term) = (self.raw.raft.id, self.raw.raft.term);
        let timeout = election::timeout_ticks(self.jitter_seed, id, term, self.ticks);
        self.raw.raft.set_randomized_election_timeout(timeout);
    }
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
        ..raft::Config::default()
    }
}
