//! What waits for the raft thread.

use std::collections::{BTreeSet, VecDeque};

use raft::eraftpb::{Message, MessageType};
use tokio::sync::oneshot;

use super::ProposalOutcome;
use super::budget::Permit;
use super::storage::entry_bytes;
use crate::limits::{PEER_MESSAGES_BYTES_MAX, PEER_MESSAGES_MAX};

/// Everything that can happen to a replica, except the passing of time.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Bounded by the budget: each holds a permit.
    pub(crate) proposals: VecDeque<Proposal>,
    pub(crate) messages: VecDeque<Message>,
    messages_bytes: usize,
    /// Peers to whom a message was dropped.
    pub(crate) unreachable: BTreeSet<u64>,
    /// The newest durable write task; 0: no news.
    pub(crate) persisted: u64,
    /// The newest applied index; 0: no news.
    pub(crate) applied: u64,
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

    /// The raft thread's last visit.
    pub(crate) fn close(&mut self) -> VecDeque<Proposal> {
        self.closed = true;
        std::mem::take(&mut self.proposals)
    }

    /// Takes a peer's message, or says that there is no room.
    pub(crate) fn push_message(&mut self, message: Message) -> bool {
        let bytes = message_bytes(&message);
        if self.messages.len() >= PEER_MESSAGES_MAX
            || self.messages_bytes + bytes > PEER_MESSAGES_BYTES_MAX
        {
            return false;
        }
        self.messages_bytes += bytes;
        self.messages.push_back(message);
        true
    }
}

/// What a message costs in memory, near enough.
pub(crate) fn message_bytes(message: &Message) -> usize {
    128 + message.entries.iter().map(entry_bytes).sum::<usize>()
}

/// Whether a message brings entries for the disk.
pub(crate) fn is_append(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgAppend
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn append_of(bytes: usize) -> Message {
        let entry = Entry { data: vec![0; bytes].into(), ..Entry::default() };
        Message { entries: vec![entry].into(), ..Message::default() }
    }

    #[test]
    fn peers_fill_the_inbox_by_count_or_by_bytes() {
        let mut inbox = Inbox::default();
        let taken = (0..PEER_MESSAGES_MAX + 1).filter(|_| inbox.push_message(append_of(0))).count();
        assert_eq!(taken, PEER_MESSAGES_MAX);
        let mut inbox = Inbox::default();
        let taken = (0..70).filter(|_| inbox.push_message(append_of(1 << 20))).count();
        assert_eq!(taken, 63, "64 MiB hold 63 MiB of entries and what surrounds them");
    }
}
