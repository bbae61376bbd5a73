//! The evidence on its way: bundles of leaves with their blobs, several at once, taken in order.
//!
//! Tiles lead from the checkpoint's root down to each bundle, leaves lead to their blobs. In
//! memory: the tiles on the way down, a few bundles of leaves, and for each one piece of blobs; for
//! the one that is being taken, a few.

use std::collections::{BTreeSet, VecDeque};

use proofmark_evidence::limits::BLOB_BYTES_MAX;
use proofmark_evidence::{KnownTree, Leaf, LogFile, TILE_WIDTH, width_at};

use super::stream::FileStream;
use super::vouch::Vouched;
use super::{Ask, Evidence, Piece};
use crate::limits::{FETCH_BUNDLES_AHEAD_MAX, FETCH_PIECES_AHEAD_MAX};

/// Leaves that are being fetched, up to a checkpoint.
pub(super) struct LeavesFetch {
    vouched: Vouched,
    tree: KnownTree,
    tiles_asked: BTreeSet<LogFile>,
    tiles_peer: Option<u64>,
    /// Whether the own leaves before the first bundle are the beginning of this tree; None until
    /// the tiles can tell.
    is_own_fit: Option<bool>,
    bundles: VecDeque<Bundle>,
    /// The next bundle to begin with.
    next: u64,
}

/// One bundle on its way.
struct Bundle {
    index: u64,
    entries: FileStream,
    entries_bytes: Vec<u8>,
    /// Empty until they are here and judged.
    leaves: Vec<Leaf>,
    blobs: FileStream,
    blobs_bytes: Vec<u8>,
    /// Where in the blobs' file the bytes in hand begin.
    blobs_at: u64,
    /// How many leaves were handed on.
    taken: usize,
}

/// Why a piece was not taken.
pub(super) enum Fault {
    Wrong(Wrong),
    /// The peer's file ends too early: its leaves lag a moment behind the checkpoint.
    Short,
}

/// A piece that is not what it should be.
pub(super) struct Wrong {
    pub(super) peer: Option<u64>,
    pub(super) why: String,
}

impl LeavesFetch {
    /// From the end of the own evidence to a checkpoint that was judged.
    pub(super) fn new(vouched: Vouched, own_size: u64) -> LeavesFetch {
        let checkpoint = &vouched.signed.checkpoint;
        // All of it may be here: whoever publishes the checkpoint compares the root.
        let is_all_here = own_size >= checkpoint.size;
        let next =
            if is_all_here { checkpoint.size.div_ceil(TILE_WIDTH) } else { own_size / TILE_WIDTH };
        LeavesFetch {
            tree: KnownTree::new(checkpoint),
            vouched,
            tiles_asked: BTreeSet::new(),
            tiles_peer: None,
            is_own_fit: is_all_here.then_some(true),
            bundles: VecDeque::new(),
            next,
        }
    }

    /// All leaves are here: shows them. False: they are not what the checkpoint says.
    pub(super) fn publish(&self, evidence: &mut dyn Evidence) -> bool {
        evidence.publish(&self.vouched.transitions, &self.vouched.note)
    }

    pub(super) fn is_done(&self) -> bool {
        self.bundles.is_empty() && self.next * TILE_WIDTH >= self.tree.size()
    }

    /// The next piece to ask for, and the peer that should be asked.
    pub(super) fn next_ask(&mut self) -> Option<(Ask, Option<u64>)> {
        let of_bundle = |(place, bundle): (usize, &Bundle)| bundle.next_ask(place == 0);
        if let Some(ask) = self.bundles.iter().enumerate().find_map(of_bundle) {
            return Some(ask);
        }
        if self.next * TILE_WIDTH >= self.tree.size() {
            return None;
        }
        let missing = self.tree.missing(self.next);
        if missing.is_empty() {
            return self.begin_bundle();
        }
        let file = missing.into_iter().find(|file| !self.tiles_asked.contains(file))?;
        Some((Ask::LogPiece { file, at: 0 }, self.tiles_peer))
    }

    /// Not before the own leaves are known to be the beginning of this tree.
    fn begin_bundle(&mut self) -> Option<(Ask, Option<u64>)> {
        if self.bundles.len() >= FETCH_BUNDLES_AHEAD_MAX || self.is_own_fit != Some(true) {
            return None;
        }
        let bundle = Bundle::new(self.next, self.tree.size());
        self.next += 1;
        self.bundles.push_back(bundle);
        self.bundles.back().and_then(|bundle| bundle.next_ask(false))
    }

    pub(super) fn asked(&mut self, ask: Ask, peer: u64) {
        let Ask::LogPiece { file, at } = ask else { return };
        match self.stream(file) {
            Some(stream) => stream.asked(at, peer),
            None => {
                self.tiles_asked.insert(file);
                self.tiles_peer = Some(peer);
            }
        }
    }

