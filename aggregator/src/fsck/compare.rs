//! What the stores say of each other. Each may be whole in itself, and one of them an old copy.

use super::{Inspection, Next, Stores};
use crate::command::{CodecFault, Entry};
use crate::consensus::log_store::{LogInspection, Logged};
use crate::state::State;

pub(super) fn compare(mut stores: Stores, inspection: &mut Inspection) {
    let snapshot = stores.snapshot.take();
    let stores = &stores;
    tables_and_log(stores, inspection);
    signature_and_evidence(stores, inspection);
    let state = state(stores, snapshot, inspection);
    if let Some(log) = &stores.log {
        let leaves = accounted_leaves(log, state, inspection);
        log_and_promises(leaves, stores, inspection);
    }
}

/// Tables are saved from what was committed, so they never reach beyond the log.
fn tables_and_log(stores: &Stores, inspection: &mut Inspection) {
    let (Some(rows), Some(log)) = (&stores.rows, &stores.log) else { return };
    let (applied, last_index) = (rows.applied_index, log.facts.last_index);
    if applied > last_index {
        let message =
            format!("expected entries up to {applied}, which the tables hold, got {last_index}");
        inspection.find("raft", "raft_log_lost", message, Next::Refuses);
    }
}

/// What this node signed must be what it has.
fn signature_and_evidence(stores: &Stores, inspection: &mut Inspection) {
    let Some(evidence) = &stores.evidence else { return };
    let Some(signed) = &stores.signed else {
        let is_gone = inspection.findings.iter().all(|finding| finding.file != "last_signed");
        if let Some(size) = evidence.cosigned_size.filter(|_| is_gone) {
            let message = format!(
                "expected what this node signed last, got nothing beside a checkpoint at {size} \
                 leaves that it signed: that one is taken"
            );
            inspection.find("last_signed", "last_signed_gone", message, Next::Mends);
        }
        return;
    };
    if signed.size > evidence.rehearsal.size() {
        let (expected, got) = (signed.size, evidence.rehearsal.size());
        let message = format!("expected the {expected} leaves that this node signed, got {got}");
        return inspection.find("evidence", "evidence_short", message, Next::Mends);
    }
    match evidence.rehearsal.root_at(signed.size) {
        Ok(root) if root == signed.root => {}
        Ok(root) => {
            let (size, expected) = (signed.size, signed.root);
            let message = format!("expected root {root} at {size} leaves, got {expected}");
            inspection.find("last_signed", "signed_elsewhere", message, Next::StopsServing);
        }
        Err(fault) => inspection.find("evidence", fault.slug(), fault, Next::Refuses),
    }
}

/// The state from which a start goes on: that of the tables, else of a snapshot, else the empty one
/// with the whole log.
fn state(stores: &Stores, snapshot: Option<State>, inspection: &mut Inspection) -> State {
    let start = stores.log.as_ref().map_or(0, |log| log.facts.first_index.saturating_sub(1));
    let fits = |state: &State| state.applied() >= start;
    let found = saved(stores, inspection).filter(fits).or(snapshot.filter(fits));
    if found.is_none() && start > 0 {
        let message = format!(
            "expected tables or a snapshot from which the Raft log goes on, after entry {start} or \
             later, got none that is whole"
        );
        inspection.find("snapshots", "state_gone", message, Next::Refuses);
    }
    found.unwrap_or_default()
}

fn saved(stores: &Stores, inspection: &mut Inspection) -> Option<State> {
    let rows = stores.rows.as_ref()?.rows.iter().cloned();
    let loaded = State::from_rows(rows);
    loaded.inspect_err(|fault| inspection.find("tables", "tables_rows", fault, Next::Mends)).ok()
}

/// Leaves that the log makes, committed or not; none when it does not reach down to the state.
fn accounted_leaves(
    log: &LogInspection,
    mut state: State,
    inspection: &mut Inspection,
) -> Option<u64> {
    if state.applied() + 1 < log.facts.first_index {
        return None;
    }
    for index in state.applied() + 1..=log.facts.last_index {
        let logged = match log.logged(index) {
            Ok(logged) => logged,
            Err(fault) => {
                inspection.find("raft", "raft_log_damaged", fault, Next::Refuses);
                return None;
            }
        };
        if apply(&mut state, index, logged).is_err() {
            let message = format!("expected commands in entry {index}, got other bytes");
            inspection.find("raft", "raft_log_damaged", message, Next::Refuses);
            return None;
        }
    }
    Some(state.leaf_count())
}

/// As the apply thread does it.
fn apply(state: &mut State, index: u64, logged: Logged) -> Result<(), CodecFault> {
    match logged {
        Logged::Commands(bytes) if bytes.is_empty() => {}
        Logged::Change(bytes) if bytes.is_empty() => drop(state.leave_joint()),
        Logged::Commands(bytes) => {
            let Entry { stamped_at_ms, commands } = Entry::decode(&bytes)?;
            for command in &commands {
                state.apply(index, stamped_at_ms, command);
            }
        }
        Logged::Change(bytes) => {
            let Entry { stamped_at_ms, commands } = Entry::decode(&bytes)?;
            for command in &commands {
                state.apply_change(index, stamped_at_ms, command);
            }
        }
    }
    state.finish_entry(index);
    Ok(())
}

/// A node signs only leaves of its own committed entries. If the log cannot account for them, it
/// lost its end. Evidence beyond both may be another replica's, put here by a person.
fn log_and_promises(leaves: Option<u64>, stores: &Stores, inspection: &mut Inspection) {
    let Some(leaves) = leaves else { return };
    if let Some(signed) = &stores.signed
        && signed.size > leaves
    {
        let message = format!(
            "expected entries that make the {} leaves this node signed, got {leaves} leaves",
            signed.size
        );
        return inspection.find("raft", "raft_log_lost", message, Next::StopsServing);
    }
    let size = stores.evidence.as_ref().map_or(0, |evidence| evidence.rehearsal.size());
    if size > leaves {
        let message = format!(
            "expected entries that make the {size} leaves of the evidence, got {leaves} leaves: \
             the evidence is another replica's, or the log lost its end"
        );
        inspection.find("raft", "raft_log_short", message, Next::Mends);
    }
}
