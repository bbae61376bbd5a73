//! One connection's life: hello, welcome, then batches out and answers in until it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proofmark_evidence::{
    Hash, Policy, ProvenChange, RollOver, SealedBatch, Seen, SignedCheckpoint, sha256,
};
use proofmark_proto as wire;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wire::agent_gateway_client::AgentGatewayClient;
use wire::agent_message::Message as Out;
use wire::gateway_message::Message as In;
use wire::{Action, AgentMessage, Batch, GatewayMessage, Hello, Ping, Refusal, Welcome};

use super::backoff::Backoff;
use super::dial::{self, Network};
use super::leaderless::Leaderless;
use super::window::{Rewound, Window};
use super::{RefusedAction, UplinkEvent, wait_until};
use crate::clock::Clock;
use crate::identity::Identity;
use crate::limits::{
    UPLINK_CONNECT_MS_MAX, UPLINK_MESSAGE_BYTES_MAX, UPLINK_PING_MS, UPLINK_RETRY_MS,
    UPLINK_WINDOW_MAX,
};

/// The uplink's state across connections.
pub(super) struct Link<N> {
    pub(super) network: N,
    pub(super) identity: Arc<Identity>,
    /// Whose signatures make a checkpoint believable; rolls over when the nodes change.
    pub(super) policy: Policy,
    /// `host:port` of aggregators as told last.
    pub(super) addresses: Vec<String>,
    pub(super) queue: mpsc::Receiver<SealedBatch>,
    pub(super) events: mpsc::Sender<UplinkEvent>,
    pub(super) clock: Clock,
    pub(super) backoff: Backoff,
    /// Of the present connection.
    pub(super) window: Window,
    pub(super) spec_revision: u64,
    /// The newest believed checkpoint.
    pub(super) seen: Option<Seen>,
    /// The agent hands in no more: what is left is delivered, then all is done.
    pub(super) is_finishing: bool,
}

/// Why a connection ended.
pub(super) enum LinkEnd {
    /// The agent dropped its end, and everything is acknowledged.
    AgentGone,
    Lost {
        why: String,
        was_welcome: bool,
    },
    /// A person must act.
    Stopped {
        why: String,
    },
}

/// One open stream.
struct Stream {
    out: mpsc::Sender<AgentMessage>,
    inbound: Streaming<GatewayMessage>,
    /// Until when no batch is sent: an aggregator was busy. Monotonic, like `spoken_us`.
    paused_until_us: Option<u64>,
    /// When the aggregator last heard of us.
    spoken_us: u64,
    leaderless: Leaderless,
}

/// The one thing that happened.
enum Happened {
    Queued(SealedBatch),
    QueueClosed,
    Came(Result<Option<GatewayMessage>, Status>),
    Quiet,
    PauseOver,
}

impl<N: Network> Link<N> {
    /// Connects to `address` and serves until the connection, or the agent, is gone.
    pub(super) async fn serve(&mut self, address: &str) -> LinkEnd {
        if self.queue.is_closed() {
            return LinkEnd::AgentGone;
        }
        match self.open(address).await {
            Err(end) => end,
            Ok(stream) => match self.exchange(stream).await {
                Ok(end) | Err(end) => end,
            },
        }
    }

    async fn open(&mut self, address: &str) -> Result<Stream, LinkEnd> {
        let channel = dial::connect_over(&self.network, address, self.identity.tls()).await;
        let channel = channel.map_err(|fault| lost(fault, false))?;
        let mut client = AgentGatewayClient::new(channel)
            .max_decoding_message_size(UPLINK_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(UPLINK_MESSAGE_BYTES_MAX);
        let (out, outbound) = mpsc::channel(2 * UPLINK_WINDOW_MAX);
        let hello = AgentMessage { message: Some(Out::Hello(self.hello())) };
        out.try_send(hello).map_err(|fault| lost(fault, false))?;
        let limit = Duration::from_millis(UPLINK_CONNECT_MS_MAX);
        let greeting = async {
            let reply = client.connect(ReceiverStream::new(outbound)).await?;
            let mut inbound = reply.into_inner();
            let first = inbound.message().await?;
            Ok((inbound, first))
        };
        let (inbound, first) = match timeout(limit, greeting).await {
            Err(_) => return Err(lost("no Welcome in time", false)),
            Ok(Err(status)) => return Err(self.turned_away(&status).await),
            Ok(Ok(greeted)) => greeted,
        };
        self.welcomed(first).await?;
        let spoken_us = self.clock.monotonic_us();
        Ok(Stream {
            out,
            inbound,
            paused_until_us: None,
            spoken_us,
            leaderless: Leaderless::default(),
        })
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol: wire::PROTOCOL,
            agent: self.identity.agent.to_string(),
            epoch: self.identity.epoch,
            key_id: self.identity.signing_key.key_id().0.0.to_vec().into(),
            spec_revision: self.spec_revision,
            policy_sha256: sha256(self.policy.to_text().as_bytes()).0.to_vec().into(),
        }
    }

