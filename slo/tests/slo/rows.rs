//! The rows of the ledger: written piece by piece, read back whole.

use std::collections::BTreeMap;

use proofmark_slo::{Ledger, RowChange, RowFault};
use proptest::prelude::*;

use crate::scenario::{as_of, feed, scenarios};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

fn save(table: &mut Table, changes: Vec<RowChange>) {
    for (key, value) in changes {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A table to which only the changed rows are saved holds the same rows as the ledger, and
    /// the ledger read back from it goes on as the one that was never stopped.
    #[test]
    fn a_restarted_ledger_is_the_same_ledger(scenario in scenarios(), stop in 0..4_000_usize) {
        let stop = stop.min(scenario.events.len());
        let (mut ledger, mut table) = (Ledger::new(), Table::new());
        for (position, (at_ms, event)) in scenario.events.iter().enumerate() {
            feed(&mut ledger, event);
            if position % 97 == 0 {
                ledger.advance(as_of(*at_ms));
                save(&mut table, ledger.take_dirty_rows());
            }
            if position == stop {
                save(&mut table, ledger.take_dirty_rows());
                let restored = Ledger::from_rows(table.clone()).expect("own rows");
                prop_assert_eq!(restored.rows(), ledger.rows());
                prop_assert_eq!(restored.report(), ledger.report());
                ledger = restored;
            }
        }
        save(&mut table, ledger.take_dirty_rows());
        prop_assert_eq!(table.into_iter().collect::<Vec<_>>(), ledger.rows());
        prop_assert!(ledger.take_dirty_rows().is_empty());
    }

    /// Damage is a fault, or at least never a panic.
    #[test]
    fn damaged_rows_are_refused(scenario in scenarios(), place in any::<prop::sample::Index>()) {
        let mut ledger = Ledger::new();
        for (at_ms, event) in scenario.events.iter().take(500) {
            feed(&mut ledger, event);
            ledger.advance(as_of(*at_ms));
        }
        let rows = ledger.rows();
        let mut damaged = rows.clone();
        let row = place.index(damaged.len());
        damaged[row].1.pop();
        let refused = matches!(Ledger::from_rows(damaged), Err(RowFault::Value { .. }));
        prop_assert!(refused, "{:?}", String::from_utf8_lossy(&rows[row].0));
    }
}

#[test]
fn keys_have_one_spelling() {
    for key in ["", "x", "m/", "a/UPPER", "s/web", "g/story/1", "h/story/+1/2", "c/web/a"] {
        let row = (key.as_bytes().to_vec(), vec![0]);
        let fault = Ledger::from_rows([row]).map(|_| ()).expect_err("not a key");
        assert_eq!(fault.slug(), "row_key", "{key}");
    }
}

#[test]
fn an_hour_without_its_definition_is_an_orphan() {
    let key = "h/story/00000000000000000001/0000000491000".as_bytes().to_vec();
    let empty_hour = vec![0; 3 * 60 + 1];
    let fault = Ledger::from_rows([(key, empty_hour)]).map(|_| ()).expect_err("no definition");
    assert_eq!(fault.slug(), "row_orphan");
}
