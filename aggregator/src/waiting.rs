//! How many wait in a queue, and for how long the oldest has: what every bounded queue shows.
//!
//! A bound that is reached is an answer to the caller; this is for the operator, who wants to see
//! it coming. `OPERATING.md`, "Queues", lists them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;

/// One queue's waiting. Clones share it.
#[derive(Clone, Debug)]
pub struct Waiting {
    clock: Clock,
    tickets: Arc<Mutex<Tickets>>,
}

#[derive(Debug, Default)]
struct Tickets {
    next: u64,
    /// When each came, by number: the first is the oldest.
    since_ms: BTreeMap<u64, u64>,
}

/// One that waits, from [`Waiting::enter`] until it is dropped.
#[derive(Debug)]
pub struct Ticket {
    waiting: Waiting,
    number: u64,
}

impl Waiting {
    pub fn new(clock: Clock) -> Self {
        Self { clock, tickets: Arc::default() }
    }

    pub fn enter(&self) -> Ticket {
        let now_ms = self.clock.monotonic_ms();
        let mut tickets = self.lock();
        let number = tickets.next;
        tickets.next += 1;
        tickets.since_ms.insert(number, now_ms);
        drop(tickets);
        Ticket { waiting: self.clone(), number }
    }

    pub fn depth(&self) -> usize {
        self.lock().since_ms.len()
    }

    /// Milliseconds that the oldest has waited; 0 when nobody waits.
    pub fn age_ms(&self) -> u64 {
        let oldest = self.lock().since_ms.first_key_value().map(|(_, since_ms)| *since_ms);
        oldest.map_or(0, |since_ms| self.clock.monotonic_ms().saturating_sub(since_ms))
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

impl Ticket {
    /// Milliseconds since it was taken.
    pub fn age_ms(&self) -> u64 {
        let since_ms = self.waiting.lock().since_ms.get(&self.number).copied();
        let now_ms = self.waiting.clock.monotonic_ms();
        since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.lock().since_ms.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_still_waits_tells_the_age() {
        let clock = Clock::manual(1_000);
        let waiting = Waiting::new(clock.clone());
        assert_eq!((waiting.depth(), waiting.age_ms()), (0, 0));
        let first = waiting.enter();
        clock.advance(30);
        let second = waiting.enter();
        clock.advance(5);
        assert_eq!((waiting.depth(), waiting.age_ms()), (2, 35));
        drop(first);
        assert_eq!((waiting.depth(), waiting.age_ms(), second.age_ms()), (1, 5, 5));
        drop(second);
        assert_eq!((waiting.depth(), waiting.age_ms()), (0, 0));
    }
}
