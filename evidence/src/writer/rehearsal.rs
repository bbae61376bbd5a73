//! Opening a log without touching it: what [`LogWriter::open`] would do, done in memory over the
//! directory as it lies there. So a look at a stopped log judges what the next start will have,
//! and tells what a crash left from what rot did.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{DiskFiles, FileOps};
use super::{LogWriter, WriterFault};
use crate::hash::Hash;
use crate::layout::{DirSource, SCRATCH_DIR, SourceEntry, SourceFault, TileSource};

/// A log's directory as it would be after the next start, and what that start would change.
pub struct Rehearsal {
    dir: DirSource,
    changed: Changed,
    writer: LogWriter,
}

/// Bytes of each file that was written; none for one that was removed.
#[derive(Clone, Default)]
struct Changed(Arc<Mutex<BTreeMap<String, Option<Vec<u8>>>>>);

/// The directory below, the changes above it.
struct Overlay {
    disk: DiskFiles,
    changed: Changed,
}

impl LogWriter {
    /// What opening the log in `dir` would come to. The directory stays as it is; memory holds what
    /// would be written, which is the tail beyond the checkpoint.
    ///
    /// # Errors
    /// The start would fail with this fault.
    pub fn rehearse(dir: &Path) -> Result<Rehearsal, WriterFault> {
        let changed = Changed::default();
        let disk = DiskFiles::new(dir.to_owned());
        let overlay = Overlay { disk, changed: changed.clone() };
        let writer = LogWriter::open_in(Box::new(overlay))?;
        Ok(Rehearsal { dir: DirSource::new(dir), changed, writer })
    }
}

impl Rehearsal {
    /// Leaves that the log would have, published and beyond.
    pub fn size(&self) -> u64 {
        self.writer.size()
    }

    /// Leaves under the published checkpoint, if the node of this name cosigned it.
    pub fn cosigned_size(&self, node: &str) -> Option<u64> {
        let signed = self.writer.checkpoint()?;
        let is_cosigned = signed.signatures.iter().any(|line| line.name == node);
        is_cosigned.then_some(signed.checkpoint.size)
    }

    /// The root over its first `size` leaves.
    ///
    /// # Errors
    /// There are fewer, or a tile cannot be read.
    pub fn root_at(&self, size: u64) -> Result<Hash, WriterFault> {
        self.writer.root_at(size)
    }

    /// The files that the start would write, cut or remove, sorted; scratch files left out.
    pub fn changes(&self) -> Vec<String> {
        let changed = self.changed.lock();
        let is_other = |(path, bytes): &(&String, &Option<Vec<u8>>)| {
            !path.starts_with(SCRATCH_DIR) && self.dir.read(path).ok() != **bytes
        };
        changed.iter().filter(is_other).map(|(path, _)| path.clone()).collect()
    }
}

impl TileSource for Rehearsal {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        match self.changed.lock().get(path) {
            Some(Some(bytes)) => Ok(bytes.clone()),
            Some(None) => Err(SourceFault::NotFound { path: path.to_owned() }),
            None => self.dir.read(path),
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        let (written, removed) = self.changed.names(dir);
        let entries = self.dir.list(dir)?.into_iter();
        let mut entries: BTreeSet<SourceEntry> =
            entries.filter(|entry| entry.is_dir || !removed.contains(&entry.name)).collect();
        entries.extend(written.into_iter().map(|name| SourceEntry { name, is_dir: false }));
        Ok(entries.into_iter().collect())
    }
}

impl Changed {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, path: &str, bytes: Option<Vec<u8>>) {
        self.lock().insert(path.to_owned(), bytes);
    }

    /// Names of files written and removed in this very directory.
    fn names(&self, dir: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let changed = self.lock();
        let name = |path: &str| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            (folder == dir).then(|| name.to_owned())
        };
        let of = |is_written: bool| {
            let those = changed.iter().filter(|(_, bytes)| bytes.is_some() == is_written);
            those.filter_map(|(path, _)| name(path)).collect()
        };
        (of(true), of(false))
    }
}

impl FileOps for Overlay {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match self.changed.lock().get(path) {
            Some(Some(bytes)) => Ok(bytes.clone()),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
            None => self.disk.read(path),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let (written, removed) = self.changed.names(dir);
        let mut names: BTreeSet<String> = self.disk.list(dir)?.into_iter().collect();
        names.retain(|name| !removed.contains(name));
        names.extend(written);
        Ok(names.into_iter().collect())
    }

    /// Directories come with their files.
    fn make_dir(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.changed.set(path, Some(bytes.to_vec()));
        Ok(())
    }

    fn append(&mut self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut whole = match self.read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        whole.resize(usize::try_from(at).map_err(io::Error::other)?, 0);
        whole.extend_from_slice(bytes);
        self.changed.set(path, Some(whole));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let bytes = self.read(from)?;
        self.changed.set(from, None);
        self.changed.set(to, Some(bytes));
        Ok(())
    }

    fn sync_dir(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.changed.set(path, None);
        Ok(())
    }

    fn remove_dir_if_empty(&mut self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    use super::*;
    use crate::sample::{origin, policy, sample};
    use crate::verify::verify_log;

    /// A log of 258 published leaves and 4 more, as a power cut left it: blobs without leaves, a
    /// scratch file, and a bundle of leaves behind a gap.
    fn cut_off(dir: &Path) {
        let mut writer = LogWriter::create(dir, &origin(), &policy().to_text()).unwrap();
        for (leaf, payload) in &sample().leaves[..262] {
            writer.append(leaf, payload);
        }
        writer.sync().unwrap();
        writer.publish(&sample().note(258)).unwrap();
        let blobs = OpenOptions::new().append(true).open(dir.join("payload/001"));
        blobs.unwrap().write_all(&[0, 0, 0, 9, 1]).unwrap();
        fs::write(dir.join("tmp/next"), "x").unwrap();
        fs::write(dir.join("tile/entries/003"), "x").unwrap();
    }

    fn files(dir: &Path, below: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in DirSource::new(dir).list(below).unwrap() {
            let path = format!("{below}/{}", entry.name);
            let path = path.trim_start_matches('/').to_owned();
            match entry.is_dir {
                true => found.extend(files(dir, &path)),
                false => drop(found.insert(path.clone(), fs::read(dir.join(&path)).unwrap())),
            }
        }
        found
    }

    #[test]
    fn a_rehearsal_comes_to_what_opening_comes_to_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        cut_off(dir.path());
        let before = files(dir.path(), "");
        let rehearsal = LogWriter::rehearse(dir.path()).unwrap();
        let report = verify_log(&rehearsal, &policy(), &mut ());
        assert_eq!((report.size, report.unpublished, &*report.faults), (258, 4, &[][..]));
        assert_eq!(rehearsal.changes(), ["payload/001", "tile/entries/003"]);
        assert_eq!(files(dir.path(), ""), before, "nothing was touched");
        LogWriter::open(dir.path()).unwrap();
        for (path, bytes) in files(dir.path(), "") {
            assert_eq!(rehearsal.read(&path).unwrap(), bytes, "{path}");
        }
        assert_eq!(LogWriter::rehearse(dir.path()).unwrap().changes(), <[&str; 0]>::default());
    }
}
