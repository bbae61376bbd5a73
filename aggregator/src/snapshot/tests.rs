//! A snapshot is there whole, or not at all, or refused by the name of what is wrong in it.

use std::sync::Arc;

use proofmark_evidence::Hash;

use super::mem_disk::{Failure, MemFiles};
use super::*;
use crate::consensus::Membership;
use crate::consensus::Position;
use crate::limits::SNAPSHOT_CHUNK_BYTES;

fn about(index: u64) -> About {
    let membership = Membership { voters: [1, 2, 3].into(), ..Membership::default() };
    let position = Position { index, term: 3 };
    About { log_id: Hash([7; 32]), position, membership, leaf_count: index * 2 }
}

/// Rows of three chunks, one of which reaches from the first into the third.
fn rows() -> Vec<RowBytes> {
    let row = |key: u8, len: usize| (vec![key; 3], vec![key; len]);
    vec![
        row(1, 0),
        row(2, SNAPSHOT_CHUNK_BYTES - 20),
        row(3, SNAPSHOT_CHUNK_BYTES + 5),
        row(4, 200),
        row(5, 1),
    ]
}

fn open(files: &MemFiles) -> SnapshotStore {
    SnapshotStore::open(Arc::new(files.clone())).unwrap()
}

fn read(store: &SnapshotStore, index: u64) -> Result<Vec<RowBytes>, SnapshotFault> {
    store.snapshot(index)?.rows().collect()
}

/// A disk that holds one snapshot, at 10.
fn written() -> (MemFiles, Descriptor) {
    let files = MemFiles::default();
    let descriptor = open(&files).write(&about(10), &rows()).unwrap();
    (files, descriptor)
}

#[test]
fn what_was_written_is_read() {
    let check = |rows: &[RowBytes], chunks: u32| {
        let files = MemFiles::default();
        let store = open(&files);
        let descriptor = store.write(&about(10), rows).unwrap();
        assert_eq!(descriptor.chunk_count(), chunks);
        assert_eq!(Descriptor::decode(&descriptor.encode()), Ok(descriptor));
        assert_eq!(read(&store, 10).unwrap(), rows);
        assert_eq!(*store.snapshot(10).unwrap().about(), about(10));
        let bytes = files.bytes("00000000000000000010");
        assert_eq!(bytes.len() as u64, descriptor.bytes());
        assert!(store.find(&descriptor).is_some());
    };
    check(&rows(), 3);
    check(&[], 0);
    // A row that ends with its chunk: the key's and the value's lengths take 1 and 3 bytes.
    check(&[(vec![1], vec![2; SNAPSHOT_CHUNK_BYTES - 5])], 1);
    check(&[(vec![1], vec![2; SNAPSHOT_CHUNK_BYTES - 4])], 2);
}

#[test]
fn the_same_state_is_the_same_file() {
    assert_eq!(written().1, written().1);
    assert_eq!(
        written().0.bytes("00000000000000000010"),
        written().0.bytes("00000000000000000010")
    );
}

#[test]
fn a_flipped_bit_is_named_by_its_part() {
    let (files, descriptor) = written();
    let head = descriptor.head_bytes as usize;
    let check = |byte: usize, slug: &str| {
        let files = files.copy();
        files.flip("00000000000000000010", byte * 8 + byte % 8);
        let store = open(&files);
        let fault = read(&store, 10).expect_err("a flipped bit is noticed");
        assert_eq!(fault.slug(), slug, "byte {byte}: {fault}");
        assert!(store.find(&descriptor).is_none(), "byte {byte}");
    };
    (0..head).for_each(|byte| check(byte, "snapshot_head"));
    for chunk in 0..3 {
        let first = head + chunk * SNAPSHOT_CHUNK_BYTES;
        for byte in [first, first + 1, first + 17] {
            check(byte, "snapshot_chunk");
        }
    }
    check(descriptor.bytes() as usize - 1, "snapshot_chunk");
}

#[test]
fn a_cut_file_is_refused() {
    let (files, descriptor) = written();
    let whole = files.bytes("00000000000000000010");
    for len in [0, 5, 12, 40, descriptor.head_bytes as usize, whole.len() - 1] {
        let cut = MemFiles::default();
        cut.write_at("00000000000000000010", 0, &whole[..len]).unwrap();
        read(&open(&cut), 10).expect_err("a cut file is noticed");
    }
    assert_eq!(read(&open(&MemFiles::default()), 10).unwrap_err().slug(), "snapshot_gone");
}

