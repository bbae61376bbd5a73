//! The only place in the agent that asks for the time.
//!
//! Two times, never mixed: *unix* time says when something was due and is written into results;
//! *monotonic* time measures how long something took and never goes back. A test owns both with
//! [`Clock::manual`].

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::limits::CLOCK_SLEEP_MS_MAX;

/// Where times come from. Cheap to clone; clones share one time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { origin: Instant },
    Manual(Arc<ManualTime>),
}

#[derive(Debug)]
struct ManualTime {
    now: Mutex<ManualNow>,
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
struct ManualNow {
    unix_us: u64,
    monotonic_us: u64,
}

impl Clock {
    /// The clock of this machine.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn system() -> Clock {
        Clock(Source::System { origin: Instant::now() })
    }

    /// A clock that stands still at `unix_ms` until it is moved.
    pub fn manual(unix_ms: u64) -> Clock {
        let now = ManualNow { unix_us: unix_ms * 1_000, monotonic_us: 0 };
        Clock(Source::Manual(Arc::new(ManualTime {
            now: Mutex::new(now),
            changed: watch::channel(()).0,
        })))
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn unix_ms(&self) -> u64 {
        self.unix_us() / 1_000
    }

    /// Microseconds since 1970-01-01 UTC. A clock set before 1970 reads as 0.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn unix_us(&self) -> u64 {
        match &self.0 {
            Source::System { .. } => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole_us)
            }
            Source::Manual(time) => time.read().unix_us,
        }
    }

    /// Microseconds since some fixed moment of this process; never goes back.
    pub fn monotonic_us(&self) -> u64 {
        match &self.0 {
            Source::System { origin } => whole_us(origin.elapsed()),
            Source::Manual(time) => time.read().monotonic_us,
        }
    }

    /// Returns at `unix_ms` or some time before it, but never later than needed. Callers look at
    /// the time again and come back; see [`CLOCK_SLEEP_MS_MAX`].
    pub async fn sleep_towards(&self, unix_ms: u64) {
        match &self.0 {
            Source::System { .. } => {
                let left_us = unix_ms.saturating_mul(1_000).saturating_sub(self.unix_us());
                tokio::time::sleep(Duration::from_micros(left_us.min(CLOCK_SLEEP_MS_MAX * 1_000)))
                    .await;
            }
            Source::Manual(time) => time.wait_until(unix_ms).await,
        }
    }

    /// Moves a manual clock on by `ms`, waking every sleeper. The system clock cannot be moved.
    pub fn advance_ms(&self, ms: u64) {
        self.move_manual(|now| {
            now.unix_us += ms * 1_000;
            now.monotonic_us += ms * 1_000;
        });
    }

    /// Sets a manual clock's unix time, also backwards, as an operator or NTP may do.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        self.move_manual(|now| now.unix_us = unix_ms * 1_000);
    }

    fn move_manual(&self, change: impl FnOnce(&mut ManualNow)) {
        if let Source::Manual(time) = &self.0 {
            change(&mut time.now.lock().expect("no holder of this lock can panic"));
            time.changed.send_replace(());
        }
    }
}

impl ManualTime {
    fn read(&self) -> ManualNow {
        *self.now.lock().expect("no holder of this lock can panic")
    }

    async fn wait_until(&self, unix_ms: u64) {
        let mut changed = self.changed.subscribe();
        while self.read().unix_us < unix_ms.saturating_mul(1_000) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

fn whole_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_set_back_keeps_its_monotonic_time() {
        let clock = Clock::manual(10_000);
        clock.advance_ms(500);
        clock.set_unix_ms(9_000);
        assert_eq!((clock.unix_ms(), clock.monotonic_us()), (9_000, 500_000));
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_manual_clock_arrives() {
        let clock = Clock::manual(0);
        let sleeper = clock.clone();
        let slept = async move { sleeper.sleep_towards(1_000).await };
        let moved = async {
            tokio::task::yield_now().await;
            clock.advance_ms(999);
            tokio::task::yield_now().await;
            clock.advance_ms(1);
        };
        tokio::join!(slept, moved);
        assert_eq!(clock.unix_ms(), 1_000);
    }

    #[test]
    fn the_system_clock_is_past_the_year_2020() {
        assert!(Clock::system().unix_ms() > 1_577_836_800_000);
    }
}
