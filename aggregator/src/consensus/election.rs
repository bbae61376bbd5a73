//! How long a replica waits for its leader before it asks for votes.

use crate::limits::ELECTION_TICKS;

/// The election timeout in ticks, in `ELECTION_TICKS..2 * ELECTION_TICKS`.
///
/// The raft crate draws it from the thread's random numbers; a pure function of what the driver
/// knows keeps a simulated run repeatable. It differs between nodes, and changes with the term and
/// with each `2 * ELECTION_TICKS` of waiting, so that two nodes that once collide do not for ever.
pub(crate) fn timeout_ticks(seed: u64, node_id: u64, term: u64, ticks: u64) -> usize {
    let wait = ticks / (2 * ELECTION_TICKS as u64);
    let mixed = [node_id, term, wait].into_iter().fold(seed, |sum, part| mix(sum ^ mix(part)));
    ELECTION_TICKS + usize::try_from(mixed % ELECTION_TICKS as u64).unwrap_or(0)
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

    #[test]
    fn timeouts_stay_in_range_and_reach_every_value() {
        let drawn: std::collections::BTreeSet<usize> =
            (0..200).map(|term| timeout_ticks(7, 1, term, 0)).collect();
        let every: std::collections::BTreeSet<usize> =
            (ELECTION_TICKS..2 * ELECTION_TICKS).collect();
        assert_eq!(drawn, every);
    }

    #[test]
    fn two_nodes_that_collide_part_after_some_waiting() {
        for term in 0..50 {
            let draw = |node, wait: u64| timeout_ticks(7, node, term, wait * 20);
            assert!((0..40).any(|wait| draw(1, wait) != draw(2, wait)), "term {term}");
        }
    }
}
