//! What operators and joining nodes want: the facts from which the steps follow.

use proofmark_evidence::limits::NODES_COUNT_MAX;
use proofmark_evidence::{Hash, PublicKey, sha256};

use super::{Invitation, Member, MemberPart, Members};
use crate::command::{Founder, NodeHost, NodeName, Refusal};
use crate::consensus::membership::Membership;
use crate::limits::MEMBERS_EVER_MAX;
use crate::state::genesis::Genesis;

/// An invitation as an operator gives it out.
pub(in super::super) struct Invite<'a> {
    pub(in super::super) token_id: [u8; 16],
    pub(in super::super) secret_hash: Hash,
    pub(in super::super) name: &'a NodeName,
    pub(in super::super) replaces: Option<&'a NodeName>,
    pub(in super::super) expires_at_ms: u64,
}

impl Members {
    /// Those who are there already, when the cluster begins to keep a list. They must be exactly
    /// the cosigners of the genesis.
    pub(in super::super) fn found(
        &mut self,
        genesis: &Genesis,
        founders: &[Founder],
    ) -> Result<(), Refusal> {
        check_founders(genesis, founders)?;
        for founder in founders {
            let member = Member {
                name: founder.name.clone(),
                part: MemberPart::Voter,
                replaces: None,
                host: Some(founder.host.clone()),
                invitation: None,
            };
            self.table.insert(founder.id, member);
        }
        self.raft.insert((), Membership::of_voters(founders.iter().map(|founder| founder.id)));
        Ok(())
    }

    /// A name and an id for a node to come. The same invitation again changes nothing.
    pub(in super::super) fn invite(
        &mut self,
        invite: &Invite<'_>,
        now_ms: u64,
    ) -> Result<u64, Refusal> {
        let Invite { token_id, secret_hash, name, expires_at_ms, .. } = *invite;
        let invitation = Invitation { token_id, secret_hash, expires_at_ms };
        let replaces = invite.replaces.map(|old| self.replaceable(old)).transpose();
        if let Some((id, known)) = self.find(name) {
            let is_same = known.invitation == Some(invitation);
            return if is_same { Ok(id) } else { Err(exists(name)) };
        }
        let replaces = replaces?;
        self.check_token_is_new(&token_id)?;
        self.forget_expired(now_ms);
        if self.present().count() >= NODES_COUNT_MAX {
            return Err(Refusal::MembersFull { limit: NODES_COUNT_MAX as u64 });
        }
        if self.table.len() >= MEMBERS_EVER_MAX {
            return Err(Refusal::MembersFull { limit: MEMBERS_EVER_MAX as u64 });
        }
        let id = self.table.last().map_or(1, |(id, _)| id + 1);
        let (name, part) = (name.clone(), MemberPart::Invited);
        let (host, invitation) = (None, Some(invitation));
        self.table.insert(id, Member { name, part, replaces, host, invitation });
        Ok(id)
    }

    /// A voter that nobody replaces yet.
    fn replaceable(&self, name: &NodeName) -> Result<u64, Refusal> {
        let (id, old) =
            self.find(name).ok_or_else(|| Refusal::NoSuchMember { name: name.to_string() })?;
        let is_taken = self.present().any(|(_, member)| member.replaces == Some(id));
        match old.part {
            MemberPart::Voter if !is_taken => Ok(id),
            part => {
                let got = if is_taken { "replaced already" } else { part.slug() };
                Err(Refusal::NotReplaceable { name: name.to_string(), got: got.to_owned() })
            }
        }
    }

    fn check_token_is_new(&self, token_id: &[u8; 16]) -> Result<(), Refusal> {
        let has_it = |member: &Member| {
            member.invitation.is_some_and(|invitation| invitation.token_id == *token_id)
        };
        match self.iter().any(|(_, member)| has_it(member)) {
            true => Err(Refusal::TokenExists),
            false => Ok(()),
        }
    }

    /// An invitation that nobody can use any more frees its place, never its name or id.
    fn forget_expired(&mut self, now_ms: u64) {
        let is_expired = |member: &Member| {
            member.part == MemberPart::Invited
                && member.invitation.is_none_or(|one| now_ms >= one.expires_at_ms)
        };
        let expired: Vec<u64> =
            self.iter().filter(|(_, member)| is_expired(member)).map(|(id, _)| id).collect();
        for id in expired {
            self.table.change(&id).expect("found above").part = MemberPart::Gone;
        }
    }

