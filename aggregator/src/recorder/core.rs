//! What the recorder does with each effect. No thread and no queue here, so that tests can stop
//! it between any two steps.

use proofmark_evidence::{
    BatchSpan, Checkpoint, Cosignature, Hash, Leaf, LeafFault, LogWriter, Policy, SignedCheckpoint,
    SigningKey, Transition, WriterFault, cosign, log_signature_line,
};

use super::health::{Divergence, Health};
use super::known::{KnownFault, KnownLeaves};
use super::last_signed::{Judgement, LastSigned};
use super::{LeafIndex, RecorderParts, RecorderStatus, RecorderTask};
use crate::clock::Clock;
use crate::command::Command;
use crate::limits::SEAL_REFUSED_LOG_MS;
use crate::state::{Effect, NewLeaf};

/// Why the recorder cannot go on. The process stops: what it knows of its disk is worth nothing.
#[derive(Debug, thiserror::Error)]
pub enum RecorderFault {
    #[error("evidence: {0}")]
    Writer(#[from] WriterFault),
    #[error("evidence: {0}")]
    Known(#[from] KnownFault),
    #[error("{path}: {fault}")]
    LastSigned { path: String, fault: std::io::Error },
    #[error("leaf of the log: {0}")]
    Leaf(#[from] LeafFault),
    #[error("evidence_short: expected {expected} leaves in the directory, got {got}")]
    EvidenceShort { expected: u64, got: u64 },
}

/// An effect that was not carried out.
enum Stop {
    Diverged(Divergence),
    Fault(RecorderFault),
}

impl<F: Into<RecorderFault>> From<F> for Stop {
    fn from(fault: F) -> Self {
        Stop::Fault(fault.into())
    }
}

type Done = Result<(), Stop>;

/// The recorder without its thread.
pub struct Core {
    writer: LogWriter,
    known: KnownLeaves,
    log_key: SigningKey,
    node_name: String,
    node_key: SigningKey,
    last_signed: LastSigned,
    last_signed_path: String,
    /// The tree was seen to extend what this node signed before its start.
    is_extension_checked: bool,
    index: Box<dyn LeafIndex>,
    health: Health,
    clock: Clock,
    proposals: Box<dyn FnMut(Command) + Send>,
    applied_index: u64,
    /// When a root that is not our own was last logged; monotonic.
    seal_refused_at_ms: Option<u64>,
}

impl Core {
    /// # Errors
    /// The guard file of the newest cosigned checkpoint cannot be read.
    pub fn open(parts: RecorderParts) -> Result<Self, RecorderFault> {
        let path = parts.last_signed.name().to_owned();
        let unreadable = |fault| RecorderFault::LastSigned { path: path.clone(), fault };
        let mut last_signed = LastSigned::open(parts.last_signed).map_err(unreadable)?;
        let published = parts.writer.checkpoint();
        last_signed.remember(published, &parts.node_name).map_err(unreadable)?;
        let known = KnownLeaves::new(parts.evidence, parts.writer.durable_size());
        Ok(Self {
            writer: parts.writer,
            known,
            log_key: parts.log_key,
            node_name: parts.node_name,
            node_key: parts.node_key,
            last_signed,
            last_signed_path: path,
            is_extension_checked: false,
            index: parts.index,
            health: parts.health,
            clock: parts.clock,
            proposals: parts.proposals,
            applied_index: 0,
            seal_refused_at_ms: None,
        })
    }

    /// Carries out the effects of one entry, in order. A replica that diverged carries out none.
    pub fn take(&mut self, task: RecorderTask) -> Result<(), RecorderFault> {
        for effect in task.effects {
            if self.health.is_diverged() {
                return Ok(());
            }
            match self.take_effect(effect) {
                Ok(()) => {}
                Err(Stop::Diverged(why)) => self.health.diverge(why),
                Err(Stop::Fault(fault)) => return Err(fault),
            }
        }
        self.applied_index = task.index;
        Ok(())
    }

    fn take_effect(&mut self, effect: Effect) -> Done {
        match effect {
            Effect::Append { index, leaf, payload } => self.append(index, leaf, &payload),
            Effect::Seal { size, root } => self.seal(size, root),
            Effect::Publish { size, root, cosignatures } => {
                self.publish(size, root, &cosignatures, None)
            }
            Effect::HandOver { size, root, cosignatures, policy } => {
                self.publish(size, root, &cosignatures, Some(&policy))
            }
            Effect::Reply(_) => Ok(()),
        }
    }

    /// A leaf that is on disk already is compared and skipped: replays change nothing.
    fn append(&mut self, index: u64, leaf: NewLeaf, payload: &[u8]) -> Done {
        let leaf = match leaf {
            NewLeaf::Signed(leaf) => leaf,
            NewLeaf::ForLog { kind, header } => Leaf::seal(kind, &header, &self.log_key)?,
        };
        self.append_or_compare(index, &leaf, payload)
    }

    fn append_or_compare(&mut self, index: u64, leaf: &Leaf, payload: &[u8]) -> Done {
        match self.leaf_hash(index)? {
            Some(got) if got == leaf.hash() => {}
            Some(got) => {
                return Err(Stop::Diverged(Divergence::Leaf { index, expected: leaf.hash(), got }));
            }
            None if index == self.writer.size() => {
                self.writer.append(leaf, payload);
            }
            None => {
                let got = self.writer.size();
                return Err(RecorderFault::EvidenceShort { expected: index, got }.into());
            }
        }
        self.index_leaf(index, leaf);
        Ok(())
    }

    /// The hash of a leaf that is here already, from before the start or from catching up.
    fn leaf_hash(&mut self, index: u64) -> Result<Option<Hash>, RecorderFault> {
        if index >= self.writer.size() {
            return Ok(None);
        }
        match self.known.hash(index)? {
            Some(hash) => Ok(Some(hash)),
            None => Ok(Some(self.writer.leaf_hash(index)?)),
        }
    }

    /// A broken index stops lookups and saves, never the evidence.
    fn index_leaf(&mut self, index: u64, leaf: &Leaf) {
        let batch = BatchSpan::of(leaf);
        if let Err(fault) = self.index.take_leaf(index, batch.as_ref()) {
            tracing::error!(slug = fault.slug(), %fault, index, "result index is broken");
        }
    }

    /// Compares the own root, makes everything below it durable, promises, signs.
    ///
    /// A seal is one replica's word: another root in it is not confirmed, and says nothing yet
    /// about which of the two is wrong. That is for the majority: see [`Core::publish`].
    fn seal(&mut self, size: u64, root: Hash) -> Done {
        if size <= self.published_size() {
            return Ok(()); // a replay: what is published was compared when the log was opened
        }
        if self.health.is_damaged() {
            return Ok(()); // who vouches for a log must still have it
        }
        let own = self.writer.root_at(size)?;
        if own != root {
            self.log_refused_seal(size, root, own);
            return Ok(());
        }
        let checkpoint = Checkpoint { origin: self.writer.origin().clone(), size, root };
        match self.last_signed.judge(&checkpoint) {
            Judgement::Older => return Ok(()),
            Judgement::Same => self.is_extension_checked = true,
            Judgement::Newer => self.check_extension()?,
            Judgement::Conflict { signed } => {
                let (expected, got) = (signed.root, root);
                return Err(Stop::Diverged(Divergence::Signed { size, expected, got }));
            }
        }
        self.sync_to(size)?;
        // A crash here leaves durable leaves that nobody signed: the next seal covers them.
        self.promise(&checkpoint)?;
        // A crash here leaves a promise without its signature; the leader seals again.
        let signed = self.cosign(&checkpoint);
        (self.proposals)(signed);
        Ok(())
    }

    /// Seals come several times a second; a line a while is enough.
    fn log_refused_seal(&mut self, size: u64, expected: Hash, got: Hash) {
        let now_ms = self.clock.monotonic_ms();
        let is_due = |at_ms: u64| now_ms >= at_ms + SEAL_REFUSED_LOG_MS;
        if self.seal_refused_at_ms.is_none_or(is_due) {
            self.seal_refused_at_ms = Some(now_ms);
            tracing::error!(size, %expected, %got, "seal_refused: its root is not our own");
        }
    }

    /// Once per start: the tree that grew since must still contain what this node signed.
    fn check_extension(&mut self) -> Done {
        if self.is_extension_checked {
            return Ok(());
        }
        if let Some(signed) = self.last_signed.signed() {
            let (size, expected) = (signed.size, signed.root);
            let got = self.writer.root_at(size)?;
            if got != expected {
                return Err(Stop::Diverged(Divergence::Signed { size, expected, got }));
            }
        }
        self.is_extension_checked = true;
        Ok(())
    }

    fn promise(&mut self, checkpoint: &Checkpoint) -> Result<(), RecorderFault> {
        if self.last_signed.signed() == Some(checkpoint) {
            return Ok(());
        }
        let path = self.last_signed_path.clone();
        let stored = self.last_signed.store(checkpoint);
        stored.map_err(|fault| RecorderFault::LastSigned { path, fault })
    }

    fn cosign(&self, checkpoint: &Checkpoint) -> Command {
        let timestamp_s = self.clock.unix_ms() / 1_000;
        let text = checkpoint.to_text();
        let word = cosign(&self.node_name, &self.node_key, timestamp_s, &text);
        Command::Cosign {
            node: word.name,
            size: checkpoint.size,
            root: checkpoint.root,
            timestamp_s,
            signature: word.signature.0,
        }
    }

    /// Log signature first, then the cosignatures by node name: the same bytes on every replica.
    /// What is published is a majority's word: whoever has another root is wrong.
    /// With a policy, the cosigners hand over: from here on it holds.
    fn publish(
        &mut self,
        size: u64,
        root: Hash,
        cosignatures: &[Cosignature],
        policy: Option<&str>,
    ) -> Done {
        if size <= self.published_size() {
            return Ok(());
        }
        let got = self.writer.root_at(size)?;
        if got != root {
            return Err(Stop::Diverged(Divergence::Root { size, expected: root, got }));
        }
        self.sync_to(size)?;
        // A crash here leaves the older checkpoint; the replay of this effect publishes.
        let origin = self.writer.origin().clone();
        let text = Checkpoint { origin: origin.clone(), size, root }.to_text();
        let mut note = format!("{text}\n{}", log_signature_line(&origin, &self.log_key, &text));
        cosignatures.iter().for_each(|word| note.push_str(&word.line()));
        match policy {
            None => self.writer.publish(&note)?,
            Some(policy) => self.writer.publish_transition(&note, policy)?,
        }
        Ok(())
    }

    /// Takes leaves ahead of the entries that brought them: a cosigned root leads to each. Those
    /// that are here already are compared. Durable with the next sync.
    ///
    /// A crash leaves some of them: start-up reads them back, and they come again and are compared.
    pub fn adopt(&mut self, first: u64, leaves: Vec<(Leaf, Vec<u8>)>) -> Result<(), RecorderFault> {
        for (index, (leaf, payload)) in (first..).zip(leaves) {
            if self.health.is_diverged() {
                return Ok(());
            }
            match self.append_or_compare(index, &leaf, &payload) {
                Ok(()) => {}
                Err(Stop::Diverged(why)) => self.health.diverge(why),
                Err(Stop::Fault(fault)) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Whether the first `size` leaves have the root to which a cosigned checkpoint leads. If not,
    /// this replica has diverged.
    pub fn has_root(&mut self, size: u64, expected: Hash) -> Result<bool, RecorderFault> {
        let got = self.writer.root_at(size)?;
        if got != expected {
            self.health.diverge(Divergence::Root { size, expected, got });
        }
        Ok(got == expected)
    }

    /// The published size, and the policy in force from there on.
    pub fn believed(&self) -> (u64, Policy) {
        (self.published_size(), self.writer.policy().clone())
    }

    /// Publishes a checkpoint that a peer published, after what it covers was adopted, and before
    /// it the changes of cosigners on the way to it. False: it is not this log's, and that may be
    /// this replica's fault.
    pub fn adopt_checkpoint(
        &mut self,
        transitions: &[Transition],
        note: &str,
    ) -> Result<bool, RecorderFault> {
        self.sync()?;
        self.known.extend(self.writer.durable_size());
        match self.publish_adopted(transitions, note) {
            Ok(()) => Ok(true),
            Err(fault) if fault.is_fatal() => Err(fault.into()),
            Err(WriterFault::RootMismatch { size, expected: own, got: cosigned }) => {
                let (expected, got) = (cosigned, own);
                self.health.diverge(Divergence::Root { size, expected, got });
                Ok(false)
            }
            Err(fault) => {
                tracing::error!(slug = fault.slug(), %fault, "a peer's checkpoint is not taken");
                Ok(false)
            }
        }
    }

    fn publish_adopted(
        &mut self,
        transitions: &[Transition],
        note: &str,
    ) -> Result<(), WriterFault> {
        for transition in transitions {
            if transition.size() > self.published_size() {
                let (note, policy) = (transition.signed.to_text(), transition.policy.to_text());
                self.writer.publish_transition(&note, &policy)?;
                // A crash here leaves the log published up to this change: the next offer's
                // catch-up goes on from it.
            }
        }
        match SignedCheckpoint::parse(note)?.checkpoint.size > self.published_size() {
            true => self.writer.publish(note),
            false => Ok(()),
        }
    }

    /// The leader's question: is there anything unpublished? Then this is what to seal.
    pub fn propose_seal(&mut self) {
        let size = self.writer.size();
        if size > self.published_size() && !self.health.is_diverged() {
            let root = self.writer.root();
            (self.proposals)(Command::Seal { size, root });
        }
    }

    /// Everything appended is durable after this.
    pub fn sync(&mut self) -> Result<(), RecorderFault> {
        let size = self.writer.size();
        Ok(self.sync_to(size)?)
    }

    fn sync_to(&mut self, size: u64) -> Result<(), WriterFault> {
        if self.writer.durable_size() < size {
            self.writer.sync()?;
        }
        Ok(())
    }

    fn published_size(&self) -> u64 {
        self.writer.checkpoint().map_or(0, |signed| signed.checkpoint.size)
    }

    /// How far it has come.
    pub fn status(&self) -> RecorderStatus {
        RecorderStatus {
            applied_index: self.applied_index,
            size: self.writer.size(),
            durable_size: self.writer.durable_size(),
            published_size: self.published_size(),
        }
    }

    /// The newest published note; empty before the first.
    pub fn note(&self) -> String {
        self.writer.checkpoint().map(|signed| signed.to_text()).unwrap_or_default()
    }
}
