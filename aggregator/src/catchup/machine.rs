//! What to fetch next, and when all of it is here. No clock, no thread, no network: the simulator
//! runs this very code.
//!
//! The state first, because a leader keeps only its newest snapshots; then the evidence up to a
//! cosigned checkpoint that covers it. Under load the log moves on meanwhile, and the next offer
//! finds less to fetch.
//!
//! A crash at any point leaves: a part of a snapshot, whose chunks are hashed again; whole leaves
//! in the evidence, which are compared when they come again; or everything, and the next offer of
//! the same snapshot is installed at once.

use std::collections::BTreeMap;

use proofmark_evidence::Origin;

use super::chunks::{StateFetch, Taken};
use super::leaves::{Fault, LeavesFetch, Wrong};
use super::peers::Peers;
use super::vouch::{Refusal, Vouching};
use super::{Act, Ask, Event, Evidence, Missed, Offer, Piece};
use crate::limits::FETCHES_UNDER_WAY_MAX;
use crate::snapshot::SnapshotStore;

/// One replica's catching up.
pub struct CatchUp {
    origin: Origin,
    snapshots: SnapshotStore,
    peers: Peers,
    phase: Phase,
    /// The newest offer that is not the one at work.
    newer: Option<Offer>,
    /// What was asked of whom, by the request's number.
    /// None: the answer is not needed any more, and counts all the same until it comes.
    under_way: BTreeMap<u64, (u64, Option<Ask>)>,
    requests: u64,
    /// Of the event at hand; monotonic.
    now_ms: u64,
    /// What is to be done about the event at hand.
    acts: Vec<Act>,
}

enum Phase {
    Idle,
    State(StateFetch),
    /// The snapshot is here. Which checkpoint covers it?
    Vouching(Offer, Vouching),
    Leaves(Offer, LeavesFetch),
}

impl CatchUp {
    /// `origin` is the log's; whose cosignatures make its checkpoints believed, the evidence knows.
    pub fn new(origin: Origin, snapshots: SnapshotStore) -> CatchUp {
        CatchUp {
            origin,
            snapshots,
            peers: Peers::default(),
            phase: Phase::Idle,
            newer: None,
            under_way: BTreeMap::new(),
            requests: 0,
            now_ms: 0,
            acts: Vec::new(),
        }
    }

    /// Who can be asked from now on.
    pub fn set_peers(&mut self, ids: &[u64]) {
        self.peers.set(ids);
    }

    /// Nothing is being fetched.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Takes what happened at `now_ms` (monotonic) and says what to do.
    pub fn take(&mut self, event: Event, now_ms: u64, evidence: &mut dyn Evidence) -> Vec<Act> {
        self.now_ms = now_ms;
        match event {
            Event::Offered(offer) => self.offered(offer),
            Event::Answered { request, answer } => {
                if let Some((peer, Some(ask))) = self.under_way.remove(&request) {
                    self.answered(peer, ask, answer, evidence);
                }
            }
            Event::Ticked => {}
        }
        self.advance(evidence);
        self.ask_more();
        std::mem::take(&mut self.acts)
    }

    fn offered(&mut self, offer: Offer) {
        match self.offer() {
            None => self.begin(offer),
            Some(current) if current.descriptor == offer.descriptor => {}
            Some(_) => self.newer = Some(offer),
        }
    }

    /// What is being fetched.
    pub fn offer(&self) -> Option<Offer> {
        match &self.phase {
            Phase::Idle => None,
            Phase::State(fetch) => Some(fetch.offer),
            Phase::Vouching(offer, _) | Phase::Leaves(offer, _) => Some(*offer),
        }
    }

    fn begin(&mut self, offer: Offer) {
        let (from, index) = (offer.from, offer.descriptor.position.index);
        let bytes = offer.descriptor.bytes();
        tracing::info!(from, index, bytes, "a snapshot is offered: catching up");
        self.forget_asks(|_| true);
        self.phase = match self.snapshots.find(&offer.descriptor) {
            Some(_) => Phase::Vouching(offer, Vouching::default()),
            None => Phase::State(StateFetch::new(offer, &self.snapshots)),
        };
    }

    fn give_up(&mut self, why: String) {
        self.forget_asks(|_| true);
        if let Some(offer) = self.offer() {
            self.acts.push(Act::GaveUp { offer, why });
        }
        self.phase = Phase::Idle;
        if let Some(newer) = self.newer.take() {
            self.begin(newer);
        }
    }

    fn answered(
        &mut self,
        peer: u64,
        ask: Ask,
        answer: Result<Piece, Missed>,
        evidence: &mut dyn Evidence,
    ) {
        match answer {
            Err(missed) => self.missed(peer, ask, missed),
            Ok(piece) => match self.got(peer, ask, piece, evidence) {
                Ok(()) => {}
                Err(Refused::Wrong(Wrong { peer: blamed, why })) => {
                    let peer = blamed.unwrap_or(peer);
                    tracing::warn!(peer, ?ask, %why, "piece_refused: another peer is asked");
                    self.peers.sent_wrong(peer, self.now_ms);
                    self.forget_asks(|other| is_of_one_file(&ask, other));
                }
                Err(Refused::NotYet) => {
                    self.peers.missed(peer, Missed::Busy, self.now_ms);
                    self.forget_asks(|other| is_of_one_file(&ask, other));
                }
                Err(Refused::Disk(why)) => self.give_up(why),
            },
        }
    }

