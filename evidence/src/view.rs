//! A sealed batch read where it lies: its results point into the payload, none is copied.
//!
//! Whoever counts thousands of results a batch reads them this way; whoever keeps them makes
//! [`OpenBatch`]es and [`CheckResult`]s of them. One decoder serves both.
//!
//! There are two depths. [`BatchReader::read`] holds the payload to the header's length, digest and
//! count, and every result to the format. [`BatchReader::prove`] computes the root over the results
//! besides, which costs two hashes for each. The digest is over the same bytes: who reads a payload
//! that was proven once, on this machine or another, knows by the digest alone that it is the one.

use crate::batch::{CheckView, HeaderView};
use crate::bytes::{ByteReader, DecodeFault};
use crate::leaf::{LeafFault, LeafKind};
use crate::limits::{DETAIL_BYTES_MAX, RESULT_BYTES_MAX};
use crate::measurement::{Measurement, MeasurementKind};
use crate::merkle::results_root;
use crate::outcome::Outcome;
use crate::result::CheckResult;
use crate::seal::{BatchFault, OpenBatch, Pieces, SealedBatch};

/// One result in its payload. Its bytes are strict: whatever this says, the agent said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultView<'a> {
    /// Row of the batch's check table.
    pub check_index: u16,
    /// From the batch's base time to the instant the run was scheduled at.
    pub offset_ms: u32,
    pub outcome: Outcome,
    /// From the start of the run to its verdict.
    pub duration_us: u64,
    /// Checked when it was read: readings with ascending kinds.
    measurements: &'a [u8],
    /// Empty if and only if it is a pass.
    pub detail: &'a str,
}

impl<'a> ResultView<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<ResultView<'a>, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let check_index = reader.u16("check index")?;
        let offset_ms = reader.u32("offset")?;
        let outcome = Outcome::read(&mut reader)?;
        let duration_us = reader.varint("duration")?;
        let measurements = read_measurements(&mut reader)?;
        let detail = read_detail(&mut reader, outcome)?;
        reader.finish("result")?;
        Ok(ResultView { check_index, offset_ms, outcome, duration_us, measurements, detail })
    }

    /// Ascending by kind.
    pub fn measurements(&self) -> impl Iterator<Item = Measurement> + use<'a> {
        let mut reader = ByteReader::new(self.measurements);
        std::iter::from_fn(move || {
            let is_over = reader.remaining() == 0;
            (!is_over).then(|| Measurement::read(&mut reader).expect("it was read before"))
        })
    }

    pub fn measured(&self, kind: MeasurementKind) -> Option<i64> {
        self.measurements().find(|one| one.kind == kind).map(|one| one.value)
    }

    /// A copy that needs no payload.
    pub fn to_result(&self) -> CheckResult {
        CheckResult {
            check_index: self.check_index,
            offset_ms: self.offset_ms,
            outcome: self.outcome,
            duration_us: self.duration_us,
            measurements: self.measurements().collect(),
            detail: self.detail.to_owned(),
        }
    }
}

/// The readings' bytes, without their count.
fn read_measurements<'a>(reader: &mut ByteReader<'a>) -> Result<&'a [u8], DecodeFault> {
    let count = reader.count("measurements", MeasurementKind::ALL.len(), 2)?;
    let start = reader.clone();
    let mut previous: Option<MeasurementKind> = None;
    for _ in 0..count {
        let kind = Measurement::read(reader)?.kind;
        if let Some(previous) = previous.filter(|previous| *previous >= kind) {
            return Err(DecodeFault::NotAscending {
                what: "measurements",
                previous: previous.code().into(),
                got: kind.code().into(),
            });
        }
        previous = Some(kind);
    }
    Ok(reader.since(&start))
}

fn read_detail<'a>(reader: &mut ByteReader<'a>, outcome: Outcome) -> Result<&'a str, DecodeFault> {
    if outcome.is_pass() {
        return Ok("");
    }
    let what = "detail";
    let detail = reader.line(what, DETAIL_BYTES_MAX)?;
    if detail.is_empty() {
        return Err(DecodeFault::Rule { what, rule: "expected words for what is not a pass" });
    }
    Ok(detail)
}

