//! The saved state: one file that is there whole or not at all.
//!
//! It stands in for the tables (sled owns its own files and threads, which no virtual disk can take
//! the place of) and keeps their promise: loaded is loaded right, or not at all.

use std::collections::BTreeMap;
use std::io;

use proofmark_aggregator::state::State;
use proofmark_evidence::{ByteReader, ByteWriter, DecodeFault, FileOps, sha256};

use crate::sim::disk::{Disk, EvidenceFiles};

const FILE: &str = "tables";
const SCRATCH: &str = "tables.tmp";
const BYTES_MAX: usize = 16 << 20;

pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Durable when it returns.
pub(super) fn save(disk: &Disk, rows: &Rows) -> io::Result<()> {
    let mut out = ByteWriter::new();
    out.varint(rows.len() as u64);
    for (key, value) in rows {
        out.bytes(key).bytes(value);
    }
    let body = out.into_bytes();
    let bytes = [&sha256(&body).0[..], &body].concat();
    let mut files = EvidenceFiles::new(disk, "");
    files.write(SCRATCH, &bytes)?;
    // A crash here leaves a scratch file that the next save overwrites.
    files.rename(SCRATCH, FILE)?;
    files.sync_dir("")
}

/// The rows and their state, if there are any that are whole.
pub(super) fn load(disk: &Disk) -> io::Result<Option<(State, Rows)>> {
    if !disk.exists(FILE) {
        return Ok(None);
    }
    let bytes = disk.read(FILE)?;
    let Some((digest, body)) = bytes.split_first_chunk::<32>() else { return Ok(None) };
    if sha256(body).0 != *digest {
        return Ok(None);
    }
    let Ok(rows) = decode(body) else { return Ok(None) };
    Ok(State::from_rows(rows.clone()).ok().map(|state| (state, rows)))
}

fn decode(body: &[u8]) -> Result<Rows, DecodeFault> {
    let mut input = ByteReader::new(body);
    let count = input.varint("rows")?;
    let mut rows = Rows::new();
    for _ in 0..count {
        let key = input.bytes("key", BYTES_MAX)?.to_vec();
        rows.insert(key, input.bytes("value", BYTES_MAX)?.to_vec());
    }
    Ok(rows)
}
