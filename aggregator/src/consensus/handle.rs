//! The door of this room.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use raft::eraftpb::Message;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::apply_thread::ApplyQueue;
use super::budget::Budget;
use super::commits::Commits;
use super::driver::{ChangeRefused, PeerProgress, TransferRefused};
use super::inbox::{ChangeProposal, Inbox, Proposal};
use super::mailbox::Mailbox;
use super::membership::MembershipChange;
use super::outbox::PeerOutbox;
use super::shell::Counters;
use super::snapshot::{Position, SnapshotMeta, SnapshotOffer};
use super::{ConsensusStatus, ProposalOutcome, ReadRefused, Role};
use crate::clock::Clock;
use crate::command::Command;
use crate::limits::{BUSY_RETRY_MS, ENTRY_COMMANDS_BYTES_MAX, LEADERSHIP_OFFER_MS, READ_MS_MAX};
use crate::waiting::Waiting;

/// Proposes commands and shows the group's state. Clones share one replica.
#[derive(Clone)]
pub struct ConsensusHandle {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) inbox: Arc<Mailbox<Inbox>>,
    pub(crate) apply: Arc<Mailbox<ApplyQueue>>,
    pub(crate) commits: Arc<Commits>,
    pub(crate) clock: Clock,
    pub(crate) budget: Arc<Budget>,
    pub(crate) outbox: PeerOutbox,
    pub(crate) seen: Seen,
    pub(crate) counters: Arc<Counters>,
}

/// What the raft thread shows.
pub(crate) struct Seen {
    pub(crate) status: watch::Receiver<ConsensusStatus>,
    pub(crate) progress: watch::Receiver<Vec<PeerProgress>>,
    pub(crate) offer: watch::Receiver<Option<SnapshotOffer>>,
    pub(crate) wanted: watch::Receiver<u64>,
}

impl ConsensusHandle {
    /// Proposes one command and waits for what becomes of it. On a follower it travels to the
    /// leader and back. Dropping the future gives up the answer, not the command.
    pub async fn propose(&self, command: Command) -> ProposalOutcome {
        // A replica that ends drops whoever still waits: as with a lost leader, nobody here knows.
        self.submit(&command).await.unwrap_or(ProposalOutcome::Lost)
    }

    /// As [`ConsensusHandle::propose`], for threads without a runtime: the outcome comes through
    /// the channel. A closed channel means [`ProposalOutcome::Lost`].
    pub fn submit(&self, command: &Command) -> oneshot::Receiver<ProposalOutcome> {
        let status = *self.shared.seen.status.borrow();
        self.submit_encoded(command.encode(), status)
    }

    /// The replica's part in the group, as it changes.
    pub fn status(&self) -> watch::Receiver<ConsensusStatus> {
        self.shared.seen.status.clone()
    }

    /// What this room has done since the start, for the metrics.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// What a command would be told now, before anybody has looked at it, when it would not be
    /// proposed: `Busy`, or that this replica knows no leader.
    pub fn busy(&self) -> Option<ProposalOutcome> {
        if self.shared.seen.status.borrow().leader.is_none() {
            return Some(ProposalOutcome::NotLeader { leader: None });
        }
        let retry_after_ms = self.shared.budget.is_full()?;
        self.shared.counters.proposals_busy.fetch_add(1, Relaxed);
        Some(ProposalOutcome::Busy { retry_after_ms })
    }

    /// Messages for other replicas that wait to be sent.
    pub fn outgoing(&self) -> Waiting {
        self.shared.outbox.waiting()
    }

    /// Proposals under way on this replica, and their bytes.
    pub fn under_way(&self) -> (usize, usize) {
        self.shared.budget.used()
    }

    /// Offers leadership to another replica, if this one has it. Nothing is promised: whoever wants
    /// it gone asks again.
    pub fn hand_over(&self) {
        self.shared.inbox.post(|inbox| inbox.hand_over = true);
    }

