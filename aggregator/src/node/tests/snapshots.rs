//! A replica whose Raft log no longer reaches back goes on from tables or snapshots, whichever is
//! whole, and from nothing else.

use std::path::PathBuf;

use super::*;

/// Every second, so that the log is soon let go of.
struct Eager(Place);

impl Eager {
    fn config(&self) -> Config {
        let plan = SnapshotPlan { log_bytes: 512, interval_ms: 1_000 };
        Config { snapshots: plan, ..self.0.config() }
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
    let eager = Eager(Place::new());
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
