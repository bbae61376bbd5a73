//! Nothing is counted twice, nothing is skipped: the table of what a batch may be.

use proofmark_evidence::{FailReason, Hash, KeyId, Outcome, SealedBatch, SigningKey};

use super::super::fixture::*;
use super::super::*;
use crate::limits::RECENT_BATCHES_MAX;

/// An agent with three accepted batches (1..3, 3..6, 6..7) at leaves 3, 4 and 5.
struct Told {
    world: World,
    agent: FakeAgent,
    batches: Vec<SealedBatch>,
    /// The agent as it was before each of its batches.
    before: Vec<FakeAgent>,
}

fn told() -> Told {
    let mut world = World::new(1);
    let mut agent = world.join("web-1", 1);
    let due: Vec<u64> = agent.due(START_MS).take(6).collect();
    world.now_ms += 60_000;
    let (mut batches, mut before) = (Vec::new(), Vec::new());
    for instants in [&due[0..2], &due[2..5], &due[5..6]] {
        before.push(agent.clone());
        let sealed = agent.batch(instants, Outcome::Pass);
        assert!(matches!(world.reply(admit(&sealed)), Reply::Accepted { .. }));
        batches.push(sealed);
    }
    assert_eq!(world.state.leaf_count(), 6);
    Told { world, agent, batches, before }
}

/// Sends what `make` makes of a told agent; it must change nothing but the reply.
#[track_caller]
fn check(make: impl Fn(&Told) -> SealedBatch, expect: impl Fn(&Told) -> Reply) {
    let mut told = told();
    let sealed = make(&told);
    let reply = expect(&told);
    let leaves = told.world.state.leaf_count();
    assert_eq!(told.world.reply(admit(&sealed)), reply);
    let grown = u64::from(matches!(reply, Reply::Accepted { .. }));
    assert_eq!(told.world.state.leaf_count(), leaves + grown);
}

fn at(told: &Told) -> [u64; 1] {
    [told.agent.due(told.world.now_ms).next().unwrap()]
}

#[test]
fn the_next_batch_is_accepted() {
    let accepted = Reply::Accepted { seq_end: 8, leaf_index: 6 };
    check(|told| told.agent.sealed(&at(told), Outcome::Pass), |_| accepted.clone());
}

#[test]
fn a_retry_is_told_where_its_batch_lies() {
    check(|told| told.batches[0].clone(), |_| Reply::Duplicate { seq_end: 3, leaf_index: 3 });
    check(|told| told.batches[1].clone(), |_| Reply::Duplicate { seq_end: 6, leaf_index: 4 });
    check(|told| told.batches[2].clone(), |_| Reply::Duplicate { seq_end: 7, leaf_index: 5 });
}

#[test]
fn other_bytes_under_taken_numbers_are_a_fork() {
    let refused = |told: &Told, seq, of: usize, got| {
        let expected = told.batches[of].leaf.header_hash();
        Reply::Refused(Refusal::SequenceFork { seq, expected, got })
    };
    let same_numbers = |told: &Told| {
        let due: Vec<u64> = told.agent.due(START_MS).take(3).collect();
        told.before[1].sealed(&due, Outcome::Pass)
    };
    let hash = |sealed: SealedBatch| sealed.leaf.header_hash();
    check(same_numbers, |told| refused(told, 3, 1, hash(same_numbers(told))));
    let inside = |told: &Told| {
        let agent = FakeAgent { next_seq: 4, ..told.agent.clone() };
        agent.sealed(&at(told), Outcome::Pass)
    };
    check(inside, |told| refused(told, 4, 1, hash(inside(told))));
    let reaching_over_the_end = |told: &Told| {
        let due: Vec<u64> = told.agent.due(START_MS).take(3).collect();
        FakeAgent { next_seq: 6, ..told.agent.clone() }.sealed(&due, Outcome::Pass)
    };
    let hash_of = |told: &Told| hash(reaching_over_the_end(told));
    check(reaching_over_the_end, |told| refused(told, 6, 2, hash_of(told)));
}

#[test]
fn a_gap_is_refused_with_the_number_to_resend_from() {
    let ahead = |told: &Told| {
        FakeAgent { next_seq: 9, ..told.agent.clone() }.sealed(&at(told), Outcome::Pass)
    };
    check(ahead, |_| Reply::Refused(Refusal::SequenceGap { expected: 7, got: 9 }));
}

