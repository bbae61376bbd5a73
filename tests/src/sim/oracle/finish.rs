//! The last judgement: everything is healed, everything has ended. What does the log say?

use proofmark_aggregator::state::State;
use proofmark_evidence::{Policy, TileSource, verify_log};

use super::log::Reading;
use super::{Oracle, Truth, counts};
use crate::sim::specs::OBJECTIVE_NAME;

/// Judges one replica's evidence, as a stranger would, against the world's own book.
pub(in crate::sim) fn judge(
    oracle: &Oracle,
    truth: &Truth,
    policy: &Policy,
    evidence: &dyn TileSource,
    state: &State,
) -> Result<(), String> {
    let mut reading = Reading::default();
    let report = verify_log(evidence, policy, &mut reading);
    if !report.is_sound() || report.size != state.leaf_count() {
        let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
        return Err(format!(
            "the evidence is not sound: {} of {} leaves, {faults:?}",
            report.size,
            state.leaf_count()
        ));
    }
    check_acknowledged(oracle, &reading)?;
    check_spooled(truth, &reading)?;
    check_results(truth, &reading)?;
    reading.early.clone().map_or(Ok(()), Err)?;
    check_numbers(&reading, state)
}

/// Every acknowledged batch is there, exactly once.
fn check_acknowledged(oracle: &Oracle, reading: &Reading) -> Result<(), String> {
    for batch in &oracle.acknowledged {
        match reading.batches.get(batch) {
            Some(1) => {}
            Some(times) => return Err(format!("batch {batch} is in the log {times} times")),
            None => return Err(format!("batch {batch} was acknowledged and is not in the log")),
        }
    }
    Ok(())
}

/// Every batch that an agent's disk has confirmed has arrived.
fn check_spooled(truth: &Truth, reading: &Reading) -> Result<(), String> {
    for (agent, batches) in &truth.spooled {
        if let Some(batch) = batches.iter().find(|batch| !reading.batches.contains_key(*batch)) {
            let agent = agent + 1;
            return Err(format!("batch {batch} was on agent {agent}'s disk and never arrived"));
        }
    }
    Ok(())
}

/// Each known result is of a run that was made and saw just this, and is there once, but for an
/// agent whose spool was damaged.
fn check_results(truth: &Truth, reading: &Reading) -> Result<(), String> {
    for (key, known) in &reading.known {
        let (agent, check, at_ms) = key;
        if known.len() > 1 && !truth.may_repeat(agent) {
            return Err(format!(
                "{check} on {agent} at {at_ms} is in the log {} times",
                known.len()
            ));
        }
        if let Some((outcome, _)) = known.iter().find(|(seen, _)| !truth.confirms(key, *seen)) {
            return Err(format!(
                "{check} on {agent} at {at_ms}: the log says {outcome:?}, nobody saw that"
            ));
        }
    }
    Ok(())
}

/// Served reports follow from the leaves before them, and the state's numbers are those of the
/// simple count.
fn check_numbers(reading: &Reading, state: &State) -> Result<(), String> {
    if let Some(mismatch) = reading.replay.mismatches().first() {
        return Err(format!("a served report does not follow from its leaves: {mismatch}"));
    }
    let ledger = state.ledger();
    let reports = ledger.report();
    let Some(report) = reports.iter().find(|report| report.slo == OBJECTIVE_NAME) else {
        return Ok(()); // the specs are not in force yet
    };
    let expected = counts::counted(reading, report.as_of_ms);
    match report.counts == expected {
        true => Ok(()),
        false => {
            Err(format!("objective: expected {expected:?}, the state says {:?}", report.counts))
        }
    }
}
