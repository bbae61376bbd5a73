//! Whatever is done to a log's files, the verdict names the file.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::key::{KeyId, SigningKey};
use crate::layout::{SCRATCH_DIR, SourceEntry, SourceFault};
use crate::merkle::{Frontier, root_of};
use crate::sample::{MemSource, Sample, agent_key, draft, log_key, note, origin, policy, sample};
use crate::seal::BatchDraft;
use crate::tile::tile_bytes;
use crate::writer::mem_disk::SharedDisk;

/// Remembers, for all tests, which signatures held: the same leaf under the same key holds again.
struct Remembered;

impl SignatureCheck for Remembered {
    fn check(&mut self, leaf: &Leaf, key: &PublicKey) -> Result<(), LeafFault> {
        static HELD: Mutex<BTreeSet<(Hash, KeyId)>> = Mutex::new(BTreeSet::new());
        let entry = (leaf.hash(), key.key_id());
        if !HELD.lock().unwrap().contains(&entry) {
            leaf.verify(key)?;
            HELD.lock().unwrap().insert(entry);
        }
        Ok(())
    }
}

/// `verify_log`, without checking again what is known to hold.
fn verify(source: &dyn TileSource, policy: Option<&Policy>) -> Report {
    verify_with(source, policy, &mut (), &mut Remembered)
}

/// The files of a log of so many leaves, `published` of them published.
fn files(sample: &Sample, size: usize, published: u64) -> MemSource {
    log_of(&sample.leaves[..size], &sample.note(published))
}

fn log_of(leaves: &[(Leaf, Vec<u8>)], note: &str) -> MemSource {
    let disk = SharedDisk::default();
    let mut writer = disk.create().unwrap();
    for (leaf, payload) in leaves {
        writer.append(leaf, payload);
    }
    writer.sync().unwrap();
    writer.publish(note).unwrap();
    disk.source()
}

#[test]
fn a_sound_log_is_found_sound() {
    let sample = sample();
    let source = files(sample, 700, 700);
    let mut shown = Shown::default();
    let report = verify_log(&source, &policy(), &mut shown);
    assert_eq!(report.faults, []);
    assert_eq!((report.size, report.root, report.unpublished), (700, sample.roots[700], 0));
    assert_eq!(shown.indexes, (0..700).collect::<Vec<u64>>());
    assert_eq!((report.batches, report.results), (shown.batches, shown.results));
    let names: Vec<&str> = report.cosigners.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["log.example.com/n1", "log.example.com/n3"]);
    let lives: Vec<String> =
        report.agents.iter().map(|span| format!("{}/{}", span.agent, span.epoch)).collect();
    assert_eq!(lives, ["web-0/1", "web-1/1", "web-1/2", "web-2/1"]);
    for span in &report.agents {
        assert_eq!((span.seq_first, span.seq_last), (1, span.results), "{}", span.agent);
    }
    assert_eq!(verify_log_unpinned(&source, &mut ()), report);
    let paths: Vec<&str> = source.0.keys().map(String::as_str).collect();
    let expected = [
        "checkpoint",
        "payload/000",
        "payload/001",
        "payload/002",
        "policy",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/188",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/188",
    ];
    assert_eq!(paths, expected);
}

#[derive(Default)]
struct Shown {
    indexes: Vec<u64>,
    batches: u64,
    results: u64,
}

impl LeafVisitor for Shown {
    fn leaf(&mut self, index: u64, header: &Header, open: Option<&OpenBatch>, _: &[u8]) {
        self.indexes.push(index);
        assert_eq!(open.is_some(), matches!(header, Header::Batch(_)));
        self.batches += u64::from(open.is_some());
        self.results += open.map_or(0, |open| open.results.len() as u64);
    }
}

