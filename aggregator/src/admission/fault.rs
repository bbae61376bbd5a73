//! Why a batch is not admitted, sorted by who must act.

use proofmark_evidence::{AgentName, BatchFault, Hash, KeyId};

/// What the agent should do with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// The same bytes may be admitted later.
    Retry,
    /// These bytes never will be.
    Drop,
    /// Nothing signed so by this agent ever will be.
    Stop,
}

/// A refusal before any state was asked. Each says what would have passed, and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionFault {
    // The agent's clock, or ours.
    #[error("clock_ahead: expected at most {limit_ms} ms ahead, got {got_ms} ms ahead")]
    ClockAhead { limit_ms: u64, got_ms: u64 },

    // The agent's program: these bytes are damaged or too large.
    #[error("payload_too_large: expected at most {limit_bytes} bytes, got {got_bytes} bytes")]
    PayloadTooLarge { limit_bytes: usize, got_bytes: usize },
    #[error("{}: {fault}", fault.slug())]
    Batch {
        #[from]
        fault: BatchFault,
    },

    // The agent's owner: this identity is not the one that may speak here.
    #[error("wrong_log: expected log id {expected}, got {got}")]
    WrongLog { expected: Hash, got: Hash },
    #[error("wrong_agent: expected agent {expected}, got {got}")]
    WrongAgent { expected: AgentName, got: AgentName },
    #[error("wrong_key: expected key id {expected}, got {got}")]
    WrongKey { expected: KeyId, got: KeyId },
    #[error("bad_signature: expected a signature by key {expected}, got one that does not verify")]
    BadSignature { expected: KeyId },
    #[error("wrong_epoch: expected epoch {expected}, got {got}")]
    WrongEpoch { expected: u64, got: u64 },
    #[error("retired_agent: expected an agent in service, got {agent}")]
    Retired { agent: AgentName },
}

impl AdmissionFault {
    /// The stable word, the same in the answer, the log and the metric.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::ClockAhead { .. } => "clock_ahead",
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::Batch { fault } => fault.slug(),
            Self::WrongLog { .. } => "wrong_log",
            Self::WrongAgent { .. } => "wrong_agent",
            Self::WrongKey { .. } => "wrong_key",
            Self::BadSignature { .. } => "bad_signature",
            Self::WrongEpoch { .. } => "wrong_epoch",
            Self::Retired { .. } => "retired_agent",
        }
    }

    pub fn action(&self) -> FaultAction {
        match self {
            Self::ClockAhead { .. } => FaultAction::Retry,
            // This node has not yet applied the enrolment that another node has.
            Self::WrongEpoch { expected, got } if got > expected => FaultAction::Retry,
            Self::PayloadTooLarge { .. } | Self::Batch { .. } => FaultAction::Drop,
            _ => FaultAction::Stop,
        }
    }

    /// What would have been admitted.
    pub fn expected(&self) -> String {
        match self {
            Self::ClockAhead { limit_ms, .. } => format!("at most {limit_ms} ms ahead"),
            Self::PayloadTooLarge { limit_bytes, .. } => format!("at most {limit_bytes} bytes"),
            Self::Batch { fault } => split(&fault.to_string()).0,
            Self::WrongLog { expected, .. } => format!("log id {expected}"),
            Self::WrongAgent { expected, .. } => format!("agent {expected}"),
            Self::WrongKey { expected, .. } => format!("key id {expected}"),
            Self::BadSignature { expected } => format!("a signature by key {expected}"),
            Self::WrongEpoch { expected, .. } => format!("epoch {expected}"),
            Self::Retired { .. } => "an agent in service".to_owned(),
        }
    }

    /// What came instead.
    pub fn got(&self) -> String {
        match self {
            Self::ClockAhead { got_ms, .. } => format!("{got_ms} ms ahead"),
            Self::PayloadTooLarge { got_bytes, .. } => format!("{got_bytes} bytes"),
            Self::Batch { fault } => split(&fault.to_string()).1,
            Self::WrongLog { got, .. } => format!("log id {got}"),
            Self::WrongAgent { got, .. } => format!("agent {got}"),
            Self::WrongKey { got, .. } => format!("key id {got}"),
            Self::BadSignature { .. } => "one that does not verify".to_owned(),
            Self::WrongEpoch { got, .. } => format!("epoch {got}"),
            Self::Retired { agent } => format!("{agent}, retired"),
        }
    }
}

/// Evidence's faults read "what: expected X, got Y": taken apart into ("what: X", "Y").
fn split(text: &str) -> (String, String) {
    let whole = || ("a batch that holds together".to_owned(), text.to_owned());
    let Some((what, rest)) = text.split_once("expected ") else { return whole() };
    let Some((expected, got)) = rest.split_once(", got ") else { return whole() };
    (format!("{what}{expected}"), got.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_and_got_of_a_damaged_batch_are_told_apart() {
        let fault = AdmissionFault::from(BatchFault::CountUnequal { expected: 4, got: 3 });
        assert_eq!(fault.slug(), "batch_count_unequal");
        assert_eq!(fault.expected(), "results: 4 as the header says");
        assert_eq!(fault.got(), "3");
        let torn = AdmissionFault::from(BatchFault::PayloadTorn { at: 9 });
        assert_eq!(torn.expected(), "payload: whole results");
        assert_eq!(torn.got(), "a torn one at byte 9");
    }
}
