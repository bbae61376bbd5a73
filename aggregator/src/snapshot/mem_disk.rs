//! A directory in memory that fails when it is told to, and knows what a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::SnapshotFiles;

/// How the operation at the chosen place goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    NothingDone,
    DoneAllTheSame,
    /// Writes and names that were not synced stay, half or whole, or go, by the coin.
    PowerCut {
        coin: u64,
    },
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Default)]
struct Disk {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    operations: u64,
    failure: Option<(u64, Failure)>,
    is_off: bool,
}

/// What the store is given; the test keeps another handle.
#[derive(Clone, Default)]
pub(crate) struct MemFiles(Arc<Mutex<Disk>>);

impl MemFiles {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    pub(crate) fn copy(&self) -> MemFiles {
        MemFiles(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// The n-th changing operation from now on fails.
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

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let disk = self.lock();
        disk.contents[disk.names[name]].now.clone()
    }

    /// Rot: another byte, durably.
    pub(crate) fn flip(&self, name: &str, bit: usize) {
        let mut disk = self.lock();
        let place = disk.names[name];
        disk.contents[place].now[bit / 8] ^= 1 << (bit % 8);
    }
}

impl Disk {
    fn operate(&mut self, run: impl Fn(&mut Disk)) -> io::Result<()> {
        let fault = || Err(io::Error::other("injected"));
        if self.is_off {
            return fault();
        }
        self.operations += 1;
        let failure = self.failure.filter(|(place, _)| *place == self.operations);
        match failure.map(|(_, failure)| failure) {
            None => {
                run(self);
                Ok(())
            }
            Some(Failure::NothingDone) => fault(),
            Some(Failure::DoneAllTheSame) => {
                run(self);
                fault()
            }
            Some(Failure::PowerCut { coin }) => {
                run(self);
                self.cut_power(coin);
                fault()
            }
        }
    }

    fn cut_power(&mut self, mut coin: u64) {
        self.is_off = true;
        let mut toss = || {
            coin = coin.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            coin >> 62
        };
        let paths: BTreeSet<String> =
            self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        for path in paths {
            let kept = if toss() & 1 == 0 { &self.names } else { &self.durable_names };
            match kept.get(&path).copied() {
                Some(place) => self.durable_names.insert(path, place),
                None => self.durable_names.remove(&path),
            };
        }
        for content in &mut self.contents {
            match toss() {
                0 => content.durable = content.now.clone(),
                1 => {
                    let half = content.now.len() / 2;
                    content.durable.resize(content.now.len(), 0);
                    content.durable[..half].copy_from_slice(&content.now[..half]);
                }
                _ => {}
            }
            content.now = content.durable.clone();
        }
        self.names = self.durable_names.clone();
    }

    fn content(&mut self, name: &str) -> Option<&mut Content> {
        let place = *self.names.get(name)?;
        Some(&mut self.contents[place])
    }
}

impl SnapshotFiles for MemFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn read_at(&self, name: &str, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut disk = self.lock();
        let content = disk.content(name).ok_or(io::ErrorKind::NotFound)?;
        let rest = content.now.get(at as usize..).unwrap_or_default();
        Ok(rest[..rest.len().min(len)].to_vec())
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.lock().operate(|disk| {
            if !disk.names.contains_key(name) {
                disk.contents.push(Content::default());
                disk.names.insert(name.to_owned(), disk.contents.len() - 1);
            }
            let now = &mut disk.content(name).unwrap().now;
            let (at, end) = (at as usize, at as usize + bytes.len());
            now.resize(now.len().max(end), 0);
            now[at..end].copy_from_slice(bytes);
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.lock().operate(|disk| {
            let content = disk.content(name).expect("a file to sync");
            content.durable = content.now.clone();
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock().operate(|disk| {
            let place = disk.names.remove(from).expect("a file to rename");
            disk.names.insert(to.to_owned(), place);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().operate(|disk| {
            disk.names.remove(name);
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.lock().operate(|disk| disk.durable_names = disk.names.clone())
    }
}
