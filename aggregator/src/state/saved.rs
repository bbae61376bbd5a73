//! The state as rows: what changed for the tables, all of it for comparison, and back.

use proofmark_evidence::{ByteReader, ByteWriter};
use proofmark_slo::{Ledger, RowChange, RowFault};
use proofmark_spec::Faults;

use super::State;
use super::agents::Agent;
use super::cosigners::{CosignerChange, HandOver};
use super::failures::Failure;
use super::genesis::Genesis;
use super::members::Member;
use super::row::{Row, Which, decode_value, encode_value};
use super::seals::{Pending, Published};
use super::specs::SpecText;
use super::tokens::Token;
use super::version::Version;
use crate::command::CodecFault;
use crate::consensus::membership::Membership;

/// The tag of the ledger's rows; the rest of the key is the ledger's own.
const LEDGER_TAG: u8 = b'l';

/// The few numbers that change with every entry. One row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) applied: u64,
    pub(super) stamped_at_ms: u64,
    pub(super) leaf_count: u64,
}

/// Rows that are not a state of ours. The caller starts from an empty state and the whole log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadFault {
    #[error("state_row: {0}")]
    Row(#[from] CodecFault),
    #[error("state_row: tag: expected one of ours, got {got:?}")]
    Tag { got: Option<u8> },
    #[error("state_row: expected the row of the newest entry, got none")]
    Headless,
    #[error("state_ledger: {0}")]
    Ledger(#[from] RowFault),
    #[error("state_specs: a text that was applied once: {0}")]
    Specs(#[from] Faults),
    #[error("state_invariant: {0}")]
    Invariant(String),
}

impl State {
    /// What changed since this was last called, by ascending key. Whoever asks must save it: it
    /// is not told again.
    pub fn take_dirty_rows(&mut self) -> Vec<RowChange> {
        let mut rows = self.write_rows(Which::Changed);
        let ledger = self.ledger.take_dirty_rows().into_iter();
        rows.extend(ledger.map(|(key, value)| (tagged(LEDGER_TAG, &key), value)));
        self.forget_changes();
        rows.sort_unstable();
        rows
    }

    /// The state whose rows these are: all of them, in any order.
    pub fn from_rows(
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, LoadFault> {
        let mut state = Self::new();
        let mut ledger_rows = Vec::new();
        let mut has_head = false;
        for (key, value) in rows {
            has_head |= key == [Head::TAG];
            match key.split_first() {
                Some((&LEDGER_TAG, key)) => ledger_rows.push((key.to_vec(), value)),
                Some((&tag, key)) => state.load_row(tag, key, &value)?,
                None => return Err(LoadFault::Tag { got: None }),
            }
        }
        if !has_head {
            return Err(LoadFault::Headless);
        }
        state.ledger = Ledger::from_rows(ledger_rows)?;
        state.specs.restore()?;
        state.check().map_err(LoadFault::Invariant)?;
        Ok(state)
    }

    /// Every row, by ascending key: with [`State::from_rows`] it is this state again.
    pub fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let own = self.write_rows(Which::All).into_iter();
        let own = own.filter_map(|(key, value)| Some((key, value?)));
        let ledger = self.ledger.rows().into_iter();
        let ledger = ledger.map(|(key, value)| (tagged(LEDGER_TAG, &key), value));
        let mut rows: Vec<_> = own.chain(ledger).collect();
        rows.sort_unstable();
        rows
    }

    /// Every row, one after the other: two states are equal exactly if these bytes are.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        for (key, value) in self.rows() {
            out.bytes(&key).bytes(&value);
        }
        out.into_bytes()
    }

    fn write_rows(&self, which: Which) -> Vec<RowChange> {
        let mut rows = vec![(vec![Head::TAG], Some(encode_value(&self.head)))];
        self.genesis.write_rows(which, &mut rows);
        self.agents.rows().write_rows(which, &mut rows);
        self.tokens.rows().write_rows(which, &mut rows);
        self.specs.rows().write_rows(which, &mut rows);
        self.failures.rows().write_rows(which, &mut rows);
        self.seals.write_rows(which, &mut rows);
        self.version.write_rows(which, &mut rows);
        let (members, membership) = self.members.rows();
        members.write_rows(which, &mut rows);
        membership.write_rows(which, &mut rows);
        rows
    }

    fn forget_changes(&mut self) {
        self.genesis.forget_changes();
        self.agents.table().forget_changes();
        self.tokens.table().forget_changes();
        self.specs.table().forget_changes();
        self.failures.table().forget_changes();
        self.seals.forget_changes();
        self.version.forget_changes();
        let (members, membership) = self.members.tables();
        members.forget_changes();
        membership.forget_changes();
    }

    fn load_row(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Result<(), LoadFault> {
        match tag {
            Head::TAG => self.head = decode_value(value)?,
            Genesis::TAG => self.genesis.load(key, value)?,
            Agent::TAG => self.agents.table().load(key, value)?,
            Token::TAG => self.tokens.table().load(key, value)?,
            SpecText::TAG => self.specs.table().load(key, value)?,
            Failure::TAG => self.failures.table().load(key, value)?,
            Pending::TAG | Published::TAG | CosignerChange::TAG | HandOver::TAG => {
                self.seals.load_row(tag, key, value)?;
            }
            Version::TAG => self.version.load(key, value)?,
            Member::TAG => self.members.tables().0.load(key, value)?,
            Membership::TAG => self.members.tables().1.load(key, value)?,
            got => return Err(LoadFault::Tag { got: Some(got) }),
        }
        Ok(())
    }
}

fn tagged(tag: u8, key: &[u8]) -> Vec<u8> {
    [&[tag], key].concat()
}

impl Row for Head {
    const TAG: u8 = b'h';
    type Key = ();

    fn put(&self, out: &mut ByteWriter) {
        out.varint(self.applied).varint(self.stamped_at_ms).varint(self.leaf_count);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            applied: input.varint("applied")?,
            stamped_at_ms: input.varint("stamped at")?,
            leaf_count: input.varint("leaf count")?,
        })
    }
}
