//! How long to wait between attempts: decorrelated jitter, so that a fleet spreads by itself.
//!
//! Each wait is drawn evenly from [first, 3 × the previous], at most the longest (Brooker,
//! "Exponential Backoff and Jitter", 2015).

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::limits::{UPLINK_BACKOFF_MS_MAX, UPLINK_BACKOFF_MS_MIN};

/// Where random numbers come from: the system, or a test's list.
pub type Random = Box<dyn FnMut() -> u64 + Send + Sync>;

/// The system's random numbers.
pub fn system_random() -> Random {
    let system = SystemRandom::new();
    Box::new(move || {
        let mut bytes = [0; 8];
        // Without randomness the waits are the shortest ones: the agent still works.
        let _ = system.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    })
}

pub(crate) struct Backoff {
    random: Random,
    previous_ms: u64,
}

impl Backoff {
    pub(crate) fn new(random: Random) -> Backoff {
        Backoff { random, previous_ms: UPLINK_BACKOFF_MS_MIN }
    }

    /// The next wait.
    pub(crate) fn next_ms(&mut self) -> u64 {
        let top = (self.previous_ms * 3).min(UPLINK_BACKOFF_MS_MAX);
        let span = top - UPLINK_BACKOFF_MS_MIN + 1;
        self.previous_ms = UPLINK_BACKOFF_MS_MIN + (self.random)() % span;
        self.previous_ms
    }

    /// Something worked: waits start from the shortest again.
    pub(crate) fn reset(&mut self) {
        self.previous_ms = UPLINK_BACKOFF_MS_MIN;
    }

    /// A number below `count`; 0 when `count` is 0.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from((self.random)()).unwrap_or(0) % count.max(1)
    }

    /// The given delay and up to half of it again: many were told the same.
    pub(crate) fn spread_ms(&mut self, delay_ms: u64) -> u64 {
        delay_ms + (self.random)() % (delay_ms / 2 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(mut numbers: impl Iterator<Item = u64> + Send + Sync + 'static) -> Backoff {
        Backoff::new(Box::new(move || numbers.next().unwrap()))
    }

    #[test]
    fn waits_grow_to_the_longest_and_start_anew_after_success() {
        // The largest draw each time: 3 × the previous wait.
        let mut backoff = waits([200, 800, 2_600, 8_000, 9_900, 200].into_iter());
        let got: Vec<u64> = (0..5).map(|_| backoff.next_ms()).collect();
        assert_eq!(got, [300, 900, 2_700, 8_100, 10_000]);
        backoff.reset();
        assert_eq!(backoff.next_ms(), 300);
    }

    #[test]
    fn a_named_delay_is_kept_and_spread() {
        let mut backoff = waits([0, 50, 51].into_iter());
        let got: Vec<u64> = (0..3).map(|_| backoff.spread_ms(100)).collect();
        assert_eq!(got, [100, 150, 100]);
    }

    #[test]
    fn every_wait_is_within_its_bounds() {
        let mut backoff = Backoff::new(system_random());
        for _ in 0..1_000 {
            let wait = backoff.next_ms();
            assert!((UPLINK_BACKOFF_MS_MIN..=UPLINK_BACKOFF_MS_MAX).contains(&wait), "{wait}");
        }
    }
}
