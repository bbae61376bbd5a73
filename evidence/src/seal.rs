//! Results into a sealed batch, and a sealed batch back into results.

use std::sync::Arc;

use crate::batch::{BatchHeader, CheckRef, Seen};
use crate::bytes::DecodeFault;
use crate::coverage::Coverage;
use crate::hash::Hash;
use crate::header::{BlobFault, BlobRef};
use crate::key::SigningKey;
use crate::leaf::{Leaf, LeafFault, LeafKind};
use crate::limits::{BLOB_BYTES_MAX, RESULTS_COUNT_MAX};
use crate::merkle::results_root;
use crate::name::{AgentName, ResultId};
use crate::result::CheckResult;
use crate::view::read_result;

/// Why results cannot be sealed, or a sealed batch does not hold together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    #[error(transparent)]
    Leaf(#[from] LeafFault),
    #[error("expected a leaf of kind batch, got {got}")]
    Kind { got: LeafKind },
    #[error("results: expected 1 to {expected}, got {got}")]
    Count { expected: usize, got: usize },
    #[error(transparent)]
    Blob(#[from] BlobFault),
    #[error("payload: expected at most {expected} bytes, got {got}")]
    PayloadTooLarge { expected: usize, got: usize },
    #[error("payload: expected whole results, got a torn one at byte {at}")]
    PayloadTorn { at: usize },
    #[error("result {position}: expected at most {expected} bytes, got {got}")]
    ResultTooLarge { position: usize, expected: usize, got: usize },
    #[error("result {position}: {fault}")]
    Result { position: usize, fault: DecodeFault },
    #[error("result {position}: expected a check index below {expected}, got {got}")]
    CheckIndex { position: usize, expected: usize, got: u16 },
    #[error("results: expected {expected} as the header says, got {got}")]
    CountUnequal { expected: u32, got: usize },
    #[error("results root: expected {expected}, got {got}")]
    ResultsRoot { expected: Hash, got: Hash },
}

impl BatchFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Leaf(fault) => fault.slug(),
            Self::Kind { .. } => "not_a_batch",
            Self::Count { .. } => "batch_count",
            Self::Blob(fault) => fault.slug(),
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::PayloadTorn { .. } => "payload_torn",
            Self::ResultTooLarge { .. } => "result_too_large",
            Self::Result { .. } => "result_bytes",
            Self::CheckIndex { .. } => "result_check_index",
            Self::CountUnequal { .. } => "batch_count_unequal",
            Self::ResultsRoot { .. } => "results_root",
        }
    }
}

/// Everything a batch says before it is signed. Hashes, count and signature come from `seal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchDraft {
    pub log_id: Hash,
    pub agent: AgentName,
    pub epoch: u64,
    pub seq_first: u64,
    pub base_time_ms: u64,
    pub checks: Vec<CheckRef>,
    pub coverage: Coverage,
    pub previous: Hash,
    pub seen: Option<Seen>,
    /// In the order of their sequence numbers.
    pub results: Vec<CheckResult>,
}

impl BatchDraft {
    /// Signs. Refuses whatever `SealedBatch::open` would refuse, so that no agent puts its name
    /// to a batch that cannot be read.
    pub fn seal(self, key: &SigningKey) -> Result<SealedBatch, BatchFault> {
        let count = check_count(self.results.len())?;
        let results: Vec<Vec<u8>> = self.results.iter().map(CheckResult::encode).collect();
        for (position, bytes) in results.iter().enumerate() {
            read_result(position, bytes, self.checks.len())?;
        }
        let payload = join_results(&results)?;
        let header = BatchHeader {
            log_id: self.log_id,
            key_id: key.key_id(),
            agent: self.agent,
            epoch: self.epoch,
            seq_first: self.seq_first,
            count,
            base_time_ms: self.base_time_ms,
            checks: self.checks,
            coverage: self.coverage,
            previous: self.previous,
            results_root: results_root(results.iter().map(Vec::as_slice)),
            payload: BlobRef::of(&payload),
            seen: self.seen,
        };
        let leaf = Leaf::seal(LeafKind::Batch, &header.encode(), key)?;
        Ok(SealedBatch { leaf, payload: payload.into() })
    }
}

/// A signed header and the results beside it: `repeat(u16be length | result)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    pub leaf: Leaf,
    pub payload: Arc<[u8]>,
}