/// A batch's header and its results, in the order of their sequence numbers; every check index is
/// within the header's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView<'a> {
    pub header: HeaderView<'a>,
    pub results: Vec<ResultView<'a>>,
}

/// A sealed batch whose header is read and whose results are not: the header alone says whether
/// they are worth it.
pub struct BatchReader<'a> {
    header: HeaderView<'a>,
    payload: &'a [u8],
}

impl SealedBatch {
    /// Reads the header. Does not check the signature: see `Leaf::verify`.
    pub fn reader(&self) -> Result<BatchReader<'_>, BatchFault> {
        match self.leaf.kind() {
            kind @ LeafKind::Batch => {
                let header = HeaderView::read(self.leaf.header_bytes());
                let header = header.map_err(|fault| LeafFault::Header { kind, fault })?;
                Ok(BatchReader { header, payload: &self.payload })
            }
            got => Err(BatchFault::Kind { got }),
        }
    }

    /// As [`BatchReader::read`].
    pub fn read(&self) -> Result<BatchView<'_>, BatchFault> {
        self.reader()?.read()
    }

    /// As [`BatchReader::prove`], with copies of the results.
    pub fn open(&self) -> Result<OpenBatch, BatchFault> {
        let BatchView { header, results } = self.reader()?.prove()?;
        let results = results.iter().map(ResultView::to_result).collect();
        Ok(OpenBatch { header: header.to_header(), results })
    }
}

impl<'a> BatchReader<'a> {
    pub fn header(&self) -> &HeaderView<'a> {
        &self.header
    }

    /// Holds the payload to the header's length, digest and count, and every result to the format.
    /// For whoever is handed a batch that was proven at the door: the digest says that these are
    /// the bytes.
    pub fn read(self) -> Result<BatchView<'a>, BatchFault> {
        let BatchReader { header, payload } = self;
        header.payload.check(payload)?;
        let mut results = Vec::with_capacity((header.count as usize).min(payload.len() / 2));
        for (position, bytes) in Pieces::of(payload).enumerate() {
            results.push(read_result(position, bytes?, header.checks.len())?);
        }
        if results.len() != header.count as usize {
            let (expected, got) = (header.count, results.len());
            return Err(BatchFault::CountUnequal { expected, got });
        }
        Ok(BatchView { header, results })
    }

    /// The same, and the root over the results is the header's.
    pub fn prove(self) -> Result<BatchView<'a>, BatchFault> {
        let payload = self.payload;
        let batch = self.read()?;
        let pieces = Pieces::of(payload).map_while(Result::ok);
        let (expected, got) = (batch.header.results_root, results_root(pieces));
        match expected == got {
            true => Ok(batch),
            false => Err(BatchFault::ResultsRoot { expected, got }),
        }
    }
}

/// One result of a payload, within the bounds of its batch.
pub(crate) fn read_result(
    position: usize,
    bytes: &[u8],
    checks: usize,
) -> Result<ResultView<'_>, BatchFault> {
    let (expected, got) = (RESULT_BYTES_MAX, bytes.len());
    if got > expected {
        return Err(BatchFault::ResultTooLarge { position, expected, got });
    }
    let result =
        ResultView::decode(bytes).map_err(|fault| BatchFault::Result { position, fault })?;
    if usize::from(result.check_index) >= checks {
        let (expected, got) = (checks, result.check_index);
        return Err(BatchFault::CheckIndex { position, expected, got });
    }
    Ok(result)
}

impl<'a> BatchView<'a> {
    /// The check of one of this batch's own results. Panics on another batch's result whose index
    /// is beyond this table.
    pub fn check(&self, result: &ResultView<'_>) -> &CheckView<'a> {
        &self.header.checks[usize::from(result.check_index)]
    }

    /// Unix time the run was due at.
    pub fn scheduled_at_ms(&self, result: &ResultView<'_>) -> u64 {
        self.header.base_time_ms.saturating_add(result.offset_ms.into())
    }
}
