//! Which keys are in force: the log's first leaf, agents' enrolments and retirements, and the nodes
//! that begin or cease to cosign. Signed by the log.

use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::hash::Hash;
use crate::header;
use crate::key::{KeyId, PublicKey};
use crate::limits::NODES_COUNT_MAX;
use crate::name::{AgentName, Origin};

/// Which keys are in force from here on. There is no payload blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    pub log_id: Hash,
    pub key_id: KeyId,
    pub at_ms: u64,
    pub change: KeyChangeKind,
}

/// Codes 1 to 5 in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChangeKind {
    /// The log's first leaf: its name, its key, and the nodes that cosign it.
    Genesis {
        origin: Origin,
        log_key: PublicKey,
        /// Cosigner names (they follow the rule of `Origin`), ascending, and keys.
        nodes: Vec<(String, PublicKey)>,
    },
    /// An agent begins a life.
    Enrol { agent: AgentName, key: PublicKey, epoch: u64 },
    /// An agent's life is over; what it signs from here on is refused.
    Retire { agent: AgentName },
    /// From this leaf on a node is one of the cosigners. Its name follows the rule of `Origin`.
    NodeJoin { node: String, key: PublicKey },
    /// From this leaf on a node is none of them any more.
    NodeLeave { node: String },
}

impl KeyChange {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = header::start(self.log_id, self.key_id);
        writer.varint(self.at_ms);
        self.change.write(&mut writer);
        writer.into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Result<KeyChange, DecodeFault> {
        let mut reader = ByteReader::new(bytes);
        let (log_id, key_id) = header::read_start(&mut reader)?;
        let at_ms = header::read_time_ms(&mut reader, "key change at")?;
        let change = KeyChangeKind::read(&mut reader)?;
        reader.finish("key change")?;
        Ok(KeyChange { log_id, key_id, at_ms, change })
    }
}

impl KeyChangeKind {
    /// `genesis`, `enrol`, `retire`, `node_join` or `node_leave`.
    pub fn slug(&self) -> &'static str {
        match self {
            KeyChangeKind::Genesis { .. } => "genesis",
            KeyChangeKind::Enrol { .. } => "enrol",
            KeyChangeKind::Retire { .. } => "retire",
            KeyChangeKind::NodeJoin { .. } => "node_join",
            KeyChangeKind::NodeLeave { .. } => "node_leave",
        }
    }

    fn write(&self, writer: &mut ByteWriter) {
        match self {
            KeyChangeKind::Genesis { origin, log_key, nodes } => {
                writer.u8(1).text(origin.as_str()).fixed(&log_key.0).varint(nodes.len() as u64);
                for (name, key) in nodes {
                    writer.text(name).fixed(&key.0);
                }
            }
            KeyChangeKind::Enrol { agent, key, epoch } => {
                writer.u8(2).text(agent.as_str()).fixed(&key.0).varint(*epoch);
            }
            KeyChangeKind::Retire { agent } => {
                writer.u8(3).text(agent.as_str());
            }
            KeyChangeKind::NodeJoin { node, key } => {
                writer.u8(4).text(node).fixed(&key.0);
            }
            KeyChangeKind::NodeLeave { node } => {
                writer.u8(5).text(node);
            }
        }
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<KeyChangeKind, DecodeFault> {
        match reader.u8("key change")? {
            1 => Ok(KeyChangeKind::Genesis {
                origin: Origin::read(reader, "origin")?,
                log_key: PublicKey(reader.fixed("log key")?),
                nodes: read_nodes(reader)?,
            }),
            2 => Ok(KeyChangeKind::Enrol {
                agent: AgentName::read(reader, "agent")?,
                key: PublicKey(reader.fixed("agent key")?),
                epoch: reader.ranged("epoch", 1, u64::MAX)?,
            }),
            3 => Ok(KeyChangeKind::Retire { agent: AgentName::read(reader, "agent")? }),
            4 => Ok(KeyChangeKind::NodeJoin {
                node: read_node(reader)?,
                key: PublicKey(reader.fixed("node key")?),
            }),
            5 => Ok(KeyChangeKind::NodeLeave { node: read_node(reader)? }),
            got => Err(DecodeFault::UnknownCode { what: "key change", got: got.into() }),
        }
    }
}