/// A batch whose results are the ones its header speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBatch {
    pub header: BatchHeader,
    /// In the order of their sequence numbers; every check index is within the header's table.
    pub results: Vec<CheckResult>,
}

impl OpenBatch {
    /// Unix time the run was due at.
    pub fn scheduled_at_ms(&self, result: &CheckResult) -> u64 {
        self.header.base_time_ms.saturating_add(result.offset_ms.into())
    }

    /// The check of one of this batch's own results. Panics on another batch's result whose
    /// index is beyond this table.
    pub fn check(&self, result: &CheckResult) -> &CheckRef {
        &self.header.checks[usize::from(result.check_index)]
    }

    /// The results with their names.
    pub fn named_results(&self) -> impl Iterator<Item = (ResultId, &CheckResult)> {
        (0..).zip(&self.results).map(|(position, result)| (self.header.result_id(position), result))
    }
}

/// The bytes of each result in a payload, for proofs of single ones.
pub fn split_results(payload: &[u8]) -> Result<Vec<&[u8]>, BatchFault> {
    Pieces::of(payload).collect()
}

/// The bytes of each result of a payload, or why there is no further one. After a fault there is
/// nothing more.
pub(crate) struct Pieces<'a> {
    payload: &'a [u8],
    rest: &'a [u8],
    count: usize,
}

impl<'a> Pieces<'a> {
    pub(crate) fn of(payload: &'a [u8]) -> Pieces<'a> {
        Pieces { payload, rest: payload, count: 0 }
    }

    fn split_next(&mut self) -> Result<&'a [u8], BatchFault> {
        let at = self.payload.len() - self.rest.len();
        let (result, after) = split_first(self.rest).ok_or(BatchFault::PayloadTorn { at })?;
        self.rest = after;
        self.count += 1;
        check_count(self.count).map(|_| result)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<&'a [u8], BatchFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let piece = self.split_next();
        if piece.is_err() {
            self.rest = &[];
        }
        Some(piece)
    }
}

