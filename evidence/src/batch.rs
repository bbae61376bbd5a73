//! The batch header: what an agent signs about a run of its results.

use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::coverage::Coverage;
use crate::hash::Hash;
use crate::header::{self, BlobRef};
use crate::key::KeyId;
use crate::leaf::{Leaf, LeafKind};
use crate::limits::{CHECKS_COUNT_MAX, RESULTS_COUNT_MAX, TARGET_BYTES_MAX};
use crate::name::{AgentName, CheckName, ResultId};

/// Says who speaks, which results follow (`seq_first` to `seq_end`), and what they must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader<C = CheckRef> {
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
    pub checks: Vec<C>,
    pub coverage: Coverage,
    /// Header hash of the agent's previous batch in this epoch; ZERO in the first.
    pub previous: Hash,
    /// RFC 6962 root over the results' bytes.
    pub results_root: Hash,
    pub payload: BlobRef,
    /// The newest checkpoint of the log this agent has verified.
    pub seen: Option<Seen>,
}

/// Which results a batch holds: what its header says first, and all that an index wants of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSpan {
    pub agent: AgentName,
    pub epoch: u64,
    pub seq_first: u64,
    /// One past the last result's number.
    pub seq_end: u64,
}

impl BatchSpan {
    /// Of a leaf whose header was read in full before it came into the log. `None` when it is no
    /// batch.
    pub fn of(leaf: &Leaf) -> Option<BatchSpan> {
        let is_batch = leaf.kind() == LeafKind::Batch;
        is_batch.then(|| BatchSpan::read(leaf.header_bytes()).ok()).flatten()
    }

    fn read(header: &[u8]) -> Result<BatchSpan, DecodeFault> {
        let mut reader = ByteReader::new(header);
        header::read_start(&mut reader)?;
        let agent = AgentName::read(&mut reader, "agent")?;
        let epoch = reader.ranged("epoch", 1, u64::MAX)?;
        let (seq_first, count) = read_sequence(&mut reader)?;
        Ok(BatchSpan { agent, epoch, seq_first, seq_end: seq_first + u64::from(count) })
    }
}

/// A header whose check table points into the bytes it was read from.
pub type HeaderView<'a> = BatchHeader<CheckView<'a>>;

/// A row of the check table, where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckView<'a> {
    /// A valid [`CheckName`].
    pub check: &'a str,
    pub spec_revision: u64,
    pub target: &'a str,
}

/// A check as it was when it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRef {
    pub check: CheckName,
    pub spec_revision: u64,
    /// What was looked at, as people know it; one line of at most 255 bytes.
    pub target: String,
}

/// A checkpoint, as its size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub size: u64,
    pub root: Hash,
}

impl<C> BatchHeader<C> {
    /// One past the last result's number.
    pub fn seq_end(&self) -> u64 {
        self.seq_first.saturating_add(self.count.into())
    }

    /// The name of the result at this place in the payload.
    pub fn result_id(&self, position: u32) -> ResultId {
        let seq = self.seq_first.saturating_add(position.into());
        ResultId { agent: self.agent.clone(), epoch: self.epoch, seq }
    }
}

impl BatchHeader {
    /// The bytes to sign. `decode` refuses them when a field is beyond its bound.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = header::start(self.log_id, self.key_id);
        writer.text(self.agent.as_str()).varint(self.epoch).varint(self.seq_first);
        writer.varint(self.count.into()).varint(self.base_time_ms);
        writer.varint(self.checks.len() as u64);
        self.checks.iter().for_each(|check| check.write(&mut writer));
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
        HeaderView::read(bytes).map(HeaderView::to_header)
    }
}

impl<'a> HeaderView<'a> {
    /// A copy that needs no bytes.
    pub fn to_header(self) -> BatchHeader {
        BatchHeader {
            log_id: self.log_id,
            key_id: self.key_id,
            agent: self.agent,
            epoch: self.epoch,
            seq_first: self.seq_first,
            count: self.count,
            base_time_ms: self.base_time_ms,
            checks: self.checks.iter().map(CheckView::to_ref).collect(),
            coverage: self.coverage,
            previous: self.previous,
            results_root: self.results_root,
            payload: self.payload,
            seen: self.seen,
        }
    }

