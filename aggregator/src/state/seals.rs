//! From a proposed root to a published checkpoint: whose cosignatures are in.

use std::collections::BTreeMap;

use proofmark_evidence::limits::{NODES_COUNT_MAX, ORIGIN_BYTES_MAX};
use proofmark_evidence::{
    ByteReader, ByteWriter, Checkpoint, Cosignature, Cosigners, Hash, Note, NoteSignature,
    PublicKey, Signature, SignatureType, VerifierKey,
};
use proofmark_slo::RowChange;

use super::cosigners::{CosignerChange, HandOver};
use super::effect::Effect;
use super::genesis::Genesis;
use super::row::{Row, Table, Which};
use super::{Applied, State};
use crate::command::{CodecFault, Command, Refusal, Reply, put_hash, take_hash};
use crate::limits::SEALS_PENDING_MAX;

/// A root and who has cosigned it so far: it waits for its majority, or has it and handed over
/// ([`HandOver`]). Its size is its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) root: Hash,
    /// By node name.
    pub(super) cosigned: BTreeMap<String, NodeWord>,
}

/// One node's cosignature, as far as its name and key do not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeWord {
    timestamp_s: u64,
    signature: [u8; 64],
}

/// What was published last. One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) size: u64,
}

/// The seals above the newest published one, and how the cosigners changed.
#[derive(Clone, Debug)]
pub(super) struct Seals {
    pending: Table<Pending>,
    published: Table<Published>,
    pub(super) changes: Table<CosignerChange>,
    pub(super) hand_overs: Table<HandOver>,
}

/// A checkpoint whose cosignatures are complete.
struct Complete {
    cosignatures: Vec<Cosignature>,
    /// From here on another policy holds.
    policy: Option<String>,
}

impl State {
    /// A replica proposes a root: who has the same one cosigns it.
    pub(super) fn seal(&mut self, size: u64, root: Hash) -> Applied {
        self.seals.seal(size, root, self.head.leaf_count)?;
        Ok(vec![Effect::Seal { size, root }, Effect::Reply(Reply::Done)])
    }

    /// A node's word for a pending root; the one that completes the majority publishes.
    pub(super) fn cosign(&mut self, command: &Command) -> Applied {
        let Command::Cosign { node, size, root, timestamp_s, signature } = command else {
            unreachable!("dispatch sends cosignatures here");
        };
        let (size, root) = (*size, *root);
        let cosigned =
            Cosigned { node, size, root, timestamp_s: *timestamp_s, signature: *signature };
        let genesis = self.genesis.get(&()).expect("dispatch wants a genesis first");
        let complete = self.seals.cosign(genesis, &cosigned)?;
        let publish = complete.map(|Complete { cosignatures, policy }| match policy {
            None => Effect::Publish { size, root, cosignatures },
            Some(policy) => Effect::HandOver { size, root, cosignatures, policy },
        });
        Ok(publish.into_iter().chain([Effect::Reply(Reply::Done)]).collect())
    }
}

impl Seals {
    pub(super) fn new() -> Self {
        Self {
            pending: Table::new(),
            published: Table::new(),
            changes: Table::new(),
            hand_overs: Table::new(),
        }
    }

    /// The size of the newest checkpoint that a majority cosigned; 0 before the first.
    pub(super) fn published_size(&self) -> u64 {
        self.published.get(&()).map_or(0, |published| published.size)
    }

    /// Takes a proposed root. The same one again is taken again: cosignatures may have been lost
    /// with a leader. Never at or below what is published, below a newer seal, or beyond the log.
    pub(super) fn seal(&mut self, size: u64, root: Hash, leaf_count: u64) -> Result<(), Refusal> {
        let newest = self.pending.last().map_or(0, |(size, _)| *size);
        if size <= self.published_size() || size < newest || size > leaf_count {
            return Err(Refusal::SealSize { expected: leaf_count, got: size });
        }
        let is_known = self.pending.get(&size).is_some_and(|pending| pending.root == root);
        if is_known {
            return Ok(());
        }
        if self.pending.len() == SEALS_PENDING_MAX {
            self.pending.remove_first();
        }
        self.pending.insert(size, Pending { root, cosigned: BTreeMap::new() });
        Ok(())
    }