#[test]
fn leaves_beyond_the_checkpoint_are_held_to_the_same_rules() {
    let sample = sample();
    for (size, published) in [(530, 500), (530, 512), (520, 10), (256, 255), (300, 0)] {
        let report = verify(&files(sample, size, published), Some(&policy()));
        assert_eq!(report.faults, [], "{published} of {size}");
        assert_eq!((report.size, report.unpublished), (published, size as u64 - published));
    }
}

/// Numbers that look random and are the same on each run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % end
    }
}

/// Each kind of harm, with the files that a report may name.
#[derive(Debug)]
struct Harm {
    what: String,
    files: Vec<String>,
}

fn harm(source: &mut MemSource, dice: &mut Dice) -> Option<Harm> {
    let paths: Vec<String> = source.0.keys().cloned().collect();
    let path = paths[dice.below(paths.len())].clone();
    let other = paths[dice.below(paths.len())].clone();
    let bytes = source.0[&path].clone();
    let at = dice.below(bytes.len());
    let kind = dice.below(6);
    let mut files = vec![path.clone()];
    let what = match kind {
        0 | 1 => {
            let mask = 1 << dice.below(8);
            source.0.get_mut(&path).unwrap()[at] ^= mask;
            format!("flip {mask:#04x} at {at} of {path}")
        }
        2 => {
            source.0.get_mut(&path).unwrap().truncate(at);
            format!("cut {path} to {at}")
        }
        3 => {
            source.0.get_mut(&path).unwrap().push(dice.below(256) as u8);
            format!("one byte more in {path}")
        }
        4 => {
            source.0.remove(&path);
            format!("remove {path}")
        }
        _ => {
            let others = source.0.insert(other.clone(), bytes.clone()).unwrap();
            if others == bytes {
                return None;
            }
            source.0.insert(path.clone(), others);
            files.push(other.clone());
            format!("swap {path} and {other}")
        }
    };
    Some(Harm { what, files })
}

/// At least one of the harmed files is named, and no other file is.
fn check_harm(source: &MemSource, harm: &Harm, policy: Option<&Policy>) {
    let report = verify(source, policy);
    let named: Vec<&String> = report.faults.iter().map(|fault| &fault.file).collect();
    assert!(!report.is_sound() && !named.is_empty(), "{}: nothing found", harm.what);
    for fault in &report.faults {
        assert!(harm.files.contains(&fault.file), "{}: blamed {fault}", harm.what);
    }
}

#[test]
fn any_harm_to_any_file_is_found_and_the_file_named() {
    let sample = sample();
    let sound = files(sample, 700, 700);
    let policy = policy();
    let mut dice = Dice(7);
    let mut done = 0;
    while done < 220 {
        let mut source = sound.clone();
        let Some(harm) = harm(&mut source, &mut dice) else { continue };
        done += 1;
        check_harm(&source, &harm, (done % 4 != 0).then_some(&policy));
    }
}

/// Several harms at once may hide each other, but not the fact.
#[test]
fn a_ruined_log_is_never_found_sound() {
    let sample = sample();
    let sound = files(sample, 300, 290);
    let (policy, mut dice) = (policy(), Dice(11));
    for _ in 0..40 {
        let mut source = sound.clone();
        let harms: Vec<_> = (0..6).filter_map(|_| harm(&mut source, &mut dice)).collect();
        let pinned = (dice.below(2) == 0).then_some(&policy);
        let report = verify(&source, pinned);
        assert!(source == sound || !report.is_sound(), "{harms:?}");
    }
}

