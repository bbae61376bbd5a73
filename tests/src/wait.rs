//! Waiting for facts: a condition and a patience, never a bare sleep.

#![expect(clippy::disallowed_methods, reason = "patience is measured here and nowhere else")]

use std::time::{Duration, Instant};

/// How often a condition is asked.
const POLL: Duration = Duration::from_millis(20);

/// An instant after which a test stops hoping.
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    pub fn after(patience: Duration) -> Self {
        Self { at: Instant::now() + patience }
    }

    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub fn passed(self) -> Duration {
        self.started.elapsed()
    }
}

/// The pause between two looks at something that does not notify.
pub fn moment() {
    std::thread::sleep(POLL);
}

/// Asks `fact` until it answers, at most for `patience`; `what` names it when it never does.
pub fn until<T>(what: &str, patience: Duration, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(patience);
    loop {
        if let Some(answer) = fact() {
            return answer;
        }
        assert!(!deadline.passed(), "waited {patience:?} in vain for: {what}");
        moment();
    }
}

/// As [`until`], for who can say more than that it waited.
///
/// # Errors
/// The fact did not come in time; the message names it.
pub fn hoped<T>(
    what: &str,
    patience: Duration,
    mut fact: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let deadline = Deadline::after(patience);
    loop {
        if let Some(answer) = fact() {
            return Ok(answer);
        }
        if deadline.passed() {
            return Err(format!("waited {patience:?} in vain for: {what}"));
        }
        moment();
    }
}

/// Lets time pass where time itself is the input (a fault that lasts 20 s).
pub fn let_pass(duration: Duration) {
    std::thread::sleep(duration);
}
