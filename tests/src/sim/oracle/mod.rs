//! What must hold after every step, whatever the world did.
//!
//! The oracle knows everything that any program has ever shown, and nothing of how it came to it.

mod counts;
mod finish;
mod log;
mod truth;

use std::collections::{BTreeMap, BTreeSet};

use proofmark_aggregator::consensus::driver::Entry;
use proofmark_evidence::{Hash, SignedCheckpoint, sha256};

pub(super) use finish::judge;
pub(super) use log::batch_id;
pub(super) use truth::Truth;

/// Everything that was ever shown.
#[derive(Default)]
pub(super) struct Oracle {
    leader_of_term: BTreeMap<u64, u64>,
    /// Term and data hash of each committed entry, from index 1.
    committed: Vec<(u64, Hash)>,
    /// How far each node has handed out entries as committed: they are durable there.
    committed_by: BTreeMap<u64, u64>,
    /// Digest of what applying each index answered and caused, as first seen.
    applied: BTreeMap<u64, Hash>,
    /// State bytes after some indexes, as first seen.
    states: BTreeMap<u64, Hash>,
    /// Root at each size, as first vouched for or published.
    roots: BTreeMap<u64, Hash>,
    /// The newest size each node has published and cosigned.
    published: BTreeMap<u64, u64>,
    cosigned: BTreeMap<u64, u64>,
    /// Leaves of batches that some leader has acknowledged.
    pub(super) acknowledged: BTreeSet<Hash>,
    /// How far each agent was acknowledged.
    acked_end: BTreeMap<usize, u64>,
    pub(super) acks: u64,
    pub(super) publications: u64,
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
        self.committed_by.insert(node_id, entry.index);
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

    /// What an index does is the same everywhere, whenever it is done.
    pub(super) fn applied(&mut self, node_id: u64, index: u64, digest: Hash) -> Result<(), String> {
        same(&mut self.applied, index, digest, "what applying does", node_id)
    }

    pub(super) fn state(&mut self, node_id: u64, index: u64, bytes: &[u8]) -> Result<(), String> {
        same(&mut self.states, index, sha256(bytes), "the state", node_id)
    }

    /// A node vouches for a root, before its signature leaves it.
    pub(super) fn cosigned(&mut self, node_id: u64, size: u64, root: Hash) -> Result<(), String> {
        let newest = self.cosigned.entry(node_id).or_default();
        *newest = (*newest).max(size);
        self.root(node_id, size, root)
    }

    pub(super) fn root(&mut self, node_id: u64, size: u64, root: Hash) -> Result<(), String> {
        same(&mut self.roots, size, root, "the root", node_id)
    }

    /// What a node publishes never contradicts, and never goes back.
    pub(super) fn published(&mut self, node_id: u64, note: &str) -> Result<(), String> {
        let signed = SignedCheckpoint::parse(note).map_err(|fault| fault.to_string())?;
        let (size, root) = (signed.checkpoint.size, signed.checkpoint.root);
        let newest = self.published.entry(node_id).or_default();
        if size < *newest {
            return Err(format!("node {node_id} published {newest} leaves, and then only {size}"));
        }
        if size > *newest {
            self.publications += 1;
        }
        *newest = size;
        self.root(node_id, size, root)
    }

    /// After a start: what a node has vouched for, it has, and knows that it has.
    pub(super) fn started(&self, node_id: u64, seen: Remembered) -> Result<(), String> {
        let cosigned = self.cosigned.get(&node_id).copied().unwrap_or(0);
        let published = self.published.get(&node_id).copied().unwrap_or(0);
        let committed = self.committed_by.get(&node_id).copied().unwrap_or(0);
        let Remembered { leaves, last_signed, published: still_published, log_end } = seen;
        if log_end < committed {
            return Err(format!(
                "node {node_id} had {committed} committed entries, after a start its log ends at \
                 {log_end}"
            ));
        }
        if leaves < cosigned {
            return Err(format!(
                "node {node_id} vouched for {cosigned} leaves and has {leaves} after a start"
            ));
        }
        if last_signed < cosigned {
            return Err(format!(
                "node {node_id} cosigned at {cosigned} leaves; after a start it knows only of \
                 {last_signed}"
            ));
        }
        if still_published < published {
            return Err(format!(
                "node {node_id} had published {published} leaves, after a start {still_published}"
            ));
        }
        Ok(())
    }

    /// A node's evidence was replaced by a copy: what it has begins anew.
    pub(super) fn forget_node(&mut self, node_id: u64) {
        self.published.remove(&node_id);
        self.cosigned.remove(&node_id);
    }

    /// An ack leaves the node that speaks to the agent.
    pub(super) fn acknowledged(&mut self, agent: usize, batch: Hash, seq_end: u64) {
        self.acks += 1;
        self.acknowledged.insert(batch);
        let end = self.acked_end.entry(agent).or_default();
        if seq_end < u64::MAX {
            *end = (*end).max(seq_end);
        }
    }

    pub(super) fn acked_end(&self, agent: usize) -> u64 {
        self.acked_end.get(&agent).copied().unwrap_or(0)
    }

    pub(super) fn committed_count(&self) -> u64 {
        self.committed.len() as u64
    }

    pub(super) fn terms_led(&self) -> u64 {
        self.leader_of_term.len() as u64
    }
}

/// What a node finds on its disk when it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    pub(super) leaves: u64,
    pub(super) last_signed: u64,
    pub(super) published: u64,
    pub(super) log_end: u64,
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
        false => Err(format!("{what} at {index}: node {node_id} differs from the first")),
    }
}
