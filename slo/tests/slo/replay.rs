//! From real leaves: what a stranger recomputes is what was served, and a lie is found.

use proofmark_evidence::{
    AgentName, BatchHeader, BlobRef, CheckName, CheckRef, CheckResult, Coverage, Decision,
    DecisionKind, Hash, Header, KeyChange, KeyChangeKind, KeyId, LeafVisitor, Measurement,
    MeasurementKind, OpenBatch, Outcome, PublicKey, SpecChange, UnknownReason,
};
use proofmark_slo::{Ledger, Mismatch, Replay, Run, SloReport, decode_reports, encode_reports};
use proptest::prelude::*;

use crate::scenario::{Event, HeardResult, Scenario, as_of, feed, scenarios};

/// Who signed does not matter here.
const KEY_ID: KeyId = KeyId(Hash::ZERO);

/// What a log holds: header, opened batch, payload.
type LeafParts = (Header, Option<OpenBatch>, Vec<u8>);

/// The leaves an aggregator would write for a scenario, with a report every ten minutes.
fn leaves(scenario: &Scenario) -> Vec<LeafParts> {
    let (mut ledger, mut leaves, mut reported_ms) = (Ledger::new(), Vec::new(), 0);
    for (at_ms, event) in &scenario.events {
        if at_ms / 600_000 != reported_ms / 600_000 {
            reported_ms = *at_ms;
            ledger.advance(as_of(*at_ms));
            leaves.push(report_leaf(*at_ms, &ledger.report()));
        }
        feed(&mut ledger, event);
        leaves.push(leaf(*at_ms, event));
    }
    leaves
}

fn replay(leaves: &[LeafParts]) -> Replay {
    let mut replay = Replay::new();
    for (index, (header, open, payload)) in (0..).zip(leaves) {
        replay.leaf(index, header, open.as_ref(), payload);
    }
    replay
}

fn report_leaf(at_ms: u64, reports: &[SloReport]) -> LeafParts {
    let payload = encode_reports(reports);
    let (log_id, key_id) = (Hash::ZERO, KEY_ID);
    let (kind, blob) = (DecisionKind::SloReport, BlobRef::of(&payload));
    let decision = Decision { log_id, key_id, at_ms, kind, payload: blob };
    (Header::Decision(decision), None, payload)
}

fn leaf(at_ms: u64, event: &Event) -> LeafParts {
    match event {
        Event::Spec { revision, effective_at_ms, spec } => {
            let payload = spec.yaml().into_bytes();
            let change = SpecChange {
                log_id: Hash::ZERO,
                key_id: KEY_ID,
                revision: *revision,
                received_at_ms: at_ms,
                effective_at_ms: *effective_at_ms,
                author: "test".to_owned(),
                payload: BlobRef::of(&payload),
            };
            (Header::SpecChange(change), None, payload)
        }
        Event::Enrol { agent, .. } => {
            let (agent, key) = (agent.clone(), PublicKey([7; 32]));
            key_change(at_ms, KeyChangeKind::Enrol { agent, key, epoch: 1 })
        }
        Event::Retire { agent, .. } => {
            key_change(at_ms, KeyChangeKind::Retire { agent: agent.clone() })
        }
        Event::Result(result) => batch(result),
    }
}

fn key_change(at_ms: u64, change: KeyChangeKind) -> LeafParts {
    let (log_id, key_id) = (Hash::ZERO, KEY_ID);
    (Header::KeyChange(KeyChange { log_id, key_id, at_ms, change }), None, Vec::new())
}

