//! What commands say of replicas: their names, where they are reached, and which part they take.

use std::fmt;

use proofmark_evidence::limits::{LABEL_BYTES_MAX, NODES_COUNT_MAX};
use proofmark_evidence::{AgentName, ByteReader, ByteWriter, DecodeFault, NameError, PublicKey};

use super::Command;
use super::fields::{CodecFault, put_hash, put_key, take_hash, take_key, unknown_code};
use crate::consensus::membership::{MembershipChange, Part};
use crate::limits::{ADDRESS_BYTES_MAX, CHANGED_NODES_MAX};

/// A replica's name: an RFC 1123 label, unique in the life of its cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    pub fn parse(text: &str) -> Result<NodeName, NameError> {
        // The same rule as for agents; their names live apart.
        AgentName::parse(text).map(|label| NodeName(label.as_str().to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a replica brings: its cosigner key, and host:port of its two ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeHost {
    pub key: PublicKey,
    /// Where agents and operators reach it.
    pub grpc: String,
    /// Where its peers reach it.
    pub peers: String,
}

/// One of those who were there before the cluster kept a list of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    pub id: u64,
    pub name: NodeName,
    pub host: NodeHost,
}

impl Founder {
    pub(super) fn put(&self, out: &mut ByteWriter) {
        out.varint(self.id);
        put_node(out, &self.name);
        self.host.put(out);
    }

    pub(super) fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let (id, name) = (input.varint("node id")?, take_node(input)?);
        Ok(Self { id, name, host: NodeHost::take(input)? })
    }
}

impl NodeHost {
    pub(crate) fn put(&self, out: &mut ByteWriter) {
        put_key(out, &self.key);
        out.text(&self.grpc).text(&self.peers);
    }

    pub(crate) fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let key = take_key(input)?;
        let grpc = input.text("agent address", ADDRESS_BYTES_MAX)?.to_owned();
        let peers = input.text("peer address", ADDRESS_BYTES_MAX)?.to_owned();
        Ok(Self { key, grpc, peers })
    }
}

/// The codes of the commands of version 2. They share their numbers with [`Command`]'s others.
const RAISE_VERSION: u8 = 10;
const INVITE_NODE: u8 = 11;
const JOIN_NODE: u8 = 12;
const LEAVE_NODE: u8 = 13;
const CHANGE_NODES: u8 = 14;

impl Command {
    /// Code byte and fields of a command about members.
    pub(super) fn put_of_members(&self, out: &mut ByteWriter) {
        match self {
            Self::RaiseVersion { to, founders } => {
                out.u8(RAISE_VERSION).varint(*to).varint(founders.len() as u64);
                founders.iter().for_each(|founder| founder.put(out));
            }
            Self::InviteNode { token_id, secret_hash, name, replaces, expires_at_ms } => {
                out.u8(INVITE_NODE).fixed(token_id);
                put_hash(out, secret_hash);
                put_node(out, name);
                put_node_option(out, replaces.as_ref());
                out.varint(*expires_at_ms);
            }
            Self::JoinNode { token_id, secret, name, host } => {
                out.u8(JOIN_NODE).fixed(token_id).fixed(secret);
                put_node(out, name);
                host.put(out);
            }
            Self::LeaveNode { name } => {
                out.u8(LEAVE_NODE);
                put_node(out, name);
            }
            Self::ChangeNodes { change } => {
                out.u8(CHANGE_NODES);
                put_change(out, change);
            }
            _ => unreachable!("every other command is spelt in Command::encode"),
        }
    }

    /// The inverse of [`Command::put_of_members`], after the code byte.
    pub(super) fn take_of_members(
        code: u8,
        input: &mut ByteReader<'_>,
    ) -> Result<Self, CodecFault> {
        Ok(match code {
            RAISE_VERSION => {
                let to = input.varint("version")?;
                let count = input.count("founders", NODES_COUNT_MAX, 36)?;
                let founders = (0..count).map(|_| Founder::take(input));
                Self::RaiseVersion { to, founders: founders.collect::<Result<_, _>>()? }
            }
            INVITE_NODE => Self::InviteNode {
                token_id: input.fixed("token id")?,
                secret_hash: take_hash(input, "secret hash")?,
                name: take_node(input)?,
                replaces: take_node_option(input)?,
                expires_at_ms: input.varint("expires at")?,
            },
            JOIN_NODE => Self::JoinNode {
                token_id: input.fixed("token id")?,
                secret: input.fixed("secret")?,
                name: take_node(input)?,
                host: NodeHost::take(input)?,
            },
            LEAVE_NODE => Self::LeaveNode { name: take_node(input)? },
            CHANGE_NODES => Self::ChangeNodes { change: take_change(input)? },
            got => return Err(unknown_code("command code", got)),
        })
    }
}

pub(crate) fn put_node(out: &mut ByteWriter, name: &NodeName) {
    out.text(name.as_str());
}

pub(crate) fn take_node(input: &mut ByteReader<'_>) -> Result<NodeName, CodecFault> {
    let text = input.text("node", LABEL_BYTES_MAX)?;
    let name = NodeName::parse(text);
    Ok(name.map_err(|fault| DecodeFault::Name { what: "node", fault })?)
}

fn put_node_option(out: &mut ByteWriter, name: Option<&NodeName>) {
    out.bool(name.is_some());
    if let Some(name) = name {
        put_node(out, name);
    }
}

fn take_node_option(input: &mut ByteReader<'_>) -> Result<Option<NodeName>, CodecFault> {
    match input.bool("node option")? {
        false => Ok(None),
        true => Ok(Some(take_node(input)?)),
    }
}

fn put_change(out: &mut ByteWriter, change: &MembershipChange) {
    out.varint(change.changes.len() as u64);
    for (id, part) in &change.changes {
        out.varint(*id).u8(part_code(*part));
    }
}

fn take_change(input: &mut ByteReader<'_>) -> Result<MembershipChange, CodecFault> {
    let count = input.count("changes", CHANGED_NODES_MAX, 2)?;
    let one = |_| Ok((input.varint("node id")?, take_part(input.u8("part")?)?));
    let changes = (0..count).map(one).collect::<Result<_, CodecFault>>()?;
    Ok(MembershipChange { changes })
}

fn part_code(part: Part) -> u8 {
    match part {
        Part::Voter => 1,
        Part::Learner => 2,
        Part::Gone => 3,
    }
}

fn take_part(code: u8) -> Result<Part, CodecFault> {
    match code {
        1 => Ok(Part::Voter),
        2 => Ok(Part::Learner),
        3 => Ok(Part::Gone),
        got => Err(unknown_code("part", got)),
    }
}
