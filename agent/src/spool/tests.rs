//! The spool on disks that crash, lie about space, and rot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proofmark_evidence::{
    AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Coverage, Hash, Outcome, SigningKey,
};

use super::files::WriteFault;
use super::*;

const DIR: &str = "/spool";
const ROOM: u64 = 1 << 30;

/// A disk in memory. Clones share it, so a test can "restart" with what was durable.
#[derive(Clone, Default)]
struct TestDisk(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Writes done so far.
    writes: usize,
    fail: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    /// Which write fails, from 0.
    at: usize,
    effect: Effect,
    part: Part,
}

/// What a failed write left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Effect {
    Nothing,
    Half,
    Whole,
}

/// Which part of a durable write failed.
#[derive(Clone, Copy, Debug)]
enum Part {
    Write,
    Sync,
}

impl TestDisk {
    fn read(&self, path: &Path) -> Vec<u8> {
        self.0.lock().unwrap().files[path].clone()
    }

    fn put(&self, path: &Path, bytes: &[u8]) {
        self.0.lock().unwrap().files.insert(path.to_path_buf(), bytes.to_vec());
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().files.keys().cloned().collect()
    }

    fn copy(&self) -> TestDisk {
        let files = self.0.lock().unwrap().files.clone();
        TestDisk(Arc::new(Mutex::new(Disk { files, ..Disk::default() })))
    }

    fn fail(&self, failure: Option<Failure>) {
        let mut disk = self.0.lock().unwrap();
        disk.writes = 0;
        disk.fail = failure;
    }

    /// Carries out a change, or as much of it as the planned failure allows.
    fn write(
        &self,
        whole: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>),
        half: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>),
    ) -> Result<(), WriteFault> {
        let mut disk = self.0.lock().unwrap();
        let number = disk.writes;
        disk.writes += 1;
        let Some(failure) = disk.fail.filter(|failure| failure.at == number) else {
            whole(&mut disk.files);
            return Ok(());
        };
        match failure.effect {
            Effect::Nothing => {}
            Effect::Half => half(&mut disk.files),
            Effect::Whole => whole(&mut disk.files),
        }
        let error = io::Error::from(io::ErrorKind::StorageFull);
        Err(match failure.part {
            Part::Write => WriteFault::Write(error),
            Part::Sync => WriteFault::Sync(error),
        })
    }
}

fn write_at(files: &mut BTreeMap<PathBuf, Vec<u8>>, path: &Path, at: u64, bytes: &[u8]) {
    let file = files.get_mut(path).expect("append needs the file");
    file.resize(at as usize, 0);
    file.extend_from_slice(bytes);
}

impl FileOps for TestDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let paths = self.paths();
        let inside = paths.iter().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| display_name(path)).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(TestDisk::read(self, path))
    }

    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>> {
        Ok(TestDisk::read(self, path)[at as usize..][..len].to_vec())
    }

    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), WriteFault> {
        let half = bytes[..bytes.len() / 2].to_vec();
        self.write(
            |files| drop(files.insert(path.to_path_buf(), bytes.to_vec())),
            |files| drop(files.insert(path.to_path_buf(), half)),
        )
    }

    fn append(&mut self, path: &Path, at: u64, bytes: &[u8]) -> Result<(), WriteFault> {
        let half = &bytes[..bytes.len() / 2];
        self.write(
            |files| write_at(files, path, at, bytes),
            |files| write_at(files, path, at, half),
        )
    }

    fn truncate(&mut self, path: &Path, len: u64) -> Result<(), WriteFault> {
        let cut = |files: &mut BTreeMap<PathBuf, Vec<u8>>| {
            files.get_mut(path).expect("truncate needs the file").truncate(len as usize);
        };
        self.write(cut, |_| {})
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), WriteFault> {
        let rename = |files: &mut BTreeMap<PathBuf, Vec<u8>>| {
            let bytes = files.remove(from).expect("rename needs the file");
            files.insert(to.to_path_buf(), bytes);
        };
        self.write(rename, |_| {})
    }

    fn remove(&mut self, path: &Path) -> Result<(), WriteFault> {
        self.write(|files| drop(files.remove(path)), |_| {})
    }
}