    /// An invited node came with its key and addresses. The same again, its answer having been
    /// lost, is told the same id.
    pub(in super::super) fn join(
        &mut self,
        token_id: &[u8; 16],
        secret: &[u8; 16],
        (name, host): (&NodeName, &NodeHost),
        now_ms: u64,
    ) -> Result<u64, Refusal> {
        let found = self.iter().find_map(|(id, member)| {
            let invitation = member.invitation.filter(|one| one.token_id == *token_id)?;
            (invitation.secret_hash == sha256(secret)).then_some((id, invitation, member))
        });
        let (id, invitation, member) = found.ok_or(Refusal::TokenUnknown)?;
        if member.name != *name {
            let (expected, got) = (member.name.to_string(), name.to_string());
            return Err(Refusal::TokenForOtherNode { expected, got });
        }
        match (member.part, &member.host) {
            (MemberPart::Gone, _) => {
                return Err(Refusal::MemberGone { name: member.name.to_string() });
            }
            (_, Some(known)) if known == host => return Ok(id),
            (_, Some(_)) => return Err(Refusal::TokenSpent),
            (_, None) => {}
        }
        let expired_at_ms = invitation.expires_at_ms;
        if now_ms >= expired_at_ms {
            return Err(Refusal::TokenExpired { expired_at_ms, now_ms });
        }
        self.check_host_is_new(host, member.replaces)?;
        let member = self.table.change(&id).expect("found above");
        (member.part, member.host) = (MemberPart::Joined, Some(host.clone()));
        Ok(id)
    }

    /// A key is used once, for ever; an address, while its node is there. Whoever replaces a node
    /// may take its machine.
    fn check_host_is_new(&self, host: &NodeHost, replaces: Option<u64>) -> Result<(), Refusal> {
        check_key(&host.key)?;
        for (id, member) in self.iter() {
            let Some(known) = &member.host else { continue };
            if known.key == host.key {
                return Err(Refusal::NodeKeyExists { name: member.name.to_string() });
            }
            let is_there = member.part < MemberPart::Leaving && replaces != Some(id);
            let mut taken = [&known.grpc, &known.peers].into_iter().filter(|_| is_there);
            if let Some(address) = taken.find(|one| [&host.grpc, &host.peers].contains(one)) {
                let (address, name) = (address.clone(), member.name.to_string());
                return Err(Refusal::NodeAddressExists { address, name });
            }
        }
        Ok(())
    }

    /// A node is to go. Saying it twice is saying it once.
    pub(in super::super) fn leave(&mut self, name: &NodeName) -> Result<(), Refusal> {
        let (id, member) =
            self.find(name).ok_or_else(|| Refusal::NoSuchMember { name: name.to_string() })?;
        let part = member.part;
        let others_stay =
            self.iter().any(|(other, member)| other != id && member.part == MemberPart::Voter);
        let next = match part {
            MemberPart::Leaving | MemberPart::Gone => return Ok(()),
            MemberPart::Invited | MemberPart::Joined => MemberPart::Gone,
            MemberPart::Voter if !others_stay => {
                return Err(Refusal::LastVoter { name: name.to_string() });
            }
            MemberPart::Learner | MemberPart::Voter => MemberPart::Leaving,
        };
        self.table.change(&id).expect("found above").part = next;
        Ok(())
    }
}

fn exists(name: &NodeName) -> Refusal {
    Refusal::MemberExists { name: name.to_string() }
}

fn check_key(key: &PublicKey) -> Result<(), Refusal> {
    match key.is_weak() {
        true => Err(Refusal::KeyWeak),
        false => Ok(()),
    }
}

fn check_founders(genesis: &Genesis, founders: &[Founder]) -> Result<(), Refusal> {
    let refused = |fault: String| Err(Refusal::FoundersMalformed { fault });
    if !founders.is_sorted_by(|one, next| one.id < next.id)
        || founders.first().is_some_and(|first| first.id == 0)
    {
        return refused("ids that do not ascend from 1".to_owned());
    }
    let mut nodes: Vec<_> = founders
        .iter()
        .map(|founder| (genesis.cosigner_name(&founder.name), founder.host.key))
        .collect();
    nodes.sort();
    match nodes == genesis.nodes {
        true => Ok(()),
        false => refused("other nodes than those of the genesis".to_owned()),
    }
}
