//! The batch header: what an agent signs about a run of its results.

use std::collections::BTreeSet;

use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::hash::Hash;
use crate::header::{self, BlobRef};
use crate::key::KeyId;
use crate::limits::{CHECKS_COUNT_MAX, LABEL_BYTES_MAX, RESULTS_COUNT_MAX, TARGET_BYTES_MAX};
use crate::name::{AgentName, CheckName, ResultId};
use crate::outcome::UnknownReason;

/// Says who speaks, which results follow (`seq_first` to `seq_end`), and what they must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub log_id: Hash,
    pub key_id: KeyId,
    pub agent: AgentName,
    /// The agent's life, from 1. Numbers of results start again at 1 in each.
    pub epoch: u64,
    pub seq_first: u64,
    /// Results in the payload, at least 1.
    pub count: u32,
    /// Unix time that results' offsets count from.
    pub base_time_ms: u64,
    /// What results' check indexes point into; each (check, revision) once.
    pub checks: Vec<CheckRef>,
    pub coverage: Coverage,
    /// Header hash of the agent's previous batch in this epoch; ZERO in the first.
    pub previous: Hash,
    /// RFC 6962 root over the results' bytes.
    pub results_root: Hash,
    pub payload: BlobRef,
    /// The newest checkpoint of the log this agent has verified.
    pub seen: Option<Seen>,
}

/// A check as it was when it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRef {
    pub check: CheckName,
    pub spec_revision: u64,
    /// What was looked at, as people know it; one line of at most 255 bytes.
    pub target: String,
}

/// How many runs were due since the previous batch, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Always `run` plus everything skipped.
    pub scheduled: u64,
    pub run: u64,
    /// Ascending by code; no zero counts.
    pub skipped: Vec<(UnknownReason, u64)>,
}

/// A checkpoint, as its size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub size: u64,
    pub root: Hash,
}

impl BatchHeader {
    /// One past the last result's number.
    pub fn seq_end(&self) -> u64 {
        self.seq_first.saturating_add(self.count.into())
    }

    /// The name of the result at this place in the payload.
    pub fn result_id(&self, position: u32) -> ResultId {
        let seq = self.seq_first.saturating_add(position.into());
        ResultId {
            agent: self.agent.clone(),
            epoch: self.epoch,
            seq,
        }
    }

    /// The bytes to sign. `decode` refuses them when a field is beyond its bound.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = header::start(self.log_id, self.key_id);
        writer
            .text(self.agent.as_str())
            .varint(self.epoch)
            .varint(self.seq_first);
        writer.varint(self.count.into()).varint(self.base_time_ms);
        writer.varint(self.checks.len() as u64);
        self.checks
            .iter()
            .for_each(|check| check.write(&mut writer));
        self.coverage.write(&mut writer);
        writer.fixed(&self.previous.0).fixed(&self.results_root.0);
        self.payload.write(&mut writer);
        writer.bool(self.seen.is_some());
        if let Some(seen) = &self.seen {
            writer.varint(seen.size).fixed(&seen.root.0);
        }
        writer.into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<BatchHeader, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let (log_id, key_id) = header::read_start(&mut reader)?;
        let agent = read_agent(&mut reader)?;
        let epoch = reader.ranged("epoch", 1, u64::MAX)?;
        let (seq_first, count) = read_sequence(&mut reader)?;
        let header = BatchHeader {
            log_id,
            key_id,
            agent,
            epoch,
            seq_first,
            count,
            base_time_ms: header::read_time_ms(&mut reader, "base time")?,
            checks: read_checks(&mut reader)?,
            coverage: Coverage::read(&mut reader)?,
            previous: Hash(reader.fixed("previous")?),
            results_root: Hash(reader.fixed("results root")?),
            payload: BlobRef::read(&mut reader)?,
            seen: read_seen(&mut reader)?,
        };
        reader.finish("batch header")?;
        Ok(header)
    }
}

impl CheckRef {
    /// Bytes this row takes in a header; see `limits::CHECK_TABLE_BYTES_MAX`.
    pub fn encoded_len(&self) -> usize {
        let mut writer = ByteWriter::new();
        self.write(&mut writer);
        writer.len()
    }

