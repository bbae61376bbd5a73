//! The other side: what a peer that catches up may have, read piece by piece.
//!
//! Only files whose bytes never change: chunks of snapshots (compared with their hashes before they
//! leave), tiles and bundles; and the newest published checkpoint.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use proofmark_evidence::{
    DirSource, LogFile, SourceFault, TRANSITIONS_FILE, TileSource, read_at_least,
};
use tokio::sync::watch;

use super::{Ask, Piece};
use crate::limits::SNAPSHOT_CHUNK_BYTES;
use crate::snapshot::{SnapshotFault, SnapshotStore};

/// What this replica can give to others. Reading blocks.
#[derive(Clone)]
pub struct Shelf {
    snapshots: SnapshotStore,
    evidence_dir: PathBuf,
    published: watch::Receiver<Arc<str>>,
}

/// Why a piece cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The caller asks another peer, or for something else.
    #[error("fetch_gone: {what}: expected something that is here, got nothing")]
    Gone { what: String },
    /// This replica's operator: what is here cannot be read, or is not what it was.
    #[error("fetch_damaged: {0}")]
    Damaged(String),
}

impl Unavailable {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "fetch_gone",
            Self::Damaged(_) => "fetch_damaged",
        }
    }
}

impl Shelf {
    /// `published` holds the newest published note; empty before the first.
    pub fn new(
        snapshots: SnapshotStore,
        evidence_dir: PathBuf,
        published: watch::Receiver<Arc<str>>,
    ) -> Shelf {
        Shelf { snapshots, evidence_dir, published }
    }

    /// # Errors
    /// It is not here, or not what it was.
    pub fn piece(&self, ask: &Ask) -> Result<Piece, Unavailable> {
        match *ask {
            Ask::Checkpoint => {
                let note = Arc::clone(&self.published.borrow());
                Ok(whole(note.as_bytes().to_vec()))
            }
            Ask::Transitions { at } => self.transitions(at),
            Ask::SnapshotHead { index } => Ok(whole(self.snapshots.snapshot(index)?.head_bytes())),
            Ask::SnapshotChunk { index, number } => {
                let snapshot = self.snapshots.snapshot(index)?;
                if number >= snapshot.descriptor().chunk_count() {
                    return Err(Unavailable::Gone { what: format!("{index}: chunk {number}") });
                }
                Ok(whole(snapshot.chunk(number)?))
            }
            Ask::LogPiece { file: file @ LogFile::Payload { .. }, at } => self.blobs(file, at),
            Ask::LogPiece { file, at } => self.whole_file(file, at),
        }
    }

    /// Most logs have none.
    fn transitions(&self, at: u64) -> Result<Piece, Unavailable> {
        match DirSource::new(&self.evidence_dir).read(TRANSITIONS_FILE) {
            Err(SourceFault::NotFound { .. }) => Ok(whole(Vec::new())),
            read => piece_of(read?, at, TRANSITIONS_FILE),
        }
    }

    /// Bundles of blobs are large: only the piece is read.
    fn blobs(&self, file: LogFile, at: u64) -> Result<Piece, Unavailable> {
        let path = file.path();
        let damaged = |fault: io::Error| match fault.kind() {
            io::ErrorKind::NotFound => Unavailable::Gone { what: path.clone() },
            _ => Unavailable::Damaged(format!("{path}: {fault}")),
        };
        let opened = File::open(self.evidence_dir.join(&path)).map_err(damaged)?;
        let total = opened.metadata().map_err(damaged)?.len();
        if at >= total {
            return Err(Unavailable::Gone { what: format!("{path} from {at}") });
        }
        let mut bytes = vec![0; (total - at).min(SNAPSHOT_CHUNK_BYTES as u64) as usize];
        opened.read_exact_at(&mut bytes, at).map_err(damaged)?;
        Ok(Piece { bytes: bytes.into(), total })
    }

    /// Tiles and bundles of leaves are at most a little more than one piece.
    fn whole_file(&self, file: LogFile, at: u64) -> Result<Piece, Unavailable> {
        let source = DirSource::new(&self.evidence_dir);
        let (_, bytes) = read_at_least(&source as &dyn TileSource, file)?;
        piece_of(bytes, at, &file.path())
    }
}

fn piece_of(bytes: Vec<u8>, at: u64, path: &str) -> Result<Piece, Unavailable> {
    let total = bytes.len() as u64;
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    if rest.is_empty() {
        return Err(Unavailable::Gone { what: format!("{path} from {at}") });
    }
    let piece = rest[..rest.len().min(SNAPSHOT_CHUNK_BYTES)].to_vec();
    Ok(Piece { bytes: piece.into(), total })
}

fn whole(bytes: Vec<u8>) -> Piece {
    Piece { total: bytes.len() as u64, bytes: bytes.into() }
}

impl From<SnapshotFault> for Unavailable {
    fn from(fault: SnapshotFault) -> Self {
        match fault {
            SnapshotFault::Gone { name } => Unavailable::Gone { what: format!("snapshot {name}") },
            other => Unavailable::Damaged(other.to_string()),
        }
    }
}

impl From<SourceFault> for Unavailable {
    fn from(fault: SourceFault) -> Self {
        match fault {
            SourceFault::NotFound { path } => Unavailable::Gone { what: path },
            other => Unavailable::Damaged(other.to_string()),
        }
    }
}
