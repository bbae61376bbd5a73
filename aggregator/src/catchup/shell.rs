//! The thread around the machine: its clock, its peers, the own recorder.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proofmark_evidence::{Hash, Leaf, Policy, Transition};

use super::{Act, Ask, CatchUp, Event, Evidence, Missed, Offer, Piece};
use crate::clock::Clock;
use crate::limits::{
    ADOPTED_BYTES_MAX, FETCH_TICK_MS, FETCHES_UNDER_WAY_MAX, GAVE_UP_REST_MS, OFFER_LOOK_MS,
};
use crate::meters::CatchUpMeter;
use crate::recorder::RecorderHandle;

/// The others, as the thread knows them.
pub trait Cluster: Send {
    /// The newest offer of a leader, if this replica still needs it.
    fn offer(&mut self) -> Option<Offer>;

    /// Who can be asked.
    fn peers(&self) -> Vec<u64>;

    /// Carries an ask to a peer, without waiting.
    fn fetch(&self, peer: u64, ask: Ask, answer: Answer);

    /// All that the offer speaks of is durable here.
    fn install(&mut self, offer: Offer);
}

/// Where the answer to one ask goes. Dropped without one, the answer is "lost".
pub struct Answer {
    request: u64,
    messages: Option<SyncSender<Message>>,
}

impl Answer {
    pub fn send(mut self, answer: Result<Piece, Missed>) {
        self.give(answer);
    }

    fn give(&mut self, answer: Result<Piece, Missed>) {
        let Some(messages) = self.messages.take() else { return };
        let event = Event::Answered { request: self.request, answer };
        // There is room for every answer that can be under way; without it, whoever reads has
        // ended.
        let sent = messages.try_send(Message::Event(event));
        debug_assert!(!matches!(sent, Err(TrySendError::Full(_))), "answers are bounded by asks");
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(Err(Missed::Lost));
    }
}

enum Message {
    Event(Event),
    /// Nothing but a reason to look whether to stop.
    Wake,
}

/// The running thread. Stop it with [`CatchUpThread::stop`].
pub struct CatchUpThread {
    stop: Arc<AtomicBool>,
    messages: SyncSender<Message>,
    thread: JoinHandle<()>,
}

impl CatchUpThread {
    /// Looks for offers from now on, and does what they need.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        machine: CatchUp,
        evidence: RecorderEvidence,
        cluster: Box<dyn Cluster>,
        clock: Clock,
        meter: Arc<CatchUpMeter>,
    ) -> std::io::Result<CatchUpThread> {
        // Answers, and the wish to stop.
        let (messages, inbox) = sync_channel(FETCHES_UNDER_WAY_MAX + 1);
        let stop = Arc::<AtomicBool>::default();
        let answers = messages.clone();
        let worker = Worker {
            machine,
            evidence,
            cluster,
            clock,
            answers,
            stop: Arc::clone(&stop),
            resting_until_ms: 0,
            meter,
        };
        let thread = thread::Builder::new().name("catch-up".to_owned()).spawn(move || {
            let _guard = AbortOnPanic;
            worker.run(&inbox);
        })?;
        Ok(CatchUpThread { stop, messages, thread })
    }

    /// Ends after the step at hand. What was fetched stays on disk. Blocks.
    pub fn stop(self) {
        self.stop.store(true, SeqCst);
        // A full channel wakes the thread as well.
        let _ = self.messages.try_send(Message::Wake);
        self.thread.join().expect("a panic of this thread aborts the process");
    }
}

