//! The documents in force, and the texts they came from.

use proofmark_evidence::limits::{AUTHOR_BYTES_MAX, BLOB_BYTES_MAX};
use proofmark_evidence::{ByteReader, ByteWriter};
use proofmark_spec::{Documents, Faults, Source, parse};

use super::row::{Row, Table};
use crate::command::{CodecFault, Refusal};
use crate::limits::{REFUSAL_FAULTS_MAX, REFUSAL_TEXT_BYTES_MAX, SPEC_TEXTS_BYTES_MAX};

/// One apply: the text exactly as it became evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecText {
    pub author: String,
    pub text: String,
    pub received_at_ms: u64,
    pub effective_at_ms: u64,
    pub leaf_index: u64,
}

/// All applies by revision (from 1, without gaps), and what they add up to.
#[derive(Clone, Debug)]
pub struct Specs {
    table: Table<SpecText>,
    /// Derived from the texts, in order.
    in_force: Documents,
    /// Derived: bytes of all texts.
    texts_bytes: u64,
}

impl Specs {
    pub(super) fn new() -> Self {
        Self { table: Table::new(), in_force: Documents::default(), texts_bytes: 0 }
    }

    /// What the newest revision says; agents act on it from its `effective_at_ms`.
    pub fn in_force(&self) -> &Documents {
        &self.in_force
    }

    /// The newest revision; 0 before the first apply.
    pub fn revision(&self) -> u64 {
        self.table.last().map_or(0, |(revision, _)| *revision)
    }

    pub fn newest(&self) -> Option<(u64, &SpecText)> {
        self.table.last().map(|(revision, text)| (*revision, text))
    }

    /// Every apply, oldest first.
    pub fn texts(&self) -> impl Iterator<Item = (u64, &SpecText)> {
        self.table.iter().map(|(revision, text)| (*revision, text))
    }

    /// What would be in force with this text; all its faults if it may not be. Changes nothing.
    pub(super) fn judge(&self, author: &str, text: &str) -> Result<Documents, Refusal> {
        let is_line = !author.is_empty() && !author.chars().any(char::is_control);
        if !is_line || author.len() > AUTHOR_BYTES_MAX {
            let (limit_bytes, got_bytes) = (AUTHOR_BYTES_MAX as u64, author.len() as u64);
            return Err(Refusal::AuthorMalformed { limit_bytes, got_bytes });
        }
        check_bytes(BLOB_BYTES_MAX as u64, text.len() as u64)?;
        check_bytes(SPEC_TEXTS_BYTES_MAX, self.texts_bytes + text.len() as u64)?;
        merged(&self.in_force, self.revision() + 1, text).map_err(|faults| refusal_of(&faults))
    }

    /// Puts documents that [`Specs::judge`] returned into force, as the next revision.
    pub(super) fn apply(&mut self, text: SpecText, in_force: Documents) {
        self.texts_bytes += text.text.len() as u64;
        self.in_force = in_force;
        self.table.insert(self.revision() + 1, text);
    }

    /// After all rows are loaded: the documents again, from their texts.
    pub(super) fn restore(&mut self) -> Result<(), Faults> {
        for (revision, text) in self.table.iter() {
            self.in_force = merged(&self.in_force, *revision, &text.text)?;
            self.texts_bytes += text.text.len() as u64;
        }
        Ok(())
    }

    pub(super) fn table(&mut self) -> &mut Table<SpecText> {
        &mut self.table
    }

    pub(super) fn rows(&self) -> &Table<SpecText> {
        &self.table
    }

    pub(super) fn check(&self, leaf_count: u64) -> Result<(), String> {
        let are_numbered = (1..).zip(self.texts()).all(|(want, (revision, _))| want == revision);
        let are_in_log = self.texts().all(|(_, text)| text.leaf_index < leaf_count);
        let bytes: u64 = self.texts().map(|(_, text)| text.text.len() as u64).sum();
        match are_numbered && are_in_log && bytes == self.texts_bytes {
            true => Ok(()),
            false => Err(format!("specs: {} texts of {bytes} bytes", self.table.len())),
        }
    }
}

/// The same steps and the same file name as whoever replays the log, so that faults are equal.
fn merged(in_force: &Documents, revision: u64, text: &str) -> Result<Documents, Faults> {
    let file = format!("revision-{revision}.yaml");
    let merged = in_force.merge(&parse(&[Source { file: &file, text }])?);
    merged.resolve()?;
    Ok(merged)
}

fn check_bytes(limit_bytes: u64, got_bytes: u64) -> Result<(), Refusal> {
    match got_bytes <= limit_bytes {
        true => Ok(()),
        false => Err(Refusal::SpecsFull { limit_bytes, got_bytes }),
    }
}

fn refusal_of(faults: &Faults) -> Refusal {
    let lines = faults.to_lines().into_iter().take(REFUSAL_FAULTS_MAX);
    Refusal::SpecFaults(lines.map(|line| cut(line, REFUSAL_TEXT_BYTES_MAX)).collect())
}

fn cut(mut line: String, bytes_max: usize) -> String {
    line.truncate(line.floor_char_boundary(bytes_max));
    line
}

impl Row for SpecText {
    const TAG: u8 = b's';
    type Key = u64;

    fn put(&self, out: &mut ByteWriter) {
        out.text(&self.author).text(&self.text);
        out.varint(self.received_at_ms).varint(self.effective_at_ms).varint(self.leaf_index);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            author: input.text("author", AUTHOR_BYTES_MAX)?.to_owned(),
            text: input.text("text", BLOB_BYTES_MAX)?.to_owned(),
            received_at_ms: input.varint("received at")?,
            effective_at_ms: input.varint("effective at")?,
            leaf_index: input.varint("leaf index")?,
        })
    }
}
