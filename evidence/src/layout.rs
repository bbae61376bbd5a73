//! The names of a log's files, and where their bytes come from.

use std::io;
use std::path::{Path, PathBuf};

use crate::limits::{LEVELS_COUNT_MAX, LOG_FILE_BYTES_MAX, WRITER_WAIT_MS};
use crate::tile::{TILE_WIDTH, index_path, parse_index_path};

pub const CHECKPOINT_FILE: &str = "checkpoint";
pub const POLICY_FILE: &str = "policy";
/// Files being written. They are no part of the log: never read, emptied when it is opened.
pub const SCRATCH_DIR: &str = "tmp";

/// One tile, bundle of leaves, or bundle of payload blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogFile {
    /// `tile/<level>/<index>[.p/<width>]`
    Tile { level: u8, index: u64, width: u64 },
    /// `tile/entries/<index>[.p/<width>]`
    Entries { index: u64, width: u64 },
    /// `payload/<index>`: it only grows, so it has no width.
    Payload { index: u64 },
}

impl LogFile {
    /// Relative to the log's directory or URL, with `/` between parts.
    pub fn path(&self) -> String {
        match *self {
            Self::Tile { level, index, width } => {
                format!("tile/{level}/{}{}", index_path(index), width_suffix(width))
            }
            Self::Entries { index, width } => {
                format!("tile/entries/{}{}", index_path(index), width_suffix(width))
            }
            Self::Payload { index } => format!("payload/{}", index_path(index)),
        }
    }

    /// The reverse of `path`; `None` for every other spelling.
    pub fn parse(path: &str) -> Option<LogFile> {
        if let Some(index) = path.strip_prefix("payload/") {
            return Some(Self::Payload { index: parse_index_path(index)? });
        }
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            None => (parse_index_path(rest)?, TILE_WIDTH),
            Some((index, width)) => (parse_index_path(index)?, parse_width(width)?),
        };
        if kind == "entries" {
            return Some(Self::Entries { index, width });
        }
        let level = (0..LEVELS_COUNT_MAX).find(|level| level.to_string() == kind)?;
        Some(Self::Tile { level, index, width })
    }

    /// The same tile or bundle at another width; a payload bundle has none.
    pub fn with_width(self, width: u64) -> LogFile {
        match self {
            Self::Tile { level, index, .. } => Self::Tile { level, index, width },
            Self::Entries { index, .. } => Self::Entries { index, width },
            Self::Payload { .. } => self,
        }
    }

    /// The directory that holds this file's narrower versions.
    pub(crate) fn partials_dir(self) -> String {
        format!("{}.p", self.with_width(TILE_WIDTH).path())
    }
}

fn width_suffix(width: u64) -> String {
    if width == TILE_WIDTH { String::new() } else { format!(".p/{width}") }
}

pub(crate) fn parse_width(text: &str) -> Option<u64> {
    (1..TILE_WIDTH).find(|width| width.to_string() == text)
}

/// Why a file could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    #[error("{path}: expected a file, got none")]
    NotFound { path: String },
    #[error("{path}: expected at most {expected} bytes, got {got}")]
    TooLarge { path: String, expected: u64, got: u64 },
    #[error("{path}: {message}")]
    Unreadable { path: String, message: String },
    /// Over HTTP one can only ask for files one knows.
    #[error("this source cannot list its files")]
    NotListable,
}

impl SourceFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "file_missing",
            Self::TooLarge { .. } => "file_too_large",
            Self::Unreadable { .. } => "file_unreadable",
            Self::NotListable => "not_listable",
        }
    }
}

/// A name in a directory of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceEntry {
    pub name: String,
    pub is_dir: bool,
}

/// Where a log's files come from: a directory, an HTTP server, a test's memory.
pub trait TileSource {
    /// The whole file, with at most `LOG_FILE_BYTES_MAX` bytes.
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault>;

    /// The names in a directory (`""` is the log's own), sorted. A missing one is empty.
    fn list(&self, _dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        Err(SourceFault::NotListable)
    }

    /// Waits a moment for a writer that may be at work on these files. False: nobody can be, so
    /// that waiting shows nothing new.
    fn wait_for_writer(&self) -> bool {
        false
    }
}