struct Worker {
    machine: CatchUp,
    evidence: RecorderEvidence,
    cluster: Box<dyn Cluster>,
    clock: Clock,
    answers: SyncSender<Message>,
    stop: Arc<AtomicBool>,
    /// After giving up; monotonic.
    resting_until_ms: u64,
    meter: Arc<CatchUpMeter>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let event = self.next_event(inbox);
            if self.stop.load(SeqCst) {
                return;
            }
            let is_at_rest = event == Event::Ticked;
            self.take(event);
            if is_at_rest {
                self.look_for_offer();
            }
        }
    }

    fn next_event(&self, inbox: &Receiver<Message>) -> Event {
        let wait_ms = if self.machine.is_idle() { OFFER_LOOK_MS } else { FETCH_TICK_MS };
        match inbox.recv_timeout(Duration::from_millis(wait_ms)) {
            Ok(Message::Event(event)) => event,
            Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => Event::Ticked,
            Err(RecvTimeoutError::Disconnected) => unreachable!("this thread holds a sender"),
        }
    }

    fn look_for_offer(&mut self) {
        if self.clock.monotonic_ms() < self.resting_until_ms {
            return;
        }
        if let Some(offer) = self.cluster.offer() {
            self.machine.set_peers(&self.cluster.peers());
            self.take(Event::Offered(offer));
        }
    }

    fn take(&mut self, event: Event) {
        let now_ms = self.clock.monotonic_ms();
        if let Event::Answered { answer: Ok(piece), .. } = &event {
            self.meter.fetched_bytes.fetch_add(piece.bytes.len() as u64, Relaxed);
        }
        for act in self.machine.take(event, now_ms, &mut self.evidence) {
            match act {
                Act::Ask { request, peer, ask } => {
                    let answer = Answer { request, messages: Some(self.answers.clone()) };
                    self.cluster.fetch(peer, ask, answer);
                }
                Act::Install(offer) => {
                    let index = offer.descriptor.position.index;
                    tracing::info!(index, "the snapshot and its evidence are here and proven");
                    self.cluster.install(offer);
                }
                Act::GaveUp { offer, why } => {
                    let index = offer.descriptor.position.index;
                    tracing::warn!(index, %why, "catch_up_gave_up: the leader will offer another");
                    self.resting_until_ms = now_ms + GAVE_UP_REST_MS;
                    self.meter.gave_up.fetch_add(1, Relaxed);
                }
            }
        }
        let size = self.evidence.size();
        let missing = |offer: Offer| offer.descriptor.leaf_count.saturating_sub(size);
        self.meter.show(self.machine.offer().map(missing));
    }
}

/// The own evidence through the recorder's queue. Holds back when much of it is not durable yet.
pub struct RecorderEvidence {
    recorder: RecorderHandle,
    unsynced_bytes: usize,
    /// Leaves handed to the recorder: it may not have looked at the last of them yet.
    adopted: u64,
}

impl RecorderEvidence {
    pub fn new(recorder: RecorderHandle) -> RecorderEvidence {
        RecorderEvidence { recorder, unsynced_bytes: 0, adopted: 0 }
    }
}

impl Evidence for RecorderEvidence {
    fn size(&self) -> u64 {
        self.recorder.status().borrow().size.max(self.adopted)
    }

    fn believed(&self) -> Option<(u64, Policy)> {
        self.recorder.believed()
    }

    fn has_root(&mut self, size: u64, root: Hash) -> bool {
        self.recorder.has_root(size, root)
    }

    fn adopt(&mut self, first: u64, leaves: Vec<(Leaf, Vec<u8>)>) {
        let bytes = |(leaf, blob): &(Leaf, Vec<u8>)| leaf.bytes().len() + blob.len();
        self.unsynced_bytes += leaves.iter().map(bytes).sum::<usize>();
        self.adopted = self.adopted.max(first + leaves.len() as u64);
        self.recorder.adopt(first, leaves);
        if self.unsynced_bytes >= ADOPTED_BYTES_MAX {
            self.recorder.sync();
            self.unsynced_bytes = 0;
        }
    }

    fn publish(&mut self, transitions: &[Transition], note: &str) -> bool {
        self.recorder.adopt_checkpoint(transitions, note)
    }
}

/// A thread that died would leave a replica that never catches up and looks as if it did.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("catching up panicked: the process aborts");
            std::process::abort();
        }
    }
}
