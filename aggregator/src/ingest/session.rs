//! One agent's Connect stream, from Hello to its end.
//!
//! Here an ack is said: it was decided in `state/admit.rs` after commit and handed on by
//! `consensus/apply_thread.rs`.
//!
//! Batches are admitted in parallel, proposed in their order, and answered in their order. One
//! thing happens at a time: [`Session::run`] waits for the next event and applies it.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Sleep, sleep, timeout};
use tonic::{Status, Streaming};

use proofmark_evidence::{AgentName, Hash, Header, Leaf};
use proofmark_proto as wire;
use wire::gateway_message::Message as Answer;
use wire::{
    Ack, Action, Addresses, AgentMessage, Batch, Busy, CheckpointNote, GatewayMessage, Hello,
    Refused,
};
use wire::{SpecSet, Welcome};

use super::counters::{Counters, Event};
use super::gateway::Gateway;
use super::refusal::{busy, diverged, refusal, refuse};
use super::roll_over::{self, KnownPolicy};
use super::{AgentDirectory, Handles, Proposer, SpecSnapshot};
use crate::admission::{AdmissionWorkers, Admitted, Standing, admit};
use crate::clock::Clock;
use crate::command::{Command, Reply};
use crate::consensus::ProposalOutcome;
use crate::limits::*;
use crate::views::members::MembersView;
use crate::waiting::Ticket;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) struct Session<P, D> {
    handles: Handles<P, D>,
    agent: AgentName,
    answers: mpsc::Sender<Result<GatewayMessage, Status>>,
    under_way: Arc<Semaphore>,
    shutdown: watch::Receiver<bool>,
    /// Batches in admission, in the order received.
    judging: FuturesOrdered<Boxed<Judged>>,
    /// Batches proposed (or answered already), in the same order.
    deciding: FuturesOrdered<Boxed<Answer>>,
    /// The policy by which the agent believes checkpoints.
    policy: KnownPolicy,
    /// Where it was told that aggregators are, and by which word of the state.
    addresses: Vec<String>,
    members: Option<Arc<MembersView>>,
    /// No more is read: the agent has finished, or we have.
    closing: bool,
    /// Epoch and first number of the batch that was told `Busy` and has not come again.
    shed_after: Option<(u64, u64)>,
    /// Ends when the agent was told a checkpoint long enough ago to be told the next.
    note_pause: Pin<Box<Sleep>>,
    is_note_due: bool,
}

/// A place among the batches of all streams; it goes with the batch until that is answered.
struct Place {
    _permit: OwnedSemaphorePermit,
    ticket: Ticket,
}

/// What a batch is judged by. A small part of [`Handles`]: there is one for each batch.
struct Judge {
    agent: AgentName,
    standing: Standing,
    log_id: Hash,
    clock: Clock,
    counters: Counters,
}

/// What admission made of one batch.
enum Judged {
    Admitted(Admitted, Place),
    Answered(Answer),
}

/// The one thing that happened.
enum Happened {
    Received(Box<Received>),
    Judged(Judged),
    Answered(Answer),
    SpecsChanged,
    MembersChanged,
    NoteDue,
    CheckpointChanged,
    Diverged,
    TimeToEnd,
}

/// What reading gave, and the stream to read on.
struct Received {
    message: Result<Option<AgentMessage>, Status>,
    inbound: Streaming<AgentMessage>,
}

/// The stream cannot go on; its task ends.
struct Ended;

impl<P: Proposer, D: AgentDirectory> Session<P, D> {
    pub(super) fn new(
        gateway: &Gateway<P, D>,
        agent: AgentName,
        answers: mpsc::Sender<Result<GatewayMessage, Status>>,
    ) -> Self {
        Self {
            handles: gateway.handles.clone(),
            agent,
            answers,
            under_way: Arc::clone(&gateway.under_way),
            shutdown: gateway.shutdown.clone(),
            judging: FuturesOrdered::new(),
            deciding: FuturesOrdered::new(),
            policy: KnownPolicy::default(),
            addresses: Vec::new(),
            members: None,
            closing: false,
            shed_after: None,
            note_pause: Box::pin(sleep(Duration::ZERO)),
            is_note_due: true,
        }
    }