/// Three levels of tiles, unsigned for speed: damage high up is found there and nowhere below.
#[test]
fn damage_to_a_high_tile_does_not_spread() {
    struct AcceptAll;
    impl SignatureCheck for AcceptAll {
        fn check(&mut self, _: &Leaf, _: &PublicKey) -> Result<(), LeafFault> {
            Ok(())
        }
    }
    let sample = Sample::new(51);
    let decision = sample.leaves[50].clone();
    let mut leaves = sample.leaves;
    leaves.resize(65_536 + 300, decision);
    let mut tree = Frontier::new();
    let hashes: Vec<Hash> = leaves[..51].iter().map(|(leaf, _)| leaf.hash()).collect();
    (0..leaves.len()).for_each(|place| tree.append(hashes[place.min(50)]));
    let sound = log_of(&leaves, &note(tree.size(), tree.root(), &[0, 1]));
    for file in ["tile/1/000", "tile/2/000.p/1", "tile/0/100", "tile/1/001.p/1"] {
        let mut source = sound.clone();
        source.0.get_mut(file).unwrap()[5] ^= 1;
        let report = verify_with(&source, Some(&policy()), &mut (), &mut AcceptAll);
        let named: Vec<&str> = report.faults.iter().map(|fault| &*fault.file).collect();
        assert_eq!(named, [file]);
    }
}

#[test]
fn harm_beyond_the_checkpoint_is_found_too() {
    let sample = sample();
    let sound = files(sample, 530, 500);
    let policy = policy();
    let mut dice = Dice(9);
    let mut done = 0;
    while done < 60 {
        let mut source = sound.clone();
        let Some(harm) = harm(&mut source, &mut dice) else { continue };
        // What was never published may also be gone, or its blobs not be there yet.
        if harm.what.starts_with("remove") || harm.what.starts_with("cut payload") {
            continue;
        }
        done += 1;
        let report = verify(&source, Some(&policy));
        let is_named = report.faults.iter().any(|fault| harm.files.contains(&fault.file));
        assert!(is_named, "{}: {:?}", harm.what, report.faults);
    }
}

/// A log that a node goes on writing while it is read: every few reads it is one step further.
struct Growing {
    states: Vec<MemSource>,
    reads: Cell<usize>,
    reads_per_step: usize,
}

impl Growing {
    fn now(&self) -> &MemSource {
        self.reads.set(self.reads.get() + 1);
        &self.states[self.step().min(self.states.len() - 1)]
    }

    fn step(&self) -> usize {
        self.reads.get() / self.reads_per_step
    }
}

impl TileSource for Growing {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        self.now().read(path)
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        self.now().list(dir)
    }

    fn wait_for_writer(&self) -> bool {
        self.reads.set((self.step() + 1) * self.reads_per_step);
        self.step() < self.states.len()
    }
}

#[test]
fn a_log_may_grow_while_it_is_verified() {
    let sample = sample();
    let disk = SharedDisk::default();
    let mut writer = disk.create().unwrap();
    let mut states = Vec::new();
    for size in (230..=530).step_by(20) {
        for (leaf, payload) in &sample.leaves[writer.size() as usize..size] {
            writer.append(leaf, payload);
        }
        writer.sync().unwrap();
        if let Some(before) = states.last() {
            states.push(with_blobs_of(before, &disk.source()));
            states.push(disk.source());
        }
        writer.publish(&sample.note(size as u64 - 5)).unwrap();
        states.push(disk.source());
    }
    for reads_per_step in 4..16 {
        let states = states.clone();
        let source = Growing { states, reads: Cell::new(0), reads_per_step };
        let report = verify(&source, Some(&policy()));
        assert_eq!(report.faults, [], "a step every {reads_per_step} reads");
        assert!(report.size >= 225);
    }
}

/// Blobs are written first: the moment before their leaves are.
fn with_blobs_of(before: &MemSource, after: &MemSource) -> MemSource {
    let mut between = before.clone();
    let blobs = after.0.iter().filter(|(path, _)| path.starts_with("payload/"));
    between.0.extend(blobs.map(|(path, bytes)| (path.clone(), bytes.clone())));
    between
}

