//! The values of the ledger's rows, each with its reader beside it.

use proofmark_evidence::{
    AgentName, ByteReader, ByteWriter, CheckName, DecodeFault, FailReason, Outcome, UnknownReason,
};
use proofmark_spec::{CountedOutcome, Criterion, Grid};

use crate::assignment::{Assignment, Assignments};
use crate::fleet::Plan;
use crate::ledger::Ignored;
use crate::limits::{NAME_BYTES_MAX, ROW_ITEMS_MAX};
use crate::minutes::{Minutes, read_reason};
use crate::objective::{Generation, Rule};
use crate::report::{read_budgeting, read_option, write_budgeting, write_option};
use crate::series::{HeardRun, RecentRuns, Series};
use crate::spoken::{Span, Spoken, Told};

pub(crate) fn encode_meta(as_of_ms: u64, ignored: Ignored) -> Vec<u8> {
    let mut row = ByteWriter::new();
    row.varint(as_of_ms).varint(ignored.off_grid).varint(ignored.not_assigned);
    row.varint(ignored.too_old).varint(ignored.repeated);
    row.into_bytes()
}

pub(crate) fn decode_meta(bytes: &[u8]) -> Result<(u64, Ignored), DecodeFault> {
    let mut row = ByteReader::new(bytes);
    let as_of_ms = row.varint("as of")?;
    let ignored = Ignored {
        off_grid: row.varint("off grid")?,
        not_assigned: row.varint("not assigned")?,
        too_old: row.varint("too old")?,
        repeated: row.varint("repeated")?,
    };
    row.finish("meta row")?;
    Ok((as_of_ms, ignored))
}

pub(crate) fn encode_ms(ms: u64) -> Vec<u8> {
    let mut row = ByteWriter::new();
    row.varint(ms);
    row.into_bytes()
}

pub(crate) fn decode_ms(bytes: &[u8]) -> Result<u64, DecodeFault> {
    let mut row = ByteReader::new(bytes);
    let ms = row.varint("instant")?;
    row.finish("instant row")?;
    Ok(ms)
}

pub(crate) fn encode_plan(plan: &Plan) -> Vec<u8> {
    let mut row = ByteWriter::new();
    row.varint(plan.interval_ms);
    write_option(&mut row, plan.agents.as_ref(), |row, agents| {
        write_list(row, agents.iter(), |row, agent| {
            row.text(agent.as_str());
        });
    });
    row.into_bytes()
}

pub(crate) fn decode_plan(bytes: &[u8]) -> Result<Plan, DecodeFault> {
    let mut row = ByteReader::new(bytes);
    let interval_ms = row.varint("interval")?;
    let agents = read_option(&mut row, |row| read_list(row, read_agent))?;
    row.finish("check row")?;
    Ok(Plan { interval_ms, agents: agents.map(|agents| agents.into_iter().collect()) })
}

/// What the row of a series mostly takes.
const SERIES_BYTES: usize = 256;

pub(crate) fn encode_series(series: &Series) -> Vec<u8> {
    let mut row = ByteWriter::with_capacity(SERIES_BYTES);
    write_list(&mut row, series.assignments.iter(), write_assignment);
    write_option(&mut row, series.recent.floor_ms, write_ms);
    write_list(&mut row, series.recent.instants_ms.iter().copied(), write_ms);
    write_list(&mut row, series.waiting.iter().copied(), write_run);
    write_option(&mut row, series.last, write_run);
    write_option(&mut row, series.silent_since_ms, write_ms);
    write_option(&mut row, series.spoken.settled_ms, write_ms);
    write_list(&mut row, series.spoken.spans.iter(), write_span);
    write_list(&mut row, series.told_waiting.iter(), write_told);
    write_option(&mut row, series.told_until_ms, write_ms);
    row.into_bytes()
}