    fn write(&self, writer: &mut ByteWriter) {
        writer
            .text(self.check.as_str())
            .varint(self.spec_revision)
            .text(&self.target);
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<CheckRef, DecodeFault> {
        Ok(CheckRef {
            check: read_check(reader)?,
            spec_revision: reader.varint("spec revision")?,
            target: reader.line("target", TARGET_BYTES_MAX)?.to_owned(),
        })
    }
}

impl Coverage {
    fn write(&self, writer: &mut ByteWriter) {
        writer
            .varint(self.scheduled)
            .varint(self.run)
            .varint(self.skipped.len() as u64);
        for (reason, runs) in &self.skipped {
            writer.u8(reason.code()).varint(*runs);
        }
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Coverage, DecodeFault> {
        let scheduled = reader.varint("coverage scheduled")?;
        let run = reader.varint("coverage run")?;
        let count = reader.count("coverage skipped", UnknownReason::ALL.len(), 2)?;
        let mut skipped = Vec::with_capacity(count);
        for _ in 0..count {
            let reason = UnknownReason::read(reader)?;
            require_ascending(&skipped, reason)?;
            skipped.push((reason, reader.ranged("runs skipped", 1, u64::MAX)?));
        }
        let coverage = Coverage {
            scheduled,
            run,
            skipped,
        };
        coverage.require_sum()?;
        Ok(coverage)
    }

    fn require_sum(&self) -> Result<(), DecodeFault> {
        let mut runs = self.skipped.iter().map(|(_, runs)| *runs);
        let sum = runs.try_fold(self.run, u64::checked_add);
        if sum == Some(self.scheduled) {
            return Ok(());
        }
        let got = sum.unwrap_or(u64::MAX);
        Err(DecodeFault::Unequal {
            what: "coverage sum",
            expected: self.scheduled,
            got,
        })
    }
}

fn require_ascending(
    skipped: &[(UnknownReason, u64)],
    next: UnknownReason,
) -> Result<(), DecodeFault> {
    match skipped.last() {
        Some((previous, _)) if *previous >= next => Err(DecodeFault::NotAscending {
            what: "coverage skipped",
            previous: previous.code().into(),
            got: next.code().into(),
        }),
        _ => Ok(()),
    }
}

pub(crate) fn read_agent(reader: &mut ByteReader<'_>) -> Result<AgentName, DecodeFault> {
    let what = "agent";
    AgentName::parse(reader.line(what, LABEL_BYTES_MAX)?)
        .map_err(|fault| DecodeFault::Name { what, fault })
}

pub(crate) fn read_check(reader: &mut ByteReader<'_>) -> Result<CheckName, DecodeFault> {
    let what = "check";
    CheckName::parse(reader.line(what, LABEL_BYTES_MAX)?)
        .map_err(|fault| DecodeFault::Name { what, fault })
}

/// First number and count; their sum, the next batch's first number, is a number too.
fn read_sequence(reader: &mut ByteReader<'_>) -> Result<(u64, u32), DecodeFault> {
    let seq_max = u64::MAX - RESULTS_COUNT_MAX as u64;
    let seq_first = reader.ranged("first sequence number", 1, seq_max)?;
    let count = reader.ranged("result count", 1, RESULTS_COUNT_MAX as u64)? as u32;
    Ok((seq_first, count))
}

fn read_checks(reader: &mut ByteReader<'_>) -> Result<Vec<CheckRef>, DecodeFault> {
    let what = "check table";
    let count = reader.count(what, CHECKS_COUNT_MAX, 4)?;
    if count == 0 {
        return Err(DecodeFault::Rule {
            what,
            rule: "expected at least one row",
        });
    }
    let mut checks = Vec::with_capacity(count);
    let mut known = BTreeSet::new();
    for _ in 0..count {
        let row = CheckRef::read(reader)?;
        if !known.insert((row.check.clone(), row.spec_revision)) {
            let got = format!("{} revision {}", row.check, row.spec_revision);
            return Err(DecodeFault::Twice { what, got });
        }
        checks.push(row);
    }
    Ok(checks)
}

fn read_seen(reader: &mut ByteReader<'_>) -> Result<Option<Seen>, DecodeFault> {
    if !reader.bool("seen")? {
        return Ok(None);
    }
    let size = reader.ranged("seen size", 1, u64::MAX)?;
    Ok(Some(Seen {
        size,
        root: Hash(reader.fixed("seen root")?),
    }))
}
