//! Whose cosignatures a checkpoint of a given size needs, as the log's own leaves say it.
//!
//! Leaf 0 names the first nodes; `node_join` and `node_leave` leaves change the set from there on.
//! A checkpoint needs a majority of the set at its size. The first one over a changed set needs a
//! majority of the set before too: that is how whoever trusts the old nodes learns of the new.

use std::collections::BTreeMap;

use crate::key::PublicKey;
use crate::key_change::KeyChangeKind;
use crate::limits::NODES_COUNT_MAX;
use crate::name::Origin;
use crate::policy::{Policy, PolicyTextFault};

/// A change that the set before it does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignerFault {
    #[error("expected a cosigner of a new name and key, got {node} again")]
    Exists { node: String },
    #[error("expected one of the cosigners, got {node}")]
    Unknown { node: String },
    #[error("expected at least one cosigner to remain, got {node} to leave as the last")]
    Last { node: String },
    #[error("expected at most {NODES_COUNT_MAX} cosigners, got {node} as one more")]
    Full { node: String },
}

impl CosignerFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "cosigner_exists",
            Self::Unknown { .. } => "cosigner_unknown",
            Self::Last { .. } => "cosigner_last",
            Self::Full { .. } => "cosigners_full",
        }
    }
}

/// The nodes that cosign, by name. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigners {
    keys: BTreeMap<String, PublicKey>,
}

impl Cosigners {
    /// Those of a genesis: at least one, which its strict reader has seen to.
    pub fn of_genesis(nodes: &[(String, PublicKey)]) -> Cosigners {
        Cosigners { keys: nodes.iter().cloned().collect() }
    }

    /// Takes in what a leaf says; most leaves say nothing of cosigners.
    pub fn take(&mut self, change: &KeyChangeKind) -> Result<(), CosignerFault> {
        match change {
            KeyChangeKind::NodeJoin { node, key } => self.join(node, *key),
            KeyChangeKind::NodeLeave { node } => self.leave(node),
            _ => Ok(()),
        }
    }

    fn join(&mut self, node: &str, key: PublicKey) -> Result<(), CosignerFault> {
        let node = node.to_owned();
        if self.keys.contains_key(&node) || self.keys.values().any(|known| *known == key) {
            return Err(CosignerFault::Exists { node });
        }
        // One more than may remain: a node that is replaced leaves in the next leaf.
        if self.keys.len() > NODES_COUNT_MAX {
            return Err(CosignerFault::Full { node });
        }
        self.keys.insert(node, key);
        Ok(())
    }

    fn leave(&mut self, node: &str) -> Result<(), CosignerFault> {
        let node = node.to_owned();
        match (self.keys.contains_key(&node), self.keys.len()) {
            (false, _) => Err(CosignerFault::Unknown { node }),
            (true, 1) => Err(CosignerFault::Last { node }),
            (true, _) => {
                self.keys.remove(&node);
                Ok(())
            }
        }
    }

    pub fn key(&self, node: &str) -> Option<&PublicKey> {
        self.keys.get(node)
    }

    /// How many of them must cosign a checkpoint.
    pub fn majority(&self) -> usize {
        self.keys.len() / 2 + 1
    }

    /// Ascending by name.
    pub fn nodes(&self) -> Vec<(String, PublicKey)> {
        self.keys.iter().map(|(node, key)| (node.clone(), *key)).collect()
    }

    /// Whether these names include a majority of the set.
    pub fn is_majority<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> bool {
        let known = names.into_iter().filter(|name| self.keys.contains_key(*name)).count();
        known >= self.majority()
    }

    /// The policy that this set implies for its log.
    pub fn policy(&self, origin: &Origin, log_key: &PublicKey) -> Result<Policy, PolicyTextFault> {
        Policy::for_nodes(origin, log_key, &self.nodes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PublicKey {
        PublicKey([seed; 32])
    }

    #[test]
    fn a_set_changes_one_node_at_a_time_and_is_never_empty() {
        let mut set = Cosigners::of_genesis(&[("n1".to_owned(), key(1))]);
        let mut check = |change: KeyChangeKind, expect: Result<usize, &str>| {
            let taken = set.take(&change).map_err(|fault| fault.slug());
            assert_eq!(taken.map(|()| set.nodes().len()), expect, "{change:?}");
        };
        let join = |node: &str, seed| KeyChangeKind::NodeJoin { node: node.into(), key: key(seed) };
        let leave = |node: &str| KeyChangeKind::NodeLeave { node: node.into() };
        check(leave("n1"), Err("cosigner_last"));
        check(join("n1", 2), Err("cosigner_exists"));
        check(join("n2", 1), Err("cosigner_exists"));
        check(join("n2", 2), Ok(2));
        check(leave("n3"), Err("cosigner_unknown"));
        check(leave("n1"), Ok(1));
        check(leave("n2"), Err("cosigner_last"));
        assert_eq!(set.majority(), 1);
    }
}
