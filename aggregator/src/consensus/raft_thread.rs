//! The raft thread: gives the driver its clock and its inputs, and carries its outputs away.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use raft::eraftpb::Message;
use tokio::sync::watch;

use super::apply_thread::ApplyQueue;
use super::commits::Commits;
use super::driver::{
    ChangeRefused, Driver, Output, PeerProgress, ProposeRefused, Refused, RoleChange,
};
use super::heard::Heard;
use super::inbox::{ChangeProposal, Inbox, is_append};
use super::log_thread::LogQueue;
use super::mailbox::Mailbox;
use super::membership::Membership;
use super::outbox::PeerOutbox;
use super::pack::Packer;
use super::reads::Reads;
use super::shell::Counters;
use super::snapshot::SnapshotOffer;
use super::storage::LogSource;
use super::waiters::Waiters;
use super::{ConsensusStatus, ProposalOutcome, Role};
use crate::clock::Clock;
use crate::limits::{BUSY_RETRY_MS, LOG_QUEUE_BYTES_MAX, LOG_STALL_TICKS_MAX, RAFT_TICK_MS};

/// Owns the driver; the only thread that touches it.
pub(crate) struct RaftThread<S: LogSource> {
    pub(crate) driver: Driver<S>,
    pub(crate) clock: Clock,
    pub(crate) inbox: Arc<Mailbox<Inbox>>,
    pub(crate) log: Arc<Mailbox<LogQueue>>,
    pub(crate) apply: Arc<Mailbox<ApplyQueue>>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) outbox: PeerOutbox,
    pub(crate) shown: Shown,
    pub(crate) counters: Arc<Counters>,
    pub(crate) packer: Packer,
    pub(crate) reads: Reads,
    pub(crate) commits: Arc<Commits>,
    pub(crate) heard: Heard,
    /// Ticks since the disk last finished something while something waits for it.
    pub(crate) stalled_ticks: u64,
}

/// What others watch.
pub(crate) struct Shown {
    pub(crate) status: watch::Sender<ConsensusStatus>,
    pub(crate) progress: watch::Sender<Vec<PeerProgress>>,
    pub(crate) offer: watch::Sender<Option<SnapshotOffer>>,
    /// How often a snapshot was wanted.
    pub(crate) wanted: watch::Sender<u64>,
}

impl<S: LogSource> RaftThread<S> {
    /// Rounds of: inputs or a tick, then one output; until told to stop.
    pub(crate) fn run(mut self) {
        let mut tick_at_ms = self.clock.monotonic_ms() + RAFT_TICK_MS;
        loop {
            let inbox = self.next_inbox(tick_at_ms);
            let now_ms = self.clock.monotonic_ms();
            if now_ms >= tick_at_ms {
                self.tick();
                // A process that was stopped for a while has missed ticks, and does not catch up:
                // a burst of them would only cause an election.
                tick_at_ms = (tick_at_ms + RAFT_TICK_MS).max(now_ms);
            }
            let stop = inbox.stop;
            self.take_inputs(inbox);
            self.propose();
            self.round();
            if stop {
                return self.stop();
            }
        }
    }

    fn next_inbox(&self, tick_at_ms: u64) -> Inbox {
        let until_tick_ms = tick_at_ms.saturating_sub(self.clock.monotonic_ms());
        let wait_ms = if self.driver.has_output() { 0 } else { until_tick_ms };
        self.inbox.take_within(Inbox::is_ready, Duration::from_millis(wait_ms))
    }

    fn take_inputs(&mut self, mut inbox: Inbox) {
        if inbox.persisted > 0 {
            self.driver.persisted(inbox.persisted);
            self.stalled_ticks = 0;
        }
        self.take_applied(&mut inbox);
        self.take_snapshots(&mut inbox);
        for node_id in inbox.unreachable {
            self.driver.unreachable(node_id);
        }
        for message in inbox.messages {
            self.take_message(message);
        }
        if inbox.stand_down {
            self.driver.stand_down();
        }
        if inbox.hand_over {
            self.hand_over();
        }
        if let Some((to, reply)) = inbox.transfer {
            // Who no longer listens is no fault.
            let _ = reply.send(self.driver.transfer_leader(to));
        }
        inbox.changes.into_iter().for_each(|change| self.propose_change(change));
        self.reads.push(inbox.reads);
        self.reads.ask(&mut self.driver);
        self.packer.push(inbox.proposals);
    }

