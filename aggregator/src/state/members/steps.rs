//! What is to be done next to the membership: the only changes that the state takes.

use std::collections::BTreeSet;

use super::{Member, MemberPart, Members};
use crate::consensus::membership::{Membership, MembershipChange, Part};

/// One change that is due. The leader proposes it; done twice it is refused the second time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub change: MembershipChange,
    /// This node must have caught up first: it is about to vote.
    pub waits_for: Option<u64>,
    /// These lose their vote: none of them may be the leader that proposes it.
    pub demotes: BTreeSet<u64>,
}

impl Members {
    /// Every step that is due, by ascending id. None in a joint phase: Raft ends that by itself.
    pub fn steps(&self) -> Vec<Step> {
        match self.membership() {
            Some(raft) if !raft.is_joint() => {
                self.iter().filter_map(|(id, member)| self.step(id, member, raft)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn step(&self, id: u64, member: &Member, raft: &Membership) -> Option<Step> {
        match member.part {
            MemberPart::Joined => Some(simple(id, Part::Learner)),
            MemberPart::Learner => Some(self.promotion(id, member, raft)),
            MemberPart::Leaving if raft.voters.contains(&id) => {
                let demotes = BTreeSet::from([id]);
                Some(Step { demotes, ..simple(id, Part::Learner) })
            }
            MemberPart::Leaving => Some(simple(id, Part::Gone)),
            MemberPart::Invited | MemberPart::Voter | MemberPart::Gone => None,
        }
    }

    /// Whoever replaces another takes its vote in one joint change: at no time does the cluster
    /// count on both.
    fn promotion(&self, id: u64, member: &Member, raft: &Membership) -> Step {
        let mut step = Step { waits_for: Some(id), ..simple(id, Part::Voter) };
        if let Some(old) = member.replaces.filter(|old| raft.voters.contains(old)) {
            step.change.changes.push((old, Part::Learner));
            step.demotes.insert(old);
        }
        step
    }

    /// Takes a due change: Raft's membership and the parts that follow from it. What changed, as
    /// (id, part) in the change's order.
    pub(in super::super) fn take_change(
        &mut self,
        change: &MembershipChange,
    ) -> Option<Membership> {
        let is_due = self.steps().iter().any(|step| step.change == *change);
        let after = self.membership()?.after(change).ok().filter(|_| is_due)?;
        for (id, part) in &change.changes {
            let member = self.table.change(id).expect("a step speaks of members");
            member.part = match (part, member.part) {
                (Part::Gone, _) => MemberPart::Gone,
                (Part::Voter, _) => MemberPart::Voter,
                (Part::Learner, MemberPart::Joined) => MemberPart::Learner,
                (Part::Learner, _) => MemberPart::Leaving,
            };
        }
        self.raft.insert((), after.clone());
        Some(after)
    }

    /// The joint phase is over; `None` when there was none.
    pub(in super::super) fn leave_joint(&mut self) -> Option<Membership> {
        let after = self.membership()?.left_joint()?;
        self.raft.insert((), after.clone());
        Some(after)
    }
}

fn simple(id: u64, part: Part) -> Step {
    Step { change: MembershipChange::one(id, part), waits_for: None, demotes: BTreeSet::new() }
}
