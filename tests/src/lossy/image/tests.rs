//! What a power cut leaves, told by small stories.

use super::*;

const HALF: usize = 2048;

/// A disk with one file of 4 KiB of `1`, synced, its name too.
fn one_file() -> (Image, Ino) {
    let mut disk = Image::new();
    let file = disk.create(ROOT, "log", 0o600).unwrap();
    disk.write(file, 0, &[1; 4096]).unwrap();
    disk.sync_file(file).unwrap();
    disk.sync_dir(ROOT).unwrap();
    (disk, file)
}

fn bytes(disk: &Image, name: &str) -> Option<Vec<u8>> {
    disk.read(disk.lookup(ROOT, name).ok()?, 0, 1 << 20).ok()
}

fn cut(disk: &mut Image) {
    disk.lose(Manner::AllLost, &mut Dice::new(1));
}

#[test]
fn what_was_not_synced_is_gone() {
    let (mut disk, file) = one_file();
    disk.write(file, 4096, &[2; 5000]).unwrap();
    disk.write(file, 10, &[3; 10]).unwrap();
    assert_eq!(disk.stat(file).unwrap().len, 4096 + 5000);
    cut(&mut disk);
    assert_eq!(bytes(&disk, "log").unwrap(), vec![1; 4096]);
}

#[test]
fn what_was_synced_stays_whatever_came_after() {
    let (mut disk, file) = one_file();
    disk.set_len(file, 100).unwrap();
    disk.sync_file(file).unwrap();
    disk.set_len(file, 5000).unwrap();
    assert_eq!(disk.read(file, 90, 20).unwrap(), [vec![1; 10], vec![0; 10]].concat());
    for manner in [Manner::AllLost, Manner::SomeKept] {
        disk.lose(manner, &mut Dice::new(7));
        assert_eq!(bytes(&disk, "log").unwrap()[..100], vec![1; 100]);
    }
}

#[test]
fn a_file_without_a_durable_name_is_gone_though_it_was_synced() {
    let mut disk = Image::new();
    let file = disk.create(ROOT, "new", 0o600).unwrap();
    disk.write(file, 0, b"whole").unwrap();
    disk.sync_file(file).unwrap();
    cut(&mut disk);
    assert_eq!(bytes(&disk, "new"), None);
}

#[test]
fn a_rename_is_whole_or_absent() {
    for seed in 0..50 {
        let (mut disk, _) = one_file();
        let next = disk.create(ROOT, "next", 0o600).unwrap();
        disk.write(next, 0, b"next").unwrap();
        disk.sync_file(next).unwrap();
        disk.sync_dir(ROOT).unwrap();
        disk.rename((ROOT, "next"), (ROOT, "log")).unwrap();
        disk.lose(Manner::SomeKept, &mut Dice::new(seed));
        let old = (bytes(&disk, "log"), bytes(&disk, "next"));
        let is_absent = old == (Some(vec![1; 4096]), Some(b"next".to_vec()));
        assert!(is_absent || old == (Some(b"next".to_vec()), None), "seed {seed}: {old:?}");
    }
}

#[test]
fn a_random_part_is_kept_block_by_block_and_some_are_torn() {
    let mut kinds = BTreeSet::new();
    for seed in 0..200 {
        let (mut disk, file) = one_file();
        disk.write(file, 0, &[2; 8192]).unwrap();
        disk.lose(Manner::SomeKept, &mut Dice::new(seed));
        let left = bytes(&disk, "log").unwrap();
        kinds.insert((left[0], left[HALF], left[4095], left.get(4096).copied()));
    }
    for kind in [(1, 1, 1, None), (2, 2, 2, Some(2)), (1, 1, 1, Some(0)), (2, 1, 1, None)] {
        assert!(kinds.contains(&kind), "never saw {kind:?} in {kinds:?}");
    }
}

#[test]
fn a_failed_sync_has_lost_its_data_and_the_next_one_does_not_bring_it_back() {
    let (mut disk, file) = one_file();
    disk.plant(Fault::SyncFails, "log");
    disk.write(file, 0, &[2; 10]).unwrap();
    assert_eq!(disk.sync_file(file), Err(EIO));
    assert_eq!(disk.heal(), 1);
    assert_eq!(disk.sync_file(file), Ok(()));
    assert_eq!(bytes(&disk, "log").unwrap()[0], 2, "processes see it");
    cut(&mut disk);
    assert_eq!(bytes(&disk, "log").unwrap()[0], 1);
}

#[test]
fn a_full_disk_refuses_what_needs_a_block_and_nothing_else() {
    let (mut disk, file) = one_file();
    disk.plant(Fault::Full, "log");
    assert_eq!(disk.write(file, 4000, &[2; 200]), Err(ENOSPC));
    assert_eq!(disk.write(file, 0, &[2; 200]), Ok(()));
    assert_eq!(disk.create(ROOT, "log2", 0o600), Err(ENOSPC));
    assert!(disk.create(ROOT, "other", 0o600).is_ok());
    assert_eq!(disk.heal(), 2);
}

#[test]
fn folders_lose_their_names_with_their_own_sync_only() {
    let mut disk = Image::new();
    let outer = disk.make_dir(ROOT, "outer", 0o700).unwrap();
    let inner = disk.create(outer, "inner", 0o600).unwrap();
    disk.sync_file(inner).unwrap();
    disk.sync_dir(ROOT).unwrap();
    assert_eq!(disk.remove_dir(ROOT, "outer"), Err(ENOTEMPTY));
    cut(&mut disk);
    assert_eq!(disk.list(outer).unwrap(), []);
    assert_eq!(disk.lookup(ROOT, "outer"), Ok(outer));
    assert_eq!(disk.remove_dir(ROOT, "outer"), Ok(()));
}

#[test]
fn power_goes_in_the_middle_of_a_change() {
    for (is_done, len) in [(false, 4096), (true, 4097)] {
        let (mut disk, file) = one_file();
        disk.doom(Doom { after: 1, is_done });
        disk.change(|disk| disk.write(file, 4096, b"x")).unwrap();
        assert_eq!(disk.change(|disk| disk.sync_file(file)), Err(EIO), "nobody hears of it");
        assert!(!disk.is_powered());
        cut(&mut disk);
        assert_eq!(bytes(&disk, "log").unwrap().len(), len);
    }
}
