//! Seeking leadership, giving it away, forgoing it.

use raft::StateRole;

use super::super::election::Wait;
use super::super::storage::LogSource;
use super::{Driver, TransferRefused};
use crate::limits::ELECTION_TICKS;

impl<S: LogSource> Driver<S> {
    /// Asks for votes now instead of waiting for a silence, when there is nobody else to hear.
    pub fn campaign_if_alone(&mut self) {
        let me = self.raw.raft.id;
        if self.membership.voters.iter().eq([&me]) && !self.membership.is_joint() {
            let _ = self.raw.campaign();
            self.set_election_timeout();
        }
    }

    /// Offers leadership, if this replica has it, to the other voter that has confirmed the most.
    /// Answers to whom; `None` when there is nobody, or nothing to offer. Until it is taken, or an
    /// election timeout has passed, proposals are refused; asked again, it is the next one's turn.
    pub fn hand_over(&mut self) -> Option<u64> {
        if !self.leads() {
            return None;
        }
        let me = self.raw.raft.id;
        let voters = &self.membership.voters;
        let others: Vec<u64> = voters.iter().copied().filter(|id| *id != me).collect();
        if others.iter().all(|id| self.offered.contains(id)) {
            self.offered.clear();
        }
        let progress = self.raw.raft.prs();
        let confirmed = |id: u64| progress.get(id).map_or(0, |of| of.matched);
        let open = others.into_iter().filter(|id| !self.offered.contains(id));
        let next = open.max_by_key(|id| (confirmed(*id), std::cmp::Reverse(*id)))?;
        self.offered.push(next);
        self.raw.transfer_leader(next);
        Some(next)
    }

    /// Offers leadership to this very voter. It takes it as soon as it has the whole log, or an
    /// election timeout later the offer is void; until then proposals are refused.
    pub fn transfer_leader(&mut self, to: u64) -> Result<(), TransferRefused> {
        if !self.leads() {
            return Err(TransferRefused::NotLeader { leader: self.status().leader });
        }
        if to == self.raw.raft.id {
            return Err(TransferRefused::Leads { to });
        }
        if !self.membership.voters.contains(&to) {
            return Err(TransferRefused::NotVoter { to });
        }
        self.raw.transfer_leader(to);
        Ok(())
    }

    /// From now on this replica never asks for votes and takes no leadership that is offered. It
    /// votes and replicates as before. It keeps what leadership it has: see [`Driver::hand_over`].
    pub fn stand_down(&mut self) {
        self.stood_down = true;
    }

    /// Whether an offer of leadership is let pass: for ever, or while a snapshot is on its way into
    /// the state, when raft would panic (see [`Driver::tick`]).
    pub(super) fn forgoes_leadership(&self) -> bool {
        self.stood_down || self.snapshots.is_installing()
    }

    /// A replica that stood down has waited long enough to vote for others, and never so long that
    /// it would ask for votes.
    pub(super) fn forgo_election(&mut self) {
        let raft = &mut self.raw.raft;
        if self.stood_down && raft.state != StateRole::Leader {
            raft.election_elapsed = raft.election_elapsed.min(ELECTION_TICKS - 1);
            raft.set_randomized_election_timeout(2 * ELECTION_TICKS - 1);
        }
    }

    pub(super) fn set_election_timeout(&mut self) {
        let raft = &self.raw.raft;
        let wait = Wait {
            seed: self.jitter_seed,
            node_id: raft.id,
            term: raft.term,
            leader: raft.leader_id,
            ticks: self.ticks,
            voters: &self.membership.voters,
        };
        let timeout = wait.timeout_ticks();
        self.raw.raft.set_randomized_election_timeout(timeout);
    }
}