    /// What the state says of each change reaches raft before the index of its entry does.
    fn take_applied(&mut self, inbox: &mut Inbox) {
        if inbox.installed > 0 {
            self.driver.snapshot_installed(inbox.installed);
        }
        for (index, after) in std::mem::take(&mut inbox.changed) {
            self.note_change(index, after.as_ref());
            self.driver.change_applied(index, after);
            self.driver.applied(index);
        }
        if inbox.applied > 0 {
            self.driver.applied(inbox.applied);
        }
    }

    fn note_change(&self, index: u64, after: Option<&Membership>) {
        match after {
            Some(after) => tracing::info!(index, ?after, "membership changed"),
            None => tracing::info!(index, "a change of the membership was refused by the state"),
        }
    }

    fn take_snapshots(&mut self, inbox: &mut Inbox) {
        if let Some(meta) = inbox.snapshot_made.take() {
            self.driver.snapshot_made(meta);
        }
        if let Some(meta) = inbox.install.take() {
            self.driver.install(meta);
        }
        if let Some(position) = inbox.compact.take()
            && let Err(refused) = self.driver.compact(position)
        {
            tracing::warn!(%refused, "raft log not compacted");
        }
    }

    fn tick(&mut self) {
        self.driver.tick();
        self.reads.tick();
        self.watch_disk();
        let progress = self.heard.smooth(self.driver.progress());
        self.shown.progress.send_if_modified(|shown| {
            let changed = *shown != progress;
            *shown = progress;
            changed
        });
    }

    /// Alone in its entry: raft applies the change between two entries, and so does the state.
    fn propose_change(&mut self, change: ChangeProposal) {
        let ChangeProposal { change, mut proposal, refused } = change;
        let command = std::mem::take(&mut proposal.command);
        let context = self.packer.pack_one(self.clock.unix_ms(), command);
        match self.driver.propose_change(&change, context) {
            Ok(position) => self.waiters.wait(position, vec![proposal]),
            Err(ChangeRefused::Propose(ProposeRefused::NotLeader)) => {
                let leader = self.driver.status().leader;
                proposal.answer(ProposalOutcome::NotLeader { leader });
            }
            // The proposal's own channel closes: the caller looks here.
            Err(why) => drop(refused.send(why)),
        }
    }

    fn hand_over(&mut self) {
        if self.driver.status().role == Role::Leader {
            let to = self.driver.hand_over();
            tracing::warn!(to, "leadership is offered to another replica");
        }
    }

    /// A leader whose disk hangs would go on heartbeating and commit with the others' disks, slower
    /// and slower: better that one of them leads. Ticks are counted, not time: a process that was
    /// stopped itself has not been waiting.
    fn watch_disk(&mut self) {
        self.stalled_ticks = if self.driver.is_flushing() { self.stalled_ticks + 1 } else { 0 };
        if self.stalled_ticks > LOG_STALL_TICKS_MAX {
            tracing::error!("the raft log's disk hangs: the process ends here");
            std::process::abort();
        }
    }

    fn take_message(&mut self, message: Message) {
        if is_append(&message) && self.log.peek(|log| log.bytes) > LOG_QUEUE_BYTES_MAX {
            self.counters.messages_dropped.fetch_add(1, Relaxed);
            return;
        }
        let told = is_append(&message).then_some((message.from, message.commit));
        match self.driver.message(message) {
            Ok(()) => self.note_commit(told),
            Err(refused @ Refused::LogLost { .. }) => {
                tracing::error!(%refused, "this raft log lost what it confirmed: ending here");
                std::process::abort();
            }
            Err(refused) => {
                self.counters.messages_refused.fetch_add(1, Relaxed);
                tracing::warn!(slug = refused.slug(), %refused, "message from a peer refused");
            }
        }
    }