    /// This replica never leads again until its next start; it votes and replicates as before. What
    /// leadership it has now, [`ConsensusHandle::hand_over`] gives away.
    pub fn stand_down(&self) {
        self.shared.inbox.post(|inbox| inbox.stand_down = true);
    }

    /// Proposes a change of the membership with the command by which the state decides it, here and
    /// nowhere else: never forwarded. One is under way at a time.
    ///
    /// # Errors
    /// Nothing was proposed. `Pending` also for a moment after each election: try again.
    pub async fn propose_change(
        &self,
        change: MembershipChange,
        command: &Command,
    ) -> Result<ProposalOutcome, ChangeRefused> {
        let command = command.encode();
        let Some(permit) = self.shared.budget.admit(command.len()) else {
            self.shared.counters.proposals_busy.fetch_add(1, Relaxed);
            return Ok(ProposalOutcome::Busy { retry_after_ms: BUSY_RETRY_MS });
        };
        let (reply, outcome) = oneshot::channel();
        let (refused, mut why) = oneshot::channel();
        let change =
            ChangeProposal { change, proposal: Proposal { command, reply, permit }, refused };
        if let Err(proposal) = self.shared.inbox.post(|inbox| inbox.push_change(change)) {
            proposal.answer(ProposalOutcome::Lost);
        }
        match outcome.await {
            Ok(outcome) => Ok(outcome),
            Err(_) => why.try_recv().map_or(Ok(ProposalOutcome::Lost), Err),
        }
    }

    /// Waits until the state here has seen everything that was acknowledged, by any replica, before
    /// this was called; gives the index it has applied by then. Works on every member.
    ///
    /// # Errors
    /// No majority confirmed a leader in time. What is here may be stale.
    pub async fn read_index(&self) -> Result<u64, ReadRefused> {
        let limit = Duration::from_millis(READ_MS_MAX);
        let late = ReadRefused::NoAnswer { waited_ms: READ_MS_MAX };
        timeout(limit, self.read_applied()).await.unwrap_or(Err(late))
    }

    async fn read_applied(&self) -> Result<u64, ReadRefused> {
        let (reader, answer) = oneshot::channel();
        let pushed = self.shared.inbox.post(|inbox| inbox.push_read(reader));
        pushed.map_err(|_| ReadRefused::Busy)?;
        // A closed channel: this replica ends, and nobody will ask for us.
        let index = answer.await.unwrap_or(Err(ReadRefused::Busy))?;
        let mut status = self.status();
        let applied = status.wait_for(|status| status.applied >= index).await;
        applied.map(|status| status.applied).map_err(|_| ReadRefused::Busy)
    }

    /// The state machine is asked to show what it has applied, as soon as it is between two
    /// entries.
    pub fn look(&self) {
        self.shared.apply.post(|apply| apply.look = true);
    }

    /// How long ago, in milliseconds, a state that has applied `applied` had all that was
    /// committed, to within the way of one message; `None`: never since this start, as far as is
    /// known here.
    pub fn age_ms(&self, applied: u64) -> Option<u64> {
        self.shared.commits.age_ms(applied, self.shared.clock.monotonic_ms())
    }

