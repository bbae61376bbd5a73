//! Something that will happen at its time.

use proofmark_agent::schedule::Due;
use proofmark_aggregator::catchup::{Ask, Missed, Piece};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::consensus::driver::Message;
use proofmark_evidence::{Outcome, SealedBatch};

use crate::sim::gateway::Answer;
use crate::sim::replica::{Asker, Request};

/// `life`: what was under way in an earlier life of its owner is not delivered to a later.
pub(in crate::sim) enum Event {
    /// `again`: the node's clock goes on; otherwise it only jumps.
    Tick {
        node: usize,
        again: bool,
    },
    Deliver {
        message: Box<Message>,
    },
    Flush {
        node: usize,
        life: u64,
    },
    Apply {
        node: usize,
        life: u64,
    },
    Record {
        node: usize,
        life: u64,
    },
    Save {
        node: usize,
    },
    Duty {
        node: usize,
    },
    Seal {
        node: usize,
    },
    Restart {
        node: usize,
    },
    /// Somebody asks a node to have a command decided.
    Ask {
        node: usize,
        request: Box<Request>,
    },
    /// A forwarded command was decided.
    Answered {
        node: usize,
        token: u64,
        outcome: ProposalOutcome,
    },
    ForwardTimeout {
        node: usize,
        life: u64,
        token: u64,
    },
    OperatorSays,
    OperatorTold {
        number: u64,
        outcome: ProposalOutcome,
    },
    AgentStart {
        agent: usize,
    },
    AgentWake {
        agent: usize,
        life: u64,
    },
    RunEnded {
        agent: usize,
        life: u64,
        due: Box<Due>,
        outcome: Outcome,
    },
    SpoolDone {
        agent: usize,
        life: u64,
    },
    Dial {
        agent: usize,
        life: u64,
    },
    LinkCheck {
        agent: usize,
        life: u64,
    },
    ToNode {
        conn: u64,
        said: Box<Said>,
    },
    ToAgent {
        conn: u64,
        answer: Box<Answer>,
    },
    /// Somebody wants to read what is newest.
    ReadAsked,
    /// The thread that catches up looks whether it has to.
    CatchUp {
        node: usize,
        life: u64,
    },
    /// `by` asks this node for a piece.
    Fetch {
        node: usize,
        by: usize,
        life: u64,
        request: u64,
        ask: Ask,
    },
    Fetched {
        node: usize,
        life: u64,
        request: u64,
        answer: Result<Piece, Missed>,
    },
    /// The state becomes the snapshot.
    Install {
        node: usize,
        life: u64,
    },
    Nemesis,
}

/// What an agent says on its stream.
pub(in crate::sim) enum Said {
    Hello { spec_revision: u64 },
    Batch(SealedBatch),
}

impl Event {
    /// The node that must run for it to happen.
    pub(super) fn node(&self) -> Option<usize> {
        match self {
            Event::Tick { node, .. }
            | Event::Flush { node, .. }
            | Event::Apply { node, .. }
            | Event::Record { node, .. }
            | Event::Save { node }
            | Event::Duty { node }
            | Event::Seal { node }
            | Event::Ask { node, .. }
            | Event::Answered { node, .. }
            | Event::ForwardTimeout { node, .. }
            | Event::CatchUp { node, .. }
            | Event::Fetch { node, .. }
            | Event::Fetched { node, .. }
            | Event::Install { node, .. } => Some(*node),
            Event::Deliver { message } => usize::try_from(message.to - 1).ok(),
            _ => None,
        }
    }

    /// Three numbers that tell it from others: two runs with equal ones are equal runs.
    pub(super) fn fingerprint(&self) -> [u64; 3] {
        let of = |kind: u64, one: usize, two: u64| [kind, one as u64, two];
        match self {
            Event::Tick { node, again } => of(1, *node, u64::from(*again)),
            Event::Deliver { message: m } => {
                let what = (m.msg_type as u64) << 56 | m.from << 48 | m.to << 40;
                [2, what | (m.term << 20) | m.entries.len() as u64, m.index << 32 | m.commit]
            }
            Event::Flush { node, life } => of(3, *node, *life),
            Event::Apply { node, life } => of(4, *node, *life),
            Event::Record { node, life } => of(5, *node, *life),
            Event::Save { node } => of(6, *node, 0),
            Event::Duty { node } => of(7, *node, 0),
            Event::Seal { node } => of(8, *node, 0),
            Event::Restart { node } => of(9, *node, 0),
            Event::Ask { node, request } => of(10, *node, request.command.len() as u64),
            Event::Answered { node, token, .. } => of(11, *node, *token),
            Event::ForwardTimeout { node, token, .. } => of(12, *node, *token),
            Event::OperatorSays => of(13, 0, 0),
            Event::OperatorTold { number, .. } => of(14, 0, *number),
            Event::AgentStart { agent } => of(15, *agent, 0),
            Event::AgentWake { agent, life } => of(16, *agent, *life),
            Event::RunEnded { agent, due, .. } => of(17, *agent, due.scheduled_at_ms),
            Event::SpoolDone { agent, life } => of(18, *agent, *life),
            Event::Dial { agent, life } => of(19, *agent, *life),
            Event::LinkCheck { agent, life } => of(20, *agent, *life),
            Event::ToNode { conn, said } => match &**said {
                Said::Hello { spec_revision } => [21, *conn, *spec_revision],
                Said::Batch(batch) => [22, *conn, batch.payload.len() as u64],
            },
            Event::ToAgent { conn, answer } => match &**answer {
                Answer::Ack { seq_end, .. } => [23, *conn, *seq_end],
                _ => [24, *conn, 0],
            },
            Event::ReadAsked => of(26, 0, 0),
            Event::Fetched { node, request, .. } => of(27, *node, *request),
            Event::Fetch { node, request, .. } => of(28, *node, *request),
            Event::CatchUp { node, life } => of(29, *node, *life),
            Event::Install { node, life } => of(30, *node, *life),
            Event::Nemesis => of(25, 0, 0),
        }
    }
}

/// Whom a request came from, for the story.
pub(in crate::sim) fn name_of(asker: Asker) -> String {
    match asker {
        Asker::Nobody => "a duty".to_owned(),
        Asker::Stream { conn, .. } => format!("stream {conn}"),
        Asker::Operator { number } => format!("the operator's command {number}"),
        Asker::Peer { node, .. } => format!("node {}", node + 1),
    }
}
