//! Opening what may be damaged: on a thread of its own, compared entry by entry with the manifest.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::index::ResultIndex;
use super::manifest::{IndexMark, MANIFEST_KEY, Manifest, SetDigest};
use super::{LoadedRows, Tables, TablesFault, guarded, sealed};
use crate::limits::{
    TABLES_CACHE_BYTES, TABLES_LOCK_RETRY_MS, TABLES_LOCK_TRIES_MAX, TABLES_OPEN_MS_MAX,
};

type Loaded = Result<(Tables, Option<LoadedRows>), TablesFault>;

/// How many entries are compared between two signs of life.
const ENTRIES_PER_SIGN: u64 = 10_000;

enum Sign {
    Alive,
    Done(Box<Loaded>),
}

/// Opens and compares. sled may panic or hang on damaged files, so the caller only waits for
/// signs of life. A thread that hangs is left behind with its file, which is moved aside.
pub(super) fn load_on_helper_thread(dir: &Path) -> Loaded {
    let (signs, heard) = sync_channel(1);
    let path = dir.to_owned();
    let helper = thread::Builder::new().name("tables-open".to_owned()).spawn(move || {
        let loaded = guarded(|| load(&path, &signs));
        // The other side is gone only when it gave this thread up.
        let _ = signs.send(Sign::Done(Box::new(loaded)));
    });
    helper.map_err(|fault| TablesFault::disk(dir, fault))?;
    wait_for(&heard)
}

fn wait_for(heard: &Receiver<Sign>) -> Loaded {
    loop {
        match heard.recv_timeout(Duration::from_millis(TABLES_OPEN_MS_MAX)) {
            Ok(Sign::Alive) => {}
            Ok(Sign::Done(loaded)) => return *loaded,
            Err(RecvTimeoutError::Timeout) => return Err(TablesFault::Stuck(TABLES_OPEN_MS_MAX)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(TablesFault::Panicked("the opening thread died".to_owned()));
            }
        }
    }
}

fn load(dir: &Path, signs: &SyncSender<Sign>) -> Loaded {
    let db = open_locked(dir)?;
    let rows = db.open_tree("rows")?;
    let index = db.open_tree("results")?;
    let db_path = dir.join("db");
    let db_file = OpenOptions::new().read(true).write(true).open(&db_path);
    let db_file = db_file.map_err(|fault| TablesFault::disk(&db_path, fault))?;

    let saved = compare_rows(&rows, signs)?;
    let mark = saved.as_ref().map_or(IndexMark::EMPTY, |(manifest, _)| manifest.index);
    compare_index(&index, mark, signs)?;

    let (manifest, loaded) = saved.map_or((Manifest::EMPTY, None), |(manifest, rows)| {
        let applied_index = manifest.applied_index;
        (manifest, Some(LoadedRows { applied_index, rows }))
    });
    let index = ResultIndex::new(index, mark);
    Ok((Tables { db, rows, db_file, manifest, index, is_broken: false }, loaded))
}

/// A process that was killed a moment ago may still hold the lock.
fn open_locked(dir: &Path) -> Result<sled::Db, TablesFault> {
    for _ in 0..TABLES_LOCK_TRIES_MAX {
        match open_sled(dir) {
            Err(sled::Error::Io(fault)) if fault.to_string().contains("acquire lock") => {
                thread::sleep(Duration::from_millis(TABLES_LOCK_RETRY_MS));
            }
            opened => return Ok(opened?),
        }
    }
    Err(TablesFault::Locked { dir: PathBuf::from(dir) })
}

/// No flusher thread: when something becomes durable is decided by `Tables::save` alone.
fn open_sled(dir: &Path) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(dir)
        .mode(sled::Mode::HighThroughput)
        .cache_capacity(TABLES_CACHE_BYTES)
        .flush_every_ms(None)
        .open()
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// All rows, if they are exactly those of the manifest; `None` if nothing was ever saved.
fn compare_rows(
    tree: &sled::Tree,
    signs: &SyncSender<Sign>,
) -> Result<Option<(Manifest, Entries)>, TablesFault> {
    let mut manifest = None;
    let mut found = SetDigest::EMPTY;
    let mut rows = Vec::new();
    for entry in tree.iter() {
        let (key, sealed) = entry?;
        let value = sealed::open(&key, &sealed)?;
        if &*key == MANIFEST_KEY {
            manifest = Some(decode_manifest(value)?);
            continue;
        }
        found.add(&key, value);
        rows.push((key.to_vec(), value.to_vec()));
        sign_of_life(found.count, signs);
    }
    let expected = manifest.as_ref().map_or(SetDigest::EMPTY, |manifest| manifest.rows);
    must_equal("rows", expected, found)?;
    Ok(manifest.map(|manifest| (manifest, rows)))
}

fn decode_manifest(value: &[u8]) -> Result<Manifest, TablesFault> {
    Manifest::decode(value).map_err(|fault| TablesFault::Mismatch {
        what: "manifest",
        expected: "one of ours".to_owned(),
        got: fault.to_string(),
    })
}

/// Entries at or above the mark were written after the save: they go, the recorder brings them
/// again. Those below must be all there.
fn compare_index(
    tree: &sled::Tree,
    mark: IndexMark,
    signs: &SyncSender<Sign>,
) -> Result<(), TablesFault> {
    let mut found = SetDigest::EMPTY;
    let mut newer = Vec::new();
    for entry in tree.iter() {
        let (key, sealed) = entry?;
        let value = sealed::open(&key, &sealed)?;
        if ResultIndex::leaf_index_of(&key, value)? >= mark.covered {
            newer.push(key);
            continue;
        }
        found.add(&key, value);
        sign_of_life(found.count, signs);
    }
    must_equal("results", mark.entries, found)?;
    for key in newer {
        tree.remove(key)?;
    }
    Ok(())
}

fn must_equal(what: &'static str, expected: SetDigest, got: SetDigest) -> Result<(), TablesFault> {
    if expected == got {
        return Ok(());
    }
    let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
    Err(TablesFault::Mismatch { what, expected, got })
}

fn sign_of_life(count: u64, signs: &SyncSender<Sign>) {
    if count.is_multiple_of(ENTRIES_PER_SIGN) {
        // A full channel is a sign of life already.
        let _ = signs.try_send(Sign::Alive);
    }
}
