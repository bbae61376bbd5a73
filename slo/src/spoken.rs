//! Of which time of a series the agent has spoken, and with what: a result of its own for an
//! instant, or one result that stands for many ("asleep from here, 300 runs").
//!
//! Every expected instant has at most one cause: that of its own result; else the reason of the
//! first result that stood for it; else it is silent. So what is told counts only for instants
//! nobody spoke of yet, and a result of its own that comes after all takes back what was told for
//! its instant.
//!
//! Nothing here depends on `as_of`: replicas and strangers advance at different times.

use proofmark_evidence::UnknownReason;

use crate::assignment::Assignments;
use crate::limits::{SPOKEN_SPANS_MAX, TOLD_SPANS_MAX};
use crate::window::Window;

/// A time for which one reason was told, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) reason: UnknownReason,
}

impl Told {
    pub(crate) fn window(&self) -> Window {
        Window { from_ms: self.first_ms, until_ms: self.last_ms.saturating_add(1) }
    }

    /// The part before `at_ms`, and the rest.
    pub(crate) fn split_at(self, at_ms: u64) -> (Option<Told>, Option<Told>) {
        let part = |first_ms: u64, last_ms: u64| {
            (first_ms <= last_ms).then_some(Told { first_ms, last_ms, ..self })
        };
        let before =
            at_ms.checked_sub(1).and_then(|end| part(self.first_ms, end.min(self.last_ms)));
        (before, part(self.first_ms.max(at_ms), self.last_ms))
    }

    fn contains(&self, at_ms: u64) -> bool {
        (self.first_ms..=self.last_ms).contains(&at_ms)
    }
}

/// Takes one instant out of what was told. Returns whether it was in it.
pub(crate) fn take_instant(told: &mut Vec<Told>, at_ms: u64) -> bool {
    let Some(place) = told.iter().position(|one| one.contains(at_ms)) else { return false };
    let (before, rest) = told[place].split_at(at_ms);
    let after = rest.and_then(|rest| rest.split_at(at_ms.saturating_add(1)).1);
    told.splice(place..=place, before.into_iter().chain(after.filter(|one| one.first_ms > at_ms)));
    true
}

/// A time of which the agent spoke, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    /// The reason that may still be taken back. None: results of their own, or settled.
    pub(crate) told: Option<UnknownReason>,
}

/// The spans, ascending, never overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// What was or was not said of the time until then is forgotten: nothing is told for it.
    pub(crate) settled_ms: Option<u64>,
    pub(crate) spans: Vec<Span>,
}

impl Spoken {
    /// Notes a result of its own that comes right after the only span, as nearly all do: the same
    /// as [`Spoken::hear`] and [`Spoken::settle`]. Returns whether it is such a one.
    pub(crate) fn go_on(&mut self, at_ms: u64, assignments: &Assignments) -> bool {
        let [span] = &mut self.spans[..] else { return false };
        if span.told.is_some() || at_ms <= span.last_ms {
            return false;
        }
        let between = Window { from_ms: span.last_ms + 1, until_ms: at_ms };
        let goes_on = assignments.expected(between) == 0;
        if goes_on {
            span.last_ms = at_ms;
        }
        goes_on
    }

    /// Notes a result of its own. Returns the reason that was told for the instant before.
    pub(crate) fn hear(&mut self, at_ms: u64) -> Option<UnknownReason> {
        let place = self.spans.partition_point(|span| span.last_ms < at_ms);
        let own = Span { first_ms: at_ms, last_ms: at_ms, told: None };
        let Some(span) = self.spans.get(place).copied().filter(|span| span.first_ms <= at_ms)
        else {
            self.spans.insert(place, own);
            return None;
        };
        let reason = span.told?;
        let before = at_ms.checked_sub(1).map(|last_ms| Span { last_ms, ..span });
        let after = at_ms.checked_add(1).map(|first_ms| Span { first_ms, ..span });
        let parts = before.into_iter().chain([own]).chain(after);
        let parts: Vec<_> = parts.filter(|part| part.first_ms <= part.last_ms).collect();
        self.spans.splice(place..=place, parts);
        Some(reason)
    }

    /// Notes what was told. Returns the parts in which runs are expected nobody spoke of before.
    pub(crate) fn tell(&mut self, told: Told, assignments: &Assignments) -> Vec<Told> {
        let mut new = self.unspoken(told);
        new.retain(|part| assignments.expected(part.window()) > 0);
        let revocable = self.spans.iter().filter(|span| span.told.is_some()).count();
        new.truncate(TOLD_SPANS_MAX.saturating_sub(revocable));
        for part in &new {
            let place = self.spans.partition_point(|span| span.last_ms < part.first_ms);
            let Told { first_ms, last_ms, reason } = *part;
            self.spans.insert(place, Span { first_ms, last_ms, told: Some(reason) });
        }
        new
    }

    /// Joins spans between which nothing is expected. Up to `floor_ms` no result can come any
    /// more, so nothing is taken back there.
    pub(crate) fn settle(&mut self, floor_ms: Option<u64>, assignments: &Assignments) {
        for span in &mut self.spans {
            if floor_ms.is_some_and(|floor_ms| span.last_ms <= floor_ms) {
                span.told = None;
            }
        }
        self.spans.dedup_by(|next, span| {
            let between = Window { from_ms: span.last_ms + 1, until_ms: next.first_ms };
            let joins = span.told == next.told && assignments.expected(between) == 0;
            if joins {
                span.last_ms = next.last_ms;
            }
            joins
        });
        // The oldest is then settled: of those that may be taken back there are fewer.
        while self.spans.len() > SPOKEN_SPANS_MAX {
            self.settled_ms = Some(self.spans.remove(0).last_ms);
        }
    }