#[test]
fn the_next_number_on_another_chain_is_refused() {
    let unchained = |told: &Told| {
        FakeAgent { previous: Hash::ZERO, ..told.agent.clone() }.sealed(&at(told), Outcome::Pass)
    };
    check(unchained, |told| {
        let expected = told.batches[2].leaf.header_hash();
        Reply::Refused(Refusal::PreviousMismatch { expected, got: Hash::ZERO })
    });
}

#[test]
fn who_speaks_must_be_who_was_enrolled() {
    let changed = |told: &Told, change: fn(&mut FakeAgent)| {
        let mut agent = told.agent.clone();
        change(&mut agent);
        agent.sealed(&at(told), Outcome::Pass)
    };
    check(
        |told| changed(told, |agent| agent.epoch = 2),
        |_| Reply::Refused(Refusal::WrongEpoch { expected: 1, got: 2 }),
    );
    check(
        |told| changed(told, |agent| agent.name = name("web-9")),
        |_| Reply::Refused(Refusal::UnknownAgent { agent: name("web-9") }),
    );
    let other = || SigningKey::from_seed([9; 32]);
    check(
        |told| changed(told, |agent| agent.key = SigningKey::from_seed([9; 32])),
        |told| {
            let (expected, got): (KeyId, KeyId) = (told.agent.key.key_id(), other().key_id());
            Reply::Refused(Refusal::WrongKey { expected, got })
        },
    );
}

#[test]
fn a_retired_agent_is_not_heard_and_its_next_life_begins_at_one() {
    let Told { mut world, agent, .. } = told();
    world.reply(Command::Retire { agent: agent.name.clone() });
    let late = agent.sealed(&[agent.due(world.now_ms).next().unwrap()], Outcome::Pass);
    let retired = Refusal::RetiredAgent { agent: agent.name.clone() };
    assert_eq!(world.reply(admit(&late)), Reply::Refused(retired));
    world.reply(token(2, None, world.now_ms + 1_000));
    let mut reborn = FakeAgent { epoch: 2, ..FakeAgent::new("web-1", 2) };
    assert_eq!(world.reply(enrol(2, "web-1", &reborn.key)), Reply::Enrolled { epoch: 2 });
    assert_eq!(
        world.reply(admit(&late)),
        Reply::Refused(Refusal::WrongEpoch { expected: 2, got: 1 })
    );
    let first = reborn.batch(&[world.now_ms], Outcome::Pass);
    assert!(matches!(world.reply(admit(&first)), Reply::Accepted { seq_end: 2, .. }));
}

#[test]
fn what_does_not_hold_together_is_refused() {
    let spoiled = |told: &Told| {
        let sealed = told.agent.sealed(&at(told), Outcome::Fail(FailReason::HttpStatus));
        SealedBatch { payload: b"other".as_slice().into(), ..sealed }
    };
    check(spoiled, |told| {
        let fault = spoiled(told).open().unwrap_err().to_string();
        Reply::Refused(Refusal::BatchMalformed { fault })
    });
}

#[test]
fn a_clock_that_runs_ahead_is_refused_until_time_has_caught_up() {
    let Told { mut world, agent, .. } = told();
    let ahead = agent.sealed(&[world.now_ms + 60_001], Outcome::Pass);
    let refusal = Refusal::ClockAhead { limit_ms: 60_000, got_ms: 60_001 };
    assert_eq!(world.reply(admit(&ahead)), Reply::Refused(refusal));
    world.now_ms += 1;
    assert!(matches!(world.reply(admit(&ahead)), Reply::Accepted { .. }));
}

#[test]
fn a_retry_older_than_what_is_remembered_still_is_a_duplicate() {
    let mut world = World::new(1);
    let mut agent = world.join("web-1", 1);
    let due: Vec<u64> = agent.due(START_MS).take(RECENT_BATCHES_MAX + 2).collect();
    world.now_ms += due.len() as u64 * INTERVAL_MS;
    let batches: Vec<_> = due.iter().map(|at| agent.batch(&[*at], Outcome::Pass)).collect();
    batches.iter().for_each(|sealed| drop(world.reply(admit(sealed))));
    let bound = Reply::Duplicate { seq_end: 2, leaf_index: 5 };
    assert_eq!(world.reply(admit(&batches[0])), bound, "an upper bound: the batch is leaf 3");
    let exact = Reply::Duplicate { seq_end: 4, leaf_index: 5 };
    assert_eq!(world.reply(admit(&batches[2])), exact);
}
