//! One virtual node: the real driver, state and recorder over a virtual disk.
//!
//! It does what the aggregator's threads do, one thing at a time: what waits is proposed, what the
//! driver says is carried away, what is committed is applied, what is applied is recorded.

mod catch_up;
mod log;
mod machine;
mod requests;
mod saved;
mod snapshots;
mod start;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use proofmark_aggregator::catchup::CatchUp;
use proofmark_aggregator::clock::Clock;
use proofmark_aggregator::command::{Command, Entry as PackedEntry};
use proofmark_aggregator::consensus::driver::{Driver, Entry, Message, Output, Read, RoleChange};
use proofmark_aggregator::consensus::log_store::LogStore;
use proofmark_aggregator::consensus::{
    Membership, Position, ProposalOutcome, Role, SnapshotMeta, SnapshotOffer,
};
use proofmark_aggregator::recorder::{Core, Health, RecorderTask};
use proofmark_aggregator::snapshot::SnapshotStore;
use proofmark_evidence::Hash;

pub(super) use requests::accepted_up_to;
pub(super) use requests::{Answered, Asker, Request};
pub(super) use snapshots::{load, replace_evidence};
pub(super) use start::NoStart;

use super::Planted;
use super::disk::Disk;
use log::Log;
use machine::Machine;
use requests::Waiting;

/// Commands in one packed entry, so that several entries are needed when many wait.
const ENTRY_COMMANDS_MAX: usize = 4;

pub(super) struct Replica {
    pub(super) id: u64,
    /// Rises with each start: what was under way in an earlier life is not delivered to a later.
    pub(super) life: u64,
    pub(super) disk: Disk,
    /// Everything that a crash takes.
    pub(super) up: Option<Up>,
    /// Why it does not start any more, until somebody repairs it.
    pub(super) broken: Option<String>,
    pub(super) planted: Option<Planted>,
    /// The highest index that any life of it has applied.
    applied_once: u64,
}

pub(super) struct Up {
    pub(super) driver: Driver<LogStore>,
    pub(super) log: Log,
    pub(super) machine: Machine,
    pub(super) recorder: Core,
    pub(super) health: Health,
    pub(super) clock: Clock,
    /// What the recorder wants proposed.
    pub(super) proposals: Arc<Mutex<Vec<Command>>>,
    pub(super) recorder_queue: VecDeque<RecorderTask>,
    pub(super) apply_queue: VecDeque<Entry>,
    requests: VecDeque<Request>,
    waiting: Waiting,
    /// Sent on to the leader, by token.
    pub(super) forwarded: BTreeMap<u64, Request>,
    stamped_at_ms: u64,
    /// Reads under way: their token, what they must see, and the index once it is known.
    pub(super) reads: BTreeMap<u64, PendingRead>,
    /// The last index that its log held at the start.
    pub(super) log_end: u64,
    /// What an earlier life has applied up to here, this one applies again.
    applied_before: u64,
    log_id: Hash,
    pub(super) snapshots: SnapshotStore,
    pub(super) catching_up: CatchUp,
    /// The newest snapshot that a leader has offered.
    pub(super) offer: Option<SnapshotOffer>,
    /// After a snapshot that could not be had.
    resting_until_ms: u64,
    /// The log begins after this snapshot, and the state is not it yet.
    pub(super) installing: Option<SnapshotMeta>,
}

/// A linearizable read of one agent's next number.
pub(super) struct PendingRead {
    pub(super) agent: usize,
    /// What was acknowledged before it was asked for.
    pub(super) expects: u64,
    pub(super) index: Option<u64>,
}

/// What a round brought forth for the world to carry away.
#[derive(Default)]
pub(super) struct Round {
    pub(super) messages: Vec<Message>,
    pub(super) committed: Vec<Entry>,
    pub(super) leads_term: Option<u64>,
    pub(super) role: Option<RoleChange>,
    pub(super) answers: Vec<Answered>,
    /// To the leader, by node id.
    pub(super) forwards: Vec<(u64, Request)>,
    pub(super) reads: Vec<Read>,
    /// The log starts over: the state must become this.
    pub(super) install: Option<SnapshotMeta>,
    /// The log may be let go of up to here.
    pub(super) compact: Option<Position>,
}

