//! Every "no" of this port, in the one shape agents and operators get.

use tonic::{Code, Status};

use proofmark_proto as wire;
use wire::Action;

use super::counters::{Counters, Event};
use crate::admission::{AdmissionFault, FaultAction};
use crate::command;
use crate::consensus::ProposalOutcome;
use crate::identity::Role;
use crate::limits::NO_LEADER_RETRY_MS;

/// Builds a refusal. `expected` and `got` may be empty when the slug says all.
pub(super) fn refusal(
    slug: &str,
    action: Action,
    expected: impl ToString,
    got: impl ToString,
) -> wire::Refusal {
    wire::Refusal {
        slug: slug.to_owned(),
        expected: expected.to_string(),
        got: got.to_string(),
        action: action.into(),
        resend_from_seq: 0,
    }
}

/// An RPC's "no" that this node decides by itself; counted.
pub(super) fn refuse(
    counters: &Counters,
    slug: &'static str,
    action: Action,
    expected: impl ToString,
    got: impl ToString,
) -> Status {
    counters.note(Event::Rpc, slug);
    refusal(slug, action, expected, got).into_status(code_of(action))
}

/// This replica's log differs from the majority's: what it says may be wrong, so it says no more.
pub(super) fn diverged(counters: &Counters) -> Status {
    let (expected, got) = ("a replica whose log is the majority's", "one that differs from it");
    refuse(counters, "diverged", Action::Retry, expected, got)
}

/// The caller's certificate, or its absence, does not allow this RPC.
pub(super) fn wrong_role(counters: &Counters, expected: &str, role: &Role) -> Status {
    let (slug, code) = match role {
        Role::Stranger => ("no_certificate", Code::Unauthenticated),
        _ => ("wrong_role", Code::PermissionDenied),
    };
    counters.note(Event::Rpc, slug);
    refusal(slug, Action::Stop, expected, role.describe()).into_status(code)
}

/// gRPC's word for what the caller should do.
pub(super) fn code_of(action: Action) -> Code {
    match action {
        Action::Retry | Action::Unspecified => Code::Unavailable,
        Action::ResendFrom => Code::FailedPrecondition,
        Action::Drop => Code::InvalidArgument,
        Action::Stop => Code::PermissionDenied,
    }
}

/// The status for a command that was not applied: refused, or decided by nobody.
pub(super) fn unapplied(counters: &Counters, outcome: ProposalOutcome) -> Status {
    let (slug, got) = match outcome {
        ProposalOutcome::Applied(command::Reply::Refused(fault)) => {
            counters.note(Event::Rpc, fault.slug());
            let refusal = wire::Refusal::from(&fault);
            let code = code_of(refusal.action());
            return refusal.into_status(code);
        }
        ProposalOutcome::Applied(reply) => return unexpected(&reply),
        ProposalOutcome::TooLarge { bytes_max, bytes } => {
            let (expected, got) = (format!("at most {bytes_max} bytes"), format!("{bytes} bytes"));
            return refuse(counters, "command_too_large", Action::Drop, expected, got);
        }
        ProposalOutcome::NotLeader { .. } => ("no_leader", "none reachable".to_owned()),
        ProposalOutcome::Lost => ("leader_changed", "a change while it was decided".to_owned()),
        ProposalOutcome::Busy { retry_after_ms } => {
            ("consensus_full", format!("full for {retry_after_ms} ms"))
        }
    };
    refuse(counters, slug, Action::Retry, "a leader with room", got)
}

/// A reply of another command's kind: our bug. Said, not hidden behind a panic.
pub(super) fn unexpected(reply: &command::Reply) -> Status {
    tracing::error!(?reply, "the state answered with another command's reply");
    Status::internal("unexpected_reply")
}

/// Delay and reason for a command that nobody decided; `None` when it was decided.
pub(super) fn busy(outcome: &ProposalOutcome) -> Option<(u64, &'static str)> {
    match outcome {
        ProposalOutcome::Busy { retry_after_ms } => Some((*retry_after_ms, "consensus_full")),
        ProposalOutcome::NotLeader { .. } => Some((NO_LEADER_RETRY_MS, "no_leader")),
        ProposalOutcome::Lost => Some((NO_LEADER_RETRY_MS, "leader_changed")),
        ProposalOutcome::Applied(_) | ProposalOutcome::TooLarge { .. } => None,
    }
}

impl From<&command::Refusal> for wire::Refusal {
    fn from(fault: &command::Refusal) -> wire::Refusal {
        let (action, resend_from_seq) = match fault.action() {
            command::Action::Retry => (Action::Retry, 0),
            command::Action::ResendFrom { seq } => (Action::ResendFrom, seq),
            command::Action::Drop => (Action::Drop, 0),
            command::Action::Stop => (Action::Stop, 0),
        };
        let refusal = refusal(fault.slug(), action, fault.expected(), fault.got());
        wire::Refusal { resend_from_seq, ..refusal }
    }
}

impl From<&AdmissionFault> for wire::Refusal {
    fn from(fault: &AdmissionFault) -> wire::Refusal {
        let action = match fault.action() {
            FaultAction::Retry => Action::Retry,
            FaultAction::Drop => Action::Drop,
            FaultAction::Stop => Action::Stop,
        };
        refusal(fault.slug(), action, fault.expected(), fault.got())
    }
}