pub(crate) fn decode_series(bytes: &[u8]) -> Result<Series, DecodeFault> {
    let mut row = ByteReader::new(bytes);
    let mut assignments = Assignments::default();
    for assignment in read_list(&mut row, read_assignment)? {
        assignments.restore(assignment);
    }
    let recent = RecentRuns {
        floor_ms: read_option(&mut row, read_ms)?,
        instants_ms: read_list(&mut row, read_ms)?,
    };
    let waiting = read_list(&mut row, read_run)?;
    let last = read_option(&mut row, read_run)?;
    let silent_since_ms = read_option(&mut row, read_ms)?;
    let spoken = Spoken {
        settled_ms: read_option(&mut row, read_ms)?,
        spans: read_list(&mut row, read_span)?,
    };
    let told_waiting = read_list(&mut row, read_told)?;
    let told_until_ms = read_option(&mut row, read_ms)?;
    row.finish("series row")?;
    Ok(Series {
        assignments,
        recent,
        waiting,
        spoken,
        told_waiting,
        told_until_ms,
        last,
        silent_since_ms,
        dirty: false,
    })
}

pub(crate) fn encode_generation(generation: &Generation) -> Vec<u8> {
    let (mut row, rule) = (ByteWriter::new(), &generation.rule);
    row.varint(generation.from_ms);
    write_option(&mut row, generation.until_ms, write_ms);
    row.text(&generation.service);
    write_list(&mut row, rule.checks.iter(), |row, check| {
        row.text(check.as_str());
    });
    write_list(&mut row, rule.agents.iter(), |row, agent| {
        row.text(agent.as_str());
    });
    write_criterion(&mut row, rule.good);
    write_budgeting(&mut row, rule.budgeting);
    row.varint(rule.window_ms).varint(rule.target_ppb);
    row.into_bytes()
}

pub(crate) fn decode_generation(revision: u64, bytes: &[u8]) -> Result<Generation, DecodeFault> {
    let mut row = ByteReader::new(bytes);
    let from_ms = row.varint("from")?;
    let until_ms = read_option(&mut row, read_ms)?;
    let service = row.line("service", NAME_BYTES_MAX)?.to_owned();
    let rule = Rule {
        checks: read_list(&mut row, read_check)?,
        agents: read_list(&mut row, read_agent)?,
        good: read_criterion(&mut row)?,
        budgeting: read_budgeting(&mut row)?,
        window_ms: row.varint("window")?,
        target_ppb: row.ranged("target", 0, crate::ratio::ONE_PPB - 1)?,
    };
    row.finish("objective row")?;
    Ok(Generation { revision, from_ms, until_ms, service, rule, minutes: Minutes::default() })
}

fn write_criterion(row: &mut ByteWriter, good: Criterion) {
    row.bool(good.outcome == CountedOutcome::Pass);
    write_option(row, good.duration_ms_max, write_ms);
}

fn read_criterion(row: &mut ByteReader<'_>) -> Result<Criterion, DecodeFault> {
    let passes = row.bool("good outcome")?;
    let outcome = if passes { CountedOutcome::Pass } else { CountedOutcome::Fail };
    Ok(Criterion { outcome, duration_ms_max: read_option(row, read_ms)? })
}

fn write_list<T>(
    row: &mut ByteWriter,
    items: impl ExactSizeIterator<Item = T>,
    write: impl Fn(&mut ByteWriter, T),
) {
    row.varint(items.len() as u64);
    items.for_each(|item| write(row, item));
}

fn read_list<'a, T>(
    row: &mut ByteReader<'a>,
    read: impl Fn(&mut ByteReader<'a>) -> Result<T, DecodeFault>,
) -> Result<Vec<T>, DecodeFault> {
    let count = row.count("list", ROW_ITEMS_MAX, 1)?;
    (0..count).map(|_| read(row)).collect()
}

fn write_ms(row: &mut ByteWriter, ms: u64) {
    row.varint(ms);
}

fn read_ms(row: &mut ByteReader<'_>) -> Result<u64, DecodeFault> {
    row.varint("instant")
}

