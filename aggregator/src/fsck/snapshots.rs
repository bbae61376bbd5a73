//! Snapshots, read as a start that needs one would read them: every chunk, every row, the state.

use std::sync::Arc;

use super::{Inspection, Next};
use crate::config::Config;
use crate::identity::NodeIdentity;
use crate::node::state_of_snapshot;
use crate::snapshot::{Content, DiskFiles, Snapshot, SnapshotStore};
use crate::state::State;

/// The state in the newest snapshot that is whole. A directory without any is fine by itself:
/// whether one is needed is said where the stores are compared.
pub(super) fn inspect(
    config: &Config,
    identity: Option<&NodeIdentity>,
    inspection: &mut Inspection,
) -> Option<State> {
    let dir = config.snapshots_dir();
    if !dir.exists() {
        return None;
    }
    let store = SnapshotStore::read_only(Arc::new(DiskFiles::at(dir)));
    let contents = match store.contents() {
        Ok(contents) => contents,
        Err(fault) => {
            inspection.find("snapshots", fault.slug(), fault, Next::Refuses);
            return None;
        }
    };
    let mut newest = None;
    for (name, content) in contents {
        match content {
            Content::Whole { index } => {
                newest = whole(&store, index, identity, inspection).or(newest);
            }
            // Every chunk of it is judged again when the download goes on.
            Content::OnItsWay => {}
            Content::Scratch => {
                let message = "was being written when the process ended: a start removes it";
                inspection.find(&in_dir(&name), "snapshot_scratch", message, Next::Mends);
            }
            Content::Unknown => {
                let message = "expected snapshots, got a file of another name";
                inspection.find(&in_dir(&name), "snapshot_unexpected", message, Next::LeavesIt);
            }
        }
    }
    newest
}

/// Names come in ascending order: the last that is whole is the newest.
fn whole(
    store: &SnapshotStore,
    index: u64,
    identity: Option<&NodeIdentity>,
    inspection: &mut Inspection,
) -> Option<State> {
    let snapshot = store.snapshot(index);
    let name =
        snapshot.as_ref().map_or_else(|_| format!("{index:020}"), |one| one.name().to_owned());
    let loaded = snapshot.and_then(|snapshot| {
        let state = state_of_snapshot(&snapshot)?;
        Ok((state, snapshot))
    });
    match loaded {
        Ok((state, snapshot)) => {
            foreign(&snapshot, identity, inspection)?;
            inspection.snapshots.insert(0, index);
            Some(state)
        }
        Err(fault) => {
            inspection.find(&in_dir(&name), fault.slug(), fault, Next::LeavesIt);
            None
        }
    }
}

/// `None`: of another cluster.
fn foreign(
    snapshot: &Snapshot,
    identity: Option<&NodeIdentity>,
    inspection: &mut Inspection,
) -> Option<()> {
    let (expected, got) = (identity?.log_id(), snapshot.about().log_id);
    if expected == got {
        return Some(());
    }
    let message = format!("expected a snapshot of log {expected}, got one of {got}");
    inspection.find(&in_dir(snapshot.name()), "snapshot_elsewhere", message, Next::LeavesIt);
    None
}

fn in_dir(name: &str) -> String {
    format!("snapshots/{name}")
}
