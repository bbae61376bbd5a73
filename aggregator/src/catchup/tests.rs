//! A follower has all of it at the end, proven, whatever its peers and its own power do meanwhile;
//! and nothing that does not lead to the cosigned root ever gets into its evidence.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use proofmark_evidence::{
    BlobRef, Checkpoint, Decision, DecisionKind, DirSource, KeyChange, KeyChangeKind, LeafKind,
    LogWriter, Policy, TILE_WIDTH, cosign, log_signature_line, sha256, verify_log,
};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::consensus::Membership;
use crate::consensus::Position;
use crate::limits::{FETCH_REST_WRONG_MS, FETCHES_UNDER_WAY_MAX, SNAPSHOT_CHUNK_BYTES};
use crate::snapshot::{About, DiskFiles, RowBytes, SnapshotStore};
use crate::state::fixture::{START_MS, log_key, node_key, node_name, nodes, origin};

const LEADER: u64 = 1;

fn policy() -> Policy {
    Policy::for_nodes(&origin(), &log_key().public(), &nodes(3)).unwrap()
}

/// Leaf `index`, and its blob. Some blobs are so large that a bundle takes several pieces.
fn leaf(index: u64) -> (Leaf, Vec<u8>) {
    let (log_id, key_id) = (origin().log_id(), log_key().public().key_id());
    if index == 0 {
        let (origin, log_key) = (origin(), log_key().public());
        let change = KeyChangeKind::Genesis { origin, log_key, nodes: nodes(3) };
        let header = KeyChange { log_id, key_id, at_ms: START_MS, change }.encode();
        return (Leaf::seal(LeafKind::KeyChange, &header, &self::log_key()).unwrap(), Vec::new());
    }
    let len = if index % 200 == 100 { 700_000 } else { 10 + index as usize % 7 };
    // A coverage decision with no rows, and junk after it: nobody here looks into a blob.
    let payload = vec![index as u8; len];
    let kind = DecisionKind::Coverage;
    let payload_ref = BlobRef::of(&payload);
    let header = Decision { log_id, key_id, at_ms: START_MS + index, kind, payload: payload_ref };
    (Leaf::seal(LeafKind::Decision, &header.encode(), &log_key()).unwrap(), payload)
}

fn note(checkpoint: &Checkpoint, cosigners: &[u8]) -> String {
    let text = checkpoint.to_text();
    let mut note = format!("{text}\n{}", log_signature_line(&origin(), &log_key(), &text));
    for node in cosigners {
        note.push_str(&cosign(&node_name(*node), &node_key(*node), START_MS / 1000, &text).line());
    }
    note
}

/// One replica's disk.
struct Disk {
    home: TempDir,
}

impl Disk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        LogWriter::create(&home.path().join("evidence"), &origin(), &policy().to_text()).unwrap();
        Disk { home }
    }

    fn evidence_dir(&self) -> std::path::PathBuf {
        self.home.path().join("evidence")
    }

    fn snapshots(&self) -> SnapshotStore {
        let files = DiskFiles::open(self.home.path().join("snapshots")).unwrap();
        SnapshotStore::open(Arc::new(files)).unwrap()
    }

    fn own(&self) -> Own {
        Own { writer: LogWriter::open(&self.evidence_dir()).unwrap(), has_diverged: false }
    }
}

/// The evidence of the replica that catches up, without the thread around it.
struct Own {
    writer: LogWriter,
    has_diverged: bool,
}

impl Evidence for Own {
    fn size(&self) -> u64 {
        self.writer.size()
    }

    fn has_root(&mut self, size: u64, root: Hash) -> bool {
        self.has_diverged |= self.writer.root_at(size).unwrap() != root;
        !self.has_diverged
    }

    fn adopt(&mut self, first: u64, leaves: Vec<(Leaf, Vec<u8>)>) {
        for (index, (leaf, blob)) in (first..).zip(leaves) {
            if index < self.writer.size() {
                assert_eq!(self.writer.leaf_hash(index).unwrap(), leaf.hash(), "leaf {index}");
            } else {
                assert_eq!(self.writer.append(&leaf, &blob), index);
            }
        }
    }

