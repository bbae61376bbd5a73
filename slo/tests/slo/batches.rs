//! A batch counted as a whole is the same, row for row, as its results counted one by one.

use proofmark_evidence::{
    BatchDraft, CheckRef, CheckResult, Coverage, FailReason, Hash, MeasurementKind, Outcome,
    SealedBatch, SigningKey,
};
use proofmark_slo::Ledger;
use proptest::prelude::*;

use crate::scenario::{Event, HeardResult, as_of, feed, scenarios};
use crate::timeline::DAY_START_MS;

const TICK_MS: u64 = 60_000;

/// Whether both are results of one agent that arrive in the same minute: they share a batch.
fn share(a: &(u64, Event), b: &(u64, Event)) -> bool {
    match (&a.1, &b.1) {
        (Event::Result(one), Event::Result(other)) => {
            one.agent == other.agent && a.0 / TICK_MS == b.0 / TICK_MS
        }
        _ => false,
    }
}

/// Brings each agent's results of a minute together, so that batches are more than a few.
fn gathered(mut events: Vec<(u64, Event)>) -> Vec<(u64, Event)> {
    let is_piece = |a: &(u64, Event), b: &(u64, Event)| {
        let both = matches!((&a.1, &b.1), (Event::Result(_), Event::Result(_)));
        both && a.0 / TICK_MS == b.0 / TICK_MS
    };
    for piece in events.chunk_by_mut(is_piece) {
        piece.sort_by_key(|(_, event)| match event {
            Event::Result(result) => result.agent.to_string(),
            _ => String::new(),
        });
    }
    events
}

/// Each agent's last result of a minute is told once more, otherwise: the first word counts. Before
/// it stands one that no grid knows, so that the second word's row in the check table comes first.
fn contradicted(events: &[(u64, Event)]) -> Vec<(u64, Event)> {
    let mut told = Vec::new();
    for piece in events.chunk_by(share) {
        let Some(((at_ms, Event::Result(last)), before)) = piece.split_last() else {
            told.extend_from_slice(piece);
            continue;
        };
        let outcome = match last.outcome {
            Outcome::Pass => Outcome::Fail(FailReason::HttpStatus),
            _ => Outcome::Pass,
        };
        let off_grid = HeardResult { scheduled_at_ms: last.scheduled_at_ms + 1, ..last.clone() };
        let second = HeardResult { outcome, runs_missed: 1, ..last.clone() };
        told.extend_from_slice(before);
        told.extend([off_grid, last.clone(), second].map(|one| (*at_ms, Event::Result(one))));
    }
    told
}

/// The results as their agent would seal them, with two rows for each check.
fn seal(results: &[&HeardResult]) -> SealedBatch {
    let mut checks: Vec<CheckRef> = Vec::new();
    let base_time_ms = results.iter().map(|one| one.scheduled_at_ms).min().expect("not empty");
    let sealed = results.iter().enumerate().map(|(position, one)| {
        let spec_revision = 2 - position as u64 % 2;
        let row = CheckRef { check: one.check.clone(), spec_revision, target: String::new() };
        let known = checks.iter().position(|known| *known == row);
        let check_index = known.unwrap_or_else(|| {
            checks.push(row);
            checks.len() - 1
        });
        let offset_ms = (one.scheduled_at_ms - base_time_ms) as u32;
        let mut result = CheckResult::new(check_index as u16, offset_ms, one.outcome, "");
        result.duration_us = one.duration_us;
        result.measure(MeasurementKind::RunsMissedCount, one.runs_missed as i64 - 1);
        result
    });
    let draft = BatchDraft {
        log_id: Hash::ZERO,
        agent: results[0].agent.clone(),
        epoch: 1,
        seq_first: 1,
        base_time_ms,
        coverage: Coverage::default(),
        previous: Hash::ZERO,
        seen: None,
        results: sealed.collect(),
        checks,
    };
    draft.seal(&SigningKey::from_seed([1; 32])).expect("an agent could seal this")
}

/// Both ledgers of a story: results one by one, and in batches.
fn tell(events: &[(u64, Event)]) -> (Ledger, Ledger) {
    let (mut single, mut whole) = (Ledger::new(), Ledger::new());
    for piece in events.chunk_by(share) {
        let as_of_ms = as_of(piece[0].0.max(DAY_START_MS) / TICK_MS * TICK_MS);
        for ledger in [&mut single, &mut whole] {
            ledger.advance(as_of_ms);
        }
        piece.iter().for_each(|(_, event)| feed(&mut single, event));
        let results: Vec<_> = piece.iter().filter_map(|(_, event)| result(event)).collect();
        match results.is_empty() {
            true => piece.iter().for_each(|(_, event)| feed(&mut whole, event)),
            false => whole.count_batch(&seal(&results).read().expect("it was sealed")),
        }
    }
    (single, whole)
}

fn result(event: &Event) -> Option<&HeardResult> {
    match event {
        Event::Result(result) => Some(result),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_batch_is_its_results(scenario in scenarios()) {
        let (mut single, mut whole) = tell(&contradicted(&gathered(scenario.events)));
        prop_assert_eq!(single.ignored(), whole.ignored());
        prop_assert_eq!(single.rows(), whole.rows());
        prop_assert_eq!(single.take_dirty_rows(), whole.take_dirty_rows());
    }
}