    /// Lives until the agent leaves, goes silent, or the stream's time is over. What was received
    /// before an orderly end is answered before it.
    pub(super) async fn run(
        mut self,
        inbound: Streaming<AgentMessage>,
        hello: Hello,
        standing: Standing,
    ) {
        if self.welcome(&hello, &standing).await.is_ok() {
            // Err: the agent is gone or too slow; nobody is left to tell.
            let _ = self.serve(inbound).await;
        }
        tracing::info!(agent = %self.agent, "agent's stream ended");
    }

    async fn serve(&mut self, inbound: Streaming<AgentMessage>) -> Result<(), Ended> {
        let mut reading = Box::pin(read(inbound));
        let mut age = Box::pin(sleep(stream_age()));
        while !(self.closing && self.judging.is_empty() && self.deciding.is_empty()) {
            let has_room = self.judging.len() + self.deciding.len() < STREAM_BATCHES_MAX;
            let is_open = !self.closing;
            let happened = tokio::select! {
                received = &mut reading, if is_open && has_room => {
                    Happened::Received(Box::new(received))
                }
                Some(judged) = self.judging.next() => Happened::Judged(judged),
                Some(answer) = self.deciding.next() => Happened::Answered(answer),
                Ok(()) = self.handles.specs.changed() => Happened::SpecsChanged,
                Ok(()) = self.handles.members.changed() => Happened::MembersChanged,
                () = &mut self.note_pause, if !self.is_note_due => Happened::NoteDue,
                Ok(()) = self.handles.checkpoint.changed(), if self.is_note_due => {
                    Happened::CheckpointChanged
                }
                Ok(_) = self.handles.diverged.wait_for(|raised| *raised) => Happened::Diverged,
                () = &mut age, if is_open => Happened::TimeToEnd,
                _ = self.shutdown.wait_for(|raised| *raised), if is_open => Happened::TimeToEnd,
            };
            if let Some(inbound) = self.apply(happened).await? {
                reading.set(read(inbound));
            }
        }
        Ok(())
    }

    /// Returns the stream when there is more to read from it.
    async fn apply(
        &mut self,
        happened: Happened,
    ) -> Result<Option<Streaming<AgentMessage>>, Ended> {
        match happened {
            Happened::Received(received) => return self.receive(*received).await,
            Happened::Judged(judged) => self.propose(judged),
            Happened::Answered(answer) => self.send(answer).await?,
            Happened::SpecsChanged => self.send_specs().await?,
            // Not with the next checkpoint: this replica may be the next to leave.
            Happened::MembersChanged => self.send_addresses().await?,
            Happened::NoteDue => self.is_note_due = true,
            Happened::CheckpointChanged => self.send_checkpoint().await?,
            // What is under way is sent again elsewhere, and answered there.
            Happened::Diverged => return self.end(diverged(&self.handles.counters)).await,
            Happened::TimeToEnd => self.closing = true,
        }
        Ok(None)
    }

    async fn receive(
        &mut self,
        received: Received,
    ) -> Result<Option<Streaming<AgentMessage>>, Ended> {
        use wire::agent_message::Message;
        let fault = match received.message {
            Ok(Some(AgentMessage { message: Some(Message::Batch(batch)) })) => {
                self.judge(batch);
                return Ok(Some(received.inbound));
            }
            Ok(Some(AgentMessage { message: Some(Message::Ping(_)) })) => {
                return Ok(Some(received.inbound));
            }
            Ok(None) => {
                self.closing = true;
                return Ok(None);
            }
            Ok(Some(AgentMessage { message: Some(Message::Hello(_)) })) => {
                self.protocol_fault("hello_twice", "one Hello", "another")
            }
            Ok(Some(AgentMessage { message: None })) => {
                self.protocol_fault("unknown_message", "Batch or Ping", "neither")
            }
            Err(status) => status,
        };
        self.end(fault).await
    }

    fn protocol_fault(&self, slug: &'static str, expected: &str, got: &str) -> Status {
        refuse(&self.handles.counters, slug, Action::Drop, expected, got)
    }

    /// The last word on this stream.
    async fn end<T>(&mut self, status: Status) -> Result<T, Ended> {
        let limit = Duration::from_millis(STREAM_IDLE_MS_MAX);
        // The agent may be gone already; then there is nobody to tell.
        let _ = self.answers.send_timeout(Err(status), limit).await;
        Err(Ended)
    }

