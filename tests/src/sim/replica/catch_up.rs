//! Both sides of catching up: the real machine over this replica's recorder, and the pieces that
//! others are given.

use proofmark_aggregator::catchup::{Act, Ask, Event, Evidence, Missed, Offer, Piece};
use proofmark_aggregator::limits::SNAPSHOT_CHUNK_BYTES;
use proofmark_aggregator::recorder::Core;
use proofmark_aggregator::snapshot::Descriptor;
use proofmark_evidence::{
    Hash, Leaf, LogFile, Policy, TRANSITIONS_FILE, TileSource, Transition, read_at_least,
};

use super::{Replica, Up, snapshots};
use crate::sim::disk::EvidenceFiles;

/// After giving up, as `GAVE_UP_REST_MS`, and shorter: runs are short.
const REST_MS: u64 = 1_000;

impl Up {
    /// The newest offer of a leader, if it is still needed.
    pub(in crate::sim) fn needed_offer(&self, now_ms: u64) -> Option<Offer> {
        let offered = self.offer.as_ref().filter(|_| now_ms >= self.resting_until_ms)?;
        let is_needed = offered.meta.position.index > self.driver.status().commit;
        let descriptor = Descriptor::decode(&offered.meta.descriptor).ok()?;
        is_needed.then_some(Offer { from: offered.from, descriptor })
    }

    /// Something happened to the machine; what is to be asked of others comes out.
    ///
    /// # Errors
    /// The disk failed: the process ends.
    pub(in crate::sim) fn catch_up(
        &mut self,
        event: Event,
        now_ms: u64,
    ) -> Result<Vec<Act>, String> {
        // One thread records: what was ordered before comes first.
        self.record_all()?;
        let mut evidence = OwnEvidence { recorder: &mut self.recorder, fault: None };
        let mut acts = self.catching_up.take(event, now_ms, &mut evidence);
        evidence.fault.map_or(Ok(()), Err)?;
        acts.retain(|act| match act {
            Act::Ask { .. } => true,
            Act::Install(offer) => {
                let snapshot = self.snapshots.snapshot(offer.descriptor.position.index);
                snapshot.into_iter().for_each(|one| self.driver.install(snapshots::meta_of(&one)));
                false
            }
            Act::GaveUp { .. } => {
                self.resting_until_ms = now_ms + REST_MS;
                false
            }
        });
        Ok(acts)
    }
}

/// The recorder's evidence. After a fault it does nothing more: the process is about to end.
struct OwnEvidence<'a> {
    recorder: &'a mut Core,
    fault: Option<String>,
}

impl OwnEvidence<'_> {
    fn done<T: Default>(&mut self, done: Result<T, impl ToString>) -> T {
        done.unwrap_or_else(|fault| {
            self.fault.get_or_insert(fault.to_string());
            T::default()
        })
    }
}

impl Evidence for OwnEvidence<'_> {
    fn size(&self) -> u64 {
        self.recorder.status().size
    }

    fn believed(&self) -> Option<(u64, Policy)> {
        self.fault.is_none().then(|| self.recorder.believed())
    }

    fn has_root(&mut self, size: u64, root: Hash) -> bool {
        let has = self.recorder.has_root(size, root);
        self.done(has)
    }

    fn adopt(&mut self, first: u64, leaves: Vec<(Leaf, Vec<u8>)>) {
        if self.fault.is_none() {
            let adopted = self.recorder.adopt(first, leaves);
            self.done(adopted);
        }
    }

    fn publish(&mut self, transitions: &[Transition], note: &str) -> bool {
        if self.fault.is_some() {
            return false;
        }
        let published = self.recorder.adopt_checkpoint(transitions, note);
        self.done(published)
    }
}

impl Replica {
    /// What a peer is given, as `catchup/serve.rs` has it.
    pub(in crate::sim) fn serve(&self, ask: &Ask) -> Result<Piece, Missed> {
        let up = self.up.as_ref().ok_or(Missed::Lost)?;
        let files = EvidenceFiles::new(&self.disk, "evidence");
        let snapshot = |index| up.snapshots.snapshot(index).map_err(|_| Missed::Gone);
        match *ask {
            Ask::Checkpoint => Ok(whole(up.recorder.note().into_bytes())),
            Ask::Transitions { at } => match TileSource::read(&files, TRANSITIONS_FILE) {
                Ok(bytes) => piece_of(&bytes, at),
                Err(_) => Ok(whole(Vec::new())),
            },
            Ask::SnapshotHead { index } => Ok(whole(snapshot(index)?.head_bytes())),
            Ask::SnapshotChunk { index, number } => {
                snapshot(index)?.chunk(number).map(whole).map_err(|_| Missed::Gone)
            }
            Ask::LogPiece { file: file @ LogFile::Payload { .. }, at } => {
                let bytes = TileSource::read(&files, &file.path()).map_err(|_| Missed::Gone)?;
                piece_of(&bytes, at)
            }
            Ask::LogPiece { file, at } => {
                let (_, bytes) = read_at_least(&files, file).map_err(|_| Missed::Gone)?;
                piece_of(&bytes, at)
            }
        }
    }
}

fn piece_of(bytes: &[u8], at: u64) -> Result<Piece, Missed> {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let piece = rest[..rest.len().min(SNAPSHOT_CHUNK_BYTES)].to_vec();
    match piece.is_empty() {
        true => Err(Missed::Gone),
        false => Ok(Piece { bytes: piece.into(), total: bytes.len() as u64 }),
    }
}

fn whole(bytes: Vec<u8>) -> Piece {
    Piece { total: bytes.len() as u64, bytes: bytes.into() }
}