/// A batch of `count` results, starting at `seq_first`. `detail` pads it to a size.
fn record(epoch: u64, seq_first: u64, count: usize, detail: &str) -> Record {
    let outcome = Outcome::Fail(proofmark_evidence::FailReason::HttpStatus);
    let draft = BatchDraft {
        log_id: Hash::ZERO,
        agent: AgentName::parse("web-1").unwrap(),
        epoch,
        seq_first,
        base_time_ms: 1_000_000,
        checks: vec![CheckRef {
            check: CheckName::parse("a").unwrap(),
            spec_revision: 1,
            target: "t".to_string(),
        }],
        coverage: Coverage { scheduled: count as u64, run: count as u64, skipped: vec![] },
        previous: Hash::ZERO,
        seen: None,
        results: (0..count).map(|at| CheckResult::new(0, at as u32, outcome, detail)).collect(),
    };
    Record::of(draft.seal(&SigningKey::from_seed([1; 32])).unwrap()).unwrap()
}

/// Records 1..=n of two results each: sequence numbers 1, 3, 5, ...
fn records(count: u64) -> Vec<Record> {
    (0..count).map(|at| record(1, 1 + 2 * at, 2, "")).collect()
}

fn open(disk: &TestDisk) -> (Spool<TestDisk>, Option<Damage>) {
    Spool::open(disk.clone(), Path::new(DIR), ROOM).expect("opens")
}

fn filled(records: &[Record]) -> TestDisk {
    let disk = TestDisk::default();
    let (mut spool, _) = open(&disk);
    records.iter().for_each(|record| spool.append(record).expect("room"));
    disk
}

/// Every batch of epoch 1 in the spool, as its sequence numbers.
fn stored(spool: &Spool<TestDisk>) -> Vec<(u64, u64)> {
    let mut seq = 0;
    let mut found = Vec::new();
    while let Some(batch) = spool.fetch(1, seq).expect("reads") {
        let record = Record::of(batch).expect("a batch");
        found.push((record.seq_first, record.seq_end));
        seq = record.seq_end;
    }
    found
}

fn numbers(records: &[Record]) -> Vec<(u64, u64)> {
    records.iter().map(|record| (record.seq_first, record.seq_end)).collect()
}

/// Wide batches, so that a few fill a segment: 1 MiB each. The spool never looks into a payload.
fn wide_records(count: u64) -> Vec<Record> {
    let wide = |seq| {
        let mut record = record(1, seq, 1, "");
        record.batch.payload = vec![seq as u8; 1 << 20].into();
        record
    };
    (1..=count).map(wide).collect()
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let records = records(5);
    let disk = filled(&records);
    let (spool, damage) = open(&disk);
    assert_eq!((stored(&spool), damage), (numbers(&records), None));
    let newest = spool.newest().expect("reads").expect("five batches");
    assert_eq!(newest, records[4].batch);
}

#[test]
fn fetch_gives_the_batch_that_holds_the_number() {
    let records = records(3);
    let disk = filled(&records);
    let (spool, _) = open(&disk);
    for (seq, expect) in [(0, Some(0)), (1, Some(0)), (2, Some(0)), (3, Some(1)), (6, Some(2))] {
        let expect = expect.map(|at: usize| records[at].batch.clone());
        assert_eq!(spool.fetch(1, seq).expect("reads"), expect, "{seq}");
    }
    assert_eq!(spool.fetch(1, 7).expect("reads"), None);
    assert_eq!(spool.fetch(2, 1).expect("reads"), None);
}

#[test]
fn a_kill_at_any_byte_of_the_last_write_loses_only_that_write() {
    let records = records(3);
    let whole = filled(&records);
    let path = whole.paths().remove(0);
    let bytes = whole.read(&path);
    let start_of_last = bytes.len() - records[2].encode().len();
    for end in start_of_last..bytes.len() {
        let disk = whole.copy();
        disk.put(&path, &bytes[..end]);
        let (mut spool, damage) = open(&disk);
        assert_eq!((stored(&spool), damage), (numbers(&records[..2]), None), "cut at {end}");
        spool.append(&records[2]).expect("room");
        assert_eq!(stored(&open(&disk).0), numbers(&records), "cut at {end}");
    }
}

#[test]
fn a_kill_while_the_first_segment_is_made_leaves_an_empty_spool() {
    let records = records(1);
    let whole = filled(&records);
    let path = whole.paths().remove(0);
    let bytes = whole.read(&path);
    for end in 0..bytes.len() {
        let disk = whole.copy();
        disk.put(&path, &bytes[..end]);
        let (mut spool, damage) = open(&disk);
        assert_eq!((stored(&spool), damage), (vec![], None), "cut at {end}");
        spool.append(&records[0]).expect("room");
        assert_eq!(stored(&open(&disk).0), numbers(&records), "cut at {end}");
    }
}

