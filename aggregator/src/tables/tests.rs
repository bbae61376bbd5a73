//! Saved is loaded, exactly; damage of any kind ends in "start empty", never in wrong rows.

use std::fs;

use proofmark_evidence::{AgentName, BatchSpan, ResultId};
use tempfile::TempDir;

use super::*;
use crate::limits::INDEX_ROW_BATCHES_MAX;

struct Fixture {
    home: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("tables")
    }

    fn open(&self) -> (Tables, Option<LoadedRows>) {
        Tables::open(&self.dir()).unwrap()
    }

    fn moved_aside(&self) -> usize {
        let entries = fs::read_dir(self.home.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("tables.damaged-")).count()
    }
}

fn put(key: &str, value: &str) -> RowChange {
    (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
}

fn rows(rows: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn batch(seq_first: u64, seq_end: u64) -> BatchSpan {
    BatchSpan { agent: AgentName::parse("web-1").unwrap(), epoch: 1, seq_first, seq_end }
}

fn leaf_of(index: &ResultIndex, seq: u64) -> Option<u64> {
    let id = ResultId { agent: AgentName::parse("web-1").unwrap(), epoch: 1, seq };
    index.find(&id).unwrap()
}

#[test]
fn what_was_saved_is_loaded_and_what_was_removed_is_gone() {
    let fixture = Fixture::new();
    let (mut tables, loaded) = fixture.open();
    assert_eq!(loaded, None);
    tables.save(vec![put("a1", "one"), put("a2", "two"), put("a3", "three")], 7).unwrap();
    tables.save(vec![put("a1", "uno"), (b"a3".to_vec(), None)], 9).unwrap();
    drop(tables);
    let (_, loaded) = fixture.open();
    let expected = LoadedRows { applied_index: 9, rows: rows(&[("a1", "uno"), ("a2", "two")]) };
    assert_eq!(loaded, Some(expected));
    assert_eq!(fixture.moved_aside(), 0);
}

#[test]
fn the_index_finds_a_result_in_the_middle_of_its_batch_and_none_beside_it() {
    let fixture = Fixture::new();
    let (tables, _) = fixture.open();
    let index = tables.index();
    index.take_leaf(0, None).unwrap();
    index.take_leaf(1, Some(&batch(1, 11))).unwrap();
    index.take_leaf(2, Some(&batch(11, 13))).unwrap();
    let found: Vec<_> = [0, 1, 10, 11, 12, 13].map(|seq| leaf_of(&index, seq)).into();
    assert_eq!(found, [None, Some(1), Some(1), Some(2), Some(2), None]);
    assert_eq!(index.covered(), 3);
}

/// Written in rows of many batches, in memory, or both: the same is found.
#[test]
fn the_index_finds_the_same_before_and_after_a_save_and_a_start() {
    let fixture = Fixture::new();
    let (mut tables, _) = fixture.open();
    let leaves = 3 * INDEX_ROW_BATCHES_MAX as u64;
    let check = |index: &ResultIndex, leaves: u64| {
        for leaf in 0..leaves {
            let found: Vec<_> = [1, 2, 3].map(|at| leaf_of(index, 3 * leaf + at)).into();
            assert_eq!(found, [Some(leaf), Some(leaf), None], "leaf {leaf} of {leaves}");
        }
    };
    for leaf in 0..leaves {
        let batch = batch(3 * leaf + 1, 3 * leaf + 3);
        tables.index().take_leaf(leaf, Some(&batch)).unwrap();
        if leaf == leaves / 2 {
            check(&tables.index(), leaf);
            tables.save(Vec::new(), leaf).unwrap();
        }
    }
    check(&tables.index(), leaves);
    tables.save(Vec::new(), leaves).unwrap();
    check(&tables.index(), leaves);
    drop(tables);
    check(&fixture.open().0.index(), leaves);
}

/// Without gaps between their numbers, batches of one agent share rows.
#[test]
fn batches_share_rows() {
    let fixture = Fixture::new();
    let (mut tables, _) = fixture.open();
    let leaves = INDEX_ROW_BATCHES_MAX as u64 + 1;
    for leaf in 0..leaves {
        tables.index().take_leaf(leaf, Some(&batch(leaf + 1, leaf + 2))).unwrap();
    }
    tables.save(Vec::new(), leaves).unwrap();
    assert_eq!(tables.db.open_tree("results").unwrap().len(), 2);
    assert_eq!(
        [1, leaves, leaves + 1].map(|seq| leaf_of(&tables.index(), seq)),
        [Some(0), Some(leaves - 1), None]
    );
}

#[test]
fn index_entries_newer_than_the_save_are_forgotten_and_can_be_taken_again() {
    let fixture = Fixture::new();
    let (mut tables, _) = fixture.open();
    tables.index().take_leaf(0, Some(&batch(1, 2))).unwrap();
    tables.save(vec![put("a1", "one")], 1).unwrap();
    tables.index().take_leaf(1, Some(&batch(2, 3))).unwrap();
    drop(tables); // sled writes what it has when it is dropped, the entry of leaf 1 too
    let (tables, loaded) = fixture.open();
    assert!(loaded.is_some());
    assert_eq!(tables.index().covered(), 1);
    assert_eq!(leaf_of(&tables.index(), 2), None);
    tables.index().take_leaf(1, Some(&batch(2, 3))).unwrap();
    assert_eq!(leaf_of(&tables.index(), 2), Some(1));
}

#[test]
fn a_leaf_left_out_breaks_the_index_and_stops_saves_but_nothing_else() {
    let fixture = Fixture::new();
    let (mut tables, _) = fixture.open();
    let fault = tables.index().take_leaf(5, None).unwrap_err();
    let text = "tables_mismatch: next leaf of the index: expected 0, got 5";
    assert_eq!(fault.to_string(), text);
    assert!(matches!(tables.save(Vec::new(), 1), Err(TablesFault::Broken)));
    tables.index().take_leaf(6, None).unwrap();
}

#[test]
fn large_values_come_back_whole() {
    let fixture = Fixture::new();
    let (mut tables, _) = fixture.open();
    let large = "a spec of many checks ".repeat(50_000);
    tables.save(vec![put("s1", &large), put("s2", &large)], 1).unwrap();
    drop(tables);
    let expected = LoadedRows { applied_index: 1, rows: rows(&[("s1", &large), ("s2", &large)]) };
    assert!(fixture.open().1 == Some(expected), "a value of 1 MiB was changed");
}

#[test]
fn tables_that_do_not_fit_are_kept_aside_for_a_person() {
    let fixture = Fixture::new();
    for round in 1..=5 {
        let (mut tables, _) = fixture.open();
        tables.save(vec![put("a1", "one")], round).unwrap();
        drop(tables);
        Tables::start_over(&fixture.dir(), "ahead of the evidence").unwrap();
        assert_eq!(fixture.open().1, None);
    }
    assert_eq!(fixture.moved_aside(), crate::limits::TABLES_DAMAGED_KEPT_MAX);
}

#[test]
fn rows_without_their_manifest_are_not_trusted() {
    let fixture = Fixture::new();
    let (mut tables, _) = fixture.open();
    tables.save(vec![put("a1", "one")], 1).unwrap();
    tables.rows.remove(MANIFEST_KEY).unwrap();
    drop(tables);
    let (_, loaded) = fixture.open();
    assert_eq!(loaded, None);
    assert_eq!(fixture.moved_aside(), 1);
}

#[test]
fn a_silently_missing_row_or_index_entry_is_noticed() {
    let check = |lose: fn(&Tables)| {
        let fixture = Fixture::new();
        let (mut tables, _) = fixture.open();
        tables.index().take_leaf(0, Some(&batch(1, 2))).unwrap();
        tables.save(vec![put("a1", "one"), put("a2", "two")], 1).unwrap();
        lose(&tables);
        drop(tables);
        let (tables, loaded) = fixture.open();
        assert_eq!(loaded, None);
        assert_eq!(tables.index().covered(), 0);
        assert_eq!(fixture.moved_aside(), 1);
    };
    check(|tables| drop(tables.rows.remove(b"a2")));
    check(|tables| drop(tables.rows.insert(b"a2", sealed::seal(b"a2", b"older"))));
    check(|tables| tables.db.open_tree("results").unwrap().clear().unwrap());
}

#[test]
fn a_second_process_waits_for_the_lock_and_never_moves_what_is_in_use() {
    let fixture = Fixture::new();
    let (mut first, _) = fixture.open();
    first.save(vec![put("a1", "one")], 1).unwrap();
    let dir = fixture.dir();
    let second = std::thread::spawn(move || Tables::open(&dir).unwrap().1);
    first.save(vec![put("a1", "two")], 2).unwrap();
    drop(first);
    let loaded = second.join().unwrap();
    assert_eq!(loaded, Some(LoadedRows { applied_index: 2, rows: rows(&[("a1", "two")]) }));
    assert_eq!(fixture.moved_aside(), 0);
}

/// Every file deleted, emptied, cut and flipped: what comes back is exact, or nothing.
#[test]
fn damage_is_either_harmless_or_noticed() {
    let fixture = Fixture::new();
    let (mut tables, _) = fixture.open();
    for leaf in 0..200 {
        tables.index().take_leaf(leaf, Some(&batch(leaf * 10, leaf * 10 + 10))).unwrap();
    }
    let many: Vec<_> = (0..200).map(|n| put(&format!("a{n:03}"), &"value ".repeat(n))).collect();
    tables.save(many.clone(), 41).unwrap();
    tables.save(vec![put("a000", "newest")], 42).unwrap();
    drop(tables);
    let (_, whole) = fixture.open();
    let whole = whole.expect("nothing was damaged yet");
    assert_eq!((whole.applied_index, whole.rows.len()), (42, many.len()));

    let pristine = copy_of(&fixture.dir());
    let (mut rebuilt, mut loaded) = (0, 0);
    for (path, bytes) in &pristine {
        for damaged in damages(bytes) {
            restore(&fixture.dir(), &pristine);
            match damaged {
                Some(damaged) => fs::write(path, damaged).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            let (tables, rows) = fixture.open();
            match rows {
                Some(rows) => {
                    assert!(rows == whole, "wrong rows were loaded from damaged {path:?}");
                    assert_eq!(leaf_of(&tables.index(), 1_234), Some(123));
                    loaded += 1;
                }
                None => {
                    assert_eq!(tables.index().covered(), 0);
                    rebuilt += 1;
                }
            }
        }
    }
    assert!(rebuilt > 20, "only {rebuilt} damages were noticed, {loaded} were harmless");
    assert!(fixture.moved_aside() <= crate::limits::TABLES_DAMAGED_KEPT_MAX);
}

fn copy_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.is_file());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn restore(dir: &Path, files: &[(PathBuf, Vec<u8>)]) {
    fs::remove_dir_all(dir).unwrap();
    fs::create_dir_all(dir.join("blobs")).unwrap();
    files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

/// Deleted, emptied, cut at three places, one bit flipped at twelve places that hold something.
fn damages(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let cuts = [bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(100)];
    let mut damages = vec![None, Some(Vec::new())];
    damages.extend(cuts.map(|len| Some(bytes[..len].to_vec())));
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    damages.extend(used.iter().step_by(used.len() / 12 + 1).map(|at| {
        let mut flipped = bytes.to_vec();
        flipped[*at] ^= 0x10;
        Some(flipped)
    }));
    damages
}