/// In whatever state a look begins, and at whatever wait the writer goes on.
#[test]
fn blobs_whose_leaves_are_still_to_come_are_waited_for_and_junk_is_not_excused() {
    let sample = sample();
    for (before, after) in [(250, 255), (250, 256), (256, 257), (250, 520)] {
        let old = files(sample, before, before as u64);
        let new = files(sample, after, before as u64);
        let between = with_blobs_of(&old, &new);
        let states = vec![between.clone(), between.clone(), new];
        let source = Growing { states, reads: Cell::new(0), reads_per_step: 1_000 };
        let report = verify(&source, Some(&policy()));
        assert_eq!(report.faults, [], "{before} to {after}");
        assert_eq!(report.unpublished, (after - before) as u64);

        let source = Growing { states: vec![between], reads: Cell::new(0), reads_per_step: 1_000 };
        let report = verify(&source, Some(&policy()));
        let named = report.faults.iter().all(|fault| fault.file.starts_with("payload/"));
        assert!(!report.is_sound() && named, "{before} to {after}: {:?}", report.faults);
    }
}

#[test]
fn what_does_not_belong_is_named() {
    let sample = sample();
    let sound = files(sample, 300, 300);
    let check = |path: &str, slug: Option<&str>| {
        let mut source = sound.clone();
        source.0.insert(path.to_owned(), b"anything".to_vec());
        let report = verify(&source, Some(&policy()));
        let found: Vec<_> = report.faults.iter().map(|one| (&*one.file, one.slug)).collect();
        assert_eq!(found, slug.map(|slug| (path, slug)).into_iter().collect::<Vec<_>>());
    };
    check("notes.txt", Some("file_unexpected"));
    check("tile/0/1", Some("file_unexpected"));
    check("tile/0/007", Some("file_unexpected"));
    check("tile/3/000.p/1", Some("file_unexpected"));
    check("tile/entries/002.p/99", Some("file_unexpected"));
    check("payload/002", Some("file_unexpected"));
    check(&format!("{SCRATCH_DIR}/0"), None);
    // A foreign directory is named itself, whatever is in it, and not entered.
    let check_dir = |path: &str, named: &str| {
        let mut source = sound.clone();
        source.0.insert(path.to_owned(), Vec::new());
        let report = verify(&source, Some(&policy()));
        let found: Vec<_> = report.faults.iter().map(|one| (&*one.file, one.slug)).collect();
        assert_eq!(found, [(named, "file_unexpected")]);
    };
    check_dir("a/b/c/d", "a");
    check_dir("tile/0/000.d/1", "tile/0/000.d");
    check_dir(&("deep/".repeat(1000) + "file"), "deep");
    check_dir("\u{1b}[2J\nsound/x", "\\u{1b}[2J\\nsound");
}

