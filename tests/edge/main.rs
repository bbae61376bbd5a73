//! The gRPC edge in simulated time: the agents' real uplink and the real agent port, with their TLS,
//! over a network that is cut, held, slow, or ends in a process that says nothing.
//!
//! Replaced are the sockets (`turmoil`), the clocks, and consensus (the state, applied where it is
//! proposed). turmoil never sends a lost segment again: a stream that lost one is dead, as behind a
//! firewall that forgot it, and only keep-alive finds that out.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

#[path = "../it/rpc/bench.rs"]
#[expect(dead_code, reason = "shared with the RPC tests, which use more of it")]
mod bench;
#[path = "../it/rpc/client.rs"]
#[expect(dead_code, reason = "as above")]
mod client;
mod world;

use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::limits::STREAM_IDLE_MS_MAX as STREAM_IDLE_MS;
use world::{BATCHES, Edge, LARGE_BATCHES, LATENCY_MS_MAX};

/// Agents look every 10 s whether the other side still answers, and wait 5 s for it.
const DEAD_PEER_MS_MAX: u64 = 15_000;
/// The longest pause between two attempts, and the longest attempt.
const BACKOFF_MS_MAX: u64 = 10_000;
const DIAL_MS_MAX: u64 = 5_000;
/// How long a replica without a leader is asked again.
const LEADERLESS_MS: u64 = 3_000;

#[test]
fn same_seed_same_story() {
    let story = |seed| {
        let mut edge = Edge::new(seed);
        edge.run_until_delivered(60_000);
        edge.story()
    };
    let first = story(7);
    assert_eq!(first, story(7));
    assert_ne!(first, story(8), "latencies come from the seed");
}

#[test]
fn a_cut_is_found_by_keep_alive_and_healed_by_dialling() {
    for seed in 1..=3 {
        let mut edge = Edge::new(seed);
        edge.run(1_500);
        edge.cut();
        let noticed_ms = edge.run_until_disconnected();
        assert!(noticed_ms <= DEAD_PEER_MS_MAX + 1_000, "seed {seed}: after {noticed_ms} ms");
        edge.run(20_000);
        edge.heal();
        edge.run_until_delivered(DIAL_MS_MAX + BACKOFF_MS_MAX + 10_000);
    }
}

#[test]
fn a_cut_one_way_is_a_cut() {
    for seed in 1..=3 {
        let mut edge = Edge::new(seed);
        edge.run(1_500);
        edge.cut_answers();
        let noticed_ms = edge.run_until_disconnected();
        assert!(noticed_ms <= DEAD_PEER_MS_MAX + 1_000, "seed {seed}: after {noticed_ms} ms");
        edge.heal_answers();
        edge.run_until_delivered(DIAL_MS_MAX + BACKOFF_MS_MAX + 10_000);
    }
}

#[test]
fn what_is_only_late_is_waited_for() {
    let mut edge = Edge::new(1);
    edge.run(1_500);
    edge.hold();
    edge.run(4_000);
    edge.release();
    edge.run_until_delivered(30_000);
    assert_eq!(edge.disconnects(), 0, "{}", edge.story());
}

#[test]
fn a_crash_of_the_aggregator_costs_a_dial() {
    for seed in 1..=3 {
        let mut edge = Edge::new(seed);
        edge.run(1_500);
        edge.crash_gateway();
        edge.run(2_000);
        edge.bounce_gateway();
        edge.run_until_delivered(DEAD_PEER_MS_MAX + DIAL_MS_MAX + BACKOFF_MS_MAX + 10_000);
    }
}

#[test]
fn who_accepts_and_says_nothing_is_left_in_time() {
    let mut edge = Edge::with_mute_gateway(1);
    // Connecting, then five seconds of silence, then at most the longest pause: again and again.
    edge.run(90_000);
    let gaps = edge.gaps_between_disconnects();
    assert!(gaps.len() >= 5, "{}", edge.story());
    let longest = DIAL_MS_MAX + BACKOFF_MS_MAX + 2 * LATENCY_MS_MAX + 100;
    assert!(gaps.iter().all(|gap| (DIAL_MS_MAX..=longest).contains(gap)), "{gaps:?}");
}

#[test]
fn busy_is_honoured() {
    let mut edge = Edge::new(1);
    edge.run(1_500);
    let retry_after_ms = 3_000;
    edge.bench.consensus.script(ProposalOutcome::Busy { retry_after_ms });
    edge.run_until_delivered(30_000);
    let longest = edge.longest_gap_between_acks();
    assert!(longest >= retry_after_ms, "tried again after {longest} ms");
    // Spread by half, a round trip, and what was on its way.
    assert!(longest <= retry_after_ms * 3 / 2 + 4 * LATENCY_MS_MAX + 500, "{longest} ms");
    assert_eq!(edge.disconnects(), 0);
}

#[test]
fn who_has_no_leader_for_long_is_left() {
    let mut edge = Edge::new(1);
    edge.run(1_500);
    edge.bench.consensus.set_leaderless(true);
    let left_ms = edge.run_until_disconnected();
    assert!(left_ms >= LEADERLESS_MS, "an election is waited for: left after {left_ms} ms");
    assert!(left_ms <= 2 * LEADERLESS_MS, "left after {left_ms} ms");
    edge.bench.consensus.set_leaderless(false);
    edge.run_until_delivered(BACKOFF_MS_MAX + 10_000);
}

#[test]
fn a_drain_answers_what_it_took() {
    let mut edge = Edge::new(1);
    edge.run(1_500);
    edge.drain_gateway();
    edge.run(3_000);
    assert!(edge.disconnects() >= 1, "{}", edge.story());
    edge.bounce_gateway();
    edge.run_until_delivered(DIAL_MS_MAX + BACKOFF_MS_MAX + 20_000);
    assert!(edge.handed_in() <= BATCHES * 4, "resent without end");
}

#[test]
fn the_largest_batches_arrive_whole() {
    let mut edge = Edge::with_large_batches(1);
    edge.run_until_delivered(60_000);
    assert_eq!(edge.disconnects(), 0, "{}", edge.story());
}

/// The stream is gone while a batch is on its way: of that batch nothing counts, or all of it does.
#[test]
fn a_stream_that_ends_in_mid_batch_costs_a_dial() {
    for after_ms in [5, 30, 60] {
        let mut edge = Edge::with_hang_ups(after_ms, after_ms, 2);
        edge.run_until_delivered(60_000);
        assert_eq!(edge.hang_ups(), 2, "{}", edge.story());
        assert!(edge.handed_in() > LARGE_BATCHES, "some were sent again: {}", edge.story());
    }
}

/// Nobody waits for it, and what it was not told it asks for again.
#[test]
fn who_takes_no_news_for_long_is_left_and_loses_nothing() {
    let mut edge = Edge::with_deaf_agent(1, 2_000, 2_000 + 3 * STREAM_IDLE_MS);
    edge.run(1_500);
    edge.change_specs(60);
    edge.run(3 * STREAM_IDLE_MS);
    assert!(edge.disconnects() >= 1, "{}", edge.story());
    edge.run_until_delivered(BACKOFF_MS_MAX + DIAL_MS_MAX + 30_000);
}

/// A pause that is shorter is waited out.
#[test]
fn who_takes_no_news_for_a_while_is_waited_for() {
    let mut edge = Edge::with_deaf_agent(1, 2_000, 2_000 + STREAM_IDLE_MS / 3);
    edge.run(1_500);
    edge.change_specs(60);
    edge.run_until_delivered(STREAM_IDLE_MS);
    assert_eq!(edge.disconnects(), 0, "{}", edge.story());
}
