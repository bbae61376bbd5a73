//! One result: what one agent saw of one check at one instant, in about 20 bytes when it passed.

use crate::bytes::{ByteWriter, DecodeFault};
use crate::limits::DETAIL_BYTES_MAX;
use crate::measurement::{Measurement, MeasurementKind};
use crate::outcome::Outcome;
use crate::view::ResultView;

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
        ResultView::decode(bytes).map(|result| result.to_result())
    }
}

/// A target may answer anything: what it said is shown on terminals, so it must be harmless.
fn one_line(text: &str) -> String {
    let end = text.floor_char_boundary(DETAIL_BYTES_MAX);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RESULT_BYTES_MAX;
    use crate::outcome::{FailReason, UnknownReason};

    const FAIL: Outcome = Outcome::Fail(FailReason::ConnectRefused);

    fn slug(bytes: &[u8]) -> Result<CheckResult, &'static str> {
        CheckResult::decode(bytes).map_err(|fault| fault.slug())
    }

    /// A TCP check that passed, as most results are.
    #[test]
    fn a_pass_is_small() {
        let mut result = CheckResult::new(3, 45_000, Outcome::Pass, "");
        result.duration_us = 23_456;
        result.measure(MeasurementKind::StartLagUs, 180);
        result.measure(MeasurementKind::ResolveUs, 1_500);
        result.measure(MeasurementKind::ConnectUs, 21_000);
        let len = result.encode().len();
        assert!((15..=22).contains(&len), "{len} bytes");
    }

    #[test]
    fn the_widest_result_fits() {
        let mut result = CheckResult::new(u16::MAX, u32::MAX, FAIL, &"x".repeat(256));
        result.duration_us = u64::MAX;
        MeasurementKind::ALL.iter().for_each(|kind| result.measure(*kind, i64::MIN));
        let bytes = result.encode();
        assert!(bytes.len() <= RESULT_BYTES_MAX);
        assert_eq!(slug(&bytes), Ok(result));
    }

    #[test]
    fn details_are_made_fit() {
        let detail = |outcome, text: &str| CheckResult::new(0, 0, outcome, text).detail;
        assert_eq!(detail(Outcome::Pass, "all well"), "");
        assert_eq!(detail(FAIL, ""), "connect_refused");
        let skipped = Outcome::Unknown(UnknownReason::SkippedAsleep);
        assert_eq!(detail(skipped, ""), "skipped_asleep");
        assert_eq!(detail(FAIL, "a\r\nb\u{1b}[2J"), "a  b [2J");
        assert_eq!(detail(FAIL, &"x".repeat(300)), "x".repeat(256));
        assert_eq!(detail(FAIL, &"ö".repeat(300)), "ö".repeat(128));
        assert_eq!(detail(FAIL, &format!("x{}", "ö".repeat(300))), format!("x{}", "ö".repeat(127)));
    }

    #[test]
    fn a_pass_has_no_detail_and_the_rest_has() {
        let mut result = CheckResult::new(0, 0, FAIL, "words");
        result.detail.clear();
        assert_eq!(slug(&result.encode()), Err("rule_broken"));
        result.detail = "x".repeat(257);
        assert_eq!(slug(&result.encode()), Err("too_long"));
        result.detail = "a\nb".to_owned();
        assert_eq!(slug(&result.encode()), Err("not_text"));
        // After a pass there is no place for a detail, not even for an empty one.
        let pass = CheckResult::new(0, 0, Outcome::Pass, "").encode();
        assert_eq!(slug(&[&pass[..], &[0]].concat()), Err("trailing_bytes"));
    }

    #[test]
    fn measurements_ascend() {
        let reading = |kind, value| Measurement { kind, value };
        let mut result = CheckResult::new(0, 0, Outcome::Pass, "");
        let (early, late) = (MeasurementKind::ResolveUs, MeasurementKind::TlsUs);
        result.measure(late, 1);
        result.measure(early, 2);
        result.measure(late, 3);
        assert_eq!(result.measurements, [reading(early, 2), reading(late, 3)]);
        assert_eq!(
            (result.measured(late), result.measured(MeasurementKind::ConnectUs)),
            (Some(3), None)
        );

        let sorted = result.encode();
        result.measurements.reverse();
        assert_eq!(result.encode(), sorted, "the order in memory does not matter");
        result.measurements = vec![reading(late, 1), reading(late, 1)];
        assert_eq!(slug(&result.encode()), Err("not_ascending"));
        let [head @ .., kind1, value1, kind2, value2] = &sorted[..] else { panic!("two readings") };
        let swapped = [head, &[*kind2, *value2, *kind1, *value1]].concat();
        assert_eq!(slug(&swapped), Err("not_ascending"));
    }

    #[test]
    fn numbers_keep_their_width() {
        let bytes = CheckResult::new(0, 0, Outcome::Pass, "").encode();
        assert_eq!(bytes, [0, 0, 0, 0, 0]);
        let wide_index = [&[0x80, 0x80, 4][..], &bytes[1..]].concat();
        assert_eq!(slug(&wide_index), Err("out_of_range"));
        let wide_offset = [&[0, 0x80, 0x80, 0x80, 0x80, 0x10][..], &bytes[2..]].concat();
        assert_eq!(slug(&wide_offset), Err("out_of_range"));
        let padded_index = [&[0x80, 0][..], &bytes[1..]].concat();
        assert_eq!(slug(&padded_index), Err("number_not_minimal"));
        let many_measurements = [&bytes[..4], &[25]].concat();
        assert_eq!(slug(&many_measurements), Err("out_of_range"));
    }
}
