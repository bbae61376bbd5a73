//! What an objective says at one instant, and the bytes of it that go into the log.

use proofmark_evidence::{ByteReader, ByteWriter, DecodeFault};

use crate::burn::{BURN_WINDOWS, Burn};
use crate::counts::Counts;
use crate::interval::Interval;
use crate::limits::{NAME_BYTES_MAX, REPORTS_MAX};
use crate::minutes::{Causes, read_reason};
use crate::objective::Budgeting;
use crate::timeslice::SliceRule;

const FORMAT_VERSION: u8 = 1;

/// One objective at `as_of_ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloReport {
    pub slo: String,
    pub service: String,
    /// The spec's revision since which the objective is defined as it is.
    pub revision: u64,
    pub as_of_ms: u64,
    /// Where the counted window begins: `as_of - window`, or where this definition took effect.
    pub since_ms: u64,
    pub window_ms: u64,
    pub target_ppb: u64,
    pub budgeting: Budgeting,
    /// Runs.
    pub counts: Counts,
    /// Why the unknown runs are unknown. The values add up to `counts.unknown`.
    pub causes: Causes,
    /// Slices, if the budget is made of them; then the numbers below are made of them too.
    pub slices: Option<Counts>,
    /// `None` is "no data": nothing was expected. It is never read as good.
    pub sli_ppb: Option<Interval<u64>>,
    /// 10^9 is an untouched budget, 0 a spent one, less an overspent one.
    pub budget_remaining_ppb: Option<Interval<i64>>,
    /// One per burn window, shortest first.
    pub burn: [Burn; BURN_WINDOWS.len()],
}

/// The payload of an `SloReport` decision leaf.
pub fn encode_reports(reports: &[SloReport]) -> Vec<u8> {
    let mut out = ByteWriter::new();
    out.u8(FORMAT_VERSION).varint(reports.len() as u64);
    for report in reports {
        write_report(&mut out, report);
    }
    out.into_bytes()
}

/// Reads what [`encode_reports`] wrote; refuses anything else.
pub fn decode_reports(bytes: &[u8]) -> Result<Vec<SloReport>, DecodeFault> {
    let mut input = ByteReader::new(bytes);
    let version = input.u8("report version")?;
    if version != FORMAT_VERSION {
        return Err(DecodeFault::UnknownCode { what: "report version", got: version.into() });
    }
    let reports = input.count("reports", REPORTS_MAX, 1)?;
    let reports = (0..reports).map(|_| read_report(&mut input)).collect::<Result<_, _>>()?;
    input.finish("reports")?;
    Ok(reports)
}

fn write_report(out: &mut ByteWriter, report: &SloReport) {
    out.text(&report.slo).text(&report.service).varint(report.revision);
    out.varint(report.as_of_ms).varint(report.since_ms);
    out.varint(report.window_ms).varint(report.target_ppb);
    write_budgeting(out, report.budgeting);
    write_counts(out, report.counts);
    out.varint(report.causes.len() as u64);
    for (reason, runs) in &report.causes {
        out.u8(reason.code()).varint(*runs);
    }
    write_option(out, report.slices, write_counts);
    write_option(out, report.sli_ppb, write_unsigned);
    write_option(out, report.budget_remaining_ppb, write_signed);
    for burn in report.burn {
        write_option(out, burn.rate_milli, write_unsigned);
    }
}

fn read_report(input: &mut ByteReader<'_>) -> Result<SloReport, DecodeFault> {
    Ok(SloReport {
        slo: input.line("slo", NAME_BYTES_MAX)?.to_owned(),
        service: input.line("service", NAME_BYTES_MAX)?.to_owned(),
        revision: input.varint("revision")?,
        as_of_ms: input.varint("as of")?,
        since_ms: input.varint("since")?,
        window_ms: input.varint("window")?,
        target_ppb: input.varint("target")?,
        budgeting: read_budgeting(input)?,
        counts: read_counts(input)?,
        causes: read_causes(input)?,
        slices: read_option(input, read_counts)?,
        sli_ppb: read_option(input, read_unsigned)?,
        budget_remaining_ppb: read_option(input, read_signed)?,
        burn: read_burn(input)?,
    })
}

