//! Results into batch drafts. Pure: no async, no clock, no key.
//!
//! A batch closes when it is old enough, holds enough results, or when one more would not fit its
//! leaf (check table) or its payload. Sequence numbers, base time and the hash of the batch before
//! are given only when it closes, so that results may gather before the chain is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_evidence::limits::{
    BATCH_PAYLOAD_BYTES_MAX, CHECK_TABLE_BYTES_MAX, CHECKS_COUNT_MAX, TARGET_BYTES_MAX,
};
use proofmark_evidence::{
    AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Coverage, Hash, Measurement,
    MeasurementKind, Outcome, Seen, UnknownReason,
};

use crate::checks::Observation;
use crate::schedule::{Due, Missed, Planned};

// A target as a spec gives it has room in a batch header as it is.
const _: () = assert!(proofmark_spec::limits::TARGET_BYTES_MAX == TARGET_BYTES_MAX);

/// One result before it has a place in a batch.
#[derive(Clone, Debug)]
pub struct Finished {
    pub planned: Arc<Planned>,
    pub scheduled_at_ms: u64,
    pub observation: Observation,
    /// Scheduled instants this result stands for, its own included.
    pub instants: u64,
    /// Whether the probe was started. If not, the outcome's reason says why.
    pub was_run: bool,
}

/// Where the next batch joins the chain of this agent's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    pub epoch: u64,
    /// Sequence number of the next result.
    pub next_seq: u64,
    /// Header hash of the batch before; ZERO at the start of an epoch.
    pub previous: Hash,
}

/// Gathers results until they are taken as a draft.
#[derive(Debug)]
pub struct Batcher {
    log_id: Hash,
    agent: AgentName,
    age_ms_max: u64,
    results_max: usize,
    open: Open,
}

#[derive(Debug, Default)]
struct Open {
    /// Unix time of the first push.
    since_ms: u64,
    results: Vec<Finished>,
    rows: BTreeMap<(CheckName, u64), u16>,
    table_bytes: usize,
    payload_bytes: usize,
}

impl Finished {
    pub fn of_run(due: &Due, observation: Observation) -> Finished {
        let planned = due.planned.clone();
        let scheduled_at_ms = due.scheduled_at_ms;
        Finished { planned, scheduled_at_ms, observation, instants: 1, was_run: true }
    }

    /// An instant that was due and not run.
    pub fn of_skipped(due: &Due, reason: UnknownReason) -> Finished {
        Finished::of_missed(Missed {
            planned: due.planned.clone(),
            first_scheduled_at_ms: due.scheduled_at_ms,
            count: 1,
            reason,
        })
    }

    /// One result for all the instants of a row; the first instant is its own.
    pub fn of_missed(missed: Missed) -> Finished {
        let besides = i64::try_from(missed.count - 1).unwrap_or(i64::MAX);
        let measurements =
            vec![Measurement { kind: MeasurementKind::RunsMissedCount, value: besides }];
        let outcome = Outcome::Unknown(missed.reason);
        let detail = format!("{} runs: {}", missed.count, missed.reason.slug());
        Finished {
            planned: missed.planned,
            scheduled_at_ms: missed.first_scheduled_at_ms,
            observation: Observation { outcome, duration_us: 0, measurements, detail },
            instants: missed.count,
            was_run: false,
        }
    }

    fn row_key(&self) -> (CheckName, u64) {
        (self.planned.name.clone(), self.planned.revision)
    }

    fn row(&self) -> CheckRef {
        CheckRef {
            check: self.planned.name.clone(),
            spec_revision: self.planned.revision,
            target: self.planned.check.probe.target(),
        }
    }

    /// No fewer bytes than the result takes in a payload: length, index, offset, outcome, duration,
    /// count, each measurement at its widest, the detail with its length.
    fn payload_bytes_max(&self) -> usize {
        let measurements = self.observation.measurements.len();
        2 + 3 + 5 + 2 + 10 + 1 + 11 * measurements + 2 + self.observation.detail.len()
    }
}

impl Batcher {
    pub fn new(log_id: Hash, agent: AgentName, age_ms_max: u64, results_max: usize) -> Batcher {
        Batcher { log_id, agent, age_ms_max, results_max, open: Open::default() }
    }

    /// Adds a result, or hands it back when the open batch must be taken first.
    pub fn push(&mut self, finished: Finished, now_ms: u64) -> Result<(), Finished> {
        let key = finished.row_key();
        let new_row = (!self.open.rows.contains_key(&key)).then(|| finished.row().encoded_len());
        if !self.fits(&finished, new_row) {
            return Err(finished);
        }
        if self.open.results.is_empty() {
            self.open.since_ms = now_ms;
        }
        if let Some(row_bytes) = new_row {
            let index = u16::try_from(self.open.rows.len()).expect("bounded by CHECKS_COUNT_MAX");
            self.open.rows.insert(key, index);
            self.open.table_bytes += row_bytes;
        }
        self.open.payload_bytes += finished.payload_bytes_max();
        self.open.results.push(finished);
        Ok(())
    }

