//! A virtual disk: files of blocks, names in directories, and all that can happen to both.
//!
//! Bytes are durable once their file is synced, names once their directory is. Everything else is
//! kept or lost in a power cut as the seed has it. A killed process loses nothing of either: the
//! next one reads what was never synced, and a later power cut may still take it.
//!
//! A fault is armed for a [`Site`] and strikes when a program comes by there. From then on the disk
//! answers nothing but errors until its node has started again.

mod content;
mod coverage;
mod files;
mod names;
mod raft_files;
mod site;
mod snapshot_files;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use content::Content;
pub use coverage::Coverage;
pub(super) use files::{EvidenceFiles, SpoolFiles};
use names::{Names, Node, parent};
pub(super) use raft_files::RaftFiles;
pub use site::{Class, Fault, Op, Site};
pub(super) use snapshot_files::SnapshotFiles;

use super::rng::Rng;

/// Faults that wait on one disk at a time; one more takes the oldest one's place.
const ARMED_MAX: usize = 4;

/// Clones share it.
#[derive(Clone)]
pub(super) struct Disk {
    state: Arc<Mutex<State>>,
}

struct State {
    names: Names,
    contents: Vec<Content>,
    /// Tears happen at multiples of it.
    block_bytes: usize,
    /// How much of a torn write is made before power goes, in thousandths.
    torn_permille: usize,
    /// Oldest first.
    armed: VecDeque<(Site, Fault)>,
    struck: Option<Struck>,
    flipped: Option<(String, usize)>,
    coverage: Coverage,
    lies: Lies,
}

/// A fault that has happened; the node is down until it is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Struck {
    pub(super) site: Site,
    pub(super) fault: Fault,
}

/// Planted: what this disk only says it did, by class of file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lies {
    pub(super) sync: Option<Class>,
    pub(super) sync_dir: Option<Class>,
    /// All evidence at once: scratch files carry it.
    pub(super) evidence_sync: bool,
}