/// What applying one entry brought forth.
pub(super) struct AppliedEntry {
    pub(super) applied: machine::Applied,
    pub(super) answers: Vec<Answered>,
}

impl Replica {
    pub(super) fn new(id: u64, disk: Disk, planted: Option<Planted>) -> Self {
        Self { id, life: 0, disk, up: None, broken: None, planted, applied_once: 0 }
    }

    pub(super) fn place(&self) -> usize {
        usize::try_from(self.id - 1).expect("few nodes")
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Whatever was in memory is gone.
    pub(super) fn end(&mut self) {
        if let Some(up) = self.up.take() {
            self.applied_once = self.applied_once.max(up.machine.applied());
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.driver.status().role == Role::Leader)
    }

    /// Proposes what waits and takes everything the driver has to say.
    pub(super) fn settle(&mut self, now_ms: u64) -> Round {
        let mut round = Round::default();
        let planted = self.planted;
        let Some(up) = &mut self.up else { return round };
        up.clock.set_unix_ms(now_ms);
        loop {
            up.take_proposals();
            up.propose(now_ms, planted, &mut round);
            let Some(output) = up.driver.take_output() else { return round };
            up.carry(output, planted, &mut round);
        }
    }

    /// Makes the state durable, after the evidence it counts. Any applied index will do, but a
    /// whole one.
    ///
    /// # Errors
    /// The disk failed: the process ends.
    pub(super) fn save(&mut self) -> Result<(), String> {
        let planted = self.planted;
        let Some(up) = &mut self.up else { return Ok(()) };
        if up.installing.is_some() {
            return Ok(()); // the log begins after the snapshot: an older state does not go with it
        }
        if planted != Some(Planted::SavedBeforeEvidence) {
            up.record_all()?;
            up.recorder.sync().map_err(|fault| fault.to_string())?;
        }
        // A crash here leaves evidence newer than the saved state: the entries between are applied
        // again, and their leaves compared with those on disk.
        let head = up.machine.rows.get(&b"h"[..]).cloned();
        up.machine.take_rows();
        if let (Some(Planted::AppliedIndexNotAtomic), Some(head)) = (planted, head) {
            let mut torn = up.machine.rows.clone();
            // The index is written when the rows are written next.
            torn.insert(b"h".to_vec(), head);
            return saved::save(&self.disk, &torn).map_err(|fault| fault.to_string());
        }
        saved::save(&self.disk, &up.machine.rows).map_err(|fault| fault.to_string())?;
        // A crash here leaves tables newer than any snapshot, as most of the time.
        up.make_snapshot().map_err(|fault| fault.to_string())
    }

    /// The state was taken from the snapshot at this index: the tables follow it.
    ///
    /// # Errors
    /// The disk failed: the process ends.
    pub(super) fn keep_installed(&mut self, index: u64) -> Result<(), String> {
        let Some(up) = &mut self.up else { return Ok(()) };
        saved::save(&self.disk, &up.machine.rows).map_err(|fault| fault.to_string())?;
        up.snapshots.prune(index).map_err(|fault| fault.to_string())
    }
}

impl Up {
    /// Who votes, as the state says; before it says anything of it, as the log was made.
    pub(super) fn membership(&self) -> Membership {
        let first = || Membership::of_voters(self.log.store.first_voters().iter().copied());
        self.machine.state.members().membership().cloned().unwrap_or_else(first)
    }

    pub(super) fn request(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    /// The recorder's next task.
    ///
    /// # Errors
    /// The disk failed: the process ends.
    pub(super) fn record_next(&mut self) -> Result<(), String> {
        match self.recorder_queue.pop_front() {
            Some(task) => self.recorder.take(task).map_err(|fault| fault.to_string()),
            None => Ok(()),
        }
    }

    pub(super) fn record_all(&mut self) -> Result<(), String> {
        while !self.recorder_queue.is_empty() {
            self.record_next()?;
        }
        Ok(())
    }

    /// Applies one committed entry and answers those who wait for it.
    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        planted: Option<Planted>,
    ) -> Result<AppliedEntry, String> {
        let local_ms = self.clock.unix_ms();
        let mut applied = self.machine.apply(entry.index, &entry.data, local_ms)?;
        self.driver.applied(entry.index);
        let is_lost =
            planted == Some(Planted::EffectsLostOnRestart) && entry.index <= self.applied_before;
        let effects = if is_lost { Vec::new() } else { applied.effects.clone() };
        self.recorder_queue.extend(self.machine.task(entry.index, effects));
        let replies = std::mem::take(&mut applied.replies);
        let any_term = planted == Some(Planted::AckOfAnotherTerm);
        let answers = self.waiting.applied(entry.index, entry.term, replies, any_term);
        Ok(AppliedEntry { applied, answers })
    }

