//! Reads a tree: every covered file in sorted order, hashed as it streams by.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use proofmark_evidence::{FailReason, Hash, StreamHasher, UnknownReason, sha256};
use proofmark_spec::FilesProbe;

use super::super::net::is_ours;
use super::super::trace::{Finding, fail, unknown};
use super::digests::Digests;
use crate::limits::{FILE_CHUNK_BYTES, TREE_DEPTH_MAX};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) digests: Digests,
    /// Of all files together.
    pub(super) bytes: u64,
}

/// Reads the tree of a probe until done or `stopped`.
pub(super) fn read(probe: &FilesProbe, stopped: &AtomicBool) -> Result<Tree, Finding> {
    let root = Path::new(&probe.path);
    let metadata = fs::metadata(root).map_err(|error| match error.kind() {
        ErrorKind::NotFound => fail(FailReason::FileMissing, format!("{}: {error}", probe.path)),
        _ => cannot_read(root, &error),
    })?;
    let mut walk = Walk { probe, stopped, tree: Tree::default() };
    if metadata.is_dir() {
        walk.dir(root, "", 0)?;
    } else {
        let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        walk.file(root, name)?;
    }
    Ok(walk.tree)
}

struct Walk<'a> {
    probe: &'a FilesProbe,
    stopped: &'a AtomicBool,
    tree: Tree,
}

impl Walk<'_> {
    fn dir(&mut self, dir: &Path, prefix: &str, depth: usize) -> Result<(), Finding> {
        if depth > TREE_DEPTH_MAX {
            let detail = format!("{prefix}: deeper than {TREE_DEPTH_MAX} directories");
            return Err(unknown(UnknownReason::AgentFault, detail));
        }
        let entries = fs::read_dir(dir).map_err(|error| cannot_read(dir, &error))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| cannot_read(dir, &error))?;
            let name = entry.file_name().into_string().map_err(|name| {
                let detail = format!("{}: a name that is not UTF-8", Path::new(&name).display());
                unknown(UnknownReason::AgentFault, detail)
            })?;
            names.push(name);
        }
        names.sort();
        for name in names {
            let relative =
                if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            self.entry(&dir.join(&name), relative, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, relative: String, depth: usize) -> Result<(), Finding> {
        let follow = self.probe.follow_symlinks;
        let metadata = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        match metadata {
            Ok(metadata) if metadata.is_dir() => self.dir(path, &relative, depth + 1),
            _ if !self.probe.covers(&relative) => Ok(()),
            Ok(metadata) if metadata.is_file() => self.file(path, relative),
            Ok(metadata) if metadata.is_symlink() => self.link(path, relative),
            Ok(_) => self.note(relative, sha256(b"neither file, directory nor link")),
            // It was listed and is gone: as good as never there, or missing if it should be.
            Err(error) if error.kind() == ErrorKind::NotFound && !follow => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => self.link(path, relative),
            Err(error) => Err(cannot_read(path, &error)),
        }
    }

    fn link(&mut self, path: &Path, relative: String) -> Result<(), Finding> {
        match fs::read_link(path) {
            Ok(target) => self.note(relative, sha256(target.as_os_str().as_encoded_bytes())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(cannot_read(path, &error)),
        }
    }

    fn file(&mut self, path: &Path, relative: String) -> Result<(), Finding> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(cannot_read(path, &error)),
        };
        let read = |error: io::Error| cannot_read(path, &error);
        let before = file.metadata().map_err(read)?;
        let (digest, bytes) = self.hash(&mut file, path)?;
        let after = file.metadata().map_err(read)?;
        if bytes != after.len() || written_at(&before) != written_at(&after) {
            let detail = format!("{relative} changed while it was read");
            return Err(fail(FailReason::FileChanged, detail));
        }
        self.tree.bytes += bytes;
        self.note(relative, digest)
    }

    fn hash(&self, file: &mut File, path: &Path) -> Result<(Hash, u64), Finding> {
        let mut hasher = StreamHasher::new();
        let mut chunk = vec![0; FILE_CHUNK_BYTES];
        let mut bytes = 0;
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(unknown(UnknownReason::Cancelled, "the time was up"));
            }
            match file.read(&mut chunk) {
                Ok(0) => return Ok((hasher.finish(), bytes)),
                Ok(len) => {
                    hasher.update(&chunk[..len]);
                    bytes += len as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(cannot_read(path, &error)),
            }
        }
    }

    fn note(&mut self, relative: String, digest: Hash) -> Result<(), Finding> {
        let max = self.probe.files_count_max;
        if self.tree.digests.len() as u64 >= max {
            let detail = format!("more than {max} files: none of them was judged");
            return Err(unknown(UnknownReason::AgentFault, detail));
        }
        self.tree.digests.0.insert(relative, digest);
        Ok(())
    }
}

fn written_at(metadata: &Metadata) -> Option<std::time::SystemTime> {
    metadata.modified().ok()
}

/// Not being able to read says nothing about the file.
fn cannot_read(path: &Path, error: &io::Error) -> Finding {
    let whose = if is_ours(error) { "this agent may not" } else { "cannot" };
    unknown(UnknownReason::AgentFault, format!("{whose} read {}: {error}", path.display()))
}
