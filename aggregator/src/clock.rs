//! The only place where this program asks for the time.

#![expect(clippy::disallowed_methods, reason = "the one room where now() may be asked")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a program's time comes from. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual { unix_ms: Arc<AtomicU64> },
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self { source: Source::System { started: Instant::now() } }
    }

    /// A clock that stands still until [`Clock::advance`] moves it, for tests.
    pub fn manual(unix_ms: u64) -> Self {
        Self { source: Source::Manual { unix_ms: Arc::new(AtomicU64::new(unix_ms)) } }
    }

    /// Wall time, milliseconds since the Unix epoch. May step; never used as an ordering.
    pub fn unix_ms(&self) -> u64 {
        match &self.source {
            Source::System { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            Source::Manual { unix_ms } => unix_ms.load(Ordering::SeqCst),
        }
    }

    /// Milliseconds that only ever grow, from an arbitrary start. For ages and deadlines.
    pub fn monotonic_ms(&self) -> u64 {
        match &self.source {
            Source::System { started } => {
                u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
            }
            Source::Manual { unix_ms } => unix_ms.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock. Does nothing to the system's.
    pub fn advance(&self, by_ms: u64) {
        if let Source::Manual { unix_ms } = &self.source {
            unix_ms.fetch_add(by_ms, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, also back, as an operator or NTP may do. Does nothing to the system's.
    pub fn set_unix_ms(&self, now_ms: u64) {
        if let Source::Manual { unix_ms } = &self.source {
            unix_ms.store(now_ms, Ordering::SeqCst);
        }
    }
}
