//! The replicas themselves: who was invited, who joined, whose vote counts, who left.
//!
//! An operator's word (invite, leave, replace) and a joining node's are facts of their own. What
//! follows from them is a list of *steps*, each one change of Raft's membership ([`steps`]). The
//! leader proposes a step when it is due; the state takes no other change. Whoever leads next goes
//! on from the same list.
//!
//! Ids, names and keys are used once, for ever: a disk that comes back cannot be taken for another.

mod apply;
mod intent;
mod steps;

use std::collections::BTreeSet;

use proofmark_evidence::limits::NODES_COUNT_MAX;
use proofmark_evidence::{ByteReader, ByteWriter, Hash};

pub(super) use intent::Invite;
pub use steps::Step;

use super::row::{Row, Table};
use crate::command::{
    CodecFault, NodeHost, NodeName, put_hash, put_node, take_hash, take_node, unknown_code,
};
use crate::consensus::membership::Membership;
use crate::limits::MEMBERS_EVER_MAX;

/// One replica, past or present. Its id is its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: NodeName,
    pub part: MemberPart,
    /// The node whose vote this one takes over.
    pub replaces: Option<u64>,
    /// What it brought when it joined; absent before.
    pub host: Option<NodeHost>,
    /// How it was let in; absent for those who were there from the beginning.
    pub(super) invitation: Option<Invitation>,
}

/// How far a replica has come. Only forwards; an invitation may go straight to `Gone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberPart {
    /// Its name and id are taken, nobody has come yet.
    Invited,
    /// It brought its key; Raft does not know it yet.
    Joined,
    /// It is sent everything and decides nothing.
    Learner,
    Voter,
    /// It is to lose its vote, then its place.
    Leaving,
    Gone,
}

impl MemberPart {
    /// The stable word of the API and the page.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Joined => "joined",
            Self::Learner => "learner",
            Self::Voter => "voter",
            Self::Leaving => "leaving",
            Self::Gone => "gone",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Invited => 1,
            Self::Joined => 2,
            Self::Learner => 3,
            Self::Voter => 4,
            Self::Leaving => 5,
            Self::Gone => 6,
        }
    }

    fn from_code(code: u8) -> Result<Self, CodecFault> {
        let all =
            [Self::Invited, Self::Joined, Self::Learner, Self::Voter, Self::Leaving, Self::Gone];
        let part = all.into_iter().find(|part| part.code() == code);
        part.ok_or_else(|| unknown_code("member part", code))
    }
}

/// A node's token. Only the hash of its secret is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invitation {
    pub(super) token_id: [u8; 16],
    pub(super) secret_hash: Hash,
    pub(super) expires_at_ms: u64,
}

/// All replicas there ever were, and Raft's membership as the state decided it. Empty while the
/// cluster's version does not know of it: then the members are those of the Raft log's header.
#[derive(Clone, Debug)]
pub struct Members {
    table: Table<Member>,
    raft: Table<Membership>,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { table: Table::new(), raft: Table::new() }
    }

    /// By ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.table.iter().map(|(id, member)| (*id, member))
    }

    pub fn get(&self, id: u64) -> Option<&Member> {
        self.table.get(&id)
    }

    pub fn find(&self, name: &NodeName) -> Option<(u64, &Member)> {
        self.iter().find(|(_, member)| member.name == *name)
    }

    /// Raft's membership; `None` before the members were told.
    pub fn membership(&self) -> Option<&Membership> {
        self.raft.get(&())
    }

    /// Who is not gone.
    fn present(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.iter().filter(|(_, member)| member.part != MemberPart::Gone)
    }

    pub(super) fn tables(&mut self) -> (&mut Table<Member>, &mut Table<Membership>) {
        (&mut self.table, &mut self.raft)
    }

    pub(super) fn rows(&self) -> (&Table<Member>, &Table<Membership>) {
        (&self.table, &self.raft)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let Some(raft) = self.membership() else {
            return match self.table.len() {
                0 => Ok(()),
                count => Err(format!("{count} members and no membership")),
            };
        };
        let names: BTreeSet<_> = self.iter().map(|(_, member)| &member.name).collect();
        let keys: BTreeSet<_> = self
            .iter()
            .filter_map(|(_, member)| member.host.as_ref())
            .map(|host| host.key.0)
            .collect();
        let hosts = self.iter().filter(|(_, member)| member.host.is_some()).count();
        let is_once = names.len() == self.table.len() && keys.len() == hosts;
        let is_bounded =
            self.table.len() <= MEMBERS_EVER_MAX && self.present().count() <= NODES_COUNT_MAX + 1;
        let is_known = raft.members().iter().all(|id| self.get(*id).is_some());
        let fits = |(id, member): (u64, &Member)| member.fits(id, raft);
        let has_voter = self.iter().any(|(_, member)| member.part == MemberPart::Voter);
        let all = is_once && is_bounded && is_known && raft.is_whole() && has_voter;
        match all && self.iter().all(fits) {
            true => Ok(()),
            false => Err(format!("members {:?} and {raft:?}", self.table)),
        }
    }
}

impl Member {
    fn fits(&self, id: u64, raft: &Membership) -> bool {
        let (votes, listens) = (raft.voters.contains(&id), raft.learners.contains(&id));
        let will_listen = raft.learners_next.contains(&id);
        let place = match self.part {
            MemberPart::Invited | MemberPart::Joined | MemberPart::Gone => !raft.contains(id),
            MemberPart::Learner => listens && !votes,
            MemberPart::Voter => votes,
            MemberPart::Leaving => votes || listens || will_listen,
        };
        let came = self.part != MemberPart::Invited && self.part != MemberPart::Gone;
        place && (!came || self.host.is_some())
    }
}

impl Row for Member {
    const TAG: u8 = b'm';
    type Key = u64;

    fn put(&self, out: &mut ByteWriter) {
        put_node(out, &self.name);
        out.u8(self.part.code()).varint(self.replaces.unwrap_or(0));
        out.bool(self.host.is_some());
        if let Some(host) = &self.host {
            host.put(out);
        }
        out.bool(self.invitation.is_some());
        if let Some(invitation) = &self.invitation {
            out.fixed(&invitation.token_id);
            put_hash(out, &invitation.secret_hash);
            out.varint(invitation.expires_at_ms);
        }
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let name = take_node(input)?;
        let part = MemberPart::from_code(input.u8("member part")?)?;
        let replaces = Some(input.varint("replaces")?).filter(|id| *id > 0);
        let host = match input.bool("host")? {
            true => Some(NodeHost::take(input)?),
            false => None,
        };
        let invitation = match input.bool("invitation")? {
            true => Some(Invitation {
                token_id: input.fixed("token id")?,
                secret_hash: take_hash(input, "secret hash")?,
                expires_at_ms: input.varint("expires at")?,
            }),
            false => None,
        };
        Ok(Self { name, part, replaces, host, invitation })
    }
}

/// Raft's membership, as the state decided it last.
impl Row for Membership {
    const TAG: u8 = b'r';
    type Key = ();

    fn put(&self, out: &mut ByteWriter) {
        self.encode_into(out);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Membership::decode_from(input)
    }
}
