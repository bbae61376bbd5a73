//! Every crash: at each thing the log asks of its disk, with whatever of it the disk kept.

use std::collections::BTreeMap;

use raft::eraftpb::{EntryType, HardState};

use super::*;

const IDENTITY: LogIdentity = LogIdentity { log_id: [7; 32], node_id: 1 };
/// Small, so that the story below fills many files.
const FILE_BYTES: u64 = 300;

/// A disk in memory whose power fails.
#[derive(Default)]
struct Disk {
    state: Mutex<Platter>,
}

#[derive(Clone, Default)]
struct Platter {
    files: Vec<Bytes>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: usize,
    /// The change during which the power fails: made, and nobody hears of it.
    fails_at: Option<usize>,
}

#[derive(Clone, Default)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
}

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Nothing,
    /// Of a file's new bytes the first half; of new names every other.
    Half,
    All,
}

const KEPT: [Kept; 3] = [Kept::Nothing, Kept::Half, Kept::All];

impl Disk {
    /// Power is back.
    fn after_crash(&self, bytes: Kept, names: Kept) -> Arc<Disk> {
        let mut platter = guarded(&self.state).clone();
        platter.files.iter_mut().for_each(|file| file.crash(bytes));
        platter.names = platter.names_after(names);
        platter.durable_names = platter.names.clone();
        (platter.fails_at, platter.changes) = (None, 0);
        Arc::new(Disk { state: Mutex::new(platter) })
    }

    fn fail_at(&self, change: usize) {
        guarded(&self.state).fails_at = Some(change);
    }

    fn changes(&self) -> usize {
        guarded(&self.state).changes
    }

    /// Makes a change that a crash may forget. A disk without power makes none.
    fn change<T>(&self, make: impl FnOnce(&mut Platter) -> Option<T>) -> io::Result<T> {
        let mut platter = guarded(&self.state);
        let (now, fails_at) = (platter.changes, platter.fails_at.unwrap_or(usize::MAX));
        if now > fails_at {
            return Err(io::Error::other("no power"));
        }
        let made = make(&mut platter).ok_or(io::ErrorKind::NotFound)?;
        platter.changes += 1;
        if now == fails_at { Err(io::Error::other("power fails")) } else { Ok(made) }
    }

    /// Makes a promise: when power fails in the middle of it, it was never given.
    fn promise(&self, make: impl FnOnce(&mut Platter) -> Option<()>) -> io::Result<()> {
        let fails = {
            let platter = guarded(&self.state);
            platter.fails_at.is_some_and(|at| platter.changes >= at)
        };
        self.change(|platter| if fails { Some(()) } else { make(platter) })
    }
}

