//! What a log keeps through reopening, conflicts, crashes and damage.

use std::path::PathBuf;

use raft::eraftpb::HardState;

use super::*;

const IDENTITY: LogIdentity = LogIdentity { log_id: [7; 32], node_id: 1 };

fn entries(range: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    let data = |index| format!("entry {index} of term {term}").into_bytes().into();
    range.map(|index| Entry { index, term, data: data(index), ..Entry::default() }).collect()
}

fn task(entries: Vec<Entry>, hard_state: Option<(u64, u64, u64)>) -> WriteTask {
    let hard_state = hard_state.map(|(term, vote, commit)| HardState {
        term,
        vote,
        commit,
        ..HardState::default()
    });
    WriteTask { number: 1, entries, hard_state, must_sync: true, ..WriteTask::default() }
}

fn fresh() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    LogStore::create(dir.path(), IDENTITY, &[1, 2, 3]).unwrap();
    dir
}

fn open(dir: &tempfile::TempDir) -> (LogStore, RecoveredLog) {
    LogStore::open(dir.path(), IDENTITY).unwrap()
}

/// Writes each group as one record, then opens the log again.
fn write_and_reopen(dir: &tempfile::TempDir, groups: &[&[WriteTask]]) -> (LogStore, RecoveredLog) {
    let (store, _) = open(dir);
    groups.iter().for_each(|group| store.write(group).unwrap());
    drop(store);
    open(dir)
}

#[test]
fn a_new_log_holds_its_voters_and_nothing_else() {
    let (_, recovered) = open(&fresh());
    assert_eq!(recovered, RecoveredLog { voters: vec![1, 2, 3], ..RecoveredLog::default() });
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let dir = fresh();
    let group = [task(entries(1..4, 1), Some((1, 2, 0))), task(entries(4..6, 1), None)];
    let newer_commit = [task(vec![], Some((1, 2, 3)))];
    let (store, recovered) = write_and_reopen(&dir, &[&group, &newer_commit]);
    assert_eq!(recovered.last_index, 5);
    assert_eq!((recovered.hard_state.vote, recovered.hard_state.commit), (2, 3));
    assert_eq!(store.fetch(1, 6, u64::MAX).unwrap(), entries(1..6, 1));
    assert_eq!(store.bytes(), std::fs::metadata(only_file(&dir)).unwrap().len());
}

#[test]
fn a_conflicting_suffix_is_replaced_in_one_stroke() {
    let older = task(entries(1..9, 1), None);
    let newer = task(entries(4..6, 2), None);
    let oldest_of_all = task(entries(1..2, 3), None);
    let kept = [entries(1..4, 1), entries(4..6, 2)].concat();
    // In records of their own, and within one.
    let both = [older.clone(), newer.clone()];
    let groups: [&[&[WriteTask]]; 2] = [&[&both[..1], &both[1..]], &[&both]];
    for groups in groups {
        let dir = fresh();
        let (store, recovered) = write_and_reopen(&dir, groups);
        assert_eq!(recovered.last_index, 5);
        assert_eq!(store.fetch(1, 6, u64::MAX).unwrap(), kept);
        assert!(store.fetch(6, 7, u64::MAX).is_err(), "the old suffix is gone");
    }
    let dir = fresh();
    let (store, _) = write_and_reopen(&dir, &[&[older, newer, oldest_of_all]]);
    assert_eq!(store.fetch(1, 9, u64::MAX).unwrap(), entries(1..2, 3));
}

#[test]
fn a_fetch_stops_at_its_byte_bound_but_gives_at_least_one_entry() {
    let dir = fresh();
    let (store, _) = write_and_reopen(&dir, &[&[task(entries(1..9, 1), None)]]);
    assert_eq!(store.fetch(3, 9, 0).unwrap(), entries(3..4, 1));
    assert_eq!(store.fetch(1, 9, 60).unwrap(), entries(1..4, 1));
}

