//! The recorder: effects in, evidence out. One std thread, one owner of the evidence directory.
//!
//! In: the effects of applied entries, in order, again from an older point after a restart.
//! Out: leaves on disk, this node's cosignatures (as proposals), published checkpoints, the index
//! of results. It never decides what is in the log; it refuses to sign what it cannot confirm.

mod core;
mod health;
mod known;
pub mod last_signed;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use proofmark_evidence::{
    BatchSpan, Hash, Leaf, LogWriter, Policy, SigningKey, TileSource, Transition,
};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::command::Command;
use crate::limits::RECORDER_TASKS_MAX;
use crate::state::{Effect, State};
use crate::tables::{ResultIndex, TablesFault};
use crate::waiting::{Ticket, Waiting};

pub use self::core::{Core, RecorderFault};
pub use health::{Divergence, Health};
pub use known::KnownFault;
pub use last_signed::SignedFile;

/// The effects of one applied entry.
#[derive(Clone, Debug)]
pub struct RecorderTask {
    /// The entry's Raft index.
    pub index: u64,
    pub effects: Vec<Effect>,
}

/// What a recorder is built from.
pub struct RecorderParts {
    /// The files that `writer` owns, to be read.
    pub evidence: Box<dyn TileSource + Send>,
    pub writer: LogWriter,
    pub log_key: SigningKey,
    /// This node's cosigner name, as in the genesis.
    pub node_name: String,
    pub node_key: SigningKey,
    /// Where the newest cosigned checkpoint is kept.
    pub last_signed: SignedFile,
    pub index: Box<dyn LeafIndex>,
    pub health: Health,
    pub clock: Clock,
    /// Where cosignatures and seals go to be proposed. Must not wait: one that is lost is made
    /// again at the next seal.
    pub proposals: Box<dyn FnMut(Command) + Send>,
}

/// Who is told which leaf holds which batch, in the order of the leaves.
pub trait LeafIndex: Send {
    /// One that was taken already is skipped, so that replays change nothing.
    ///
    /// # Errors
    /// Lookups are broken until the next start; the evidence is not.
    fn take_leaf(&self, leaf_index: u64, batch: Option<&BatchSpan>) -> Result<(), TablesFault>;
}

impl LeafIndex for ResultIndex {
    fn take_leaf(&self, leaf_index: u64, batch: Option<&BatchSpan>) -> Result<(), TablesFault> {
        ResultIndex::take_leaf(self, leaf_index, batch)
    }
}

/// How far the recorder has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderStatus {
    /// The newest entry whose effects are all carried out, of those since the start.
    pub applied_index: u64,
    /// Leaves appended.
    pub size: u64,
    /// Leaves a power cut cannot take.
    pub durable_size: u64,
    /// Leaves under the published checkpoint.
    pub published_size: u64,
}

enum Message {
    Task(RecorderTask, Ticket),
    ProposeSeal,
    Sync(SyncSender<()>),
    Adopt { first: u64, leaves: Vec<(Leaf, Vec<u8>)> },
    HasRoot { size: u64, root: Hash, answer: SyncSender<bool> },
    AdoptCheckpoint { transitions: Vec<Transition>, note: String, answer: SyncSender<bool> },
    Believed { answer: SyncSender<(u64, Policy)> },
    Stop,
}

/// The running recorder. Stop it with [`Recorder::stop`].
pub struct Recorder {
    handle: RecorderHandle,
    thread: JoinHandle<()>,
}

/// The recorder's queue and what can be watched of it. Clones share.
#[derive(Clone)]
pub struct RecorderHandle {
    messages: SyncSender<Message>,
    status: watch::Receiver<RecorderStatus>,
    published: watch::Receiver<Arc<str>>,
    waiting: Waiting,
}

/// Whether a loaded state may go on from this evidence and this index, or must be built again
/// from the start of the Raft log (a power cut can take leaves that nothing had synced yet).
pub fn can_resume(state: &State, writer: &LogWriter, index: &ResultIndex) -> bool {
    let leaves = state.leaf_count();
    writer.size() >= leaves && index.covered() >= leaves
}

impl Recorder {
    /// Starts the thread. Its replayed effects may begin anywhere at or below what the evidence
    /// holds.
    ///
    /// # Errors
    /// The guard file of the newest cosigned checkpoint cannot be read.
    pub fn start(parts: RecorderParts) -> Result<Recorder, RecorderFault> {
        let core = Core::open(parts)?;
        let (messages, inbox) = sync_channel(RECORDER_TASKS_MAX);
        let (status_out, status) = watch::channel(core.status());
        let (published_out, published) = watch::channel(core.note().into());
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                let _guard = AbortOnPanic;
                Worker { core, status: status_out, published: published_out }.run(&inbox);
            })
            .expect("the system has a thread for the recorder at start");
        Ok(Recorder {
            handle: RecorderHandle { messages, status, published, waiting: Waiting::default() },
            thread,
        })
    }

    pub fn handle(&self) -> RecorderHandle {
        self.handle.clone()
    }

    /// Carries out what is queued, makes it durable, ends.
    pub fn stop(self) {
        self.handle.tell(Message::Stop);
        self.thread.join().expect("a panic of the recorder aborts the process");
    }
}

