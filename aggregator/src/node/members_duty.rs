//! What a leader does about the members, once a second: raises the version when every replica knows
//! more, and carries out the steps that are due, one at a time.
//!
//! Everything here may be cut off anywhere: the next leader finds the same steps in the state. A
//! step proposed twice is refused the second time.

use std::sync::Arc;

use tokio::sync::watch;

use crate::command::{COMMANDS_NEWEST, Command, Founder, NodeHost, NodeName};
use crate::config::Config;
use crate::consensus::driver::{PeerProgress, PeerState};
use crate::consensus::transport::PeerBook;
use crate::consensus::{ConsensusHandle, Role};
use crate::identity::NodeIdentity;
use crate::state::Step;
use crate::views::members::MembersView;

pub(super) struct MembersDuty {
    handle: ConsensusHandle,
    book: Arc<PeerBook>,
    members: watch::Receiver<Arc<MembersView>>,
    own: u64,
    /// As this replica's configuration lists them; `None` for one that joined later.
    founders: Option<Vec<Founder>>,
    /// Committed a look ago: who has this now lags less than the time between two looks.
    commit_before: u64,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Raise(Command),
    /// This leader is about to lose its vote.
    HandOver,
    Change(Step),
}

impl MembersDuty {
    pub(super) fn new(
        config: &Config,
        identity: &NodeIdentity,
        handle: ConsensusHandle,
        book: Arc<PeerBook>,
        members: watch::Receiver<Arc<MembersView>>,
    ) -> Self {
        let founders = founders(config, identity);
        Self { handle, book, members, own: identity.node_id, founders, commit_before: 0 }
    }

    /// Looks once; called once a second.
    pub(super) fn look(&mut self) -> Due {
        let status = *self.handle.status().borrow();
        let caught_up_at = std::mem::replace(&mut self.commit_before, status.commit);
        if status.role != Role::Leader {
            return Due::Nothing;
        }
        let members = self.members.borrow().clone();
        if members.version < COMMANDS_NEWEST {
            return self.raise(&members);
        }
        let progress = self.handle.progress();
        let progress = progress.borrow();
        let is_ready = |id| is_caught_up(&progress, id, caught_up_at);
        due(&members.steps, self.own, is_ready)
    }

    /// When every replica that there is has said that it knows more. Only those of the beginning
    /// can be there before version 2.
    fn raise(&self, members: &MembersView) -> Due {
        let Some(founders) = &self.founders else { return Due::Nothing };
        let known = self.book.commands_version(founders.iter().map(|founder| founder.id));
        let to = members.version + 1;
        match known {
            Some(known) if known >= to && members.version > 0 => {
                Due::Raise(Command::RaiseVersion { to, founders: founders.clone() })
            }
            _ => Due::Nothing,
        }
    }
}

/// The first step that can be taken; a leader that stands in the way of all of them goes first.
fn due(steps: &[Step], own: u64, is_ready: impl Fn(u64) -> bool) -> Due {
    let mut ready = steps.iter().filter(|step| step.waits_for.is_none_or(&is_ready)).peekable();
    if ready.peek().is_none() {
        return Due::Nothing;
    }
    let free = ready.find(|step| !step.demotes.contains(&own));
    free.map_or(Due::HandOver, |step| Due::Change(step.clone()))
}

/// It answers, is sent entries in the ordinary way, and has what was committed a second ago.
fn is_caught_up(progress: &[PeerProgress], id: u64, caught_up_at: u64) -> bool {
    progress.iter().any(|peer| {
        let is_ordinary = peer.is_active && peer.state == PeerState::Replicate;
        peer.node_id == id && is_ordinary && caught_up_at > 0 && peer.matched >= caught_up_at
    })
}

fn founders(config: &Config, identity: &NodeIdentity) -> Option<Vec<Founder>> {
    let founder = |node: &crate::identity::NodeInfo| {
        let listed = config.nodes.iter().find(|listed| listed.name == node.name)?;
        let (grpc, peers) = (listed.grpc.clone(), listed.peers.clone());
        let host = NodeHost { key: node.cosigner_key, grpc, peers };
        Some(Founder { id: node.id, name: NodeName::parse(&node.name).ok()?, host })
    };
    identity.founders().map(founder).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::consensus::membership::{MembershipChange, Part};

    fn step(id: u64, part: Part, waits_for: Option<u64>, demotes: &[u64]) -> Step {
        let demotes = BTreeSet::from_iter(demotes.iter().copied());
        Step { change: MembershipChange::one(id, part), waits_for, demotes }
    }

    #[test]
    fn a_leader_takes_the_first_step_it_can_and_never_its_own_vote() {
        let learner = step(4, Part::Learner, None, &[]);
        let voter = step(4, Part::Voter, Some(4), &[]);
        let demoted = step(1, Part::Learner, None, &[1]);
        let check = |steps: &[&Step], own: u64, ready: &[u64], expect: Due| {
            let steps: Vec<Step> = steps.iter().copied().cloned().collect();
            assert_eq!(due(&steps, own, |id| ready.contains(&id)), expect);
        };
        check(&[], 1, &[], Due::Nothing);
        check(&[&learner], 1, &[], Due::Change(learner.clone()));
        check(&[&voter], 1, &[], Due::Nothing);
        check(&[&voter], 1, &[4], Due::Change(voter.clone()));
        check(&[&demoted], 1, &[], Due::HandOver);
        check(&[&demoted], 2, &[], Due::Change(demoted.clone()));
        check(&[&demoted, &learner], 1, &[], Due::Change(learner.clone()));
    }

    #[test]
    fn who_answers_and_has_what_was_committed_a_second_ago_has_caught_up() {
        let peer =
            |matched, state, is_active| PeerProgress { node_id: 4, matched, state, is_active };
        let check = |peer: PeerProgress, expect| assert_eq!(is_caught_up(&[peer], 4, 90), expect);
        check(peer(90, PeerState::Replicate, true), true);
        check(peer(89, PeerState::Replicate, true), false);
        check(peer(99, PeerState::Replicate, false), false);
        check(peer(99, PeerState::Probe, true), false);
        assert!(!is_caught_up(&[], 4, 90), "not known");
        let fresh = [peer(99, PeerState::Replicate, true)];
        assert!(!is_caught_up(&fresh, 4, 0), "looked only once");
    }
}