#[test]
fn full_files_are_followed_by_new_ones() {
    let dir = fresh();
    let small = |dir: &Path| LogStore::open_on(on(dir), IDENTITY, 200).unwrap();
    let (store, _) = small(dir.path());
    (1..40).for_each(|index| store.write(&[task(entries(index..index + 1, 1), None)]).unwrap());
    drop(store);
    assert!(names(dir.path()).len() > 5);
    std::fs::write(dir.path().join("next.tmp"), b"a crash while the next file was made").unwrap();
    let (store, recovered) = small(dir.path());
    assert_eq!(recovered.last_index, 39);
    assert_eq!(store.fetch(1, 40, u64::MAX).unwrap(), entries(1..40, 1));
    drop(store);
    let middle = names(dir.path())[2].clone();
    std::fs::remove_file(middle).unwrap();
    let refused = LogStore::open(dir.path(), IDENTITY).map(drop).unwrap_err();
    assert!(matches!(refused, LogStoreFault::Damaged { what: "the file before it", .. }));
}

#[test]
fn the_wrong_directory_is_refused_by_name() {
    let dir = fresh();
    let other = LogIdentity { node_id: 2, ..IDENTITY };
    let refused = LogStore::open(dir.path(), other).map(drop).unwrap_err();
    assert!(matches!(refused, LogStoreFault::Identity { .. }), "{refused}");
    let refused = LogStore::create(dir.path(), other, &[1]).unwrap_err();
    assert!(matches!(refused, LogStoreFault::Exists { node_id: 1, .. }), "{refused}");
    for empty in [dir.path().join("nothing"), tempfile::tempdir().unwrap().keep()] {
        let refused = LogStore::open(&empty, IDENTITY).map(drop).unwrap_err();
        assert!(matches!(refused, LogStoreFault::Missing { .. }), "{refused}");
    }
}

#[test]
fn a_log_exists_once_its_first_file_has_its_name() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("raft");
    assert!(!LogStore::exists(&dir), "no directory");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("next.tmp"), b"half of").unwrap();
    std::fs::write(dir.join("lock"), b"").unwrap();
    assert!(!LogStore::exists(&dir), "create was killed");
    LogStore::create(&dir, IDENTITY, &[1, 2, 3]).unwrap();
    assert!(LogStore::exists(&dir));
    assert_eq!(LogStore::open(&dir, IDENTITY).unwrap().1.voters, [1, 2, 3]);
    for file in names(&dir) {
        std::fs::write(file, b"rotten").unwrap();
    }
    assert!(LogStore::exists(&dir), "a damaged log is not a missing one");
    assert!(LogStore::exists(&home.path().join("raft/lock")), "what cannot be read counts");
}

#[test]
fn two_processes_do_not_share_a_log() {
    let dir = fresh();
    let first = open(&dir);
    let refused = LogStore::open(dir.path(), IDENTITY).map(drop).unwrap_err();
    assert!(matches!(refused, LogStoreFault::InUse { .. }), "{refused}");
    drop(first);
    open(&dir);
}

/// A power cut leaves any beginning of the last record: it is cut away, the rest stays, and the
/// log goes on.
#[test]
fn an_unfinished_last_record_is_cut_away_at_every_length() {
    let dir = three_records();
    let file = only_file(&dir);
    let whole = std::fs::read(&file).unwrap();
    let last = files::scan(&*on(dir.path()), 1, true).unwrap().records[2].0;
    for len in last..whole.len() {
        std::fs::write(&file, &whole[..len]).unwrap();
        let (store, recovered) = open(&dir);
        assert_eq!(recovered.last_index, 4, "cut at {len} of {}", whole.len());
        store.write(&[task(entries(5..6, 9), None)]).unwrap();
        drop(store);
        assert_eq!(open(&dir).0.fetch(5, 6, 0).unwrap(), entries(5..6, 9));
    }
}

/// Whatever byte rots: what was confirmed is never gone in silence. Only the last record can look
/// like one that was never finished.
#[test]
fn a_damaged_byte_is_refused_wherever_a_record_follows() {
    let dir = three_records();
    let file = only_file(&dir);
    let whole = std::fs::read(&file).unwrap();
    let last = files::scan(&*on(dir.path()), 1, true).unwrap().records[2].0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&file, &bytes).unwrap();
        let opened = LogStore::open(dir.path(), IDENTITY).map(|(_, recovered)| recovered);
        match opened {
            Ok(recovered) => assert!(at >= last && recovered.last_index == 4, "byte {at}"),
            Err(refused) => {
                assert!(matches!(refused, LogStoreFault::Damaged { .. }), "byte {at}: {refused}");
                assert!(at < last, "byte {at}: {refused}");
            }
        }
    }
}