    fn believed(&self) -> Option<(u64, Policy)> {
        let size = self.writer.checkpoint().map_or(0, |signed| signed.checkpoint.size);
        Some((size, self.writer.policy().clone()))
    }

    fn publish(&mut self, transitions: &[Transition], note: &str) -> bool {
        self.writer.sync().unwrap();
        for next in transitions {
            let (note, policy) = (next.signed.to_text(), next.policy.to_text());
            self.writer.publish_transition(&note, &policy).unwrap();
        }
        self.writer.publish(note).is_ok()
    }
}

/// A replica that has it all.
struct Source {
    disk: Disk,
    published: watch::Sender<Arc<str>>,
    writer: LogWriter,
}

impl Source {
    fn new(size: u64) -> Self {
        let disk = Disk::new();
        let writer = LogWriter::open(&disk.evidence_dir()).unwrap();
        let mut source = Self { disk, published: watch::channel("".into()).0, writer };
        source.grow(size);
        source
    }

    /// More leaves, published.
    fn grow(&mut self, size: u64) {
        for index in self.writer.size()..size {
            let (leaf, blob) = leaf(index);
            self.writer.append(&leaf, &blob);
        }
        self.writer.sync().unwrap();
        self.publish(&[1, 2]);
    }

    fn publish(&mut self, cosigners: &[u8]) {
        let note = note(&self.checkpoint(), cosigners);
        // What a quorum did not sign no honest replica publishes; a liar says it all the same.
        let _ = self.writer.publish(&note);
        self.published.send_replace(note.into());
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: origin(), size: self.writer.size(), root: self.writer.root() }
    }

    fn shelf(&self) -> Shelf {
        let published = self.published.subscribe();
        Shelf::new(self.disk.snapshots(), self.disk.evidence_dir(), published)
    }

    /// A snapshot of four chunks or so.
    fn snapshot(&self, index: u64, leaf_count: u64) -> Offer {
        let position = Position { index, term: 1 };
        let membership = Membership { voters: [1, 2, 3].into(), ..Membership::default() };
        let about = About { log_id: origin().log_id(), position, membership, leaf_count };
        let descriptor = self.disk.snapshots().write(&about, &rows(index)).unwrap();
        Offer { from: LEADER, descriptor }
    }
}

fn rows(index: u64) -> Vec<RowBytes> {
    let row = |key: u8| (vec![key], vec![key ^ index as u8; SNAPSHOT_CHUNK_BYTES / 4 * 3]);
    (1..6).map(row).collect()
}

/// A follower, its peers, and what may happen to what they say.
struct World<'a> {
    disk: &'a Disk,
    machine: CatchUp,
    own: Own,
    shelves: BTreeMap<u64, Shelf>,
    asks: VecDeque<(u64, u64, Ask)>,
    asked: Vec<(u64, Ask)>,
    gave_up: Vec<String>,
    now_ms: u64,
}

/// What becomes of an answer on its way.
type Bend<'a> = &'a mut dyn FnMut(u64, &Ask, Piece) -> Result<Piece, Missed>;

fn honest(_: u64, _: &Ask, piece: Piece) -> Result<Piece, Missed> {
    Ok(piece)
}

