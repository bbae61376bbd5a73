//! Every write fails twice, at every place: failed and did nothing, failed and did it all the same;
//! and at every place the power is cut. Afterwards the log is opened and goes on as if nothing had
//! been.

use super::mem_disk::{Failure, SharedDisk};
use super::*;
use crate::layout::DirSource;
use crate::reader::LogReader;
use crate::sample::{Sample, note, origin, policy};
use crate::verify::verify_log;

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
    let mut writer = disk.open()?;
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

#[test]
fn every_write_may_fail_and_every_crash_is_repaired() {
    let sample = Sample::new(262);
    let base = SharedDisk::default();
    let mut writer = base.create().unwrap();
    append(&mut writer, &sample, 250);
    writer.sync().unwrap();
    writer.publish(&sample.note(250)).unwrap();
    drop(writer);

    let unhurt = base.copy();
    run(&unhurt, &sample, &mut Promised::default()).unwrap();
    let expected = unhurt.source();
    let report = verify_log(&expected, &policy(), &mut ());
    assert_eq!((report.size, report.unpublished, &*report.faults), (262, 0, &[][..]));

    let cuts = (1..=2).map(Failure::power_cut);
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
        disk.fail_at(place, Failure::power_cut(place));
        if disk.create().is_ok() {
            assert!(place > 5);
            break;
        }
        disk.repair();
        match disk.create() {
            Err(WriterFault::AlreadyLog) => disk.open().unwrap(),
            other => other.unwrap(),
        };
    }
}

#[test]
fn after_a_fault_of_the_disk_nothing_more_is_done() {
    let sample = Sample::new(6);
    let disk = SharedDisk::default();
    let mut writer = disk.create().unwrap();
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
    let mut writer = disk.create().unwrap();
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
    assert_eq!(disk.create().err(), Some(WriterFault::AlreadyLog));
    assert_eq!(SharedDisk::default().open().err(), Some(WriterFault::NotLog));
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
