//! The benchmark's time: monotonic microseconds since it began.

#![expect(clippy::disallowed_methods, reason = "this is the benchmark's clock")]

use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    pub(super) fn now_us(self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
