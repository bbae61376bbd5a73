//! What the replicated log says: the closed list of commands, and what answers them.
//!
//! A [`Command`] is proposed by a leader, agreed on by Raft inside an [`Entry`], and applied by
//! every replica's state, which answers with a [`Reply`]. All of it has one strict, versioned
//! encoding: what is not understood in full is refused, never guessed.

mod entry;
mod fields;
mod member;
mod refusal;
mod refusal_codec;
mod reply;

use std::sync::Arc;

use proofmark_evidence::limits::{
    AUTHOR_BYTES_MAX, BLOB_BYTES_MAX, LEAF_BYTES_MAX, NODES_COUNT_MAX, ORIGIN_BYTES_MAX,
};
use proofmark_evidence::{AgentName, ByteReader, ByteWriter, Hash, Leaf, Origin, PublicKey};

use crate::consensus::membership::MembershipChange;

pub use entry::Entry;
pub use fields::CodecFault;
use fields::take_origin;
pub(crate) use fields::{
    put_agent, put_agent_option, put_hash, put_key, take_agent, take_agent_option, take_hash,
    take_key, take_version, unknown_code,
};
pub use member::{Founder, NodeHost, NodeName};
pub(crate) use member::{put_node, take_node};
pub use refusal::{Action, Refusal};
pub use reply::Reply;

/// The version of the encoding of one command. A replica refuses any other.
pub const COMMAND_VERSION: u8 = 1;

/// The newest set of commands that this program knows. A cluster's state says which set it uses:
/// 1 from its beginning, more once every replica has said that it knows more. Until then the state
/// refuses newer commands, so that an older program never meets one. See OPERATING.md, "Upgrade".
pub const COMMANDS_NEWEST: u64 = 2;
/// The set that brought members.
pub const COMMANDS_WITH_MEMBERS: u64 = 2;

/// One thing that happens to the replicated state. Admission has checked what needs no state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The log begins: who it is and which nodes cosign. First command of a cluster's life.
    Genesis { origin: Origin, log_key: PublicKey, nodes: Vec<(String, PublicKey)> },
    /// A sealed batch: the leaf as the agent signed it, and its results' bytes.
    Admit { leaf: Leaf, payload: Arc<[u8]> },
    /// Documents to put into force: all files joined by `---`, exactly what becomes evidence.
    ApplySpec { author: String, text: String },
    /// A one-use invitation. Only the hash of its secret is kept.
    CreateToken {
        token_id: [u8; 16],
        secret_hash: Hash,
        agent: Option<AgentName>,
        expires_at_ms: u64,
    },
    /// An agent spends its token and brings its key.
    Enrol { token_id: [u8; 16], secret: [u8; 16], agent: AgentName, key: PublicKey },
    /// An agent's identity life ends; its name may be enrolled again, as the next epoch.
    Retire { agent: AgentName },
    /// Time goes on: the entry's stamp is the fact.
    Tick,
    /// The leader's tree at `size` has this root: every replica compares, then cosigns.
    Seal { size: u64, root: Hash },
    /// One node's signature under the checkpoint of (`size`, `root`).
    Cosign { node: String, size: u64, root: Hash, timestamp_s: u64, signature: [u8; 64] },
    /// Every replica knows the commands of version `to`. To version 2: with who is there.
    RaiseVersion { to: u64, founders: Vec<Founder> },
    /// A name and an id for a replica to come, perhaps in another's place.
    InviteNode {
        token_id: [u8; 16],
        secret_hash: Hash,
        name: NodeName,
        replaces: Option<NodeName>,
        expires_at_ms: u64,
    },
    /// An invited replica spends its token and says where it is.
    JoinNode { token_id: [u8; 16], secret: [u8; 16], name: NodeName, host: NodeHost },
    /// A replica is to lose its vote and then its place.
    LeaveNode { name: NodeName },
    /// One due step of Raft's membership. Travels only as the context of a Raft change.
    ChangeNodes { change: MembershipChange },
}

/// The codes of the commands on the wire and in the Raft log. Never reused.
mod code {
    pub(super) const GENESIS: u8 = 1;
    pub(super) const ADMIT: u8 = 2;
    pub(super) const APPLY_SPEC: u8 = 3;
    pub(super) const CREATE_TOKEN: u8 = 4;
    pub(super) const ENROL: u8 = 5;
    pub(super) const RETIRE: u8 = 6;
    pub(super) const TICK: u8 = 7;
    pub(super) const SEAL: u8 = 8;
    pub(super) const COSIGN: u8 = 9;
    // From 10 on: member.rs.
}

