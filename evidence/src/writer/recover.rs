//! Opening a log: from whatever a crash left to a writer that could have been running all along.

use std::collections::BTreeSet;
use std::io;

use super::edge::Edge;
use super::files::FileOps;
use super::{LogWriter, WriterFault, disk_fault, transition};
use crate::checkpoint::SignedCheckpoint;
use crate::hash::Hash;
use crate::layout::{CHECKPOINT_FILE, LogFile, POLICY_FILE, SCRATCH_DIR, parse_width};
use crate::limits::{LEVELS_COUNT_MAX, SYNC_BUNDLES_COUNT_MAX};
use crate::merkle::leaf_hash;
use crate::name::Origin;
use crate::policy::Policy;
use crate::tile::{
    Prefix, TILE_WIDTH, TileFault, first_items, hashes_at, leaf_hashes, parse_entries, parse_tile,
};

impl LogWriter {
    /// As [`LogWriter::open`], over any files.
    pub fn open_in(mut files: Box<dyn FileOps>) -> Result<LogWriter, WriterFault> {
        empty_scratch(&mut *files)?;
        let policy_text = read_text(&*files, POLICY_FILE)?.ok_or(WriterFault::NotLog)?;
        // Empty between two writes: a copy of the log may come without it.
        files.make_dir(SCRATCH_DIR).map_err(|error| disk_fault(SCRATCH_DIR, &error))?;
        // Whoever made the log may have been killed before this name was durable.
        files.sync_dir("").map_err(|error| disk_fault("", &error))?;
        let found = Policy::parse(&policy_text)?;
        let origin = sole_origin(&found)?;
        let note = read_text(&*files, CHECKPOINT_FILE)?;
        let (transitions, policy) = transition::open(&mut *files, found, note.as_deref())?;
        let published = note.map(|note| open_checkpoint(&note, &policy)).transpose()?;
        let size = published.as_ref().map_or(0, |signed| signed.checkpoint.size);
        let edge = load_edge(&*files, size)?;
        let partials = Edge::partials_at(size).into_iter().collect();
        let mut writer = LogWriter {
            files,
            origin,
            policy,
            transitions,
            edge,
            durable_size: size,
            published,
            partials,
            durable_dirs: BTreeSet::new(),
            is_stopped: false,
        };
        writer.check_published_root()?;
        writer.recover_tail()?;
        writer.sync()?;
        writer.clear_beyond_edge()?;
        Ok(writer)
    }

    fn check_published_root(&self) -> Result<(), WriterFault> {
        let Some(signed) = &self.published else { return Ok(()) };
        let (expected, got) = (signed.checkpoint.root, self.root());
        if got != expected {
            return Err(damaged("tile", format!("root {expected}"), format!("root {got}")));
        }
        Ok(())
    }

    /// Appends the leaves that lie on disk beyond the checkpoint. Their blobs were durable first.
    fn recover_tail(&mut self) -> Result<(), WriterFault> {
        loop {
            let (index, known) = (self.size() / TILE_WIDTH, self.size() % TILE_WIDTH);
            let Some((file, bytes)) = widest_entries(&*self.files, index, known + 1)? else {
                return Ok(());
            };
            self.recover_bundle(file, &bytes, known as usize)?;
            if !self.size().is_multiple_of(TILE_WIDTH) {
                return Ok(());
            }
            if self.edge.full_entries.len() as u64 == SYNC_BUNDLES_COUNT_MAX {
                self.sync()?;
            }
        }
    }

    fn recover_bundle(
        &mut self,
        file: LogFile,
        bytes: &[u8],
        known: usize,
    ) -> Result<(), WriterFault> {
        let LogFile::Entries { index, width } = file else {
            unreachable!("only bundles of leaves are recovered")
        };
        let leaves =
            parse_entries(bytes, width).map_err(|fault| tile_damage(&file.path(), &fault))?;
        let payload_path = LogFile::Payload { index }.path();
        let payload = read(&*self.files, &payload_path)?.unwrap_or_default();
        let (blobs, _) = first_items(Prefix::Blob, &payload, width)
            .map_err(|fault| tile_damage(&payload_path, &fault))?;
        for (leaf, blob) in leaves.iter().zip(blobs).skip(known) {
            self.edge.append_recovered(leaf, leaf_hash(leaf), blob.len());
        }
        Ok(())
    }

