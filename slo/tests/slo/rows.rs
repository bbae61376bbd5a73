//! The rows of the ledger: written piece by piece, read back whole.

use std::collections::BTreeMap;

use proofmark_slo::{Ledger, RowChange, RowFault};
use proptest::prelude::*;

use crate::scenario::{as_of, feed, scenarios};
use crate::spec::TestSpec;
use crate::timeline::{Teller, instant, occurrences};

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
    /// a ledger read back from it goes on as the one that was never stopped.
    #[test]
    fn a_restarted_ledger_is_the_same_ledger(scenario in scenarios(), stop in 0..2_000_usize) {
        let (mut ledger, mut stopped, mut table) = (Ledger::new(), Ledger::new(), Table::new());
        for (position, (at_ms, event)) in scenario.events.iter().enumerate() {
            feed(&mut ledger, event);
            feed(&mut stopped, event);
            if position % 97 == 0 {
                ledger.advance(as_of(*at_ms));
                stopped.advance(as_of(*at_ms));
            }
            save(&mut table, stopped.take_dirty_rows());
            if position == stop {
                stopped = Ledger::from_rows(table.clone()).expect("own rows");
            }
            if position % 50 == 0 {
                prop_assert_eq!(table.clone().into_iter().collect::<Vec<_>>(), stopped.rows());
            }
        }
        prop_assert_eq!(stopped.rows(), ledger.rows());
        prop_assert_eq!(stopped.report(), ledger.report());
        prop_assert!(stopped.take_dirty_rows().is_empty());
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

/// What is forgotten is removed from the table too: old hours, ended assignments, generations
/// that were replaced, series that nobody expects any more.
#[test]
fn what_is_forgotten_leaves_the_table() {
    let mut teller = Teller::new(occurrences());
    let mut table = Table::new();
    let kinds = |table: &Table, kind: &str| {
        table.keys().filter(|key| key.starts_with(kind.as_bytes())).count()
    };
    let story = "09:00 pass x9, 09:05 enrol b, 09:09 look, 09:10 interval 30, 09:20 target 950, \
                 09:15 look, 09:20 look, 09:30 retire b, 09:40 look, 83:00 look, 110:00 look";
    for part in story.split(',') {
        teller.tell(part.trim());
        save(&mut table, teller.ledger.take_dirty_rows());
        let rows: Vec<_> = table.clone().into_iter().collect();
        assert_eq!(rows, teller.ledger.rows(), "{part}");
        let generations =
            if part.contains("09:20 target") || part.contains("09:15") { 2 } else { 1 };
        assert_eq!(kinds(&table, "g/"), generations, "{part}");
    }
    assert_eq!((kinds(&table, "s/"), kinds(&table, "a/")), (1, 1));
}

/// What is derived from the rows is kept in step with them, not only made anew at a restart.
#[test]
fn a_restart_after_an_objective_ended_changes_nothing() {
    let rows = |restarts: bool| {
        let mut teller = Teller::new(occurrences());
        let without = TestSpec { slos: vec![], ..teller.spec().clone() };
        teller.ledger.spec_changed(2, instant("09:05"), &without.documents());
        teller.tell("09:06 look");
        if restarts {
            teller.ledger = Ledger::from_rows(teller.ledger.rows()).expect("own rows");
        }
        teller.tell("09:07 pass");
        teller.ledger.rows()
    };
    assert_eq!(rows(true), rows(false));
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
