//! The operators' words about replicas: who comes, who goes, who leads, how far each is.
//!
//! What is asked for is a fact of the replicated state like any other; the steps that follow from
//! it are the leader's duty. Where the answer hangs on who can be reached, only the leader gives
//! it.

use ring::rand::{SecureRandom as _, SystemRandom};
use tonic::Status;

use proofmark_evidence::sha256;
use proofmark_proto as wire;
use wire::{
    Action, InviteNodeReply, InviteNodeRequest, JoinToken, ListMembersReply, MemberRow, NodeToken,
};

use super::refusal::{refuse, unapplied};
use super::{Handles, Leadership, Proposer};
use crate::command::{COMMANDS_WITH_MEMBERS, Command, NodeName, Reply};
use crate::consensus::ProposalOutcome;
use crate::limits::TOKEN_TTL_S_MAX;
use crate::state::MemberPart;
use crate::views::members::{MemberView, MembersView};

pub(super) async fn invite<P: Proposer, D>(
    handles: &Handles<P, D>,
    request: InviteNodeRequest,
) -> Result<InviteNodeReply, Status> {
    let name = node_name(handles, &request.name)?;
    let replaces = match request.replaces.as_str() {
        "" => None,
        name => Some(node_name(handles, name)?),
    };
    if !(1..=TOKEN_TTL_S_MAX).contains(&request.ttl_s) {
        let expected = format!("1 to {TOKEN_TTL_S_MAX} seconds");
        let got = request.ttl_s;
        return Err(refuse(&handles.counters, "token_ttl", Action::Drop, expected, got));
    }
    need_version(handles)?;
    let token = new_token(handles)?;
    let expires_at_ms = handles.clock.unix_ms() + u64::from(request.ttl_s) * 1000;
    let command = Command::InviteNode {
        token_id: token.join.id,
        secret_hash: sha256(&token.join.secret),
        name,
        replaces,
        expires_at_ms,
    };
    match handles.proposer.propose(command).await {
        ProposalOutcome::Applied(Reply::NodeInvited { id }) => {
            Ok(InviteNodeReply { token: token.to_string(), expires_at_ms, node_id: id })
        }
        other => Err(unapplied(&handles.counters, other)),
    }
}

pub(super) async fn leave<P: Proposer, D>(
    handles: &Handles<P, D>,
    name: &str,
) -> Result<(), Status> {
    let name = node_name(handles, name)?;
    need_version(handles)?;
    let leadership = leader_here(handles)?;
    if handles.members.borrow().find(name.as_str()).is_none() {
        return Err(no(handles, "no_such_member", "the name of a replica", name.as_str()));
    }
    check_majority_remains(handles, &leadership, name.as_str())?;
    match handles.proposer.propose(Command::LeaveNode { name }).await {
        ProposalOutcome::Applied(Reply::Done) => Ok(()),
        other => Err(unapplied(&handles.counters, other)),
    }
}

pub(super) async fn transfer_leader<P: Proposer, D>(
    handles: &Handles<P, D>,
    to: &str,
) -> Result<(), Status> {
    need_version(handles)?;
    let members = handles.members.borrow().clone();
    let Some(member) = members.find(to) else {
        return Err(no(handles, "no_such_member", "the name of a replica", to));
    };
    if member.part != MemberPart::Voter.slug() {
        return Err(no(handles, "not_a_voter", "a voter", &format!("{to}, {}", member.part)));
    }
    if handles.proposer.leadership().leader == Some(member.id) {
        return Ok(()); // it was done, or is so anyway
    }
    leader_here(handles)?;
    // On a busy machine an election takes longer than the offer stands: asking again is right.
    handles.proposer.transfer_leader(member.id).await.map_err(|why| {
        let (slug, expected) = ("leadership_not_taken", "the other to lead");
        refuse(&handles.counters, slug, Action::Retry, expected, why)
    })
}

pub(super) fn list<P: Proposer, D>(handles: &Handles<P, D>) -> Result<ListMembersReply, Status> {
    need_version(handles)?;
    let leadership = leader_here(handles)?;
    let members = handles.members.borrow().clone();
    let rows = members.members.iter().map(|member| row(member, &leadership));
    Ok(ListMembersReply { members: rows.collect(), version: members.version })
}

