//! The checks, cheapest first; the signature before the results, so that only the agent itself can
//! make us open them.
//!
//! This is the one place where the root over a batch's results is computed before it is evidence.
//! Whoever applies the batch later, on any replica, checks the payload's digest, which the same
//! signature covers: no other bytes can come under a header that was judged here.

use std::sync::Arc;

use proofmark_evidence::{
    AgentName, BatchFault, BatchView, Hash, HeaderView, KeyId, Leaf, LeafFault, PublicKey,
    SealedBatch,
};

use super::fault::AdmissionFault;
use crate::limits::{FUTURE_MS_MAX, PAYLOAD_BYTES_MAX};

/// What the state last said of one agent. May be a moment old: state decides again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub key: PublicKey,
    /// Epoch of the identity's life.
    pub epoch: u64,
    /// First sequence number not yet accepted.
    pub next_seq: u64,
    /// Header hash of the last accepted batch of the epoch; ZERO when there is none.
    pub last_hash: Hash,
    pub retired: bool,
}

impl Standing {
    /// Whether this life of the agent, with this key, may speak. The epoch comes first: a node that
    /// has not yet applied a new enrolment must not judge by the old key.
    pub fn check_identity(
        &self,
        agent: &AgentName,
        epoch: u64,
        key_id: KeyId,
    ) -> Result<(), AdmissionFault> {
        if epoch != self.epoch {
            return Err(AdmissionFault::WrongEpoch { expected: self.epoch, got: epoch });
        }
        if self.retired {
            return Err(AdmissionFault::Retired { agent: agent.clone() });
        }
        match self.key.key_id() {
            expected if expected == key_id => Ok(()),
            expected => Err(AdmissionFault::WrongKey { expected, got: key_id }),
        }
    }
}

/// A batch that is what it says. What state may still say is only about order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub leaf: Leaf,
    pub payload: Arc<[u8]>,
    pub epoch: u64,
    pub seq_first: u64,
    /// Exclusive.
    pub seq_end: u64,
}

/// Judges one batch of `agent`, who is connected with a verified certificate.
///
/// `leaf` and `payload` as received; `now_ms` Unix time. A batch seen before passes: state knows
/// its answer, and the agent needs it again.
pub fn admit(
    leaf: &[u8],
    payload: &[u8],
    agent: &AgentName,
    standing: &Standing,
    log_id: Hash,
    now_ms: u64,
) -> Result<Admitted, AdmissionFault> {
    check_size(payload)?;
    let leaf = Leaf::parse(leaf).map_err(BatchFault::from)?;
    let batch = SealedBatch { leaf, payload: payload.into() };
    let reader = batch.reader()?;
    check_names(reader.header(), agent, standing, log_id)?;
    check_signature(&batch.leaf, standing)?;
    let proven = reader.prove()?;
    check_time(&proven, now_ms)?;
    let (epoch, seq_first) = (proven.header.epoch, proven.header.seq_first);
    let seq_end = proven.header.seq_end();
    Ok(Admitted { epoch, seq_first, seq_end, leaf: batch.leaf, payload: batch.payload })
}

fn check_size(payload: &[u8]) -> Result<(), AdmissionFault> {
    match payload.len() {
        got_bytes if got_bytes > PAYLOAD_BYTES_MAX => {
            Err(AdmissionFault::PayloadTooLarge { limit_bytes: PAYLOAD_BYTES_MAX, got_bytes })
        }
        _ => Ok(()),
    }
}

/// For this log, by this connection's agent, with its key, in its present life.
fn check_names(
    header: &HeaderView<'_>,
    agent: &AgentName,
    standing: &Standing,
    log_id: Hash,
) -> Result<(), AdmissionFault> {
    if header.log_id != log_id {
        return Err(AdmissionFault::WrongLog { expected: log_id, got: header.log_id });
    }
    if header.agent != *agent {
        let (expected, got) = (agent.clone(), header.agent.clone());
        return Err(AdmissionFault::WrongAgent { expected, got });
    }
    standing.check_identity(agent, header.epoch, header.key_id)
}

fn check_signature(leaf: &Leaf, standing: &Standing) -> Result<(), AdmissionFault> {
    leaf.verify(&standing.key).map_err(|fault| match fault {
        LeafFault::Signature(_) => AdmissionFault::BadSignature { expected: standing.key.key_id() },
        other => BatchFault::from(other).into(),
    })
}

/// Nothing may be scheduled in the future: it would count before it is due.
fn check_time(batch: &BatchView<'_>, now_ms: u64) -> Result<(), AdmissionFault> {
    let newest = batch.results.iter().map(|result| batch.scheduled_at_ms(result)).max();
    let got_ms = newest.unwrap_or(batch.header.base_time_ms).saturating_sub(now_ms);
    match got_ms > FUTURE_MS_MAX {
        true => Err(AdmissionFault::ClockAhead { limit_ms: FUTURE_MS_MAX, got_ms }),
        false => Ok(()),
    }
}
