//! Who waits for which entry of this leader.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ProposalOutcome;
use super::driver::Position;
use super::inbox::Proposal;
use crate::command::Reply;

/// Proposals that are in the log and not yet applied, by index. The raft thread adds and gives up,
/// the apply thread resolves.
#[derive(Default)]
pub(crate) struct Waiters {
    entries: Mutex<BTreeMap<u64, Waiting>>,
}

struct Waiting {
    term: u64,
    proposals: Vec<Proposal>,
}

impl Waiters {
    /// Remembers who proposed the entry at `position`, in the order of its commands.
    pub(crate) fn wait(&self, position: Position, proposals: Vec<Proposal>) {
        let waiting = Waiting { term: position.term, proposals };
        let replaced = self.lock().insert(position.index, waiting);
        // An older leadership's entry at the same index was overwritten: it is lost.
        replaced.into_iter().for_each(Waiting::lose);
    }

    /// The entry at `position` was applied with these replies, one for each command.
    ///
    /// # Panics
    /// When the applier gave fewer or more replies than the entry has commands.
    pub(crate) fn resolve(&self, position: Position, replies: Vec<Reply>) {
        let Some(waiting) = self.lock().remove(&position.index) else { return };
        if waiting.term != position.term {
            return waiting.lose();
        }
        assert_eq!(waiting.proposals.len(), replies.len(), "one reply for each command");
        for (proposal, reply) in waiting.proposals.into_iter().zip(replies) {
            proposal.answer(ProposalOutcome::Applied(reply));
        }
    }

    /// This replica no longer leads, or leads a later term: what was proposed in an earlier one may
    /// be committed or not, and nobody here will know.
    pub(crate) fn lose_before(&self, term: u64) {
        let lost: Vec<Waiting> = {
            let mut entries = self.lock();
            let (lost, kept) =
                std::mem::take(&mut *entries).into_iter().partition(|(_, w)| w.term < term);
            *entries = kept;
            let lost: BTreeMap<u64, Waiting> = lost;
            lost.into_values().collect()
        };
        lost.into_iter().for_each(Waiting::lose);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn lose(self) {
        self.proposals.into_iter().for_each(|proposal| proposal.answer(ProposalOutcome::Lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::budget::Budget;
    use tokio::sync::oneshot;

    fn proposal() -> (Proposal, oneshot::Receiver<ProposalOutcome>) {
        let (reply, outcome) = oneshot::channel();
        let permit = Budget::new(1, 1, Default::default()).admit(0).unwrap();
        (Proposal { command: Vec::new(), reply, permit }, outcome)
    }

    fn at(index: u64, term: u64) -> Position {
        Position { index, term }
    }

    #[test]
    fn an_entry_is_ours_only_at_its_index_and_term() {
        for (term, expect) in
            [(3, ProposalOutcome::Applied(Reply::Done)), (4, ProposalOutcome::Lost)]
        {
            let waiters = Waiters::default();
            let (proposal, mut outcome) = proposal();
            waiters.wait(at(7, 3), vec![proposal]);
            waiters.resolve(at(6, 3), vec![]);
            assert!(outcome.try_recv().is_err(), "another index");
            waiters.resolve(at(7, term), vec![Reply::Done]);
            assert_eq!(outcome.try_recv().unwrap(), expect);
        }
    }

    #[test]
    fn an_entry_of_an_earlier_term_is_given_up() {
        let waiters = Waiters::default();
        let (old, mut old_outcome) = proposal();
        let (new, mut new_outcome) = proposal();
        waiters.wait(at(7, 3), vec![old]);
        waiters.wait(at(8, 4), vec![new]);
        waiters.lose_before(4);
        assert_eq!(old_outcome.try_recv().unwrap(), ProposalOutcome::Lost);
        assert!(new_outcome.try_recv().is_err());
        waiters.resolve(at(8, 4), vec![Reply::Done]);
        assert_eq!(new_outcome.try_recv().unwrap(), ProposalOutcome::Applied(Reply::Done));
    }
}