    /// As [`BatchHeader::decode`].
    pub fn read(bytes: &'a [u8]) -> Result<HeaderView<'a>, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let (log_id, key_id) = header::read_start(&mut reader)?;
        let agent = AgentName::read(&mut reader, "agent")?;
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
        writer.text(self.check.as_str()).varint(self.spec_revision).text(&self.target);
    }
}

impl<'a> CheckView<'a> {
    fn read(reader: &mut ByteReader<'a>) -> Result<CheckView<'a>, DecodeFault> {
        Ok(CheckView {
            check: CheckName::read_text(reader, "check")?,
            spec_revision: reader.varint("spec revision")?,
            target: reader.line("target", TARGET_BYTES_MAX)?,
        })
    }

    /// A copy that needs no header.
    pub fn to_ref(&self) -> CheckRef {
        let check = CheckName::parse(self.check).expect("it was read as a name");
        CheckRef { check, spec_revision: self.spec_revision, target: self.target.to_owned() }
    }
}

/// First number and count; their sum, the next batch's first number, is a number too.
fn read_sequence(reader: &mut ByteReader<'_>) -> Result<(u64, u32), DecodeFault> {
    let seq_max = u64::MAX - RESULTS_COUNT_MAX as u64;
    let seq_first = reader.ranged("first sequence number", 1, seq_max)?;
    let count = reader.ranged("result count", 1, RESULTS_COUNT_MAX as u64)? as u32;
    Ok((seq_first, count))
}

fn read_checks<'a>(reader: &mut ByteReader<'a>) -> Result<Vec<CheckView<'a>>, DecodeFault> {
    let what = "check table";
    let count = reader.count(what, CHECKS_COUNT_MAX, 4)?;
    if count == 0 {
        return Err(DecodeFault::Rule { what, rule: "expected at least one row" });
    }
    let rows = (0..count).map(|_| CheckView::read(reader));
    let checks = rows.collect::<Result<Vec<_>, _>>()?;
    match twice(&checks) {
        None => Ok(checks),
        Some(row) => {
            let got = format!("{} revision {}", row.check, row.spec_revision);
            Err(DecodeFault::Twice { what, got })
        }
    }
}

/// A row that is in the table more than once.
fn twice<'a>(checks: &[CheckView<'a>]) -> Option<CheckView<'a>> {
    let key = |row: &CheckView<'a>| (row.check, row.spec_revision);
    if checks.is_sorted_by(|a, b| key(a) < key(b)) {
        return None; // as batchers write it, mostly
    }
    let mut sorted = checks.to_vec();
    sorted.sort_unstable_by_key(key);
    sorted.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])).map(|pair| pair[0])
}

