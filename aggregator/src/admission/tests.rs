//! One good batch, and everything that may be done to it. (Each refusal's exact words:
//! `tests/golden/rpc`.)

use proofmark_evidence::{
    AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Coverage, Hash, Outcome, SealedBatch,
    SigningKey,
};

use super::*;
use crate::limits::FUTURE_MS_MAX;

const NOW_MS: u64 = 1_800_000_000_000;
const LOG_ID: Hash = Hash([7; 32]);

fn agent() -> AgentName {
    AgentName::parse("web-1").unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

fn standing() -> Standing {
    let (key, last_hash) = (key().public(), Hash::ZERO);
    Standing { key, epoch: 1, next_seq: 1, last_hash, retired: false }
}

fn batch(base_time_ms: u64) -> SealedBatch {
    let draft = BatchDraft {
        log_id: LOG_ID,
        agent: agent(),
        epoch: 1,
        seq_first: 1,
        base_time_ms,
        checks: vec![CheckRef {
            check: CheckName::parse("home").unwrap(),
            spec_revision: 1,
            target: "http://localhost/".to_owned(),
        }],
        coverage: Coverage { scheduled: 1, run: 1, skipped: Vec::new() },
        previous: Hash::ZERO,
        seen: None,
        results: vec![CheckResult {
            check_index: 0,
            offset_ms: 0,
            outcome: Outcome::Pass,
            duration_us: 1,
            measurements: Vec::new(),
            detail: String::new(),
        }],
    };
    draft.seal(&key()).unwrap()
}

fn judge(leaf: &[u8], payload: &[u8], standing: &Standing) -> Result<Admitted, AdmissionFault> {
    admit(leaf, payload, &agent(), standing, LOG_ID, NOW_MS)
}

#[test]
fn a_good_batch_keeps_its_bytes() {
    let batch = batch(NOW_MS);
    let admitted = judge(batch.leaf.bytes(), &batch.payload, &standing()).unwrap();
    assert_eq!((admitted.epoch, admitted.seq_first, admitted.seq_end), (1, 1, 2));
    assert_eq!((admitted.leaf, admitted.payload), (batch.leaf, batch.payload));
}

#[test]
fn one_changed_byte_anywhere_is_refused() {
    let batch = batch(NOW_MS);
    let (leaf, payload) = (batch.leaf.bytes(), &batch.payload[..]);
    let whole = [leaf, payload].concat();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        let (leaf, payload) = damaged.split_at(leaf.len());
        assert!(judge(leaf, payload, &standing()).is_err(), "byte {at}");
    }
}

#[test]
fn any_cut_is_refused() {
    let batch = batch(NOW_MS);
    let leaf = batch.leaf.bytes();
    for end in 0..leaf.len() {
        assert!(judge(&leaf[..end], &batch.payload, &standing()).is_err(), "leaf cut at {end}");
    }
    for end in 0..batch.payload.len() {
        assert!(judge(leaf, &batch.payload[..end], &standing()).is_err(), "payload cut at {end}");
    }
}

#[test]
fn the_past_is_welcome_and_the_future_only_so_far() {
    let check = |base_time_ms: u64, is_welcome: bool| {
        let batch = batch(base_time_ms);
        let got = judge(batch.leaf.bytes(), &batch.payload, &standing());
        assert_eq!(got.is_ok(), is_welcome, "{base_time_ms}: {got:?}");
    };
    check(1, true);
    check(NOW_MS + FUTURE_MS_MAX, true);
    check(NOW_MS + FUTURE_MS_MAX + 1, false);
}

#[test]
fn a_repeated_batch_passes_because_its_answer_is_in_the_state() {
    let batch = batch(NOW_MS);
    let later = Standing { next_seq: 100, last_hash: batch.leaf.header_hash(), ..standing() };
    assert!(judge(batch.leaf.bytes(), &batch.payload, &later).is_ok());
}
