//! The spool: sealed batches that no aggregator has acknowledged yet, on disk.
//!
//! It is the only copy of what was measured, so a batch is durable here before it is offered to
//! anyone, and it leaves only after an ack. It trusts nobody else's files: the directory belongs to
//! this agent alone. Read [`record`] for the bytes, [`segment`] for how a file is judged, [`files`]
//! for the disk, [`keeper`] for the thread that owns it all.
//!
//! **After a crash.** A record that was not wholly written can only be the last one of the last
//! segment; it was never offered, so it is cut off. Its sequence numbers are given out again.
//!
//! **After damage** (a bad record that has good ones behind it, or a hole between segments) the
//! batches before it stay. The damaged file and all later ones are kept beside as `*.damaged`:
//! their batches chain to bytes that are gone, so no aggregator could take them. Whether anything
//! is lost only the aggregator knows: its `Welcome` names the next number it wants. If that lies
//! behind the damage, what it names had arrived. If not, the numbers from the damage on are given
//! out anew (nobody has accepted them), and the first batch so numbered says, for each check, how
//! many runs were lost: `spool_damaged`. The agent does that, see `agent/outbox.rs`.
//!
//! **When full** the oldest batches stay; `append` refuses, and the agent counts what it cannot
//! keep (`spool_full`).
//!
//! **After acks** whole segments are deleted, but never the newest: its last record is where the
//! chain of batches goes on after a restart without an aggregator. How far the acks had come is not
//! written down; batches sent twice are recognised by their numbers.

mod files;
mod inspect;
mod keeper;
mod record;
mod segment;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use proofmark_evidence::SealedBatch;

use crate::limits::SEGMENT_BYTES_MAX;
use segment::{Ending, Segment};

pub use files::{FileOps, RealFiles, WriteFault, remove_file, replace_file, sync_names};
pub use inspect::{Held, inspect};
pub use keeper::{Keeper, Order, Report, carry_out};
pub use record::Record;

/// What the spool cannot do. Sorted by who must act.
#[derive(Debug, thiserror::Error)]
pub enum SpoolFault {
    /// Nobody: acks make room.
    #[error("spool: expected at most {expected} bytes, got {got}")]
    Full { expected: u64, got: u64 },
    /// The host's operator: the disk is full or refuses. Tried again later.
    #[error("spool: cannot write {path}: {error}")]
    Write { path: String, error: io::Error },
    /// The host's operator: what a failed sync leaves nobody knows, so the process must end; the
    /// next start reads what is really there.
    #[error("spool: cannot sync {path}: {error}")]
    Sync { path: String, error: io::Error },
    #[error("spool: cannot read {path}: {error}")]
    Read { path: String, error: io::Error },
}

impl SpoolFault {
    pub fn slug(&self) -> &'static str {
        match self {
            SpoolFault::Full { .. } => "spool_full",
            SpoolFault::Write { .. } => "spool_write",
            SpoolFault::Sync { .. } => "spool_sync",
            SpoolFault::Read { .. } => "spool_read",
        }
    }

    /// Whether the same append may be tried again in this process.
    pub fn may_pass(&self) -> bool {
        matches!(self, SpoolFault::Full { .. } | SpoolFault::Write { .. })
    }
}

/// What [`Spool::open`] found wrong and put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Names of the files kept beside.
    pub files: Vec<String>,
}

/// The batches on disk, in order of epoch and sequence number.
pub struct Spool<F: FileOps> {
    files: F,
    dir: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// A write to the newest segment failed: what lies behind its known length is not ours.
    tail_is_unsure: bool,
}

impl<F: FileOps> Spool<F> {
    /// Reads what is there: cuts a torn tail, sets damage aside.
    pub fn open(
        files: F,
        dir: &Path,
        bytes_max: u64,
    ) -> Result<(Spool<F>, Option<Damage>), SpoolFault> {
        let mut names = files.list(dir).map_err(|error| read_fault(dir, error))?;
        names.retain(|name| segment::is_name(name));
        names.sort();
        let segments = VecDeque::new();
        let dir = dir.to_path_buf();
        let mut spool = Spool { files, dir, bytes_max, segments, tail_is_unsure: false };
        let damage = spool.load(&names)?;
        Ok((spool, damage))
    }

