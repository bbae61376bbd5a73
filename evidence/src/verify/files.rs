//! Every file must be one that the log has a use for: the way to see what was slipped in.

use super::Verifier;
use crate::layout::{
    CHECKPOINT_FILE, LogFile, POLICY_FILE, SCRATCH_DIR, SourceFault, TRANSITIONS_FILE, is_log_dir,
    read_at_least,
};
use crate::tile::{TILE_WIDTH, parse_entries, parse_tile, tile_bytes, width_at};

impl Verifier<'_> {
    /// Walks the directory, one level of it in memory at a time. Sources that cannot list hold
    /// only what one asks them for.
    pub(super) fn check_files(&mut self) {
        if self.source.list("").is_ok() {
            self.check_dir("");
        }
    }

    /// The log's own directories may be empty: a writer makes them before their files. A foreign
    /// one is named and not entered.
    fn check_dir(&mut self, dir: &str) {
        let entries = match self.source.list(dir) {
            Ok(entries) => entries,
            Err(fault) => return self.findings.add_fault(dir, fault.slug(), &fault),
        };
        for entry in entries {
            let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
            match entry.is_dir {
                true if path == SCRATCH_DIR => {}
                true if is_log_dir(&path) => self.check_dir(&path),
                true => self.unexpected(&path),
                false => self.check_file(&path),
            }
        }
    }

    fn check_file(&mut self, path: &str) {
        if [CHECKPOINT_FILE, POLICY_FILE, TRANSITIONS_FILE].contains(&path) {
            return; // read before anything else
        }
        match LogFile::parse(path) {
            None => self.unexpected(path),
            Some(LogFile::Payload { index }) => {
                while width_at(0, index, self.end()) == 0 {
                    if !self.await_leaves() {
                        return self.unexpected(path);
                    }
                }
            }
            Some(file @ LogFile::Tile { level, index, width }) => {
                self.check_width(file, level, index, width);
            }
            Some(file @ LogFile::Entries { index, width }) => {
                self.check_width(file, 0, index, width);
            }
        }
    }

    /// Published leaves and those beyond.
    pub(super) fn end(&self) -> u64 {
        self.size + self.unpublished
    }

    /// The file of exactly the published width was judged on the way down. A narrower one is left
    /// from a smaller size, a wider one is not published yet: both must agree with the rest.
    fn check_width(&mut self, file: LogFile, level: u8, index: u64, width: u64) {
        if width == width_at(level, index, self.size) {
            return;
        }
        if width > width_at(level, index, self.end()) && width > self.width_now(level, index) {
            return self.unexpected(&file.path());
        }
        let bytes = match self.source.read(&file.path()) {
            Ok(bytes) => bytes,
            // Listed a moment ago, and removed since by a writer that has a wider one.
            Err(SourceFault::NotFound { .. }) => return,
            Err(fault) => return self.findings.add_fault(&file.path(), fault.slug(), &fault),
        };
        match file {
            LogFile::Tile { .. } => self.check_other_tile(file, &bytes),
            LogFile::Entries { .. } => self.check_other_entries(file, &bytes),
            LogFile::Payload { .. } => {}
        }
    }

    /// Looks again whether the log has grown before a file is called one too many.
    fn width_now(&mut self, level: u8, index: u64) -> u64 {
        self.extend_tail();
        width_at(level, index, self.end())
    }

    fn check_other_tile(&mut self, file: LogFile, bytes: &[u8]) {
        let LogFile::Tile { level, index, width } = file else { return };
        if self.note(file, parse_tile(bytes, width)).is_none() {
            return;
        }
        let is_other = |hashes: &Vec<_>| tile_bytes(hashes) != bytes;
        if self.rebuild(level, index, width).as_ref().is_some_and(is_other)
            && !self.is_blamed_below(level, index)
        {
            let expected = "the hashes of what is below";
            self.findings.add(&file.path(), "tile_hash", expected, "others");
        }
    }

    fn check_other_entries(&mut self, file: LogFile, bytes: &[u8]) {
        let LogFile::Entries { index, width } = file else { return };
        if self.note(file, parse_entries(bytes, width)).is_none() {
            return;
        }
        let used = file.with_width(width_at(0, index, self.end()));
        let Ok((used, known)) = read_at_least(self.source, used) else { return };
        if !known.starts_with(bytes) && !self.findings.blame(&used.path()) {
            let expected = format!("the first {width} leaves of {}", used.path());
            self.findings.add(&file.path(), "bundle_differs", expected, "others");
        }
    }

    /// Whether what a tile would be rebuilt from is itself wrong.
    fn is_blamed_below(&self, level: u8, index: u64) -> bool {
        let blamed = |file: LogFile| self.findings.blame(&file.path());
        if level == 0 {
            let width = width_at(0, index, self.size);
            let end_width = width_at(0, index, self.end());
            return [width, end_width]
                .into_iter()
                .any(|width| width > 0 && blamed(LogFile::Entries { index, width }));
        }
        (0..TILE_WIDTH).any(|place| {
            let (level, index) = (level - 1, index * TILE_WIDTH + place);
            blamed(LogFile::Tile { level, index, width: TILE_WIDTH })
        })
    }

    /// Its name is a stranger's: no control character of it may reach a terminal.
    fn unexpected(&mut self, path: &str) {
        let plain = |char: char| match char.is_control() {
            true => char.escape_default().to_string(),
            false => char.to_string(),
        };
        let path: String = path.chars().map(plain).collect();
        self.findings.add(&path, "file_unexpected", "only the log's own files", "one more");
    }
}