    pub(super) fn missed(&mut self, ask: Ask) {
        let Ask::LogPiece { file, at } = ask else { return };
        match self.stream(file) {
            Some(stream) => stream.missed(at),
            None => {
                self.tiles_asked.remove(&file);
                self.tiles_peer = None;
            }
        }
    }

    /// Takes a piece; leaves that are whole now go into the evidence.
    pub(super) fn got(
        &mut self,
        ask: Ask,
        piece: Piece,
        evidence: &mut dyn Evidence,
    ) -> Result<(), Fault> {
        let Ask::LogPiece { file, at } = ask else { return Ok(()) };
        if let LogFile::Tile { .. } = file {
            return self.got_tile(file, &piece);
        }
        let Some(bundle) = self.bundles.iter_mut().find(|bundle| bundle.has(file)) else {
            return Ok(());
        };
        bundle.got(file, at, piece, &self.tree)?;
        self.take_leaves(evidence)
    }

    fn got_tile(&mut self, file: LogFile, piece: &Piece) -> Result<(), Fault> {
        self.tiles_asked.remove(&file);
        let LogFile::Tile { width, .. } = file else { return Ok(()) };
        // A wider one begins with the same hashes.
        let bytes = piece.bytes.get(..32 * width as usize).unwrap_or(&piece.bytes);
        if let Err(fault) = self.tree.learn(file, bytes) {
            let why = format!("{}: {fault}", fault.slug());
            return Err(Fault::Wrong(Wrong { peer: self.tiles_peer.take(), why }));
        }
        Ok(())
    }

    /// Looks as soon as the tiles can tell what the own leaves must come to.
    pub(super) fn is_own_evidence_fit(&mut self, evidence: &mut dyn Evidence) -> bool {
        if self.is_own_fit.is_none() && self.tree.missing(self.next).is_empty() {
            let (size, root) = (self.next * TILE_WIDTH, self.tree.root_before(self.next));
            self.is_own_fit = root.map(|root| evidence.has_root(size, root));
        }
        self.is_own_fit != Some(false)
    }

    /// The first bundle's leaves, as far as their blobs are here; then the next one's.
    fn take_leaves(&mut self, evidence: &mut dyn Evidence) -> Result<(), Fault> {
        while let Some(bundle) = self.bundles.front_mut() {
            let first = bundle.index * TILE_WIDTH + bundle.taken as u64;
            let (leaves, fault) = bundle.take_leaves();
            if !leaves.is_empty() {
                evidence.adopt(first, leaves);
            }
            if let Some(fault) = fault {
                return Err(fault);
            }
            if !bundle.is_taken() {
                return Ok(());
            }
            self.bundles.pop_front();
            let needed = self.bundles.front().map_or(self.next, |bundle| bundle.index);
            self.tree.forget_before(needed);
        }
        Ok(())
    }

    fn stream(&mut self, file: LogFile) -> Option<&mut FileStream> {
        self.bundles.iter_mut().find_map(|bundle| bundle.stream(file))
    }
}

impl Bundle {
    fn new(index: u64, size: u64) -> Bundle {
        let width = width_at(0, index, size);
        Bundle {
            index,
            entries: FileStream::new(LogFile::Entries { index, width }),
            entries_bytes: Vec::new(),
            leaves: Vec::new(),
            blobs: FileStream::new(LogFile::Payload { index }),
            blobs_bytes: Vec::new(),
            blobs_at: 0,
            taken: 0,
        }
    }

    fn has(&self, file: LogFile) -> bool {
        self.entries.file == file || self.blobs.file == file
    }

    fn stream(&mut self, file: LogFile) -> Option<&mut FileStream> {
        [&mut self.entries, &mut self.blobs].into_iter().find(|stream| stream.file == file)
    }

    fn width(&self) -> usize {
        match self.entries.file {
            LogFile::Entries { width, .. } => width as usize,
            _ => unreachable!("the entries of a bundle are entries"),
        }
    }

    fn is_taken(&self) -> bool {
        self.taken == self.width()
    }

    fn next_ask(&self, is_first: bool) -> Option<(Ask, Option<u64>)> {
        let ahead = if is_first { FETCH_PIECES_AHEAD_MAX } else { 1 };
        let of = |stream: &FileStream, ahead| Some((stream.next_ask(ahead)?, stream.peer));
        if self.leaves.is_empty()
            && let Some(ask) = of(&self.entries, FETCH_PIECES_AHEAD_MAX)
        {
            return Some(ask);
        }
        of(&self.blobs, ahead)
    }

