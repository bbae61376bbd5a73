//! A membership's bytes: a row of the state, and a field of a snapshot's head.

use std::collections::BTreeSet;

use proofmark_evidence::{ByteReader, ByteWriter, DecodeFault};

use super::Membership;
use crate::command::CodecFault;
use crate::limits::MEMBERS_MAX;

impl Membership {
    /// Four lists of ids, each ascending, and whether the joint phase ends by itself.
    pub(crate) fn encode_into(&self, out: &mut ByteWriter) {
        for ids in [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next] {
            out.varint(ids.len() as u64);
            for id in ids {
                out.varint(*id);
            }
        }
        out.bool(self.auto_leave);
    }

    /// # Errors
    /// Another spelling, or more members than a group has.
    pub(crate) fn decode_from(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            voters: take_ids(input)?,
            learners: take_ids(input)?,
            voters_outgoing: take_ids(input)?,
            learners_next: take_ids(input)?,
            auto_leave: input.bool("auto leave")?,
        })
    }
}

/// Strictly ascending: one spelling.
fn take_ids(input: &mut ByteReader<'_>) -> Result<BTreeSet<u64>, CodecFault> {
    let count = input.count("node ids", MEMBERS_MAX, 1)?;
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let id = input.varint("node id")?;
        if let Some(previous) = ids.last().copied().filter(|last| *last >= id) {
            let what = "node id";
            return Err(DecodeFault::NotAscending { what, previous, got: id }.into());
        }
        ids.insert(id);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Membership, String> {
        let mut input = ByteReader::new(bytes);
        Membership::decode_from(&mut input).map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_is_written_is_read_and_no_other_spelling_is() {
        let membership = Membership {
            voters: [1, 2].into(),
            learners: [7].into(),
            voters_outgoing: [1, 3].into(),
            learners_next: [3].into(),
            auto_leave: true,
        };
        let mut out = ByteWriter::new();
        membership.encode_into(&mut out);
        let bytes = out.into_bytes();
        assert_eq!(bytes, [2, 1, 2, 1, 7, 2, 1, 3, 1, 3, 1]);
        assert_eq!(decoded(&bytes), Ok(membership));
        let refused = |bytes: &[u8]| assert!(decoded(bytes).is_err(), "{bytes:?}");
        refused(&[2, 2, 1, 0, 0, 0, 0]);
        refused(&[2, 1, 1, 0, 0, 0, 0]);
        refused(&[1, 1, 0, 0, 0, 2]);
        refused(&[&[33][..], &[1; 40]].concat());
    }
}
