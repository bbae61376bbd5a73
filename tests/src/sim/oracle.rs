//! What must hold after every step, whatever the world did.

use std::collections::BTreeMap;

use proofmark_aggregator::consensus::driver::Entry;
use proofmark_evidence::{Hash, sha256};

use super::machine::Machine;

/// States are compared byte by byte at every index divisible by this: encoding one is the most
/// expensive thing in a run. Histories are compared at every index.
const STATE_EVERY: u64 = 16;

/// Knows everything that any replica has ever shown.
#[derive(Default)]
pub(super) struct Oracle {
    leader_of_term: BTreeMap<u64, u64>,
    /// Term and data hash of each committed entry, from index 1.
    committed: Vec<(u64, Hash)>,
    /// The history after each index, as first seen.
    chains: BTreeMap<u64, Hash>,
    states: BTreeMap<u64, Hash>,
    /// Leaves of batches that some leader has acknowledged.
    acknowledged: Vec<Hash>,
}

impl Oracle {
    pub(super) fn leader(&mut self, node_id: u64, term: u64) -> Result<(), String> {
        let leader = *self.leader_of_term.entry(term).or_insert(node_id);
        match leader == node_id {
            true => Ok(()),
            false => Err(format!("term {term} is led by node {leader} and by node {node_id}")),
        }
    }

    pub(super) fn committed(&mut self, node_id: u64, entry: &Entry) -> Result<(), String> {
        let got = (entry.term, sha256(&entry.data));
        let position = usize::try_from(entry.index - 1).expect("a log in memory");
        match self.committed.get(position) {
            Some(expected) if *expected == got => Ok(()),
            Some(expected) => Err(format!(
                "index {} committed as {expected:?}, on node {node_id} as {got:?}",
                entry.index
            )),
            None if position == self.committed.len() => {
                self.committed.push(got);
                Ok(())
            }
            None => Err(format!("node {node_id} commits {} before its forerunner", entry.index)),
        }
    }

    pub(super) fn applied(&mut self, node_id: u64, machine: &Machine) -> Result<(), String> {
        let index = machine.applied();
        same(&mut self.chains, index, machine.chain(), "history", node_id)?;
        if index.is_multiple_of(STATE_EVERY) {
            same(&mut self.states, index, machine.state_hash(), "state", node_id)?;
        }
        Ok(())
    }

    pub(super) fn acknowledged(&mut self, leaf: Hash) {
        self.acknowledged.push(leaf);
    }

    /// At the end, on every replica: equal states, and every acknowledged batch is evidence. (That
    /// none is there twice, each machine has checked at every step.)
    pub(super) fn finished(&mut self, node_id: u64, machine: &Machine) -> Result<(), String> {
        let index = machine.applied();
        same(&mut self.states, index, machine.state_hash(), "state", node_id)?;
        match self.acknowledged.iter().find(|leaf| !machine.holds(leaf)) {
            Some(leaf) => Err(format!("batch {leaf} was acknowledged; node {node_id} lacks it")),
            None => Ok(()),
        }
    }

    pub(super) fn committed_count(&self) -> u64 {
        self.committed.len() as u64
    }

    pub(super) fn terms_led(&self) -> u64 {
        self.leader_of_term.len() as u64
    }
}

fn same(
    seen: &mut BTreeMap<u64, Hash>,
    index: u64,
    got: Hash,
    what: &str,
    node_id: u64,
) -> Result<(), String> {
    let expected = *seen.entry(index).or_insert(got);
    match expected == got {
        true => Ok(()),
        false => Err(format!("{what} at index {index}: node {node_id} differs from the first")),
    }
}
