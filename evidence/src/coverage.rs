//! What became of the runs that were due: so that a run that was not made is a fact too.

use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::outcome::UnknownReason;

/// How many runs were due since the previous batch, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Always `run` plus everything skipped.
    pub scheduled: u64,
    pub run: u64,
    /// Ascending by code; no zero counts.
    pub skipped: Vec<(UnknownReason, u64)>,
}

impl Coverage {
    pub(crate) fn write(&self, writer: &mut ByteWriter) {
        writer.varint(self.scheduled).varint(self.run).varint(self.skipped.len() as u64);
        for (reason, runs) in &self.skipped {
            writer.u8(reason.code()).varint(*runs);
        }
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<Coverage, DecodeFault> {
        let scheduled = reader.varint("coverage scheduled")?;
        let run = reader.varint("coverage run")?;
        let count = reader.count("coverage skipped", UnknownReason::ALL.len(), 2)?;
        let mut skipped = Vec::with_capacity(count);
        for _ in 0..count {
            let reason = UnknownReason::read(reader)?;
            require_ascending(&skipped, reason)?;
            skipped.push((reason, reader.ranged("runs skipped", 1, u64::MAX)?));
        }
        let coverage = Coverage { scheduled, run, skipped };
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
        Err(DecodeFault::Unequal { what: "coverage sum", expected: self.scheduled, got })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::UnknownReason::{Silent, SkippedAsleep, SkippedBusy};

    fn check(
        scheduled: u64,
        run: u64,
        skipped: &[(UnknownReason, u64)],
        expect: Result<(), &'static str>,
    ) {
        let coverage = Coverage { scheduled, run, skipped: skipped.to_vec() };
        let mut writer = ByteWriter::new();
        coverage.write(&mut writer);
        let read = Coverage::read(&mut ByteReader::new(&writer.into_bytes()));
        assert_eq!(read.as_ref().map(drop).map_err(DecodeFault::slug), expect, "{coverage:?}");
        assert!(read.is_err() || read == Ok(coverage));
    }

    #[test]
    fn it_adds_up() {
        check(0, 0, &[], Ok(()));
        check(9, 5, &[(SkippedAsleep, 3), (SkippedBusy, 1)], Ok(()));
        check(9, 6, &[(SkippedAsleep, 3), (SkippedBusy, 1)], Err("unequal"));
        check(8, 5, &[(SkippedAsleep, 3), (SkippedBusy, 1)], Err("unequal"));
        check(1, 0, &[], Err("unequal"));
        check(4, 5, &[(SkippedAsleep, u64::MAX)], Err("unequal"));
        check(u64::MAX, 5, &[(SkippedAsleep, u64::MAX)], Err("unequal"));
    }

    #[test]
    fn reasons_ascend_and_are_an_agents() {
        check(4, 0, &[(SkippedBusy, 1), (SkippedAsleep, 3)], Err("not_ascending"));
        check(4, 0, &[(SkippedBusy, 1), (SkippedBusy, 3)], Err("not_ascending"));
        check(4, 0, &[(Silent, 4)], Err("unknown_code"));
        check(4, 4, &[(SkippedBusy, 0)], Err("out_of_range"));
    }
}
