//! A mutex and a condition variable: how threads hand each other work without losing notices.
//!
//! Bounds belong to the content: whoever posts looks at what is already there and may refuse.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shared content that one thread takes whole and many threads add to.
#[derive(Default)]
pub(crate) struct Mailbox<T> {
    content: Mutex<T>,
    posted: Condvar,
}

impl<T: Default> Mailbox<T> {
    /// Changes the content and wakes the owner.
    pub(crate) fn post<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.posted.notify_one();
        result
    }

    /// Looks at the content without waking anybody.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until `ready` holds, then takes everything.
    pub(crate) fn take(&self, ready: impl Fn(&T) -> bool) -> T {
        let mut content = self.lock();
        while !ready(&content) {
            content = self.posted.wait(content).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut content)
    }

    /// Waits until `ready` holds or `wait` is over, then takes whatever is there.
    pub(crate) fn take_within(&self, ready: impl Fn(&T) -> bool, wait: Duration) -> T {
        let content = self.lock();
        let (mut content, _) = self
            .posted
            .wait_timeout_while(content, wait, |content| !ready(content))
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut content)
    }

    /// A poisoned lock means a thread panicked, and every thread here aborts the process on a
    /// panic: whoever still runs may finish its sentence.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
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
