//! Batches under way: sent and not yet acknowledged, or about to be sent. Pure; go-back-N.
//!
//! Answers come in the order of the sends, so an answer is always about the oldest send without
//! one. After "busy" or "resend" everything from the oldest batch is sent again; answers to sends
//! made before that are stale: of them only acks still count.

use std::collections::VecDeque;

use proofmark_evidence::{Header, SealedBatch};

use crate::limits::UPLINK_WINDOW_MAX;

#[derive(Default)]
pub(super) struct Window {
    /// Oldest first, contiguous in sequence.
    held: VecDeque<Held>,
    /// How many of `held`, from the front, are sent on this connection.
    sent: usize,
    /// Sends on this connection without an answer.
    due: usize,
    /// Those of them whose batches have been rewound since.
    stale: usize,
    /// Every batch ending at or below this was handed in before.
    carried_end: u64,
}

struct Held {
    batch: SealedBatch,
    seq_first: u64,
    seq_end: u64,
}

/// What an answer meant for the window.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rewound {
    /// All is still here; the oldest batch goes first again.
    Resend,
    /// The answer was to an earlier attempt; nothing changes.
    Stale,
    /// Batches are needed that were handed in, acknowledged and forgotten.
    Missing,
}

impl Window {
    pub(super) fn has_room(&self) -> bool {
        self.held.len() < UPLINK_WINDOW_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a batch to deliver; one that was handed in before is not taken twice.
    pub(super) fn push(&mut self, batch: SealedBatch) {
        let Ok(Header::Batch(header)) = batch.leaf.header() else {
            // The agent seals what it can read; an unreadable header cannot have come from it.
            tracing::error!(leaf = ?batch.leaf, "a batch without a batch header: not sent");
            return;
        };
        let (seq_first, seq_end) = (header.seq_first, header.seq_end());
        if seq_end > self.carried_end {
            self.carried_end = seq_end;
            self.held.push_back(Held { batch, seq_first, seq_end });
        }
    }

    /// The next batch to send, marked as sent. None while answers to rewound sends are due: the
    /// aggregator would still be refusing what we already know it refuses.
    pub(super) fn next(&mut self) -> Option<&SealedBatch> {
        if self.stale > 0 {
            return None;
        }
        let held = self.held.get(self.sent)?;
        self.sent += 1;
        self.due += 1;
        Some(&held.batch)
    }

    /// A new connection: nothing is sent on it yet.
    pub(super) fn reconnect(&mut self) {
        (self.sent, self.due, self.stale) = (0, 0, 0);
    }

    /// Forgets everything below `seq_end`. Says whether anything was.
    pub(super) fn settle(&mut self, seq_end: u64) -> bool {
        let settled = self.held.iter().take_while(|held| held.seq_end <= seq_end).count();
        self.held.drain(..settled);
        self.sent = self.sent.saturating_sub(settled);
        self.carried_end = self.carried_end.max(seq_end);
        settled > 0
    }

    /// An ack arrived. Says whether it settled anything.
    pub(super) fn acked(&mut self, seq_end: u64) -> bool {
        self.answered();
        self.settle(seq_end)
    }

    /// One answer has come. Says whether it is stale.
    fn answered(&mut self) -> bool {
        self.due = self.due.saturating_sub(1);
        let is_stale = self.stale > 0;
        self.stale = self.stale.saturating_sub(1);
        is_stale
    }

    /// "Busy", or "later": the oldest batch goes first again.
    pub(super) fn rewind(&mut self) -> Rewound {
        if self.answered() {
            return Rewound::Stale;
        }
        self.stale = self.due;
        self.sent = 0;
        Rewound::Resend
    }

    /// "Resend from `seq`": all below it is accepted, the rest goes again.
    pub(super) fn resend_from(&mut self, seq: u64) -> Rewound {
        match self.rewind() {
            Rewound::Resend if self.held.front().is_some_and(|held| held.seq_first > seq) => {
                self.forget_all(seq);
                Rewound::Missing
            }
            Rewound::Resend => {
                self.settle(seq);
                Rewound::Resend
            }
            other => other,
        }
    }

    /// The oldest batch will never be taken: it and all that build on it are forgotten, and may be
    /// handed in anew. False when the answer was to an earlier attempt.
    pub(super) fn refused(&mut self) -> bool {
        if self.rewind() == Rewound::Stale {
            return false;
        }
        let first = self.held.front().map_or(self.carried_end, |held| held.seq_first);
        self.forget_all(first);
        true
    }

    fn forget_all(&mut self, carried_end: u64) {
        self.held.clear();
        self.carried_end = carried_end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::link::tests::sealed;

    /// Five batches of ten results from sequence number 1.
    fn window() -> Window {
        let mut window = Window::default();
        (0..5).for_each(|n| window.push(sealed(1 + n * 10, 10)));
        window
    }

    fn send_all(window: &mut Window) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(batch) = window.next() {
            let Ok(Header::Batch(header)) = batch.leaf.header() else { panic!("a batch") };
            sent.push(header.seq_first);
        }
        sent
    }

    #[test]
    fn each_batch_is_sent_once_and_acks_settle_in_order() {
        let mut window = window();
        assert_eq!(send_all(&mut window), [1, 11, 21, 31, 41]);
        assert!(window.acked(11) && window.acked(31));
        assert!(!window.acked(31), "an old ack settles nothing");
        window.push(sealed(51, 10));
        assert_eq!(send_all(&mut window), [51]);
        assert!(window.acked(61) && window.is_empty());
    }

    #[test]
    fn a_new_connection_sends_all_that_is_not_settled() {
        let mut window = window();
        send_all(&mut window);
        window.acked(11);
        window.reconnect();
        window.settle(21);
        assert_eq!(send_all(&mut window), [21, 31, 41]);
    }

    #[test]
    fn busy_sends_again_from_the_oldest_after_all_stale_answers() {
        let mut window = window();
        send_all(&mut window);
        assert!(window.acked(11));
        assert_eq!(window.rewind(), Rewound::Resend);
        for _ in 0..2 {
            assert_eq!(send_all(&mut window), [0; 0], "stale answers are due");
            assert_eq!(window.resend_from(11), Rewound::Stale);
        }
        assert!(!window.refused(), "the last stale answer");
        assert_eq!(send_all(&mut window), [11, 21, 31, 41]);
    }

    #[test]
    fn resend_from_the_middle_settles_what_is_below() {
        let mut window = window();
        assert_eq!(window.next().map(|_| ()), Some(()));
        assert_eq!(window.resend_from(21), Rewound::Resend);
        assert_eq!(send_all(&mut window), [21, 31, 41]);
    }

    #[test]
    fn what_is_needed_and_gone_is_asked_for_again() {
        let mut window = window();
        send_all(&mut window);
        window.settle(21);
        assert_eq!(window.resend_from(11), Rewound::Missing);
        assert!(window.is_empty());
        window.reconnect();
        (1..5).for_each(|n| window.push(sealed(1 + n * 10, 10)));
        assert_eq!(send_all(&mut window), [11, 21, 31, 41]);
    }

    #[test]
    fn a_refused_batch_takes_its_successors_with_it() {
        let mut window = window();
        window.next();
        assert!(window.refused());
        assert!(window.is_empty());
        window.push(sealed(1, 10));
        assert_eq!(send_all(&mut window), [1]);
    }

    #[test]
    fn handing_in_twice_sends_once() {
        let mut window = window();
        (0..5).for_each(|n| window.push(sealed(1 + n * 10, 10)));
        assert_eq!(send_all(&mut window), [1, 11, 21, 31, 41]);
    }
}
