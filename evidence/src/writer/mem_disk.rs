//! A disk in memory that fails when it is told to, and knows what a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::files::FileOps;
use super::{LogWriter, WriterFault, parent};
use crate::sample::{MemSource, origin, policy};

/// How the operation at the chosen place goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    NothingDone,
    DoneAllTheSame,
    /// Half of what was being written stays; names that were not synced stay or go by the coin.
    PowerCut {
        coin: u64,
    },
}

impl Failure {
    pub(crate) fn power_cut(seed: u64) -> Failure {
        Failure::PowerCut { coin: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }
}

/// A disk in memory. Contents are durable when a write returns, names when their directory is
/// synced: all that the writer may rely on.
#[derive(Clone, Default)]
struct Disk {
    contents: Vec<Vec<u8>>,
    names: BTreeMap<String, Name>,
    durable_names: BTreeMap<String, Name>,
    operations: u64,
    failure: Option<(u64, Failure)>,
    is_off: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Dir,
    /// Place in `contents`.
    File(usize),
}

impl Disk {
    fn file(&self, path: &str) -> Option<&Vec<u8>> {
        match self.names.get(path)? {
            Name::Dir => None,
            Name::File(place) => Some(&self.contents[*place]),
        }
    }

    fn write(&mut self, path: &str, bytes: Vec<u8>) {
        self.contents.push(bytes);
        self.names.insert(path.to_owned(), Name::File(self.contents.len() - 1));
    }

    /// Runs one operation, or lets it fail in the way that was asked for.
    fn operate(&mut self, run: impl Fn(&mut Disk, bool)) -> io::Result<()> {
        self.operations += 1;
        let failure = self.failure.filter(|(place, _)| *place == self.operations);
        let fault = Err(io::Error::other("injected"));
        match failure.map(|(_, failure)| failure) {
            _ if self.is_off => return fault,
            None => {
                run(self, false);
                return Ok(());
            }
            Some(Failure::NothingDone) => {}
            Some(Failure::DoneAllTheSame) => run(self, false),
            Some(Failure::PowerCut { coin }) => {
                run(self, true);
                self.cut_power(coin);
            }
        }
        fault
    }

    fn cut_power(&mut self, mut coin: u64) {
        self.is_off = true;
        let paths: BTreeSet<String> =
            self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        for path in paths {
            let (now, durable) = (self.names.get(&path), self.durable_names.get(&path));
            coin = coin.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let kept = if coin >> 63 == 0 { now } else { durable };
            match kept.copied() {
                Some(name) => self.durable_names.insert(path, name),
                None => self.durable_names.remove(&path),
            };
        }
        // A file is lost with any directory above it.
        let kept = self.durable_names.clone();
        self.durable_names.retain(|path, _| {
            path.match_indices('/').all(|(end, _)| kept.contains_key(&path[..end]))
        });
        self.names = self.durable_names.clone();
    }
}

/// What the writer is given; the test keeps another handle.
#[derive(Clone, Default)]
pub(crate) struct SharedDisk(Arc<Mutex<Disk>>);

impl SharedDisk {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    pub(crate) fn copy(&self) -> SharedDisk {
        SharedDisk(Arc::new(Mutex::new(self.lock().clone())))
    }

    pub(crate) fn fail_at(&self, place: u64, failure: Failure) {
        let mut disk = self.lock();
        disk.operations = 0;
        disk.failure = Some((place, failure));
    }

    /// The machine is up again and the disk is well.
    pub(crate) fn repair(&self) {
        let mut disk = self.lock();
        disk.failure = None;
        disk.is_off = false;
    }

    /// Starts the sample's log here.
    pub(crate) fn create(&self) -> Result<LogWriter, WriterFault> {
        LogWriter::create_in(Box::new(self.clone()), &origin(), &policy().to_text())
    }

    pub(crate) fn open(&self) -> Result<LogWriter, WriterFault> {
        LogWriter::open_in(Box::new(self.clone()))
    }

    /// The files as they can be read now.
    pub(crate) fn source(&self) -> MemSource {
        let disk = self.lock();
        let file = |path: &String| Some((path.clone(), disk.file(path)?.clone()));
        MemSource(disk.names.keys().filter_map(file).collect())
    }
}

impl FileOps for SharedDisk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.lock().file(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let disk = self.lock();
        let names = disk.names.keys().filter(|path| parent(path) == dir);
        Ok(names.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect())
    }

    fn make_dir(&mut self, dir: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.names.contains_key(dir) {
            return Ok(());
        }
        let is_below_one = parent(dir).is_empty() || disk.names.contains_key(parent(dir));
        assert!(is_below_one, "{dir}: no directory to make it in");
        disk.operate(|disk, _| {
            disk.names.insert(dir.to_owned(), Name::Dir);
        })
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.lock().operate(|disk, is_torn| {
            let len = if is_torn { bytes.len() / 2 } else { bytes.len() };
            disk.write(path, bytes[..len].to_vec());
        })
    }

    fn append(&mut self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.lock().operate(|disk, is_torn| {
            let len = if is_torn { bytes.len() / 2 } else { bytes.len() };
            let Some(Name::File(place)) = disk.names.get(path).copied() else {
                assert_eq!(at, 0, "{path}: appended beyond its end");
                return disk.write(path, bytes[..len].to_vec());
            };
            let content = &mut disk.contents[place];
            assert!(content.len() as u64 >= at, "{path}: appended beyond its end");
            content.truncate(at as usize);
            content.extend_from_slice(&bytes[..len]);
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.lock().operate(|disk, _| {
            let name = disk.names.remove(from).expect("a file to rename");
            disk.names.insert(to.to_owned(), name);
        })
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        self.lock().operate(|disk, is_torn| {
            if is_torn {
                return;
            }
            disk.durable_names.retain(|path, _| parent(path) != dir);
            let now: Vec<_> = disk.names.iter().filter(|(path, _)| parent(path) == dir).collect();
            disk.durable_names.extend(now.into_iter().map(|(path, name)| (path.clone(), *name)));
        })
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.lock().operate(|disk, _| {
            disk.names.remove(path);
        })
    }

    fn remove_dir_if_empty(&mut self, dir: &str) {
        let mut disk = self.lock();
        if !disk.names.keys().any(|path| parent(path) == dir) {
            disk.names.remove(dir);
        }
    }
}