    /// Forgets what was told for `from_ms` and later.
    pub(crate) fn cut(&mut self, from_ms: u64) {
        self.spans.retain(|span| span.told.is_none() || span.first_ms < from_ms);
        for span in self.spans.iter_mut().filter(|span| span.told.is_some()) {
            span.last_ms = span.last_ms.min(from_ms - 1);
        }
    }

    fn unspoken(&self, told: Told) -> Vec<Told> {
        let mut rest = match self.settled_ms {
            Some(settled_ms) => told.split_at(settled_ms.saturating_add(1)).1,
            None => Some(told),
        };
        let mut parts = Vec::new();
        let from = self.spans.partition_point(|span| span.last_ms < told.first_ms);
        for span in self.spans[from..].iter().take_while(|span| span.first_ms <= told.last_ms) {
            let Some(left) = rest else { break };
            let (before, after) = left.split_at(span.first_ms);
            parts.extend(before);
            rest = span.last_ms.checked_add(1).and_then(|next_ms| after?.split_at(next_ms).1);
        }
        parts.extend(rest);
        parts
    }
}

#[cfg(test)]
mod tests {
    use proofmark_spec::Grid;

    use super::*;

    const ASLEEP: UnknownReason = UnknownReason::SkippedAsleep;
    const FULL: UnknownReason = UnknownReason::SpoolFull;

    /// A run is due every ten.
    fn assignments() -> Assignments {
        let mut assignments = Assignments::default();
        assignments.assign(Grid { interval_ms: 10, offset_ms: 0 }, 0);
        assignments
    }

    fn tell(spoken: &mut Spoken, first_ms: u64, last_ms: u64, reason: UnknownReason) -> u64 {
        let assignments = assignments();
        let new = spoken.tell(Told { first_ms, last_ms, reason }, &assignments);
        spoken.settle(None, &assignments);
        new.iter().map(|part| assignments.expected(part.window())).sum()
    }

    fn hear(spoken: &mut Spoken, at_ms: u64) -> Option<UnknownReason> {
        let reason = spoken.hear(at_ms);
        spoken.settle(None, &assignments());
        reason
    }

    #[test]
    fn what_was_spoken_of_is_not_told_again() {
        let mut spoken = Spoken::default();
        assert_eq!(hear(&mut spoken, 20), None);
        assert_eq!(tell(&mut spoken, 0, 40, ASLEEP), 4);
        assert_eq!(tell(&mut spoken, 0, 60, FULL), 2);
        assert_eq!(tell(&mut spoken, 0, 60, ASLEEP), 0);
        assert!(tell(&mut spoken, 0, u64::MAX - 1, FULL) > 1_000_000);
        assert_eq!(tell(&mut spoken, 0, u64::MAX, FULL), 0);
    }

    #[test]
    fn a_result_of_its_own_takes_back_what_was_told_for_it_once() {
        let mut spoken = Spoken::default();
        tell(&mut spoken, 0, 40, ASLEEP);
        assert_eq!(hear(&mut spoken, 20), Some(ASLEEP));
        assert_eq!(hear(&mut spoken, 20), None);
        assert_eq!(tell(&mut spoken, 0, 40, FULL), 0);
    }

    /// The short way for what comes right after the only span is the long way.
    #[test]
    fn going_on_is_hearing_and_settling() {
        let assignments = assignments();
        let stories: [&[(u64, u64)]; 4] = [&[], &[(0, 20)], &[(0, 20), (40, 50)], &[(7, 7)]];
        for (story, at_ms) in stories.iter().flat_map(|story| (0..8).map(move |n| (story, n * 10)))
        {
            for told in [None, Some(ASLEEP)] {
                let span = |(first_ms, last_ms): &(u64, u64)| Span {
                    first_ms: *first_ms,
                    last_ms: *last_ms,
                    told,
                };
                let spans: Vec<_> = story.iter().map(span).collect();
                let mut short = Spoken { settled_ms: None, spans };
                let mut long = short.clone();
                if short.go_on(at_ms, &assignments) {
                    assert_eq!(long.hear(at_ms), None);
                    long.settle(None, &assignments);
                }
                assert_eq!(short, long, "{story:?} and {at_ms}");
            }
        }
    }

    #[test]
    fn neighbours_become_one_span_and_old_ones_are_forgotten() {
        let mut spoken = Spoken::default();
        (0..100).for_each(|step| assert_eq!(hear(&mut spoken, step * 10), None));
        assert_eq!(spoken.spans.len(), 1);
        for step in 0..=SPOKEN_SPANS_MAX as u64 {
            hear(&mut spoken, 2_000 + step * 20);
        }
        assert_eq!((spoken.spans.len(), spoken.settled_ms), (SPOKEN_SPANS_MAX, Some(2_000)));
        assert_eq!(tell(&mut spoken, 0, 2_010, ASLEEP), 1, "2010 lies after what is forgotten");
    }

    #[test]
    fn ever_new_reasons_take_no_more_room() {
        let mut spoken = Spoken::default();
        for step in 0..1_000 {
            tell(&mut spoken, 0, step * 10, if step % 2 == 0 { ASLEEP } else { FULL });
        }
        assert_eq!(spoken.spans.len(), TOLD_SPANS_MAX);
    }

    #[test]
    fn an_instant_is_taken_out() {
        let mut told = vec![Told { first_ms: 5, last_ms: 9, reason: ASLEEP }];
        for at_ms in [5, 7, 9] {
            assert!(take_instant(&mut told, at_ms) && !take_instant(&mut told, at_ms));
        }
        let left: Vec<_> = told.iter().map(|one| (one.first_ms, one.last_ms)).collect();
        assert_eq!(left, [(6, 6), (8, 8)]);
    }
}
