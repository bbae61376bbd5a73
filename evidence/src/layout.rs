//! The names of a log's files, and where their bytes come from.

use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::limits::{
    ENTRIES_BYTES_MAX, LEVELS_COUNT_MAX, LOG_FILE_BYTES_MAX, NOTE_BYTES_MAX, POLICY_BYTES_MAX,
    TILE_BYTES_MAX, TRANSITIONS_BYTES_MAX,
};
use crate::tile::{TILE_WIDTH, index_path, parse_index_path};

pub const CHECKPOINT_FILE: &str = "checkpoint";
pub const POLICY_FILE: &str = "policy";
/// How the cosigners changed; there once they have.
pub const TRANSITIONS_FILE: &str = "transitions";
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

/// What a file of this name may hold at most, in bytes. Not of its width: that a narrow file is too
/// long for its name is said better by whoever reads it.
fn bytes_max(path: &str) -> u64 {
    match LogFile::parse(path) {
        Some(LogFile::Tile { .. }) => TILE_BYTES_MAX,
        Some(LogFile::Entries { .. }) => ENTRIES_BYTES_MAX,
        Some(LogFile::Payload { .. }) => LOG_FILE_BYTES_MAX,
        None if path == CHECKPOINT_FILE => NOTE_BYTES_MAX as u64,
        None if path == POLICY_FILE => POLICY_BYTES_MAX as u64,
        None if path == TRANSITIONS_FILE => TRANSITIONS_BYTES_MAX as u64,
        None => LOG_FILE_BYTES_MAX,
    }
}

/// Whether some log has files in a directory of this name. All others are foreign to every log.
pub(crate) fn is_log_dir(dir: &str) -> bool {
    let holds = |name: &str| LogFile::parse(&format!("{dir}/{name}")).is_some();
    dir == "tile" || holds("000") || holds("1")
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
    /// Its bytes may never end, or never begin; or lie outside what one was given.
    #[error("{path}: expected a regular file, got {got}")]
    NotRegular { path: String, got: &'static str },
    #[error("{path}: expected a file that can be read, got: {message}")]
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
            Self::NotRegular { .. } => "file_not_regular",
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
    /// The whole file, with at most as many bytes as one of its kind may have.
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
pub fn read_at_least(
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

/// A log in a local directory, which a stranger may have made: only regular files are opened, and
/// none is read further than its kind may be long. Links are not followed: a copy whose files lie
/// elsewhere is no copy, and what they lead to is not the stranger's to choose.
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
        let too_large =
            |expected, got| Err(SourceFault::TooLarge { path: path.to_owned(), expected, got });
        let (file, bytes_max) = (self.root.join(path), bytes_max(path));
        // Looked at first: to open a FIFO is to wait for whoever writes it.
        let found = std::fs::symlink_metadata(&file).map_err(fault)?;
        if let Some(got) = irregular(found.file_type()) {
            return Err(SourceFault::NotRegular { path: path.to_owned(), got });
        }
        if found.len() > bytes_max {
            return too_large(bytes_max, found.len());
        }
        let mut bytes = Vec::with_capacity(found.len() as usize);
        // It may grow meanwhile, or never have told its length.
        File::open(file)
            .map_err(fault)?
            .take(bytes_max + 1)
            .read_to_end(&mut bytes)
            .map_err(fault)?;
        match bytes.len() as u64 {
            got if got > bytes_max => too_large(bytes_max, got),
            _ => Ok(bytes),
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        let fault = |error: io::Error| io_fault(dir, &error);
        let listing = match std::fs::read_dir(self.root.join(dir)) {
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
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
}

fn io_fault(path: &str, error: &io::Error) -> SourceFault {
    let path = path.to_owned();
    if is_missing(error) {
        return SourceFault::NotFound { path };
    }
    SourceFault::Unreadable { path, message: error.to_string() }
}

/// Where a file stands in place of a directory, there is nothing below it.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What it is, if it is no regular file.
fn irregular(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a directory"),
        kind if kind.is_symlink() => Some("a symbolic link"),
        kind if kind.is_fifo() => Some("a FIFO"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
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

    #[test]
    fn directories_of_a_log_are_told_from_foreign_ones() {
        for dir in ["tile", "payload", "tile/0", "tile/7", "tile/entries", "payload/x001"] {
            assert!(is_log_dir(dir), "{dir}");
        }
        for dir in ["tile/0/x018/x446", "tile/0/000.p", "tile/entries/x001/234.p"] {
            assert!(is_log_dir(dir), "{dir}");
        }
        for dir in ["lost+found", "tile/8", "tile/0/000", "payload/000.p", "tile/0/x000", "Tile"] {
            assert!(!is_log_dir(dir), "{dir}");
        }
    }

    /// A directory with a checkpoint made by `make`, and what reading it answers.
    fn read_made(make: impl Fn(&Path)) -> String {
        let dir = tempfile::tempdir().unwrap();
        make(&dir.path().join(CHECKPOINT_FILE));
        match DirSource::new(dir.path()).read(CHECKPOINT_FILE) {
            Ok(bytes) => format!("{} bytes", bytes.len()),
            Err(fault) => format!("{}: {fault}", fault.slug()),
        }
    }

    #[test]
    fn only_regular_files_are_read_and_none_without_end() {
        let check = |make: &dyn Fn(&Path), expect: &str| assert_eq!(read_made(make), expect);
        let size = NOTE_BYTES_MAX as u64;
        let sized =
            |size: u64| move |path: &Path| File::create(path).unwrap().set_len(size).unwrap();
        let link =
            |to: &'static str| move |path: &Path| std::os::unix::fs::symlink(to, path).unwrap();
        let linked = "file_not_regular: checkpoint: expected a regular file, got a symbolic link";
        check(&sized(size), "65536 bytes");
        check(
            &sized(size + 1),
            "file_too_large: checkpoint: expected at most 65536 bytes, got 65537",
        );
        check(&|_| {}, "file_missing: checkpoint: expected a file, got none");
        check(&link("/dev/zero"), linked);
        check(&link("nowhere"), linked);
        check(
            &|path| std::fs::create_dir(path).unwrap(),
            "file_not_regular: checkpoint: expected a regular file, got a directory",
        );
        check(&make_fifo, "file_not_regular: checkpoint: expected a regular file, got a FIFO");
        check(
            &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
            "file_not_regular: checkpoint: expected a regular file, got a socket",
        );
    }

    /// std has no call for it.
    fn make_fifo(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn each_kind_has_its_own_bound() {
        let check = |path: &str, bytes: u64| assert_eq!(bytes_max(path), bytes);
        check("policy", 64 * 1024);
        check("tile/0/000.p/7", 8 * 1024);
        check("tile/entries/000", 256 * (2 + 4096));
        check("payload/000", 256 * (4 + 1024 * 1024));
    }
}