    /// Cuts the growing payload bundle to its last leaf, and removes files that a crash kept
    /// although it lost the ones before them, and narrow files that nobody needs.
    fn clear_beyond_edge(&mut self) -> Result<(), WriterFault> {
        let edge_index = self.size() / TILE_WIDTH;
        let payload = self.edge.payload();
        let (path, len) = (LogFile::Payload { index: edge_index }.path(), payload.durable_len);
        if len == 0 {
            self.remove(&path)?;
        } else if read(&*self.files, &path)?.is_some_and(|bytes| bytes.len() as u64 > len) {
            self.files.append(&path, len, &[]).map_err(|error| disk_fault(&path, &error))?;
        }
        for index in edge_index + 1..=edge_index + SYNC_BUNDLES_COUNT_MAX {
            self.remove(&LogFile::Payload { index }.path())?;
            self.remove(&LogFile::Entries { index, width: TILE_WIDTH }.path())?;
        }
        self.clear_partials()
    }

    /// Looks as far to both sides of the edge as one sync reaches.
    fn clear_partials(&mut self) -> Result<(), WriterFault> {
        let needed = self.needed_partials();
        for level in 0..LEVELS_COUNT_MAX {
            let edge_index = hashes_at(level, self.size()) / TILE_WIDTH;
            let reach = if level == 0 { SYNC_BUNDLES_COUNT_MAX } else { 1 };
            for index in edge_index.saturating_sub(reach)..=edge_index + reach {
                self.clear_partials_of(LogFile::Tile { level, index, width: TILE_WIDTH }, &needed)?;
                if level == 0 {
                    self.clear_partials_of(LogFile::Entries { index, width: TILE_WIDTH }, &needed)?;
                }
            }
        }
        Ok(())
    }

    fn clear_partials_of(
        &mut self,
        file: LogFile,
        needed: &BTreeSet<LogFile>,
    ) -> Result<(), WriterFault> {
        let dir = file.partials_dir();
        let names = self.files.list(&dir).map_err(|error| disk_fault(&dir, &error))?;
        let widths = names.iter().filter_map(|name| parse_width(name));
        for file in widths.map(|width| file.with_width(width)) {
            if !needed.contains(&file) {
                self.remove(&file.path())?;
            }
        }
        Ok(())
    }
}

/// A log's directory is one log's: its policy names that log and no other.
pub(super) fn sole_origin(policy: &Policy) -> Result<Origin, WriterFault> {
    let origins: Vec<&str> = policy.origins().collect();
    let fault = || WriterFault::OtherLog {
        expected: "named in the policy".to_owned(),
        got: format!("{} of them", origins.len()),
    };
    match *origins.as_slice() {
        [origin] => Origin::parse(origin).map_err(|_| fault()),
        _ => Err(fault()),
    }
}

fn open_checkpoint(note: &str, policy: &Policy) -> Result<SignedCheckpoint, WriterFault> {
    let fault = |got: String| damaged(CHECKPOINT_FILE, "our checkpoint".to_owned(), got);
    let signed = SignedCheckpoint::parse(note).map_err(|error| fault(error.to_string()))?;
    policy.check(&signed).map_err(|error| fault(error.to_string()))?;
    Ok(signed)
}

/// The growing ends of all files at the checkpoint's size.
fn load_edge(files: &dyn FileOps, size: u64) -> Result<Edge, WriterFault> {
    let mut tiles = Vec::new();
    for level in (0..LEVELS_COUNT_MAX).take_while(|level| hashes_at(*level, size) > 0) {
        let hashes = hashes_at(level, size);
        let (index, width) = (hashes / TILE_WIDTH, hashes % TILE_WIDTH);
        tiles.push(match width {
            0 => Vec::new(),
            _ => load_tile(files, LogFile::Tile { level, index, width })?,
        });
    }
    let (index, width) = (size / TILE_WIDTH, size % TILE_WIDTH);
    if width == 0 {
        return Ok(Edge::at(size, tiles, &[], 0));
    }
    let file = LogFile::Entries { index, width };
    let bytes = read_at_least(files, file)?;
    let (leaves, _) = first_items(Prefix::Entry, &bytes, width)
        .map_err(|fault| tile_damage(&file.path(), &fault))?;
    if leaf_hashes(&leaves) != tiles[0] {
        return Err(damaged(&file.path(), "the leaves its tile hashes".into(), "others".into()));
    }
    let durable_len = load_payload_len(files, index, width)?;
    Ok(Edge::at(size, tiles, &leaves, durable_len))
}