    async fn welcomed(&mut self, first: Option<GatewayMessage>) -> Result<(), LinkEnd> {
        let Some(GatewayMessage { message: Some(In::Welcome(welcome)) }) = first else {
            return Err(lost("expected Welcome first, got another message", false));
        };
        let Welcome { epoch, next_seq, last_header_hash, addresses, .. } = welcome;
        self.take_addresses(addresses);
        let Ok(hash) = <[u8; 32]>::try_from(&last_header_hash[..]) else {
            return Err(lost("expected a header hash of 32 bytes", false));
        };
        self.window = Window::default();
        // What waits here was handed in for the connection before: it will come again.
        while self.queue.try_recv().is_ok() {}
        self.tell(UplinkEvent::Connected { epoch, next_seq, last_header_hash: Hash(hash) }).await
    }

    fn is_done(&self) -> bool {
        self.is_finishing && self.window.is_empty()
    }

    async fn exchange(&mut self, mut stream: Stream) -> Result<LinkEnd, LinkEnd> {
        while !self.is_done() {
            self.send_what_fits(&mut stream).await?;
            match self.select(&mut stream).await {
                Happened::Queued(batch) => {
                    self.window.push(batch);
                }
                Happened::QueueClosed => self.is_finishing = true,
                Happened::Came(message) => self.take(&mut stream, message).await?,
                Happened::Quiet => self.send(&mut stream, Out::Ping(Ping {})).await?,
                Happened::PauseOver => stream.paused_until_us = None,
            }
        }
        Ok(LinkEnd::AgentGone)
    }

    /// Waits for the next thing to happen.
    async fn select(&mut self, stream: &mut Stream) -> Happened {
        let takes_more = self.window.has_room() && !self.is_finishing;
        let pause_us = stream.paused_until_us;
        let quiet_us = stream.spoken_us + UPLINK_PING_MS * 1_000;
        tokio::select! {
            message = stream.inbound.message() => Happened::Came(message),
            batch = self.queue.recv(), if takes_more => match batch {
                Some(batch) => Happened::Queued(batch),
                None => Happened::QueueClosed,
            },
            () = wait_until(&self.clock, pause_us.unwrap_or_default()), if pause_us.is_some() => {
                Happened::PauseOver
            }
            () = wait_until(&self.clock, quiet_us) => Happened::Quiet,
        }
    }

    async fn send_what_fits(&mut self, stream: &mut Stream) -> Result<(), LinkEnd> {
        while stream.paused_until_us.is_none() {
            let Some(batch) = self.window.next_to_send() else { return Ok(()) };
            let leaf = Bytes::from_owner(batch.leaf.shared_bytes());
            let payload = Bytes::from_owner(batch.payload.clone());
            self.send(stream, Out::Batch(Batch { leaf, payload })).await?;
        }
        Ok(())
    }

    async fn take(
        &mut self,
        stream: &mut Stream,
        message: Result<Option<GatewayMessage>, Status>,
    ) -> Result<(), LinkEnd> {
        let message = match message {
            Ok(Some(message)) => message.message,
            Ok(None) => return Err(lost("the aggregator ended the stream", true)),
            Err(status) => return Err(lost(status.message(), true)),
        };
        match message {
            Some(In::Ack(ack)) => {
                stream.leaderless.decided();
                self.acked(ack).await
            }
            Some(In::Busy(busy)) => self.busy(stream, &busy),
            Some(In::Refused(refused)) => {
                self.refused(stream, refused.refusal.unwrap_or_default()).await
            }
            Some(In::SpecSet(specs)) => self.specs(specs).await,
            Some(In::Checkpoint(checkpoint)) => self.checkpoint(&checkpoint.note).await,
            Some(In::Addresses(now)) => {
                self.take_addresses(now.addresses);
                Ok(())
            }
            Some(In::RollOver(roll_over)) => {
                self.roll_over(roll_over);
                Ok(())
            }
            Some(In::Welcome(_)) | None => {
                Err(lost("expected an answer, got another message", true))
            }
        }
    }

