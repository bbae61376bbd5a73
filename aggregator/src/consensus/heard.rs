//! Who was heard lately.
//!
//! Raft forgets whom it has heard each time it counts its majority, once an election timeout; so
//! for a moment it has heard nobody. Whoever was heard within one such time counts as heard.

use std::collections::BTreeMap;

use super::driver::PeerProgress;
use crate::limits::ELECTION_TICKS;

#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Looks, one a tick, since each peer was heard.
    since: BTreeMap<u64, usize>,
}

impl Heard {
    /// The progress of one look, its `is_active` without the gaps. Empty on a replica that does not
    /// lead: then nothing is remembered.
    pub(crate) fn smooth(&mut self, mut progress: Vec<PeerProgress>) -> Vec<PeerProgress> {
        self.since.retain(|id, _| progress.iter().any(|peer| peer.node_id == *id));
        for peer in &mut progress {
            match (peer.is_active, self.since.get_mut(&peer.node_id)) {
                (true, _) => drop(self.since.insert(peer.node_id, 0)),
                (false, Some(since)) => {
                    *since += 1;
                    peer.is_active = *since <= ELECTION_TICKS;
                }
                (false, None) => {}
            }
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::PeerState;
    use super::*;

    #[test]
    fn a_peer_is_heard_for_an_election_timeout_after_its_last_word() {
        let mut heard = Heard::default();
        let mut look = |is_active| {
            let (node_id, matched, state) = (2, 7, PeerState::Replicate);
            let peer = PeerProgress { node_id, matched, state, is_active };
            heard.smooth(vec![peer])[0].is_active
        };
        assert!(!look(false), "never heard");
        assert!(look(true));
        let silent = (0..ELECTION_TICKS + 3).filter(|_| look(false)).count();
        assert_eq!(silent, ELECTION_TICKS);
        assert!(look(true));
        heard.smooth(Vec::new());
        assert!(heard.since.is_empty(), "who does not lead remembers nothing");
    }
}
