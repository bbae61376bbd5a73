//! The same numbers once more, from the log alone: what a stranger does to check a report.

use proofmark_evidence::{
    DecisionKind, DecodeFault, Header, KeyChangeKind, LeafVisitor, OpenBatch, SpecChange,
};
use proofmark_spec::{Documents, Source, parse};

use crate::count::Run;
use crate::ledger::Ledger;
use crate::report::{SloReport, decode_reports};

/// Feeds the leaves of a log, in order, to a ledger of its own, and holds every report that the
/// log served against the one it comes to itself.
///
/// It trusts nothing in the log, but it does not check signatures either: that is `verify_log`'s
/// work, of which this is the visitor.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    ledger: Ledger,
    in_force: Documents,
    reports: u64,
    mismatches: Vec<Mismatch>,
}

/// Where the log's decisions do not follow from its results.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Mismatch {
    #[error("leaf {leaf}: slo {slo}: the log served another report than its results give")]
    Report {
        leaf: u64,
        slo: String,
        /// `None`: not served.
        served: Option<Box<SloReport>>,
        /// `None`: no such objective at that time.
        recomputed: Option<Box<SloReport>>,
    },
    #[error("leaf {leaf}: expected reports, got bytes that are none: {fault}")]
    Unreadable { leaf: u64, fault: DecodeFault },
    #[error("leaf {leaf}: expected a report up to {at_ms} ms at most, got one as of {as_of_ms} ms")]
    Ahead { leaf: u64, at_ms: u64, as_of_ms: u64 },
    #[error("leaf {leaf}: expected a valid spec, got: {faults}")]
    Spec { leaf: u64, faults: String },
}

impl Mismatch {
    pub fn slug(&self) -> &'static str {
        match self {
            Mismatch::Report { .. } => "slo_report_differs",
            Mismatch::Unreadable { .. } => "slo_report_unreadable",
            Mismatch::Ahead { .. } => "slo_report_ahead",
            Mismatch::Spec { .. } => "spec_unreadable",
        }
    }

    pub fn leaf(&self) -> u64 {
        match self {
            Mismatch::Report { leaf, .. }
            | Mismatch::Unreadable { leaf, .. }
            | Mismatch::Ahead { leaf, .. }
            | Mismatch::Spec { leaf, .. } => *leaf,
        }
    }
}

impl Replay {
    pub fn new() -> Replay {
        Replay::default()
    }

    /// How many served reports were recomputed (one per objective and decision leaf).
    pub fn reports_checked(&self) -> u64 {
        self.reports
    }

    /// Empty when every number the log served follows from its results.
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }

    /// What the leaves seen so far say at `as_of_ms`. Not before the newest report that was seen:
    /// a ledger does not go back.
    pub fn report_at(&mut self, as_of_ms: u64) -> Vec<SloReport> {
        self.ledger.advance(as_of_ms);
        self.ledger.report()
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn count_batch(&mut self, batch: &OpenBatch) {
        for result in &batch.results {
            self.ledger.count(&Run::of(batch, result));
        }
    }

    fn change_spec(&mut self, leaf: u64, change: &SpecChange, payload: &[u8]) {
        match merged(&self.in_force, change.revision, payload) {
            Ok(in_force) => {
                self.in_force = in_force;
                let at_ms = change.effective_at_ms;
                self.ledger.spec_changed(change.revision, at_ms, &self.in_force);
            }
            Err(faults) => self.mismatches.push(Mismatch::Spec { leaf, faults }),
        }
    }

    fn check_reports(&mut self, leaf: u64, at_ms: u64, payload: &[u8]) {
        let served = match decode_reports(payload) {
            Ok(served) => served,
            Err(fault) => {
                self.mismatches.push(Mismatch::Unreadable { leaf, fault });
                return;
            }
        };
        // A leaf without reports names no instant; there is nothing to recompute.
        let Some(as_of_ms) = served.first().map(|report| report.as_of_ms) else { return };
        if as_of_ms > at_ms {
            self.mismatches.push(Mismatch::Ahead { leaf, at_ms, as_of_ms });
            return;
        }
        self.reports += served.len() as u64;
        let recomputed = self.report_at(as_of_ms);
        self.mismatches.extend(differences(leaf, &served, &recomputed));
    }
}

impl LeafVisitor for Replay {
    fn leaf(&mut self, index: u64, header: &Header, open: Option<&OpenBatch>, payload: &[u8]) {
        match header {
            Header::Batch(_) => {
                if let Some(batch) = open {
                    self.count_batch(batch);
                }
            }
            Header::SpecChange(change) => self.change_spec(index, change, payload),
            Header::KeyChange(change) => match &change.change {
                KeyChangeKind::Genesis { .. }
                | KeyChangeKind::NodeJoin { .. }
                | KeyChangeKind::NodeLeave { .. } => {}
                KeyChangeKind::Enrol { agent, .. } => {
                    self.ledger.agent_enrolled(agent, change.at_ms);
                }
                KeyChangeKind::Retire { agent } => self.ledger.agent_retired(agent, change.at_ms),
            },
            Header::Decision(decision) if decision.kind == DecisionKind::SloReport => {
                self.check_reports(index, decision.at_ms, payload);
            }
            Header::Decision(_) => {}
        }
    }
}

/// What is in force once the applied text is merged in; or all its faults, as text.
fn merged(in_force: &Documents, revision: u64, payload: &[u8]) -> Result<Documents, String> {
    let text = std::str::from_utf8(payload).map_err(|fault| fault.to_string())?;
    let file = format!("revision-{revision}.yaml");
    let newer = parse(&[Source { file: &file, text }]).map_err(|faults| faults.to_string())?;
    let merged = in_force.merge(&newer);
    merged.resolve().map_err(|faults| faults.to_string())?;
    Ok(merged)
}

/// Place by place: what is wrong in number or order differs too.
fn differences(leaf: u64, served: &[SloReport], recomputed: &[SloReport]) -> Vec<Mismatch> {
    let places = 0..served.len().max(recomputed.len());
    let differing = places.filter(|place| served.get(*place) != recomputed.get(*place));
    let mismatch = |place: usize| {
        let (served, recomputed) = (served.get(place), recomputed.get(place));
        let slo = served.or(recomputed).map(|report| report.slo.clone()).unwrap_or_default();
        let (served, recomputed) = (served.cloned(), recomputed.cloned());
        let (served, recomputed) = (served.map(Box::new), recomputed.map(Box::new));
        Mismatch::Report { leaf, slo, served, recomputed }
    };
    differing.map(mismatch).collect()
}