    /// When the open batch is old enough; none when it is empty.
    pub fn due_at(&self) -> Option<u64> {
        let age_ms_max = self.age_ms_max;
        (!self.open.results.is_empty()).then(|| self.open.since_ms.saturating_add(age_ms_max))
    }

    /// Whether the open batch should be taken now.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let full = self.open.results.len() >= self.results_max;
        // A clock that was set back must not keep a batch open for ever.
        let old = self.due_at().is_some_and(|due| now_ms >= due || now_ms < self.open.since_ms);
        full || old
    }

    pub fn is_empty(&self) -> bool {
        self.open.results.is_empty()
    }

    /// Results that wait to be sealed.
    pub fn len(&self) -> usize {
        self.open.results.len()
    }

    /// Closes the open batch and gives its results their numbers. None when it is empty.
    pub fn take(&mut self, chain: &Chain, seen: Option<Seen>) -> Option<BatchDraft> {
        let open = std::mem::take(&mut self.open);
        let base_time_ms = open.results.iter().map(|one| one.scheduled_at_ms).min()?;
        Some(BatchDraft {
            log_id: self.log_id,
            agent: self.agent.clone(),
            epoch: chain.epoch,
            seq_first: chain.next_seq,
            base_time_ms,
            checks: open.table(),
            coverage: open.coverage(),
            previous: chain.previous,
            seen,
            results: open.results.iter().map(|one| open.result(one, base_time_ms)).collect(),
        })
    }

    fn fits(&self, finished: &Finished, new_row: Option<usize>) -> bool {
        let open = &self.open;
        open.results.len() < self.results_max
            && open.payload_bytes + finished.payload_bytes_max() <= BATCH_PAYLOAD_BYTES_MAX
            && open.table_bytes + new_row.unwrap_or(0) <= CHECK_TABLE_BYTES_MAX
            && (new_row.is_none() || open.rows.len() < CHECKS_COUNT_MAX)
            && open.span_with(finished.scheduled_at_ms) <= u64::from(u32::MAX)
    }
}

impl Open {
    /// From the earliest to the latest instant, milliseconds; offsets are 32 bits.
    fn span_with(&self, at_ms: u64) -> u64 {
        let times = || self.results.iter().map(|one| one.scheduled_at_ms);
        let first = times().min().map_or(at_ms, |first| first.min(at_ms));
        let last = times().max().map_or(at_ms, |last| last.max(at_ms));
        last - first
    }