    /// Starts admission of one batch.
    fn judge(&mut self, batch: Batch) {
        let place = match self.place(&batch) {
            Ok(place) => place,
            Err((retry_after_ms, slug)) => {
                let answer = not_now(&self.handles.counters, retry_after_ms, slug);
                return self.judging.push_back(Box::pin(ready(Judged::Answered(answer))));
            }
        };
        let Some(standing) = self.handles.agents.find(&self.agent) else {
            let answer = not_now(&self.handles.counters, NO_LEADER_RETRY_MS, "unknown_agent");
            return self.judging.push_back(Box::pin(ready(Judged::Answered(answer))));
        };
        let judge = Judge {
            agent: self.agent.clone(),
            standing,
            log_id: self.handles.identity.log_id(),
            clock: self.handles.clock.clone(),
            counters: self.handles.counters.clone(),
        };
        self.judging.push_back(match batch.payload.len() <= ADMITTED_HERE_BYTES_MAX {
            true => Box::pin(ready(judge.judge(&batch, place))),
            false => Box::pin(judge_elsewhere(self.handles.workers.clone(), judge, batch, place)),
        });
    }

    /// Room for one more batch, or when to come back and why. Asked before anything is verified:
    /// what cannot be proposed now is not worth a signature's check.
    fn place(&mut self, batch: &Batch) -> Result<Place, (u64, &'static str)> {
        let found = self.room().and_then(|permit| self.turn(batch).map(|()| permit));
        match found {
            Ok(permit) => {
                self.shed_after = None;
                Ok(Place { _permit: permit, ticket: self.handles.counters.batches.enter() })
            }
            Err(busy) => {
                // The first that was told so: those sent behind it cannot be taken without it.
                let place = place_of(batch);
                if place != UNREADABLE {
                    self.shed_after = Some(self.shed_after.map_or(place, |first| first.min(place)));
                }
                Err(busy)
            }
        }
    }

    fn room(&self) -> Result<OwnedSemaphorePermit, (u64, &'static str)> {
        if let Some(busy) = self.handles.proposer.busy().as_ref().and_then(busy) {
            return Err(busy);
        }
        let retry_after_ms = self.retry_after_ms();
        let (own, free) =
            (self.judging.len() + self.deciding.len(), self.under_way.available_permits());
        if own > 0 && own > free / STREAM_SHARE {
            return Err((retry_after_ms, "ingest_share"));
        }
        let permit = Arc::clone(&self.under_way).try_acquire_owned();
        permit.map_err(|_| (retry_after_ms, "ingest_full"))
    }

    /// A batch behind one that was told `Busy` would only be found out of its turn.
    fn turn(&self, batch: &Batch) -> Result<(), (u64, &'static str)> {
        match self.shed_after {
            Some(first) if place_of(batch) > first => Err((self.retry_after_ms(), "ingest_turn")),
            _ => Ok(()),
        }
    }

    fn retry_after_ms(&self) -> u64 {
        let oldest_ms = self.handles.counters.batches.age_ms();
        oldest_ms.saturating_mul(2).clamp(INGEST_BUSY_RETRY_MS, BUSY_RETRY_MS_MAX)
    }

    /// Hands an admitted batch to consensus; its turn among this stream's batches has come.
    fn propose(&mut self, judged: Judged) {
        match judged {
            Judged::Answered(answer) => self.deciding.push_back(Box::pin(ready(answer))),
            Judged::Admitted(admitted, place) => {
                let Handles { proposer, counters, .. } = &self.handles;
                let deciding = decide(proposer.clone(), counters.clone(), admitted, place);
                self.deciding.push_back(Box::pin(deciding));
            }
        }
    }

    async fn welcome(&mut self, hello: &Hello, standing: &Standing) -> Result<(), Ended> {
        self.addresses = self.handles.addresses();
        self.send(Answer::Welcome(Welcome {
            protocol: wire::PROTOCOL,
            epoch: standing.epoch,
            next_seq: standing.next_seq,
            last_header_hash: standing.last_hash.0.to_vec().into(),
            addresses: self.addresses.clone(),
        }))
        .await?;
        self.policy = KnownPolicy::of(&hello.policy_sha256);
        let newest = self.handles.specs.borrow().revision;
        if newest != hello.spec_revision {
            self.send_specs().await?;
        }
        self.send_checkpoint().await
    }