    /// An append of the leader says how far the group is. A heartbeat does not: it says no more
    /// than this replica is known to have.
    fn note_commit(&self, told: Option<(u64, u64)>) {
        if let Some((from, commit)) = told
            && self.driver.status().leader == Some(from)
        {
            self.commits.note(commit, self.clock.monotonic_ms());
        }
    }

    /// Packs what waits, unless a flush runs and more may still come to fill the entry.
    fn propose(&mut self) {
        let status = self.driver.status();
        if status.role != Role::Leader {
            let leader = status.leader;
            return self.packer.refuse_all(&ProposalOutcome::NotLeader { leader });
        }
        while !self.packer.is_empty() && (self.packer.is_full() || !self.driver.is_flushing()) {
            self.propose_entry(status.leader);
        }
    }

    fn propose_entry(&mut self, leader: Option<u64>) {
        let (data, proposals) = self.packer.pack(self.clock.unix_ms());
        let commands = proposals.len() as u64;
        match self.driver.propose(data) {
            Ok(position) => {
                self.counters.entries_proposed.fetch_add(1, Relaxed);
                self.counters.commands_proposed.fetch_add(commands, Relaxed);
                self.waiters.wait(position, proposals);
            }
            Err(refused) => {
                let outcome = match refused {
                    ProposeRefused::NotLeader => ProposalOutcome::NotLeader { leader },
                    ProposeRefused::Full => ProposalOutcome::Busy { retry_after_ms: BUSY_RETRY_MS },
                };
                proposals.into_iter().for_each(|proposal| proposal.answer(outcome.clone()));
            }
        }
    }

    fn round(&mut self) {
        if let Some(output) = self.driver.take_output() {
            self.carry(output);
        }
        let status = self.driver.status();
        // A leader's commit moves by the word of a majority, and by nothing else.
        if status.role == Role::Leader && self.shown.status.borrow().commit != status.commit {
            self.commits.note(status.commit, self.clock.monotonic_ms());
        }
        self.shown.status.send_if_modified(|shown| std::mem::replace(shown, status) != status);
    }

    fn carry(&mut self, output: Output) {
        for message in output.messages {
            self.send(message);
        }
        if let Some(task) = output.write {
            let ticket = self.counters.waiting.raft_log.enter();
            self.log.post(|log| log.push(task, ticket));
        }
        if let Some(position) = output.compact {
            self.log.post(|log| log.compact = Some(position));
        }
        if let Some(meta) = output.install {
            tracing::info!(index = meta.position.index, "the state becomes a snapshot");
            self.apply.post(|apply| apply.push_install(meta));
        }
        if let Some(offer) = output.offer {
            self.shown.offer.send_if_modified(|shown| shown.replace(offer.clone()) != Some(offer));
        }
        if output.snapshot_wanted {
            self.shown.wanted.send_modify(|times| *times += 1);
        }
        self.reads.answer(&output.reads);
        if !output.committed.is_empty() {
            let ticket = self.counters.waiting.apply.enter();
            self.apply.post(|apply| apply.push(output.committed, ticket));
        }
        if let Some(change) = output.role {
            self.note_role(change);
        }
    }

    fn send(&mut self, message: Message) {
        let to = message.to;
        if !self.outbox.send(message) {
            self.counters.messages_dropped.fetch_add(1, Relaxed);
            self.driver.unreachable(to);
        }
    }

    fn note_role(&self, change: RoleChange) {
        let RoleChange { role, term, leader } = change;
        tracing::info!(role = role.slug(), term, leader, "consensus role");
        // A leader keeps those who wait for its own term; anybody else can only let go.
        let kept_from = if role == Role::Leader { term } else { u64::MAX };
        self.waiters.lose_before(kept_from);
    }

    /// Ends in order: nobody waits for ever, what is written is flushed, what is committed applied.
    fn stop(mut self) {
        self.packer.push(self.inbox.post(Inbox::close));
        self.packer.refuse_all(&ProposalOutcome::NotLeader { leader: None });
        self.log.post(|log| log.stop = true);
        self.apply.post(|apply| apply.stop = true);
    }
}
