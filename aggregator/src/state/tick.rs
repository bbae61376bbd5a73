//! Time goes on: silence becomes unknown, and once a minute the numbers become a leaf.

use proofmark_evidence::limits::COVERAGE_ROWS_COUNT_MAX;
use proofmark_evidence::{CoverageRow, DecisionKind};
use proofmark_slo::{GRACE_MS, encode_reports};

use super::effect::Effect;
use super::{Applied, State};
use crate::command::Reply;

const MINUTE_MS: u64 = 60_000;

impl State {
    /// Moves the ledger to the stamp less the grace. From here on what was due until then and
    /// was not heard is unknown; series that fell silent, or were heard again, are a leaf; and
    /// once a minute so are the numbers of all objectives.
    pub(super) fn tick(&mut self) -> Applied {
        let before_ms = self.ledger.as_of_ms();
        let turned = self.ledger.advance(self.head.stamped_at_ms.saturating_sub(GRACE_MS));
        let mut effects: Vec<Effect> =
            turned.chunks(COVERAGE_ROWS_COUNT_MAX).map(|rows| self.decide_coverage(rows)).collect();
        if self.ledger.as_of_ms() / MINUTE_MS > before_ms / MINUTE_MS {
            effects.extend(self.decide_reports());
        }
        effects.push(Effect::Reply(Reply::Done));
        Ok(effects)
    }

    fn decide_coverage(&mut self, rows: &[CoverageRow]) -> Effect {
        self.decide(DecisionKind::Coverage, CoverageRow::encode_all(rows))
    }

    /// Nothing to say while there is no objective.
    fn decide_reports(&mut self) -> Option<Effect> {
        let reports = self.ledger.report();
        if reports.is_empty() {
            return None;
        }
        Some(self.decide(DecisionKind::SloReport, encode_reports(&reports)))
    }

    fn decide(&mut self, kind: DecisionKind, payload: Vec<u8>) -> Effect {
        let leaf = self.log().decision(self.head.stamped_at_ms, kind, &payload);
        self.append(leaf, payload.into())
    }
}