#[test]
fn a_flipped_bit_never_yields_a_false_batch_and_keeps_what_lies_before_it() {
    let records = records(4);
    let whole = filled(&records);
    let path = whole.paths().remove(0);
    let bytes = whole.read(&path);
    let record_bytes = (bytes.len() - segment::MAGIC.len()) / 4;
    for at in 0..bytes.len() {
        let disk = whole.copy();
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        disk.put(&path, &damaged);
        let (spool, damage) = open(&disk);
        let good = at.saturating_sub(segment::MAGIC.len()) / record_bytes;
        assert_eq!(stored(&spool), numbers(&records[..good]), "byte {at}");
        let in_last = at >= bytes.len() - record_bytes;
        assert_eq!(damage.is_some(), !in_last, "byte {at}");
        for name in damage.iter().flat_map(|damage| &damage.files) {
            assert_eq!(disk.read(&Path::new(DIR).join(name)), damaged, "kept beside as it was");
        }
    }
}

#[test]
fn segments_after_a_damaged_or_missing_one_are_set_aside() {
    let records = wide_records(20);
    let whole = filled(&records);
    let paths = whole.paths();
    assert!(paths.len() >= 3, "{} segments", paths.len());
    let per_segment = records.iter().take_while(|one| {
        let next = display_name(&paths[1]);
        format!("{:010}-{:020}.spool", one.epoch, one.seq_first) != next
    });
    let in_first = per_segment.count();

    let disk = whole.copy();
    disk.0.lock().unwrap().files.remove(&paths[1]);
    let (spool, damage) = open(&disk);
    assert_eq!(stored(&spool), numbers(&records[..in_first]));
    assert_eq!(damage.expect("a hole").files.len(), paths.len() - 2);

    let disk = whole.copy();
    let mut bytes = whole.read(&paths[0]);
    bytes.truncate(bytes.len() - 1);
    disk.put(&paths[0], &bytes);
    let (spool, damage) = open(&disk);
    assert_eq!(stored(&spool), numbers(&records[..in_first - 1]));
    assert_eq!(damage.expect("not the last segment").files.len(), paths.len());
    let (spool, damage) = open(&disk);
    assert_eq!((stored(&spool), damage), (numbers(&records[..in_first - 1]), None));
}

#[test]
fn acks_delete_whole_segments_but_never_the_newest() {
    let records = wide_records(20);
    let disk = filled(&records);
    let before = disk.paths().len();
    let (mut spool, _) = open(&disk);
    spool.acked(1, records[0].seq_end).expect("acks");
    assert_eq!(disk.paths().len(), before);
    spool.acked(1, records[19].seq_end).expect("acks");
    assert_eq!(disk.paths().len(), 1);
    let newest = open(&disk).0.newest().expect("reads").expect("the chain goes on");
    assert_eq!(newest, records[19].batch);
}

#[test]
fn a_full_spool_keeps_the_oldest_and_takes_more_after_acks() {
    let records = wide_records(20);
    let disk = TestDisk::default();
    let (mut spool, _) = Spool::open(disk, Path::new(DIR), 16 << 20).expect("opens");
    let refused = records.iter().position(|record| {
        matches!(spool.append(record), Err(fault @ SpoolFault::Full { .. }) if fault.may_pass())
    });
    let refused = refused.expect("20 MB do not fit 16 MiB");
    assert_eq!(stored(&spool), numbers(&records[..refused]));
    spool.acked(1, records[refused - 1].seq_end).expect("acks");
    spool.append(&records[refused]).expect("room again");
}

#[test]
fn what_is_set_aside_can_be_replaced_by_other_batches_with_the_same_numbers() {
    let records = records(4);
    let disk = filled(&records);
    let (mut spool, _) = open(&disk);
    let damage = spool.rejoin(1, 5).expect("aside");
    assert_eq!(damage.files.len(), 1);
    assert_eq!(stored(&spool), numbers(&records[..2]));
    let other = record(1, 5, 7, "another batch");
    spool.append(&other).expect("room");
    let (spool, damage) = open(&disk);
    assert_eq!((stored(&spool), damage), (vec![(1, 3), (3, 5), (5, 12)], None));
    assert_eq!(spool.newest().expect("reads"), Some(other.batch));
}