impl<'a> World<'a> {
    fn new(disk: &'a Disk, sources: &[(u64, &Source)]) -> Self {
        let mut machine = CatchUp::new(origin(), disk.snapshots());
        machine.set_peers(&sources.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        Self {
            disk,
            machine,
            own: disk.own(),
            shelves: sources.iter().map(|(id, source)| (*id, source.shelf())).collect(),
            asks: VecDeque::new(),
            asked: Vec::new(),
            gave_up: Vec::new(),
            now_ms: 0,
        }
    }

    fn take(&mut self, event: Event) -> Option<Offer> {
        let mut installed = None;
        for act in self.machine.take(event, self.now_ms, &mut self.own) {
            match act {
                Act::Ask { request, peer, ask } => {
                    self.asks.push_back((request, peer, ask));
                    self.asked.push((peer, ask));
                }
                Act::Install(offer) => installed = Some(offer),
                Act::GaveUp { why, .. } => self.gave_up.push(why),
            }
        }
        assert!(self.asks.len() <= FETCHES_UNDER_WAY_MAX, "asks are bounded");
        installed
    }

    /// One answer, or a moment of time when none is under way.
    fn step(&mut self, bend: Bend<'_>) -> Option<Offer> {
        let Some((request, peer, ask)) = self.asks.pop_front() else {
            self.now_ms += 50;
            return self.take(Event::Ticked);
        };
        let piece = self.shelves[&peer].piece(&ask);
        let answer = match piece {
            Ok(piece) => bend(peer, &ask, piece),
            Err(Unavailable::Gone { .. }) => Err(Missed::Gone),
            Err(other) => panic!("{other}"),
        };
        self.take(Event::Answered { request, answer })
    }

    /// Until it may be installed, for so many steps at most.
    fn run(&mut self, steps: usize, bend: Bend<'_>) -> Option<Offer> {
        (0..steps).find_map(|_| self.step(bend))
    }

    fn check_whole(&self, offer: Offer, source: &Source) {
        assert_eq!(self.own.writer.root(), source.writer.root());
        assert_eq!(self.own.writer.durable_size(), source.writer.size());
        let rows: Vec<RowBytes> = self
            .disk
            .snapshots()
            .find(&offer.descriptor)
            .expect("the snapshot is whole")
            .rows()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows, self::rows(offer.descriptor.position.index));
        for bundle in 0..source.writer.size().div_ceil(TILE_WIDTH) {
            let path = LogFile::Payload { index: bundle }.path();
            let read = |disk: &Disk| std::fs::read(disk.evidence_dir().join(&path)).unwrap();
            assert!(read(self.disk) == read(&source.disk), "{path}");
        }
    }
}

/// Every file is what the checkpoint leads to; blobs too (their insides are junk on purpose).
fn check_evidence(dir: &Path) {
    let report = verify_log(&DirSource::new(dir), &policy(), &mut ());
    let serious: Vec<_> =
        report.faults.iter().filter(|fault| !fault.file.starts_with("payload/")).collect();
    assert!(serious.is_empty(), "{serious:?}");
    for fault in &report.faults {
        assert!(!["payload_len", "payload_digest"].contains(&fault.slug), "{fault}");
    }
}

#[test]
fn a_new_follower_fetches_everything_and_proves_it() {
    for size in [1, 256, 700] {
        let source = Source::new(size);
        let offer = source.snapshot(90, size - size / 5);
        let disk = Disk::new();
        let mut world = World::new(&disk, &[(LEADER, &source), (2, &source), (3, &source)]);
        assert_eq!(world.take(Event::Offered(offer)), None);
        assert_eq!(world.run(1_000, &mut honest), Some(offer), "{size}");
        world.check_whole(offer, &source);
        check_evidence(&disk.evidence_dir());
        assert!(world.machine.is_idle());
        let of_evidence = |(_, ask): &&(u64, Ask)| matches!(ask, Ask::LogPiece { .. });
        let peers: BTreeSet<u64> =
            world.asked.iter().filter(of_evidence).map(|(peer, _)| *peer).collect();
        assert!(size < 700 || peers.len() == 3, "the load is spread: {peers:?}");
        let asked_once: BTreeSet<_> = world.asked.iter().map(|(_, ask)| ask).collect();
        assert_eq!(asked_once.len(), world.asked.len(), "nothing is fetched twice");
    }
}

#[test]
fn a_follower_that_has_most_of_it_fetches_the_rest() {
    let mut source = Source::new(600);
    let disk = Disk::new();
    let old = source.snapshot(50, 600);
    let mut world = World::new(&disk, &[(LEADER, &source)]);
    world.take(Event::Offered(old));
    world.run(1_000, &mut honest).expect("the first catch-up");
    source.grow(1_100);
    let offer = source.snapshot(90, 1_000);
    world.asked.clear();
    world.take(Event::Offered(offer));
    assert_eq!(world.run(1_000, &mut honest), Some(offer));
    world.check_whole(offer, &source);
    let is_old = |(_, ask): &(u64, Ask)| match ask {
        Ask::LogPiece {
            file: LogFile::Entries { index, .. } | LogFile::Payload { index }, ..
        } => *index < 2,
        _ => false,
    };
    assert!(!world.asked.iter().any(is_old), "{:?}", world.asked);
    // The same offer again: all of it is here, and only a checkpoint is asked for.
    world.asked.clear();
    world.take(Event::Offered(offer));
    assert_eq!(world.run(10, &mut honest), Some(offer));
    assert!(world.asked.iter().all(|(_, ask)| is_small(ask)));
}

