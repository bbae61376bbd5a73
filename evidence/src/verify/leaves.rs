//! Leaves and their blobs, bundle by bundle: by their hashes as far as the tiles above can be
//! believed, and by the rules.

use super::Verifier;
use super::rules::{Broken, Place, broken, broken_by, check_payload};
use super::tree::width_of;
use crate::hash::Hash;
use crate::header::Header;
use crate::layout::{LogFile, SourceFault, widest_partial};
use crate::leaf::Leaf;
use crate::limits::WRITER_WAITS_COUNT_MAX;
use crate::merkle::leaf_hash;
use crate::seal::OpenBatch;
use crate::tile::{Items, Prefix, TILE_WIDTH, TileFault, exact_items, first_items};

/// Leaves of one bundle to be judged.
pub(super) struct Bundle {
    pub(super) index: u64,
    /// How many leaves, and how many of these were judged before.
    pub(super) width: u64,
    pub(super) known: u64,
    pub(super) is_published: bool,
}

/// One leaf as it was found.
struct Found<'b> {
    index: u64,
    file: LogFile,
    bytes: &'b [u8],
    /// Its hash by the tile above; `None` when that cannot be believed.
    expected: Option<Hash>,
    /// `None` when the payload bundle cannot be read, which is reported once.
    blob: Option<&'b [u8]>,
    is_published: bool,
}

