//! One virtual node: the real driver over a virtual disk, and the real state.
//!
//! It does what the aggregator's threads do, one thing at a time.

use std::collections::{BTreeMap, VecDeque};

use proofmark_aggregator::command::{Entry as PackedEntry, Reply};
use proofmark_aggregator::consensus::driver::{Driver, DriverConfig, Entry, Message, Output};
use proofmark_aggregator::consensus::{Membership, ProposalOutcome, Role};

use super::Planted;
use super::disk::Disk;
use super::machine::Machine;

/// Commands in one packed entry, so that several entries are needed when many wait.
const ENTRY_COMMANDS_MAX: usize = 4;
/// Small, so that followers that lag are served from the disk and not from memory.
const TAIL_BYTES_MAX: usize = 2_000;

/// A command someone waits for; `client` is `None` for the leader's own ticks.
pub(super) struct Request {
    pub(super) client: Option<usize>,
    pub(super) number: u64,
    pub(super) command: Vec<u8>,
}

/// What a round brought forth for the world to carry away.
#[derive(Default)]
pub(super) struct Round {
    pub(super) messages: Vec<Message>,
    pub(super) committed: Vec<Entry>,
    pub(super) leads_term: Option<u64>,
    pub(super) answers: Vec<(Request, ProposalOutcome)>,
}

pub(super) struct Replica {
    pub(super) node_id: u64,
    /// Rises with each start: what was under way in an earlier life is not delivered to a later.
    pub(super) life: u64,
    pub(super) driver: Option<Driver<Disk>>,
    pub(super) disk: Disk,
    pub(super) machine: Machine,
    /// What a restart begins with.
    saved: Machine,
    pub(super) apply_queue: VecDeque<Entry>,
    requests: VecDeque<Request>,
    waiting: BTreeMap<u64, (u64, Vec<Request>)>,
    stamped_at_ms: u64,
    planted: Option<Planted>,
}

impl Replica {
    pub(super) fn new(node_id: u64, voters: &[u64], planted: Option<Planted>) -> Self {
        let machine = Machine::new(planted);
        Self {
            node_id,
            life: 0,
            driver: None,
            disk: Disk::new(voters, planted),
            saved: machine.clone(),
            machine,
            apply_queue: VecDeque::new(),
            requests: VecDeque::new(),
            waiting: BTreeMap::new(),
            stamped_at_ms: 0,
            planted,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.driver.is_some()
    }

    pub(super) fn leads(&self) -> bool {
        self.driver.as_ref().is_some_and(|driver| driver.status().role == Role::Leader)
    }

    /// Starts from the disk and the saved state.
    pub(super) fn start(&mut self, jitter_seed: u64) -> Result<(), String> {
        self.machine = self.saved.clone();
        let recovered = self.disk.recover();
        let mut applied = self.machine.applied();
        if self.planted == Some(Planted::AppliedFromHardState) {
            applied = applied.max(recovered.hard_state.commit);
        }
        let node_id = self.node_id;
        let tail_bytes_max = TAIL_BYTES_MAX;
        let membership = Membership::of_voters(recovered.voters.iter().copied());
        let config = DriverConfig { node_id, applied, membership, jitter_seed, tail_bytes_max };
        let driver = Driver::new(&config, self.disk.clone(), recovered);
        self.driver = Some(driver.map_err(|fault| format!("node {node_id} start: {fault}"))?);
        self.life += 1;
        Ok(())
    }

    /// Makes the state durable. Like the tables: any applied index will do, but a whole one.
    pub(super) fn save(&mut self) {
        self.saved = self.machine.clone();
    }

    /// Loses everything that was only in memory.
    pub(super) fn crash(&mut self) {
        self.driver = None;
        self.apply_queue.clear();
        self.requests.clear();
        self.waiting.clear();
    }

    pub(super) fn request(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    /// Proposes what waits and takes everything the driver has to say.
    pub(super) fn settle(&mut self, now_ms: u64) -> Round {
        let mut round = Round::default();
        loop {
            self.propose(now_ms, &mut round);
            let Some(output) = self.driver.as_mut().and_then(Driver::take_output) else {
                return round;
            };
            self.carry(output, &mut round);
        }
    }

    /// Applies one committed entry and answers those who wait for it.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<Vec<(Request, Reply)>, String> {
        let replies = self.machine.apply(entry.index, &entry.data)?;
        if let Some(driver) = &mut self.driver {
            driver.applied(entry.index);
        }
        match self.waiting.remove(&entry.index) {
            Some((term, requests)) if term == entry.term => {
                Ok(requests.into_iter().zip(replies).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn propose(&mut self, now_ms: u64, round: &mut Round) {
        let Some(driver) = &mut self.driver else { return };
        let status = driver.status();
        if status.role != Role::Leader {
            let outcome = ProposalOutcome::NotLeader { leader: status.leader };
            round.answers.extend(self.requests.drain(..).map(|r| (r, outcome.clone())));
        }
        while !self.requests.is_empty() && !driver.is_flushing() {
            let count = self.requests.len().min(ENTRY_COMMANDS_MAX);
            let mut requests: Vec<Request> = self.requests.drain(..count).collect();
            let commands: Vec<Vec<u8>> =
                requests.iter_mut().map(|r| std::mem::take(&mut r.command)).collect();
            self.stamped_at_ms = self.stamped_at_ms.max(now_ms);
            match driver.propose(PackedEntry::pack(self.stamped_at_ms, &commands).into()) {
                Ok(_) if self.planted == Some(Planted::AckBeforeCommit) => {
                    let early = Reply::Accepted { seq_end: 0, leaf_index: 0 };
                    let early = ProposalOutcome::Applied(early);
                    round.answers.extend(requests.into_iter().map(|r| (r, early.clone())));
                }
                Ok(at) => drop(self.waiting.insert(at.index, (at.term, requests))),
                Err(_) => {
                    let busy = ProposalOutcome::Busy { retry_after_ms: 50 };
                    round.answers.extend(requests.into_iter().map(|r| (r, busy.clone())));
                }
            }
        }
    }

    fn carry(&mut self, output: Output, round: &mut Round) {
        round.messages.extend(output.messages);
        self.apply_queue.extend(output.committed.iter().cloned());
        round.committed.extend(output.committed);
        if let Some(task) = output.write {
            let number = task.number;
            self.disk.write(task);
            if self.planted == Some(Planted::AckBeforePersist)
                && let Some(driver) = &mut self.driver
            {
                driver.persisted(number);
            }
        }
        if let Some(change) = output.role {
            round.leads_term = (change.role == Role::Leader).then_some(change.term);
            let kept_from = if change.role == Role::Leader { change.term } else { u64::MAX };
            self.lose_before(kept_from, round);
        }
    }

    fn lose_before(&mut self, term: u64, round: &mut Round) {
        let (lost, kept) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, (t, _))| *t < term);
        self.waiting = kept;
        let lost: BTreeMap<u64, (u64, Vec<Request>)> = lost;
        let lost = lost.into_values().flat_map(|(_, requests)| requests);
        round.answers.extend(lost.map(|request| (request, ProposalOutcome::Lost)));
    }
}