impl Disk {
    pub(super) fn new(block_bytes: usize, lies: Lies) -> Self {
        let state = State {
            names: Names::default(),
            contents: Vec::new(),
            block_bytes,
            torn_permille: 500,
            armed: VecDeque::new(),
            struck: None,
            flipped: None,
            coverage: Coverage::default(),
            lies,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the program under test is a failed run already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- what the world does to it ---

    /// The next program that comes by there meets this.
    pub(super) fn arm(&self, site: Site, fault: Fault, rng: &mut Rng) {
        let mut state = self.lock();
        state.armed.push_back((site, fault));
        if state.armed.len() > ARMED_MAX {
            state.armed.pop_front();
        }
        state.torn_permille = rng.index(1_001);
    }

    pub(super) fn disarm(&self) {
        self.lock().armed.clear();
    }

    /// What has struck, if anything; power and disk are well again.
    pub(super) fn take_struck(&self) -> Option<Struck> {
        self.lock().struck.take()
    }

    pub(super) fn struck(&self) -> Option<Struck> {
        self.lock().struck
    }

    pub(super) fn has_struck(&self) -> bool {
        self.struck().is_some()
    }

    /// What was not synced is lost, or parts of it.
    pub(super) fn power_cut(&self, rng: &mut Rng) {
        let state = &mut *self.lock();
        state.names.power_cut(rng);
        let block_bytes = state.block_bytes;
        state.contents.iter_mut().for_each(|content| content.power_cut(block_bytes, rng));
    }

    /// Turns one bit of one file whose path begins so. Says which file.
    pub(super) fn flip_bit(&self, begin: &str, rng: &mut Rng) -> Option<String> {
        let state = &mut *self.lock();
        let files = state.names.files().filter(|(path, place)| {
            path.starts_with(begin) && !state.contents[*place].bytes().is_empty()
        });
        let files: Vec<(String, usize)> =
            files.map(|(path, place)| (path.clone(), place)).collect();
        let (path, place) = files.get(rng.index(files.len().max(1)))?.clone();
        let bit = rng.index(state.contents[place].bytes().len() * 8);
        state.flip(&path, place, bit);
        Some(path)
    }

    /// The same before a file's newest write: no power cut can have left that.
    pub(super) fn flip_older_bit(&self, begin: &str, rng: &mut Rng) -> Option<String> {
        let state = &mut *self.lock();
        let older_bytes = |place: usize| state.contents[place].older_bytes();
        let files: Vec<(String, usize)> = (state.names.files())
            .filter(|(path, place)| path.starts_with(begin) && older_bytes(*place) > 0)
            .map(|(path, place)| (path.clone(), place))
            .collect();
        // The newest file, and of that the newer half: what is older may be of no use any more.
        let (path, place) = files.last()?.clone();
        let older_bits = 8 * older_bytes(place);
        let bit = older_bits / 2 + rng.index(older_bits - older_bits / 2);
        state.flip(&path, place, bit);
        Some(path)
    }

    /// The newest bit that turned: its file, and its place there in bytes.
    pub(super) fn flipped(&self) -> Option<(String, usize)> {
        self.lock().flipped.clone()
    }

    /// What was done until now was preparation.
    pub(super) fn count_from_here(&self) {
        self.lock().coverage = Coverage::default();
    }

    /// Where programs have come by so far.
    pub(super) fn visited(&self) -> Vec<Site> {
        self.lock().coverage.visited()
    }

    pub(super) fn note_slow(&self, class: Class) {
        self.lock().coverage.hit(Site { class, op: Op::Sync }, Fault::Slow);
    }

    pub(super) fn coverage(&self) -> Coverage {
        self.lock().coverage.clone()
    }

    /// Every file below `dir`, whole: for copies, as an operator makes them.
    pub(super) fn files_below(&self, dir: &str) -> Vec<(String, Vec<u8>)> {
        let state = self.lock();
        let files = state.names.files().filter(|(path, _)| path.starts_with(dir));
        files.map(|(path, place)| (path.clone(), state.contents[place].bytes().to_vec())).collect()
    }

    /// Removes everything below `dir`, durably.
    pub(super) fn wipe(&self, dir: &str) {
        let state = &mut *self.lock();
        let doomed: Vec<String> = (state.names.files())
            .filter(|(path, _)| path.starts_with(dir))
            .map(|(path, _)| path.clone())
            .collect();
        for path in doomed {
            state.names.unlink(&path);
            state.names.sync_dir(parent(&path));
        }
    }

    /// Puts a file there, durably, with the directories above it.
    pub(super) fn put(&self, path: &str, bytes: &[u8]) {
        let state = &mut *self.lock();
        for (end, _) in path.match_indices('/') {
            if !state.names.has_dir(&path[..end]) {
                state.names.link(&path[..end], Node::Dir);
                state.names.sync_dir(parent(&path[..end]));
            }
        }
        let place = state.new_file(path);
        state.contents[place].write(0, bytes);
        state.contents[place].sync();
        state.names.sync_dir(parent(path));
    }

    // --- what programs do with it ---

    pub(super) fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let state = self.lock();
        state.check_power()?;
        Ok(state.contents[state.file(path)?].bytes().to_vec())
    }

    pub(super) fn read_at(&self, path: &str, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let state = self.lock();
        state.check_power()?;
        let bytes = state.contents[state.file(path)?].bytes();
        let at = usize::try_from(at).expect("a small file");
        let range = bytes.get(at..at + len);
        range.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) fn len(&self, path: &str) -> io::Result<u64> {
        let state = self.lock();
        state.check_power()?;
        Ok(state.contents[state.file(path)?].bytes().len() as u64)
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.lock().names.get(path).is_some()
    }

    pub(super) fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.check_power()?;
        Ok(state.names.list(dir))
    }

    pub(super) fn is_dir(&self, path: &str) -> bool {
        self.lock().names.get(path) == Some(Node::Dir)
    }

    /// An empty file, whatever was there.
    pub(super) fn create(&self, path: &str) -> io::Result<()> {
        self.lock().step(path, Op::Create, |state| match state.names.get(path) {
            Some(Node::File(place)) => state.contents[place].cut(0),
            _ => drop(state.new_file(path)),
        })
    }