fn read_node(reader: &mut ByteReader<'_>) -> Result<String, DecodeFault> {
    Ok(Origin::read(reader, "node name")?.as_str().to_owned())
}

/// At least one node, names strictly ascending.
fn read_nodes(reader: &mut ByteReader<'_>) -> Result<Vec<(String, PublicKey)>, DecodeFault> {
    let what = "nodes";
    let count = reader.count(what, NODES_COUNT_MAX, 34)?;
    if count == 0 {
        return Err(DecodeFault::Rule { what, rule: "expected at least one node" });
    }
    let mut nodes: Vec<(String, PublicKey)> = Vec::with_capacity(count);
    for _ in 0..count {
        let name = read_node(reader)?;
        if nodes.last().is_some_and(|(previous, _)| *previous >= name) {
            return Err(DecodeFault::Rule { what, rule: "expected ascending names, each once" });
        }
        nodes.push((name, PublicKey(reader.fixed("node key")?)));
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{HEADER_BYTES_MAX, TIME_MS_MAX};

    fn slug<T>(read: Result<T, DecodeFault>) -> Result<(), &'static str> {
        read.map(drop).map_err(|fault| fault.slug())
    }

    fn key_change(change: KeyChangeKind) -> KeyChange {
        KeyChange { log_id: Hash([1; 32]), key_id: KeyId(Hash([2; 32])), at_ms: 1, change }
    }

    fn genesis(nodes: &[String]) -> KeyChange {
        let key = PublicKey([4; 32]);
        let nodes = nodes.iter().map(|name| (name.clone(), key)).collect();
        let origin = Origin::parse(&"o".repeat(200)).expect("200 bytes are allowed");
        key_change(KeyChangeKind::Genesis { origin, log_key: key, nodes })
    }

    #[test]
    fn genesis_names_its_nodes_once_in_order() {
        let check = |names: &[&str], expect| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(slug(KeyChange::decode(&genesis(&names).encode())), expect, "{names:?}");
        };
        check(&["n1"], Ok(()));
        check(&["n1", "n2", "n3"], Ok(()));
        check(&[], Err("rule_broken"));
        check(&["n2", "n1"], Err("rule_broken"));
        check(&["n1", "n1"], Err("rule_broken"));
        check(&["n 1"], Err("bad_name"));
    }

    #[test]
    fn the_widest_genesis_fits() {
        let names: Vec<_> = (10..10 + NODES_COUNT_MAX).map(|n| format!("{n:x<200}")).collect();
        let widest = KeyChange { at_ms: TIME_MS_MAX, ..genesis(&names) };
        assert!(widest.encode().len() <= HEADER_BYTES_MAX);
        assert_eq!(KeyChange::decode(&widest.encode()), Ok(widest));
        let one_more: Vec<_> = (10..11 + NODES_COUNT_MAX).map(|n| format!("n{n}")).collect();
        assert_eq!(slug(KeyChange::decode(&genesis(&one_more).encode())), Err("out_of_range"));
    }

    #[test]
    fn a_node_comes_and_goes_under_a_name_that_a_policy_can_say() {
        let check = |name: &str, expect| {
            let node = name.to_owned();
            let join = KeyChangeKind::NodeJoin { node: node.clone(), key: PublicKey([4; 32]) };
            for change in [join, KeyChangeKind::NodeLeave { node }] {
                let change = key_change(change);
                let decoded = KeyChange::decode(&change.encode());
                assert_eq!(slug(decoded.clone()), expect, "{name:?}");
                assert!(expect.is_err() || decoded == Ok(change));
            }
        };
        check("log.example.com/a4", Ok(()));
        check("a 4", Err("bad_name"));
        check("", Err("bad_name"));
    }

    #[test]
    fn codes_to_come_are_refused() {
        let agent = AgentName::parse("web-1").expect("a label");
        let mut retire = key_change(KeyChangeKind::Retire { agent: agent.clone() }).encode();
        retire[66] = 6; // after the beginning's 65 bytes and a time of one byte
        assert_eq!(slug(KeyChange::decode(&retire)), Err("unknown_code"));
        let enrol = KeyChangeKind::Enrol { agent, key: PublicKey([4; 32]), epoch: 0 };
        assert_eq!(slug(KeyChange::decode(&key_change(enrol).encode())), Err("out_of_range"));
    }
}
