//! Every write fails twice, at every place: failed and did nothing, failed and did it all the same;
//! and at every place the power is cut. Afterwards the log is opened and goes on as if nothing had
//! been.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::layout::DirSource;
use crate::reader::LogReader;
use crate::sample::{MemSource, Sample, note, origin, policy};
use crate::verify::verify_log;

/// How the operation at the chosen place goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    NothingDone,
    DoneAllTheSame,
    /// Half of what was being written stays; names that were not synced stay or go by the coin.
    PowerCut { coin: u64 },
}

fn power_cut(seed: u64) -> Failure {
    Failure::PowerCut { coin: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
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
struct SharedDisk(Arc<Mutex<Disk>>);

impl SharedDisk {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    fn copy(&self) -> SharedDisk {
        SharedDisk(Arc::new(Mutex::new(self.lock().clone())))
    }

    fn fail_at(&self, place: u64, failure: Failure) {
        let mut disk = self.lock();
        disk.operations = 0;
        disk.failure = Some((place, failure));
    }

    /// The machine is up again and the disk is well.
    fn repair(&self) {
        let mut disk = self.lock();
        disk.failure = None;
        disk.is_off = false;
    }

    fn writer(&self) -> Result<LogWriter, WriterFault> {
        LogWriter::open_in(Box::new(self.clone()))
    }

    fn source(&self) -> MemSource {
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

    fn make_dir(&mut self, dir: &str) -> io::Result<bool> {
        let mut disk = self.lock();
        if disk.names.contains_key(dir) {
            return Ok(false);
        }
        assert!(dir == parent(dir) || parent(dir).is_empty() || disk.names.contains_key(parent(dir)));
        disk.operate(|disk, _| {
            disk.names.insert(dir.to_owned(), Name::Dir);
        })?;
        Ok(true)
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

/// What the caller was told, and holds the writer to.
#[derive(Default)]
struct Promised {
    durable: u64,
    published: u64,
}

/// Sizes to append and sync to, and what to publish then; over the border of the first tile.
const STEPS: [(u64, Option<u64>); 4] =
    [(251, None), (254, Some(252)), (261, Some(260)), (262, Some(262))];

/// Opens and does what is left to do of `STEPS`, as a replay of the Raft log would.
fn run(disk: &SharedDisk, sample: &Sample, promised: &mut Promised) -> Result<(), WriterFault> {
    let mut writer = disk.writer()?;
    assert!(writer.durable_size() >= promised.durable);
    assert!(published_size(&writer) >= promised.published);
    for (size, publish) in STEPS {
        append(&mut writer, sample, size);
        writer.sync()?;
        promised.durable = writer.durable_size();
        if let Some(size) = publish.filter(|size| *size > published_size(&writer)) {
            writer.publish(&sample.note(size))?;
            promised.published = size;
        }
        assert_eq!(writer.root(), sample.roots[writer.size() as usize]);
    }
    Ok(())
}

fn append(writer: &mut LogWriter, sample: &Sample, size: u64) {
    while writer.size() < size {
        let (leaf, payload) = &sample.leaves[writer.size() as usize];
        writer.append(leaf, payload);
    }
}

fn published_size(writer: &LogWriter) -> u64 {
    writer.checkpoint().map_or(0, |signed| signed.checkpoint.size)
}

fn create(disk: &SharedDisk) -> Result<LogWriter, WriterFault> {
    LogWriter::create_in(Box::new(disk.clone()), &origin(), &policy().to_text())
}

#[test]
fn every_write_may_fail_and_every_crash_is_repaired() {
    let sample = Sample::new(262);
    let base = SharedDisk::default();
    let mut writer = create(&base).unwrap();
    append(&mut writer, &sample, 250);
    writer.sync().unwrap();
    writer.publish(&sample.note(250)).unwrap();
    drop(writer);

    let unhurt = base.copy();
    run(&unhurt, &sample, &mut Promised::default()).unwrap();
    let expected = unhurt.source();
    let report = verify_log(&expected, &policy(), &mut ());
    assert_eq!((report.size, report.unpublished, &*report.faults), (262, 0, &[][..]));

    let cuts = (1..=2).map(power_cut);
    for failure in [Failure::NothingDone, Failure::DoneAllTheSame].into_iter().chain(cuts) {
        let mut places = 0;
        loop {
            let (disk, mut promised) = (base.copy(), Promised { durable: 250, published: 250 });
            disk.fail_at(places + 1, failure);
            match run(&disk, &sample, &mut promised) {
                Ok(()) => break,
                Err(fault) => assert!(fault.is_fatal(), "{failure:?} at {places}: {fault}"),
            }
            places += 1;
            disk.repair();
            run(&disk, &sample, &mut promised)
                .unwrap_or_else(|fault| panic!("{failure:?} at {places}: {fault}"));
            let mut got = disk.source();
            got.0.retain(|path, _| !path.starts_with(SCRATCH_DIR));
            assert!(got == expected, "{failure:?} at {places}: {:?}", got.0.keys());
        }
        assert!(places > 100, "only {places} places to fail at");
    }
}

#[test]
fn a_crash_in_create_leaves_what_create_can_finish() {
    for place in 1.. {
        let disk = SharedDisk::default();
        disk.fail_at(place, power_cut(place));
        if create(&disk).is_ok() {
            assert!(place > 5);
            break;
        }
        disk.repair();
        match create(&disk) {
            Err(WriterFault::AlreadyLog) => disk.writer().unwrap(),
            other => other.unwrap(),
        };
    }
}

#[test]
fn after_a_fault_of_the_disk_nothing_more_is_done() {
    let sample = Sample::new(6);
    let disk = SharedDisk::default();
    let mut writer = create(&disk).unwrap();
    append(&mut writer, &sample, 6);
    disk.fail_at(3, Failure::NothingDone);
    assert_eq!(writer.sync().unwrap_err().slug(), "disk_fault");
    disk.repair();
    assert_eq!(writer.sync(), Err(WriterFault::Stopped));
    assert_eq!(writer.publish(&sample.note(0)), Err(WriterFault::Stopped));
}

#[test]
fn only_the_own_durable_tree_is_published() {
    let sample = Sample::new(12);
    let disk = SharedDisk::default();
    let mut writer = create(&disk).unwrap();
    let check = |writer: &mut LogWriter, note: &str, slug: &str| {
        assert_eq!(writer.publish(note).unwrap_err().slug(), slug);
    };
    append(&mut writer, &sample, 10);
    check(&mut writer, &sample.note(10), "not_durable");
    writer.sync().unwrap();
    check(&mut writer, &note(10, sample.roots[9], &[0, 1]), "root_mismatch");
    check(&mut writer, &note(10, sample.roots[10], &[1]), "no_quorum");
    check(&mut writer, "no note", "note_malformed");
    writer.publish(&sample.note(10)).unwrap();
    // The same size again, with one more cosignature.
    writer.publish(&note(10, sample.roots[10], &[0, 1, 2])).unwrap();
    check(&mut writer, &sample.note(9), "behind_published");
    assert_eq!(create(&disk).err(), Some(WriterFault::AlreadyLog));
    assert_eq!(SharedDisk::default().writer().err(), Some(WriterFault::NotLog));
}

#[test]
fn the_past_is_remembered_across_a_restart() {
    let sample = Sample::new(600);
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::create(dir.path(), &origin(), &policy().to_text()).unwrap();
    append(&mut writer, &sample, 300);
    writer.sync().unwrap();
    append(&mut writer, &sample, 600);
    let check = |writer: &LogWriter| {
        for size in [0, 1, 255, 256, 257, 299, 300, 511, 512, 513, 600] {
            assert_eq!(writer.root_at(size), Ok(sample.roots[size as usize]), "size {size}");
        }
        let beyond = WriterFault::BeyondSize { size: 600, got: 601 };
        assert_eq!(writer.root_at(601), Err(beyond));
    };
    check(&writer);
    writer.sync().unwrap();
    writer.publish(&sample.note(555)).unwrap();
    drop(writer);
    check(&LogWriter::open(dir.path()).unwrap());

    let report = verify_log(&DirSource::new(dir.path()), &policy(), &mut ());
    assert_eq!((report.size, report.unpublished, &*report.faults), (555, 45, &[][..]));
    let reader = LogReader::open(DirSource::new(dir.path())).unwrap();
    assert_eq!(reader.root_at(555), Ok(sample.roots[555]));
}
