//! How long a replica waits for its leader before it asks for votes.

use std::collections::BTreeSet;

use crate::limits::ELECTION_TICKS;

/// What a replica knows when it begins to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait<'a> {
    pub(crate) seed: u64,
    pub(crate) node_id: u64,
    pub(crate) term: u64,
    /// The leader of the term; 0: none known.
    pub(crate) leader: u64,
    /// Ticks since the start.
    pub(crate) ticks: u64,
    pub(crate) voters: &'a BTreeSet<u64>,
}

impl Wait<'_> {
    /// The election timeout in ticks, in `ELECTION_TICKS..2 * ELECTION_TICKS`.
    ///
    /// The voters take turns instead of drawing lots: the one after the leader, by id, waits least,
    /// the next two ticks longer, and so on; two ticks are enough to win before the next one asks.
    /// So a lost leader is followed after about `ELECTION_TICKS` and not up to twice that, and
    /// votes are hardly ever split. Whose view of the group is older may choose another's turn:
    /// one tick by lot, new after each wait, keeps two from colliding for ever.
    ///
    /// The raft crate draws from the thread's random numbers; a pure function of what the driver
    /// knows keeps a simulated run repeatable.
    pub(crate) fn timeout_ticks(&self) -> usize {
        // The shortest is one tick longer than a leader's word protects it, so that the others,
        // whose ticks fall a little later, are free to vote.
        ELECTION_TICKS + 1 + (2 * self.turn() + self.lot()) % (ELECTION_TICKS - 1)
    }

    fn turn(&self) -> usize {
        let others = self.voters.len().max(1);
        let rank = |id: u64| self.voters.range(..id).count();
        let base = if self.leader == 0 { self.term } else { rank(self.leader) as u64 + 1 };
        let base = usize::try_from(base % others as u64).unwrap_or(0);
        (rank(self.node_id) + others - base) % others
    }

    fn lot(&self) -> usize {
        let wait = self.ticks / (2 * ELECTION_TICKS as u64);
        let parts = [self.node_id, self.term, wait];
        let mixed = parts.into_iter().fold(self.seed, |sum, part| mix(sum ^ mix(part)));
        usize::try_from(mixed % 2).unwrap_or(0)
    }
}

/// The finalizer of splitmix64: every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(node_id: u64, leader: u64, term: u64, ticks: u64, voters: &BTreeSet<u64>) -> usize {
        Wait { seed: 7, node_id, term, leader, ticks, voters }.timeout_ticks()
    }

    #[test]
    fn timeouts_stay_in_range_for_any_group() {
        for size in 1..40 {
            let voters: BTreeSet<u64> = (1..=size).collect();
            for (node_id, term) in (1..=size + 1).flat_map(|id| (0..30).map(move |term| (id, term)))
            {
                let ticks = draw(node_id, term % (size + 1), term, term * 7, &voters);
                assert!((ELECTION_TICKS + 1..2 * ELECTION_TICKS).contains(&ticks), "{ticks}");
            }
        }
    }

    #[test]
    fn the_next_after_the_leader_asks_first_and_the_leader_itself_last() {
        let voters: BTreeSet<u64> = [1, 2, 3].into();
        for (leader, order) in [(1, [2, 3, 1]), (2, [3, 1, 2]), (3, [1, 2, 3])] {
            for term in 0..50 {
                let [first, second, last] = order.map(|id| draw(id, leader, term, 0, &voters));
                assert!(first < second && second < last, "term {term}: {first} {second} {last}");
                assert!(second <= ELECTION_TICKS + 4, "soon, even when the first is gone too");
            }
        }
    }

    #[test]
    fn without_a_leader_every_voter_is_first_in_some_term() {
        let voters: BTreeSet<u64> = [1, 2, 3].into();
        let first = |term| *voters.iter().min_by_key(|id| draw(**id, 0, term, 0, &voters)).unwrap();
        assert_eq!((0..3).map(first).collect::<BTreeSet<u64>>(), voters);
    }

    #[test]
    fn two_nodes_that_collide_part_after_some_waiting() {
        // Their views differ: each believes that it is its own turn.
        let (one, two): (BTreeSet<u64>, BTreeSet<u64>) = ([1, 2].into(), [2, 3].into());
        let wait = 2 * ELECTION_TICKS as u64;
        assert!((0..40).any(|n| draw(1, 0, 4, n * wait, &one) != draw(2, 0, 4, n * wait, &two)));
    }
}
