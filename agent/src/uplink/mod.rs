//! The uplink: sealed batches go out, acks and specs come in, whatever the network does.
//!
//! In:  sealed batches in sequence order, from where the last `Connected` said.
//! Out: [`UplinkEvent`]s.
//! One task dials the aggregators in turn ([`dial`], [`backoff`]), greets one and serves the
//! stream ([`link`]); [`window`] keeps what is sent and not yet acknowledged and sends it again
//! while the connection lives. An ack is believed because TLS proved who gave it.
//!
//! The uplink never touches the spool, never looks into a batch's results, and keeps nothing over
//! a lost connection: the spool has it all, and the agent hands it in again.

pub(crate) mod backoff;
pub(crate) mod dial;
mod leaderless;
mod link;
pub mod window;

use std::collections::BTreeSet;

use proofmark_evidence::{Hash, SealedBatch, Seen};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::identity::Identity;
use crate::limits::{UPLINK_EVENTS_MAX, UPLINK_QUEUE_MAX, UPLINK_STOPPED_MS};

use backoff::Backoff;
use link::{Link, LinkEnd};
use window::Window;

pub use backoff::{Random, system_random};
pub use dial::{DialFault, Network, Tcp, connect};

/// What the uplink is told at start.
pub struct UplinkConfig {
    /// `host:port` of aggregators; those learnt at enrolment come after them.
    pub addresses: Vec<String>,
    /// Revision of the specs the agent holds; 0: none.
    pub spec_revision: u64,
    pub clock: Clock,
    pub random: Random,
}

/// The agent's ends of the uplink. Dropping `batches` ends it once all that it holds is
/// acknowledged, or the connection is lost.
///
/// Whoever waits for room in `batches` must go on taking `events`, or both sides wait for ever.
pub struct UplinkHandle {
    /// In sequence order, without gaps; what is out of turn is not taken.
    pub batches: mpsc::Sender<SealedBatch>,
    pub events: mpsc::Receiver<UplinkEvent>,
}

/// What the agent must know. Order is the order of happening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UplinkEvent {
    /// An aggregator welcomed us and said where we stand: hand in everything from `next_seq` on,
    /// also what was handed in before. It may name less than was acknowledged before, when it is a
    /// little behind; acks stay true: then hand in from the newest ack on.
    Connected { epoch: u64, next_seq: u64, last_header_hash: Hash },
    /// All results of the epoch below `seq_end` are safe; the spool may forget them.
    Acked { epoch: u64, seq_end: u64 },
    /// The documents in force from then on; they replace all earlier ones.
    Specs { revision: u64, effective_at_ms: u64, text: String },
    /// A checkpoint that the enrolled policy believes; sizes only grow.
    Seen(Seen),
    /// The oldest batch not yet acknowledged was refused, or this identity was.
    Refused { slug: String, expected: String, got: String, action: RefusedAction },
    /// The connection is gone or could not be made; the uplink tries on.
    Disconnected { why: String },
}

/// What the aggregator asks of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedAction {
    /// The uplink tries again by itself; told so that people can see why nothing moves.
    Retry,
    /// Batches from `seq` on are needed, and not in the uplink: hand them in.
    ResendFrom { seq: u64 },
    /// This batch will never be taken. The uplink has forgotten it and all after it (each names
    /// the one before): replace it, and hand in the rest again.
    Drop,
    /// A person must act. The uplink asks again once a minute.
    Stop,
}

/// Starts the uplink's one task in `tasks`.
pub fn start(
    config: UplinkConfig,
    identity: std::sync::Arc<Identity>,
    tasks: &mut JoinSet<()>,
) -> UplinkHandle {
    start_over(Tcp, config, identity, tasks)
}

/// As [`start`], over any network.
pub fn start_over(
    network: impl Network,
    config: UplinkConfig,
    identity: std::sync::Arc<Identity>,
    tasks: &mut JoinSet<()>,
) -> UplinkHandle {
    let (batches, queue) = mpsc::channel(UPLINK_QUEUE_MAX);
    let (events, receiver) = mpsc::channel(UPLINK_EVENTS_MAX);
    let link = Link {
        network,
        policy: identity.policy.clone(),
        addresses: identity.addresses.clone(),
        identity,
        queue,
        events,
        clock: config.clock,
        backoff: Backoff::new(config.random),
        window: Window::default(),
        spec_revision: config.spec_revision,
        seen: None,
        is_finishing: false,
    };
    tasks.spawn(run(link, config.addresses));
    UplinkHandle { batches, events: receiver }
}

/// Each address once, the configured ones first.
fn addresses(configured: &[String], told: &[String]) -> Vec<String> {
    let mut known = BTreeSet::new();
    configured.iter().chain(told).filter(|address| known.insert(*address)).cloned().collect()
}

/// One connection after the other, until the agent lets go of its end.
async fn run<N: Network>(mut link: Link<N>, configured: Vec<String>) {
    // Agents of one fleet start at different addresses.
    let mut turn = link.backoff.pick(addresses(&configured, &link.addresses).len());
    loop {
        // A welcome may have told others.
        let addresses = addresses(&configured, &link.addresses);
        let Some(address) = addresses.get(turn % addresses.len().max(1)) else { return };
        let (why, was_welcome, pause_ms) = match link.serve(address).await {
            LinkEnd::AgentGone => return,
            LinkEnd::Lost { why, was_welcome } => (why, was_welcome, None),
            LinkEnd::Stopped { why } => (why, true, Some(UPLINK_STOPPED_MS)),
        };
        if was_welcome {
            link.backoff.reset();
        }
        tracing::info!(%address, %why, "uplink disconnected");
        let event = UplinkEvent::Disconnected { why: format!("{address}: {why}") };
        if link.events.send(event).await.is_err() {
            return;
        }
        let pause_ms = pause_ms.unwrap_or_else(|| link.backoff.next_ms());
        wait(&link.clock, pause_ms).await;
        turn += 1;
    }
}

pub(crate) async fn wait(clock: &Clock, ms: u64) {
    wait_until(clock, clock.monotonic_us() + ms * 1_000).await;
}

/// Waits by the clock that never goes back.
pub(crate) async fn wait_until(clock: &Clock, end_us: u64) {
    while let left_ms @ 1.. = end_us.saturating_sub(clock.monotonic_us()).div_ceil(1_000) {
        clock.sleep_towards(clock.unix_ms() + left_ms).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_addresses_come_first_and_each_once() {
        let text = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        let got = addresses(&text(&["b:1", "a:1", "b:1"]), &text(&["a:1", "c:1"]));
        assert_eq!(got, ["b:1", "a:1", "c:1"]);
    }

    #[tokio::test]
    async fn waiting_follows_the_given_clock() {
        let clock = Clock::manual(1_000);
        let mut waiting = std::pin::pin!(wait(&clock, 50));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        clock.advance_ms(49);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        clock.advance_ms(1);
        waiting.await;
    }
}
