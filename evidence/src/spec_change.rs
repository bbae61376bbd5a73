//! A change of specs, signed by the log.

use crate::bytes::{ByteReader, DecodeFault};
use crate::hash::Hash;
use crate::header::{self, BlobRef};
use crate::key::KeyId;
use crate::limits::AUTHOR_BYTES_MAX;

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
        writer.varint(self.revision).varint(self.received_at_ms).varint(self.effective_at_ms);
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
            return Err(DecodeFault::Rule { what: "effective at", rule });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TIME_MS_MAX;

    fn check_spec_change(change: impl FnOnce(&mut SpecChange), expect: Result<(), &'static str>) {
        let mut header = SpecChange {
            log_id: Hash([1; 32]),
            key_id: KeyId(Hash([2; 32])),
            revision: 1,
            received_at_ms: 1000,
            effective_at_ms: 1000,
            author: "ada".to_owned(),
            payload: BlobRef::of(b"kind: Check\n"),
        };
        change(&mut header);
        let read = SpecChange::decode(&header.encode());
        assert_eq!(read.map(drop).map_err(|fault| fault.slug()), expect, "{header:?}");
    }

    #[test]
    fn spec_changes() {
        check_spec_change(|_| {}, Ok(()));
        check_spec_change(|change| change.revision = 0, Err("out_of_range"));
        check_spec_change(|change| change.effective_at_ms = 999, Err("rule_broken"));
        check_spec_change(|change| change.effective_at_ms = TIME_MS_MAX + 1, Err("out_of_range"));
        check_spec_change(|change| change.author = "x".repeat(64), Err("too_long"));
        check_spec_change(|change| change.author = "a\nb".to_owned(), Err("not_text"));
    }
}
