//! What one leaf owes to the leaves before it: whose key is in force, which number comes next.

use std::collections::BTreeMap;

use super::findings::Sides;
use super::{AgentSpan, SignatureCheck};
use crate::batch::BatchHeader;
use crate::cosigners::Cosigners;
use crate::hash::Hash;
use crate::header::Header;
use crate::key::PublicKey;
use crate::key_change::{KeyChange, KeyChangeKind};
use crate::leaf::Leaf;
use crate::name::{AgentName, Origin};
use crate::policy::Policy;
use crate::seal::{OpenBatch, SealedBatch};

/// A rule that a leaf breaks.
pub(super) struct Broken {
    pub(super) place: Place,
    pub(super) slug: &'static str,
    pub(super) expected: String,
    pub(super) got: String,
}

/// Which of a leaf's two files is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Leaf,
    Payload,
}

/// What the leaves so far imply.
pub(super) struct Rules<'a> {
    origin: Origin,
    log_id: Hash,
    log_key: PublicKey,
    signatures: &'a mut dyn SignatureCheck,
    agents: BTreeMap<AgentName, Agent>,
    /// From each size on, ascending.
    cosigners: Vec<(u64, Cosigners)>,
    past_lives: Vec<AgentSpan>,
    spec_revision: u64,
    /// Leaves before this one could not be read: what they said is unknown, not wrong.
    has_gaps: bool,
    /// Whether agents' counts are of published leaves still.
    is_counting: bool,
}

/// An agent's life as of the last leaf.
struct Agent {
    span: AgentSpan,
    is_active: bool,
    next: NextBatch,
}

/// What the next batch must say; nothing is known after a gap.
enum NextBatch {
    Known { seq: u64, previous: Hash },
    Unknown,
}

impl<'a> Rules<'a> {
    pub(super) fn new(
        origin: Origin,
        log_key: PublicKey,
        signatures: &'a mut dyn SignatureCheck,
    ) -> Rules<'a> {
        let log_id = origin.log_id();
        Rules {
            origin,
            log_id,
            log_key,
            signatures,
            agents: BTreeMap::new(),
            cosigners: Vec::new(),
            past_lives: Vec::new(),
            spec_revision: 0,
            has_gaps: false,
            is_counting: true,
        }
    }

    /// From here on leaves are judged but not counted.
    pub(super) fn stop_counting(&mut self) {
        self.is_counting = false;
    }

    /// One or more leaves could not be read. Whatever follows is not blamed for it.
    pub(super) fn skip(&mut self) {
        self.has_gaps = true;
        self.agents.values_mut().for_each(|agent| agent.next = NextBatch::Unknown);
    }

    /// Batches, results, and each agent's lives.
    pub(super) fn into_counts(self) -> (u64, u64, Vec<AgentSpan>) {
        let mut spans = self.past_lives;
        spans.extend(self.agents.into_values().map(|agent| agent.span));
        spans.sort_by(|a, b| (&a.agent, a.epoch).cmp(&(&b.agent, b.epoch)));
        let batches = spans.iter().map(|span| span.batches).sum();
        (batches, spans.iter().map(|span| span.results).sum(), spans)
    }

    /// Judges a leaf by itself and by those before it, and takes note of what it says.
    pub(super) fn leaf(&mut self, index: u64, leaf: &Leaf) -> Result<Header, Broken> {
        let header = leaf.header().map_err(|fault| {
            self.skip();
            broken_by(fault.slug(), &fault)
        })?;
        let judged = self.judge(index, leaf, &header);
        if judged.is_err() {
            self.skip();
        }
        judged.map(|()| header)
    }

    fn judge(&mut self, index: u64, leaf: &Leaf, header: &Header) -> Result<(), Broken> {
        expect("other_log", self.log_id, header.log_id())?;
        let is_genesis = matches!(
            header,
            Header::KeyChange(KeyChange { change: KeyChangeKind::Genesis { .. }, .. })
        );
        if is_genesis != (index == 0) {
            let got = format!("a {} at leaf {index}", header.kind());
            return Err(broken("genesis", "genesis at leaf 0 and only there", got));
        }
        if let Header::Batch(batch) = header {
            return self.batch(leaf, batch);
        }
        let log_key = self.log_key;
        self.check_signature(leaf, &log_key)?;
        match header {
            Header::KeyChange(change) => {
                self.cosigners(index, &change.change)?;
                self.key_change(&change.change)
            }
            Header::SpecChange(change) => self.spec_change(change.revision),
            Header::Decision(_) | Header::Batch(_) => Ok(()),
        }
    }

    fn batch(&mut self, leaf: &Leaf, batch: &BatchHeader) -> Result<(), Broken> {
        let Some(agent) = self.agents.get_mut(&batch.agent) else {
            if self.has_gaps {
                return Ok(()); // the enrolment may have been in the gap; that is reported there
            }
            return Err(broken("agent_unknown", "an enrolled agent", &batch.agent));
        };
        if batch.epoch != agent.span.epoch && self.has_gaps {
            return Ok(());
        }
        expect("epoch", agent.span.epoch, batch.epoch)?;
        if !agent.is_active && !self.has_gaps {
            return Err(broken("agent_retired", "an agent that is not retired", &batch.agent));
        }
        let checked = self.signatures.check(leaf, &agent.span.key);
        checked.map_err(|fault| broken_by(fault.slug(), &fault))?;
        if let NextBatch::Known { seq, previous } = agent.next {
            expect("sequence", seq, batch.seq_first)?;
            expect("previous", previous, batch.previous)?;
        }
        agent.next = NextBatch::Known { seq: batch.seq_end(), previous: leaf.header_hash() };
        if self.is_counting {
            agent.span.count(batch);
        }
        Ok(())
    }

    fn key_change(&mut self, change: &KeyChangeKind) -> Result<(), Broken> {
        match change {
            KeyChangeKind::Genesis { origin, log_key, .. } => {
                expect("genesis_origin", &self.origin, origin)?;
                expect("genesis_log_key", self.log_key, *log_key)
            }
            KeyChangeKind::Enrol { agent, key, epoch } => self.enrol(agent, *key, *epoch),
            KeyChangeKind::Retire { agent } => match self.agents.get_mut(agent) {
                Some(known) if known.is_active || self.has_gaps => {
                    known.is_active = false;
                    Ok(())
                }
                None if self.has_gaps => Ok(()),
                _ => Err(broken("agent_unknown", "an agent in its life", agent)),
            },
            KeyChangeKind::NodeJoin { .. } | KeyChangeKind::NodeLeave { .. } => Ok(()),
        }
    }

    fn cosigners(&mut self, index: u64, change: &KeyChangeKind) -> Result<(), Broken> {
        let mut after = match (change, self.cosigners.last()) {
            (KeyChangeKind::Genesis { nodes, .. }, _) => Cosigners::of_genesis(nodes),
            (_, Some((_, known))) => known.clone(),
            (_, None) => return Ok(()), // leaf 0 could not be read; that is reported there
        };
        if let Err(fault) = after.take(change)
            && !self.has_gaps
        {
            return Err(broken_by(fault.slug(), &fault));
        }
        if self.cosigners.last().is_none_or(|(_, known)| *known != after) {
            self.cosigners.push((index + 1, after));
        }
        Ok(())
    }

    /// What the leaves below `size` imply; `None` when some of them could not be read.
    pub(super) fn policy_at(&self, size: u64) -> Option<Policy> {
        if self.has_gaps {
            return None;
        }
        let (_, set) = self.cosigners.iter().rev().find(|(from, _)| *from <= size)?;
        set.policy(&self.origin, &self.log_key).ok()
    }

    fn enrol(&mut self, name: &AgentName, key: PublicKey, epoch: u64) -> Result<(), Broken> {
        let before = self.agents.get(name).map_or(0, |agent| agent.span.epoch);
        if !self.has_gaps {
            expect("epoch", before + 1, epoch)?;
        }
        let span = AgentSpan {
            agent: name.clone(),
            epoch,
            key,
            seq_first: 0,
            seq_last: 0,
            batches: 0,
            results: 0,
        };
        let next = NextBatch::Known { seq: 1, previous: Hash::ZERO };
        let life = Agent { span, is_active: true, next };
        let past = self.agents.insert(name.clone(), life);
        self.past_lives.extend(past.map(|agent| agent.span));
        Ok(())
    }

    fn spec_change(&mut self, revision: u64) -> Result<(), Broken> {
        if !self.has_gaps {
            expect("spec_revision", self.spec_revision + 1, revision)?;
        }
        self.spec_revision = revision;
        Ok(())
    }

    fn check_signature(&mut self, leaf: &Leaf, key: &PublicKey) -> Result<(), Broken> {
        let checked = self.signatures.check(leaf, key);
        checked.map_err(|fault| broken_by(fault.slug(), &fault))
    }
}

