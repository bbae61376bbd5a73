//! A replica whose Raft log no longer reaches back goes on from tables or snapshots, whichever is
//! whole, and from nothing else.

use std::path::PathBuf;

use super::*;
use crate::consensus::driver::WriteTask;
use crate::consensus::log_store::{LogIdentity, LogStore};
use crate::consensus::storage::RecoveredLog;
use crate::snapshot::{DiskFiles, SnapshotStore};

/// Every second, so that the log is soon let go of.
struct Eager {
    place: Place,
    log_bytes: u64,
}

impl Eager {
    /// Keeps hardly more of the log than it must.
    fn new() -> Eager {
        Eager { place: Place::new(), log_bytes: 512 }
    }

    fn config(&self) -> Config {
        let plan = SnapshotPlan { log_bytes: self.log_bytes, interval_ms: 1_000 };
        Config { snapshots: plan, ..self.place.config() }
    }

    async fn start(&self) -> Result<Node, NodeFault> {
        Node::start(&self.config(), Clock::system()).await
    }

    /// The snapshots there are, the newest first.
    fn snapshots(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.config().snapshots_dir()).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_none());
        paths.sort();
        paths.reverse();
        paths
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.config().snapshots_dir().join(name)
    }

    /// Runs until the log has let go of its beginning, and stops in order.
    async fn run_until_compacted(&self) {
        let node = self.start().await.unwrap();
        until(&node, "a first proven leaf", all_proven).await;
        let applied = apply(&node, &SERVICE.replace("NAME", "one")).await;
        assert!(matches!(applied, Reply::Applied { revision: 1, .. }), "{applied:?}");
        let first = self.wait_for_snapshot(&node, None).await;
        let second = self.wait_for_snapshot(&node, Some(&first)).await;
        self.wait_for_snapshot(&node, Some(&second)).await;
        node.stop().await.unwrap();
        assert_eq!(self.snapshots().len(), 2, "{:?}", self.snapshots());
    }

    async fn wait_for_snapshot(&self, node: &Node, after: Option<&PathBuf>) -> PathBuf {
        let newest = || self.snapshots().into_iter().next();
        until(node, "another snapshot", |_| newest().as_ref() > after).await;
        newest().unwrap()
    }
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_then_snapshots_then_a_refusal_by_name() {
    let eager = Eager::new();
    init(&eager.config(), None, Clock::system().unix_ms()).unwrap();
    eager.run_until_compacted().await;
    let tables = eager.config().tables_dir();

    // The log does not begin at its first entry any more: without tables it is the snapshot.
    let goes_on = async || {
        let node = eager.start().await.unwrap();
        let views = until(&node, "the same state", |views| views.state.spec.revision == 1).await;
        assert_eq!(views.health.status, "serving");
        until(&node, "the log to go on", all_proven).await;
        node.stop().await.unwrap();
    };
    goes_on().await;
    delete_tables(&tables);
    goes_on().await;

    // The newest is damaged: the older one and a little more of the log.
    delete_tables(&tables);
    flip(&eager.snapshots()[0]);
    goes_on().await;

    // All of them are.
    delete_tables(&tables);
    eager.snapshots().iter().for_each(|path| std::fs::write(path, b"rot").unwrap());
    let refused = eager.start().await.err().expect("there is no state to go on from");
    assert!(
        refused.to_string().starts_with("state_gone: expected tables or a snapshot"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_last_bytes_stay_however_often_a_snapshot_is_made() {
    let check = async |log_bytes: u64, begins_at_first: bool| {
        let eager = Eager { log_bytes, ..Eager::new() };
        init(&eager.config(), None, Clock::system().unix_ms()).unwrap();
        eager.run_until_compacted().await;
        let (log, _) = open_log(&eager.config());
        let first = log.position(1).is_some_and(|first| first.index == 1);
        assert_eq!(first, begins_at_first, "log_bytes {log_bytes}");
    };
    check(512, false).await;
    check(1 << 20, true).await;
}

fn open_log(config: &Config) -> (LogStore, RecoveredLog) {
    let identity = crate::identity::NodeIdentity::load(&config.identity_dir()).unwrap();
    let own = LogIdentity { log_id: identity.log_id().0, node_id: identity.node_id };
    LogStore::open(&config.raft_dir(), own).unwrap()
}

/// A replica's directory as it is now.
struct Kept(TempDir);

impl Kept {
    fn of(eager: &Eager) -> Kept {
        let kept = Kept(tempfile::tempdir().unwrap());
        copy(&eager.config().data_dir, kept.0.path());
        kept
    }

    /// Puts one part of it back in place of what is there now.
    fn put_back(&self, eager: &Eager, part: &str) {
        let place = eager.config().data_dir.join(part);
        std::fs::remove_dir_all(&place).unwrap();
        copy(&self.0.path().join(part), &place);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// What the log thread does when a snapshot is installed.
fn reset_log(eager: &Eager) {
    let config = eager.config();
    let (log, recovered) = open_log(&config);
    let store = SnapshotStore::open(Arc::new(DiskFiles::open(config.snapshots_dir()).unwrap()));
    let store = store.unwrap();
    let newest = store.indexes().unwrap()[0];
    let position = store.snapshot(newest).unwrap().about().position;
    let mut hard_state = recovered.hard_state;
    hard_state.commit = newest;
    let reset = WriteTask {
        number: 1,
        reset: Some(position),
        hard_state: Some(hard_state),
        must_sync: true,
        ..WriteTask::default()
    };
    log.write(&[reset]).unwrap();
}

/// Installing a snapshot, cut between any two of its durable steps. The replica is its own leader
/// here: what it made later plays the snapshot that came from elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_install_cut_between_any_two_steps_is_completed_or_forgotten() {
    // The last step done, what is lost besides, and whether the state must be the snapshot's.
    type Cut = fn(&Eager, &Kept);
    let cuts: [(&str, Cut, bool); 4] = [
        (
            "the snapshot's file",
            |eager, old| {
                old.put_back(eager, "raft");
                old.put_back(eager, "tables");
            },
            false,
        ),
        (
            "the snapshot's file, and the tables are lost",
            |eager, old| {
                old.put_back(eager, "raft");
                delete_tables(&eager.config().tables_dir());
                keep_newest(eager);
            },
            true,
        ),
        (
            "the log's reset",
            |eager, old| {
                old.put_back(eager, "tables");
                reset_log(eager);
            },
            true,
        ),
        (
            "the log's reset, and the tables are lost",
            |eager, _| {
                delete_tables(&eager.config().tables_dir());
                reset_log(eager);
            },
            true,
        ),
    ];
    let eager = Eager::new();
    init(&eager.config(), None, Clock::system().unix_ms()).unwrap();
    let node = eager.start().await.unwrap();
    until(&node, "a first proven leaf", all_proven).await;
    node.stop().await.unwrap();
    let old = Kept::of(&eager);
    eager.run_until_compacted().await;
    let new = Kept::of(&eager);
    for (cut_after, cut, is_snapshot) in cuts {
        for part in ["raft", "tables", "snapshots"] {
            new.put_back(&eager, part);
        }
        cut(&eager, &old);
        let node = eager.start().await.unwrap_or_else(|why| panic!("{cut_after}: {why}"));
        let revision = node.views().now().state.spec.revision;
        assert_eq!(revision == 1, is_snapshot, "cut after {cut_after}: revision {revision}");
        until(&node, "the log to go on", |views| views.health.status == "serving").await;
        node.stop().await.unwrap();
    }
}

/// What is done to a stopped replica whose log no longer has its beginning.
type Harm = fn(&Eager);

/// `fsck` names damage to snapshots, and the next start does what it said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_snapshots_is_named_and_the_next_start_does_what_was_said() {
    let eager = Eager::new();
    init(&eager.config(), None, Clock::system().unix_ms()).unwrap();
    eager.run_until_compacted().await;
    let kept = Kept::of(&eager);
    let harms: [(Harm, &[&str], bool); 8] = [
        (|_| {}, &[], true),
        (|eager| flip(&eager.snapshots()[0]), &["snapshot_chunk"], true),
        (|eager| write(&eager.snapshots()[0], b"pmsnap"), &["snapshot_head"], true),
        (
            |eager| write(&eager.beside("00000000000000000001.tmp"), b"x"),
            &["snapshot_scratch"],
            true,
        ),
        (|eager| write(&eager.beside("notes"), b"x"), &["snapshot_unexpected"], true),
        (|eager| write(&eager.beside("00000000000000000001.part"), b"x"), &[], true),
        (|eager| delete_tables(&eager.config().tables_dir()), &[], true),
        (
            |eager| {
                delete_tables(&eager.config().tables_dir());
                eager.snapshots().iter().for_each(|path| flip(path));
            },
            &["snapshot_chunk", "snapshot_chunk", "state_gone"],
            false,
        ),
    ];
    for (number, (harm, slugs, starts)) in harms.into_iter().enumerate() {
        for part in ["raft", "tables", "snapshots", "evidence"] {
            kept.put_back(&eager, part);
        }
        std::fs::copy(kept.0.path().join("last_signed"), eager.config().signed_file()).unwrap();
        harm(&eager);
        let found = crate::fsck::inspect(&eager.config()).unwrap();
        let got: Vec<&str> = found.findings.iter().map(|finding| finding.slug.as_str()).collect();
        assert_eq!(got, slugs, "harm {number}: {:?}", found.findings);
        let refuses =
            found.findings.iter().any(|finding| finding.next == crate::fsck::Next::Refuses);
        assert_eq!(refuses, !starts, "harm {number}");
        match eager.start().await {
            Ok(node) => {
                assert!(starts, "harm {number}: it starts");
                until(&node, "the log to go on", |views| views.health.status == "serving").await;
                node.stop().await.unwrap();
            }
            Err(fault) => {
                assert!(!starts && fault.to_string().contains("state_gone"), "{number}: {fault}");
            }
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

fn keep_newest(eager: &Eager) {
    eager.snapshots()[1..].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}