#[test]
fn a_bit_that_rots_while_the_log_is_open_is_found_by_the_reader() {
    let dir = three_records();
    let (store, _) = open(&dir);
    let file = only_file(&dir);
    let mut bytes = std::fs::read(&file).unwrap();
    let text = b"entry 2 of term 1";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(store.fetch(1, 2, 0).unwrap(), entries(1..2, 1));
    let refused = store.fetch(2, 3, 0).unwrap_err();
    assert!(refused.cause.starts_with("bad checksum"), "{refused}");
}

/// An agent's payload that holds a whole record of this very log does not make it one.
#[test]
fn a_record_inside_an_entry_is_only_data() {
    let dir = three_records();
    let forged = record::frame(6, b"\0\0\0", &FileHeader::NO_SALT);
    let entry = Entry { index: 5, term: 2, data: forged.into(), ..Entry::default() };
    let (store, _) = open(&dir);
    store.write(&[task(vec![entry], None)]).unwrap();
    drop(store);
    let file = only_file(&dir);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(open(&dir).1.last_index, 5, "the third record's; the fourth was unfinished");
}

fn three_records() -> tempfile::TempDir {
    let dir = fresh();
    let first = [task(entries(1..3, 1), Some((1, 2, 0)))];
    let second = [task(entries(3..5, 1), None)];
    let third = [task(entries(5..6, 1), Some((2, 0, 4)))];
    write_and_reopen(&dir, &[&first, &second, &third]);
    dir
}

fn only_file(dir: &tempfile::TempDir) -> PathBuf {
    names(dir.path())[0].clone()
}

fn on(dir: &Path) -> Arc<dyn LogFiles> {
    Arc::new(DirFiles::new(dir))
}

/// The log's files, oldest first.
fn names(dir: &Path) -> Vec<PathBuf> {
    let numbers = files::list(&*on(dir)).unwrap();
    numbers.into_iter().map(|number| dir.join(files::name(number))).collect()
}

fn small(dir: &tempfile::TempDir) -> (LogStore, RecoveredLog) {
    LogStore::open_on(on(dir.path()), IDENTITY, 200).unwrap()
}

/// Forty entries of one term over many small files.
fn many_files() -> (tempfile::TempDir, LogStore) {
    let dir = fresh();
    let (store, _) = small(&dir);
    let hard_state = Some((1, 2, 0));
    store.write(&[task(entries(1..2, 1), hard_state)]).unwrap();
    (2..41).for_each(|index| store.write(&[task(entries(index..index + 1, 1), None)]).unwrap());
    (dir, store)
}

fn at(index: u64, term: u64) -> Position {
    Position { index, term }
}

#[test]
fn a_compacted_log_lets_go_of_whole_files_and_keeps_the_rest() {
    let (dir, store) = many_files();
    let (files, bytes) = (names(dir.path()).len(), store.bytes());
    store.compact(at(30, 1)).unwrap();
    assert!(names(dir.path()).len() < files / 2, "of {files} files");
    assert!(store.bytes() < bytes / 2);
    assert!(store.fetch(30, 31, 0).unwrap_err().is_gone);
    assert_eq!(store.fetch(31, 41, u64::MAX).unwrap(), entries(31..41, 1));
    assert_eq!((store.position(29), store.position(30)), (None, Some(at(30, 1))));
    drop(store);
    let (store, recovered) = small(&dir);
    assert_eq!((recovered.start, recovered.last_index), (at(30, 1), 40));
    assert_eq!(recovered.hard_state.vote, 2, "its own record is gone");
    assert_eq!(store.fetch(31, 41, u64::MAX).unwrap(), entries(31..41, 1));
}

#[test]
fn a_follower_that_lags_a_little_is_left_some_of_it() {
    let (_dir, store) = many_files();
    assert_eq!(store.compactable(at(35, 1), 0), at(35, 1));
    let ten = entries(31..41, 1).iter().map(|entry| entry.data.len() as u64).sum();
    assert_eq!(store.compactable(at(35, 1), ten), at(30, 1));
    assert_eq!(store.compactable(at(35, 1), u64::MAX), at(0, 0));
}