fn split_first(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = rest.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

fn join_results(results: &[Vec<u8>]) -> Result<Vec<u8>, BatchFault> {
    let got = results.iter().map(|bytes| 2 + bytes.len()).sum();
    if got > BLOB_BYTES_MAX {
        return Err(BatchFault::PayloadTooLarge { expected: BLOB_BYTES_MAX, got });
    }
    let mut payload = Vec::with_capacity(got);
    for bytes in results {
        let len = u16::try_from(bytes.len()).expect("read_result bounds a result to 1024 bytes");
        payload.extend_from_slice(&len.to_be_bytes());
        payload.extend_from_slice(bytes);
    }
    Ok(payload)
}

fn check_count(got: usize) -> Result<u32, BatchFault> {
    if (1..=RESULTS_COUNT_MAX).contains(&got) {
        return Ok(got as u32);
    }
    Err(BatchFault::Count { expected: RESULTS_COUNT_MAX, got })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use crate::key_change::{KeyChange, KeyChangeKind};
    use crate::name::CheckName;
    use crate::outcome::{FailReason, Outcome};

    fn key() -> SigningKey {
        SigningKey::from_seed([7; 32])
    }

    fn result(offset_ms: u32) -> CheckResult {
        CheckResult::new(0, offset_ms, Outcome::Fail(FailReason::HttpStatus), "got 503")
    }

    fn draft(results: Vec<CheckResult>) -> BatchDraft {
        let check = CheckName::parse("home").expect("a label");
        BatchDraft {
            log_id: Hash([1; 32]),
            agent: AgentName::parse("web-1").expect("a label"),
            epoch: 2,
            seq_first: 7,
            base_time_ms: 1000,
            checks: vec![CheckRef { check, spec_revision: 1, target: String::new() }],
            coverage: Coverage { scheduled: 1, run: 1, skipped: Vec::new() },
            previous: Hash::ZERO,
            seen: None,
            results,
        }
    }

    fn sealed(draft: BatchDraft) -> Result<SealedBatch, &'static str> {
        draft.seal(&key()).map_err(|fault| fault.slug())
    }

    #[test]
    fn an_open_batch_tells_when_and_what() {
        let open = sealed(draft(vec![result(5), result(1005)])).unwrap().open().unwrap();
        assert_eq!(open.scheduled_at_ms(&open.results[1]), 2005);
        assert_eq!(open.check(&open.results[1]).check.as_str(), "home");
        let names: Vec<_> = open.named_results().map(|(id, _)| id.to_string()).collect();
        assert_eq!(names, ["web-1/2/7", "web-1/2/8"]);
    }

    #[test]
    fn what_could_not_be_opened_is_not_sealed() {
        let check = |draft, expect| assert_eq!(sealed(draft).map(drop), expect);
        check(draft(vec![result(5)]), Ok(()));
        check(draft(Vec::new()), Err("batch_count"));
        check(draft(vec![result(5); 4097]), Err("batch_count"));
        let with = |change: fn(&mut CheckResult)| {
            let mut result = result(5);
            change(&mut result);
            draft(vec![self::result(4), result])
        };
        check(with(|result| result.check_index = 1), Err("result_check_index"));
        check(with(|result| result.detail.clear()), Err("result_bytes"));
        check(with(|result| result.detail = "x".repeat(2000)), Err("result_too_large"));
        check(with(|result| result.detail = "x".repeat(300)), Err("result_bytes"));
        let long = CheckResult::new(0, 5, result(5).outcome, &"x".repeat(256));
        check(draft(vec![long; 4096]), Err("payload_too_large"));
        check(BatchDraft { epoch: 0, ..draft(vec![result(5)]) }, Err("leaf_header"));
        check(BatchDraft { checks: Vec::new(), ..draft(vec![]) }, Err("batch_count"));
        let rows = |count| {
            let row = draft(vec![]).checks.remove(0);
            (0..count).map(|spec_revision| CheckRef { spec_revision, ..row.clone() }).collect()
        };
        check(BatchDraft { checks: rows(257), ..draft(vec![result(5)]) }, Err("leaf_header"));
    }

    /// A header over other results than the payload's: each way to be wrong has its own name.
    /// The signer is an agent that signs what it should not, so the signature does not help.
    #[test]
    fn a_payload_is_held_to_its_header() {
        let honest = sealed(draft(vec![result(5), result(6)])).unwrap();
        let check = |payload: &[u8], change: fn(&mut BatchHeader), expect| {
            let Ok(Header::Batch(mut header)) = honest.leaf.header() else { panic!("a batch") };
            header.payload = BlobRef::of(payload);
            change(&mut header);
            let leaf = Leaf::seal(LeafKind::Batch, &header.encode(), &key()).unwrap();
            let batch = SealedBatch { leaf, payload: payload.into() };
            assert_eq!(batch.open().map(drop).map_err(|fault| fault.slug()), expect);
        };
        let payload = &honest.payload[..];
        let one = join_results(&[result(5).encode()]).unwrap();
        let other = join_results(&[result(6).encode(), result(5).encode()]).unwrap();
        check(payload, |_| {}, Ok(()));
        check(payload, |h| h.payload.len += 1, Err("payload_len"));
        check(payload, |h| h.payload.digest = Hash::ZERO, Err("payload_digest"));
        check(payload, |h| h.count = 3, Err("batch_count_unequal"));
        check(payload, |h| h.results_root = Hash::ZERO, Err("results_root"));
        check(&one, |_| {}, Err("batch_count_unequal"));
        check(&other, |_| {}, Err("results_root"));
        check(&payload[..payload.len() - 1], |_| {}, Err("payload_torn"));
        check(&[payload, &[0]].concat(), |_| {}, Err("payload_torn"));
        check(&[], |_| {}, Err("batch_count_unequal"));
    }

    #[test]
    fn only_a_batch_opens_as_one() {
        let honest = sealed(draft(vec![result(5)])).unwrap();
        let retire = KeyChange {
            log_id: Hash::ZERO,
            key_id: key().key_id(),
            at_ms: 0,
            change: KeyChangeKind::Retire { agent: draft(vec![]).agent },
        };
        let leaf = Leaf::seal(LeafKind::KeyChange, &retire.encode(), &key()).unwrap();
        let mixed = SealedBatch { leaf, ..honest };
        assert_eq!(mixed.open().map_err(|fault| fault.slug()), Err("not_a_batch"));
    }

    /// A foreign payload of very many empty results is refused early.
    #[test]
    fn too_many_results_are_refused() {
        let payload = vec![0; 2 * (RESULTS_COUNT_MAX + 1)];
        assert_eq!(split_results(&payload).map_err(|fault| fault.slug()), Err("batch_count"));
        assert_eq!(split_results(&payload[2..]).map(|results| results.len()), Ok(4096));
    }
}
