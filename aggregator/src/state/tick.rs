//! Time goes on: silence becomes unknown, roots become checkpoints.

use proofmark_evidence::limits::COVERAGE_ROWS_COUNT_MAX;
use proofmark_evidence::{CoverageRow, DecisionKind, Hash};
use proofmark_slo::{GRACE_MS, encode_reports};

use super::effect::Effect;
use super::seals::Cosigned;
use super::{Applied, State};
use crate::command::{Command, Reply};

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

    pub(super) fn seal(&mut self, size: u64, root: Hash) -> Applied {
        self.seals.seal(size, root, self.head.leaf_count)?;
        Ok(vec![Effect::Seal { size, root }, Effect::Reply(Reply::Done)])
    }

    pub(super) fn cosign(&mut self, command: &Command) -> Applied {
        let Command::Cosign { node, size, root, timestamp_s, signature } = command else {
            unreachable!("dispatch sends cosignatures here");
        };
        let (size, root) = (*size, *root);
        let cosigned =
            Cosigned { node, size, root, timestamp_s: *timestamp_s, signature: *signature };
        let genesis = self.genesis.get(&()).expect("dispatch wants a genesis first");
        let complete = self.seals.cosign(genesis, &cosigned)?;
        let publish = complete.map(|cosignatures| Effect::Publish { size, root, cosignatures });
        Ok(publish.into_iter().chain([Effect::Reply(Reply::Done)]).collect())
    }
}
