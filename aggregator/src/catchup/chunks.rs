//! The state on its way: head first, then chunks in any order.

use std::collections::BTreeSet;

use super::{Ask, Offer, Piece};
use crate::snapshot::{Part, SnapshotFault, SnapshotStore};

/// A snapshot that is being fetched.
pub(super) struct StateFetch {
    pub(super) offer: Offer,
    /// None until the head is here.
    part: Option<Part>,
    asked: BTreeSet<Ask>,
}

/// What became of a piece of the snapshot.
pub(super) enum Taken {
    Kept,
    /// The peer sent something else.
    Wrong(SnapshotFault),
    /// The own disk refused.
    Disk(SnapshotFault),
}

impl StateFetch {
    /// Goes on with what an earlier start has left.
    pub(super) fn new(offer: Offer, store: &SnapshotStore) -> StateFetch {
        let part = store.resume(&offer.descriptor);
        if let Some(part) = &part {
            let (missing, chunks) = (part.missing().len(), offer.descriptor.chunk_count());
            tracing::info!(missing, chunks, "the fetching of a snapshot goes on");
        }
        StateFetch { offer, part, asked: BTreeSet::new() }
    }

    pub(super) fn next_ask(&self) -> Option<Ask> {
        let index = self.offer.descriptor.position.index;
        let Some(part) = &self.part else {
            let head = Ask::SnapshotHead { index };
            return (!self.asked.contains(&head)).then_some(head);
        };
        let asks =
            part.missing().iter().map(|number| Ask::SnapshotChunk { index, number: *number });
        asks.into_iter().find(|ask| !self.asked.contains(ask))
    }

    pub(super) fn asked(&mut self, ask: Ask) {
        self.asked.insert(ask);
    }

    pub(super) fn missed(&mut self, ask: Ask) {
        self.asked.remove(&ask);
    }

    pub(super) fn got(&mut self, ask: Ask, piece: &Piece, store: &SnapshotStore) -> Taken {
        self.asked.remove(&ask);
        let kept = match (ask, &mut self.part) {
            (Ask::SnapshotHead { .. }, None) => {
                let begun = store.begin(&self.offer.descriptor, &piece.bytes);
                begun.map(|part| self.part = Some(part))
            }
            (Ask::SnapshotChunk { number, .. }, Some(part)) => part.put(number, &piece.bytes),
            _ => Ok(()),
        };
        match kept {
            Ok(()) => Taken::Kept,
            Err(fault @ SnapshotFault::Disk { .. }) => Taken::Disk(fault),
            Err(fault) => Taken::Wrong(fault),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.missing().is_empty())
    }

    /// Makes the whole snapshot durable.
    pub(super) fn finish(self) -> Result<Offer, SnapshotFault> {
        self.part.expect("a whole snapshot has its part").finish()?;
        Ok(self.offer)
    }
}