#[test]
fn setting_everything_aside_leaves_an_empty_spool() {
    let disk = filled(&records(2));
    let (mut spool, _) = open(&disk);
    spool.rejoin(1, 1).expect("aside");
    assert_eq!(stored(&spool), []);
    spool.append(&record(1, 1, 1, "")).expect("room");
    assert_eq!(stored(&open(&disk).0), [(1, 2)]);
}

#[test]
fn rejoining_beyond_or_in_another_epoch_starts_afresh_and_deletes_nothing() {
    for (epoch, seq) in [(1, 100), (2, 1)] {
        let disk = filled(&records(2));
        let bytes = disk.read(&disk.paths()[0]);
        let (mut spool, _) = open(&disk);
        let damage = spool.rejoin(epoch, seq).expect("rejoins");
        assert_eq!(disk.read(&Path::new(DIR).join(&damage.files[0])), bytes);
        spool.append(&record(epoch, seq, 1, "")).expect("room");
        let (spool, damage) = open(&disk);
        assert_eq!(damage, None);
        assert!(spool.fetch(epoch, seq).expect("reads").is_some());
    }
}

#[test]
fn rejoining_where_the_spool_ends_changes_nothing() {
    let disk = filled(&records(2));
    let (mut spool, _) = open(&disk);
    assert_eq!(spool.rejoin(1, 5).expect("rejoins"), Damage { files: vec![] });
    assert_eq!(stored(&spool), numbers(&records(2)));
}

/// Every write of a small life fails once in each way. Afterwards everything acknowledged is
/// there, nothing that was never appended is, and what may pass passes on the second try.
#[test]
fn each_write_fails_in_each_way_and_nothing_acknowledged_is_lost() {
    let records = records(3);
    for effect in [Effect::Nothing, Effect::Half, Effect::Whole] {
        for part in [Part::Write, Part::Sync] {
            for at in 0..4 {
                let failure = Failure { at, effect, part };
                live_through(&records, failure);
            }
        }
    }
}

fn live_through(records: &[Record], failure: Failure) {
    let disk = TestDisk::default();
    disk.fail(Some(failure));
    let (mut spool, _) = open(&disk);
    let mut acknowledged = 0;
    for record in records {
        match spool.append(record) {
            Ok(()) => {}
            Err(fault) if fault.may_pass() => {
                // A restart instead of the retry must find a sound spool as well.
                let restarted = stored(&open(&disk.copy()).0);
                assert!(restarted.len() - acknowledged <= 1, "{failure:?}: {restarted:?}");
                spool.append(record).unwrap_or_else(|fault| panic!("{failure:?}: {fault}"));
            }
            Err(_) => break,
        }
        acknowledged += 1;
    }
    disk.fail(None);
    let (spool, damage) = open(&disk);
    let found = stored(&spool);
    assert_eq!(damage, None, "{failure:?}");
    assert!(found.len() >= acknowledged, "{failure:?}: {found:?}");
    assert_eq!(found, numbers(&records[..found.len()]), "{failure:?}");
}

#[test]
fn a_failing_disk_while_damage_is_set_aside_loses_no_byte_of_it() {
    let records = records(4);
    for effect in [Effect::Nothing, Effect::Half, Effect::Whole] {
        for at in 0..2 {
            let disk = filled(&records);
            let path = disk.paths().remove(0);
            let mut damaged = disk.read(&path);
            let middle = damaged.len() / 2;
            damaged[middle] ^= 1;
            disk.put(&path, &damaged);
            disk.fail(Some(Failure { at, effect, part: Part::Write }));
            assert!(Spool::open(disk.clone(), Path::new(DIR), ROOM).is_err());
            disk.fail(None);
            let (spool, _) = open(&disk);
            assert!(numbers(&records).starts_with(&stored(&spool)));
            let kept = disk.paths().iter().any(|path| disk.read(path) == damaged);
            assert!(kept, "{effect:?} at write {at}");
        }
    }
}

#[test]
fn the_real_disk_does_what_the_test_disk_does() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let records = records(3);
    let open = || Spool::open(RealFiles, dir.path(), ROOM).expect("opens");
    let (mut spool, _) = open();
    records.iter().for_each(|record| spool.append(record).expect("room"));
    spool.rejoin(1, 5).expect("aside");
    spool.append(&records[2]).expect("room");
    drop(spool);
    let (mut spool, damage) = open();
    assert_eq!(damage, None);
    assert_eq!(spool.newest().expect("reads"), Some(records[2].batch.clone()));
    spool.acked(1, 7).expect("acks");
    assert_eq!(spool.fetch(1, 5).expect("reads"), Some(records[2].batch.clone()));
}
