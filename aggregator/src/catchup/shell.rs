//! The thread around the machine: its clock, its peers, the own recorder.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proofmark_evidence::{Hash, Leaf, Policy, Transition};

use super::{Act, Ask, CatchUp, Event, Evidence, Missed, Offer, Piece};
use crate::clock::Clock;
use crate::limits::{ADOPTED_BYTES_MAX, FETCH_TICK_MS, FETCHES_UNDER_WAY_MAX};
use crate::recorder::RecorderHandle;

/// Carries an ask to a peer, without waiting.
pub trait Fetcher: Send {
    fn fetch(&self, peer: u64, ask: Ask, answer: Answer);
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
        // There is room for every answer that can be under way; without it, this one was lost, and
        // whoever reads has ended.
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
    /// Something lies in [`Told`].
    Look,
}

/// What the thread is told from outside; the newest of each is all that matters.
#[derive(Default)]
struct Told {
    offer: Option<Offer>,
    peers: Option<Vec<u64>>,
    stop: bool,
}

/// Tells a running catch-up. Clones share.
#[derive(Clone)]
pub struct CatchUpHandle {
    told: Arc<Mutex<Told>>,
    messages: SyncSender<Message>,
}

impl CatchUpHandle {
    /// A leader offers a snapshot. A newer offer takes the place of one not looked at.
    pub fn offer(&self, offer: Offer) {
        self.tell(|told| told.offer = Some(offer));
    }

    /// Who can be asked from now on.
    pub fn set_peers(&self, ids: Vec<u64>) {
        self.tell(|told| told.peers = Some(ids));
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut lock(&self.told));
        // A full channel wakes the thread as well.
        let _ = self.messages.try_send(Message::Look);
    }
}

/// The running thread. Stop it with [`CatchUpThread::stop`].
pub struct CatchUpThread {
    handle: CatchUpHandle,
    thread: JoinHandle<()>,
}

impl CatchUpThread {
    /// `install` is called with each offer that may be installed now.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        machine: CatchUp,
        evidence: RecorderEvidence,
        fetcher: Box<dyn Fetcher>,
        install: Box<dyn FnMut(Offer) + Send>,
        clock: Clock,
    ) -> std::io::Result<CatchUpThread> {
        // Answers, and the news that somebody told something.
        let (messages, inbox) = sync_channel(FETCHES_UNDER_WAY_MAX + 8);
        let told = Arc::default();
        let handle = CatchUpHandle { told: Arc::clone(&told), messages: messages.clone() };
        let worker = Worker { machine, evidence, fetcher, install, clock, messages, told };
        let thread = thread::Builder::new().name("catch-up".to_owned()).spawn(move || {
            let _guard = AbortOnPanic;
            worker.run(&inbox);
        })?;
        Ok(CatchUpThread { handle, thread })
    }

    pub fn handle(&self) -> CatchUpHandle {
        self.handle.clone()
    }

    /// Ends after the step at hand. What was fetched stays on disk.
    pub fn stop(self) {
        self.handle.tell(|told| told.stop = true);
        self.thread.join().expect("a panic of this thread aborts the process");
    }
}

struct Worker {
    machine: CatchUp,
    evidence: RecorderEvidence,
    fetcher: Box<dyn Fetcher>,
    install: Box<dyn FnMut(Offer) + Send>,
    clock: Clock,
    messages: SyncSender<Message>,
    told: Arc<Mutex<Told>>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let message = self.next_message(inbox);
            let told = std::mem::take(&mut *lock(&self.told));
            if told.stop {
                return;
            }
            if let Some(ids) = told.peers {
                self.machine.set_peers(&ids);
            }
            if let Some(offer) = told.offer {
                self.take(Event::Offered(offer));
            }
            self.take(message.unwrap_or(Event::Ticked));
        }
    }

    /// Nothing but time passes while something is being fetched; else nothing at all.
    fn next_message(&self, inbox: &Receiver<Message>) -> Option<Event> {
        let wait = if self.machine.is_idle() { u64::from(u32::MAX) } else { FETCH_TICK_MS };
        match inbox.recv_timeout(Duration::from_millis(wait)) {
            Ok(Message::Event(event)) => Some(event),
            Ok(Message::Look) | Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("this thread holds a sender"),
        }
    }

    fn take(&mut self, event: Event) {
        let now_ms = self.clock.monotonic_ms();
        for act in self.machine.take(event, now_ms, &mut self.evidence) {
            match act {
                Act::Ask { request, peer, ask } => {
                    let answer = Answer { request, messages: Some(self.messages.clone()) };
                    self.fetcher.fetch(peer, ask, answer);
                }
                Act::Install(offer) => {
                    let index = offer.descriptor.position.index;
                    tracing::info!(index, "the snapshot and its evidence are here and proven");
                    (self.install)(offer);
                }
                Act::GaveUp { offer, why } => {
                    let index = offer.descriptor.position.index;
                    tracing::warn!(index, %why, "catch_up_gave_up: the leader will offer another");
                }
            }
        }
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

    fn believed(&self) -> Option<(u64, Policy)> {
        self.recorder.believed()
    }

    fn publish(&mut self, transitions: &[Transition], note: &str) -> bool {
        self.recorder.adopt_checkpoint(transitions, note)
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
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