impl Verifier<'_> {
    /// Leaves beyond the checkpoint, where the source can tell that there are some. Each must be
    /// as sound as a published one, but nobody is shown it.
    pub(super) fn check_tail(&mut self) {
        self.rules.stop_counting();
        if self.source.list("").is_ok() {
            self.extend_tail();
            self.check_payload_end();
        }
    }

    /// Takes in what has come since: a running node adds leaves while we look.
    pub(super) fn extend_tail(&mut self) {
        while let Some(bundle) = self.tail_bundle(self.end()) {
            self.check_bundle(&bundle, None);
            self.unpublished = bundle.index * TILE_WIDTH + bundle.width - self.size;
        }
    }

    fn tail_bundle(&self, end: u64) -> Option<Bundle> {
        let (index, known) = (end / TILE_WIDTH, end % TILE_WIDTH);
        let full = LogFile::Entries { index, width: TILE_WIDTH };
        let is_full = !matches!(self.source.read(&full.path()), Err(SourceFault::NotFound { .. }));
        let width = if is_full {
            TILE_WIDTH
        } else {
            width_of(widest_partial(self.source, full.with_width(known + 1))?)
        };
        Some(Bundle { index, width, known, is_published: false })
    }

    /// The last payload bundle ends with the last leaf's blob.
    fn check_payload_end(&mut self) {
        while let Some(fault) = self.trailing_blobs() {
            let file = LogFile::Payload { index: self.end() / TILE_WIDTH };
            if !self.await_leaves() {
                self.note::<()>(file, Err(fault));
                return;
            }
        }
    }

    /// Whether more leaves have come. A running node writes blobs a flush before their leaves, so
    /// blobs beyond the last leaf are its next step or junk: no look at their bytes tells, only
    /// time does. A writer that did nothing for so long is not waited for a second time.
    pub(super) fn await_leaves(&mut self) -> bool {
        let end = self.end();
        loop {
            self.extend_tail();
            if self.end() > end {
                self.waits_left = WRITER_WAITS_COUNT_MAX;
                return true;
            }
            if self.waits_left == 0 || !self.source.wait_for_writer() {
                return false;
            }
            self.waits_left -= 1;
        }
    }

    /// Full bundles were held to their end; this looks at the one that still grows.
    fn trailing_blobs(&self) -> Option<TileFault> {
        let (index, items) = (self.end() / TILE_WIDTH, self.end() % TILE_WIDTH);
        if items == 0 {
            return None;
        }
        let bytes = self.source.read(&LogFile::Payload { index }.path()).ok()?;
        match first_items(Prefix::Blob, &bytes, items).ok()? {
            (_, []) => None,
            (_, rest) => Some(TileFault::TrailingBytes { items, got: rest.len() }),
        }
    }

    pub(super) fn check_bundle(&mut self, bundle: &Bundle, hashes: Option<&[Hash]>) {
        let entries = self.read(LogFile::Entries { index: bundle.index, width: bundle.width });
        let payload = self.payload(bundle);
        let Some((file, bytes)) = entries else { return self.rules.skip() };
        let items = self.note(file, exact_items(Prefix::Entry, &bytes, width_of(file)));
        let Some(leaves) = items else { return self.rules.skip() };
        let blobs = self.blobs(bundle, &payload);
        for place in bundle.known as usize..bundle.width as usize {
            self.check_leaf(&Found {
                index: bundle.index * TILE_WIDTH + place as u64,
                file,
                bytes: leaves[place],
                expected: hashes.map(|hashes| hashes[place]),
                blob: blobs.get(place).copied(),
                is_published: bundle.is_published,
            });
        }
    }

    /// Read after the leaves, since a writer writes it before them. Empty when it is not there.
    fn payload(&mut self, bundle: &Bundle) -> Vec<u8> {
        let file = LogFile::Payload { index: bundle.index };
        if bundle.is_published {
            return self.read(file).map(|(_, bytes)| bytes).unwrap_or_default();
        }
        self.source.read(&file.path()).unwrap_or_default()
    }

    /// The blobs there are. Beyond the checkpoint some may not be there yet, as in a copy that
    /// was made while the log grew; nobody was promised them.
    fn blobs<'b>(&mut self, bundle: &Bundle, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let file = LogFile::Payload { index: bundle.index };
        if self.findings.blame(&file.path()) {
            return Vec::new();
        }
        let mut items = Items::new(Prefix::Blob, bytes);
        let found: Vec<&[u8]> = items.by_ref().take(bundle.width as usize).collect();
        let (expected, got) = (bundle.width, found.len() as u64);
        if bundle.is_published && got < expected {
            self.note::<()>(file, Err(TileFault::TooFewItems { expected, got }));
        }
        if got == TILE_WIDTH && !items.rest().is_empty() {
            let fault = TileFault::TrailingBytes { items: got, got: items.rest().len() };
            self.note::<()>(file, Err(fault));
        }
        found
    }

    fn check_leaf(&mut self, found: &Found<'_>) {
        match self.judge(found) {
            Ok((header, open)) if found.is_published => {
                let blob = found.blob.unwrap_or_default();
                self.visitor.leaf(found.index, &header, open.as_ref(), blob);
            }
            Ok(_) => {}
            Err(broken) => self.blame(found, broken),
        }
    }

    fn judge(&mut self, found: &Found<'_>) -> Result<(Header, Option<OpenBatch>), Broken> {
        let got = leaf_hash(found.bytes);
        if let Some(expected) = found.expected.filter(|expected| *expected != got) {
            self.rules.skip();
            return Err(broken("leaf_hash", expected.to_string(), got));
        }
        let parsed = Leaf::parse(found.bytes).inspect_err(|_| self.rules.skip());
        let leaf = parsed.map_err(|fault| broken_by(fault.slug(), &fault))?;
        let header = self.rules.leaf(found.index, &leaf)?;
        let open = found.blob.map(|blob| check_payload(&leaf, &header, blob)).transpose()?;
        Ok((header, open.flatten()))
    }

    fn blame(&mut self, found: &Found<'_>, broken: Broken) {
        let file = match broken.place {
            Place::Leaf => found.file,
            Place::Payload => LogFile::Payload { index: found.index / TILE_WIDTH },
        };
        let Broken { slug, expected, got, .. } = broken;
        self.findings.add_at(&file.path(), Some(found.index), slug, expected, got);
    }
}