fn is_small(ask: &Ask) -> bool {
    matches!(ask, Ask::Checkpoint | Ask::Transitions { .. })
}

fn is_tile(ask: &Ask) -> bool {
    matches!(ask, Ask::LogPiece { file: LogFile::Tile { .. }, .. })
}

/// Kills the follower after every number of steps there is, and starts it again.
#[test]
fn a_follower_killed_anywhere_goes_on_where_it_was() {
    let source = Source::new(330);
    let offer = source.snapshot(90, 330);
    let whole = {
        let disk = Disk::new();
        let mut world = World::new(&disk, &[(LEADER, &source), (2, &source)]);
        world.take(Event::Offered(offer));
        world.run(1_000, &mut honest).unwrap();
        world.asked.len()
    };
    for killed_after in 0..whole {
        let disk = Disk::new();
        let mut world = World::new(&disk, &[(LEADER, &source), (2, &source)]);
        world.take(Event::Offered(offer));
        assert_eq!(world.run(killed_after, &mut honest), None);
        // Not every kill comes before a flush.
        if killed_after.is_multiple_of(2) {
            world.own.writer.sync().unwrap();
        }
        drop(world);
        let mut world = World::new(&disk, &[(LEADER, &source), (2, &source)]);
        world.take(Event::Offered(offer));
        assert_eq!(world.run(1_000, &mut honest), Some(offer), "killed after {killed_after}");
        world.check_whole(offer, &source);
        let chunks = |(_, ask): &&(u64, Ask)| matches!(ask, Ask::SnapshotChunk { .. });
        let (again, all) = (world.asked.iter().filter(chunks).count(), 4);
        // The head and some chunks came before; one answer a step.
        assert!(again <= (all + 1_usize).saturating_sub(killed_after).min(all), "{killed_after}");
    }
}

#[test]
fn what_a_lying_peer_sends_is_refused_and_another_is_asked() {
    type IsBent = fn(&Ask) -> bool;
    let lies: [(&str, IsBent); 5] = [
        ("head", |ask| matches!(ask, Ask::SnapshotHead { .. })),
        ("chunk", |ask| matches!(ask, Ask::SnapshotChunk { number: 2, .. })),
        ("tile", is_tile),
        ("leaves", |ask| matches!(ask, Ask::LogPiece { file: LogFile::Entries { .. }, .. })),
        ("blobs", |ask| matches!(ask, Ask::LogPiece { file: LogFile::Payload { .. }, .. })),
    ];
    let source = Source::new(330);
    let offer = source.snapshot(90, 330);
    for (what, is_bent) in lies {
        for place in [0, 40, 200] {
            let disk = Disk::new();
            let mut world = World::new(&disk, &[(LEADER, &source), (2, &source), (3, &source)]);
            let mut lied = 0;
            let mut bend = |peer: u64, ask: &Ask, piece: Piece| {
                if peer == 3 || !is_bent(ask) {
                    return Ok(piece);
                }
                lied += 1;
                let mut bytes = piece.bytes.to_vec();
                let place = place.min(bytes.len() - 1);
                bytes[place] ^= 0x10;
                Ok(Piece { bytes: bytes.into(), ..piece })
            };
            world.take(Event::Offered(offer));
            assert_eq!(world.run(3_000, &mut bend), Some(offer), "{what} bent at {place}");
            assert!(lied > 0, "{what}: nobody lied");
            world.check_whole(offer, &source);
        }
    }
}

