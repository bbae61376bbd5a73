//! An objective's memory: minute cells in chunks of an hour, each hour with its sum.
//!
//! A sum over 28 days reads at most 673 hour sums and 118 minutes. An hour takes 0.7 KiB, so
//! 28 days take about half a MiB. Hours in which nothing was expected take nothing.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::{ByteReader, ByteWriter, DecodeFault, UnknownReason};

use crate::cell::{Cell, Total};
use crate::window::{HOUR_MS, MINUTE_MS, Window};

const MINUTES: usize = 60;

/// What one run adds to the cell of its instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Bad,
    /// The agent itself said that it could not tell. Adds nothing to what is known.
    Unknown(UnknownReason),
}

/// Reported reasons of runs that stayed unknown, with how many each.
pub type Causes = BTreeMap<UnknownReason, u64>;

/// The cells of one objective, by hour since the Unix epoch.
#[derive(Clone, Debug, Default)]
pub struct Minutes {
    hours: BTreeMap<u64, Hour>,
    /// Hours whose row must be written (or removed, when the hour is gone).
    dirty: BTreeSet<u64>,
}

impl Minutes {
    pub fn expect(&mut self, at_ms: u64, runs: u32) {
        if runs > 0 {
            self.touch(at_ms).change(minute_of(at_ms), |cell| cell.expected += runs);
        }
    }

    /// Counts runs of one series, each at its instant: their hours are looked up once for all that
    /// follow each other in one.
    pub fn count_all(&mut self, runs: impl IntoIterator<Item = (u64, Verdict)>) {
        let mut runs = runs.into_iter().peekable();
        while let Some((first_ms, _)) = runs.peek().copied() {
            let is_same_hour = |run: &(u64, Verdict)| run.0 / HOUR_MS == first_ms / HOUR_MS;
            let hour = self.touch(first_ms);
            while let Some((at_ms, verdict)) = runs.next_if(is_same_hour) {
                hour.count(minute_of(at_ms), verdict);
            }
        }
    }

    /// Adds a cause to runs of one minute that stay unknown.
    pub fn blame(&mut self, at_ms: u64, reason: UnknownReason, runs: u32) {
        if runs > 0 {
            self.touch(at_ms).blame(minute_of(at_ms), reason, runs);
        }
    }

    /// Takes back the cause of one run.
    pub fn unblame(&mut self, at_ms: u64, reason: UnknownReason) {
        let (hour, cause) = (self.touch(at_ms), (minute_of(at_ms), reason));
        match hour.causes.get_mut(&cause) {
            Some(runs) if *runs > 1 => *runs -= 1,
            _ => drop(hour.causes.remove(&cause)),
        }
    }

    /// The sum over the minutes that begin inside the window.
    pub fn total(&self, window: Window) -> Total {
        let mut total = Total::default();
        for (start_ms, hour) in self.hours_in(window) {
            if window.from_ms <= start_ms && start_ms + HOUR_MS <= window.until_ms {
                total += hour.sum;
            } else {
                hour.cells_in(start_ms, window).for_each(|(_, cell)| total += cell);
            }
        }
        total
    }

    /// Every minute that begins inside the window and holds something: its start and its cell.
    pub fn cells(&self, window: Window) -> impl Iterator<Item = (u64, Cell)> {
        self.hours_in(window).flat_map(move |(start_ms, hour)| hour.cells_in(start_ms, window))
    }

    pub fn causes(&self, window: Window) -> Causes {
        let mut causes = Causes::new();
        for (start_ms, hour) in self.hours_in(window) {
            for (&(minute, reason), &runs) in &hour.causes {
                if window.from_ms <= minute_start(start_ms, minute.into())
                    && minute_start(start_ms, minute.into()) < window.until_ms
                {
                    *causes.entry(reason).or_default() += u64::from(runs);
                }
            }
        }
        causes
    }

    /// Forgets the hours that begin before `ms`.
    pub fn drop_before(&mut self, ms: u64) {
        let kept = self.hours.split_off(&ms.div_ceil(HOUR_MS));
        let dropped = std::mem::replace(&mut self.hours, kept);
        self.dirty.extend(dropped.into_keys());
    }

    /// The hours that have a row, or had one and are marked for removal.
    pub fn row_hours(&self) -> BTreeSet<u64> {
        self.hours.keys().chain(&self.dirty).copied().collect()
    }

    pub fn take_dirty(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.dirty)
    }

    pub fn hour(&self, hour: u64) -> Option<&Hour> {
        self.hours.get(&hour)
    }

    /// Puts back an hour that was read from its row.
    pub fn restore(&mut self, hour: u64, cells: Hour) {
        self.hours.insert(hour, cells);
    }

    fn touch(&mut self, at_ms: u64) -> &mut Hour {
        let hour = at_ms / HOUR_MS;
        self.dirty.insert(hour);
        self.hours.entry(hour).or_default()
    }

    fn hours_in(&self, window: Window) -> impl Iterator<Item = (u64, &Hour)> {
        let first = window.from_ms / HOUR_MS;
        let end = window.until_ms.div_ceil(HOUR_MS).max(first);
        self.hours.range(first..end).map(|(hour, cells)| (hour * HOUR_MS, cells))
    }
}

/// Sixty cells, their sum, and the reported reasons by (minute, reason).
#[derive(Clone, Debug)]
pub struct Hour {
    cells: Box<[Cell; MINUTES]>,
    sum: Total,
    causes: BTreeMap<(u8, UnknownReason), u32>,
}

