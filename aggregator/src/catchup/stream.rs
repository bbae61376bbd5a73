//! One file of a peer's evidence, fetched piece by piece from one peer, handed on in order.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proofmark_evidence::LogFile;

use super::{Ask, Piece};
use crate::limits::SNAPSHOT_CHUNK_BYTES;

/// A file on its way. All of it comes from one peer, so that a wrong byte has a name.
#[derive(Debug)]
pub(super) struct FileStream {
    pub(super) file: LogFile,
    pub(super) peer: Option<u64>,
    /// Of the whole file, once a piece has said so. The last blob bundle may still grow.
    total: Option<u64>,
    asked: BTreeSet<u64>,
    arrived: BTreeMap<u64, Bytes>,
    /// Handed on up to here.
    next: u64,
}

impl FileStream {
    pub(super) fn new(file: LogFile) -> FileStream {
        let (asked, arrived) = (BTreeSet::new(), BTreeMap::new());
        FileStream { file, peer: None, total: None, asked, arrived, next: 0 }
    }

    /// The next piece to ask for, if fewer than `ahead` are on their way or waiting. Before the
    /// first has come nobody knows whether there is a second.
    pub(super) fn next_ask(&self, ahead: usize) -> Option<Ask> {
        let ahead = if self.total.is_some() { ahead as u64 } else { 1 };
        let total = self.total.unwrap_or(u64::MAX);
        let piece = SNAPSHOT_CHUNK_BYTES as u64;
        let wanted = (0..ahead).map(|place| self.next + place * piece);
        let is_open = |at: &u64| !self.asked.contains(at) && !self.arrived.contains_key(at);
        let at = wanted.take_while(|at| *at < total).find(is_open)?;
        Some(Ask::LogPiece { file: self.file, at })
    }

    pub(super) fn asked(&mut self, at: u64, peer: u64) {
        self.asked.insert(at);
        self.peer = Some(peer);
    }

    /// Takes a piece.
    ///
    /// # Errors
    /// It is not as long as a piece from there is.
    pub(super) fn got(&mut self, at: u64, piece: Piece) -> Result<(), String> {
        self.asked.remove(&at);
        let rest = piece.total.saturating_sub(at);
        let (expected, got) = (rest.min(SNAPSHOT_CHUNK_BYTES as u64), piece.bytes.len() as u64);
        if expected != got || got == 0 {
            return Err(format!("expected {expected} bytes at {at} of {}, got {got}", piece.total));
        }
        self.total = self.total.max(Some(piece.total));
        self.arrived.insert(at, piece.bytes);
        Ok(())
    }

    pub(super) fn missed(&mut self, at: u64) {
        self.asked.remove(&at);
        if self.asked.is_empty() {
            // Another peer may go on: what has come is judged by what it is, not by who sent it.
            self.peer = None;
        }
    }

    /// The next bytes in order, if they are here.
    pub(super) fn pull(&mut self) -> Option<Bytes> {
        let bytes = self.arrived.remove(&self.next)?;
        self.next += bytes.len() as u64;
        // A growing file was longer when it was asked again: pieces from the middle of others.
        self.arrived = self.arrived.split_off(&self.next);
        Some(bytes)
    }

    /// Whether the file, as long as it was, has been handed on, and more of it is needed.
    pub(super) fn is_short(&self) -> bool {
        self.total.is_some_and(|total| self.next >= total)
    }

    /// Begins again at `at`, from any peer. Answers to what was asked are not waited for.
    pub(super) fn restart(&mut self, at: u64) {
        *self = FileStream { next: at, ..FileStream::new(self.file) };
    }
}
