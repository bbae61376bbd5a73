//! The objective counted once more, the simple way: every instant by itself.

use proofmark_evidence::Outcome;
use proofmark_slo::{Counts, ENROL_LEAD_MS};
use proofmark_spec::Grid;

use super::log::Reading;

/// Good, bad and unknown runs until `as_of_ms`, of the objective that all specs share.
pub(super) fn counted(reading: &Reading, as_of_ms: u64) -> Counts {
    let mut counts = Counts::default();
    for (agent, enrolled_at_ms) in &reading.enrolled_at_ms {
        for check in ["home", "deep"] {
            for (place, (documents, effective_at_ms)) in reading.specs.iter().enumerate() {
                let ends_ms = reading.specs.get(place + 1).map_or(u64::MAX, |next| next.1);
                let found = documents.checks.iter().find(|one| one.name == check);
                let Some(interval_ms) = found.map(|check| check.interval_ms) else { continue };
                let grid = Grid::of(check, agent, interval_ms);
                let from_ms = (*effective_at_ms).max(enrolled_at_ms + ENROL_LEAD_MS);
                let instants = instants(grid, from_ms, ends_ms.min(as_of_ms));
                instants.for_each(|at_ms| count(&mut counts, reading, agent, check, at_ms));
            }
        }
    }
    counts
}

fn count(counts: &mut Counts, reading: &Reading, agent: &str, check: &str, at_ms: u64) {
    let key = (agent.to_owned(), check.to_owned(), at_ms);
    match reading.known.get(&key).and_then(|known| known.first()) {
        Some((Outcome::Pass, _)) => counts.good += 1,
        Some(_) => counts.bad += 1,
        None => counts.unknown += 1,
    }
}

/// The grid's instants in `[from_ms, until_ms)`.
fn instants(grid: Grid, from_ms: u64, until_ms: u64) -> impl Iterator<Item = u64> {
    let first = grid.next_after(from_ms.saturating_sub(1));
    let step = usize::try_from(grid.interval_ms).expect("seconds");
    (first..until_ms.max(first)).step_by(step)
}