impl<S: TileSource + ?Sized> TileSource for &S {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        (**self).read(path)
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        (**self).list(dir)
    }

    fn wait_for_writer(&self) -> bool {
        (**self).wait_for_writer()
    }
}

/// This file; or, when a narrow file is gone because the log has grown, a wider one that begins
/// with the same items. The caller takes as many of them as it asked for.
pub(crate) fn read_at_least(
    source: &dyn TileSource,
    file: LogFile,
) -> Result<(LogFile, Vec<u8>), SourceFault> {
    let missing = match source.read(&file.path()) {
        Err(fault @ SourceFault::NotFound { .. }) => fault,
        other => return other.map(|bytes| (file, bytes)),
    };
    // Twice: a writer may remove the wider one, for a still wider one, while we look.
    for _ in 0..2 {
        let full = file.with_width(TILE_WIDTH);
        for wider in std::iter::once(full).chain(widest_partial(source, file)) {
            match source.read(&wider.path()) {
                Err(SourceFault::NotFound { .. }) => {}
                other => return other.map(|bytes| (wider, bytes)),
            }
        }
    }
    Err(missing)
}

/// The widest narrow version that is at least as wide, if the source can tell.
pub(crate) fn widest_partial(source: &dyn TileSource, file: LogFile) -> Option<LogFile> {
    let (LogFile::Tile { width, .. } | LogFile::Entries { width, .. }) = file else {
        return None;
    };
    let entries = source.list(&file.partials_dir()).ok()?;
    let widths = entries.iter().filter_map(|entry| parse_width(&entry.name));
    widths.filter(|one| *one >= width).max().map(|widest| file.with_width(widest))
}

/// A log in a local directory.
#[derive(Clone, Debug)]
pub struct DirSource {
    root: PathBuf,
}

impl DirSource {
    pub fn new(root: impl Into<PathBuf>) -> DirSource {
        DirSource { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl TileSource for DirSource {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        let fault = |error| io_fault(path, &error);
        let file = self.root.join(path);
        let got = std::fs::metadata(&file).map_err(fault)?.len();
        if got > LOG_FILE_BYTES_MAX {
            let (path, expected) = (path.to_owned(), LOG_FILE_BYTES_MAX);
            return Err(SourceFault::TooLarge { path, expected, got });
        }
        std::fs::read(file).map_err(fault)
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        let fault = |error: io::Error| io_fault(dir, &error);
        let listing = match std::fs::read_dir(self.root.join(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(fault)?,
        };
        let mut entries = Vec::new();
        for entry in listing {
            let entry = entry.map_err(fault)?;
            let is_dir = entry.file_type().map_err(fault)?.is_dir();
            entries.push(SourceEntry { name: entry.file_name().to_string_lossy().into(), is_dir });
        }
        entries.sort();
        Ok(entries)
    }

    /// A node may write the directory while it is read; nothing but time tells.
    fn wait_for_writer(&self) -> bool {
        std::thread::sleep(std::time::Duration::from_millis(WRITER_WAIT_MS));
        true
    }
}

fn io_fault(path: &str, error: &io::Error) -> SourceFault {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => SourceFault::NotFound { path },
        _ => SourceFault::Unreadable { path, message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_tlog_tiles() {
        let check = |file: LogFile, path: &str| {
            assert_eq!(file.path(), path);
            assert_eq!(LogFile::parse(path), Some(file));
        };
        check(LogFile::Tile { level: 0, index: 1_234_067, width: 256 }, "tile/0/x001/x234/067");
        check(LogFile::Tile { level: 2, index: 0, width: 1 }, "tile/2/000.p/1");
        check(LogFile::Entries { index: 273, width: 112 }, "tile/entries/273.p/112");
        check(LogFile::Payload { index: 1_000 }, "payload/x001/000");
    }

    #[test]
    fn other_spellings_are_no_log_files() {
        let paths = [
            "checkpoint",
            "tile/8/000",
            "tile/00/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000/",
            "tile/0/0",
            "tile/entries/../000",
            "payload/000.p/1",
            "payload/",
            "tile//000",
            "/tile/0/000",
            "tile/x/000",
        ];
        for path in paths {
            assert_eq!(LogFile::parse(path), None, "{path}");
        }
    }
}