    /// Makes one batch durable. When this returns an error that may pass, call it again with the
    /// same batch: its bytes may or may not be on disk already.
    pub fn append(&mut self, record: &Record) -> Result<(), SpoolFault> {
        let bytes = record.encode();
        let len = bytes.len() as u64;
        let got = self.bytes() + len;
        if got > self.bytes_max {
            return Err(SpoolFault::Full { expected: self.bytes_max, got });
        }
        self.forget_unsure_tail()?;
        match self.segments.back().filter(|newest| newest.len + len <= self.segment_bytes_max()) {
            Some(_) => self.append_to_newest(record, &bytes),
            None => self.append_to_new(record, &bytes),
        }
    }

    /// The stored batch that holds this sequence number, or else the first one after it.
    pub fn fetch(&self, epoch: u64, seq: u64) -> Result<Option<SealedBatch>, SpoolFault> {
        let mut found = self.segments.iter().filter_map(|segment| segment.find(epoch, seq));
        let Some((path, at, len)) = found.next() else { return Ok(None) };
        let bytes = self.files.read_at(&path, at, len).map_err(|error| read_fault(&path, error))?;
        match Record::decode(&bytes) {
            Some((record, _)) => Ok(Some(record.batch)),
            None => {
                let error = io::Error::new(io::ErrorKind::InvalidData, "a record went bad");
                Err(read_fault(&path, error))
            }
        }
    }

    /// Deletes the segments whose batches all came before `seq_end` of `epoch`, except the newest.
    pub fn acked(&mut self, epoch: u64, seq_end: u64) -> Result<(), SpoolFault> {
        while self.segments.len() > 1 && self.segments[0].is_before(epoch, seq_end) {
            let path = self.segments[0].path.clone();
            self.files.remove(&path).map_err(|fault| fault.at(&path))?;
            self.segments.pop_front();
            // A crash here leaves fewer acknowledged batches; start-up reads what is left.
        }
        Ok(())
    }

    /// Makes `seq` of `epoch` the number of the next record. Batches that hold it or come after it
    /// are ones no aggregator will take: they leave the spool, and their files stay beside. So do
    /// the ones before it, if they end elsewhere than at `seq`.
    pub fn rejoin(&mut self, epoch: u64, seq: u64) -> Result<Damage, SpoolFault> {
        self.forget_unsure_tail()?;
        let mut files = Vec::new();
        let found = self.segments.iter().position(|segment| segment.find(epoch, seq).is_some());
        while let Some(first) = found
            && self.segments.len() > first + 1
        {
            files.extend(self.put_newest_beside()?);
        }
        // A crash here leaves a shorter spool that still holds `seq`; the next resync comes back.
        if found.is_some() {
            files.push(self.cut_newest_from(epoch, seq)?);
        }
        while self.segments.back().is_some_and(|newest| newest.end() != Some((epoch, seq))) {
            files.extend(self.put_newest_beside()?);
        }
        Ok(Damage { files })
    }

    /// The newest batch, acknowledged or not: where the chain goes on.
    pub fn newest(&self) -> Result<Option<SealedBatch>, SpoolFault> {
        match self.segments.back().and_then(Segment::newest) {
            Some((epoch, seq)) => self.fetch(epoch, seq),
            None => Ok(None),
        }
    }

    /// Bytes of all segments on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// Only whole segments are deleted, and never the newest: with a quarter each, acks make room.
    fn segment_bytes_max(&self) -> u64 {
        SEGMENT_BYTES_MAX.min(self.bytes_max / 4)
    }