impl Default for Hour {
    fn default() -> Hour {
        let cells = Box::new([Cell::default(); MINUTES]);
        Hour { cells, sum: Total::default(), causes: BTreeMap::new() }
    }
}

impl Hour {
    fn count(&mut self, minute: u8, verdict: Verdict) {
        match verdict {
            Verdict::Good => self.change(minute, |cell| cell.good += 1),
            Verdict::Bad => self.change(minute, |cell| cell.bad += 1),
            Verdict::Unknown(reason) => self.blame(minute, reason, 1),
        }
    }

    fn blame(&mut self, minute: u8, reason: UnknownReason, runs: u32) {
        *self.causes.entry((minute, reason)).or_default() += runs;
    }

    fn change(&mut self, minute: u8, change: impl Fn(&mut Cell)) {
        let mut delta = Cell::default();
        change(&mut delta);
        change(&mut self.cells[usize::from(minute)]);
        self.sum += delta;
    }

    fn cells_in(&self, start_ms: u64, window: Window) -> impl Iterator<Item = (u64, Cell)> {
        let starts = (0..).map(move |minute| minute_start(start_ms, minute));
        let cells = starts.zip(self.cells.iter().copied());
        cells.filter(move |(at_ms, cell)| {
            !cell.is_empty() && window.from_ms <= *at_ms && *at_ms < window.until_ms
        })
    }

    /// Row form: per minute expected, good, bad; then the number of causes and each of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut row = ByteWriter::new();
        for cell in self.cells.iter() {
            row.varint(cell.expected.into()).varint(cell.good.into()).varint(cell.bad.into());
        }
        row.varint(self.causes.len() as u64);
        for ((minute, reason), runs) in &self.causes {
            row.u8(*minute).u8(reason.code()).varint((*runs).into());
        }
        row.into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<Hour, DecodeFault> {
        let mut row = ByteReader::new(bytes);
        let mut hour = Hour::default();
        for minute in 0..MINUTES {
            let expected = row.u32("expected runs")?;
            let (good, bad) = (row.u32("good runs")?, row.u32("bad runs")?);
            hour.cells[minute] = Cell { expected, good, bad };
            hour.sum += hour.cells[minute];
        }
        for _ in 0..row.count("causes", MINUTES * UnknownReason::ALL.len(), 3)? {
            let minute = row.u8("minute")?;
            let reason = read_reason(&mut row)?;
            hour.causes.insert((minute, reason), row.u32("runs of a cause")?);
        }
        row.finish("hour row")?;
        Ok(hour)
    }
}

pub(crate) fn read_reason(row: &mut ByteReader<'_>) -> Result<UnknownReason, DecodeFault> {
    let code = row.u8("unknown reason")?;
    let fault = DecodeFault::UnknownCode { what: "unknown reason", got: code.into() };
    UnknownReason::from_code(code).ok_or(fault)
}

fn minute_of(at_ms: u64) -> u8 {
    u8::try_from(at_ms % HOUR_MS / MINUTE_MS).expect("an hour has sixty minutes")
}

fn minute_start(hour_start_ms: u64, minute: u64) -> u64 {
    hour_start_ms + minute * MINUTE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from_minute: u64, until_minute: u64) -> Window {
        Window { from_ms: from_minute * MINUTE_MS, until_ms: until_minute * MINUTE_MS }
    }

    /// One run expected and good in every minute of `0..minutes`.
    fn steady(minutes: u64) -> Minutes {
        let mut cells = Minutes::default();
        for minute in 0..minutes {
            cells.expect(minute * MINUTE_MS, 1);
            cells.count_all([(minute * MINUTE_MS + 1, Verdict::Good)]);
        }
        cells
    }

    #[test]
    fn sums_are_the_same_from_hours_and_from_minutes() {
        let cells = steady(400);
        for (from, until) in [(0, 400), (1, 399), (59, 61), (60, 120), (61, 179), (7, 7)] {
            let expect = until - from;
            assert_eq!(cells.total(window(from, until)).good, expect, "{from}..{until}");
            assert_eq!(cells.cells(window(from, until)).count() as u64, expect);
        }
    }

    #[test]
    fn a_reported_unknown_is_a_cause_and_not_known() {
        let mut cells = steady(2);
        cells.expect(90_000, 1);
        cells.count_all([(90_000, Verdict::Unknown(UnknownReason::SpoolFull))]);
        assert_eq!(cells.total(window(0, 2)).counts().unknown, 1);
        assert_eq!(cells.causes(window(1, 2)).get(&UnknownReason::SpoolFull), Some(&1));
        assert!(cells.causes(window(0, 1)).is_empty());
    }

    #[test]
    fn dropping_leaves_whole_hours_and_marks_the_dropped() {
        let mut cells = steady(180);
        cells.take_dirty();
        cells.drop_before(60 * MINUTE_MS);
        assert_eq!(cells.take_dirty(), BTreeSet::from([0]));
        assert_eq!(cells.total(window(0, 180)).good, 120);
    }

    #[test]
    fn an_hour_reads_back_and_refuses_less() {
        let mut cells = steady(30);
        cells.blame(5 * MINUTE_MS, UnknownReason::SkippedOverrun, 1);
        let row = cells.hour(0).expect("hour 0 was touched").encode();
        assert_eq!(Hour::decode(&row).expect("own bytes").encode(), row);
        assert!(Hour::decode(&row[..row.len() - 1]).is_err());
    }
}