    pub(super) fn write_at(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let place = state.file(path)?;
        let at = usize::try_from(at).expect("a small file");
        let torn = bytes.len() * state.torn_permille / 1_000;
        let site = Site { class: Class::of(path), op: Op::Write };
        match state.strike(site)? {
            Some(fault @ (Fault::Torn | Fault::NoSpace)) => {
                state.contents[place].write(at, &bytes[..torn]);
                Err(fault_of(fault))
            }
            Some(fault) => {
                if fault == Fault::KillAfter {
                    state.contents[place].write(at, bytes);
                }
                Err(fault_of(fault))
            }
            None => {
                state.contents[place].write(at, bytes);
                Ok(())
            }
        }
    }

    pub(super) fn set_len(&self, path: &str, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        let place = state.file(path)?;
        state.step(path, Op::Cut, |state| {
            state.contents[place].cut(usize::try_from(len).expect("a small file"));
        })
    }

    pub(super) fn sync(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        let place = state.file(path)?;
        let class = Class::of(path);
        let is_lie = state.lies.sync == Some(class)
            || (state.lies.evidence_sync && path.starts_with("evidence"));
        state.step(path, Op::Sync, |state| {
            if !is_lie {
                state.contents[place].sync();
            }
        })
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let node = Node::File(state.file(from)?);
        state.step(to, Op::Rename, |state| state.names.rename(from, to, node))
    }

    /// A missing file is an error.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.file(path)?;
        state.step(path, Op::Remove, |state| state.names.unlink(path))
    }

    pub(super) fn remove_dir_if_empty(&self, dir: &str) {
        let state = &mut *self.lock();
        if state.struck.is_none() && state.names.list(dir).is_empty() && state.names.has_dir(dir) {
            state.names.unlink(dir);
        }
    }

    pub(super) fn make_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        if state.names.has_dir(dir) {
            return state.check_power();
        }
        assert!(state.names.has_dir(parent(dir)), "{dir}: no directory to make it in");
        state.step(dir, Op::MakeDir, |state| state.names.link(dir, Node::Dir))
    }

    pub(super) fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        let is_lie = state.lies.sync_dir == Some(Class::of(dir));
        state.step(dir, Op::SyncDir, |state| {
            if !is_lie {
                state.names.sync_dir(dir);
            }
        })
    }
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        match self.struck {
            None => Ok(()),
            Some(struck) => Err(fault_of(struck.fault)),
        }
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        self.check_power()?;
        match self.names.get(path) {
            Some(Node::File(place)) => Ok(place),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn flip(&mut self, path: &str, place: usize, bit: usize) {
        self.contents[place].flip(bit);
        self.flipped = Some((path.to_owned(), bit / 8));
        let site = Site { class: Class::of(path), op: Op::Rest };
        self.coverage.visit(site);
        self.coverage.hit(site, Fault::BitFlip);
    }

    fn new_file(&mut self, path: &str) -> usize {
        assert!(self.names.has_dir(parent(path)), "{path}: no directory to make it in");
        self.contents.push(Content::default());
        let place = self.contents.len() - 1;
        self.names.link(path, Node::File(place));
        place
    }

    /// Runs one operation that happens whole or not at all, or lets it fail.
    fn step(&mut self, path: &str, op: Op, run: impl FnOnce(&mut State)) -> io::Result<()> {
        match self.strike(Site { class: Class::of(path), op })? {
            None => run(self),
            Some(fault @ (Fault::CrashAfter | Fault::KillAfter)) => {
                run(self);
                return Err(fault_of(fault));
            }
            Some(fault) => return Err(fault_of(fault)),
        }
        Ok(())
    }

    /// Whether the fault that is armed strikes here.
    fn strike(&mut self, site: Site) -> io::Result<Option<Fault>> {
        self.check_power()?;
        self.coverage.visit(site);
        let Some(place) = self.armed.iter().position(|(armed, _)| *armed == site) else {
            return Ok(None);
        };
        let (_, fault) = self.armed.remove(place).expect("it was just found");
        self.coverage.hit(site, fault);
        self.struck = Some(Struck { site, fault });
        Ok(Some(fault))
    }
}

impl Struck {
    pub(super) fn cuts_power(self) -> bool {
        self.fault.cuts_power()
    }
}

fn fault_of(fault: Fault) -> io::Error {
    match fault {
        Fault::NoSpace => io::ErrorKind::StorageFull.into(),
        other => io::Error::other(other.slug()),
    }
}
