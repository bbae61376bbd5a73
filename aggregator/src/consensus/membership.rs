//! Who votes, who only listens, and how one membership follows another.
//!
//! Pure, and without a type of Raft's, so that the state can decide with it. The rule is Raft's own
//! (raft 0.7, `confchange/changer.rs`; Ongaro's thesis, 4.3): one change at a time is simple,
//! several together go through a joint phase in which old and new majorities both must agree. The
//! tests hold it against raft's result.

mod codec;

use std::collections::BTreeSet;

/// The members of the group, by node id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Whose majority decides; in a joint phase the new voters.
    pub voters: BTreeSet<u64>,
    /// Who is sent everything and decides nothing.
    pub learners: BTreeSet<u64>,
    /// In a joint phase the old voters, whose majority must agree too; else empty.
    pub voters_outgoing: BTreeSet<u64>,
    /// Old voters that become learners when the joint phase ends.
    pub learners_next: BTreeSet<u64>,
    /// The leader ends the joint phase by itself, as soon as it is committed.
    pub auto_leave: bool,
}

/// A node's part in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Voter,
    Learner,
    /// No part any more.
    Gone,
}

/// What is to change, all at once. Each node stands here once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipChange {
    pub changes: Vec<(u64, Part)>,
}

/// Why a membership cannot follow from another. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipFault {
    #[error("expected at least one change of a member, got none")]
    Nothing,
    #[error("expected one change for each node, got two for node {node_id}")]
    Twice { node_id: u64 },
    #[error("expected node ids from 1, got 0")]
    NoNode,
    #[error("expected the joint phase of the last change to be over, it is not")]
    Joint,
    #[error("expected at least one voter to stay, got none")]
    NoVoters,
}

impl Membership {
    /// These voters, and nobody else.
    pub fn of_voters(voters: impl IntoIterator<Item = u64>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether old and new majorities both must agree.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether this node has any part.
    pub fn contains(&self, node_id: u64) -> bool {
        self.decides(node_id) || self.learners.contains(&node_id)
    }

    /// Whether this node's vote counts, for the new majority or the old.
    pub fn decides(&self, node_id: u64) -> bool {
        self.voters.contains(&node_id) || self.voters_outgoing.contains(&node_id)
    }

    /// Everybody, ascending.
    pub fn members(&self) -> BTreeSet<u64> {
        let parts = [&self.voters, &self.learners, &self.voters_outgoing];
        parts.into_iter().flatten().copied().collect()
    }

    /// What this becomes once `change` is applied: at once when it names one node, else a joint
    /// phase that the leader ends by itself.
    pub fn after(&self, change: &MembershipChange) -> Result<Self, MembershipFault> {
        change.check()?;
        if self.is_joint() {
            return Err(MembershipFault::Joint);
        }
        let mut next = self.clone();
        if change.changes.len() > 1 {
            next.voters_outgoing = self.voters.clone();
            next.auto_leave = true;
        }
        for (node_id, part) in &change.changes {
            next.take(*node_id, *part);
        }
        if next.voters.is_empty() {
            return Err(MembershipFault::NoVoters);
        }
        Ok(next)
    }

    /// What this becomes when the joint phase ends; `None` when there is none.
    pub fn left_joint(&self) -> Option<Self> {
        if !self.is_joint() {
            return None;
        }
        let learners = self.learners.union(&self.learners_next).copied().collect();
        Some(Self { voters: self.voters.clone(), learners, ..Self::default() })
    }

    /// Whether Raft could have made this: nobody has two parts, and what only a joint phase has is
    /// absent without one.
    pub fn is_whole(&self) -> bool {
        let deciding: BTreeSet<u64> = self.voters.union(&self.voters_outgoing).copied().collect();
        let parts_fit = self.learners.is_disjoint(&deciding)
            && self.learners_next.is_subset(&self.voters_outgoing)
            && self.learners_next.is_disjoint(&self.voters);
        let joint_fits = self.is_joint() || (self.learners_next.is_empty() && !self.auto_leave);
        !self.voters.is_empty() && !self.members().contains(&0) && parts_fit && joint_fits
    }

    fn take(&mut self, node_id: u64, part: Part) {
        if part == Part::Learner && self.learners.contains(&node_id) {
            return;
        }
        self.voters.remove(&node_id);
        self.learners.remove(&node_id);
        self.learners_next.remove(&node_id);
        match part {
            Part::Voter => self.voters.insert(node_id),
            // Who still decides for the old majority cannot be a learner yet.
            Part::Learner if self.voters_outgoing.contains(&node_id) => {
                self.learners_next.insert(node_id)
            }
            Part::Learner => self.learners.insert(node_id),
            Part::Gone => true,
        };
    }
}

impl MembershipChange {
    /// One node takes one part.
    pub fn one(node_id: u64, part: Part) -> Self {
        Self { changes: vec![(node_id, part)] }
    }

