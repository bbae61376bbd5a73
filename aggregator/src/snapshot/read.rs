//! Reading a snapshot. In memory: one chunk, and the row that reaches into the next.

use std::io;
use std::sync::Arc;

use proofmark_evidence::sha256;

use super::head::{Head, PREFIX_BYTES, ROOT_BYTES};
use super::store::snapshot_name;
use super::{About, Descriptor, RowBytes, SnapshotFault, SnapshotFiles};

/// A snapshot whose head is whole. Its chunks are judged as they are read.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) files: Arc<dyn SnapshotFiles>,
    pub(super) name: String,
    pub(super) head: Head,
    descriptor: Descriptor,
}

impl Snapshot {
    pub(super) fn open(
        files: Arc<dyn SnapshotFiles>,
        index: u64,
    ) -> Result<Snapshot, SnapshotFault> {
        let snapshot = Snapshot::open_as(files, snapshot_name(index))?;
        match snapshot.descriptor.position.index {
            got if got == index => Ok(snapshot),
            got => {
                let why = format!("expected the snapshot at {index}, got one at {got}");
                Err(SnapshotFault::Head { name: snapshot.name, why })
            }
        }
    }

    pub(super) fn open_as(
        files: Arc<dyn SnapshotFiles>,
        name: String,
    ) -> Result<Snapshot, SnapshotFault> {
        let bad = |why| SnapshotFault::Head { name: name.clone(), why };
        let prefix = read_at(&*files, &name, 0, PREFIX_BYTES)?;
        let fields_len = Head::fields_len(&prefix).map_err(bad)?;
        let bytes = read_at(&*files, &name, 0, PREFIX_BYTES + fields_len + ROOT_BYTES)?;
        let (head, descriptor) = Head::decode(&bytes).map_err(bad)?;
        Ok(Snapshot { files, name, head, descriptor })
    }

    /// The file's name in its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn about(&self) -> &About {
        &self.head.about
    }

    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// The bytes before the first chunk, as they are on disk.
    pub fn head_bytes(&self) -> Vec<u8> {
        self.head.encode()
    }

    /// One chunk, compared with its hash.
    ///
    /// # Errors
    /// The disk refuses, or the bytes are not those that were written; no such chunk.
    pub fn chunk(&self, number: u32) -> Result<Vec<u8>, SnapshotFault> {
        let fault = || SnapshotFault::Chunk { name: self.name.clone(), number };
        let expected = self.head.chunk_hashes.get(number as usize).ok_or_else(fault)?;
        let (at, len) = (self.descriptor.chunk_at(number), self.descriptor.chunk_bytes(number));
        let bytes = read_at(&*self.files, &self.name, at, len)?;
        if sha256(&bytes) == *expected { Ok(bytes) } else { Err(fault()) }
    }

    /// All rows, in order. The first fault ends them.
    pub fn rows(&self) -> Rows<'_> {
        let bytes = Vec::new();
        Rows {
            snapshot: self,
            next_chunk: 0,
            bytes,
            at: 0,
            last_key: None,
            count: 0,
            is_over: false,
        }
    }
}

pub(super) fn read_at(
    files: &dyn SnapshotFiles,
    name: &str,
    at: u64,
    len: usize,
) -> Result<Vec<u8>, SnapshotFault> {
    files.read_at(name, at, len).map_err(|fault| match fault.kind() {
        io::ErrorKind::NotFound => SnapshotFault::Gone { name: name.to_owned() },
        _ => SnapshotFault::Disk { name: name.to_owned(), fault },
    })
}

/// The rows of a snapshot, each judged before it is handed out.
pub struct Rows<'a> {
    snapshot: &'a Snapshot,
    next_chunk: u32,
    /// Read; handed out up to `at`.
    bytes: Vec<u8>,
    at: usize,
    last_key: Option<Vec<u8>>,
    count: u64,
    is_over: bool,
}

impl Rows<'_> {
    /// A row, or the end. Whatever comes after a fault is nothing.
    fn next_row(&mut self) -> Result<Option<RowBytes>, SnapshotFault> {
        if !self.fill(1)? {
            return self.end();
        }
        let key = self.field()?;
        let value = self.field()?;
        if self.last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(self.fault("expected ascending keys, got one that does not"));
        }
        self.last_key = Some(key.clone());
        self.count += 1;
        Ok(Some((key, value)))
    }

    fn end(&self) -> Result<Option<RowBytes>, SnapshotFault> {
        let expected = self.snapshot.head.row_count;
        match self.count {
            got if got == expected => Ok(None),
            got => Err(self.fault(&format!("expected {expected} rows, got {got}"))),
        }
    }

    fn field(&mut self) -> Result<Vec<u8>, SnapshotFault> {
        let len = self.length()?;
        if !self.fill(len)? {
            let got = self.bytes.len() - self.at;
            return Err(self.fault(&format!("expected {len} bytes, got {got}")));
        }
        let field = self.bytes[self.at..][..len].to_vec();
        self.at += len;
        Ok(field)
    }

    fn length(&mut self) -> Result<usize, SnapshotFault> {
        let mut len = 0_u64;
        for shift in (0..35).step_by(7) {
            if !self.fill(1)? {
                return Err(self.fault("expected a length, got the end"));
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            len |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // Its last byte holds something, or it is the only one: one length, one spelling.
                let is_shortest = byte != 0 || shift == 0;
                let longer =
                    || self.fault("expected a length in its shortest form, got a longer one");
                return if is_shortest { Ok(len as usize) } else { Err(longer()) };
            }
        }
        Err(self.fault("expected a length of at most 35 bits, got a longer one"))
    }

    /// Reads on until `len` bytes are here; false when the file has no more.
    fn fill(&mut self, len: usize) -> Result<bool, SnapshotFault> {
        while self.bytes.len() - self.at < len {
            if self.next_chunk == self.snapshot.descriptor.chunk_count() {
                return Ok(false);
            }
            self.bytes.drain(..std::mem::take(&mut self.at));
            self.bytes.extend(self.snapshot.chunk(self.next_chunk)?);
            self.next_chunk += 1;
        }
        Ok(true)
    }

    fn fault(&self, why: &str) -> SnapshotFault {
        SnapshotFault::Rows { name: self.snapshot.name.clone(), why: why.to_owned() }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<RowBytes, SnapshotFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let row = self.next_row().transpose();
        self.is_over = !matches!(row, Some(Ok(_)));
        row
    }
}
