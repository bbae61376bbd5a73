//! What a pusher signs: failures with long details, of checks that no spec knows and no objective
//! counts. They fill logs, which is their purpose.

use proofmark_agent::identity::Identity;
use proofmark_evidence::{
    AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Coverage, FailReason, Hash, Header,
    Outcome, SealedBatch, SigningKey,
};

use crate::dice::Dice;

/// Of one result's detail: near the format's bound.
const DETAIL_BYTES: usize = 250;

/// One agent's place in its own sequence.
pub(super) struct Series {
    log_id: Hash,
    agent: AgentName,
    epoch: u64,
    key: SigningKey,
    results: u16,
    seq_next: u64,
    previous: Hash,
    dice: Dice,
}

impl Series {
    pub(super) fn new(identity: &Identity, results: u16) -> Result<Series, String> {
        Ok(Series {
            log_id: identity.log_id(),
            agent: identity.agent.clone(),
            epoch: identity.epoch,
            key: identity.signing_key.clone(),
            results,
            seq_next: 1,
            previous: Hash::ZERO,
            dice: Dice::new(identity.epoch),
        })
    }

    /// The next batch, signed, and the number after its last.
    pub(super) fn seal_next(&mut self, now_ms: u64) -> Result<(SealedBatch, u64), String> {
        let check = CheckName::parse("pushed").map_err(|fault| fault.to_string())?;
        let draft = BatchDraft {
            log_id: self.log_id,
            agent: self.agent.clone(),
            epoch: self.epoch,
            seq_first: self.seq_next,
            base_time_ms: now_ms - u64::from(self.results),
            checks: vec![CheckRef { check, spec_revision: 1, target: "127.0.0.1:9".to_owned() }],
            coverage: Coverage {
                scheduled: self.results.into(),
                run: self.results.into(),
                skipped: Vec::new(),
            },
            previous: self.previous,
            seen: None,
            results: (0..self.results).map(|at| self.result(at)).collect(),
        };
        let batch = draft.seal(&self.key).map_err(|fault| fault.to_string())?;
        let Ok(Header::Batch(header)) = batch.leaf.header() else {
            return Err("a sealed batch has the header of one".to_owned());
        };
        self.seq_next = header.seq_end();
        self.previous = batch.leaf.header_hash();
        Ok((batch, self.seq_next))
    }

    /// Its detail is random, so that nothing on the way to a disk makes it small.
    fn result(&mut self, at: u16) -> CheckResult {
        let mut detail = String::with_capacity(DETAIL_BYTES + 16);
        while detail.len() < DETAIL_BYTES {
            detail += &format!("{:016x}", self.dice.draw());
        }
        detail.truncate(DETAIL_BYTES);
        let outcome = Outcome::Fail(FailReason::ConnectRefused);
        CheckResult::new(0, at.into(), outcome, &detail)
    }
}