    /// Duties of the recorder: its cosignatures and seals.
    fn take_proposals(&mut self) {
        let proposals = std::mem::take(&mut *self.proposals.lock().expect("one thread"));
        for command in proposals {
            self.requests.push_back(Request::new(Asker::Nobody, &command));
        }
    }

    fn propose(&mut self, now_ms: u64, planted: Option<Planted>, round: &mut Round) {
        let status = self.driver.status();
        if status.role != Role::Leader {
            return self.pass_on(status.leader, round);
        }
        while !self.requests.is_empty() && !self.driver.is_flushing() {
            let mut requests = requests::take_some(&mut self.requests, ENTRY_COMMANDS_MAX);
            let commands: Vec<Vec<u8>> =
                requests.iter_mut().map(|request| std::mem::take(&mut request.command)).collect();
            self.stamped_at_ms = self.stamped_at_ms.max(now_ms);
            match self.driver.propose(PackedEntry::pack(self.stamped_at_ms, &commands).into()) {
                Ok(_) if planted == Some(Planted::AckBeforeCommit) => {
                    let early = || ProposalOutcome::Applied(requests::accepted());
                    round.answers.extend(requests.into_iter().map(|request| (request, early())));
                }
                Ok(at) => self.waiting.insert(at.index, at.term, requests),
                Err(_) => {
                    let busy = || ProposalOutcome::Busy { retry_after_ms: 50 };
                    round.answers.extend(requests.into_iter().map(|request| (request, busy())));
                }
            }
        }
    }

    /// A follower forwards what it is asked, once; what was forwarded to it goes back.
    fn pass_on(&mut self, leader: Option<u64>, round: &mut Round) {
        let me = self.driver.status().node_id;
        for request in std::mem::take(&mut self.requests) {
            match (request.asker, leader) {
                (Asker::Stream { .. } | Asker::Operator { .. } | Asker::Nobody, Some(to))
                    if to != me =>
                {
                    round.forwards.push((to, request));
                }
                _ => round.answers.push((request, ProposalOutcome::NotLeader { leader })),
            }
        }
    }

    fn carry(&mut self, output: Output, planted: Option<Planted>, round: &mut Round) {
        round.messages.extend(output.messages);
        round.reads.extend(output.reads);
        self.offer = output.offer.or(self.offer.take());
        if output.install.is_some() {
            // What waited is part of the snapshot: it is not applied any more.
            self.apply_queue.clear();
            round.install = output.install;
        }
        round.compact = output.compact.max(round.compact);
        self.apply_queue.extend(output.committed.iter().cloned());
        round.committed.extend(output.committed);
        if let Some(task) = output.write {
            let number = task.number;
            self.log.push(task, planted);
            if planted == Some(Planted::AckBeforeFsync) {
                self.driver.persisted(number);
            }
        }
        if let Some(change) = output.role {
            let leads = change.role == Role::Leader;
            round.leads_term = leads.then_some(change.term);
            round.role = Some(change);
            let lost = match planted {
                // Whoever waits at an index hears of it when something is committed there.
                Some(Planted::AckOfAnotherTerm) => Vec::new(),
                _ => self.waiting.lose_before(if leads { change.term } else { u64::MAX }),
            };
            let outcome = || match planted {
                Some(Planted::LostTakenForApplied) => {
                    ProposalOutcome::Applied(requests::accepted())
                }
                _ => ProposalOutcome::Lost,
            };
            round.answers.extend(lost.into_iter().map(|request| (request, outcome())));
        }
    }
}