    /// Offers leadership to this voter and waits until it leads, or has let the offer pass.
    ///
    /// # Errors
    /// It does not lead. Nothing else has changed; it may be asked again.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), TransferRefused> {
        let (reply, offered) = oneshot::channel();
        self.shared.inbox.post(|inbox| inbox.transfer = Some((to, reply)));
        // Closed: another caller asked for another one in the same moment, or this replica ends.
        offered.await.unwrap_or(Err(TransferRefused::NotTaken { to }))?;
        let mut status = self.status();
        let taken = status.wait_for(|status| status.leader == Some(to));
        match timeout(Duration::from_millis(LEADERSHIP_OFFER_MS), taken).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(TransferRefused::NotTaken { to }),
        }
    }

    /// How far the others are, by id; empty unless this replica leads. Looked at once a tick.
    pub fn progress(&self) -> watch::Receiver<Vec<PeerProgress>> {
        self.shared.seen.progress.clone()
    }

    /// The snapshot that the leader offers because its log does not reach back to ours; the newest
    /// one. When all that it names is durable here: [`ConsensusHandle::install`].
    pub fn snapshot_offer(&self) -> watch::Receiver<Option<SnapshotOffer>> {
        self.shared.seen.offer.clone()
    }

    /// Rises whenever a peer needs a snapshot and the newest one would not do.
    pub fn snapshot_wanted(&self) -> watch::Receiver<u64> {
        self.shared.seen.wanted.clone()
    }

    /// A snapshot is durable here: peers whose entries are gone are offered it from now on. Also
    /// said at each start.
    pub fn snapshot_made(&self, meta: SnapshotMeta) {
        self.shared.inbox.post(|inbox| inbox.snapshot_made = Some(meta));
    }

    /// All that this snapshot names is durable here. Log and state start over from it, unless they
    /// have got as far by themselves.
    pub fn install(&self, meta: SnapshotMeta) {
        self.shared.inbox.post(|inbox| inbox.install = Some(meta));
    }

    /// Lets go of the log up to `position`, which is not above the newest snapshot.
    pub fn compact(&self, position: Position) {
        self.shared.inbox.post(|inbox| inbox.compact = Some(position));
    }

    /// As [`ConsensusHandle::submit`], but never forwarded: what a follower sent does not travel
    /// on.
    pub(crate) fn submit_here(&self, command: Vec<u8>) -> oneshot::Receiver<ProposalOutcome> {
        let status = *self.shared.seen.status.borrow();
        match status.role {
            Role::Leader => self.submit_encoded(command, status),
            _ => answered(ProposalOutcome::NotLeader { leader: status.leader }),
        }
    }

    /// A message came from a peer. Without room it is dropped and counted; raft sends again.
    pub(crate) fn receive(&self, message: Message) {
        let ticket = self.shared.counters.waiting.peer_messages.enter();
        if !self.shared.inbox.post(|inbox| inbox.push_message(message, ticket)) {
            self.shared.counters.messages_dropped.fetch_add(1, Relaxed);
        }
    }

    /// A message to a peer was lost on the way.
    pub(crate) fn unreachable(&self, node_id: u64) {
        self.shared.inbox.post(|inbox| inbox.unreachable.insert(node_id));
    }

    fn submit_encoded(
        &self,
        command: Vec<u8>,
        status: ConsensusStatus,
    ) -> oneshot::Receiver<ProposalOutcome> {
        let (bytes, bytes_max) = (command.len(), ENTRY_COMMANDS_BYTES_MAX);
        if bytes > bytes_max {
            return answered(ProposalOutcome::TooLarge { bytes_max, bytes });
        }
        let Some(leader) = status.leader else {
            return answered(ProposalOutcome::NotLeader { leader: None });
        };
        let Some(permit) = self.shared.budget.admit(bytes) else {
            self.shared.counters.proposals_busy.fetch_add(1, Relaxed);
            let retry_after_ms = self.shared.budget.retry_after_ms();
            return answered(ProposalOutcome::Busy { retry_after_ms });
        };
        let (reply, outcome) = oneshot::channel();
        let proposal = Proposal { command, reply, permit };
        let queued = if leader == status.node_id {
            self.shared.inbox.post(|inbox| inbox.push_proposal(proposal))
        } else {
            self.shared.outbox.forward(leader, proposal)
        };
        if let Err(refused) = queued {
            refused.answer(ProposalOutcome::Busy { retry_after_ms: BUSY_RETRY_MS });
        }
        outcome
    }
}

fn answered(outcome: ProposalOutcome) -> oneshot::Receiver<ProposalOutcome> {
    let (reply, receiver) = oneshot::channel();
    reply.send(outcome).expect("the receiver is in this function");
    receiver
}
