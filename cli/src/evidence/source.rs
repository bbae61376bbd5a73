//! Where a log's files come from: a directory, or the same names under a URL.

use std::sync::Arc;

use proofmark_evidence::{CHECKPOINT_FILE, DirSource, SourceEntry, SourceFault, TileSource};

use crate::exit::{Exit, Failure};
use crate::http::{Client, HttpFault};
use crate::limits::WRITER_WAIT;

/// A log named on the command line. Clones share one connection pool.
#[derive(Clone)]
pub enum Source {
    Dir(DirSource),
    Http { client: Arc<Client>, base: Arc<str> },
}

impl Source {
    pub fn is_url(log: &str) -> bool {
        log.starts_with("http://") || log.starts_with("https://")
    }

    /// `http://` and `https://` are URLs; anything else is a directory. A server that does not
    /// answer is told from evidence that does not verify.
    pub fn open(log: &str) -> Result<Source, Failure> {
        if Source::is_url(log) {
            let (client, base) = (Client::new()?, log.trim_end_matches('/'));
            if let Err(fault @ HttpFault::NoAnswer { .. }) =
                client.get(&format!("{base}/{CHECKPOINT_FILE}"))
            {
                return Err(Failure::new(Exit::Unavailable, fault.to_string()));
            }
            return Ok(Source::Http { client: Arc::new(client), base: base.into() });
        }
        if !std::path::Path::new(log).is_dir() {
            return Err(Failure::new(
                Exit::Usage,
                format!("{log}: expected a directory or a URL, got neither"),
            ));
        }
        Ok(Source::Dir(DirSource::new(log)))
    }
}

impl TileSource for Source {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        match self {
            Source::Dir(dir) => dir.read(path),
            Source::Http { client, base } => {
                client.get(&format!("{base}/{path}")).map_err(|fault| source_fault(path, &fault))
            }
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        match self {
            Source::Dir(source) => source.list(dir),
            Source::Http { .. } => Err(SourceFault::NotListable),
        }
    }

    /// A node may write the directory while it is read; nothing but time tells.
    fn wait_for_writer(&self) -> bool {
        let waits = matches!(self, Source::Dir(_));
        if waits {
            std::thread::sleep(WRITER_WAIT);
        }
        waits
    }
}

fn source_fault(path: &str, fault: &HttpFault) -> SourceFault {
    let path = path.to_owned();
    match fault {
        HttpFault::Status { status: 404, .. } => SourceFault::NotFound { path },
        // A server that sends without end is no server to ask again.
        HttpFault::TooLarge { limit, .. } => {
            let expected = *limit as u64;
            SourceFault::TooLarge { path, expected, got: expected + 1 }
        }
        other => SourceFault::Unreadable { path, message: other.to_string() },
    }
}
