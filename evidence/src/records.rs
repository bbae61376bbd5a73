//! What the log itself signs: changes of specs and keys, and the decisions drawn from results.

use crate::batch::{read_agent, read_check};
use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::codes::closed_list;
use crate::hash::Hash;
use crate::header::{self, BlobRef};
use crate::key::{KeyId, PublicKey};
use crate::limits::{AUTHOR_BYTES_MAX, COVERAGE_ROWS_COUNT_MAX, NODES_COUNT_MAX, ORIGIN_BYTES_MAX};
use crate::name::{AgentName, CheckName, Origin};

/// Specs were applied. The payload blob is the YAML text exactly as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecChange {
    pub log_id: Hash,
    pub key_id: KeyId,
    /// From 1, one more with each change.
    pub revision: u64,
    pub received_at_ms: u64,
    /// Never before it was received.
    pub effective_at_ms: u64,
    /// One line of at most 63 bytes.
    pub author: String,
    pub payload: BlobRef,
}

impl SpecChange {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = header::start(self.log_id, self.key_id);
        writer
            .varint(self.revision)
            .varint(self.received_at_ms)
            .varint(self.effective_at_ms);
        writer.text(&self.author);
        self.payload.write(&mut writer);
        writer.into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<SpecChange, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let (log_id, key_id) = header::read_start(&mut reader)?;
        let revision = reader.ranged("revision", 1, u64::MAX)?;
        let received_at_ms = header::read_time_ms(&mut reader, "received at")?;
        let effective_at_ms = header::read_time_ms(&mut reader, "effective at")?;
        if effective_at_ms < received_at_ms {
            let rule = "expected a time not before the change was received";
            return Err(DecodeFault::Rule {
                what: "effective at",
                rule,
            });
        }
        let author = reader.line("author", AUTHOR_BYTES_MAX)?.to_owned();
        let payload = BlobRef::read(&mut reader)?;
        reader.finish("spec change")?;
        Ok(SpecChange {
            log_id,
            key_id,
            revision,
            received_at_ms,
            effective_at_ms,
            author,
            payload,
        })
    }
}

/// Which keys are in force from here on. There is no payload blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    pub log_id: Hash,
    pub key_id: KeyId,
    pub at_ms: u64,
    pub change: KeyChangeKind,
}

/// Codes 1, 2 and 3 in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChangeKind {
    /// The log's first leaf: its name, its key, and the nodes that cosign it.
    Genesis {
        origin: Origin,
        log_key: PublicKey,
        /// Cosigner names (they follow the rule of `Origin`), ascending, and keys.
        nodes: Vec<(String, PublicKey)>,
    },
    /// An agent begins a life.
    Enrol {
        agent: AgentName,
        key: PublicKey,
        epoch: u64,
    },
    /// An agent's life is over; what it signs from here on is refused.
    Retire { agent: AgentName },
}

impl KeyChange {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = header::start(self.log_id, self.key_id);
        writer.varint(self.at_ms);
        self.change.write(&mut writer);
        writer.into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<KeyChange, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let (log_id, key_id) = header::read_start(&mut reader)?;
        let at_ms = header::read_time_ms(&mut reader, "key change at")?;
        let change = KeyChangeKind::read(&mut reader)?;
        reader.finish("key change")?;
        Ok(KeyChange {
            log_id,
            key_id,
            at_ms,
            change,
        })
    }
}

impl KeyChangeKind {
    /// `genesis`, `enrol` or `retire`.
    pub fn slug(&self) -> &'static str {
        match self {
            KeyChangeKind::Genesis { .. } => "genesis",
            KeyChangeKind::Enrol { .. } => "enrol",
            KeyChangeKind::Retire { .. } => "retire",
        }
    }

    fn write(&self, writer: &mut ByteWriter) {
        match self {
            KeyChangeKind::Genesis {
                origin,
                log_key,
                nodes,
            } => {
                writer
                    .u8(1)
                    .text(origin.as_str())
                    .fixed(&log_key.0)
                    .varint(nodes.len() as u64);
                for (name, key) in nodes {
                    writer.text(name).fixed(&key.0);
                }
            }
            KeyChangeKind::Enrol { agent, key, epoch } => {
                writer
                    .u8(2)
                    .text(agent.as_str())
                    .fixed(&key.0)
                    .varint(*epoch);
            }
            KeyChangeKind::Retire { agent } => {
                writer.u8(3).text(agent.as_str());
            }
        }
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<KeyChangeKind, DecodeFault> {
        match reader.u8("key change")? {
            1 => Ok(KeyChangeKind::Genesis {
                origin: read_origin(reader, "origin")?,
                log_key: PublicKey(reader.fixed("log key")?),
                nodes: read_nodes(reader)?,
            }),
            2 => Ok(KeyChangeKind::Enrol {
                agent: read_agent(reader)?,
                key: PublicKey(reader.fixed("agent key")?),
                epoch: reader.ranged("epoch", 1, u64::MAX)?,
            }),
            3 => Ok(KeyChangeKind::Retire {
                agent: read_agent(reader)?,
            }),
            got => Err(DecodeFault::UnknownCode {
                what: "key change",
                got: got.into(),
            }),
        }
    }
}

fn read_origin(reader: &mut ByteReader<'_>, what: &'static str) -> Result<Origin, DecodeFault> {
    let text = reader.line(what, ORIGIN_BYTES_MAX)?;
    Origin::parse(text).map_err(|fault| DecodeFault::Name { what, fault })
}

/// At least one node, names strictly ascending.
fn read_nodes(reader: &mut ByteReader<'_>) -> Result<Vec<(String, PublicKey)>, DecodeFault> {
    let what = "nodes";
    let count = reader.count(what, NODES_COUNT_MAX, 34)?;
    if count == 0 {
        return Err(DecodeFault::Rule {
            what,
            rule: "expected at least one node",
        });
    }
    let mut nodes: Vec<(String, PublicKey)> = Vec::with_capacity(count);
    for _ in 0..count {
        let name = read_origin(reader, "node name")?.as_str().to_owned();
        if nodes.last().is_some_and(|(previous, _)| *previous >= name) {
            return Err(DecodeFault::Rule {
                what,
                rule: "expected ascending names, each once",
            });
        }
        nodes.push((name, PublicKey(reader.fixed("node key")?)));
    }
    Ok(nodes)
}

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
        let kind = DecisionKind::from_code(code).ok_or(DecodeFault::UnknownCode {
            what,
            got: code.into(),
        })?;
        let payload = BlobRef::read(&mut reader)?;
        reader.finish("decision")?;
        Ok(Decision {
            log_id,
            key_id,
            at_ms,
            kind,
            payload,
        })
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
            if rows
                .last()
                .is_some_and(|last| (&last.check, &last.agent) >= key)
            {
                let rule = "expected ascending (check, agent), each once";
                return Err(DecodeFault::Rule { what, rule });
            }
            rows.push(row);
        }
        reader.finish(what)?;
        Ok(rows)
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<CoverageRow, DecodeFault> {
        let (check, agent) = (read_check(reader)?, read_agent(reader)?);
        let (what, code) = ("silence change", reader.u8("silence change")?);
        let change = SilenceChange::from_code(code).ok_or(DecodeFault::UnknownCode {
            what,
            got: code.into(),
        })?;
        Ok(CoverageRow {
            check,
            agent,
            change,
            since_ms: header::read_time_ms(reader, "since")?,
        })
    }
}
