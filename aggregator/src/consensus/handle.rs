//! The door of this room.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use raft::eraftpb::Message;
use tokio::sync::{oneshot, watch};

use super::budget::Budget;
use super::inbox::{Inbox, Proposal};
use super::mailbox::Mailbox;
use super::outbox::PeerOutbox;
use super::shell::Counters;
use super::{ConsensusStatus, ProposalOutcome, Role};
use crate::command::Command;
use crate::limits::{BUSY_RETRY_MS, ENTRY_COMMANDS_BYTES_MAX, NO_LEADER_RETRY_MS};

/// Proposes commands and shows the group's state. Clones share one replica.
#[derive(Clone)]
pub struct ConsensusHandle {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) inbox: Arc<Mailbox<Inbox>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) outbox: PeerOutbox,
    pub(crate) status: watch::Receiver<ConsensusStatus>,
    pub(crate) counters: Arc<Counters>,
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
        let status = *self.shared.status.borrow();
        self.submit_encoded(command.encode(), status)
    }

    /// The replica's part in the group, as it changes.
    pub fn status(&self) -> watch::Receiver<ConsensusStatus> {
        self.shared.status.clone()
    }

    /// What this room has done since the start, for the metrics.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
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

    /// As [`ConsensusHandle::submit`], but never forwarded: what a follower sent does not travel
    /// on.
    pub(crate) fn submit_here(&self, command: Vec<u8>) -> oneshot::Receiver<ProposalOutcome> {
        let status = *self.shared.status.borrow();
        match status.role {
            Role::Leader => self.submit_encoded(command, status),
            _ => answered(ProposalOutcome::NotLeader { leader: status.leader }),
        }
    }

    /// A message came from a peer. Without room it is dropped and counted; raft sends again.
    pub(crate) fn receive(&self, message: Message) {
        if !self.shared.inbox.post(|inbox| inbox.push_message(message)) {
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
            return answered(ProposalOutcome::Busy { retry_after_ms: NO_LEADER_RETRY_MS });
        };
        let Some(permit) = self.shared.budget.admit(bytes) else {
            self.shared.counters.proposals_busy.fetch_add(1, Relaxed);
            return answered(ProposalOutcome::Busy { retry_after_ms: BUSY_RETRY_MS });
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
