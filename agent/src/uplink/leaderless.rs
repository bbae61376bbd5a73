//! How long an aggregator is put up with that cannot decide, while another might: it is cut off
//! from its leader, or behind.

use crate::limits::UPLINK_LEADERLESS_MS_MAX;

/// What such an aggregator says. A full one (`consensus_full`, `ingest_full`) is waited for
/// instead: the others are as full, for one leader decides for all.
const SLUGS: [&str; 3] = ["no_leader", "leader_changed", "unknown_agent"];

/// Of one connection: since when nothing was decided there.
#[derive(Default)]
pub(super) struct Leaderless {
    since_us: Option<u64>,
}

impl Leaderless {
    /// A batch was sent back. Says whether it is time to try another aggregator.
    pub(super) fn told(&mut self, slug: &str, now_us: u64) -> bool {
        if !SLUGS.contains(&slug) {
            self.decided();
            return false;
        }
        let since_us = *self.since_us.get_or_insert(now_us);
        now_us.saturating_sub(since_us) >= UPLINK_LEADERLESS_MS_MAX * 1_000
    }

    /// A batch was judged: somebody leads.
    pub(super) fn decided(&mut self) {
        self.since_us = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_aggregator_that_decides_nothing_for_long_is_left() {
        let check = |told: &[(u64, &str)], expect: bool| {
            let mut leaderless = Leaderless::default();
            let mut leaves = false;
            for (ms, slug) in told {
                match *slug {
                    "ack" => leaderless.decided(),
                    slug => leaves = leaderless.told(slug, ms * 1_000),
                }
            }
            assert_eq!(leaves, expect, "{told:?}");
        };
        let limit = UPLINK_LEADERLESS_MS_MAX;
        check(&[(5, "no_leader")], false);
        check(&[(5, "no_leader"), (limit + 4, "leader_changed")], false);
        check(&[(5, "no_leader"), (limit + 5, "leader_changed")], true);
        check(&[(5, "unknown_agent"), (limit + 5, "no_leader")], true);
        check(&[(5, "no_leader"), (9, "ack"), (limit + 5, "no_leader")], false);
        check(&[(5, "no_leader"), (9, "consensus_full"), (limit + 5, "no_leader")], false);
        check(&[(5, "consensus_full"), (limit + 5, "consensus_full")], false);
    }
}