/// A directory as a stranger may have made it: neither memory nor time is his to spend.
#[test]
fn what_is_no_regular_file_is_named_and_not_read() {
    let sound = files(sample(), 300, 300);
    let check = |path: &str, slug: &str, change: &dyn Fn(&std::path::Path)| {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in &sound.0 {
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
        change(&dir.path().join(path));
        let report = verify(&crate::layout::DirSource::new(dir.path()), Some(&policy()));
        let found: Vec<_> = report.faults.iter().map(|one| (&*one.file, one.slug)).collect();
        assert_eq!(found, [(path, slug)], "{:?}", report.faults);
        assert!(!report.unreadable);
    };
    let endless = |path: &std::path::Path| {
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    };
    let waiting = |path: &std::path::Path| {
        std::fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    for path in ["policy", "checkpoint", "tile/0/000", "tile/entries/001.p/44", "payload/001"] {
        check(path, "file_not_regular", &endless);
        check(path, "file_not_regular", &waiting);
    }
    check("lost+found", "file_unexpected", &|path| std::fs::create_dir(path).unwrap());
    check("pipe", "file_unexpected", &|path| {
        std::fs::write(path, "").unwrap();
        waiting(path);
    });
}

/// Its server went away half-way: that is not the log's fault, and no verdict.
#[test]
fn what_could_not_be_read_is_told_from_what_does_not_hold() {
    struct Dying(MemSource, &'static str);
    impl TileSource for Dying {
        fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
            if path == self.1 {
                let (path, message) = (path.to_owned(), "connection reset".to_owned());
                return Err(SourceFault::Unreadable { path, message });
            }
            self.0.read(path)
        }
    }
    let sound = files(sample(), 300, 300);
    for path in ["policy", "checkpoint", "tile/0/000", "tile/entries/000", "payload/000"] {
        let report = verify(&Dying(sound.clone(), path), Some(&policy()));
        assert!(report.unreadable, "{path}");
        let said = report.faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expect = format!(
            "{path}: file_unreadable: expected a file that can be read, got connection reset"
        );
        assert!(said.contains(&expect), "{said:?}");
    }
    let mut damaged = sound;
    damaged.0.get_mut("payload/000").unwrap()[9] ^= 1;
    let report = verify(&damaged, Some(&policy()));
    assert!(!report.is_sound() && !report.unreadable);
    damaged.0.remove("policy");
    let said = verify(&damaged, Some(&policy())).faults[0].to_string();
    assert_eq!(said, "policy: file_missing: expected a file, got none");
}

/// Files left from a smaller size are fine as long as they are what they were.
#[test]
fn older_narrow_files_must_be_true_prefixes() {
    let sample = sample();
    let old = files(sample, 270, 270);
    let sound = files(sample, 300, 300);
    for path in ["tile/0/001.p/14", "tile/entries/001.p/14"] {
        let mut source = sound.clone();
        source.0.insert(path.to_owned(), old.0[path].clone());
        assert_eq!(verify(&source, Some(&policy())).faults, []);
        source.0.get_mut(path).unwrap()[40] ^= 1;
        let report = verify(&source, Some(&policy()));
        assert_eq!(report.faults.iter().map(|one| &*one.file).collect::<Vec<_>>(), [path]);
    }
}

/// The log itself may be at fault, with every file as it was written.
#[test]
fn a_log_that_breaks_its_own_rules_is_found() {
    let sample = Sample::new(20);
    let check = |order: &[usize], slug: &str| {
        let leaves: Vec<_> = order.iter().map(|place| sample.leaves[*place].clone()).collect();
        check_slugs(&leaves, &[slug]);
    };
    // In the sample: 0 genesis, 1 to 3 enrolments, 4 the spec, then batches of agents 2, 0, 1, ...
    check(&[1, 2], "genesis");
    check(&[0, 0], "genesis");
    check(&[0, 1, 1], "epoch");
    check(&[0, 4, 4], "spec_revision");
    check(&[0, 1, 2, 5], "agent_unknown");
    check(&[0, 1, 2, 3, 5, 5], "sequence");
    check(&[0, 1, 2, 3, 8], "sequence");
}

#[test]
fn a_batch_by_another_key_or_for_another_past_is_found() {
    let sample = Sample::new(4);
    let check = |change: fn(&mut BatchDraft) -> SigningKey, slug: &str| {
        let mut draft = draft(0, 2, 1_000_000);
        let key = change(&mut draft);
        let sealed = draft.seal(&key).unwrap();
        let mut leaves = sample.leaves.clone();
        leaves.push((sealed.leaf, sealed.payload.to_vec()));
        check_slugs(&leaves, &[slug]);
    };
    check(|_| agent_key(1, 1), "leaf_key_id");
    check(
        |draft| {
            draft.previous = Hash([1; 32]);
            agent_key(0, 1)
        },
        "previous",
    );
    check(
        |draft| {
            draft.log_id = Hash([1; 32]);
            agent_key(0, 1)
        },
        "other_log",
    );
    check(
        |draft| {
            draft.epoch = 2;
            agent_key(0, 1)
        },
        "epoch",
    );
}

#[test]
fn a_leaf_that_does_not_hold_is_found() {
    let sample = Sample::new(8);
    let mut leaves = sample.leaves.clone();
    leaves[6].1 = leaves[7].1.clone();
    check_slugs(&leaves, &["payload_len"]);

    let mut leaves = sample.leaves.clone();
    leaves[1].1 = b"a blob where none belongs".to_vec();
    check_slugs(&leaves, &["payload_len"]);

    let mut leaves = sample.leaves.clone();
    let mut bytes = leaves[5].0.bytes().to_vec();
    bytes[10] ^= 1;
    leaves[5].0 = Leaf::parse(bytes).unwrap();
    check_slugs(&leaves, &["signature_invalid"]);
}

fn check_slugs(leaves: &[(Leaf, Vec<u8>)], expected: &[&str]) {
    let report = verify_leaves(leaves);
    let found: Vec<&str> = report.faults.iter().map(|fault| fault.slug).collect();
    assert_eq!(found, expected, "{:?}", report.faults);
}

/// Writes these leaves as a log and verifies it.
fn verify_leaves(leaves: &[(Leaf, Vec<u8>)]) -> Report {
    let mut tree = Frontier::new();
    leaves.iter().for_each(|(leaf, _)| tree.append(leaf.hash()));
    let source = log_of(leaves, &note(tree.size(), tree.root(), &[0, 1]));
    verify(&source, Some(&policy()))
}

#[test]
fn a_checkpoint_needs_the_log_and_a_quorum() {
    let sample = sample();
    let sound = files(sample, 10, 10);
    let check = |note: String, slug: &str| {
        let mut source = sound.clone();
        source.0.insert(CHECKPOINT_FILE.to_owned(), note.into_bytes());
        let report = verify(&source, Some(&policy()));
        let found: Vec<_> = report.faults.iter().map(|one| (&*one.file, one.slug)).collect();
        assert_eq!(found, [(CHECKPOINT_FILE, slug)]);
    };
    check(note(10, sample.roots[10], &[1]), "no_quorum");
    check(note(10, sample.roots[9], &[0, 1]), "root_mismatch");
    let unsigned: Vec<String> =
        sample.note(10).lines().filter(|line| !line.contains(".com ")).map(str::to_owned).collect();
    check(unsigned.join("\n") + "\n", "log_signature_missing");
    let stranger = crate::cosignature::cosign("stranger", &log_key(), 1, "text").line();
    check(sample.note(10) + &stranger, "signature_unknown");
}

/// A log may claim any size; the reader's work is bounded by the files that are there.
#[test]
fn a_claimed_size_costs_the_reader_nothing() {
    let sample = sample();
    let size: u64 = 1 << 62;
    let top = vec![Hash([1; 32]); 64];
    let mut source = files(sample, 10, 10);
    source.0.insert("tile/7/000.p/64".to_owned(), tile_bytes(&top));
    let note = note(size, root_of(&top), &[0, 1]);
    source.0.insert(CHECKPOINT_FILE.to_owned(), note.into_bytes());
    let report = verify(&source, Some(&policy()));
    assert_eq!((report.size, report.faults[0].slug), (size, "file_missing"));
    assert!(report.faults_count < 200, "{}", report.faults_count);
}

#[test]
fn another_log_is_not_the_one_trusted() {
    let sample = sample();
    let source = files(sample, 10, 10);
    let others = policy().to_text().replace("log.example.com+", "other.example.com+");
    assert!(Policy::parse(&others).is_err(), "the key id covers the name");
    let key = SigningKey::from_seed([77; 32]).public();
    let nodes = vec![("n".to_owned(), SigningKey::from_seed([78; 32]).public())];
    let other = Policy::for_nodes(&origin(), &key, &nodes).unwrap();
    let report = verify_log(&source, &other, &mut ());
    assert_eq!(report.faults[0].slug, "log_signature_missing");
    assert_eq!(report.faults[0].file, CHECKPOINT_FILE);
}