    fn table(&self) -> Vec<CheckRef> {
        let mut rows: Vec<(u16, CheckRef)> =
            self.results.iter().map(|one| (self.rows[&one.row_key()], one.row())).collect();
        rows.sort_by_key(|(index, _)| *index);
        rows.dedup_by_key(|(index, _)| *index);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn coverage(&self) -> Coverage {
        let mut skipped: BTreeMap<UnknownReason, u64> = BTreeMap::new();
        let mut run = 0;
        for one in &self.results {
            match one.observation.outcome {
                Outcome::Unknown(reason) if !one.was_run => {
                    *skipped.entry(reason).or_default() += one.instants;
                }
                _ => run += one.instants,
            }
        }
        let scheduled = run + skipped.values().sum::<u64>();
        Coverage { scheduled, run, skipped: skipped.into_iter().collect() }
    }

    fn result(&self, finished: &Finished, base_time_ms: u64) -> CheckResult {
        let offset_ms = u32::try_from(finished.scheduled_at_ms - base_time_ms)
            .expect("`fits` holds the span to 32 bits");
        let seen = &finished.observation;
        let index = self.rows[&finished.row_key()];
        let mut result = CheckResult::new(index, offset_ms, seen.outcome, &seen.detail);
        result.duration_us = seen.duration_us;
        for measurement in &seen.measurements {
            result.measure(measurement.kind, measurement.value);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use proofmark_evidence::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{planned, planned_with_target};

    const CHAIN: Chain = Chain { epoch: 1, next_seq: 41, previous: Hash::ZERO };

    fn batcher(results_max: usize) -> Batcher {
        let agent = AgentName::parse("web-1").expect("a label");
        Batcher::new(Hash::ZERO, agent, 500, results_max)
    }

    fn passed(planned: Arc<Planned>, scheduled_at_ms: u64) -> Finished {
        let observation = Observation {
            outcome: Outcome::Pass,
            duration_us: 1_200,
            measurements: Vec::new(),
            detail: String::new(),
        };
        Finished::of_run(&Due { planned, scheduled_at_ms }, observation)
    }

    fn sealed(draft: BatchDraft) -> proofmark_evidence::OpenBatch {
        let key = SigningKey::from_seed([7; 32]);
        draft.seal(&key).expect("drafts can be sealed").open().expect("sealed ones open")
    }

    #[test]
    fn a_batch_is_due_by_age_or_by_count() {
        let mut batcher = batcher(2);
        assert_eq!((batcher.due_at(), batcher.is_due(0)), (None, false));
        batcher.push(passed(planned("a", 1, 1_000), 10), 100).expect("room");
        assert_eq!((batcher.due_at(), batcher.is_due(599)), (Some(600), false));
        assert!(batcher.is_due(600));
        assert!(batcher.is_due(99), "the clock went back");
        batcher.push(passed(planned("b", 1, 1_000), 20), 101).expect("room");
        assert!(batcher.is_due(102), "full");
        batcher.push(passed(planned("c", 1, 1_000), 30), 103).expect_err("handed back");
    }

    #[test]
    fn the_draft_counts_from_the_chain_and_from_its_earliest_instant() {
        let mut batcher = batcher(10);
        let (a, b) = (planned("a", 1, 1_000), planned("b", 3, 1_000));
        batcher.push(passed(a.clone(), 5_000), 0).expect("room");
        batcher.push(passed(b, 4_200), 0).expect("room");
        batcher.push(passed(a, 6_000), 0).expect("room");
        let open = sealed(batcher.take(&CHAIN, None).expect("three results"));
        assert_eq!((open.header.seq_first, open.header.seq_end()), (41, 44));
        assert_eq!(open.header.base_time_ms, 4_200);
        let rows: Vec<_> = (open.results.iter())
            .map(|one| (open.check(one).check.to_string(), open.scheduled_at_ms(one)))
            .collect();
        let expect = [("a", 5_000), ("b", 4_200), ("a", 6_000)];
        assert_eq!(rows, expect.map(|(check, at)| (check.to_string(), at)));
        assert!(batcher.take(&CHAIN, None).is_none());
    }

    #[test]
    fn coverage_counts_every_instant_a_result_stands_for() {
        let mut batcher = batcher(10);
        let a = planned("a", 1, 1_000);
        batcher.push(passed(a.clone(), 5_000), 0).expect("room");
        let reason = UnknownReason::SkippedAsleep;
        let missed = Missed { planned: a.clone(), first_scheduled_at_ms: 6_000, count: 9, reason };
        batcher.push(Finished::of_missed(missed), 0).expect("room");
        let due = Due { planned: a, scheduled_at_ms: 15_000 };
        batcher.push(Finished::of_skipped(&due, UnknownReason::SkippedOverrun), 0).expect("room");
        let open = sealed(batcher.take(&CHAIN, None).expect("results"));
        assert_eq!(open.header.coverage.scheduled, 11);
        assert_eq!(open.header.coverage.run, 1);
        let skipped = vec![(UnknownReason::SkippedOverrun, 1), (reason, 9)];
        assert_eq!(open.header.coverage.skipped, skipped);
        assert_eq!(open.results[1].measured(MeasurementKind::RunsMissedCount), Some(8));
    }

    #[test]
    fn long_targets_close_the_batch_before_its_leaf_overflows() {
        let mut batcher = batcher(1_000);
        let mut taken = 0;
        for number in 0..200 {
            let name = format!("{number:0>63}");
            let one = passed(planned_with_target(&name, &"t".repeat(255)), 5_000);
            if let Err(one) = batcher.push(one, 0) {
                sealed(batcher.take(&CHAIN, None).expect("results"));
                taken += 1;
                batcher.push(one, 0).expect("an empty batch has room");
            }
        }
        assert!(taken > 10, "only {taken} batches for 200 wide rows");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever goes in comes out once, in order, and can always be sealed.
        #[test]
        fn nothing_is_lost_between_batches(
            times in prop::collection::vec((0usize..40, 0u64..u64::from(u32::MAX) * 3), 1..80),
        ) {
            let checks: Vec<_> =
                (0..40).map(|check| planned(&format!("c{check}"), 1, 1_000)).collect();
            let mut batcher = batcher(16);
            let mut chain = CHAIN;
            let mut out = Vec::new();
            let mut collect = |draft: Option<BatchDraft>, chain: &mut Chain| {
                let Some(draft) = draft else { return };
                let open = sealed(draft);
                chain.next_seq = open.header.seq_end();
                out.extend(open.results.iter().map(|one| open.scheduled_at_ms(one)));
            };
            for (check, at_ms) in &times {
                let one = passed(checks[*check].clone(), *at_ms);
                if let Err(one) = batcher.push(one, 0) {
                    collect(batcher.take(&chain, None), &mut chain);
                    batcher.push(one, 0).expect("an empty batch has room");
                }
            }
            collect(batcher.take(&chain, None), &mut chain);
            let expect: Vec<u64> = times.iter().map(|(_, at_ms)| *at_ms).collect();
            prop_assert_eq!(out, expect);
            prop_assert_eq!(chain.next_seq, CHAIN.next_seq + times.len() as u64);
        }
    }
}