/// What may happen to the n-th operation.
fn failures(place: u64) -> Vec<Failure> {
    let cuts = (0..8).map(|seed: u64| Failure::PowerCut {
        coin: (seed * 31 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    });
    cuts.chain([Failure::NothingDone, Failure::DoneAllTheSame]).collect()
}

#[test]
fn a_write_cut_at_any_step_leaves_the_old_and_none_or_all_of_the_new() {
    let mut seen = (0, 0);
    for place in 1..=8 {
        for failure in failures(place) {
            let (files, _) = written();
            files.fail_at(place, failure);
            open(&files).write(&about(20), &rows()).expect_err("the disk failed");
            files.repair();
            let store = open(&files);
            assert_eq!(read(&store, 10).unwrap(), rows(), "{place} {failure:?}");
            match store.indexes().unwrap().as_slice() {
                [10] => seen.0 += 1,
                [20, 10] => {
                    seen.1 += 1;
                    assert_eq!(read(&store, 20).unwrap(), rows(), "{place} {failure:?}");
                }
                other => panic!("{place} {failure:?}: {other:?}"),
            }
            store.write(&about(20), &rows()).unwrap();
            assert_eq!(read(&store, 20).unwrap(), rows());
            assert!(files.list().unwrap().iter().all(|name| !name.ends_with(".tmp")));
        }
    }
    assert!(seen.0 > 20 && seen.1 > 5, "{seen:?}: both ends were seen");
    let (files, _) = written();
    files.fail_at(9, Failure::NothingDone);
    open(&files).write(&about(20), &rows()).expect("a write has eight steps");
}

#[test]
fn a_download_cut_at_any_step_goes_on_with_what_is_whole() {
    let (from, descriptor) = written();
    let from = open(&from).snapshot(10).unwrap();
    for place in 1..=8 {
        for failure in failures(place) {
            let files = MemFiles::default();
            files.fail_at(place, failure);
            download(&open(&files), &from).expect_err("the disk failed");
            files.repair();
            let store = open(&files);
            if store.find(&descriptor).is_none() {
                download(&store, &from).unwrap();
            }
            assert_eq!(read(&store, 10).unwrap(), rows(), "{place} {failure:?}");
        }
    }
}

/// Resumes or begins, takes what is missing, finishes.
fn download(store: &SnapshotStore, from: &Snapshot) -> Result<(), SnapshotFault> {
    let descriptor = from.descriptor();
    let mut part = match store.resume(&descriptor) {
        Some(part) => part,
        None => store.begin(&descriptor, &from.head_bytes())?,
    };
    for number in part.missing().clone() {
        part.put(number, &from.chunk(number)?)?;
    }
    part.finish()
}

#[test]
fn a_resumed_download_asks_only_for_what_is_missing_or_damaged() {
    let (from, descriptor) = written();
    let from = open(&from).snapshot(10).unwrap();
    let files = MemFiles::default();
    let store = open(&files);
    let mut part = store.begin(&descriptor, &from.head_bytes()).unwrap();
    part.put(0, &from.chunk(0).unwrap()).unwrap();
    part.put(2, &from.chunk(2).unwrap()).unwrap();
    drop(part);
    let part = |store: &SnapshotStore| store.resume(&descriptor).unwrap();
    assert_eq!(*part(&store).missing(), [1].into());
    files.flip("00000000000000000010.part", (descriptor.head_bytes as usize + 9) * 8);
    assert_eq!(*part(&store).missing(), [0, 1].into());
    files.flip("00000000000000000010.part", 100);
    assert!(store.resume(&descriptor).is_none(), "a damaged head begins again");
}

#[test]
fn a_lying_peer_is_refused_piece_by_piece() {
    let (from, descriptor) = written();
    let from = open(&from).snapshot(10).unwrap();
    let store = open(&MemFiles::default());
    let mut head = from.head_bytes();
    head[40] ^= 1;
    assert_eq!(store.begin(&descriptor, &head).err().unwrap().slug(), "snapshot_head");
    let other = Descriptor { leaf_count: descriptor.leaf_count + 1, ..descriptor };
    assert_eq!(store.begin(&other, &from.head_bytes()).err().unwrap().slug(), "snapshot_head");
    let mut part = store.begin(&descriptor, &from.head_bytes()).unwrap();
    let refused = part.put(0, &from.chunk(1).unwrap()).unwrap_err();
    assert_eq!(refused.slug(), "snapshot_chunk");
    assert_eq!(part.put(3, b"").unwrap_err().slug(), "snapshot_chunk");
    assert_eq!(part.missing().len(), 3);
}

#[test]
fn the_newest_are_kept_and_the_newest_that_fits_the_log() {
    let check = |written: &[u64], applied: u64, kept: &[u64]| {
        let store = open(&MemFiles::default());
        for index in written {
            store.write(&about(*index), &[]).unwrap();
        }
        store.prune(applied).unwrap();
        assert_eq!(store.indexes().unwrap(), kept);
    };
    check(&[10, 20, 30], 30, &[30, 20]);
    check(&[10, 20], 25, &[20, 10]);
    // 20 and 30 came from elsewhere and are not installed.
    check(&[5, 10, 20, 30], 12, &[30, 20, 10]);
}

#[test]
fn starting_removes_what_was_being_written_and_keeps_what_was_on_its_way() {
    let files = MemFiles::default();
    for name in ["00000000000000000010.tmp", "00000000000000000020.part", "other"] {
        files.write_at(name, 0, b"x").unwrap();
    }
    let store = open(&files);
    assert_eq!(files.list().unwrap(), ["00000000000000000020.part", "other"]);
    assert!(store.indexes().unwrap().is_empty());
}

#[test]
fn a_real_directory_serves_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(DiskFiles::open(dir.path().join("snapshots")).unwrap());
    let store = SnapshotStore::open(files).unwrap();
    let descriptor = store.write(&about(10), &rows()).unwrap();
    assert_eq!(read(&store, 10).unwrap(), rows());
    assert!(store.find(&descriptor).is_some());
    store.write(&about(20), &rows()).unwrap();
    store.write(&about(30), &rows()).unwrap();
    store.prune(30).unwrap();
    assert_eq!(store.indexes().unwrap(), [30, 20]);
}
