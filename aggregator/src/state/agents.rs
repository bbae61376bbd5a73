//! Who is enrolled, and how far each agent's sequence has come.

use proofmark_evidence::{AgentName, BatchHeader, ByteReader, ByteWriter, Hash, KeyId, PublicKey};

use super::dedupe::{Recent, RecentBatch, Verdict};
use super::row::{Row, Table};
use crate::command::{CodecFault, Refusal, put_hash, put_key, take_hash, take_key};
use crate::limits::AGENTS_MAX;

/// One agent name and its newest identity life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub key: PublicKey,
    /// The identity life, from 1. Each enrolment of the name begins the next.
    pub epoch: u64,
    pub enrolled_at_ms: u64,
    /// The leaf that brought this epoch's key: proofs of its results name it.
    pub enrol_leaf_index: u64,
    /// Everything below it, in this epoch, is in the log.
    pub next_seq: u64,
    /// Header hash of the newest batch of this epoch; ZERO before the first.
    pub last_header_hash: Hash,
    /// The stamp of the newest accepted batch of this epoch.
    pub accepted_at_ms: Option<u64>,
    pub is_retired: bool,
    pub(super) recent: Recent,
}

/// What begins an identity life.
pub(super) struct NewLife {
    pub(super) key: PublicKey,
    pub(super) epoch: u64,
    pub(super) at_ms: u64,
    pub(super) leaf_index: u64,
}

/// Whether a name opens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnrolVerdict {
    /// Go on and [`Agents::enrol`]: it begins this epoch.
    Begins { epoch: u64 },
    /// This key lives under this name already: its answer was lost together with its token.
    Lives { epoch: u64 },
}

/// All agents by name. Names are never forgotten, so that an epoch is never used twice.
#[derive(Clone, Debug)]
pub struct Agents {
    table: Table<Agent>,
}

impl Agents {
    pub(super) fn new() -> Self {
        Self { table: Table::new() }
    }

    pub fn get(&self, name: &AgentName) -> Option<&Agent> {
        self.table.get(name)
    }

    /// By ascending name.
    pub fn iter(&self) -> impl Iterator<Item = (&AgentName, &Agent)> {
        self.table.iter()
    }

    /// Whether a batch is the next one, a known one, or to be refused. Changes nothing.
    pub(super) fn judge<C>(&self, header: &BatchHeader<C>, hash: Hash) -> Result<Verdict, Refusal> {
        let name = || header.agent.clone();
        let agent =
            self.get(&header.agent).ok_or_else(|| Refusal::UnknownAgent { agent: name() })?;
        if agent.is_retired {
            return Err(Refusal::RetiredAgent { agent: name() });
        }
        if header.epoch != agent.epoch {
            return Err(Refusal::WrongEpoch { expected: agent.epoch, got: header.epoch });
        }
        if header.key_id != agent.key.key_id() {
            return Err(Refusal::WrongKey { expected: agent.key.key_id(), got: header.key_id });
        }
        agent.judge_sequence(header, hash)
    }

    /// Moves the agent's sequence past a batch that [`Agents::judge`] called new.
    pub(super) fn accept(&mut self, name: &AgentName, batch: RecentBatch, stamped_at_ms: u64) {
        let agent = self.table.change(name).expect("judge found the agent");
        agent.next_seq = batch.seq_end;
        agent.last_header_hash = batch.header_hash;
        agent.accepted_at_ms = Some(stamped_at_ms);
        agent.recent.push(batch);
    }

    /// Whether this name may be enrolled with this key. Changes nothing. Whoever asks has proven
    /// the key: an agent that was killed before it stored its enrolment asks with another token,
    /// and is told the life it has.
    pub(super) fn check_enrol(
        &self,
        name: &AgentName,
        key: &PublicKey,
    ) -> Result<EnrolVerdict, Refusal> {
        if key.is_weak() {
            return Err(Refusal::KeyWeak);
        }
        let same_key = |(other, agent): &(&AgentName, &Agent)| agent.key == *key && *other != name;
        if let Some((other, _)) = self.iter().find(same_key) {
            return Err(Refusal::KeyExists { agent: other.clone() });
        }
        match self.get(name) {
            Some(agent) if agent.is_retired => Ok(EnrolVerdict::Begins { epoch: agent.epoch + 1 }),
            Some(agent) if agent.key == *key => Ok(EnrolVerdict::Lives { epoch: agent.epoch }),
            Some(_) => Err(Refusal::AgentExists { agent: name.clone() }),
            None if self.table.len() >= AGENTS_MAX => {
                Err(Refusal::AgentsFull { limit: AGENTS_MAX as u64 })
            }
            None => Ok(EnrolVerdict::Begins { epoch: 1 }),
        }
    }