    /// An agent that is connected for long must know where to go when this replica leaves.
    async fn send_addresses(&mut self) -> Result<(), Ended> {
        let members = self.handles.members.borrow().clone();
        let is_news = !self.members.as_ref().is_some_and(|known| Arc::ptr_eq(known, &members));
        let addresses = match is_news && self.policy.is_known() {
            true => self.handles.addresses(),
            false => return Ok(()),
        };
        self.members = Some(members);
        if addresses == self.addresses {
            return Ok(());
        }
        self.addresses = addresses.clone();
        self.send(Answer::Addresses(Addresses { addresses })).await
    }

    /// Before a checkpoint that the agent could not believe otherwise.
    async fn send_roll_overs(&mut self) -> Result<(), Ended> {
        let members = self.handles.members.borrow().clone();
        let Some(known) = self.policy.due(&members) else { return Ok(()) };
        let dir = self.handles.evidence_dir.clone();
        let first = self.handles.identity.policy.clone();
        let read = move || roll_over::after(&dir, &first, &members.cosigner_changes, known);
        let found = self.handles.workers.run(read).await;
        for next in found.unwrap_or_default() {
            self.policy.told(next.policy_sha256);
            self.send(Answer::RollOver(next.message)).await?;
        }
        Ok(())
    }

    async fn send_specs(&mut self) -> Result<(), Ended> {
        let SpecSnapshot { revision, effective_at_ms, text } =
            self.handles.specs.borrow_and_update().clone();
        if revision == 0 {
            return Ok(());
        }
        let documents = text.to_string();
        self.send(Answer::SpecSet(SpecSet { revision, effective_at_ms, documents })).await
    }

    /// Tells the newest checkpoint, and then no other for a while: there are several a second, and
    /// an agent only names the newest it has seen in its batches.
    async fn send_checkpoint(&mut self) -> Result<(), Ended> {
        let note = self.handles.checkpoint.borrow_and_update().to_string();
        if note.is_empty() {
            return Ok(());
        }
        self.send_addresses().await?;
        self.send_roll_overs().await?;
        self.is_note_due = false;
        self.note_pause.set(sleep(Duration::from_millis(NOTE_INTERVAL_MS)));
        self.send(Answer::Checkpoint(CheckpointNote { note })).await
    }

    /// Waits for a slow agent only so long.
    async fn send(&mut self, answer: Answer) -> Result<(), Ended> {
        let message = GatewayMessage { message: Some(answer) };
        let limit = Duration::from_millis(STREAM_IDLE_MS_MAX);
        self.answers.send_timeout(Ok(message), limit).await.map_err(|_| Ended)
    }
}

/// The next message, or the fault that none came for too long.
async fn read(mut inbound: Streaming<AgentMessage>) -> Received {
    let limit = Duration::from_millis(STREAM_IDLE_MS_MAX);
    let message = match timeout(limit, inbound.message()).await {
        Ok(message) => message,
        Err(_) => {
            let expected = format!("a message or ping every {STREAM_IDLE_MS_MAX} ms");
            let idle = refusal("idle", Action::Retry, expected, "none");
            Err(idle.into_status(tonic::Code::DeadlineExceeded))
        }
    };
    Received { message, inbound }
}

/// How long this stream may live: less than its connection, by its own random share.
fn stream_age() -> Duration {
    let mut random = [0; 8];
    // Without randomness the stream just lives as long as its connection.
    let _ = SystemRandom::new().fill(&mut random);
    let early_ms = u64::from_le_bytes(random) % STREAM_AGE_JITTER_MS;
    Duration::from_millis(CONNECTION_AGE_MS_MAX - early_ms)
}