    fn check(&self) -> Result<(), MembershipFault> {
        let mut seen = BTreeSet::new();
        if self.changes.is_empty() {
            return Err(MembershipFault::Nothing);
        }
        for (node_id, _) in &self.changes {
            if *node_id == 0 {
                return Err(MembershipFault::NoNode);
            }
            if !seen.insert(*node_id) {
                return Err(MembershipFault::Twice { node_id: *node_id });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::{conf_change, logger};
    use proptest::prelude::*;
    use raft::RawNode;
    use raft::storage::MemStorage;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    fn change(parts: &[(u64, Part)]) -> MembershipChange {
        MembershipChange { changes: parts.to_vec() }
    }

    #[test]
    fn one_change_is_simple_and_several_are_joint() {
        let three = Membership::of_voters([1, 2, 3]);
        let four = three.after(&change(&[(4, Part::Learner)])).unwrap();
        assert_eq!(four, Membership { learners: set(&[4]), ..three.clone() });
        let replaced = four.after(&change(&[(4, Part::Voter), (2, Part::Learner)])).unwrap();
        let expect = Membership {
            voters: set(&[1, 3, 4]),
            voters_outgoing: set(&[1, 2, 3]),
            learners_next: set(&[2]),
            auto_leave: true,
            ..Membership::default()
        };
        assert_eq!(replaced, expect);
        let left = replaced.left_joint().unwrap();
        assert_eq!(left, Membership { learners: set(&[2]), ..Membership::of_voters([1, 3, 4]) });
        assert_eq!(left.left_joint(), None);
    }

    #[test]
    fn what_raft_would_refuse_is_refused_by_name() {
        let one = Membership::of_voters([1]);
        let joint = one.after(&change(&[(2, Part::Voter), (3, Part::Voter)])).unwrap();
        let check = |before: &Membership, parts: &[(u64, Part)], expect| {
            assert_eq!(before.after(&change(parts)), Err(expect), "{parts:?}");
        };
        check(&one, &[], MembershipFault::Nothing);
        check(&one, &[(0, Part::Voter)], MembershipFault::NoNode);
        let twice = MembershipFault::Twice { node_id: 2 };
        check(&one, &[(2, Part::Voter), (2, Part::Gone)], twice);
        check(&one, &[(1, Part::Gone)], MembershipFault::NoVoters);
        check(&one, &[(1, Part::Learner)], MembershipFault::NoVoters);
        check(&joint, &[(1, Part::Gone)], MembershipFault::Joint);
    }

    #[test]
    fn a_membership_that_raft_could_not_have_made_is_not_whole() {
        let three = Membership::of_voters([1, 2, 3]);
        assert!(three.is_whole());
        assert!(!Membership::default().is_whole(), "no voters");
        assert!(!Membership::of_voters([0, 1]).is_whole(), "no such node");
        assert!(!Membership { learners: set(&[1]), ..three.clone() }.is_whole(), "two parts");
        assert!(!Membership { auto_leave: true, ..three.clone() }.is_whole(), "not joint");
        assert!(!Membership { learners_next: set(&[4]), ..three }.is_whole(), "nobody's next");
    }

    /// Raft's own answer to the same change: `None` when it refuses.
    fn by_raft(before: &Membership, change: &MembershipChange) -> Option<Membership> {
        let storage = MemStorage::new_with_conf_state(conf_change::conf_state_of(before));
        let config = raft::Config::new(99);
        let mut raft = RawNode::new(&config, storage, &logger::to_tracing()).unwrap();
        let after = raft.apply_conf_change(&conf_change::of_change(change)).ok()?;
        Some(conf_change::membership_of(&after))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_change_gives_what_raft_gives(
            voters in prop::collection::btree_set(1..6u64, 1..5),
            parts in prop::collection::btree_map(1..8u64, 0..3u8, 1..4),
            learners in prop::collection::btree_set(6..8u64, 0..2),
        ) {
            let before = Membership { learners, ..Membership::of_voters(voters) };
            let part = |code| [Part::Voter, Part::Learner, Part::Gone][usize::from(code)];
            let parts: Vec<(u64, Part)> =
                parts.into_iter().map(|(id, code)| (id, part(code))).collect();
            let change = change(&parts);
            let got = before.after(&change);
            prop_assert_eq!(got.clone().ok(), by_raft(&before, &change));
            if let Ok(after) = got {
                prop_assert!(after.is_whole());
            }
        }
    }
}