    /// Begins an identity life.
    pub(super) fn enrol(&mut self, name: AgentName, new: NewLife) {
        let agent = Agent {
            key: new.key,
            epoch: new.epoch,
            enrolled_at_ms: new.at_ms,
            enrol_leaf_index: new.leaf_index,
            next_seq: 1,
            last_header_hash: Hash::ZERO,
            accepted_at_ms: None,
            is_retired: false,
            recent: Recent::default(),
        };
        self.table.insert(name, agent);
    }

    /// Ends an identity life. `false`: it had ended already.
    pub(super) fn retire(&mut self, name: &AgentName) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Err(Refusal::UnknownAgent { agent: name.clone() }),
            Some(agent) if agent.is_retired => Ok(false),
            Some(_) => {
                let agent = self.table.change(name).expect("it was found a line above");
                agent.is_retired = true;
                Ok(true)
            }
        }
    }

    pub(super) fn table(&mut self) -> &mut Table<Agent> {
        &mut self.table
    }

    pub(super) fn rows(&self) -> &Table<Agent> {
        &self.table
    }

    pub(super) fn check(&self, leaf_count: u64) -> Result<(), String> {
        for (name, agent) in self.iter() {
            agent.check(leaf_count).map_err(|fault| format!("agent {name}: {fault}"))?;
        }
        Ok(())
    }
}

impl Agent {
    /// SHA-256 of its public key.
    pub fn key_id(&self) -> KeyId {
        self.key.key_id()
    }

    fn judge_sequence<C>(&self, header: &BatchHeader<C>, hash: Hash) -> Result<Verdict, Refusal> {
        let (expected, got) = (self.next_seq, header.seq_first);
        if got < expected {
            return self.recent.judge_known(header.seq_first, header.seq_end(), hash);
        }
        if got > expected {
            return Err(Refusal::SequenceGap { expected, got });
        }
        match header.previous == self.last_header_hash {
            true => Ok(Verdict::New),
            false => Err(Refusal::PreviousMismatch {
                expected: self.last_header_hash,
                got: header.previous,
            }),
        }
    }

    fn check(&self, leaf_count: u64) -> Result<(), String> {
        self.recent.check(leaf_count)?;
        let newest = self.recent.newest();
        let (seq_end, hash) = newest.map_or((1, Hash::ZERO), |b| (b.seq_end, b.header_hash));
        if (self.next_seq, self.last_header_hash) != (seq_end, hash) {
            return Err(format!("next_seq {} does not follow {newest:?}", self.next_seq));
        }
        match self.epoch {
            0 => Err("epoch 0".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Row for Agent {
    const TAG: u8 = b'a';
    type Key = AgentName;

    fn put(&self, out: &mut ByteWriter) {
        put_key(out, &self.key);
        out.varint(self.epoch).varint(self.enrolled_at_ms).varint(self.enrol_leaf_index);
        out.varint(self.next_seq);
        put_hash(out, &self.last_header_hash);
        out.bool(self.accepted_at_ms.is_some()).varint(self.accepted_at_ms.unwrap_or(0));
        out.bool(self.is_retired);
        self.recent.put(out);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            key: take_key(input)?,
            epoch: input.varint("epoch")?,
            enrolled_at_ms: input.varint("enrolled at")?,
            enrol_leaf_index: input.varint("enrol leaf index")?,
            next_seq: input.varint("next seq")?,
            last_header_hash: take_hash(input, "last header hash")?,
            accepted_at_ms: {
                let is_some = input.bool("accepted")?;
                Some(input.varint("accepted at")?).filter(|_| is_some)
            },
            is_retired: input.bool("retired")?,
            recent: Recent::take(input)?,
        })
    }
}