fn write_assignment(row: &mut ByteWriter, assignment: &Assignment) {
    row.varint(assignment.from_ms);
    write_option(row, assignment.until_ms, write_ms);
    row.varint(assignment.grid.interval_ms).varint(assignment.grid.offset_ms);
}

fn read_assignment(row: &mut ByteReader<'_>) -> Result<Assignment, DecodeFault> {
    let from_ms = row.varint("from")?;
    let until_ms = read_option(row, read_ms)?;
    let interval_ms = row.ranged("interval", 1, u64::MAX)?;
    let offset_ms = row.varint("offset")?;
    Ok(Assignment { from_ms, until_ms, grid: Grid { interval_ms, offset_ms } })
}

fn write_run(row: &mut ByteWriter, run: HeardRun) {
    row.varint(run.scheduled_at_ms).varint(run.duration_us);
    match run.outcome {
        Outcome::Pass => row.u8(0),
        Outcome::Fail(reason) => row.u8(1).u8(reason.code()),
        Outcome::Unknown(reason) => row.u8(2).u8(reason.code()),
    };
}

fn read_run(row: &mut ByteReader<'_>) -> Result<HeardRun, DecodeFault> {
    let (scheduled_at_ms, duration_us) = (row.varint("scheduled at")?, row.varint("duration")?);
    let outcome = match row.u8("outcome")? {
        0 => Outcome::Pass,
        1 => Outcome::Fail(read_fail_reason(row)?),
        2 => Outcome::Unknown(read_reason(row)?),
        got => return Err(DecodeFault::UnknownCode { what: "outcome", got: got.into() }),
    };
    Ok(HeardRun { scheduled_at_ms, outcome, duration_us })
}

fn write_span(row: &mut ByteWriter, span: &Span) {
    write_reach(row, span.first_ms, span.last_ms);
    write_option(row, span.told, write_reason);
}

fn read_span(row: &mut ByteReader<'_>) -> Result<Span, DecodeFault> {
    let (first_ms, last_ms) = read_reach(row)?;
    Ok(Span { first_ms, last_ms, told: read_option(row, read_reason)? })
}

fn write_told(row: &mut ByteWriter, told: &Told) {
    write_reach(row, told.first_ms, told.last_ms);
    write_reason(row, told.reason);
}

fn read_told(row: &mut ByteReader<'_>) -> Result<Told, DecodeFault> {
    let (first_ms, last_ms) = read_reach(row)?;
    Ok(Told { first_ms, last_ms, reason: read_reason(row)? })
}

/// The first instant and how far the last is from it.
fn write_reach(row: &mut ByteWriter, first_ms: u64, last_ms: u64) {
    row.varint(first_ms).varint(last_ms - first_ms);
}

fn read_reach(row: &mut ByteReader<'_>) -> Result<(u64, u64), DecodeFault> {
    let first_ms = row.varint("first instant")?;
    Ok((first_ms, first_ms + row.ranged("reach", 0, u64::MAX - first_ms)?))
}

fn write_reason(row: &mut ByteWriter, reason: UnknownReason) {
    row.u8(reason.code());
}

fn read_fail_reason(row: &mut ByteReader<'_>) -> Result<FailReason, DecodeFault> {
    let code = row.u8("fail reason")?;
    let fault = DecodeFault::UnknownCode { what: "fail reason", got: code.into() };
    FailReason::from_code(code).ok_or(fault)
}

fn read_agent(row: &mut ByteReader<'_>) -> Result<AgentName, DecodeFault> {
    let what = "agent";
    AgentName::parse(row.line(what, NAME_BYTES_MAX)?)
        .map_err(|fault| DecodeFault::Name { what, fault })
}

fn read_check(row: &mut ByteReader<'_>) -> Result<CheckName, DecodeFault> {
    let what = "check";
    CheckName::parse(row.line(what, NAME_BYTES_MAX)?)
        .map_err(|fault| DecodeFault::Name { what, fault })
}