    /// Takes a node's cosignature. `Some`: it completed the majority, publish this, once. Over a
    /// changed set of cosigners the majority before the change must have signed too.
    fn cosign(
        &mut self,
        genesis: &Genesis,
        cosigned: &Cosigned<'_>,
    ) -> Result<Option<Complete>, Refusal> {
        let (size, node) = (cosigned.size, || cosigned.node.to_owned());
        let signers = self.signers(genesis, size);
        let key = signers.key(cosigned.node);
        let key = *key.ok_or_else(|| Refusal::CosignNode { node: node() })?;
        if size <= self.published_size() {
            return Ok(None); // a late one of a minority: nothing needs it any more
        }
        self.check_pending(cosigned)?;
        let whole = cosigned.verify(genesis, &key);
        whole.ok_or_else(|| Refusal::CosignSignature { node: node() })?;

        let pending = self.pending.change(&size).expect("check_pending found it");
        pending.cosigned.insert(node(), cosigned.word());
        let pending = pending.clone();
        if !signers.are_complete(&pending) {
            return Ok(None);
        }
        let cosignatures = pending.cosignatures(&signers);
        let policy = signers.hand_over(genesis);
        if policy.is_some() {
            self.hand_overs.insert(size, HandOver(pending));
        }
        self.pending.retain(|pending, _| *pending > size);
        self.published.insert((), Published { size });
        Ok(Some(Complete { cosignatures, policy }))
    }

    fn signers(&self, genesis: &Genesis, size: u64) -> Signers {
        Signers {
            before: self.cosigners_at(genesis, self.published_size()),
            after: self.cosigners_at(genesis, size),
        }
    }

    fn check_pending(&self, cosigned: &Cosigned<'_>) -> Result<(), Refusal> {
        match self.pending.get(&cosigned.size) {
            Some(pending) if pending.root == cosigned.root => Ok(()),
            _ => {
                let newest = self.pending.last().map_or(0, |(size, _)| *size);
                Err(Refusal::CosignStale { expected: newest, got: cosigned.size })
            }
        }
    }

    pub(super) fn write_rows(&self, which: Which, out: &mut Vec<RowChange>) {
        self.pending.write_rows(which, out);
        self.published.write_rows(which, out);
        self.changes.write_rows(which, out);
        self.hand_overs.write_rows(which, out);
    }

    pub(super) fn forget_changes(&mut self) {
        self.pending.forget_changes();
        self.published.forget_changes();
        self.changes.forget_changes();
        self.hand_overs.forget_changes();
    }

    /// One of this table's four kinds of rows.
    pub(super) fn load_row(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Result<(), CodecFault> {
        match tag {
            Pending::TAG => self.pending.load(key, value),
            Published::TAG => self.published.load(key, value),
            CosignerChange::TAG => self.changes.load(key, value),
            _ => self.hand_overs.load(key, value),
        }
    }

    pub(super) fn check(&self, genesis: Option<&Genesis>, leaf_count: u64) -> Result<(), String> {
        let published = self.published_size();
        let is_open = |(size, pending): (&u64, &Pending)| {
            let is_complete = |genesis| self.signers(genesis, *size).are_complete(pending);
            (published + 1..=leaf_count).contains(size) && !genesis.is_some_and(is_complete)
        };
        let is_bounded = self.pending.len() <= SEALS_PENDING_MAX && published <= leaf_count;
        let is_past = self.hand_overs.last().is_none_or(|(size, _)| *size <= published)
            && self.change_indices().all(|index| index < leaf_count);
        match is_bounded && is_past && self.pending.iter().all(is_open) {
            true => Ok(()),
            false => Err(format!("seals above {published}: {:?}", self.pending)),
        }
    }
}

/// Whose cosignatures the next checkpoint needs: of those at the published one, and of those at its
/// own size. Mostly the same.
struct Signers {
    before: Cosigners,
    after: Cosigners,
}

impl Signers {
    /// Names are used once, so that nobody stands in both with two keys.
    fn key(&self, node: &str) -> Option<&PublicKey> {
        self.after.key(node).or(self.before.key(node))
    }

