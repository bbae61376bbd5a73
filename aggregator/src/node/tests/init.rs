//! `init` killed in any step, and directories that it must not touch.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// What `init` makes, in its order, and the name under which each is written (none: a directory).
const STEPS: [(&str, &str); 14] = [
    ("identity", ""),
    ("identity/peer-ca.json", "identity/peer-ca.draft"),
    ("identity/operator.json", "identity/operator.draft"),
    ("identity/node.json", "identity/node.draft"),
    ("evidence", ""),
    ("evidence/tmp", ""),
    ("evidence/tile", ""),
    ("evidence/tile/entries", ""),
    ("evidence/payload", ""),
    ("evidence/policy", "evidence/tmp/policy"),
    ("identity/addresses", "identity/addresses.draft"),
    ("identity/ca.pem", "identity/ca.draft"),
    ("raft", ""),
    ("raft/00000000000000000001.raftlog", "raft/next.tmp"),
];

/// Every path below a directory, sorted.
fn tree(dir: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            into.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.is_dir() {
                walk(root, &path, into);
            }
        }
    }
    let mut paths = Vec::new();
    walk(dir, dir, &mut paths);
    paths.sort();
    paths
}

/// Leaves what an `init` leaves that is killed in this step.
fn kill_init_in(dir: &Path, step: usize) {
    for (path, _) in STEPS[step..].iter().rev() {
        let path = dir.join(path);
        let removed =
            if path.is_dir() { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) };
        removed.unwrap();
    }
    let (_, draft) = STEPS[step];
    if !draft.is_empty() {
        std::fs::write(dir.join(draft), "half of").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_was_killed_in_any_step_is_completed_by_the_next() {
    for step in 0..STEPS.len() {
        let place = Place::new();
        let (config, now_ms) = (place.config(), Clock::system().unix_ms());
        let made = init(&config, None, now_ms).unwrap();
        let mut all = STEPS.map(|(path, _)| path.to_owned());
        all.sort();
        assert_eq!(tree(&config.data_dir), all, "the steps are all steps");

        kill_init_in(&config.data_dir, step);
        let killed_in = STEPS[step].0;
        assert!(!config.is_initialised(), "{killed_in}");
        let refused = Node::start(&config, Clock::system()).await.err().unwrap();
        assert!(matches!(refused, NodeFault::NotInitialised { .. }), "{killed_in}: {refused}");

        let completed = init(&config, None, now_ms).unwrap_or_else(|why| panic!("{step}: {why}"));
        let is_kept = completed.log_key.public() == made.log_key.public();
        assert_eq!(is_kept, STEPS[..step].iter().any(|(path, _)| path.ends_with("node.json")));
        assert_eq!(tree(&config.data_dir), all, "{killed_in}");
        place.start().await.stop().await.unwrap();
        let again = init(&config, None, now_ms).err().unwrap();
        assert!(matches!(again, NodeFault::InUse { .. }), "{killed_in}: {again}");
    }
}

/// A replica that voted and signed must not begin anew under its old id, whatever is left of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_its_raft_log_is_no_new_replica() {
    let place = Place::new();
    let (config, now_ms) = (place.config(), Clock::system().unix_ms());
    init(&config, None, now_ms).unwrap();
    let node = place.start().await;
    until(&node, "a first proven leaf", all_proven).await;
    node.stop().await.unwrap();

    let remove = |name: &str| {
        let path = config.data_dir.join(name);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
    };
    // Each time one trace less; each alone is enough.
    for lost in ["raft", "last_signed", "evidence/checkpoint", "tables"] {
        remove(lost).unwrap();
        let before = tree(&config.data_dir);
        let refused = init(&config, None, now_ms).err().unwrap();
        assert!(matches!(refused, NodeFault::InUse { .. }), "without {lost}: {refused}");
        let refused = Node::start(&config, Clock::system()).await.err().unwrap().to_string();
        assert!(refused.starts_with("raft_log_gone: "), "without {lost}: {refused}");
        assert!(!refused.contains("init`"), "{refused}");
        assert_eq!(tree(&config.data_dir), before, "a refusal changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_identity_is_said_and_it_is_never_replaced() {
    let place = Place::new();
    let (config, now_ms) = (place.config(), Clock::system().unix_ms());
    init(&config, None, now_ms).unwrap();
    let file = config.identity_dir().join("node.json");
    let started = async || Node::start(&config, Clock::system()).await.err().unwrap().to_string();
    let kept = std::fs::read(&file).unwrap();

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = started().await;
    assert!(refused.starts_with("identity: ") && refused.contains("got 0644"), "{refused}");
    std::fs::remove_dir_all(config.raft_dir()).unwrap();
    let refused = init(&config, None, now_ms).err().unwrap().to_string();
    assert!(refused.starts_with("identity: ") && refused.contains("got 0644"), "{refused}");
    assert_eq!(std::fs::read(&file).unwrap(), kept);

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    init(&config, None, now_ms).unwrap();
    std::fs::remove_file(&file).unwrap();
    let refused = started().await;
    assert!(refused.contains("put it back"), "{refused}");
    // Keys made anew would not fit the evidence that the old ones began.
    std::fs::remove_dir_all(config.raft_dir()).unwrap();
    let before = tree(&config.data_dir);
    let refused = init(&config, None, now_ms).err().unwrap().to_string();
    assert!(refused.starts_with("identity: ") && refused.contains("put it back"), "{refused}");
    assert_eq!(tree(&config.data_dir), before, "a refusal changes nothing");
    // Nor do another log's.
    let other = Place::new();
    init(&other.config(), None, now_ms).unwrap();
    std::fs::copy(other.config().identity_dir().join("node.json"), &file).unwrap();
    let refused = init(&config, None, now_ms).err().unwrap().to_string();
    assert!(refused.starts_with("evidence: ") && refused.contains("policy"), "{refused}");
}