/// A batch of one result. Not sealed: signatures are not the replay's business.
fn batch(result: &HeardResult) -> LeafParts {
    let detail = if result.outcome.is_pass() { "" } else { "not as it should be" };
    let kind = MeasurementKind::RunsMissedCount;
    let besides = (result.runs_missed > 1)
        .then(|| Measurement { kind, value: i64::try_from(result.runs_missed - 1).expect("few") });
    let results = vec![CheckResult {
        check_index: 0,
        offset_ms: 0,
        outcome: result.outcome,
        duration_us: result.duration_us,
        measurements: besides.into_iter().collect(),
        detail: detail.to_owned(),
    }];
    let header = BatchHeader {
        log_id: Hash::ZERO,
        key_id: KEY_ID,
        agent: result.agent.clone(),
        epoch: 1,
        seq_first: 1,
        count: 1,
        base_time_ms: result.scheduled_at_ms,
        checks: vec![CheckRef {
            check: result.check.clone(),
            spec_revision: 1,
            target: "127.0.0.1:80".to_owned(),
        }],
        coverage: Coverage { scheduled: 1, run: 1, skipped: vec![] },
        previous: Hash::ZERO,
        results_root: Hash::ZERO,
        payload: BlobRef::of(&[]),
        seen: None,
    };
    (Header::Batch(header.clone()), Some(OpenBatch { header, results }), Vec::new())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_was_served_is_recomputed(scenario in scenarios()) {
        let leaves = leaves(&scenario);
        let replay = replay(&leaves);
        prop_assert_eq!(replay.mismatches(), &[]);
        let served = leaves.iter().filter(|(header, ..)| matches!(header, Header::Decision(_)));
        let reports: usize = served.map(|(_, _, payload)| {
            decode_reports(payload).expect("own bytes").len()
        }).sum();
        prop_assert_eq!(replay.reports_checked(), reports as u64);
    }

    #[test]
    fn a_number_that_does_not_follow_is_found(scenario in scenarios(), lie in 0..6_usize) {
        let mut leaves = leaves(&scenario);
        let newest = leaves.iter().rposition(|(header, ..)| matches!(header, Header::Decision(_)));
        let newest = newest.expect("two hours have reports");
        let mut reports = decode_reports(&leaves[newest].2).expect("own bytes");
        match lie {
            0 => reports[0].counts.good += 1,
            1 => reports[0].burn[3].rate_milli = None,
            2 => reports[1].since_ms += 1,
            3 => reports.swap(0, 1),
            4 => drop(reports.pop()),
            _ => reports.push(reports[0].clone()),
        }
        leaves[newest].2 = encode_reports(&reports);
        let replay = replay(&leaves);
        prop_assert!(!replay.mismatches().is_empty());
        for mismatch in replay.mismatches() {
            prop_assert_eq!(mismatch.leaf(), newest as u64);
            prop_assert_eq!(mismatch.slug(), "slo_report_differs");
        }
    }

    #[test]
    fn reports_read_back_and_cut_ones_do_not(scenario in scenarios()) {
        for (header, _, payload) in &leaves(&scenario) {
            if matches!(header, Header::Decision(_)) {
                let reports = decode_reports(payload).expect("own bytes");
                prop_assert_eq!(&encode_reports(&reports), payload);
                prop_assert!(decode_reports(&payload[..payload.len() - 1]).is_err());
            }
        }
    }
}

#[test]
fn what_cannot_be_recomputed_is_named() {
    let (header, open, _) = report_leaf(60_000, &[]);
    let mut replay = Replay::new();
    replay.leaf(5, &header, open.as_ref(), &[9, 9]);
    assert!(matches!(replay.mismatches(), [Mismatch::Unreadable { leaf: 5, .. }]));
}

/// What a result claims besides its own run; an agent may write there what it likes.
#[test]
fn a_result_stands_for_at_least_its_own_run() {
    let scheduled_at_ms = 60_000;
    let (outcome, duration_us) = (Outcome::Unknown(UnknownReason::SkippedAsleep), 0);
    let agent = AgentName::parse("ams").expect("a label");
    let check = CheckName::parse("web").expect("a label");
    let result =
        HeardResult { agent, check, scheduled_at_ms, outcome, duration_us, runs_missed: 1 };
    let (_, open, _) = batch(&result);
    let mut open = open.expect("a batch");
    for (besides, expect) in [(None, 1), (Some(29), 30), (Some(-5), 1), (Some(i64::MAX), 1 << 63)] {
        let kind = MeasurementKind::RunsMissedCount;
        open.results[0].measurements =
            besides.map(|value| Measurement { kind, value }).into_iter().collect();
        assert_eq!(Run::of(&open, &open.results[0]).runs_missed, expect, "{besides:?}");
    }
}