fn row(member: &MemberView, leadership: &Leadership) -> MemberRow {
    let leads = leadership.leader == Some(member.id);
    let heard = leadership.peers.iter().find(|peer| peer.id == member.id && peer.is_active);
    let lag = heard.map(|peer| leadership.commit.saturating_sub(peer.matched));
    MemberRow {
        id: member.id,
        name: member.name.clone(),
        part: member.part.to_owned(),
        replaces: member.replaces.clone().unwrap_or_default(),
        grpc: member.grpc.clone(),
        peers: member.peers.clone(),
        leads,
        lag_entries: if leads { Some(0) } else { lag },
    }
}

/// The voters that remain must be able to go on without the one that goes: more than half of them
/// answer now.
fn check_majority_remains<P: Proposer, D>(
    handles: &Handles<P, D>,
    leadership: &Leadership,
    leaves: &str,
) -> Result<(), Status> {
    let members = handles.members.borrow().clone();
    let remain = remaining_voters(&members, leaves);
    let answer = |id: &&u64| leadership.is_active(**id);
    let (count, active) = (remain.len(), remain.iter().filter(answer).count());
    if count == 0 || active > count / 2 {
        return Ok(()); // that one voter remains is for the state to say
    }
    let expected = "more than half of the voters that remain to answer";
    Err(no(handles, "last_majority", expected, &format!("{active} of {count}")))
}

fn remaining_voters(members: &MembersView, leaves: &str) -> Vec<u64> {
    let voters = members.members.iter().filter(|member| member.part == MemberPart::Voter.slug());
    voters.filter(|member| member.name != leaves).map(|member| member.id).collect()
}

fn leader_here<P: Proposer, D>(handles: &Handles<P, D>) -> Result<Leadership, Status> {
    let leadership = handles.proposer.leadership();
    if leadership.leader == Some(leadership.own) {
        return Ok(leadership);
    }
    let members = handles.members.borrow().clone();
    let name = |id: u64| {
        let member = members.members.iter().find(|member| member.id == id);
        member.map_or_else(|| format!("node {id}"), |member| member.name.clone())
    };
    let expected = leadership.leader.map_or_else(|| "a leader".to_owned(), name);
    let got = name(leadership.own);
    Err(refuse(&handles.counters, "not_leader", Action::Retry, expected, got))
}

/// Said here, before an older leader is sent what it cannot read.
fn need_version<P, D>(handles: &Handles<P, D>) -> Result<(), Status> {
    let got = handles.members.borrow().version;
    if got >= COMMANDS_WITH_MEMBERS {
        return Ok(());
    }
    let expected = format!("all replicas to know commands of version {COMMANDS_WITH_MEMBERS}");
    Err(no(handles, "version_too_low", &expected, &got.to_string()))
}

fn node_name<P, D>(handles: &Handles<P, D>, name: &str) -> Result<NodeName, Status> {
    NodeName::parse(name).map_err(|_| {
        let got: String = name.chars().take(80).collect();
        let expected = "a name of a-z, 0-9 and '-', at most 63 bytes";
        refuse(&handles.counters, "node_name", Action::Drop, expected, format!("{got:?}"))
    })
}

fn new_token<P, D>(handles: &Handles<P, D>) -> Result<NodeToken, Status> {
    let (mut id, mut secret) = ([0; 16], [0; 16]);
    let random = SystemRandom::new();
    let filled = random.fill(&mut id).and_then(|()| random.fill(&mut secret));
    filled.map_err(|_| Status::internal("the system's random generator failed"))?;
    let ca_sha256 = handles.identity.authority.sha256().0;
    let join = JoinToken { id, secret, ca_sha256, addresses: handles.token_addresses() };
    Ok(NodeToken { join, log_id: handles.identity.log_id().0 })
}

/// For a person to act on.
fn no<P, D>(handles: &Handles<P, D>, slug: &'static str, expected: &str, got: &str) -> Status {
    refuse(&handles.counters, slug, Action::Stop, expected, got)
}
