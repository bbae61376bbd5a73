//! Batches under way on one connection: handed in, and not yet acknowledged. Pure; go-back-N.
//!
//! Answers come in the order of the sends, so an answer is always about the oldest send without
//! one. After "busy" or "resend" everything from the oldest batch is sent again; answers to sends
//! made before that are stale: of them only acks still count.
//!
//! A new window takes whatever comes first, then batches only in their turn. What comes first may
//! have been handed in before the agent heard of the Welcome: then the aggregator asks for what it
//! needs, and from there on turns are kept.

use std::collections::VecDeque;

use proofmark_evidence::{Header, SealedBatch};

use crate::limits::UPLINK_WINDOW_MAX;

#[derive(Default)]
pub struct Window {
    /// Oldest first, contiguous in sequence.
    held: VecDeque<Held>,
    /// How many of `held`, from the front, are sent.
    sent: usize,
    /// Sends without an answer.
    due: usize,
    /// Those of them whose batches have been rewound since.
    stale: usize,
    /// First sequence number of the next batch to take. None: any.
    turn: Option<u64>,
}

struct Held {
    batch: SealedBatch,
    seq_first: u64,
    seq_end: u64,
}

/// What an answer meant for the window.
#[derive(Debug, PartialEq, Eq)]
pub enum Rewound {
    /// All is still here; the oldest batch goes first again.
    Resend,
    /// The answer was to an earlier attempt; nothing changes.
    Stale,
    /// Batches are needed that are not here (any more). The window is empty and waits for them.
    Missing,
}

impl Window {
    pub fn has_room(&self) -> bool {
        self.held.len() < UPLINK_WINDOW_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a batch whose turn it is; says whether it was.
    pub fn push(&mut self, batch: SealedBatch) -> bool {
        let Ok(Header::Batch(header)) = batch.leaf.header() else {
            // The agent seals what it can read; an unreadable header cannot have come from it.
            tracing::error!(leaf = ?batch.leaf, "a batch without a batch header: not sent");
            return false;
        };
        let (seq_first, seq_end) = (header.seq_first, header.seq_end());
        if self.turn.is_some_and(|turn| turn != seq_first) {
            return false;
        }
        self.turn = Some(seq_end);
        self.held.push_back(Held { batch, seq_first, seq_end });
        true
    }

    /// The next batch to send, marked as sent. None while answers to rewound sends are due: the
    /// aggregator would still be refusing what we already know it refuses.
    pub fn next_to_send(&mut self) -> Option<&SealedBatch> {
        if self.stale > 0 {
            return None;
        }
        let held = self.held.get(self.sent)?;
        self.sent += 1;
        self.due += 1;
        Some(&held.batch)
    }

    /// Forgets everything below `seq_end`. Says whether anything was.
    fn settle(&mut self, seq_end: u64) -> bool {
        let settled = self.held.iter().take_while(|held| held.seq_end <= seq_end).count();
        self.held.drain(..settled);
        self.sent = self.sent.saturating_sub(settled);
        self.turn = self.turn.map(|turn| turn.max(seq_end));
        settled > 0
    }

    /// An ack arrived. Says whether it settled anything.
    pub fn acked(&mut self, seq_end: u64) -> bool {
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
    pub fn rewind(&mut self) -> Rewound {
        if self.answered() {
            return Rewound::Stale;
        }
        self.stale = self.due;
        self.sent = 0;
        Rewound::Resend
    }

    /// "Resend from `seq`": all below it is accepted, the rest goes again.
    pub fn resend_from(&mut self, seq: u64) -> Rewound {
        match self.rewind() {
            Rewound::Resend if self.held.front().is_some_and(|held| held.seq_first > seq) => {
                self.held.clear();
                self.turn = Some(seq);
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
    pub fn refused(&mut self) -> bool {
        if self.rewind() == Rewound::Stale {
            return false;
        }
        let first = self.held.front().map(|held| held.seq_first);
        self.held.clear();
        self.turn = first.or(self.turn);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::link::tests::sealed;

    /// Five batches of ten results from sequence number 1.
    fn window() -> Window {
        let mut window = Window::default();
        assert!((0..5).all(|n| window.push(sealed(1 + n * 10, 10))));
        window
    }

    fn send_all(window: &mut Window) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(batch) = window.next_to_send() {
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
        assert!(window.push(sealed(51, 10)));
        assert_eq!(send_all(&mut window), [51]);
        assert!(window.acked(61) && window.is_empty());
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
        assert_eq!(window.next_to_send().map(|_| ()), Some(()));
        assert_eq!(window.resend_from(21), Rewound::Resend);
        assert_eq!(send_all(&mut window), [21, 31, 41]);
    }

    #[test]
    fn what_is_needed_and_not_here_is_asked_for() {
        let mut window = Window::default();
        assert!(window.push(sealed(21, 10)));
        send_all(&mut window);
        assert_eq!(window.resend_from(11), Rewound::Missing);
        assert!(window.is_empty());
        assert!(!window.push(sealed(31, 10)), "handed in before the agent was asked");
        assert!(window.push(sealed(11, 10)) && window.push(sealed(21, 10)));
        assert_eq!(send_all(&mut window), [11, 21]);
    }

    #[test]
    fn a_refused_batch_takes_its_successors_with_it() {
        let mut window = window();
        window.next_to_send();
        assert!(window.refused());
        assert!(window.is_empty());
        assert!(!window.push(sealed(51, 10)), "it builds on what was refused");
        assert!(window.push(sealed(1, 10)));
        assert_eq!(send_all(&mut window), [1]);
    }

    #[test]
    fn only_a_batch_whose_turn_it_is_is_taken() {
        let mut window = window();
        assert!(!window.push(sealed(41, 10)), "taken already");
        assert!(!window.push(sealed(61, 10)), "one between is missing");
        assert!(window.push(sealed(51, 10)));
        assert_eq!(send_all(&mut window), [1, 11, 21, 31, 41, 51]);
    }
}
