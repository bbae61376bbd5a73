//! What may not matter: the order between agents, and how often the ledger was advanced.

use proofmark_slo::Ledger;
use proptest::prelude::*;

use crate::scenario::{Event, Scenario, as_of, feed, scenarios};
use crate::timeline::DAY_START_MS;

const END_MS: u64 = DAY_START_MS + 3 * 60 * 60 * 1_000;

/// Feeds the events, advancing (as ticks do) every `tick_ms` of arrival time.
fn run(events: &[(u64, Event)], tick_ms: u64) -> Ledger {
    let mut ledger = Ledger::new();
    let mut next_tick_ms = DAY_START_MS + tick_ms;
    for (at_ms, event) in events {
        while next_tick_ms <= *at_ms {
            ledger.advance(as_of(next_tick_ms));
            next_tick_ms += tick_ms;
        }
        feed(&mut ledger, event);
    }
    ledger.advance(as_of(END_MS));
    ledger
}

/// Lets each agent's results within a minute of arrival come in one piece, agents in the order of
/// `key`. Each agent's own order, and everything that is no result, stays where it is.
fn interleaved(scenario: &Scenario, key: impl Fn(&str) -> usize) -> Vec<(u64, Event)> {
    let mut events = scenario.events.clone();
    let same_piece = |a: &(u64, Event), b: &(u64, Event)| {
        let both = matches!((&a.1, &b.1), (Event::Result(_), Event::Result(_)));
        both && a.0 / 60_000 == b.0 / 60_000
    };
    for piece in events.chunk_by_mut(same_piece) {
        let arrivals: Vec<u64> = piece.iter().map(|(at_ms, _)| *at_ms).collect();
        piece.sort_by_key(|(_, event)| match event {
            Event::Result(result) => key(result.agent.as_str()),
            _ => 0,
        });
        piece.iter_mut().zip(arrivals).for_each(|(event, at_ms)| event.0 = at_ms);
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_order_between_agents_does_not_matter(scenario in scenarios()) {
        let ascending = interleaved(&scenario, |agent| usize::from(agent == "waw"));
        let descending = interleaved(&scenario, |agent| usize::from(agent == "ams"));
        let rows = |events: &[(u64, Event)]| run(events, 60_000).rows();
        prop_assert_eq!(rows(&ascending), rows(&scenario.events));
        prop_assert_eq!(rows(&descending), rows(&scenario.events));
    }

    #[test]
    fn how_often_it_advances_does_not_matter(scenario in scenarios()) {
        let often = run(&scenario.events, 10_000).report();
        prop_assert_eq!(run(&scenario.events, 600_000).report(), often.clone());
        let never = END_MS;
        prop_assert_eq!(run(&scenario.events, never).report(), often);
    }
}