impl Judge {
    fn judge(&self, batch: &Batch, place: Place) -> Judged {
        let Batch { leaf, payload } = batch;
        let now_ms = self.clock.unix_ms();
        match admit(leaf, payload, &self.agent, &self.standing, self.log_id, now_ms) {
            Ok(admitted) => Judged::Admitted(admitted, place),
            Err(fault) => {
                let (epoch, seq_first) = place_of(batch);
                self.counters.note(Event::Batch, fault.slug());
                Judged::Answered(refused(epoch, seq_first, (&fault).into()))
            }
        }
    }
}

/// So much to verify that the network's threads must not wait for it.
async fn judge_elsewhere(
    workers: AdmissionWorkers,
    judge: Judge,
    batch: Batch,
    place: Place,
) -> Judged {
    let counters = judge.counters.clone();
    let judged = workers.run(move || judge.judge(&batch, place)).await;
    judged.unwrap_or_else(|| {
        Judged::Answered(not_now(&counters, INGEST_BUSY_RETRY_MS, "shutting_down"))
    })
}

/// The place of a batch whose header cannot be read.
const UNREADABLE: (u64, u64) = (0, 0);

/// Epoch and first sequence number as the batch says them, so that its agent knows which one was
/// refused.
fn place_of(batch: &Batch) -> (u64, u64) {
    let header = Leaf::parse(&batch.leaf[..]).and_then(|leaf| leaf.header());
    match header {
        Ok(Header::Batch(header)) => (header.epoch, header.seq_first),
        _ => UNREADABLE,
    }
}

/// Proposes, waits, and turns what the state said into the answer.
async fn decide<P: Proposer>(
    proposer: P,
    counters: Counters,
    admitted: Admitted,
    place: Place,
) -> Answer {
    let Admitted { leaf, payload, epoch, seq_first, .. } = admitted;
    let outcome = proposer.propose(Command::Admit { leaf, payload }).await;
    let (slug, answer) = answer_of(&outcome, epoch, seq_first);
    if slug == "accepted" {
        counters.note_accepted(place.ticket.age_ms());
    }
    drop(place);
    counters.note(Event::Batch, slug);
    answer
}

/// Only `Accepted` and `Duplicate` become an ack: the state has the batch, on a majority, for good.
fn answer_of(outcome: &ProposalOutcome, epoch: u64, seq_first: u64) -> (&'static str, Answer) {
    let ack = |seq_end: u64, leaf_index: u64| Answer::Ack(Ack { epoch, seq_end, leaf_index });
    if let Some((retry_after_ms, slug)) = busy(outcome) {
        return (slug, busy_answer(retry_after_ms, slug));
    }
    match outcome {
        ProposalOutcome::Applied(Reply::Accepted { seq_end, leaf_index }) => {
            ("accepted", ack(*seq_end, *leaf_index))
        }
        ProposalOutcome::Applied(Reply::Duplicate { seq_end, leaf_index }) => {
            ("duplicate", ack(*seq_end, *leaf_index))
        }
        ProposalOutcome::Applied(Reply::Refused(fault)) => {
            (fault.slug(), refused(epoch, seq_first, fault.into()))
        }
        ProposalOutcome::TooLarge { bytes_max, bytes } => {
            let (expected, got) = (format!("at most {bytes_max} bytes"), format!("{bytes} bytes"));
            let fault = refusal("command_too_large", Action::Drop, expected, got);
            ("command_too_large", refused(epoch, seq_first, fault))
        }
        other => {
            tracing::error!(?other, "a batch was answered with another command's outcome");
            let fault = refusal("unexpected_reply", Action::Drop, "a batch's reply", "another");
            ("unexpected_reply", refused(epoch, seq_first, fault))
        }
    }
}

fn refused(epoch: u64, seq_first: u64, refusal: wire::Refusal) -> Answer {
    Answer::Refused(Refused { epoch, seq_first, refusal: Some(refusal) })
}

/// A batch that this node cannot look at now; counted by the very slug that is answered.
fn not_now(counters: &Counters, retry_after_ms: u64, slug: &'static str) -> Answer {
    counters.note(Event::Batch, slug);
    busy_answer(retry_after_ms, slug)
}

fn busy_answer(retry_after_ms: u64, slug: &str) -> Answer {
    let retry_after_ms = u32::try_from(retry_after_ms.clamp(1, 60_000)).unwrap_or(60_000);
    Answer::Busy(Busy { retry_after_ms, slug: slug.to_owned() })
}