    fn are_complete(&self, pending: &Pending) -> bool {
        let names = || pending.cosigned.keys();
        self.before.is_majority(names()) && self.after.is_majority(names())
    }

    /// The policy from here on, if it is another.
    fn hand_over(&self, genesis: &Genesis) -> Option<String> {
        if self.before == self.after {
            return None;
        }
        let policy = self.after.policy(&genesis.origin, &genesis.log_key);
        Some(policy.expect("names and keys were checked when they came").to_text())
    }
}

/// One cosignature as a command brings it.
pub(super) struct Cosigned<'a> {
    pub(super) node: &'a str,
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) timestamp_s: u64,
    pub(super) signature: [u8; 64],
}

impl Cosigned<'_> {
    fn word(&self) -> NodeWord {
        NodeWord { timestamp_s: self.timestamp_s, signature: self.signature }
    }

    /// A wrong one, published, would make every reader refuse the checkpoint.
    fn verify(&self, genesis: &Genesis, key: &PublicKey) -> Option<()> {
        let (origin, size, root) = (genesis.origin.clone(), self.size, self.root);
        let text = Checkpoint { origin, size, root }.to_text();
        let verifier = VerifierKey::new(self.node, SignatureType::CosignatureV1, *key).ok()?;
        let line = self.word().cosignature(self.node, &verifier);
        let line = NoteSignature::parse_line(line.line().trim_end()).ok()?;
        let note = Note { text, signatures: vec![line] };
        note.verified_by(&verifier).ok()?.map(|_| ())
    }
}

impl NodeWord {
    fn put_all(words: &BTreeMap<String, NodeWord>, out: &mut ByteWriter) {
        out.varint(words.len() as u64);
        for (node, word) in words {
            out.text(node).varint(word.timestamp_s).fixed(&word.signature);
        }
    }

    fn take_all(
        input: &mut ByteReader<'_>,
        count_max: usize,
    ) -> Result<BTreeMap<String, NodeWord>, CodecFault> {
        let count = input.count("cosignatures", count_max, 66)?;
        let words = (0..count).map(|_| {
            let node = input.text("node", ORIGIN_BYTES_MAX)?.to_owned();
            let timestamp_s = input.varint("timestamp")?;
            Ok((node, NodeWord { timestamp_s, signature: input.fixed("signature")? }))
        });
        words.collect()
    }

    fn cosignature(self, node: &str, verifier: &VerifierKey) -> Cosignature {
        Cosignature {
            name: node.to_owned(),
            key_id4: verifier.key_id(),
            timestamp_s: self.timestamp_s,
            signature: Signature(self.signature),
        }
    }
}

impl Pending {
    /// Ascending by node name.
    fn cosignatures(&self, signers: &Signers) -> Vec<Cosignature> {
        let whole = self.cosigned.iter().filter_map(|(node, word)| {
            let key = *signers.key(node)?;
            let verifier = VerifierKey::new(node, SignatureType::CosignatureV1, key).ok()?;
            Some(word.cosignature(node, &verifier))
        });
        whole.collect()
    }
}

impl Row for Pending {
    const TAG: u8 = b'c';
    type Key = u64;

    fn put(&self, out: &mut ByteWriter) {
        put_hash(out, &self.root);
        NodeWord::put_all(&self.cosigned, out);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        let root = take_hash(input, "root")?;
        // Over a changed set those before and those after together.
        Ok(Self { root, cosigned: NodeWord::take_all(input, 2 * NODES_COUNT_MAX)? })
    }
}

impl Row for Published {
    const TAG: u8 = b'p';
    type Key = ();

    fn put(&self, out: &mut ByteWriter) {
        out.varint(self.size);
    }

    fn take(input: &mut ByteReader<'_>) -> Result<Self, CodecFault> {
        Ok(Self { size: input.varint("published size")? })
    }
}
