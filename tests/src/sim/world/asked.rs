//! Commands that a follower sends on to the leader, and what comes back.

use proofmark_aggregator::consensus::ProposalOutcome;

use super::event::name_of;
use super::{Event, World};
use crate::sim::network::Place;
use crate::sim::replica::{Asker, Request};

/// How long a forward may take before its asker is told that nobody knows.
const FORWARD_MS_MAX: u64 = 5_000;

impl World {
    /// Somebody asks this node.
    pub(super) fn asked(&mut self, node: usize, request: Request) -> Result<(), String> {
        match &mut self.nodes[node].replica.up {
            Some(up) => up.request(request),
            None => return Ok(()),
        }
        self.settle(node)
    }

    /// This node follows: the leader is asked for it.
    pub(super) fn forward(&mut self, node: usize, to_id: u64, request: Request) {
        self.tokens += 1;
        let (token, life) = (self.tokens, self.nodes[node].replica.life);
        let asker = Asker::Peer { node, token };
        let sent = Request { asker, ..request.clone() };
        self.say(|| {
            format!("node {} forwards {} to node {to_id}", node + 1, name_of(request.asker))
        });
        self.up(node).forwarded.insert(token, request);
        let to = usize::try_from(to_id - 1).expect("a node");
        for delay_ms in self.network.delays_ms(Place::Node(node), Place::Node(to), &mut self.rng) {
            self.plan(delay_ms, Event::Ask { node: to, request: Box::new(sent.clone()) });
        }
        self.plan(FORWARD_MS_MAX, Event::ForwardTimeout { node, life, token });
    }

    pub(super) fn answered(
        &mut self,
        node: usize,
        token: u64,
        outcome: &ProposalOutcome,
    ) -> Result<(), String> {
        let up = self.nodes[node].replica.up.as_mut();
        match up.and_then(|up| up.forwarded.remove(&token)) {
            Some(request) => self.answer(node, request, outcome.clone()),
            None => Ok(()), // answered twice, or too late
        }
    }

    pub(super) fn timed_out(&mut self, node: usize, life: u64, token: u64) -> Result<(), String> {
        match self.lives(node, life) {
            true => self.answered(node, token, &ProposalOutcome::Lost),
            false => Ok(()),
        }
    }
}