impl RecorderHandle {
    /// Queues the effects of the next entry. Waits while the queue is full: the apply thread
    /// must not run ahead of the evidence without bound.
    pub fn record(&self, task: RecorderTask) {
        let ticket = self.waiting.enter();
        self.tell(Message::Task(task, ticket));
    }

    /// Asked by the leader every `PROVEN_INTERVAL_MS`: if anything is unpublished, the recorder
    /// proposes a `Seal` of all it has. A full queue means that it is busy: asked again later.
    pub fn propose_seal(&self) {
        let _ = self.messages.try_send(Message::ProposeSeal);
    }

    /// Waits until everything queued before is carried out and durable. Blocks.
    pub fn sync(&self) {
        let (done, wait) = sync_channel(1);
        self.tell(Message::Sync(done));
        // The recorder answers every sync; when it has stopped, it has synced at its end.
        let _ = wait.recv();
    }

    /// Queues leaves that came from a peer, ahead of the entries that brought them; a cosigned root
    /// leads to each. `first` is not beyond what is here. Waits while the queue is full.
    pub fn adopt(&self, first: u64, leaves: Vec<(Leaf, Vec<u8>)>) {
        self.tell(Message::Adopt { first, leaves });
    }

    /// Whether the first `size` leaves have this root, which a cosigned checkpoint has too. If not,
    /// this replica has diverged. Blocks.
    pub fn has_root(&self, size: u64, root: Hash) -> bool {
        self.ask(|answer| Message::HasRoot { size, root, answer })
    }

    /// Makes durable what was adopted and publishes a peer's checkpoint over it, after the changes
    /// of cosigners that lead to it. False: it is not this log's. Blocks.
    pub fn adopt_checkpoint(&self, transitions: &[Transition], note: &str) -> bool {
        let (transitions, note) = (transitions.to_vec(), note.to_owned());
        self.ask(|answer| Message::AdoptCheckpoint { transitions, note, answer })
    }

    /// The published size and the policy in force from there on; `None` when the recorder has
    /// stopped. Blocks.
    pub fn believed(&self) -> Option<(u64, Policy)> {
        let (answer, wait) = sync_channel(1);
        self.tell(Message::Believed { answer });
        wait.recv().ok()
    }

    /// A recorder that has stopped answers nothing: no.
    fn ask(&self, question: impl FnOnce(SyncSender<bool>) -> Message) -> bool {
        let (answer, wait) = sync_channel(1);
        self.tell(question(answer));
        wait.recv().unwrap_or(false)
    }

    /// Leaves appended once everything queued before is carried out, all of them durable. Blocks.
    pub fn size(&self) -> u64 {
        self.sync();
        self.status.borrow().size
    }

    /// Entries whose effects are not carried out yet.
    pub fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    pub fn status(&self) -> watch::Receiver<RecorderStatus> {
        self.status.clone()
    }

    /// The newest published note; empty before the first.
    pub fn published(&self) -> watch::Receiver<Arc<str>> {
        self.published.clone()
    }

    /// After the recorder has stopped nothing is carried out any more: the program is ending.
    fn tell(&self, message: Message) {
        let _ = self.messages.send(message);
    }
}

/// The thread: messages to the core, changes to the watchers.
struct Worker {
    core: Core,
    status: watch::Sender<RecorderStatus>,
    published: watch::Sender<Arc<str>>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            match message {
                Message::Task(task, _ticket) => or_abort(self.core.take(task)),
                Message::ProposeSeal => self.core.propose_seal(),
                Message::Sync(done) => {
                    or_abort(self.core.sync());
                    self.tell_watchers();
                    // Whoever asked may have gone; the sync is done all the same.
                    let _ = done.try_send(());
                }
                Message::Adopt { first, leaves } => or_abort(self.core.adopt(first, leaves)),
                Message::HasRoot { size, root, answer } => {
                    let has_root = or_abort(self.core.has_root(size, root));
                    let _ = answer.try_send(has_root);
                }
                Message::Believed { answer } => drop(answer.try_send(self.core.believed())),
                Message::AdoptCheckpoint { transitions, note, answer } => {
                    let is_taken = or_abort(self.core.adopt_checkpoint(&transitions, &note));
                    self.tell_watchers();
                    let _ = answer.try_send(is_taken);
                }
                Message::Stop => break,
            }
            self.tell_watchers();
        }
        or_abort(self.core.sync());
        self.tell_watchers();
    }

    fn tell_watchers(&self) {
        let (before, now) = (*self.status.borrow(), self.core.status());
        if before == now {
            return;
        }
        if before.published_size != now.published_size {
            self.published.send_replace(self.core.note().into());
        }
        self.status.send_replace(now);
    }
}

/// A disk that failed once answers anything; only a new start reads what is really there.
fn or_abort<T>(done: Result<T, RecorderFault>) -> T {
    done.unwrap_or_else(|fault| {
        tracing::error!(%fault, "the evidence cannot be written: the process aborts");
        std::process::abort()
    })
}

/// A recorder that died in the middle of an effect must not leave a process that looks healthy.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the recorder panicked: the process aborts");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests;