    async fn acked(&mut self, ack: wire::Ack) -> Result<(), LinkEnd> {
        let wire::Ack { epoch, seq_end, .. } = ack;
        if epoch != self.identity.epoch || !self.window.acked(seq_end) {
            return Ok(());
        }
        self.tell(UplinkEvent::Acked { epoch, seq_end }).await
    }

    fn busy(&mut self, stream: &mut Stream, busy: &wire::Busy) -> Result<(), LinkEnd> {
        // Once a pause: the batches behind it are told the same and find it begun.
        if self.window.rewind() == Rewound::Resend {
            tracing::info!(slug = %busy.slug, busy.retry_after_ms, "aggregator busy");
            if stream.leaderless.told(&busy.slug, self.clock.monotonic_us()) {
                return Err(lost(format!("{}: another may have a leader", busy.slug), true));
            }
            self.pause(stream, busy.retry_after_ms.into());
        }
        Ok(())
    }

    async fn refused(&mut self, stream: &mut Stream, refusal: Refusal) -> Result<(), LinkEnd> {
        let seq = refusal.resend_from_seq;
        match refusal.action() {
            Action::Retry => {
                if self.window.rewind() == Rewound::Resend {
                    self.pause(stream, UPLINK_RETRY_MS);
                    self.tell(refused_event(refusal, RefusedAction::Retry)).await?;
                }
                Ok(())
            }
            Action::ResendFrom => match self.window.resend_from(seq) {
                Rewound::Stale => Ok(()),
                Rewound::Resend => {
                    let epoch = self.identity.epoch;
                    self.tell(UplinkEvent::Acked { epoch, seq_end: seq }).await
                }
                Rewound::Missing => {
                    self.tell(refused_event(refusal, RefusedAction::ResendFrom { seq })).await
                }
            },
            Action::Drop => match self.window.refused() {
                true => self.tell(refused_event(refusal, RefusedAction::Drop)).await,
                false => Ok(()),
            },
            Action::Stop | Action::Unspecified => Err(self.stopped(refusal).await),
        }
    }

    /// The stream was not opened: refused, or the network.
    async fn turned_away(&mut self, status: &Status) -> LinkEnd {
        match Refusal::from_status(status) {
            Some(refusal) if refusal.action() == Action::Stop => self.stopped(refusal).await,
            _ => lost(status.message(), false),
        }
    }

    async fn stopped(&mut self, refusal: Refusal) -> LinkEnd {
        let why = refusal.to_string();
        tracing::error!(%why, "an aggregator refuses this agent: a person must act");
        match self.tell(refused_event(refusal, RefusedAction::Stop)).await {
            Ok(()) => LinkEnd::Stopped { why },
            Err(end) => end,
        }
    }

    async fn specs(&mut self, specs: wire::SpecSet) -> Result<(), LinkEnd> {
        let wire::SpecSet { revision, effective_at_ms, documents: text } = specs;
        if revision <= self.spec_revision {
            // A node that is behind; it will send the newer set when it has it.
            return Ok(());
        }
        self.spec_revision = revision;
        self.tell(UplinkEvent::Specs { revision, effective_at_ms, text }).await
    }

    /// Where aggregators are as of now. They are tried after those of the configuration, so that a
    /// wrong list cannot cut this agent off from the ones its owner named.
    fn take_addresses(&mut self, addresses: Vec<String>) {
        if addresses.is_empty() || addresses == self.addresses {
            return;
        }
        self.addresses = addresses;
        if let Err(why) = self.identity.keep_addresses(&self.addresses) {
            tracing::warn!(%why, "new addresses not kept: the next start is told them again");
        }
    }

    /// The nodes have changed. The policy so far must vouch for it; see `RollOver::apply`.
    fn roll_over(&mut self, message: wire::RollOver) {
        let next = match checked(message).and_then(|one| one.apply(&self.policy).map_err(words)) {
            Ok(next) => next,
            Err(why) => {
                return tracing::error!(%why, "new nodes that the pinned policy does not vouch for");
            }
        };
        tracing::info!(policy = %next.to_text(), "the aggregators' nodes have changed");
        self.policy = next;
        // A crash here leaves the older policy on disk: the next start is told the way again.
        if let Err(why) = self.identity.keep_policy(&self.policy) {
            tracing::warn!(%why, "the new policy is not kept: the next start is told it again");
        }
    }

