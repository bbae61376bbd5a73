//! The log's own files under `/log/`: C2SP paths, content types and cache headers
//! (c2sp.org/tlog-tiles, "APIs"), so that any client of tiled logs can follow.
//!
//! On disk only the newest partial of each level is kept; an older width is a prefix of it and is
//! cut here. Only names of the layout are opened: a path cannot leave the directory.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use proofmark_evidence::{
    CHECKPOINT_FILE, DirSource, LogFile, POLICY_FILE, SourceFault, TILE_WIDTH, TRANSITIONS_FILE,
    TileSource,
};

use super::Api;
use super::problem::{PathParts, Problem};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// A checkpoint is replaced several times a second; a cache may hold one for a moment.
const BRIEF: &str = "public, max-age=1";
/// Tiles and bundles never change.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// `GET /log/{path}`.
pub async fn file(
    State(api): State<Api>,
    PathParts(path): PathParts<String>,
) -> Result<Response, Problem> {
    let Some(name) = Name::parse(&path) else {
        let message = format!("expected a C2SP path, got {path}");
        return Err(Problem::not_found("no_such_log_file", message));
    };
    let dir = api.evidence_dir.clone();
    let read = tokio::task::spawn_blocking(move || read(&DirSource::new(dir.as_path()), name));
    let bytes = read.await.map_err(|why| Problem::internal("reader_ended", why))?;
    let (kind, cache) = name.headers();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    Ok((headers, bytes.map_err(problem)?).into_response())
}

/// A name that the layout knows; nothing else is ever opened.
#[derive(Clone, Copy)]
enum Name {
    Text(&'static str),
    File(LogFile),
}

impl Name {
    fn parse(path: &str) -> Option<Name> {
        match path {
            CHECKPOINT_FILE => Some(Name::Text(CHECKPOINT_FILE)),
            POLICY_FILE => Some(Name::Text(POLICY_FILE)),
            TRANSITIONS_FILE => Some(Name::Text(TRANSITIONS_FILE)),
            _ => LogFile::parse(path).map(Name::File),
        }
    }

    fn headers(self) -> (&'static str, &'static str) {
        match self {
            Name::Text(_) => (TEXT, BRIEF),
            // The last payload bundle still grows.
            Name::File(LogFile::Payload { .. }) => (BYTES, BRIEF),
            Name::File(_) => (BYTES, FOREVER),
        }
    }
}

fn problem(fault: SourceFault) -> Problem {
    match fault {
        SourceFault::NotFound { .. } => Problem::not_found("no_such_log_file", fault.to_string()),
        other => Problem::internal(other.slug(), other),
    }
}

fn read(source: &DirSource, name: Name) -> Result<Vec<u8>, SourceFault> {
    match name {
        Name::Text(path) => source.read(path),
        Name::File(file) => match source.read(&file.path()) {
            Err(SourceFault::NotFound { .. }) => cut_from_wider(source, file),
            answer => answer,
        },
    }
}

/// The asked width of the newest file that has at least that much of the tile.
fn cut_from_wider(source: &DirSource, file: LogFile) -> Result<Vec<u8>, SourceFault> {
    let missing = || SourceFault::NotFound { path: file.path() };
    let (LogFile::Tile { width, .. } | LogFile::Entries { width, .. }) = file else {
        return Err(missing());
    };
    let partials = source.list(file.with_width(1).path().trim_end_matches("/1"))?;
    let widths = partials.iter().filter_map(|partial| partial.name.parse::<u64>().ok());
    let wider = widths.filter(|found| *found > width).chain([TILE_WIDTH]).min();
    let bytes = source.read(&file.with_width(wider.unwrap_or(TILE_WIDTH)).path())?;
    let length = match file {
        LogFile::Entries { .. } => entries_length(&bytes, width),
        _ => usize::try_from(width * 32).ok(),
    };
    let cut = length.and_then(|length| bytes.get(..length));
    cut.map(<[u8]>::to_vec).ok_or_else(missing)
}

/// How many bytes the first `count` entries of a bundle take: each has a big-endian `u16` length.
fn entries_length(bundle: &[u8], count: u64) -> Option<usize> {
    (0..count).try_fold(0, |at: usize, _| {
        let length = bundle.get(at..at + 2)?;
        Some(at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]])))
    })
}

#[cfg(test)]
mod tests {
    use super::entries_length;

    #[test]
    fn a_bundle_is_cut_between_entries() {
        let bundle = [0, 1, 9, 0, 0, 0, 2, 7, 8];
        let check = |count, expect| assert_eq!(entries_length(&bundle, count), expect);
        check(0, Some(0));
        check(1, Some(3));
        check(2, Some(5));
        check(3, Some(9));
        check(4, None);
    }
}
