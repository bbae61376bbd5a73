//! What waits for the raft thread.

use std::collections::{BTreeSet, VecDeque};

use raft::eraftpb::{Message, MessageType};
use tokio::sync::oneshot;

use super::budget::Permit;
use super::driver::{ChangeRefused, TransferRefused};
use super::membership::{Membership, MembershipChange};
use super::snapshot::{Position, SnapshotMeta};
use super::storage::entry_bytes;
use super::{ProposalOutcome, ReadRefused};
use crate::limits::{PEER_MESSAGES_BYTES_MAX, PEER_MESSAGES_MAX, READS_WAITING_MAX};
use crate::waiting::Ticket;

/// Everything that can happen to a replica, except the passing of time.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Bounded by the budget: each holds a permit.
    pub(crate) proposals: VecDeque<Proposal>,
    pub(crate) messages: VecDeque<Message>,
    messages_bytes: usize,
    /// Given back when the messages are taken and done with.
    messages_waiting: Vec<Ticket>,
    /// Peers to whom a message was dropped.
    pub(crate) unreachable: BTreeSet<u64>,
    /// The newest durable write task; 0: no news.
    pub(crate) persisted: u64,
    /// The newest applied index; 0: no news.
    pub(crate) applied: u64,
    /// What the state said of changes of the membership at or below `applied`, in order.
    pub(crate) changed: Vec<(u64, Option<Membership>)>,
    /// Where the snapshot ends that the state has become; 0: no news.
    pub(crate) installed: u64,
    /// A newer snapshot that is durable here.
    pub(crate) snapshot_made: Option<SnapshotMeta>,
    /// A snapshot of another replica, durable here, to become the state.
    pub(crate) install: Option<SnapshotMeta>,
    /// The log may be let go of up to here.
    pub(crate) compact: Option<Position>,
    /// Changes of the membership to propose. Bounded by the budget: each holds a permit.
    pub(crate) changes: VecDeque<ChangeProposal>,
    /// Who waits for a read index.
    pub(crate) reads: Vec<ReadReply>,
    /// To whom leadership is to be offered, and who wants to know.
    pub(crate) transfer: Option<(u64, oneshot::Sender<Result<(), TransferRefused>>)>,
    /// Leadership is to be offered to another replica, if it is held.
    pub(crate) hand_over: bool,
    /// Leadership is never to be sought or taken again.
    pub(crate) stand_down: bool,
    pub(crate) stop: bool,
    /// The raft thread has ended and will never look here again.
    closed: bool,
}

/// An encoded command on its way into an entry, and who waits for it.
pub(crate) struct Proposal {
    pub(crate) command: Vec<u8>,
    pub(crate) reply: oneshot::Sender<ProposalOutcome>,
    pub(crate) permit: Permit,
}

/// A change of the membership, and the command by which the state decides it.
pub(crate) struct ChangeProposal {
    pub(crate) change: MembershipChange,
    pub(crate) proposal: Proposal,
    /// Instead of an outcome, when nothing was appended.
    pub(crate) refused: oneshot::Sender<ChangeRefused>,
}

/// Who waits for a read index.
pub(crate) type ReadReply = oneshot::Sender<Result<u64, ReadRefused>>;

impl Proposal {
    /// Tells the proposer what became of it. A proposer that no longer listens is no fault.
    pub(crate) fn answer(self, outcome: ProposalOutcome) {
        drop(self.permit);
        let _ = self.reply.send(outcome);
    }
}

impl Inbox {
    pub(crate) fn is_ready(&self) -> bool {
        self.stop
            || self.hand_over
            || self.stand_down
            || self.persisted > 0
            || self.applied > 0
            || self.installed > 0
            || self.snapshot_made.is_some()
            || self.install.is_some()
            || self.compact.is_some()
            || self.transfer.is_some()
            || !self.changes.is_empty()
            || !self.reads.is_empty()
            || !self.proposals.is_empty()
            || !self.messages.is_empty()
            || !self.unreachable.is_empty()
    }

    /// Takes a proposal, or gives it back because nobody would ever look at it.
    pub(crate) fn push_proposal(&mut self, proposal: Proposal) -> Result<(), Proposal> {
        if self.closed {
            return Err(proposal);
        }
        self.proposals.push_back(proposal);
        Ok(())
    }

    /// As [`Inbox::push_proposal`].
    pub(crate) fn push_change(&mut self, change: ChangeProposal) -> Result<(), Proposal> {
        if self.closed {
            return Err(change.proposal);
        }
        self.changes.push_back(change);
        Ok(())
    }

    /// Takes a reader, or gives it back because there are too many, or nobody would answer.
    pub(crate) fn push_read(&mut self, reader: ReadReply) -> Result<(), ReadReply> {
        if self.closed || self.reads.len() >= READS_WAITING_MAX {
            return Err(reader);
        }
        self.reads.push(reader);
        Ok(())
    }

    /// The raft thread's last visit. Whoever waits for a read or a change hears a closed channel.
    pub(crate) fn close(&mut self) -> VecDeque<Proposal> {
        self.closed = true;
        self.changes.clear();
        self.reads.clear();
        self.transfer = None;
        std::mem::take(&mut self.proposals)
    }

    /// Takes a peer's message, or says that there is no room.
    pub(crate) fn push_message(&mut self, message: Message, ticket: Ticket) -> bool {
        let bytes = message_bytes(&message);
        if self.messages.len() >= PEER_MESSAGES_MAX
            || self.messages_bytes + bytes > PEER_MESSAGES_BYTES_MAX
        {
            return false;
        }
        self.messages_bytes += bytes;
        self.messages.push_back(message);
        self.messages_waiting.push(ticket);
        true
    }
}

/// What a message costs in memory, near enough.
pub(crate) fn message_bytes(message: &Message) -> usize {
    let carried = message.context.len() + message.get_snapshot().data.len();
    128 + carried + message.entries.iter().map(entry_bytes).sum::<usize>()
}

/// Whether a message brings entries for the disk.
pub(crate) fn is_append(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgAppend
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting::Waiting;
    use raft::eraftpb::Entry;

    fn append_of(bytes: usize) -> Message {
        let entry = Entry { data: vec![0; bytes].into(), ..Entry::default() };
        Message { entries: vec![entry].into(), ..Message::default() }
    }

    fn push(inbox: &mut Inbox, bytes: usize) -> bool {
        inbox.push_message(append_of(bytes), Waiting::default().enter())
    }

    #[test]
    fn peers_fill_the_inbox_by_count_or_by_bytes() {
        let mut inbox = Inbox::default();
        let taken = (0..PEER_MESSAGES_MAX + 1).filter(|_| push(&mut inbox, 0)).count();
        assert_eq!(taken, PEER_MESSAGES_MAX);
        let mut inbox = Inbox::default();
        let taken = (0..70).filter(|_| push(&mut inbox, 1 << 20)).count();
        assert_eq!(taken, 63, "64 MiB hold 63 MiB of entries and what surrounds them");
        // Whatever part of a message the bytes are in.
        let in_context = || Message { context: vec![0; 1 << 20].into(), ..Message::default() };
        let mut in_snapshot = Message::default();
        in_snapshot.mut_snapshot().data = vec![0; 1 << 20].into();
        let mut inbox = Inbox::default();
        let both = (0..35).flat_map(|_| [in_context(), in_snapshot.clone()]);
        let ticket = || Waiting::default().enter();
        let taken = both.filter(|message| inbox.push_message(message.clone(), ticket())).count();
        assert_eq!(taken, 63);
    }
}
