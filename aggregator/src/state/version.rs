//! Which commands every replica knows: raised once, by a leader that has heard it from all.

use proofmark_evidence::{ByteReader, ByteWriter};

use super::effect::Effect;
use super::row::Row;
use super::{Applied, State};
use crate::command::{CodecFault, Founder, Refusal, Reply};

/// The version in force. No row: 1, as in every cluster's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u64);

impl State {
    /// The set of commands that every replica knows.
    pub fn version(&self) -> u64 {
        self.version.get(&()).map_or(1, |version| version.0)
    }

    pub(super) fn need_version(&self, expected: u64) -> Result<(), Refusal> {
        match self.version() {
            got if got < expected => Err(Refusal::VersionTooLow { expected, got }),
            _ => Ok(()),
        }
    }

    /// One step up, and what that version wants to know. From here on a replica of an older
    /// program cannot follow.
    pub(super) fn raise_version(&mut self, to: u64, founders: &[Founder]) -> Applied {
        let expected = self.version() + 1;
        if to != expected {
            return Err(Refusal::VersionStep { expected, got: to });
        }
        let genesis = self.genesis.get(&()).expect("dispatch wants a genesis first");
        self.members.found(genesis, founders)?;
        self.version.insert((), Version(to));
        Ok(vec![Effect::Reply(Reply::Done)])
    }
}

impl Row for Version {
    const TAG: u8 = b'v';
    type Key = ();

    fn put(&self, out: &mut ByteWriter) {
        out.varint(self.0);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self(input.varint("version")?))
    }
}