impl AgentSpan {
    fn count(&mut self, batch: &BatchHeader) {
        if self.batches == 0 {
            self.seq_first = batch.seq_first;
        }
        self.seq_last = batch.seq_end().saturating_sub(1);
        self.batches += 1;
        self.results += u64::from(batch.count);
    }
}

/// Holds a blob to its leaf, and a batch's results to their header.
pub(super) fn check_payload(
    leaf: &Leaf,
    header: &Header,
    payload: &[u8],
) -> Result<Option<OpenBatch>, Broken> {
    let Some(blob) = header.payload() else {
        return match payload.len() {
            0 => Ok(None),
            got => Err(broken_payload("payload_len", "no blob beside a key change", got)),
        };
    };
    blob.check(payload)
        .map_err(|fault| Broken { place: Place::Payload, ..broken_by(fault.slug(), &fault) })?;
    if !matches!(header, Header::Batch(_)) {
        return Ok(None);
    }
    // The blob is the one the agent signed for: what is wrong now is the batch itself.
    let sealed = SealedBatch { leaf: leaf.clone(), payload: payload.into() };
    let open = sealed.open().map_err(|fault| broken_by(fault.slug(), &fault))?;
    Ok(Some(open))
}

fn expect<T: PartialEq + ToString>(slug: &'static str, expected: T, got: T) -> Result<(), Broken> {
    if expected == got { Ok(()) } else { Err(broken(slug, expected.to_string(), got)) }
}

pub(super) fn broken(
    slug: &'static str,
    expected: impl Into<String>,
    got: impl ToString,
) -> Broken {
    Broken { place: Place::Leaf, slug, expected: expected.into(), got: got.to_string() }
}

/// In the words of the fault that was met.
pub(super) fn broken_by(slug: &'static str, fault: &dyn std::fmt::Display) -> Broken {
    let Sides { expected, got } = Sides::of(fault);
    Broken { place: Place::Leaf, slug, expected, got }
}

fn broken_payload(slug: &'static str, expected: &str, got: impl ToString) -> Broken {
    Broken { place: Place::Payload, ..broken(slug, expected, got) }
}
