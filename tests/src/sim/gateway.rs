//! The agents' door of one replica: streams, real admission, answers in the order of the batches.

use std::collections::{BTreeMap, VecDeque};

use proofmark_agent::specs::SpecSet;
use proofmark_aggregator::admission::{Admitted, FaultAction, Standing, admit};
use proofmark_aggregator::command::{Action, Command, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::state::State;
use proofmark_evidence::{AgentName, Hash, SealedBatch};

use super::replica::{Asker, Request};

/// What an aggregator says on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Welcome { epoch: u64, next_seq: u64, last_header_hash: Hash },
    Ack { epoch: u64, seq_end: u64 },
    Busy { retry_after_ms: u64 },
    Refused { slug: &'static str, verb: Verb },
    Specs(SpecSet),
    Checkpoint(String),
}

/// What a refusal asks of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    ResendFrom { seq: u64 },
    Drop,
    Stop,
}

/// The streams of one replica, by connection.
#[derive(Default)]
pub(super) struct Gateway {
    streams: BTreeMap<u64, Stream>,
}

struct Stream {
    agent: AgentName,
    /// Answers of the batches under way, oldest first; `None` while undecided.
    under_way: VecDeque<Option<Answer>>,
    /// The place of the first of them.
    first_place: u64,
}

impl Gateway {
    pub(super) fn clear(&mut self) {
        self.streams.clear();
    }

    pub(super) fn close(&mut self, conn: u64) {
        self.streams.remove(&conn);
    }

    pub(super) fn conns(&self) -> Vec<u64> {
        self.streams.keys().copied().collect()
    }

    /// Opens a stream. None: this node does not know the agent yet.
    pub(super) fn hello(
        &mut self,
        conn: u64,
        agent: &AgentName,
        spec_revision: u64,
        state: &State,
    ) -> Option<Vec<Answer>> {
        let standing = standing(state, agent)?;
        let stream = Stream { agent: agent.clone(), under_way: VecDeque::new(), first_place: 0 };
        self.streams.insert(conn, stream);
        let welcome = Answer::Welcome {
            epoch: standing.epoch,
            next_seq: standing.next_seq,
            last_header_hash: standing.last_hash,
        };
        let newest = state.specs().newest().filter(|(revision, _)| *revision != spec_revision);
        let specs = newest.and_then(|_| specs_of(state));
        Some(std::iter::once(welcome).chain(specs.map(Answer::Specs)).collect())
    }

    /// Takes a batch: either it is to be proposed, or it is answered already.
    pub(super) fn batch(
        &mut self,
        conn: u64,
        batch: &SealedBatch,
        state: &State,
        unix_ms: u64,
    ) -> Option<Result<Request, (u64, Answer)>> {
        let stream = self.streams.get_mut(&conn)?;
        let place = stream.first_place + stream.under_way.len() as u64;
        stream.under_way.push_back(None);
        let Some(standing) = standing(state, &stream.agent) else {
            return Some(Err((place, Answer::Busy { retry_after_ms: 1_000 })));
        };
        let log_id = state.genesis()?.log_id;
        let (leaf, payload) = (batch.leaf.bytes(), &batch.payload);
        Some(match admit(leaf, payload, &stream.agent, &standing, log_id, unix_ms) {
            Ok(Admitted { leaf, payload, .. }) => {
                Ok(Request::new(Asker::Stream { conn, place }, &Command::Admit { leaf, payload }))
            }
            Err(fault) => {
                let verb = match fault.action() {
                    FaultAction::Retry => Verb::Retry,
                    FaultAction::Drop => Verb::Drop,
                    FaultAction::Stop => Verb::Stop,
                };
                Err((place, Answer::Refused { slug: fault.slug(), verb }))
            }
        })
    }

    /// A batch is decided. What can be said now, in order.
    pub(super) fn decided(&mut self, conn: u64, place: u64, answer: Answer) -> Vec<Answer> {
        let Some(stream) = self.streams.get_mut(&conn) else { return Vec::new() };
        let position = usize::try_from(place - stream.first_place).expect("a short queue");
        stream.under_way[position] = Some(answer);
        let mut ready = Vec::new();
        while let Some(Some(_)) = stream.under_way.front() {
            ready.extend(stream.under_way.pop_front().flatten());
            stream.first_place += 1;
        }
        ready
    }
}

/// Only `Accepted` and `Duplicate` become an ack.
pub(super) fn answer_of(outcome: &ProposalOutcome) -> Answer {
    let no_leader = Answer::Busy { retry_after_ms: 1_000 };
    match outcome {
        ProposalOutcome::Applied(
            Reply::Accepted { seq_end, .. } | Reply::Duplicate { seq_end, .. },
        ) => Answer::Ack { epoch: 1, seq_end: *seq_end },
        ProposalOutcome::Applied(Reply::Refused(fault)) => {
            let verb = match fault.action() {
                Action::Retry => Verb::Retry,
                Action::ResendFrom { seq } => Verb::ResendFrom { seq },
                Action::Drop => Verb::Drop,
                Action::Stop => Verb::Stop,
            };
            Answer::Refused { slug: fault.slug(), verb }
        }
        ProposalOutcome::Busy { retry_after_ms } => {
            Answer::Busy { retry_after_ms: *retry_after_ms }
        }
        _ => no_leader,
    }
}

pub(super) fn specs_of(state: &State) -> Option<SpecSet> {
    let (revision, newest) = state.specs().newest()?;
    let (effective_at_ms, text) = (newest.effective_at_ms, state.specs().in_force().to_yaml());
    Some(SpecSet { revision, effective_at_ms, text })
}

fn standing(state: &State, agent: &AgentName) -> Option<Standing> {
    let agent = state.agents().get(agent)?;
    Some(Standing {
        key: agent.key,
        epoch: agent.epoch,
        next_seq: agent.next_seq,
        last_hash: agent.last_header_hash,
        retired: agent.is_retired,
    })
}