#[test]
fn a_piece_cut_short_or_never_sent_costs_time_and_nothing_else() {
    let source = Source::new(560);
    let offer = source.snapshot(90, 560);
    for kind in 0..4 {
        let disk = Disk::new();
        let mut world = World::new(&disk, &[(LEADER, &source), (2, &source)]);
        let mut count = 0;
        let mut bend = |_: u64, ask: &Ask, piece: Piece| {
            count += 1;
            let is_hit = count % 3 == 0 && *ask != Ask::Checkpoint;
            match kind {
                _ if !is_hit => Ok(piece),
                0 => Ok(Piece { bytes: piece.bytes.slice(..piece.bytes.len() / 2), ..piece }),
                1 => Err(Missed::Lost),
                2 => Err(Missed::Busy),
                _ => Ok(Piece { total: piece.total + 1, ..piece }),
            }
        };
        world.take(Event::Offered(offer));
        assert_eq!(world.run(5_000, &mut bend), Some(offer), "kind {kind}");
        world.check_whole(offer, &source);
    }
}

#[test]
fn a_checkpoint_needs_its_quorum_and_must_cover_the_snapshot() {
    let mut source = Source::new(300);
    let offer = source.snapshot(90, 320);
    let disk = Disk::new();
    let mut world = World::new(&disk, &[(LEADER, &source)]);
    world.take(Event::Offered(offer));
    assert_eq!(world.run(200, &mut honest), None, "no checkpoint covers 320 leaves");
    assert_eq!(world.own.size(), 0, "nothing is believed before");
    source.grow(330);
    source.publish(&[1]);
    assert_eq!(world.run(200, &mut honest), None, "one of three is no quorum");
    assert_eq!(world.own.size(), 0);
    let other = Checkpoint { root: sha256(b"elsewhere"), ..source.checkpoint() };
    source.published.send_replace(note(&other, &[1, 3]).into());
    world.now_ms += FETCH_REST_WRONG_MS;
    // A quorum that lies cannot be helped; what it says does not fit the leaves, and none is taken.
    assert_eq!(world.run(200, &mut honest), None);
    assert_eq!(world.own.size(), 0);
}

#[test]
fn a_snapshot_that_is_gone_is_given_up_for_the_next_one() {
    let source = Source::new(300);
    let offer = source.snapshot(90, 300);
    let disk = Disk::new();
    let mut world = World::new(&disk, &[(LEADER, &source), (2, &source)]);
    world.take(Event::Offered(offer));
    world.run(3, &mut honest);
    source.disk.snapshots().prune(0).unwrap();
    let newer = [source.snapshot(100, 300), source.snapshot(110, 300)];
    source.disk.snapshots().prune(110).unwrap();
    assert_eq!(world.run(50, &mut honest), None);
    assert_eq!(world.gave_up.len(), 1, "{:?}", world.gave_up);
    assert!(world.machine.is_idle());
    world.take(Event::Offered(newer[1]));
    assert_eq!(world.run(1_000, &mut honest), Some(newer[1]));
    world.check_whole(newer[1], &source);
}

#[test]
fn a_newer_offer_takes_over_when_the_first_leader_is_gone() {
    let source = Source::new(300);
    let (offer, newer) = (source.snapshot(90, 300), source.snapshot(100, 300));
    let newer = Offer { from: 2, ..newer };
    let disk = Disk::new();
    let mut world = World::new(&disk, &[(LEADER, &source), (2, &source)]);
    let mut dead = |peer: u64, _: &Ask, piece: Piece| {
        if peer == LEADER { Err(Missed::Lost) } else { Ok(piece) }
    };
    world.take(Event::Offered(offer));
    world.take(Event::Offered(newer));
    assert_eq!(world.run(1_000, &mut dead), Some(newer));
    world.check_whole(newer, &source);
}

#[test]
fn own_evidence_that_is_another_log_s_is_noticed_before_anything_is_taken() {
    let source = Source::new(600);
    let offer = source.snapshot(90, 600);
    let disk = Disk::new();
    let mut world = World::new(&disk, &[(LEADER, &source)]);
    for index in 0..300 {
        let (leaf, blob) = leaf(index + 1);
        world.own.writer.append(&leaf, &blob);
    }
    world.take(Event::Offered(offer));
    assert_eq!(world.run(200, &mut honest), None);
    assert!(world.own.has_diverged);
    assert_eq!(world.own.size(), 300);
    assert_eq!(world.gave_up, ["the own evidence is not the beginning of this log"]);
}
