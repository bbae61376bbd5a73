//! A mutex and a condition variable: how threads hand each other work without losing notices.
//!
//! Bounds belong to the content: whoever posts looks at what is already there and may refuse.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shared content that one thread takes whole and many threads add to.
#[derive(Default)]
pub(crate) struct Mailbox<T> {
    held: Mutex<Held<T>>,
    posted: Condvar,
}

#[derive(Default)]
struct Held<T> {
    content: T,
    /// The owner sleeps: to wake one that is awake is a system call for nothing.
    is_awaited: bool,
}

impl<T: Default> Mailbox<T> {
    /// Changes the content and wakes the owner.
    pub(crate) fn post<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut held = self.lock();
        let result = change(&mut held.content);
        let is_awaited = std::mem::take(&mut held.is_awaited);
        drop(held);
        if is_awaited {
            self.posted.notify_one();
        }
        result
    }

    /// Looks at the content without waking anybody.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock().content)
    }

    /// Waits until `ready` holds, then takes everything.
    pub(crate) fn take(&self, ready: impl Fn(&T) -> bool) -> T {
        let held = self.posted.wait_while(self.lock(), |held| held.awaits(&ready));
        std::mem::take(&mut held.unwrap_or_else(PoisonError::into_inner).content)
    }

    /// Waits until `ready` holds or `wait` is over, then takes whatever is there.
    pub(crate) fn take_within(&self, ready: impl Fn(&T) -> bool, wait: Duration) -> T {
        let (mut held, _) = self
            .posted
            .wait_timeout_while(self.lock(), wait, |held| held.awaits(&ready))
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut held.content)
    }

    /// A poisoned lock means a thread panicked, and every thread here aborts the process on a
    /// panic: whoever still runs may finish its sentence.
    fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Held<T> {
    /// Whether the owner must sleep; then it wants to be woken.
    fn awaits(&mut self, ready: impl Fn(&T) -> bool) -> bool {
        self.is_awaited = !ready(&self.content);
        self.is_awaited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_takes_all_that_was_posted_at_once() {
        let mailbox = Mailbox::<Vec<u32>>::default();
        mailbox.post(|content| content.push(1));
        mailbox.post(|content| content.push(2));
        assert_eq!(mailbox.take(|content| !content.is_empty()), vec![1, 2]);
        assert!(mailbox.take_within(|content| !content.is_empty(), Duration::ZERO).is_empty());
    }

    #[test]
    fn a_post_from_another_thread_wakes_the_owner() {
        let mailbox = Mailbox::<Vec<u32>>::default();
        std::thread::scope(|scope| {
            scope.spawn(|| mailbox.post(|content| content.push(7)));
            assert_eq!(mailbox.take(|content| !content.is_empty()), vec![7]);
        });
    }
}
