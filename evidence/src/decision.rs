//! What the aggregator concluded from results, or from their absence. Signed by the log.

use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::codes::closed_list;
use crate::hash::Hash;
use crate::header::{self, BlobRef};
use crate::key::KeyId;
use crate::limits::COVERAGE_ROWS_COUNT_MAX;
use crate::name::{AgentName, CheckName};

/// Something the aggregator concluded. The payload blob holds the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub log_id: Hash,
    pub key_id: KeyId,
    pub at_ms: u64,
    pub kind: DecisionKind,
    pub payload: BlobRef,
}

closed_list! {
    DecisionKind {
        /// Series went silent or were heard again; the payload is `CoverageRow`s.
        Coverage = 1 "coverage",
        /// What the objectives stood at; the payload is written and read by the slo crate.
        SloReport = 2 "slo_report",
    }
}

impl Decision {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = header::start(self.log_id, self.key_id);
        writer.varint(self.at_ms).u8(self.kind.code());
        self.payload.write(&mut writer);
        writer.into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<Decision, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let (log_id, key_id) = header::read_start(&mut reader)?;
        let at_ms = header::read_time_ms(&mut reader, "decided at")?;
        let (what, code) = ("decision kind", reader.u8("decision kind")?);
        let kind = DecisionKind::from_code(code)
            .ok_or(DecodeFault::UnknownCode { what, got: code.into() })?;
        let payload = BlobRef::read(&mut reader)?;
        reader.finish("decision")?;
        Ok(Decision { log_id, key_id, at_ms, kind, payload })
    }
}

/// One series of a coverage decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageRow {
    pub check: CheckName,
    pub agent: AgentName,
    pub change: SilenceChange,
    /// The first instant that was due and not heard, or was heard again.
    pub since_ms: u64,
}

closed_list! {
    SilenceChange {
        Silent = 1 "silent",
        Heard = 2 "heard",
    }
}

impl CoverageRow {
    /// The payload of a decision of kind `Coverage`: schema byte, count, rows.
    pub fn encode_all(rows: &[CoverageRow]) -> Vec<u8> {
        let mut writer = ByteWriter::new();
        writer.u8(header::HEADER_SCHEMA).varint(rows.len() as u64);
        for row in rows {
            writer.text(row.check.as_str()).text(row.agent.as_str());
            writer.u8(row.change.code()).varint(row.since_ms);
        }
        writer.into_bytes()
    }

    /// Rows must ascend by (check, agent), each once.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<CoverageRow>, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        header::read_schema(&mut reader, "coverage schema")?;
        let what = "coverage rows";
        let count = reader.count(what, COVERAGE_ROWS_COUNT_MAX, 6)?;
        let mut rows: Vec<CoverageRow> = Vec::with_capacity(count);
        for _ in 0..count {
            let row = CoverageRow::read(&mut reader)?;
            let key = (&row.check, &row.agent);
            if rows.last().is_some_and(|last| (&last.check, &last.agent) >= key) {
                let rule = "expected ascending (check, agent), each once";
                return Err(DecodeFault::Rule { what, rule });
            }
            rows.push(row);
        }
        reader.finish(what)?;
        Ok(rows)
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<CoverageRow, DecodeFault> {
        let (check, agent) = (CheckName::read(reader, "check")?, AgentName::read(reader, "agent")?);
        let (what, code) = ("silence change", reader.u8("silence change")?);
        let change = SilenceChange::from_code(code)
            .ok_or(DecodeFault::UnknownCode { what, got: code.into() })?;
        Ok(CoverageRow { check, agent, change, since_ms: header::read_time_ms(reader, "since")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{BLOB_BYTES_MAX, TIME_MS_MAX};

    fn slug<T>(read: Result<T, DecodeFault>) -> Result<(), &'static str> {
        read.map(drop).map_err(|fault| fault.slug())
    }

    #[test]
    fn kinds_to_come_are_refused() {
        let decision = Decision {
            log_id: Hash([1; 32]),
            key_id: KeyId(Hash([2; 32])),
            at_ms: 1,
            kind: DecisionKind::SloReport,
            payload: BlobRef::of(b"rows"),
        };
        let mut bytes = decision.encode();
        assert_eq!(Decision::decode(&bytes), Ok(decision));
        bytes[66] = 3; // after the beginning's 65 bytes and a time of one byte
        assert_eq!(slug(Decision::decode(&bytes)), Err("unknown_code"));
    }

    fn coverage_row(check: &str, agent: &str) -> CoverageRow {
        CoverageRow {
            check: CheckName::parse(check).expect("a label"),
            agent: AgentName::parse(agent).expect("a label"),
            change: SilenceChange::Silent,
            since_ms: TIME_MS_MAX,
        }
    }

    #[test]
    fn coverage_rows_ascend() {
        let check = |rows: &[(&str, &str)], expect| {
            let rows: Vec<_> = rows.iter().map(|(c, a)| coverage_row(c, a)).collect();
            assert_eq!(slug(CoverageRow::decode_all(&CoverageRow::encode_all(&rows))), expect);
        };
        check(&[], Ok(()));
        check(&[("a", "x"), ("a", "y"), ("b", "x")], Ok(()));
        check(&[("b", "x"), ("a", "x")], Err("rule_broken"));
        check(&[("a", "y"), ("a", "x")], Err("rule_broken"));
        check(&[("a", "x"), ("a", "x")], Err("rule_broken"));
        assert_eq!(slug(CoverageRow::decode_all(&[2, 0])), Err("unknown_code"));
    }

    #[test]
    fn the_widest_coverage_decision_fits_its_blob() {
        let row = |n| coverage_row(&format!("{n:a>63}"), &"b".repeat(63));
        let rows: Vec<_> = (1000..1000 + COVERAGE_ROWS_COUNT_MAX).map(row).collect();
        let bytes = CoverageRow::encode_all(&rows);
        assert!(bytes.len() <= BLOB_BYTES_MAX, "{}", bytes.len());
        let with_one_more = [&rows[..], &[row(9000)]].concat();
        let bytes = CoverageRow::encode_all(&with_one_more);
        assert_eq!(slug(CoverageRow::decode_all(&bytes)), Err("out_of_range"));
    }
}