    fn missed(&mut self, peer: u64, ask: Ask, why: Missed) {
        self.peers.missed(peer, why, self.now_ms);
        match &mut self.phase {
            Phase::State(fetch) => {
                fetch.missed(ask);
                let is_gone = why == Missed::Gone && fetch.offer.from == peer;
                if is_gone || self.newer.is_some() {
                    self.give_up(format!("{why:?}: the leader's snapshot cannot be had"));
                }
            }
            Phase::Vouching(_, vouching) => vouching.missed(),
            Phase::Leaves(_, fetch) => fetch.missed(ask),
            Phase::Idle => {}
        }
    }

    fn got(
        &mut self,
        peer: u64,
        ask: Ask,
        piece: Piece,
        evidence: &mut dyn Evidence,
    ) -> Result<(), Refused> {
        match &mut self.phase {
            Phase::Idle => Ok(()),
            Phase::State(fetch) => match fetch.got(ask, &piece, &self.snapshots) {
                Taken::Kept => Ok(()),
                Taken::Wrong(fault) => {
                    Err(Refused::Wrong(Wrong { peer: Some(peer), why: fault.to_string() }))
                }
                Taken::Disk(fault) => Err(Refused::Disk(fault.to_string())),
            },
            Phase::Vouching(offer, vouching) => {
                let (offer, wanted) = (*offer, (&self.origin, offer.descriptor.leaf_count));
                let vouched = vouching.got(ask, &piece, wanted, evidence)?;
                if let Some(vouched) = vouched {
                    self.phase = Phase::Leaves(offer, LeavesFetch::new(vouched, evidence.size()));
                }
                Ok(())
            }
            Phase::Leaves(_, fetch) => {
                fetch.got(ask, piece, evidence).map_err(|fault| match fault {
                    Fault::Wrong(wrong) => Refused::Wrong(wrong),
                    Fault::Short => Refused::NotYet,
                })
            }
        }
    }

    /// Goes from phase to phase as far as everything is here.
    fn advance(&mut self, evidence: &mut dyn Evidence) {
        if matches!(&self.phase, Phase::State(fetch) if fetch.is_whole()) {
            self.finish_state();
        }
        if let Phase::Leaves(_, fetch) = &mut self.phase
            && !fetch.is_own_evidence_fit(evidence)
        {
            return self.give_up("the own evidence is not the beginning of this log".into());
        }
        if matches!(&self.phase, Phase::Leaves(_, fetch) if fetch.is_done()) {
            self.finish_leaves(evidence);
        }
    }

    fn finish_state(&mut self) {
        let Phase::State(fetch) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        let offer = fetch.offer;
        match fetch.finish() {
            // A crash here leaves the whole snapshot: the next offer of it finds it.
            Ok(offer) => self.phase = Phase::Vouching(offer, Vouching::default()),
            Err(fault) => self.acts.push(Act::GaveUp { offer, why: fault.to_string() }),
        }
        self.forget_asks(|_| true);
    }

    fn finish_leaves(&mut self, evidence: &mut dyn Evidence) {
        let Phase::Leaves(offer, fetch) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        self.forget_asks(|_| true);
        // A crash here leaves leaves beyond the published checkpoint: start-up reads them back.
        if !fetch.publish(evidence) {
            let why = "the own evidence does not lead to the cosigned root".to_owned();
            self.acts.push(Act::GaveUp { offer, why });
            return;
        }
        // A crash here leaves snapshot and evidence, and a Raft log without them: the next offer
        // of this snapshot is installed at once.
        self.acts.push(Act::Install(offer));
        // If this one is too old for the leader by now, it offers another: most of that is here.
        self.newer = None;
    }

    fn ask_more(&mut self) {
        while self.under_way.len() < FETCHES_UNDER_WAY_MAX {
            let Some((ask, preferred)) = self.next_ask() else { return };
            let Some(peer) = self.peers.choose(preferred, self.now_ms) else { return };
            self.requests += 1;
            let request = self.requests;
            self.under_way.insert(request, (peer, Some(ask)));
            match &mut self.phase {
                Phase::State(fetch) => fetch.asked(ask),
                Phase::Vouching(_, vouching) => vouching.asked(peer),
                Phase::Leaves(_, fetch) => fetch.asked(ask, peer),
                Phase::Idle => {}
            }
            self.acts.push(Act::Ask { request, peer, ask });
        }
    }

    fn forget_asks(&mut self, is_forgotten: impl Fn(&Ask) -> bool) {
        for (_, ask) in self.under_way.values_mut() {
            *ask = ask.filter(|ask| !is_forgotten(ask));
        }
    }

    /// What to ask for, and of whom if that matters.
    fn next_ask(&mut self) -> Option<(Ask, Option<u64>)> {
        match &mut self.phase {
            Phase::Idle => None,
            Phase::State(fetch) => Some((fetch.next_ask()?, Some(fetch.offer.from))),
            Phase::Vouching(offer, vouching) => {
                let (ask, peer) = vouching.next_ask()?;
                Some((ask, peer.or(Some(offer.from))))
            }
            Phase::Leaves(_, fetch) => fetch.next_ask(),
        }
    }
}

/// Whether two asks are of one file: then one wrong piece makes the other worthless.
fn is_of_one_file(ask: &Ask, other: &Ask) -> bool {
    match (ask, other) {
        (Ask::LogPiece { file, .. }, Ask::LogPiece { file: other, .. }) => file == other,
        _ => false,
    }
}

/// Why a piece was not taken.
enum Refused {
    Wrong(Wrong),
    /// The peer's checkpoint does not cover the snapshot yet: the next one may.
    NotYet,
    Disk(String),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Wrong(why) => Refused::Wrong(Wrong { peer: None, why }),
            Refusal::NotYet => Refused::NotYet,
        }
    }
}