impl Command {
    /// A stable word for logs and metrics.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Genesis { .. } => "genesis",
            Self::Admit { .. } => "admit",
            Self::ApplySpec { .. } => "apply_spec",
            Self::CreateToken { .. } => "create_token",
            Self::Enrol { .. } => "enrol",
            Self::Retire { .. } => "retire",
            Self::Tick => "tick",
            Self::Seal { .. } => "seal",
            Self::Cosign { .. } => "cosign",
            Self::RaiseVersion { .. } => "raise_version",
            Self::InviteNode { .. } => "invite_node",
            Self::JoinNode { .. } => "join_node",
            Self::LeaveNode { .. } => "leave_node",
            Self::ChangeNodes { .. } => "change_nodes",
        }
    }

    /// Version byte, code byte, fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.u8(COMMAND_VERSION);
        match self {
            Self::Genesis { origin, log_key, nodes } => {
                out.u8(code::GENESIS);
                put_genesis(&mut out, origin, log_key, nodes);
            }
            Self::Admit { leaf, payload } => {
                out.u8(code::ADMIT);
                out.bytes(leaf.bytes());
                out.bytes(payload);
            }
            Self::ApplySpec { author, text } => {
                out.u8(code::APPLY_SPEC);
                out.text(author);
                out.text(text);
            }
            Self::CreateToken { token_id, secret_hash, agent, expires_at_ms } => {
                out.u8(code::CREATE_TOKEN);
                out.fixed(token_id);
                put_hash(&mut out, secret_hash);
                put_agent_option(&mut out, agent.as_ref());
                out.varint(*expires_at_ms);
            }
            Self::Enrol { token_id, secret, agent, key } => {
                out.u8(code::ENROL);
                out.fixed(token_id);
                out.fixed(secret);
                put_agent(&mut out, agent);
                put_key(&mut out, key);
            }
            Self::Retire { agent } => {
                out.u8(code::RETIRE);
                put_agent(&mut out, agent);
            }
            Self::Tick => {
                out.u8(code::TICK);
            }
            Self::Seal { size, root } => {
                out.u8(code::SEAL);
                out.varint(*size);
                put_hash(&mut out, root);
            }
            Self::Cosign { node, size, root, timestamp_s, signature } => {
                out.u8(code::COSIGN);
                out.text(node);
                out.varint(*size);
                put_hash(&mut out, root);
                out.varint(*timestamp_s);
                out.fixed(signature);
            }
            of_members => of_members.put_of_members(&mut out),
        }
        out.into_bytes()
    }

    /// The inverse of [`Command::encode`]; anything else, trailing bytes too, is a fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut input = ByteReader::new(bytes);
        take_version(&mut input, COMMAND_VERSION)?;
        let command = Self::decode_body(&mut input)?;
        input.finish("command")?;
        Ok(command)
    }

    fn decode_body(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(match input.u8("command code")? {
            code::GENESIS => take_genesis(input)?,
            code::ADMIT => take_admit(input)?,
            code::APPLY_SPEC => Self::ApplySpec {
                author: input.text("author", AUTHOR_BYTES_MAX)?.to_owned(),
                text: input.text("text", BLOB_BYTES_MAX)?.to_owned(),
            },
            code::CREATE_TOKEN => Self::CreateToken {
                token_id: input.fixed("token id")?,
                secret_hash: take_hash(input, "secret hash")?,
                agent: take_agent_option(input)?,
                expires_at_ms: input.varint("expires at")?,
            },
            code::ENROL => Self::Enrol {
                token_id: input.fixed("token id")?,
                secret: input.fixed("secret")?,
                agent: take_agent(input)?,
                key: take_key(input)?,
            },
            code::RETIRE => Self::Retire { agent: take_agent(input)? },
            code::TICK => Self::Tick,
            code::SEAL => {
                Self::Seal { size: input.varint("size")?, root: take_hash(input, "root")? }
            }
            code::COSIGN => Self::Cosign {
                node: input.text("node", ORIGIN_BYTES_MAX)?.to_owned(),
                size: input.varint("size")?,
                root: take_hash(input, "root")?,
                timestamp_s: input.varint("timestamp")?,
                signature: input.fixed("signature")?,
            },
            code => Self::take_of_members(code, input)?,
        })
    }
}

/// Origin, log key, count, then name and key of each node. State rows use it too.
pub(crate) fn put_genesis(
    out: &mut ByteWriter,
    origin: &Origin,
    log_key: &PublicKey,
    nodes: &[(String, PublicKey)],
) {
    out.text(origin.as_str());
    put_key(out, log_key);
    out.varint(nodes.len() as u64);
    for (name, key) in nodes {
        out.text(name);
        put_key(out, key);
    }
}

/// The inverse of [`put_genesis`].
pub(crate) fn take_genesis(input: &mut ByteReader<'_>) -> Result<Command, CodecFault> {
    let origin = take_origin(input)?;
    let log_key = take_key(input)?;
    let count = input.count("nodes", NODES_COUNT_MAX, 1 + 32)?;
    let nodes = (0..count)
        .map(|_| Ok((input.text("node", ORIGIN_BYTES_MAX)?.to_owned(), take_key(input)?)))
        .collect::<Result<_, CodecFault>>()?;
    Ok(Command::Genesis { origin, log_key, nodes })
}

fn take_admit(input: &mut ByteReader<'_>) -> Result<Command, CodecFault> {
    let leaf = Leaf::parse(input.bytes("leaf", LEAF_BYTES_MAX)?)?;
    Ok(Command::Admit { leaf, payload: input.bytes("payload", BLOB_BYTES_MAX)?.into() })
}

#[cfg(test)]
mod tests;
