//! The replicas as one applied entry left them: for the rooms that dial, let in, promote and show.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_evidence::{Hash, sha256};
use serde::Serialize;
use utoipa::ToSchema;

use crate::consensus::driver::PeerProgress;
use crate::consensus::membership::Membership;
use crate::consensus::{ConsensusStatus, Role};
use crate::state::{Genesis, MemberPart, State, Step};

/// What the state says of the replicas. Empty while its version is 1.
#[derive(Clone, Debug)]
pub struct MembersView {
    /// The set of commands that every replica knows.
    pub version: u64,
    /// By ascending id; those that are gone too.
    pub members: Vec<MemberView>,
    pub membership: Option<Membership>,
    /// What is due.
    pub steps: Vec<Step>,
    /// The policy that the newest published checkpoint satisfies; empty before the first leaf.
    pub policy: Arc<str>,
    pub policy_sha256: Hash,
    /// The leaves that changed the cosigners, ascending.
    pub cosigner_changes: Vec<u64>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberView {
    pub id: u64,
    pub name: String,
    /// `invited`, `joined`, `learner`, `voter`, `leaving` or `gone`.
    pub part: &'static str,
    /// The name of the voter whose place it takes.
    pub replaces: Option<String>,
    /// host:port of its agent port; empty before it joined.
    pub grpc: String,
    /// host:port of its peer port; empty before it joined.
    pub peers: String,
    pub leads: bool,
    /// Entries of the Raft log that it has not confirmed yet. Known to the leader alone, of those
    /// it hears.
    pub lag_entries: Option<u64>,
}

impl MembersView {
    pub fn of(state: &State) -> MembersView {
        let members = state.members();
        let names: BTreeMap<u64, String> =
            members.iter().map(|(id, member)| (id, member.name.to_string())).collect();
        let view = |(id, member): (u64, &crate::state::Member)| MemberView {
            id,
            name: member.name.to_string(),
            part: member.part.slug(),
            replaces: member.replaces.and_then(|old| names.get(&old).cloned()),
            grpc: member.host.as_ref().map_or_else(String::new, |host| host.grpc.clone()),
            peers: member.host.as_ref().map_or_else(String::new, |host| host.peers.clone()),
            leads: false,
            lag_entries: None,
        };
        let policy = state.genesis().map_or_else(String::new, |log| policy(state, log));
        MembersView {
            version: state.version(),
            members: members.iter().map(view).collect(),
            membership: members.membership().cloned(),
            steps: members.steps(),
            policy_sha256: sha256(policy.as_bytes()),
            policy: policy.into(),
            cosigner_changes: state.cosigner_changes(),
        }
    }

    /// With what changes without an entry being applied: who leads, and how far the others are.
    pub fn seen(&self, status: &ConsensusStatus, progress: &[PeerProgress]) -> Vec<MemberView> {
        let seen = |member: &MemberView| {
            let leads = status.leader == Some(member.id);
            let heard = progress.iter().find(|peer| peer.node_id == member.id && peer.is_active);
            let lag = heard.map(|peer| status.commit.saturating_sub(peer.matched));
            let own = (leads && status.role == Role::Leader).then_some(0);
            MemberView { leads, lag_entries: own.or(lag), ..member.clone() }
        };
        self.members.iter().map(seen).collect()
    }

    /// Those that came and are not gone.
    pub fn present(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.is_present())
    }

    pub fn find(&self, name: &str) -> Option<&MemberView> {
        self.members.iter().find(|member| member.name == name)
    }
}

impl MemberView {
    fn is_present(&self) -> bool {
        let away = [MemberPart::Invited.slug(), MemberPart::Gone.slug()];
        !away.contains(&self.part)
    }

    pub fn is_gone(&self) -> bool {
        self.part == MemberPart::Gone.slug()
    }
}

fn policy(state: &State, log: &Genesis) -> String {
    let published = state.published_cosigners(log).policy(&log.origin, &log.log_key);
    published.map_or_else(|_| String::new(), |policy| policy.to_text())
}
