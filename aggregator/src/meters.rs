//! Numbers of work that takes long and that few look at: snapshots, and catching up. Written by its
//! threads, read when somebody scrapes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::clock::Clock;

/// The snapshots made since the start.
#[derive(Debug)]
pub struct SnapshotMeter {
    clock: Clock,
    made: AtomicU64,
    bytes: AtomicU64,
    took_ms: AtomicU64,
    stalled_ms: AtomicU64,
    made_at_ms: AtomicU64,
}

/// The newest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMade {
    /// How many there were.
    pub count: u64,
    pub bytes: u64,
    /// From the order until it was durable.
    pub took_ms: u64,
    /// What of that the apply thread stood still for.
    pub stalled_ms: u64,
    pub age_ms: u64,
}

impl SnapshotMeter {
    pub fn new(clock: Clock) -> SnapshotMeter {
        let (made, bytes, took_ms) = Default::default();
        let (stalled_ms, made_at_ms) = Default::default();
        SnapshotMeter { clock, made, bytes, took_ms, stalled_ms, made_at_ms }
    }

    /// One was made just now.
    pub fn made(&self, bytes: u64, ordered_at_ms: u64) {
        let now_ms = self.clock.monotonic_ms();
        self.bytes.store(bytes, Relaxed);
        self.took_ms.store(now_ms.saturating_sub(ordered_at_ms), Relaxed);
        self.made_at_ms.store(now_ms, Relaxed);
        self.made.fetch_add(1, Relaxed);
    }

    /// The state was copied for the next one, from `begun_ms` (monotonic) until now.
    pub fn stalled(&self, begun_ms: u64) {
        self.stalled_ms.store(self.clock.monotonic_ms().saturating_sub(begun_ms), Relaxed);
    }

    /// `None` before the first.
    pub fn newest(&self) -> Option<SnapshotMade> {
        let count = self.made.load(Relaxed);
        let age_ms = self.clock.monotonic_ms().saturating_sub(self.made_at_ms.load(Relaxed));
        let (bytes, took_ms) = (self.bytes.load(Relaxed), self.took_ms.load(Relaxed));
        let stalled_ms = self.stalled_ms.load(Relaxed);
        (count > 0).then_some(SnapshotMade { count, bytes, took_ms, stalled_ms, age_ms })
    }
}

/// How catching up goes.
#[derive(Debug, Default)]
pub struct CatchUpMeter {
    /// A snapshot of another replica is being fetched, or the leaves that it speaks of.
    pub is_active: AtomicBool,
    /// Leaves that are still to come; 0 when nothing is fetched.
    pub leaves_missing: AtomicU64,
    /// What peers sent, believed or not. Only rises.
    pub fetched_bytes: AtomicU64,
    /// Snapshots that could not be had. Only rises.
    pub gave_up: AtomicU64,
}

impl CatchUpMeter {
    /// `leaves_missing`: of what is fetched now, if anything is.
    pub fn show(&self, leaves_missing: Option<u64>) {
        self.is_active.store(leaves_missing.is_some(), Relaxed);
        self.leaves_missing.store(leaves_missing.unwrap_or(0), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_snapshot_ages_until_the_next() {
        let clock = Clock::manual(1_000);
        let meter = SnapshotMeter::new(clock.clone());
        assert_eq!(meter.newest(), None);
        let ordered_at_ms = clock.monotonic_ms();
        clock.advance(5);
        meter.stalled(ordered_at_ms);
        clock.advance(35);
        meter.made(700, ordered_at_ms);
        clock.advance(60_000);
        let expect =
            SnapshotMade { count: 1, bytes: 700, took_ms: 40, stalled_ms: 5, age_ms: 60_000 };
        assert_eq!(meter.newest(), Some(expect));
    }
}