pub(crate) fn write_budgeting(out: &mut ByteWriter, budgeting: Budgeting) {
    match budgeting {
        Budgeting::Occurrences => out.u8(1),
        Budgeting::Timeslices(rule) => {
            out.u8(2).varint(rule.slice_ms).varint(rule.slice_target_ppb)
        }
    };
}

pub(crate) fn read_budgeting(input: &mut ByteReader<'_>) -> Result<Budgeting, DecodeFault> {
    match input.u8("budgeting")? {
        1 => Ok(Budgeting::Occurrences),
        2 => Ok(Budgeting::Timeslices(SliceRule {
            slice_ms: input.ranged("slice", 1, u64::MAX)?,
            slice_target_ppb: input.varint("slice target")?,
        })),
        got => Err(DecodeFault::UnknownCode { what: "budgeting", got: got.into() }),
    }
}

fn write_counts(out: &mut ByteWriter, counts: Counts) {
    out.varint(counts.good).varint(counts.bad).varint(counts.unknown);
}

fn read_counts(input: &mut ByteReader<'_>) -> Result<Counts, DecodeFault> {
    Ok(Counts {
        good: input.varint("good")?,
        bad: input.varint("bad")?,
        unknown: input.varint("unknown")?,
    })
}

fn read_causes(input: &mut ByteReader<'_>) -> Result<Causes, DecodeFault> {
    let mut causes = Causes::new();
    for _ in 0..input.count("causes", u8::MAX.into(), 2)? {
        let reason = read_reason(input)?;
        let newest = causes.last_key_value().map(|(reason, _)| *reason);
        if let Some(previous) = newest.filter(|previous| *previous >= reason) {
            let (previous, got) = (previous.code().into(), reason.code().into());
            return Err(DecodeFault::NotAscending { what: "causes", previous, got });
        }
        causes.insert(reason, input.varint("runs of a cause")?);
    }
    Ok(causes)
}

fn read_burn(input: &mut ByteReader<'_>) -> Result<[Burn; BURN_WINDOWS.len()], DecodeFault> {
    let mut burn = BURN_WINDOWS.map(|(window, _)| Burn { window, rate_milli: None });
    for rate in &mut burn {
        rate.rate_milli = read_option(input, read_unsigned)?;
    }
    Ok(burn)
}

fn write_unsigned(out: &mut ByteWriter, interval: Interval<u64>) {
    out.varint(interval.worst);
    write_option(out, interval.point, |out, point| {
        out.varint(point);
    });
    out.varint(interval.best);
}

fn read_unsigned(input: &mut ByteReader<'_>) -> Result<Interval<u64>, DecodeFault> {
    Ok(Interval {
        worst: input.varint("worst")?,
        point: read_option(input, |input| input.varint("point"))?,
        best: input.varint("best")?,
    })
}

fn write_signed(out: &mut ByteWriter, interval: Interval<i64>) {
    out.signed(interval.worst);
    write_option(out, interval.point, |out, point| {
        out.signed(point);
    });
    out.signed(interval.best);
}

fn read_signed(input: &mut ByteReader<'_>) -> Result<Interval<i64>, DecodeFault> {
    Ok(Interval {
        worst: input.signed("worst")?,
        point: read_option(input, |input| input.signed("point"))?,
        best: input.signed("best")?,
    })
}

pub(crate) fn write_option<T>(
    out: &mut ByteWriter,
    value: Option<T>,
    write: impl Fn(&mut ByteWriter, T),
) {
    out.bool(value.is_some());
    if let Some(value) = value {
        write(out, value);
    }
}

pub(crate) fn read_option<'a, T>(
    input: &mut ByteReader<'a>,
    read: impl Fn(&mut ByteReader<'a>) -> Result<T, DecodeFault>,
) -> Result<Option<T>, DecodeFault> {
    input.bool("presence")?.then(|| read(input)).transpose()
}
