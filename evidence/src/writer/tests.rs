//! Every write fails twice, at every place: failed and did nothing, failed and did it all the same;
//! and at every place the power is cut. Afterwards the log is opened and goes on as if nothing had
//! been.

use super::mem_disk::{Failure, SharedDisk};
use super::*;
use crate::layout::DirSource;
use crate::reader::LogReader;
use crate::sample::{MemSource, MovedSample, Sample, note, note_of, origin, policy, sample};
use crate::verify::verify_log;

/// What the caller was told, and holds the writer to.
#[derive(Default)]
struct Promised {
    durable: u64,
    published: u64,
}

/// Sizes to append and sync to, and what to publish then; over the border of the first tile.
const STEPS: [(u64, Option<u64>); 4] =
    [(251, None), (254, Some(252)), (261, None), (262, Some(258))];

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

/// A log of 250 published leaves, and what its files must be when all of `STEPS` is done.
fn start(sample: &Sample) -> (SharedDisk, MemSource) {
    let base = SharedDisk::default();
    let mut writer = base.create().unwrap();
    append(&mut writer, sample, 250);
    writer.sync().unwrap();
    writer.publish(&sample.note(250)).unwrap();
    let unhurt = base.copy();
    run(&unhurt, sample, &mut Promised::default()).unwrap();
    let expected = unhurt.source();
    let report = verify_log(&expected, &policy(), &mut ());
    assert_eq!((report.size, report.unpublished, &*report.faults), (258, 4, &[][..]));
    (base, expected)
}

/// Runs and is hurt; whether there was anything left to hurt.
fn run_hurt(disk: &SharedDisk, sample: &Sample, promised: &mut Promised) -> bool {
    let hurt = run(disk, sample, promised);
    disk.repair();
    if let Err(fault) = &hurt {
        assert!(fault.is_fatal(), "{fault}");
    }
    hurt.is_err()
}

/// Runs unhurt, to the very same files as if nothing had been.
fn run_to_end(disk: &SharedDisk, sample: &Sample, promised: &mut Promised, expected: &MemSource) {
    run(disk, sample, promised).unwrap();
    let mut got = disk.source();
    got.0.retain(|path, _| !path.starts_with(SCRATCH_DIR));
    assert!(got == *expected, "{:?}", got.0.keys());
}

#[test]
fn every_write_may_fail_and_every_crash_is_repaired() {
    let sample = sample();
    let (base, expected) = start(sample);
    let failures: [fn(u64) -> Failure; 3] =
        [|_| Failure::NothingDone, |_| Failure::DoneAllTheSame, Failure::power_cut];
    for failure in failures {
        for place in 1.. {
            let (disk, mut promised) = (base.copy(), Promised { durable: 250, published: 250 });
            disk.fail_at(place, failure(place));
            println!("{:?} at {place}", failure(place));
            if !run_hurt(&disk, sample, &mut promised) {
                assert!(place > 80, "only {place} places to fail at");
                break;
            }
            run_to_end(&disk, sample, &mut promised, &expected);
        }
    }
}