    fn got(&mut self, file: LogFile, at: u64, piece: Piece, tree: &KnownTree) -> Result<(), Fault> {
        let Some(stream) = self.stream(file) else { return Ok(()) };
        let peer = stream.peer;
        let wrong = |why| Fault::Wrong(Wrong { peer, why: format!("{}: {why}", file.path()) });
        stream.got(at, piece).map_err(wrong)?;
        if let LogFile::Entries { .. } = file { self.read_leaves(tree) } else { Ok(()) }
    }

    /// Judges the leaves once all of them are here.
    fn read_leaves(&mut self, tree: &KnownTree) -> Result<(), Fault> {
        while let Some(bytes) = self.entries.pull() {
            self.entries_bytes.extend_from_slice(&bytes);
        }
        let items = first_entries(&self.entries_bytes, self.width());
        let judged = match items {
            Some(items) => judge(tree, self.index, &items).map(|leaves| self.leaves = leaves),
            None if self.entries.is_short() => Err("fewer leaves than its width".to_owned()),
            None => return Ok(()),
        };
        if let Err(why) = judged {
            let why = format!("{}: {why}", self.entries.file.path());
            let peer = self.entries.peer;
            self.entries.restart(0);
            self.entries_bytes.clear();
            return Err(Fault::Wrong(Wrong { peer, why }));
        }
        self.entries_bytes = Vec::new();
        Ok(())
    }

    /// The next leaves whose blobs are here, and what was wrong with the one after them.
    fn take_leaves(&mut self) -> (Vec<(Leaf, Vec<u8>)>, Option<Fault>) {
        let mut taken = Vec::new();
        while let Some(leaf) = self.leaves.get(self.taken).cloned() {
            let Some(blob) = self.next_blob() else { break };
            let judged = blob.and_then(|blob| judge_blob(&leaf, &blob).map(|()| blob));
            match judged {
                Ok(blob) => {
                    self.blobs_at += 4 + blob.len() as u64;
                    self.taken += 1;
                    taken.push((leaf, blob));
                }
                Err(why) => return (taken, Some(self.wrong_blob(&why))),
            }
        }
        let is_short = !self.leaves.is_empty() && !self.is_taken() && self.blobs.is_short();
        if is_short {
            self.blobs.restart(self.blobs_at);
            self.blobs_bytes.clear();
        }
        (taken, is_short.then_some(Fault::Short))
    }

    fn wrong_blob(&mut self, why: &str) -> Fault {
        let (peer, path) = (self.blobs.peer, self.blobs.file.path());
        self.blobs.restart(self.blobs_at);
        self.blobs_bytes.clear();
        Fault::Wrong(Wrong { peer, why: format!("{path}: blob of leaf {}: {why}", self.taken) })
    }

    /// The next blob, if it is here.
    fn next_blob(&mut self) -> Option<Result<Vec<u8>, String>> {
        let len = u32::from_be_bytes(self.blob_bytes(4)?.try_into().expect("four bytes")) as usize;
        if len > BLOB_BYTES_MAX {
            return Some(Err(format!("expected at most {BLOB_BYTES_MAX} bytes, got {len}")));
        }
        self.blob_bytes(4 + len)?;
        Some(Ok(self.blobs_bytes.drain(..4 + len).skip(4).collect()))
    }

    /// The first bytes of those in hand, as soon as there are so many.
    fn blob_bytes(&mut self, len: usize) -> Option<&[u8]> {
        while self.blobs_bytes.len() < len {
            let bytes = self.blobs.pull()?;
            self.blobs_bytes.extend_from_slice(&bytes);
        }
        Some(&self.blobs_bytes[..len])
    }
}

/// The first items of a bundle of leaves, if there are so many whole ones.
fn first_entries(bytes: &[u8], count: usize) -> Option<Vec<&[u8]>> {
    let mut rest = bytes;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let (len, after) = rest.split_first_chunk()?;
        let (item, after) = after.split_at_checked(u16::from_be_bytes(*len).into())?;
        items.push(item);
        rest = after;
    }
    Some(items)
}

fn judge(tree: &KnownTree, bundle: u64, items: &[&[u8]]) -> Result<Vec<Leaf>, String> {
    tree.judge_leaves(bundle, items).map_err(|fault| fault.to_string())?;
    let leaves = items.iter().map(|item| Leaf::parse(*item));
    leaves.collect::<Result<_, _>>().map_err(|fault| fault.to_string())
}

/// A leaf is believed by now; its header says what its blob must be.
fn judge_blob(leaf: &Leaf, blob: &[u8]) -> Result<(), String> {
    let header = leaf.header().map_err(|fault| fault.to_string())?;
    match header.payload() {
        Some(expected) => expected.check(blob).map_err(|fault| fault.to_string()),
        None if blob.is_empty() => Ok(()),
        None => Err(format!("expected none, got {} bytes", blob.len())),
    }
}
