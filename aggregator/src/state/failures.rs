//! The latest failing results, for people who look at the page. The evidence has all of them.

use proofmark_evidence::limits::{DETAIL_BYTES_MAX, LABEL_BYTES_MAX, TARGET_BYTES_MAX};
use proofmark_evidence::{
    BatchView, ByteReader, ByteWriter, CheckName, CheckRef, DecodeFault, FailReason, Outcome,
    ResultId, ResultView,
};

use super::row::{Row, Table};
use crate::command::{CodecFault, put_agent, take_agent, unknown_code};
use crate::limits::FAILURES_MAX;

/// One result that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub id: ResultId,
    pub check: CheckName,
    pub target: String,
    pub scheduled_at_ms: u64,
    pub reason: FailReason,
    pub duration_us: u64,
    pub detail: String,
    pub leaf_index: u64,
}

/// The newest [`FAILURES_MAX`], numbered as they came.
#[derive(Clone, Debug)]
pub struct Failures {
    table: Table<Failure>,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Failure> {
        self.table.iter().rev().map(|(_, failure)| failure)
    }

    /// Takes the failing results of an accepted batch.
    pub(super) fn take_batch(&mut self, batch: &BatchView<'_>, leaf_index: u64) {
        for (position, result) in (0..).zip(&batch.results) {
            if let Outcome::Fail(reason) = result.outcome {
                let id = batch.header.result_id(position);
                self.push(failure_of(batch, id, result, reason, leaf_index));
            }
        }
    }

    fn push(&mut self, failure: Failure) {
        if self.table.len() == FAILURES_MAX {
            self.table.remove_first();
        }
        let number = self.table.last().map_or(0, |(number, _)| number + 1);
        self.table.insert(number, failure);
    }

    pub(super) fn table(&mut self) -> &mut Table<Failure> {
        &mut self.table
    }

    pub(super) fn rows(&self) -> &Table<Failure> {
        &self.table
    }

    pub(super) fn check(&self, leaf_count: u64) -> Result<(), String> {
        let are_in_log = self.iter().all(|failure| failure.leaf_index < leaf_count);
        match are_in_log && self.table.len() <= FAILURES_MAX {
            true => Ok(()),
            false => Err(format!("{} failures beyond their bounds", self.table.len())),
        }
    }
}

fn failure_of(
    batch: &BatchView<'_>,
    id: ResultId,
    result: &ResultView<'_>,
    reason: FailReason,
    leaf_index: u64,
) -> Failure {
    let CheckRef { check, target, .. } = batch.check(result).to_ref();
    Failure {
        id,
        check,
        target,
        scheduled_at_ms: batch.scheduled_at_ms(result),
        reason,
        duration_us: result.duration_us,
        detail: result.detail.to_owned(),
        leaf_index,
    }
}

impl Row for Failure {
    const TAG: u8 = b'f';
    type Key = u64;

    fn put(&self, out: &mut ByteWriter) {
        put_agent(out, &self.id.agent);
        out.varint(self.id.epoch).varint(self.id.seq);
        out.text(self.check.as_str()).text(&self.target).varint(self.scheduled_at_ms);
        out.u8(self.reason.code()).varint(self.duration_us).text(&self.detail);
        out.varint(self.leaf_index);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let agent = take_agent(input)?;
        let (epoch, seq) = (input.varint("epoch")?, input.varint("seq")?);
        Ok(Self {
            id: ResultId { agent, epoch, seq },
            check: take_check(input)?,
            target: input.text("target", TARGET_BYTES_MAX)?.to_owned(),
            scheduled_at_ms: input.varint("scheduled at")?,
            reason: take_reason(input)?,
            duration_us: input.varint("duration")?,
            detail: input.text("detail", DETAIL_BYTES_MAX)?.to_owned(),
            leaf_index: input.varint("leaf index")?,
        })
    }
}

fn take_check(input: &mut ByteReader<'_>) -> Result<CheckName, CodecFault> {
    let check = CheckName::parse(input.text("check", LABEL_BYTES_MAX)?);
    Ok(check.map_err(|fault| DecodeFault::Name { what: "check", fault })?)
}

fn take_reason(input: &mut ByteReader<'_>) -> Result<FailReason, CodecFault> {
    let code = input.u8("fail reason")?;
    FailReason::from_code(code).ok_or_else(|| unknown_code("fail reason", code))
}
