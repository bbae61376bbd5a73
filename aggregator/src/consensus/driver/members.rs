//! Changes of the membership. They travel as entries; the state decides, raft does as it says.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};

use super::super::conf_change;
use super::super::membership::{Membership, MembershipChange};
use super::super::storage::LogSource;
use super::{ChangeRefused, Driver, PeerProgress, PeerState, Position, ProposeRefused};
use crate::limits::MEMBERS_MAX;

/// Changes handed out as committed, of which the state has not spoken yet, by index.
#[derive(Default)]
pub(super) struct Changes {
    committed: BTreeMap<u64, MembershipChange>,
}

impl Changes {
    pub(super) fn note_committed(&mut self, entries: &[Entry]) {
        for entry in entries {
            if entry.get_entry_type() != EntryType::EntryNormal {
                let change = conf_change::decode(&entry.data);
                let change = change.expect("a leader encodes what guard lets through");
                self.committed.insert(entry.index, change);
            }
        }
    }

    /// A snapshot says what became of them all.
    pub(super) fn forget(&mut self) {
        self.committed.clear();
    }
}

impl<S: LogSource> Driver<S> {
    /// The members by whom raft acts.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Appends a change of the membership, as the leader. `context` is what the state decides by,
    /// an encoded [`crate::command::Entry`]; it is never empty. At most one change is under way.
    pub fn propose_change(
        &mut self,
        change: &MembershipChange,
        context: Bytes,
    ) -> Result<Position, ChangeRefused> {
        if !self.leads() {
            return Err(ProposeRefused::NotLeader.into());
        }
        // Raft would append an entry without content in its place, and say nothing.
        if self.raw.raft.has_pending_conf() {
            return Err(ChangeRefused::Pending);
        }
        let after = self.membership.after(change)?;
        if !after.voters.contains(&self.raw.raft.id) {
            return Err(ChangeRefused::OwnVote);
        }
        let got = after.members().len();
        if got > MEMBERS_MAX {
            return Err(ChangeRefused::TooMany { got });
        }
        let data = conf_change::encode(change).into();
        let entry_type = EntryType::EntryConfChangeV2;
        Ok(self.append(Entry { entry_type, data, context, ..Entry::default() })?)
    }

    /// What the state said of the change at `index`: the membership from there on, or `None` when
    /// it refused. To be called before [`Driver::applied`] with this index or a later one.
    ///
    /// # Panics
    /// When raft's rule gives another membership than the state said: this replica would count
    /// other majorities than the others.
    pub fn change_applied(&mut self, index: u64, after: Option<Membership>) {
        // Not there: a snapshot on its way in has said what became of it.
        let Some(change) = self.changes.committed.remove(&index) else { return };
        let Some(after) = after else { return };
        let applied = self.raw.apply_conf_change(&conf_change::of_change(&change));
        let state = applied.expect("the state refuses what raft would refuse");
        let by_raft = conf_change::membership_of(&state);
        assert_eq!(by_raft, after, "index {index}: raft's membership, and the state's");
        self.membership = after;
        self.leave_the_lead();
        self.set_election_timeout();
    }

    /// An earlier leader may have proposed to take this leader's vote away. Raft 0.7 would go on
    /// leading, and panic when it finds nobody where it looks for itself.
    fn leave_the_lead(&mut self) {
        let (id, term) = (self.raw.raft.id, self.raw.raft.term);
        if self.leads() && !self.membership.decides(id) {
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// How far the others are, by id; empty unless this replica leads.
    pub fn progress(&self) -> Vec<PeerProgress> {
        if !self.leads() {
            return Vec::new();
        }
        let me = self.raw.raft.id;
        let of = |node_id: u64| {
            let progress = self.raw.raft.prs().get(node_id)?;
            let state = match progress.state {
                raft::ProgressState::Probe => PeerState::Probe,
                raft::ProgressState::Replicate => PeerState::Replicate,
                raft::ProgressState::Snapshot => {
                    PeerState::Snapshot { index: progress.pending_snapshot }
                }
            };
            let (matched, is_active) = (progress.matched, progress.recent_active);
            Some(PeerProgress { node_id, matched, state, is_active })
        };
        let others = self.membership.members().into_iter().filter(|id| *id != me);
        others.filter_map(of).collect()
    }
}
