//! The data of one Raft entry: many commands under one stamp (group commit).

use proofmark_evidence::{ByteReader, ByteWriter};

use super::Command;
use super::fields::{CodecFault, take_version};
use crate::limits::{ENTRY_COMMANDS_BYTES_MAX, ENTRY_COMMANDS_MAX};

/// The version of the encoding of an entry.
const ENTRY_VERSION: u8 = 1;

/// What one Raft entry carries. The leader stamps it once, just before it proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The leader's wall clock, Unix milliseconds. The state clamps it so that it never goes back.
    pub stamped_at_ms: u64,
    /// Applied in this order; each has exactly one reply.
    pub commands: Vec<Command>,
}

impl Entry {
    /// Version byte, stamp, count, then each command behind its length.
    pub fn encode(&self) -> Vec<u8> {
        let encoded: Vec<Vec<u8>> = self.commands.iter().map(Command::encode).collect();
        Self::pack(self.stamped_at_ms, &encoded)
    }

    /// The same bytes as [`Entry::encode`], from commands that are encoded already (forwarded
    /// ones are, and a leader that packs by size has encoded its own).
    pub fn pack(stamped_at_ms: u64, encoded: &[Vec<u8>]) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.u8(ENTRY_VERSION);
        out.varint(stamped_at_ms);
        out.varint(encoded.len() as u64);
        for command in encoded {
            out.bytes(command);
        }
        out.into_bytes()
    }

    /// The inverse of [`Entry::encode`]. A fault here means that replicas run different
    /// programs or that the Raft log is damaged: the caller must stop, never skip.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut input = ByteReader::new(bytes);
        take_version(&mut input, ENTRY_VERSION)?;
        let stamped_at_ms = input.varint("stamped at")?;
        let count = input.count("commands", ENTRY_COMMANDS_MAX, 1)?;
        let commands = (0..count)
            .map(|_| Command::decode(input.bytes("command", ENTRY_COMMANDS_BYTES_MAX)?))
            .collect::<Result<_, CodecFault>>()?;
        input.finish("entry")?;
        Ok(Self { stamped_at_ms, commands })
    }
}
