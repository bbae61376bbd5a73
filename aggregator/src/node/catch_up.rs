//! Catching up, wired to this node: who leads, whom to ask, what to install.

use std::sync::Arc;

use super::NodeFault;
use super::snapshots::meta_of;
use crate::catchup::{Answer, Ask, CatchUp, CatchUpThread, Cluster, Offer, RecorderEvidence};
use crate::clock::Clock;
use crate::consensus::{ConsensusHandle, PeerOutbox, SnapshotOffer};
use crate::identity::NodeIdentity;
use crate::meters::CatchUpMeter;
use crate::recorder::RecorderHandle;
use crate::snapshot::{Descriptor, SnapshotStore};

/// # Errors
/// The system has no thread left.
pub(super) fn start(
    identity: &NodeIdentity,
    snapshots: SnapshotStore,
    recorder: RecorderHandle,
    consensus: ConsensusHandle,
    (outbox, clock, meter): (PeerOutbox, Clock, Arc<CatchUpMeter>),
) -> Result<CatchUpThread, NodeFault> {
    let machine = CatchUp::new(identity.origin.clone(), snapshots.clone());
    let evidence = RecorderEvidence::new(recorder);
    let cluster = Box::new(Wired { snapshots, consensus, outbox });
    let started = CatchUpThread::start(machine, evidence, cluster, clock, meter);
    started.map_err(|why| NodeFault::room("catch_up")(&why))
}

struct Wired {
    snapshots: SnapshotStore,
    consensus: ConsensusHandle,
    outbox: PeerOutbox,
}

impl Wired {
    fn understood(offered: &SnapshotOffer) -> Option<Offer> {
        let descriptor = Descriptor::decode(&offered.meta.descriptor);
        let descriptor = descriptor.inspect_err(|why| {
            let from = offered.from;
            tracing::warn!(from, %why, "snapshot_descriptor: the leader offers what is none");
        });
        let descriptor = descriptor.ok()?;
        let is_of_it = descriptor.position == offered.meta.position;
        is_of_it.then_some(Offer { from: offered.from, descriptor })
    }
}

impl Cluster for Wired {
    /// What the log brought meanwhile needs no snapshot.
    fn offer(&mut self) -> Option<Offer> {
        let offered = self.consensus.snapshot_offer().borrow().clone()?;
        let commit = self.consensus.status().borrow().commit;
        if offered.meta.position.index <= commit { None } else { Wired::understood(&offered) }
    }

    fn peers(&self) -> Vec<u64> {
        self.outbox.peers()
    }

    fn fetch(&self, peer: u64, ask: Ask, answer: Answer) {
        self.outbox.fetch(peer, ask, answer);
    }

    fn install(&mut self, offer: Offer) {
        match self.snapshots.snapshot(offer.descriptor.position.index) {
            Ok(snapshot) => self.consensus.install(meta_of(&snapshot)),
            Err(why) => {
                tracing::error!(slug = why.slug(), %why, "the snapshot just fetched is gone")
            }
        }
    }
}
