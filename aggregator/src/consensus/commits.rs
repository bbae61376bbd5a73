//! When this replica last had all there was: what a stale read says of its age.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::{COMMITS_NOTED_MAX, RAFT_TICK_MS};

/// How far the group was, and when this replica learnt it: too late by the way of one message, and
/// no more. Only a majority moves a commit on; so one that rises is news, and one that is said
/// again is not: a leader that was cut off says it too.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// The highest so far; `None` before the first, which may be old news.
    highest: Option<u64>,
    /// By ascending commit, and so by instant.
    noted: Vec<Noted>,
}

#[derive(Clone, Copy, Debug)]
struct Noted {
    commit: u64,
    at_ms: u64,
}

impl Commits {
    /// A leader said `commit` at `at_ms` (monotonic).
    pub(crate) fn note(&self, commit: u64, at_ms: u64) {
        let mut heard = self.lock();
        let before = heard.highest;
        heard.highest = before.max(Some(commit));
        if before.is_some_and(|before| before < commit) {
            heard.push(Noted { commit, at_ms });
        }
    }

    /// How long ago, in milliseconds, a state that has applied `applied` had all there was; `None`:
    /// never since this replica's start, as far as it knows.
    pub(crate) fn age_ms(&self, applied: u64, now_ms: u64) -> Option<u64> {
        let heard = self.lock();
        let newest = heard.noted.iter().rev().find(|noted| noted.commit <= applied)?;
        Some(now_ms.saturating_sub(newest.at_ms))
    }

    /// Nothing that is kept here is ever half changed.
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn push(&mut self, newest: Noted) {
        // Within a tick the newest stands for all.
        let is_brief = |pair: &[Noted; 2]| newest.at_ms < pair[0].at_ms + RAFT_TICK_MS;
        if self.noted.last_chunk().is_some_and(is_brief) {
            self.noted.pop();
        }
        self.noted.push(newest);
        if self.noted.len() > COMMITS_NOTED_MAX {
            thin(&mut self.noted);
        }
    }
}

/// Lets go of every other one of the older half: what is old is told less finely, and never younger
/// than it is.
fn thin(noted: &mut Vec<Noted>) {
    let half = noted.len() / 2;
    let mut at = 0;
    noted.retain(|_| {
        at += 1;
        at > half || at % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(noted: &[(u64, u64)]) -> Commits {
        let commits = Commits::default();
        commits.note(1, 6_000);
        noted.iter().for_each(|(commit, at_ms)| commits.note(*commit, *at_ms));
        commits
    }

    #[test]
    fn a_state_is_as_old_as_the_newest_commit_that_it_has() {
        let check = |noted: &[(u64, u64)], applied, expect| {
            let got = commits(noted).age_ms(applied, 10_000);
            assert_eq!(got, expect, "{applied} after {noted:?}");
        };
        let seen = [(10, 7_000), (20, 8_000), (30, 9_000)];
        check(&seen, 30, Some(1_000));
        check(&seen, 29, Some(2_000));
        check(&seen, 10, Some(3_000));
        check(&seen, 9, None);
        check(&[], 30, None);
        // Said again, perhaps by a leader that is none any more; and by one that is behind.
        check(&[(10, 7_000), (10, 9_900), (9, 9_950)], 10, Some(3_000));
        // The first that is heard may be old.
        check(&[], 1, None);
        // Within one tick the newest counts.
        check(&[(10, 7_000), (11, 7_001), (12, 7_002)], 12, Some(2_998));
        check(&[(10, 7_000), (11, 7_001), (12, 7_002)], 11, Some(3_000));
    }

    #[test]
    fn what_is_kept_is_bounded_and_never_tells_too_young() {
        let steps = 10 * COMMITS_NOTED_MAX as u64;
        let seen: Vec<(u64, u64)> = (2..=steps).map(|n| (n, n * RAFT_TICK_MS)).collect();
        let commits = commits(&seen);
        assert!(commits.lock().noted.len() <= COMMITS_NOTED_MAX);
        let now_ms = steps * RAFT_TICK_MS;
        for (commit, at_ms) in seen {
            let age_ms = commits.age_ms(commit, now_ms);
            assert!(age_ms.is_none_or(|age_ms| age_ms >= now_ms - at_ms), "{commit}: {age_ms:?}");
        }
        assert_eq!(commits.age_ms(steps, now_ms), Some(0));
    }
}