    /// Believed only by the policy, and only forwards.
    async fn checkpoint(&mut self, note: &str) -> Result<(), LinkEnd> {
        match believed(&self.identity, &self.policy, note) {
            Err(why) => {
                tracing::error!(%why, "a checkpoint that the enrolled policy does not believe");
                Ok(())
            }
            Ok(seen) => match self.seen {
                Some(known) if known.size == seen.size && known.root != seen.root => {
                    tracing::error!(?known, ?seen, "two believed checkpoints contradict");
                    Ok(())
                }
                Some(known) if known.size >= seen.size => Ok(()),
                _ => {
                    self.seen = Some(seen);
                    self.tell(UplinkEvent::Seen(seen)).await
                }
            },
        }
    }

    /// Holds batches back for this long and a little more: many agents were told the same.
    fn pause(&mut self, stream: &mut Stream, ms: u64) {
        let ms = self.backoff.spread_ms(ms);
        stream.paused_until_us = Some(self.clock.monotonic_us() + ms * 1_000);
    }

    async fn send(&self, stream: &mut Stream, message: Out) -> Result<(), LinkEnd> {
        stream.spoken_us = self.clock.monotonic_us();
        let message = AgentMessage { message: Some(message) };
        stream.out.send(message).await.map_err(|_| lost("the stream is closed", true))
    }

    async fn tell(&self, event: UplinkEvent) -> Result<(), LinkEnd> {
        self.events.send(event).await.map_err(|_| LinkEnd::AgentGone)
    }
}

/// As it came, with hashes of the right length.
fn checked(message: wire::RollOver) -> Result<RollOver, String> {
    let hash = |bytes: &Bytes| <[u8; 32]>::try_from(&bytes[..]).map(Hash);
    let change = |change: wire::ProvenChange| {
        let path = change.path.iter().map(hash).collect::<Result<Vec<_>, _>>();
        let path = path.map_err(|_| "expected hashes of 32 bytes in a path".to_owned())?;
        Ok(ProvenChange { index: change.index, leaf: change.leaf.to_vec(), path })
    };
    let changes = message.changes.into_iter().map(change).collect::<Result<_, String>>()?;
    Ok(RollOver { note: message.note, changes })
}

fn words(fault: impl ToString) -> String {
    fault.to_string()
}

fn believed(identity: &Identity, policy: &Policy, note: &str) -> Result<Seen, String> {
    let signed = SignedCheckpoint::parse(note).map_err(words)?;
    policy.check(&signed).map_err(words)?;
    match signed.checkpoint.origin == identity.origin {
        true => Ok(Seen { size: signed.checkpoint.size, root: signed.checkpoint.root }),
        false => Err(format!("expected log {}, got {}", identity.origin, signed.checkpoint.origin)),
    }
}

fn refused_event(refusal: Refusal, action: RefusedAction) -> UplinkEvent {
    let Refusal { slug, expected, got, .. } = refusal;
    UplinkEvent::Refused { slug, expected, got, action }
}

fn lost(why: impl ToString, was_welcome: bool) -> LinkEnd {
    LinkEnd::Lost { why: why.to_string(), was_welcome }
}

#[cfg(test)]
pub(crate) mod tests {
    use proofmark_evidence::{
        AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Coverage, Outcome, SigningKey,
    };

    use super::*;

    /// A sealed batch of `count` passes from sequence number `seq_first`.
    pub(crate) fn sealed(seq_first: u64, count: u64) -> SealedBatch {
        let result = |n: u64| CheckResult {
            check_index: 0,
            offset_ms: u32::try_from(n).unwrap(),
            outcome: Outcome::Pass,
            duration_us: 1,
            measurements: Vec::new(),
            detail: String::new(),
        };
        BatchDraft {
            log_id: Hash::ZERO,
            agent: AgentName::parse("web-1").unwrap(),
            epoch: 1,
            seq_first,
            base_time_ms: 1_800_000_000_000,
            checks: vec![CheckRef {
                check: CheckName::parse("home").unwrap(),
                spec_revision: 1,
                target: "http://localhost/".to_owned(),
            }],
            coverage: Coverage { scheduled: count, run: count, skipped: Vec::new() },
            previous: Hash::ZERO,
            seen: None,
            results: (0..count).map(result).collect(),
        }
        .seal(&SigningKey::from_seed([7; 32]))
        .unwrap()
    }
}
