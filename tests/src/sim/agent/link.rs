//! One virtual connection of an agent: the real window over a virtual stream.

use proofmark_agent::uplink::window::{Rewound, Window};
use proofmark_agent::uplink::{RefusedAction, UplinkEvent};
use proofmark_evidence::{SealedBatch, Seen, SignedCheckpoint};

use crate::sim::cast::Cast;
use crate::sim::gateway::{Answer, Verb};

/// What the agent knows of its connection.
pub(in crate::sim) struct Link {
    /// 0: none.
    pub(in crate::sim) conn: u64,
    pub(in crate::sim) node: usize,
    pub(in crate::sim) is_welcome: bool,
    window: Window,
    /// Until when no batch is sent: an aggregator was busy.
    pub(in crate::sim) paused_until_ms: u64,
    pub(in crate::sim) spec_revision: u64,
    seen: Option<Seen>,
    /// A batch of the core's that waits for room.
    pub(in crate::sim) backoff_ms: u64,
}

impl Link {
    pub(super) fn new(spec_revision: u64) -> Self {
        Self {
            conn: 0,
            node: 0,
            is_welcome: false,
            window: Window::default(),
            paused_until_ms: 0,
            spec_revision,
            seen: None,
            backoff_ms: 100,
        }
    }

    pub(in crate::sim) fn dialled(&mut self, conn: u64, node: usize) {
        (self.conn, self.node, self.is_welcome) = (conn, node, false);
    }

    /// The connection is gone. How long to wait for the next.
    pub(in crate::sim) fn lost(&mut self) -> u64 {
        (self.conn, self.is_welcome) = (0, false);
        let backoff_ms = self.backoff_ms;
        self.backoff_ms = (self.backoff_ms * 2).min(1_500);
        backoff_ms
    }

    pub(in crate::sim) fn has_room(&self) -> bool {
        self.is_welcome && self.window.has_room()
    }

    pub(in crate::sim) fn push(&mut self, batch: SealedBatch) {
        self.window.push(batch);
    }

    /// The next batch to send now, if there is one.
    pub(in crate::sim) fn next(&mut self, now_ms: u64) -> Option<SealedBatch> {
        match self.is_welcome && now_ms >= self.paused_until_ms {
            true => self.window.next_to_send().cloned(),
            false => None,
        }
    }

    /// Takes an answer in; what the agent must know of it comes out.
    pub(in crate::sim) fn take(
        &mut self,
        answer: Answer,
        now_ms: u64,
        cast: &Cast,
    ) -> Option<UplinkEvent> {
        match answer {
            Answer::Welcome { epoch, next_seq, last_header_hash } => {
                self.window = Window::default();
                (self.is_welcome, self.backoff_ms, self.paused_until_ms) = (true, 100, 0);
                Some(UplinkEvent::Connected { epoch, next_seq, last_header_hash })
            }
            Answer::Ack { epoch, seq_end } => {
                self.window.acked(seq_end).then_some(UplinkEvent::Acked { epoch, seq_end })
            }
            Answer::Busy { retry_after_ms } => {
                if self.window.rewind() == Rewound::Resend {
                    self.paused_until_ms = now_ms + retry_after_ms;
                }
                None
            }
            Answer::Refused { slug, verb } => self.refused(slug, verb, now_ms),
            Answer::Specs(specs) if specs.revision <= self.spec_revision => None,
            Answer::Specs(specs) => {
                self.spec_revision = specs.revision;
                let (revision, effective_at_ms) = (specs.revision, specs.effective_at_ms);
                Some(UplinkEvent::Specs { revision, effective_at_ms, text: specs.text })
            }
            Answer::Checkpoint(note) => self.checkpoint(&note, cast),
        }
    }

    fn refused(&mut self, slug: &'static str, verb: Verb, now_ms: u64) -> Option<UplinkEvent> {
        let event = |action| {
            let (slug, expected, got) = (slug.to_owned(), String::new(), String::new());
            Some(UplinkEvent::Refused { slug, expected, got, action })
        };
        match verb {
            Verb::Retry => match self.window.rewind() {
                Rewound::Resend => {
                    self.paused_until_ms = now_ms + 1_000;
                    event(RefusedAction::Retry)
                }
                _ => None,
            },
            Verb::ResendFrom { seq } => match self.window.resend_from(seq) {
                Rewound::Stale => None,
                Rewound::Resend => Some(UplinkEvent::Acked { epoch: 1, seq_end: seq }),
                Rewound::Missing => event(RefusedAction::ResendFrom { seq }),
            },
            Verb::Drop => self.window.refused().then(|| event(RefusedAction::Drop))?,
            Verb::Stop => event(RefusedAction::Stop),
        }
    }

    /// Believed only by the enrolled policy, and only forwards.
    fn checkpoint(&mut self, note: &str, cast: &Cast) -> Option<UplinkEvent> {
        let signed = SignedCheckpoint::parse(note).ok()?;
        if self.seen.is_some_and(|seen| seen.size >= signed.checkpoint.size) {
            return None;
        }
        cast.policy.check(&signed).ok()?;
        let seen = Seen { size: signed.checkpoint.size, root: signed.checkpoint.root };
        self.seen = Some(seen);
        Some(UplinkEvent::Seen(seen))
    }
}
