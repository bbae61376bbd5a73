//! The newest checkpoint this node has cosigned, durable before the signature leaves the node.
//!
//! A node whose disk went back in time must not sign a second history: its signature under two
//! roots of one size would be a lie that anybody can show.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use proofmark_evidence::Checkpoint;

/// What the guard says about a checkpoint that is about to be cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Above everything signed so far: store it, then sign.
    Newer,
    /// Signed before; it may be signed again.
    Same,
    /// Below what was signed: not signed any more.
    Older,
    /// The signed size with another root: never.
    Conflict { signed: Checkpoint },
}

/// The file and what it says.
#[derive(Debug)]
pub(super) struct LastSigned {
    path: PathBuf,
    signed: Option<Checkpoint>,
}

impl LastSigned {
    /// Reads the file; a missing one is a node that never signed.
    ///
    /// # Errors
    /// The file cannot be read or is no checkpoint: a person must say what this node has signed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let signed = match fs::read_to_string(path) {
            Ok(text) => Some(Checkpoint::parse(&text).map_err(io::Error::other)?),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => None,
            Err(fault) => return Err(fault),
        };
        Ok(Self { path: path.to_owned(), signed })
    }

    pub(super) fn signed(&self) -> Option<&Checkpoint> {
        self.signed.as_ref()
    }

    pub(super) fn judge(&self, checkpoint: &Checkpoint) -> Judgement {
        match &self.signed {
            None => Judgement::Newer,
            Some(signed) if checkpoint.size > signed.size => Judgement::Newer,
            Some(signed) if checkpoint.size < signed.size => Judgement::Older,
            Some(signed) if checkpoint == signed => Judgement::Same,
            Some(signed) => Judgement::Conflict { signed: signed.clone() },
        }
    }

    /// Makes the promise durable. Only then may the signature be made.
    pub(super) fn store(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let scratch = self.path.with_extension("tmp");
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(true).write(true).mode(0o600).open(&scratch)?;
        file.write_all(checkpoint.to_text().as_bytes())?;
        file.sync_all()?;
        // A crash here leaves a scratch file nobody reads, and the former promise.
        fs::rename(&scratch, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        // A crash here leaves a promise without its signature: the same seal may be signed again.
        self.signed = Some(checkpoint.clone());
        Ok(())
    }
}
