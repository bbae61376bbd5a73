//! Whom to ask next. The load is spread; whoever failed rests.

use std::collections::BTreeMap;

use super::Missed;
use crate::limits::{
    FETCH_REST_BUSY_MS, FETCH_REST_GONE_MS, FETCH_REST_LOST_MS, FETCH_REST_WRONG_MS,
};

/// The other replicas, and until when each is left alone (monotonic).
#[derive(Debug, Default)]
pub(super) struct Peers {
    resting_until_ms: BTreeMap<u64, u64>,
    last: u64,
}

impl Peers {
    /// These are the peers from now on.
    pub(super) fn set(&mut self, ids: &[u64]) {
        self.resting_until_ms.retain(|id, _| ids.contains(id));
        for id in ids {
            self.resting_until_ms.entry(*id).or_insert(0);
        }
    }

    /// The preferred one if it can be asked, else the next in turn that can.
    pub(super) fn choose(&mut self, preferred: Option<u64>, now_ms: u64) -> Option<u64> {
        let is_rested = |id: &u64| self.resting_until_ms.get(id).is_some_and(|at| now_ms >= *at);
        if let Some(id) = preferred.filter(is_rested) {
            return Some(id);
        }
        let after = self.resting_until_ms.range(self.last + 1..);
        let in_turn = after.chain(self.resting_until_ms.range(..=self.last)).map(|(id, _)| *id);
        let chosen = in_turn.into_iter().find(is_rested)?;
        self.last = chosen;
        Some(chosen)
    }

    pub(super) fn missed(&mut self, peer: u64, why: Missed, now_ms: u64) {
        let rest_ms = match why {
            Missed::Gone => FETCH_REST_GONE_MS,
            Missed::Busy => FETCH_REST_BUSY_MS,
            Missed::Lost => FETCH_REST_LOST_MS,
        };
        self.rest(peer, now_ms + rest_ms);
    }

    /// What it sent is not what it should be: its disk, or worse.
    pub(super) fn sent_wrong(&mut self, peer: u64, now_ms: u64) {
        self.rest(peer, now_ms + FETCH_REST_WRONG_MS);
    }

    fn rest(&mut self, peer: u64, until_ms: u64) {
        if let Some(at_ms) = self.resting_until_ms.get_mut(&peer) {
            *at_ms = until_ms.max(*at_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_spread_and_whoever_failed_rests() {
        let mut peers = Peers::default();
        peers.set(&[1, 2, 4]);
        let mut turns = |preferred, now_ms| {
            [(); 4].map(|()| peers.choose(preferred, now_ms).unwrap_or_default())
        };
        assert_eq!(turns(None, 0), [1, 2, 4, 1]);
        assert_eq!(turns(Some(4), 0), [4, 4, 4, 4]);
        peers.sent_wrong(4, 0);
        peers.missed(1, Missed::Busy, 0);
        let mut turns = |preferred, now_ms| {
            [(); 3].map(|()| peers.choose(preferred, now_ms).unwrap_or_default())
        };
        assert_eq!(turns(Some(4), 1), [2, 2, 2]);
        assert_eq!(turns(Some(4), FETCH_REST_BUSY_MS), [1, 2, 1]);
        assert_eq!(turns(None, FETCH_REST_WRONG_MS), [2, 4, 1]);
        peers.set(&[]);
        assert_eq!(peers.choose(None, u64::MAX), None);
    }
}