    fn load(&mut self, names: &[String]) -> Result<Option<Damage>, SpoolFault> {
        let mut aside = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let path = self.dir.join(name);
            if !aside.is_empty() {
                aside.push(self.put_beside(&path)?);
                continue;
            }
            let bytes = self.files.read(&path).map_err(|error| read_fault(&path, error))?;
            let is_last = index + 1 == names.len();
            let before = self.segments.back().and_then(Segment::end);
            let (segment, ending) = segment::judge(path.clone(), &bytes, is_last, before);
            match ending {
                Ending::Whole => {}
                Ending::Torn => self.cut(&path, segment.len)?,
                Ending::Damaged => aside.push(self.keep_until(&path, segment.len)?),
            }
            if segment.newest().is_some() {
                self.segments.push_back(segment);
            }
        }
        self.write_newest_again()?;
        Ok((!aside.is_empty()).then_some(Damage { files: aside }))
    }

    /// Writes the newest record once more, as it is. Its sync may have failed in the process before
    /// this one: then it is read from memory here, the disk does not have it, and no further sync
    /// would bring it there. All before it were synced, or it would not have been written.
    fn write_newest_again(&mut self) -> Result<(), SpoolFault> {
        let newest = self.segments.back().and_then(|newest| newest.find_newest());
        let Some((path, at, len)) = newest else { return Ok(()) };
        let bytes = self.files.read_at(&path, at, len).map_err(|error| read_fault(&path, error))?;
        // A crash here leaves the record as it was: the bytes are the same.
        self.files.append(&path, at, &bytes).map_err(|fault| fault.at(&path))
    }

    fn append_to_newest(&mut self, record: &Record, bytes: &[u8]) -> Result<(), SpoolFault> {
        let newest = self.segments.back_mut().expect("the caller found room in it");
        let written = self.files.append(&newest.path, newest.len, bytes);
        // A crash here leaves the record whole, torn or absent; start-up keeps, cuts or misses it.
        // It was offered to nobody, so each of the three is right.
        if let Err(fault) = written {
            self.tail_is_unsure = true;
            return Err(fault.at(&newest.path));
        }
        newest.note(record, bytes.len());
        Ok(())
    }

    /// A new segment is written whole with its first record, so a retry simply writes it again.
    fn append_to_new(&mut self, record: &Record, bytes: &[u8]) -> Result<(), SpoolFault> {
        let mut segment = Segment::starting_with(&self.dir, record);
        let whole = [segment::MAGIC.as_slice(), bytes].concat();
        // A crash in this call leaves a file that is whole, torn or absent; as above.
        self.files.create(&segment.path, &whole).map_err(|fault| fault.at(&segment.path))?;
        segment.note(record, bytes.len());
        self.segments.push_back(segment);
        Ok(())
    }

    fn forget_unsure_tail(&mut self) -> Result<(), SpoolFault> {
        if self.tail_is_unsure
            && let Some(newest) = self.segments.back()
        {
            let cut = self.files.truncate(&newest.path, newest.len);
            cut.map_err(|fault| fault.at(&newest.path))?;
        }
        self.tail_is_unsure = false;
        Ok(())
    }

    fn put_newest_beside(&mut self) -> Result<Option<String>, SpoolFault> {
        let Some(newest) = self.segments.back() else { return Ok(None) };
        let path = newest.path.clone();
        let name = self.put_beside(&path)?;
        self.segments.pop_back();
        Ok(Some(name))
    }

    fn cut_newest_from(&mut self, epoch: u64, seq: u64) -> Result<String, SpoolFault> {
        let newest = self.segments.back_mut().expect("the caller found `seq` in it");
        let (path, at) = (newest.path.clone(), newest.forget_from(epoch, seq));
        let name = self.keep_until(&path, at)?;
        if at <= segment::START_BYTES {
            self.segments.pop_back();
        }
        Ok(name)
    }

    fn put_beside(&mut self, path: &Path) -> Result<String, SpoolFault> {
        let beside = self.free_name_beside(path)?;
        self.files.rename(path, &beside).map_err(|fault| fault.at(path))?;
        Ok(display_name(&beside))
    }

    /// Copies the file beside, then cuts it after its good records.
    fn keep_until(&mut self, path: &Path, len: u64) -> Result<String, SpoolFault> {
        let beside = self.free_name_beside(path)?;
        let bytes = self.files.read(path).map_err(|error| read_fault(path, error))?;
        self.files.create(&beside, &bytes).map_err(|fault| fault.at(&beside))?;
        // A crash here leaves the copy and the file uncut; start-up judges the file again and
        // makes one more copy.
        self.cut(path, len)?;
        Ok(display_name(&beside))
    }

    fn cut(&mut self, path: &Path, len: u64) -> Result<(), SpoolFault> {
        let cut = match len <= segment::START_BYTES {
            true => self.files.remove(path),
            false => self.files.truncate(path, len),
        };
        cut.map_err(|fault| fault.at(path))
    }

    fn free_name_beside(&self, path: &Path) -> Result<PathBuf, SpoolFault> {
        let taken = self.files.list(&self.dir).map_err(|error| read_fault(&self.dir, error))?;
        let name = display_name(path);
        let free = (1..).map(|number| format!("{name}.{number}.damaged"));
        let mut free = free.filter(|name| !taken.contains(name));
        Ok(self.dir.join(free.next().expect("a directory holds finitely many names")))
    }
}

fn read_fault(path: &Path, error: io::Error) -> SpoolFault {
    SpoolFault::Read { path: path.display().to_string(), error }
}

fn display_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