fn read_seen(reader: &mut ByteReader<'_>) -> Result<Option<Seen>, DecodeFault> {
    if !reader.bool("seen")? {
        return Ok(None);
    }
    let size = reader.ranged("seen size", 1, u64::MAX)?;
    Ok(Some(Seen { size, root: Hash(reader.fixed("seen root")?) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        BATCH_FIXED_BYTES_MAX, BLOB_BYTES_MAX, CHECK_TABLE_BYTES_MAX, HEADER_BYTES_MAX, TIME_MS_MAX,
    };
    use crate::outcome::UnknownReason;

    fn row(check: &str, spec_revision: u64, target: &str) -> CheckRef {
        let check = CheckName::parse(check).expect("tests give valid names");
        CheckRef { check, spec_revision, target: target.to_owned() }
    }

    fn header() -> BatchHeader {
        BatchHeader {
            log_id: Hash([1; 32]),
            key_id: KeyId(Hash([2; 32])),
            agent: AgentName::parse("web-1").expect("a label"),
            epoch: 1,
            seq_first: 10,
            count: 5,
            base_time_ms: 1_763_600_000_000,
            checks: vec![row("home", 1, "https://example.com/"), row("home", 2, "")],
            coverage: Coverage::default(),
            previous: Hash::ZERO,
            results_root: Hash([3; 32]),
            payload: BlobRef { digest: Hash([4; 32]), len: 100 },
            seen: None,
        }
    }

    #[test]
    fn numbers_of_results() {
        let header = header();
        assert_eq!(header.seq_end(), 15);
        assert_eq!(header.result_id(4).to_string(), "web-1/1/14");
    }

    #[test]
    fn a_span_is_what_the_header_says() {
        let header = header();
        let (agent, epoch) = (header.agent.clone(), header.epoch);
        let (seq_first, seq_end) = (header.seq_first, header.seq_end());
        let expect = BatchSpan { agent, epoch, seq_first, seq_end };
        assert_eq!(BatchSpan::read(&header.encode()), Ok(expect));
    }

    /// Changes one thing and reads what was written.
    fn check(change: impl FnOnce(&mut BatchHeader), expect: Result<(), &'static str>) {
        let mut header = header();
        change(&mut header);
        let read = BatchHeader::decode(&header.encode());
        assert_eq!(read.as_ref().map(drop).map_err(DecodeFault::slug), expect, "{header:?}");
        assert!(read.is_err() || read == Ok(header));
    }

    #[test]
    fn bounds() {
        check(|h| h.epoch = 0, Err("out_of_range"));
        check(|h| h.seq_first = 0, Err("out_of_range"));
        check(|h| h.seq_first = u64::MAX - 4096, Ok(()));
        check(|h| h.seq_first = u64::MAX - 4095, Err("out_of_range"));
        check(|h| h.count = 0, Err("out_of_range"));
        check(|h| h.count = 4096, Ok(()));
        check(|h| h.count = 4097, Err("out_of_range"));
        check(|h| h.base_time_ms = TIME_MS_MAX, Ok(()));
        check(|h| h.base_time_ms = TIME_MS_MAX + 1, Err("out_of_range"));
        check(|h| h.payload.len = BLOB_BYTES_MAX as u32, Ok(()));
        check(|h| h.payload.len = BLOB_BYTES_MAX as u32 + 1, Err("out_of_range"));
        check(|h| h.seen = Some(Seen { size: 1, root: Hash::ZERO }), Ok(()));
        check(|h| h.seen = Some(Seen { size: 0, root: Hash::ZERO }), Err("out_of_range"));
    }

    #[test]
    fn check_table() {
        check(|h| h.checks.clear(), Err("rule_broken"));
        check(|h| h.checks.push(row("home", 1, "elsewhere")), Err("twice"));
        check(|h| h.checks[0].target = "x".repeat(255), Ok(()));
        check(|h| h.checks[0].target = "x".repeat(256), Err("too_long"));
        check(|h| h.checks[0].target = "a\tb".to_owned(), Err("not_text"));
        let rows = |count: u64| (0..count).map(|revision| row("c", revision, "")).collect();
        check(|h| h.checks = rows(256), Ok(()));
        check(|h| h.checks = rows(257), Err("out_of_range"));
    }

    #[test]
    fn a_schema_to_come_is_refused() {
        let mut bytes = header().encode();
        bytes[0] = 2;
        let fault = BatchHeader::decode(&bytes).expect_err("schema 2 is unknown");
        assert_eq!(fault.to_string(), "header schema: expected a known code, got 2");
    }

    /// What the batcher relies on: a check table within its bound always fits.
    #[test]
    fn the_widest_header_fits() {
        let mut widest = header();
        widest.agent = AgentName::parse(&"a".repeat(63)).expect("a label");
        (widest.epoch, widest.seq_first) = (u64::MAX, u64::MAX - 4096);
        (widest.count, widest.base_time_ms) = (4096, TIME_MS_MAX);
        widest.payload.len = BLOB_BYTES_MAX as u32;
        widest.seen = Some(Seen { size: u64::MAX, root: Hash([5; 32]) });
        let agents = UnknownReason::ALL.iter().filter(|reason| reason.is_agents());
        let skipped: Vec<_> = agents.map(|reason| (*reason, u64::MAX / 10)).collect();
        let run = u64::MAX - skipped.len() as u64 * (u64::MAX / 10);
        widest.coverage = Coverage { scheduled: u64::MAX, run, skipped };

        let row_of = |revision| row(&"c".repeat(63), u64::MAX - revision, &"t".repeat(255));
        let row_len = row_of(0).encoded_len();
        widest.checks = (0..CHECK_TABLE_BYTES_MAX / row_len).map(|n| row_of(n as u64)).collect();
        let table_len = widest.checks.len() * row_len;
        let bytes = widest.encode();
        assert!(bytes.len() - table_len <= BATCH_FIXED_BYTES_MAX, "{}", bytes.len() - table_len);
        assert!(bytes.len() <= HEADER_BYTES_MAX);
        assert_eq!(BatchHeader::decode(&bytes), Ok(widest));
    }
}
