//! A token bucket: so many bytes a second, and a second's worth at once after silence.

/// How much may be sent now. The clock is the caller's.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    bytes_per_second: u64,
    /// May be below zero: what was taken on credit is waited for.
    bytes: i64,
    filled_at_ms: u64,
}

impl TokenBucket {
    /// Full, at `now_ms` (monotonic).
    pub fn new(bytes_per_second: u64, now_ms: u64) -> TokenBucket {
        let bytes = i64::try_from(bytes_per_second).unwrap_or(i64::MAX);
        TokenBucket { bytes_per_second, bytes, filled_at_ms: now_ms }
    }

    /// Takes so many bytes, and says how many milliseconds to wait before sending them.
    pub fn take(&mut self, bytes: usize, now_ms: u64) -> u64 {
        let full = i64::try_from(self.bytes_per_second).unwrap_or(i64::MAX);
        let passed_ms = now_ms.saturating_sub(self.filled_at_ms);
        let gained = u128::from(passed_ms) * u128::from(self.bytes_per_second) / 1_000;
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        if gained > 0 {
            self.bytes = self.bytes.saturating_add(gained).min(full);
            self.filled_at_ms = now_ms;
        }
        self.bytes = self.bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        match u64::try_from(-self.bytes) {
            Ok(owed) => (owed * 1_000).div_ceil(self.bytes_per_second.max(1)),
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(1_000, 0);
        let mut check = |bytes, now_ms, wait_ms| assert_eq!(bucket.take(bytes, now_ms), wait_ms);
        check(1_000, 0, 0);
        check(500, 0, 500);
        check(500, 0, 1_000);
        check(100, 1_000, 100);
        // Silence fills it, and no further than full.
        check(1_000, 60_000, 0);
        check(1, 60_000, 1);
    }

    #[test]
    fn many_small_takers_get_the_rate_together() {
        let mut bucket = TokenBucket::new(1_000, 0);
        let mut now_ms = 0;
        for _ in 0..10_000 {
            now_ms += bucket.take(3, now_ms);
        }
        // 30,000 bytes, the first thousand of them at once.
        assert!((28_900..=29_200).contains(&now_ms), "{now_ms}");
    }
}
