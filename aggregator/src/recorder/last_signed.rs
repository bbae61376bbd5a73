//! The newest checkpoint this node has cosigned, durable before the signature leaves the node.
//!
//! A node whose disk went back in time must not sign a second history: its signature under two
//! roots of one size would be a lie that anybody can show.

use std::io;
use std::path::Path;

use proofmark_evidence::{Checkpoint, DiskFiles, FileOps, SignedCheckpoint};

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

/// Where the promise lies: a file's name, and the directory of it.
pub struct SignedFile {
    files: Box<dyn FileOps>,
    name: String,
}

impl SignedFile {
    pub fn on_disk(path: &Path) -> Self {
        let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { files: Box::new(DiskFiles::new(dir)), name }
    }

    /// `name` lies in the root of `files`.
    pub fn over(files: Box<dyn FileOps>, name: &str) -> Self {
        Self { files, name: name.to_owned() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The file and what it says.
pub(super) struct LastSigned {
    file: SignedFile,
    signed: Option<Checkpoint>,
}

/// The newest checkpoint that this node cosigned; none if it never did.
///
/// # Errors
/// The file cannot be read or is no checkpoint.
pub fn read(file: &SignedFile) -> io::Result<Option<Checkpoint>> {
    match file.files.read(&file.name) {
        Ok(bytes) => parse(bytes).map(Some),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

impl LastSigned {
    /// Reads the file; a missing one is a node that never signed.
    ///
    /// # Errors
    /// The file cannot be read or is no checkpoint: a person must say what this node has signed.
    pub(super) fn open(mut file: SignedFile) -> io::Result<Self> {
        // A process that was killed may have renamed the file and not yet synced its name: what is
        // read below is a promise only once a power cut cannot take it back.
        file.files.sync_dir("")?;
        let signed = read(&file)?;
        Ok(Self { file, signed })
    }

    /// Without a file: a published checkpoint that bears this node's name is one that it signed,
    /// whatever became of the file since.
    ///
    /// # Errors
    /// As [`LastSigned::store`].
    pub(super) fn remember(
        &mut self,
        published: Option<&SignedCheckpoint>,
        node_name: &str,
    ) -> io::Result<()> {
        let is_ours = |signed: &&SignedCheckpoint| {
            signed.signatures.iter().any(|line| line.name == node_name)
        };
        let Some(SignedCheckpoint { checkpoint, .. }) = published.filter(is_ours) else {
            return Ok(());
        };
        if self.signed.is_some() {
            return Ok(()); // it is compared with the tree before anything is signed
        }
        let size = checkpoint.size;
        tracing::warn!(size, "last_signed_gone: the newest checkpoint that it signed is taken");
        self.store(checkpoint)
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
        let SignedFile { files, name } = &mut self.file;
        let scratch = format!("{name}.tmp");
        files.write(&scratch, checkpoint.to_text().as_bytes())?;
        // A crash here leaves a scratch file nobody reads, and the former promise.
        files.rename(&scratch, name)?;
        files.sync_dir("")?;
        // A crash here leaves a promise without its signature: the same seal may be signed again.
        self.signed = Some(checkpoint.clone());
        Ok(())
    }
}

fn parse(bytes: Vec<u8>) -> io::Result<Checkpoint> {
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    Checkpoint::parse(&text).map_err(io::Error::other)
}
