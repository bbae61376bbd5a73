//! Reads the own evidence again and again, as a stranger would: a disk that changes old bytes tells
//! nobody. Whoever vouches for a log by cosigning it must still have it.
//!
//! One thread of its own, slowed down. Each round verifies what is published, with every
//! signature: about a tenth of a millisecond of one core per leaf and the reading of every file
//! once, in memory one bundle. Ten million leaves take some half an hour.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proofmark_evidence::{
    DirSource, Fault, LogFile, Policy, Report, SourceEntry, SourceFault, TileSource, verify_log,
};
use tokio::sync::watch;

use super::NodeFault;
use crate::limits::{SCRUB_INTERVAL_MS, SCRUB_PAUSE_MS, SCRUB_RECHECK_MS, SCRUB_WAIT_MS};
use crate::recorder::Health;
use crate::views::Scrubbed;

/// The running scrubber. Stopped by [`Scrub::stop`] or by dropping it.
pub(super) struct Scrub {
    /// Nothing is sent: the stop is that it is gone.
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Scrub {
    /// Begins as soon as something is `published`. What is found goes to `health`, by which the
    /// recorder stops signing, and to those who read the views.
    ///
    /// # Errors
    /// The policy of the identity is none, or there is no thread.
    pub(super) fn start(
        evidence_dir: PathBuf,
        policy: &str,
        published: watch::Receiver<Arc<str>>,
        health: Health,
    ) -> Result<(Scrub, watch::Receiver<Scrubbed>), NodeFault> {
        let fault = NodeFault::room("scrub");
        let policy = Policy::parse(policy).map_err(|why| fault(&why))?;
        let (found, seen) = watch::channel(Scrubbed::default());
        let (stop, stopped) = sync_channel(0);
        let source =
            Slow { dir: DirSource::new(evidence_dir), stopped, is_stopped: Cell::new(false) };
        let rounds = Rounds { source, policy, published, health, found };
        let thread = thread::Builder::new().name("scrub".to_owned());
        let thread = thread.spawn(move || rounds.run()).map_err(|why| fault(&why))?;
        Ok((Scrub { stop, thread }, seen))
    }

    /// Waits for the look at one bundle at most. Blocks.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the scrubber panicked: since then nobody looked at old evidence");
        }
    }
}

struct Rounds {
    source: Slow,
    policy: Policy,
    published: watch::Receiver<Arc<str>>,
    health: Health,
    found: watch::Sender<Scrubbed>,
}

impl Rounds {
    /// Until the stop, or the first damage: a person must act, and no second look mends it.
    fn run(self) {
        while self.published.borrow().is_empty() {
            if self.source.waits(SCRUB_WAIT_MS) {
                return;
            }
        }
        loop {
            let report = self.look();
            if self.source.is_stopped.get() {
                return;
            }
            match self.confirmed(&report) {
                Some(fault) => return self.damaged(&fault, report.faults_count),
                None if self.source.is_stopped.get() => return,
                None => {
                    tracing::debug!(leaves = report.size, "the evidence was scrubbed");
                    self.found.send_modify(|found| found.size = report.size);
                }
            }
            if self.source.waits(SCRUB_INTERVAL_MS) {
                return;
            }
        }
    }

    fn look(&self) -> Report {
        verify_log(&self.source, &self.policy, &mut ())
    }

    /// The first fault in a file that is at fault a second time, by the checkpoint of then: the
    /// writer may have been at work on it the first time.
    fn confirmed(&self, report: &Report) -> Option<Fault> {
        if report.is_sound() || self.source.waits(SCRUB_RECHECK_MS) {
            return None;
        }
        let again = self.look();
        if self.source.is_stopped.get() {
            return None;
        }
        let confirmed = in_both(&report.faults, again.faults);
        if confirmed.is_none() {
            let faults = report.faults_count;
            tracing::warn!(faults, "scrub: a second look did not find the same faults");
        }
        confirmed
    }

    fn damaged(&self, fault: &Fault, faults: u64) {
        tracing::error!(%fault, faults, "this replica's evidence is damaged: it stops signing");
        self.health.damage();
        self.found.send_modify(|found| found.damage = Some(fault.to_string().into()));
    }
}

/// The first of the later faults that lies in a file which was at fault before.
fn in_both(before: &[Fault], again: Vec<Fault>) -> Option<Fault> {
    let files: BTreeSet<&str> = before.iter().map(|fault| &*fault.file).collect();
    again.into_iter().find(|fault| files.contains(&*fault.file))
}

/// The published part of the own directory, read slowly; nothing once a stop is asked.
struct Slow {
    dir: DirSource,
    stopped: Receiver<()>,
    is_stopped: Cell<bool>,
}

impl Slow {
    /// Waits, and answers whether a stop was asked meanwhile: the other end is dropped then.
    fn waits(&self, ms: u64) -> bool {
        if !self.is_stopped.get() {
            let waited = self.stopped.recv_timeout(Duration::from_millis(ms));
            self.is_stopped.set(!matches!(waited, Err(RecvTimeoutError::Timeout)));
        }
        self.is_stopped.get()
    }
}

impl TileSource for Slow {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        let is_bundle = matches!(LogFile::parse(path), Some(LogFile::Entries { .. }));
        if self.waits(if is_bundle { SCRUB_PAUSE_MS } else { 0 }) {
            let message = "the scrub was stopped".to_owned();
            return Err(SourceFault::Unreadable { path: path.to_owned(), message });
        }
        self.dir.read(path)
    }

    /// Not the root: there is no end to what a writer does beyond the checkpoint, and its start-up
    /// judges that. The rest only helps to find a file that became a wider one meanwhile.
    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        if dir.is_empty() { Err(SourceFault::NotListable) } else { self.dir.list(dir) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_of_two_looks_found_is_no_damage() {
        let faults = |files: &[&str]| -> Vec<Fault> {
            let fault = |file: &&str| Fault {
                file: (*file).to_owned(),
                leaf: None,
                slug: "tile_hash",
                expected: String::new(),
                got: String::new(),
            };
            files.iter().map(fault).collect()
        };
        let check = |before: &[&str], again: &[&str], expect: Option<&str>| {
            let found = in_both(&faults(before), faults(again)).map(|fault| fault.file);
            assert_eq!(found.as_deref(), expect);
        };
        check(&["tile/0/000.p/7"], &[], None);
        check(&["tile/0/000.p/7"], &["tile/0/000.p/9"], None);
        check(&["policy", "payload/000"], &["tile/1/000", "payload/000"], Some("payload/000"));
    }
}