impl LogFiles for Disk {
    fn describe(&self) -> String {
        "disk".to_owned()
    }

    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(guarded(&self.state).names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = guarded(&self.state).file(name).map(|file| file.now.clone());
        file.ok_or(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(name)?;
        let part = bytes.get(offset as usize..offset as usize + len);
        part.map(<[u8]>::to_vec).ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.change(|platter| {
            let file = platter.files.len();
            platter.files.push(Bytes { now: bytes.to_vec(), durable: Vec::new() });
            platter.names.insert(name.to_owned(), file);
            Some(())
        })
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.change(|platter| platter.file(name).map(|file| file.now.extend(bytes)))
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.change(|platter| platter.file(name).map(|file| file.now.truncate(len as usize)))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.promise(|platter| {
            let file = platter.file(name)?;
            file.durable = file.now.clone();
            Some(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|platter| {
            let file = platter.names.remove(from)?;
            platter.names.insert(to.to_owned(), file);
            Some(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|platter| platter.names.remove(name).map(drop))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.promise(|platter| {
            platter.durable_names = platter.names.clone();
            Some(())
        })
    }
}

impl Platter {
    fn file(&mut self, name: &str) -> Option<&mut Bytes> {
        let at = *self.names.get(name)?;
        self.files.get_mut(at)
    }

    fn names_after(&self, kept: Kept) -> BTreeMap<String, usize> {
        let mut names = self.durable_names.clone();
        let touched: Vec<&String> = self.names.keys().chain(self.durable_names.keys()).collect();
        for (turn, name) in touched.into_iter().enumerate() {
            let is_kept = kept == Kept::All || (kept == Kept::Half && turn % 2 == 0);
            match self.names.get(name).filter(|_| is_kept) {
                Some(file) => drop(names.insert(name.clone(), *file)),
                None if is_kept => drop(names.remove(name)),
                None => {}
            }
        }
        names
    }
}

impl Bytes {
    fn crash(&mut self, kept: Kept) {
        let shared = self.now.iter().zip(&self.durable).take_while(|(a, b)| a == b).count();
        match kept {
            Kept::Nothing => self.now = self.durable.clone(),
            Kept::Half if shared == self.durable.len() => {
                let new = self.now.len() - shared;
                self.now.truncate(shared + new / 2);
            }
            Kept::Half | Kept::All => {}
        }
        self.durable = self.now.clone();
    }
}

/// What the log must hold: the whole truth, and what it may have let go of.
#[derive(Clone, Debug, Default, PartialEq)]
struct Truth {
    hard_state: HardState,
    /// Where a reset put its beginning.
    reset: Position,
    /// Up to where it may be compacted.
    compacted: u64,
    /// The entries after the reset.
    entries: Vec<Entry>,
}

impl Truth {
    fn write(&mut self, tasks: &[WriteTask]) {
        for task in tasks {
            if let Some(position) = task.reset {
                (self.reset, self.compacted) = (position, position.index);
                self.entries.clear();
            }
            if let Some(first) = task.entries.first() {
                self.entries.truncate((first.index - self.reset.index) as usize - 1);
                self.entries.extend(task.entries.iter().cloned());
            }
            self.hard_state = task.hard_state.clone().unwrap_or(self.hard_state.clone());
        }
    }

    fn last_index(&self) -> u64 {
        self.reset.index + self.entries.len() as u64
    }

    fn is_told_by(&self, store: &LogStore, recovered: &RecoveredLog) -> bool {
        let RecoveredLog { hard_state, start, last_index, .. } = recovered;
        let begins = (self.reset.index..=self.compacted).contains(&start.index);
        if *hard_state != self.hard_state || *last_index != self.last_index() || !begins {
            return false;
        }
        let kept = self.entries.iter().filter(|entry| entry.index > start.index);
        let kept: Vec<Entry> = kept.cloned().collect();
        kept.is_empty() || store.fetch(start.index + 1, last_index + 1, u64::MAX).unwrap() == kept
    }
}

enum Step {
    Write(Vec<WriteTask>),
    Compact(u64),
}

fn entries(range: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    let entry = |index: u64| {
        let data = format!("entry {index} of term {term}").into_bytes().into();
        let (entry_type, context) = match index % 5 {
            0 => (EntryType::EntryConfChangeV2, b"context".to_vec().into()),
            _ => (EntryType::EntryNormal, Default::default()),
        };
        Entry { index, term, data, entry_type, context, ..Entry::default() }
    };
    range.map(entry).collect()
}

fn task(entries: Vec<Entry>, term_vote_commit: Option<(u64, u64, u64)>) -> WriteTask {
    let hard_state = term_vote_commit.map(|(term, vote, commit)| HardState {
        term,
        vote,
        commit,
        ..HardState::default()
    });
    WriteTask { number: 1, entries, hard_state, must_sync: true, reset: None }
}

fn reset(index: u64, term: u64, rest: WriteTask) -> WriteTask {
    WriteTask { reset: Some(Position { index, term }), ..rest }
}

/// A log's life: it grows over several files, conflicts, lets go, starts over, and goes on.
fn story() -> Vec<Step> {
    let write = |tasks: Vec<WriteTask>| Step::Write(tasks);
    let mut steps = vec![write(vec![task(entries(1..4, 1), Some((1, 2, 0)))])];
    steps.extend((4..20).map(|at| write(vec![task(entries(at..at + 1, 1), None)])));
    steps.push(write(vec![task(entries(15..18, 2), Some((2, 1, 14)))]));
    steps.push(Step::Compact(12));
    steps.push(Step::Compact(12));
    steps.extend((18..30).map(|at| write(vec![task(entries(at..at + 1, 2), None)])));
    steps.push(Step::Compact(29));
    steps.push(write(vec![task(entries(30..32, 2), None)]));
    let snapshot = reset(90, 3, task(vec![], Some((3, 0, 90))));
    steps.push(write(vec![
        task(vec![], Some((3, 0, 31))),
        snapshot,
        task(entries(91..93, 3), None),
    ]));
    steps.extend((93..99).map(|at| write(vec![task(entries(at..at + 1, 3), None)])));
    steps.push(Step::Compact(95));
    steps.push(write(vec![reset(200, 4, task(vec![], Some((4, 0, 200))))]));
    steps.push(write(vec![task(entries(201..203, 4), Some((4, 0, 201)))]));
    steps
}

/// Lives the story until its end or the power's, and says what was true before and after the last
/// step.
fn live(store: &LogStore) -> (Truth, Truth) {
    let (mut before, mut after) = (Truth::default(), Truth::default());
    for step in story() {
        before = after.clone();
        let made = match &step {
            Step::Write(tasks) => {
                after.write(tasks);
                store.write(tasks)
            }
            Step::Compact(index) => {
                after.compacted = *index;
                store.compact(store.position(*index).unwrap())
            }
        };
        if made.is_err() {
            break;
        }
    }
    (before, after)
}

fn created() -> Arc<Disk> {
    let disk = Arc::new(Disk::default());
    LogStore::create_on(&*disk, IDENTITY, &[1, 2, 3], [5; 8]).unwrap();
    disk.after_crash(Kept::Nothing, Kept::Nothing)
}

fn open(disk: &Arc<Disk>) -> Result<(LogStore, RecoveredLog), LogStoreFault> {
    LogStore::open_on(Arc::clone(disk) as Arc<dyn LogFiles>, IDENTITY, FILE_BYTES)
}

/// Opens what a crash left, compares it with the truth, and goes on.
fn check(disk: &Arc<Disk>, truths: &(Truth, Truth), what: &dyn Fn() -> String) {
    let (store, recovered) = open(disk).unwrap_or_else(|fault| panic!("{}: {fault}", what()));
    let mut truth = truths.clone();
    let told = [&mut truth.0, &mut truth.1].into_iter().find(|t| t.is_told_by(&store, &recovered));
    let told = told.unwrap_or_else(|| panic!("{}: {recovered:?}, not {truths:?}", what()));
    let next = told.last_index() + 1;
    let tasks = [task(entries(next..next + 2, 9), Some((9, 1, 0)))];
    store.write(&tasks).unwrap();
    told.write(&tasks);
    let (store, recovered) = open(disk).unwrap();
    assert!(told.is_told_by(&store, &recovered), "{}: and again", what());
}

#[test]
fn every_crash_leaves_the_log_before_or_after_the_step() {
    let whole = created();
    live(&open(&whole).unwrap().0);
    assert!(whole.changes() > 100, "{} changes are few", whole.changes());
    for at in 0..whole.changes() {
        let disk = created();
        disk.fail_at(at);
        let Ok((store, _)) = open(&disk) else { continue };
        let truths = live(&store);
        for (bytes, names) in KEPT.iter().flat_map(|b| KEPT.map(|n| (*b, n))) {
            let left = disk.after_crash(bytes, names);
            check(&left, &truths, &|| format!("change {at}, kept {bytes:?} and {names:?}"));
        }
    }
}

#[test]
fn a_crash_while_a_crash_is_mended_changes_nothing() {
    for at in (0..200).step_by(11) {
        let disk = created();
        disk.fail_at(at);
        let Ok((store, _)) = open(&disk) else { continue };
        let truths = live(&store);
        for (bytes, names) in KEPT.iter().flat_map(|b| KEPT.map(|n| (*b, n))) {
            for again in 0..6 {
                let left = disk.after_crash(bytes, names);
                left.fail_at(again);
                let _ = open(&left);
                for (bytes, names) in [(Kept::Nothing, Kept::Half), (Kept::All, Kept::All)] {
                    let left = left.after_crash(bytes, names);
                    check(&left, &truths, &|| format!("changes {at} and {again}"));
                }
            }
        }
    }
}

#[test]
fn a_crash_while_the_log_is_made_leaves_none_or_a_whole_one() {
    for at in 0..6 {
        let disk = Disk::default();
        disk.fail_at(at);
        let _ = LogStore::create_on(&disk, IDENTITY, &[1, 2, 3], [5; 8]);
        for (bytes, names) in KEPT.iter().flat_map(|b| KEPT.map(|n| (*b, n))) {
            let left = disk.after_crash(bytes, names);
            match LogStore::create_on(&*left, IDENTITY, &[1, 2, 3], [6; 8]) {
                Ok(()) | Err(LogStoreFault::Exists { .. }) => {}
                Err(fault) => panic!("change {at}, {bytes:?} and {names:?}: {fault}"),
            }
            assert_eq!(open(&left).unwrap().1.voters, [1, 2, 3]);
        }
    }
}