/// The process dies, is started again, and then the power goes: names that a dead process left
/// unsynced must not be taken for durable ones.
#[test]
fn a_power_cut_after_a_crash_is_repaired() {
    let sample = sample();
    let (base, expected) = start(sample);
    for first in (1..80).step_by(7) {
        for second in (first % 5..80).step_by(13) {
            let (disk, mut promised) = (base.copy(), Promised { durable: 250, published: 250 });
            println!("crash at {first}, power cut at {second}");
            disk.fail_at(first, Failure::DoneAllTheSame);
            run_hurt(&disk, sample, &mut promised);
            disk.fail_at(second, Failure::power_cut(first + second));
            run_hurt(&disk, sample, &mut promised);
            run_to_end(&disk, sample, &mut promised, &expected);
        }
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
    let sample = sample();
    let disk = SharedDisk::default();
    let mut writer = disk.create().unwrap();
    append(&mut writer, sample, 6);
    disk.fail_at(3, Failure::NothingDone);
    assert_eq!(writer.sync().unwrap_err().slug(), "disk_fault");
    disk.repair();
    assert_eq!(writer.sync(), Err(WriterFault::Stopped));
    assert_eq!(writer.publish(&sample.note(0)), Err(WriterFault::Stopped));
}

#[test]
fn only_the_own_durable_tree_is_published() {
    let sample = sample();
    let disk = SharedDisk::default();
    let mut writer = disk.create().unwrap();
    let check = |writer: &mut LogWriter, note: &str, slug: &str| {
        assert_eq!(writer.publish(note).unwrap_err().slug(), slug);
    };
    append(&mut writer, sample, 10);
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

/// Archives and git keep no empty directory.
#[test]
fn a_copy_that_lost_its_empty_directories_goes_on() {
    let (sample, dir) = (sample(), tempfile::tempdir().unwrap());
    let mut writer = LogWriter::create(dir.path(), &origin(), &policy().to_text()).unwrap();
    append(&mut writer, sample, 12);
    writer.sync().unwrap();
    drop(writer);
    std::fs::remove_dir(dir.path().join(SCRATCH_DIR)).unwrap();
    let mut writer = LogWriter::open(dir.path()).unwrap();
    append(&mut writer, sample, 14);
    writer.sync().unwrap();
    assert_eq!(writer.durable_size(), 14);
}

#[test]
fn the_past_is_remembered_across_a_restart() {
    let sample = sample();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::create(dir.path(), &origin(), &policy().to_text()).unwrap();
    append(&mut writer, sample, 300);
    writer.sync().unwrap();
    append(&mut writer, sample, 600);
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

/// Publishes what is not published yet, as a replay of the Raft log would.
fn run_transition(disk: &SharedDisk, moved: &MovedSample) -> Result<(), WriterFault> {
    let mut writer = disk.open()?;
    append(&mut writer, &moved.sample, 30);
    writer.sync()?;
    if published_size(&writer) < MovedSample::TRANSITION {
        writer.publish_transition(&moved.note_by(&[0, 1]), &moved.policy_after().to_text())?;
    }
    match published_size(&writer) {
        30 => Ok(()),
        _ => writer.publish(&note_of(&moved.sample, 30, &[1, 3])),
    }
}

#[test]
fn a_crash_in_a_transition_leaves_one_policy_or_the_other() {
    let (moved, base) = (MovedSample::new(), SharedDisk::default());
    let mut writer = base.create().unwrap();
    append(&mut writer, &moved.sample, 9);
    writer.sync().unwrap();
    writer.publish(&note_of(&moved.sample, 9, &[0, 1])).unwrap();
    drop(writer);
    let failures: [fn(u64) -> Failure; 2] = [|_| Failure::NothingDone, Failure::power_cut];
    for failure in failures {
        for place in 1.. {
            let disk = base.copy();
            disk.fail_at(place, failure(place));
            let is_hurt = run_transition(&disk, &moved).is_err();
            disk.repair();
            run_transition(&disk, &moved).unwrap();
            let report = verify_log(&disk.source(), &policy(), &mut ());
            assert_eq!((report.size, &*report.faults), (30, &[][..]), "hurt at {place}");
            let found = String::from_utf8(disk.source().0[POLICY_FILE].clone()).unwrap();
            assert_eq!(found, moved.policy_after().to_text());
            if !is_hurt {
                assert!(place > 20);
                break;
            }
        }
    }
}

#[test]
fn a_transition_needs_those_before_and_those_after() {
    let (moved, disk) = (MovedSample::new(), SharedDisk::default());
    let mut writer = disk.create().unwrap();
    append(&mut writer, &moved.sample, MovedSample::TRANSITION);
    writer.sync().unwrap();
    let after = moved.policy_after().to_text();
    let mut check = |nodes: &[usize], policy: &str, slug: &str| {
        let refused = writer.publish_transition(&moved.note_by(nodes), policy).unwrap_err();
        assert_eq!(refused.slug(), slug);
    };
    check(&[0, 3], &after, "transition_refused");
    check(&[1, 2], &after, "transition_refused");
    check(&[0, 1], "quorum none\n", "transition_refused");
    assert_eq!(writer.publish(&moved.note_by(&[0, 3])).unwrap_err().slug(), "no_quorum");
    writer.publish_transition(&moved.note_by(&[0, 1]), &after).unwrap();
    assert_eq!((writer.transitions().len(), writer.policy().to_text()), (1, after));
}
