//! The disk that loses power, mounted: what the kernel makes of it, and what our programs do.

mod faults;
mod first_starts;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use proofmark_tests::dice::Dice;
use proofmark_tests::lossy::{Fault, LossyDisk, Manner};
use proofmark_tests::privilege;

/// How long a program may take to notice its disk.
const PATIENCE: Duration = Duration::from_secs(30);

fn disk(at: &Path) -> Option<LossyDisk> {
    match privilege::lossy_disk() {
        Ok(()) => Some(LossyDisk::mount(at).expect("mounted")),
        Err(why) => privilege::skip("a mounted disk that loses power", &why),
    }
}

#[test]
fn a_mounted_disk_keeps_what_was_synced_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut disk) = disk(&home.path().join("disk")) else { return };
    let at = disk.path().to_owned();
    fs::create_dir(at.join("raft")).unwrap();
    let log = at.join("raft/log");
    let mut file = File::create(&log).unwrap();
    file.write_all(&[1; 10_000]).unwrap();
    file.sync_data().unwrap();
    File::open(at.join("raft")).unwrap().sync_all().unwrap();
    File::open(&at).unwrap().sync_all().unwrap();
    file.write_all(&[2; 10_000]).unwrap();
    fs::write(at.join("raft/other"), b"x").unwrap();
    fs::rename(&log, at.join("raft/renamed")).unwrap();
    assert_eq!(fs::read(at.join("raft/renamed")).unwrap().len(), 20_000);
    assert!(file.try_lock().is_ok(), "locks are the kernel's");

    disk.cut_power();
    assert!(file.write_all(b"y").is_err(), "a dead disk takes nothing");
    drop(file);
    let losses = disk.restore_power(Manner::AllLost, &mut Dice::new(1)).unwrap();
    assert_eq!((losses.names_lost, losses.names_kept, losses.blocks_kept), (2, 0, 0));
    let names: Vec<_> = fs::read_dir(at.join("raft")).unwrap().map(Result::unwrap).collect();
    assert_eq!(names.len(), 1);
    assert_eq!(fs::read(&log).unwrap(), vec![1; 10_000]);
}

#[test]
fn a_mounted_disk_answers_as_a_full_and_as_a_failing_one() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = disk(&home.path().join("disk")) else { return };
    let log = disk.path().join("log");
    fs::write(&log, [1; 100]).unwrap();
    let mut file = OpenOptions::new().read(true).append(true).open(&log).unwrap();
    disk.plant(Fault::Full, "log");
    let refused = file.write_all(&[2; 8192]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
    assert!(disk.heal() > 0);
    disk.plant(Fault::SyncFails, "log");
    file.write_all(b"3").unwrap();
    assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(5));
    assert_eq!(disk.heal(), 1);
    file.set_len(50).unwrap();
    file.seek(SeekFrom::Start(40)).unwrap();
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).unwrap();
    assert_eq!(tail, [1; 10]);
}