#[test]
fn a_log_that_starts_over_holds_only_what_comes_after_the_snapshot() {
    let (dir, store) = many_files();
    let reset = WriteTask { reset: Some(at(90, 3)), ..task(entries(91..92, 3), Some((3, 0, 90))) };
    store.write(&[task(vec![], Some((3, 0, 5))), reset]).unwrap();
    assert_eq!(names(dir.path()).len(), 1, "the newest");
    assert!(store.fetch(40, 41, 0).unwrap_err().is_gone);
    drop(store);
    let (store, recovered) = small(&dir);
    assert_eq!((recovered.start, recovered.last_index), (at(90, 3), 91));
    assert_eq!(recovered.hard_state.commit, 90);
    assert_eq!(store.fetch(91, 92, 0).unwrap(), entries(91..92, 3));
}

#[test]
fn files_that_went_without_a_word_were_lost() {
    let lost = |remove: &dyn Fn(&[PathBuf]) -> PathBuf, compacted: bool| {
        let (dir, store) = many_files();
        if compacted {
            store.compact(at(30, 1)).unwrap();
        }
        drop(store);
        std::fs::remove_file(remove(&names(dir.path()))).unwrap();
        LogStore::open(dir.path(), IDENTITY).map(drop).unwrap_err()
    };
    for compacted in [false, true] {
        for which in
            [&(|files: &[PathBuf]| files[0].clone()) as &dyn Fn(&[PathBuf]) -> _, &|f| f[1].clone()]
        {
            let refused = lost(which, compacted);
            let what = "the file before it";
            assert!(matches!(refused, LogStoreFault::Damaged { what: w, .. } if w == what));
        }
    }
}

#[test]
fn a_change_of_the_membership_keeps_its_kind_and_its_context() {
    let dir = fresh();
    let entry_type = raft::eraftpb::EntryType::EntryConfChangeV2;
    let (data, context) = (b"change".to_vec().into(), b"command".to_vec().into());
    let change = Entry { index: 1, term: 1, entry_type, data, context, ..Entry::default() };
    let written = [change, entries(2..3, 1).remove(0)];
    let (store, _) = write_and_reopen(&dir, &[&[task(written.to_vec(), None)]]);
    assert_eq!(store.fetch(1, 3, u64::MAX).unwrap(), written);
}

/// The bytes of format 1, as its last program wrote them.
#[test]
fn a_log_of_version_1_opens_and_goes_on_in_a_file_of_version_2() {
    use proofmark_evidence::ByteWriter;
    let dir = tempfile::tempdir().unwrap();
    let salt = [9; 8];
    let mut header = ByteWriter::new();
    header.u8(1).fixed(&[7; 32]).varint(1).fixed(&salt).varint(2).varint(1).varint(2);
    let mut body = ByteWriter::new();
    body.u8(1).varint(3).varint(2).varint(1); // hard state: term 3, vote 2, commit 1
    body.varint(1).varint(2); // two entries from index 1
    body.varint(1).varint(5).varint(3).varint(4).fixed(b"first").fixed(b"next");
    let header = record::frame(1, &header.into_bytes(), &FileHeader::NO_SALT);
    let body = record::frame(2, &body.into_bytes(), &salt);
    std::fs::write(dir.path().join(files::name(1)), [header, body].concat()).unwrap();
    let (store, recovered) = open(&dir);
    assert_eq!((recovered.voters, recovered.last_index), (vec![1, 2], 2));
    assert_eq!((recovered.hard_state.term, recovered.hard_state.commit), (3, 1));
    store.write(&[task(entries(3..4, 3), None)]).unwrap();
    drop(store);
    assert_eq!(names(dir.path()).len(), 2, "nothing is added to a file of another version");
    let (store, recovered) = open(&dir);
    assert_eq!(recovered.last_index, 3);
    let data: Vec<_> = store.fetch(1, 4, u64::MAX).unwrap().into_iter().map(|e| e.data).collect();
    assert_eq!(data, [&b"first"[..], b"next", b"entry 3 of term 3"]);
    store.compact(at(2, 3)).unwrap();
    drop(store);
    assert_eq!(open(&dir).1.start, at(2, 3));
}
