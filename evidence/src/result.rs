//! One result: what one agent saw of one check at one instant, in about 20 bytes when it passed.

use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::limits::DETAIL_BYTES_MAX;
use crate::measurement::{Measurement, MeasurementKind};
use crate::outcome::Outcome;

/// A result inside its batch, whose header says who speaks and what the indexes mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// Row of the batch's check table.
    pub check_index: u16,
    /// From the batch's base time to the instant the run was scheduled at.
    pub offset_ms: u32,
    pub outcome: Outcome,
    /// From the start of the run to its verdict.
    pub duration_us: u64,
    /// Each kind at most once; `encode` puts them in ascending order.
    pub measurements: Vec<Measurement>,
    /// Empty if and only if it is a pass; else one line of at most 256 bytes.
    pub detail: String,
}

impl CheckResult {
    /// A result without measurements. The detail is made fit for its place: dropped from a pass,
    /// cut to its bound, control characters replaced, and the reason's slug where it is empty.
    pub fn new(check_index: u16, offset_ms: u32, outcome: Outcome, detail: &str) -> CheckResult {
        let detail = match (outcome, detail) {
            (Outcome::Pass, _) => String::new(),
            (_, "") => outcome.slug().to_owned(),
            (_, detail) => one_line(detail),
        };
        let (duration_us, measurements) = (0, Vec::new());
        CheckResult { check_index, offset_ms, outcome, duration_us, measurements, detail }
    }

    /// Sets one reading; a second one of the same kind replaces the first.
    pub fn measure(&mut self, kind: MeasurementKind, value: i64) {
        match self.measurements.binary_search_by_key(&kind, |measurement| measurement.kind) {
            Ok(found) => self.measurements[found].value = value,
            Err(place) => self.measurements.insert(place, Measurement { kind, value }),
        }
    }

    pub fn measured(&self, kind: MeasurementKind) -> Option<i64> {
        self.measurements.iter().find(|one| one.kind == kind).map(|one| one.value)
    }

    /// The bytes that are hashed into the batch's root. `decode` refuses them when a field is
    /// beyond its bound.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = ByteWriter::new();
        writer.varint(self.check_index.into()).varint(self.offset_ms.into());
        self.outcome.write(&mut writer);
        writer.varint(self.duration_us).varint(self.measurements.len() as u64);
        let mut measurements = self.measurements.clone();
        measurements.sort_by_key(|measurement| measurement.kind);
        measurements.iter().for_each(|measurement| measurement.write(&mut writer));
        if !self.outcome.is_pass() {
            writer.text(&self.detail);
        }
        writer.into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<CheckResult, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let check_index = reader.u16("check index")?;
        let offset_ms = reader.u32("offset")?;
        let outcome = Outcome::read(&mut reader)?;
        let duration_us = reader.varint("duration")?;
        let measurements = read_measurements(&mut reader)?;
        let detail = read_detail(&mut reader, outcome)?;
        reader.finish("result")?;
        Ok(CheckResult { check_index, offset_ms, outcome, duration_us, measurements, detail })
    }
}

fn read_measurements(reader: &mut ByteReader<'_>) -> Result<Vec<Measurement>, DecodeFault> {
    let count = reader.count("measurements", MeasurementKind::ALL.len(), 2)?;
    let mut measurements: Vec<Measurement> = Vec::with_capacity(count);
    for _ in 0..count {
        let next = Measurement::read(reader)?;
        if let Some(previous) = measurements.last().filter(|previous| previous.kind >= next.kind) {
            return Err(DecodeFault::NotAscending {
                what: "measurements",
                previous: previous.kind.code().into(),
                got: next.kind.code().into(),
            });
        }
        measurements.push(next);
    }
    Ok(measurements)
}

fn read_detail(reader: &mut ByteReader<'_>, outcome: Outcome) -> Result<String, DecodeFault> {
    if outcome.is_pass() {
        return Ok(String::new());
    }
    let what = "detail";
    let detail = reader.line(what, DETAIL_BYTES_MAX)?;
    if detail.is_empty() {
        return Err(DecodeFault::Rule { what, rule: "expected words for what is not a pass" });
    }
    Ok(detail.to_owned())
}

/// A target may answer anything: what it said is shown on terminals, so it must be harmless.
fn one_line(text: &str) -> String {
    let end = text.floor_char_boundary(DETAIL_BYTES_MAX);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
