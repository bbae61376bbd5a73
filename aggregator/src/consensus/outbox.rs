//! The sending ends towards the other replicas: Raft's messages, commands for the leader, and asks
//! for pieces of what one lacks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use raft::eraftpb::Message;
use tokio::sync::mpsc;

use super::inbox::{Proposal, message_bytes};
use super::transport::FetchJob;
use crate::catchup::{Answer, Ask};
use crate::limits::{
    FETCHES_UNDER_WAY_MAX, PEER_QUEUE_BYTES_MAX, PEER_QUEUE_MESSAGES_MAX, PROPOSALS_MAX,
};
use crate::waiting::{Ticket, Waiting};

/// One bounded queue of each kind for each peer. Never waits: a queue without room says so.
#[derive(Clone, Default)]
pub struct PeerOutbox {
    peers: Arc<RwLock<BTreeMap<u64, PeerSenders>>>,
    /// Messages for all of them.
    waiting: Waiting,
}

struct PeerSenders {
    messages: mpsc::Sender<(Message, Ticket)>,
    messages_bytes: Arc<AtomicUsize>,
    forwards: mpsc::Sender<Proposal>,
    fetches: mpsc::Sender<FetchJob>,
}

/// What the transport takes out for one peer.
pub(crate) struct PeerQueues {
    pub(crate) messages: MessageQueue,
    pub(crate) forwards: mpsc::Receiver<Proposal>,
    pub(crate) fetches: mpsc::Receiver<FetchJob>,
}

/// Raft's messages for one peer; knows how many bytes wait.
pub(crate) struct MessageQueue {
    queue: mpsc::Receiver<(Message, Ticket)>,
    bytes: Arc<AtomicUsize>,
}

impl PeerOutbox {
    /// A peer came: the receiving ends of its new queues. Those it had before are closed.
    pub(crate) fn add(&self, peer: u64) -> PeerQueues {
        let (senders, queues) = peer_queues();
        self.peers.write().unwrap_or_else(PoisonError::into_inner).insert(peer, senders);
        queues
    }

    /// A peer is gone: what waits for it is dropped, and so is what comes for it later.
    pub(crate) fn remove(&self, peer: u64) {
        self.peers.write().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }

    /// Queues one message; false when it was dropped.
    pub(crate) fn send(&self, message: Message) -> bool {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.get(&message.to) else { return false };
        let bytes = message_bytes(&message);
        if peer.messages_bytes.load(Relaxed) + bytes > PEER_QUEUE_BYTES_MAX {
            return false;
        }
        peer.messages_bytes.fetch_add(bytes, Relaxed);
        let queued = peer.messages.try_send((message, self.waiting.enter())).is_ok();
        if !queued {
            peer.messages_bytes.fetch_sub(bytes, Relaxed);
        }
        queued
    }

    /// Who waits to be sent.
    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// Queues one command for the leader, or gives it back.
    pub(crate) fn forward(&self, leader: u64, proposal: Proposal) -> Result<(), Proposal> {
        match self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&leader) {
            Some(peer) => peer.forwards.try_send(proposal).map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(proposal)
                | mpsc::error::TrySendError::Closed(proposal) => proposal,
            }),
            None => Err(proposal),
        }
    }
}

impl PeerOutbox {
    /// Who can be asked for pieces.
    pub fn peers(&self) -> Vec<u64> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Queues an ask for a piece. Without room, or without such a peer, it is answered as lost.
    pub fn fetch(&self, peer: u64, ask: Ask, answer: Answer) {
        if let Some(senders) = self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&peer)
        {
            // A refused job is dropped, and its answer with it.
            let _ = senders.fetches.try_send(FetchJob { ask, answer });
        }
    }
}

impl MessageQueue {
    /// The next message, or `None` when the replica has ended.
    pub(crate) async fn recv(&mut self) -> Option<Message> {
        let (message, _) = self.queue.recv().await?;
        Some(self.taken(message))
    }

    /// The next message, if one waits.
    pub(crate) fn try_recv(&mut self) -> Option<Message> {
        let (message, _) = self.queue.try_recv().ok()?;
        Some(self.taken(message))
    }

    fn taken(&self, message: Message) -> Message {
        self.bytes.fetch_sub(message_bytes(&message), Relaxed);
        message
    }
}

fn peer_queues() -> (PeerSenders, PeerQueues) {
    let (messages, messages_queue) = mpsc::channel(PEER_QUEUE_MESSAGES_MAX);
    // As many as there can be permits: it is the budget that is full first.
    let (forwards, forwards_queue) = mpsc::channel(PROPOSALS_MAX);
    let (fetches, fetches_queue) = mpsc::channel(FETCHES_UNDER_WAY_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let queue = MessageQueue { queue: messages_queue, bytes: Arc::clone(&bytes) };
    let outbox = PeerSenders { messages, messages_bytes: bytes, forwards, fetches };
    let (forwards, fetches) = (forwards_queue, fetches_queue);
    (outbox, PeerQueues { messages: queue, forwards, fetches })
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn message(to: u64, bytes: usize) -> Message {
        let entry = Entry { data: vec![0; bytes].into(), ..Entry::default() };
        Message { to, entries: vec![entry].into(), ..Message::default() }
    }

    #[test]
    fn a_full_queue_drops_and_an_emptied_one_takes_again() {
        let outbox = PeerOutbox::default();
        let mut queues = outbox.add(2);
        assert!(!outbox.send(message(3, 1)), "nobody of that name");
        let half = PEER_QUEUE_BYTES_MAX / 2;
        assert!(outbox.send(message(2, half)));
        assert!(!outbox.send(message(2, half)), "full by bytes");
        let queue = &mut queues.messages;
        assert!(queue.try_recv().is_some());
        assert!(outbox.send(message(2, half)), "what was taken makes room");
        assert!(queue.try_recv().is_some());
        let taken = (0..PEER_QUEUE_MESSAGES_MAX + 1).filter(|_| outbox.send(message(2, 1))).count();
        assert_eq!(taken, PEER_QUEUE_MESSAGES_MAX, "full by count");
        assert_eq!(outbox.waiting().depth(), PEER_QUEUE_MESSAGES_MAX);
        outbox.remove(2);
        assert!(!outbox.send(message(2, 1)), "it is gone");
        drop(queues);
        assert_eq!(outbox.waiting().depth(), 0);
    }
}
