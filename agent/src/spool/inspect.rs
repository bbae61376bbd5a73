//! The spool as it lies there, judged as a start would judge it, and more closely: the chain from
//! batch to batch, and each signature.

use std::path::Path;

use proofmark_evidence::{Hash, KeyId, PublicKey};

use super::files::{FileOps, RealFiles};
use super::record::Record;
use super::segment::{self, Ending, Segment};
use super::{SpoolFault, display_name, read_fault};
use crate::fsck::{Finding, Next};

/// What a spool holds, acknowledged or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub segments: u64,
    pub batches: u64,
    pub bytes: u64,
    /// Epoch and number after the newest result; none while there is no batch.
    pub end: Option<(u64, u64)>,
    /// By which key the newest batch is signed.
    pub newest_key_id: Option<KeyId>,
    /// Files that an earlier start set aside.
    pub damaged_files: u64,
}

/// Judges every segment. `key` is the agent's own, by which its batches are signed.
pub fn inspect(dir: &Path, key: Option<&PublicKey>) -> Result<(Held, Vec<Finding>), SpoolFault> {
    let mut names = RealFiles.list(dir).map_err(|error| read_fault(dir, error))?;
    let damaged_files = names.iter().filter(|name| name.ends_with(".damaged")).count() as u64;
    names.retain(|name| segment::is_name(name));
    names.sort();
    let held = Held { damaged_files, ..Held::default() };
    let mut inspector = Inspector { key, held, findings: Vec::new(), before: None };
    for (at, name) in names.iter().enumerate() {
        let path = dir.join(name);
        let bytes = RealFiles.read(&path).map_err(|error| read_fault(&path, error))?;
        inspector.segment(&path, &bytes, at + 1 == names.len());
    }
    Ok((inspector.held, inspector.findings))
}

struct Inspector<'a> {
    key: Option<&'a PublicKey>,
    held: Held,
    findings: Vec<Finding>,
    /// Epoch and header hash of the newest batch seen.
    before: Option<(u64, Hash)>,
}

impl Inspector<'_> {
    fn segment(&mut self, path: &Path, bytes: &[u8], is_last: bool) {
        let (segment, ending) = segment::judge(path.to_owned(), bytes, is_last, self.held.end);
        self.held.segments += 1;
        self.held.bytes += bytes.len() as u64;
        self.held.end = segment.end().or(self.held.end);
        self.records(&segment, bytes);
        let left = bytes.len() as u64 - segment.len;
        match ending {
            Ending::Whole => {}
            Ending::Torn => {
                let message = format!("{left} bytes of an unfinished write after the last batch");
                self.find(path, segment.len, "spool_torn", message, Next::Mends);
            }
            Ending::Damaged => {
                let message = format!(
                    "expected a batch that follows the one before, got {left} \
                                       bytes that hold none"
                );
                self.find(path, segment.len, "spool_damaged", message, Next::SetsAside);
            }
        }
    }

    /// The good records, each looked into.
    fn records(&mut self, segment: &Segment, bytes: &[u8]) {
        let mut at = segment::START_BYTES;
        while at < segment.len
            && let Some((record, len)) = Record::decode(&bytes[narrow(at)..])
        {
            self.held.batches += 1;
            if let Err(message) = self.batch(&record) {
                self.find(&segment.path, at, "spool_batch", message, Next::SetsAside);
            }
            at += len as u64;
        }
    }

    /// Bytes whose checksum is right may still not be this agent's next batch.
    fn batch(&mut self, record: &Record) -> Result<(), String> {
        let before = self.before.replace((record.epoch, record.batch.leaf.header_hash()));
        let open = record.batch.open().map_err(|fault| fault.to_string())?;
        let numbers = (open.header.epoch, open.header.seq_first, open.header.seq_end());
        let expected = (record.epoch, record.seq_first, record.seq_end);
        if numbers != expected {
            return Err(format!("numbers: expected {expected:?}, got {numbers:?} in the batch"));
        }
        if let Some((epoch, hash)) = before
            && epoch == record.epoch
            && open.header.previous != hash
        {
            return Err("chain: expected the batch before it, got another's hash".to_owned());
        }
        self.held.newest_key_id = Some(open.header.key_id);
        match self.key {
            Some(key) if key.key_id() == open.header.key_id => {
                record.batch.leaf.verify(key).map_err(|fault| fault.to_string())
            }
            _ => Ok(()), // an earlier life's, or the agent's key is another one: said once
        }
    }

    fn find(&mut self, path: &Path, at: u64, slug: &str, message: String, next: Next) {
        self.findings.push(Finding {
            file: format!("spool/{}", display_name(path)),
            offset: Some(at),
            slug: slug.to_owned(),
            message,
            next,
        });
    }
}

fn narrow(at: u64) -> usize {
    usize::try_from(at).expect("a segment is a few megabytes")
}