fn load_tile(files: &dyn FileOps, file: LogFile) -> Result<Vec<Hash>, WriterFault> {
    let bytes = read_at_least(files, file)?;
    let mut hashes = parse_tile(&bytes, bytes.len() as u64 / 32)
        .map_err(|fault| tile_damage(&file.path(), &fault))?;
    let LogFile::Tile { width, .. } = file else { unreachable!("only tiles are loaded here") };
    if (hashes.len() as u64) < width {
        let (expected, got) = (format!("{width} hashes"), format!("{}", hashes.len()));
        return Err(damaged(&file.path(), expected, got));
    }
    hashes.truncate(width as usize);
    Ok(hashes)
}

/// How long the payload bundle is up to its first `count` blobs.
fn load_payload_len(files: &dyn FileOps, index: u64, count: u64) -> Result<u64, WriterFault> {
    let path = LogFile::Payload { index }.path();
    let bytes = read(files, &path)?.unwrap_or_default();
    let (_, rest) =
        first_items(Prefix::Blob, &bytes, count).map_err(|fault| tile_damage(&path, &fault))?;
    Ok((bytes.len() - rest.len()) as u64)
}

/// This narrow file, or the full one that has taken its place.
fn read_at_least(files: &dyn FileOps, file: LogFile) -> Result<Vec<u8>, WriterFault> {
    for candidate in [file, file.with_width(TILE_WIDTH)] {
        if let Some(bytes) = read(files, &candidate.path())? {
            return Ok(bytes);
        }
    }
    Err(damaged(&file.path(), "a file".to_owned(), "none".to_owned()))
}

/// The bundle of leaves with the most of them, if it holds at least `width_min`.
fn widest_entries(
    files: &dyn FileOps,
    index: u64,
    width_min: u64,
) -> Result<Option<(LogFile, Vec<u8>)>, WriterFault> {
    let full = LogFile::Entries { index, width: TILE_WIDTH };
    let dir = full.partials_dir();
    let names = files.list(&dir).map_err(|error| disk_fault(&dir, &error))?;
    let widths = names.iter().filter_map(|name| parse_width(name));
    let widest = widths.filter(|width| *width >= width_min).max();
    for file in std::iter::once(full).chain(widest.map(|width| full.with_width(width))) {
        if let Some(bytes) = read(files, &file.path())? {
            return Ok(Some((file, bytes)));
        }
    }
    Ok(None)
}

fn empty_scratch(files: &mut dyn FileOps) -> Result<(), WriterFault> {
    let names = files.list(SCRATCH_DIR).map_err(|error| disk_fault(SCRATCH_DIR, &error))?;
    names.iter().try_for_each(|name| {
        let path = format!("{SCRATCH_DIR}/{name}");
        files.remove(&path).map_err(|error| disk_fault(&path, &error))
    })
}

fn read(files: &dyn FileOps, path: &str) -> Result<Option<Vec<u8>>, WriterFault> {
    match files.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk_fault(path, &error)),
    }
}

pub(super) fn read_text(files: &dyn FileOps, path: &str) -> Result<Option<String>, WriterFault> {
    let Some(bytes) = read(files, path)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| damaged(path, "UTF-8".to_owned(), "other bytes".to_owned()))
}

fn tile_damage(file: &str, fault: &TileFault) -> WriterFault {
    damaged(file, "whole items".to_owned(), fault.to_string())
}

pub(super) fn damaged(file: &str, expected: String, got: String) -> WriterFault {
    WriterFault::Damaged { file: file.to_owned(), expected, got }
}
