//! Streams between agents and nodes: in order, and broken for good once anything is lost.

use proofmark_agent::core::Happened;
use proofmark_aggregator::consensus::ProposalOutcome;

use super::event::Said;
use super::{Event, World};
use crate::sim::Planted;
use crate::sim::gateway::{self, Answer};
use crate::sim::network::Place;
use crate::sim::replica::{Asker, Request};

/// One connection.
pub(super) struct Conn {
    pub(super) agent: usize,
    pub(super) node: usize,
    /// Nothing arrives any more; its ends find out by silence.
    pub(super) is_broken: bool,
    /// When the last bytes sent each way arrive: the next do not overtake them.
    to_node_ms: u64,
    to_agent_ms: u64,
}

/// A batch whose newest result is older than this comes late, as far as a planted mistake goes.
const LATE_MS: u64 = 6_000;

impl World {
    pub(super) fn connect(&mut self, agent: usize, node: usize) -> u64 {
        self.conns_made += 1;
        let now_ms = self.now_ms;
        let (to_node_ms, to_agent_ms) = (now_ms, now_ms);
        let conn = Conn { agent, node, is_broken: false, to_node_ms, to_agent_ms };
        self.conns.insert(self.conns_made, conn);
        self.conns_made
    }

    pub(super) fn disconnect(&mut self, conn: u64) {
        if let Some(gone) = self.conns.remove(&conn) {
            self.nodes[gone.node].gateway.close(conn);
        }
    }

    pub(super) fn say_to_node(&mut self, conn: u64, said: Said) {
        let Some(open) = self.conns.get_mut(&conn).filter(|conn| !conn.is_broken) else { return };
        let (from, to) = (Place::Agent(open.agent), Place::Node(open.node));
        let Some(delay_ms) = self.network.stream_delay_ms(from, to, &mut self.rng) else {
            open.is_broken = true;
            return;
        };
        open.to_node_ms = open.to_node_ms.max(self.now_ms + delay_ms);
        let in_ms = open.to_node_ms - self.now_ms;
        self.plan(in_ms, Event::ToNode { conn, said: Box::new(said) });
    }

    fn say_to_agent(&mut self, conn: u64, answer: Answer) {
        let Some(open) = self.conns.get_mut(&conn).filter(|conn| !conn.is_broken) else { return };
        let (from, to) = (Place::Node(open.node), Place::Agent(open.agent));
        let Some(delay_ms) = self.network.stream_delay_ms(from, to, &mut self.rng) else {
            open.is_broken = true;
            return;
        };
        open.to_agent_ms = open.to_agent_ms.max(self.now_ms + delay_ms);
        let in_ms = open.to_agent_ms - self.now_ms;
        self.plan(in_ms, Event::ToAgent { conn, answer: Box::new(answer) });
    }

    pub(super) fn node_hears(&mut self, conn: u64, said: Said) -> Result<(), String> {
        let Some(open) = self.conns.get_mut(&conn).filter(|conn| !conn.is_broken) else {
            return Ok(());
        };
        let (agent, node) = (open.agent, open.node);
        if !self.nodes[node].replica.is_up() {
            // Nobody listens: whoever starts there next knows nothing of this connection.
            open.is_broken = true;
            return Ok(());
        }
        match said {
            Said::Hello { spec_revision } => self.hello(conn, agent, node, spec_revision),
            Said::Batch(batch) => {
                let unix_ms = self.node_unix_ms(node);
                let host = &mut self.nodes[node];
                let up = host.replica.up.as_mut().expect("it is up");
                let state = &up.machine.state;
                match host.gateway.batch(conn, &batch, state, unix_ms) {
                    None => {}
                    Some(Ok(request)) if self.is_dropped(&batch, node) => {
                        let early = crate::sim::replica::accepted_up_to(&batch);
                        self.answer(node, request, early)?;
                    }
                    Some(Ok(request)) => {
                        self.up(node).request(request);
                        self.settle(node)?;
                    }
                    Some(Err((place, answer))) => self.decided(node, conn, place, answer),
                }
            }
        }
        Ok(())
    }

    fn hello(&mut self, conn: u64, agent: usize, node: usize, spec_revision: u64) {
        let name = self.cast.agents[agent].name.clone();
        let host = &mut self.nodes[node];
        let up = host.replica.up.as_mut().expect("the caller saw it up");
        let welcome = host.gateway.hello(conn, &name, spec_revision, &up.machine.state);
        let note = up.recorder.note();
        match welcome {
            None => self.conns.get_mut(&conn).expect("it is open").is_broken = true,
            Some(answers) => {
                answers.into_iter().for_each(|answer| self.say_to_agent(conn, answer));
                if !note.is_empty() {
                    self.say_to_agent(conn, Answer::Checkpoint(note));
                }
            }
        }
    }

    /// Planted: who comes late is told that all is well.
    fn is_dropped(&self, batch: &proofmark_evidence::SealedBatch, node: usize) -> bool {
        let newest_ms = || {
            let open = batch.open().ok()?;
            open.results.iter().map(|result| open.scheduled_at_ms(result)).max()
        };
        self.planted == Some(Planted::LateResultDropped)
            && newest_ms().is_some_and(|at_ms| at_ms + LATE_MS < self.node_unix_ms(node))
    }

    pub(super) fn decided(&mut self, node: usize, conn: u64, place: u64, answer: Answer) {
        for answer in self.nodes[node].gateway.decided(conn, place, answer) {
            self.say_to_agent(conn, answer);
        }
    }

    /// An outcome goes to whoever asked. It counts as an acknowledgement when it leaves the node
    /// that speaks to the agent, heard or not.
    pub(super) fn answer(
        &mut self,
        node: usize,
        request: Request,
        outcome: ProposalOutcome,
    ) -> Result<(), String> {
        match request.asker {
            Asker::Nobody => {}
            Asker::Stream { conn, place } => {
                let answer = gateway::answer_of(&outcome);
                let agent = self.conns.get(&conn).map(|conn| conn.agent);
                if let (Answer::Ack { seq_end, .. }, Some(batch), Some(agent)) =
                    (&answer, request.batch, agent)
                {
                    self.oracle.acknowledged(agent, batch, *seq_end);
                }
                self.decided(node, conn, place, answer);
            }
            Asker::Operator { number } => {
                let delays =
                    self.network.delays_ms(Place::Node(node), Place::Operator, &mut self.rng);
                for delay_ms in delays {
                    let outcome = outcome.clone();
                    self.plan(delay_ms, Event::OperatorTold { number, outcome });
                }
            }
            Asker::Peer { node: to, token } => {
                let delays =
                    self.network.delays_ms(Place::Node(node), Place::Node(to), &mut self.rng);
                for delay_ms in delays {
                    let outcome = outcome.clone();
                    self.plan(delay_ms, Event::Answered { node: to, token, outcome });
                }
            }
        }
        Ok(())
    }

    pub(super) fn tell_specs(&mut self, node: usize) {
        let Some(specs) = gateway::specs_of(&self.up(node).machine.state) else { return };
        for conn in self.nodes[node].gateway.conns() {
            self.say_to_agent(conn, Answer::Specs(specs.clone()));
        }
    }

    /// Agents check every signature of it: a few are enough for a run.
    pub(super) fn tell_checkpoint(&mut self, node: usize, note: &str) {
        if self.rng.chance_permille(200) {
            for conn in self.nodes[node].gateway.conns() {
                self.say_to_agent(conn, Answer::Checkpoint(note.to_owned()));
            }
        }
    }

    pub(super) fn agent_hears(&mut self, conn: u64, answer: Answer) -> Result<(), String> {
        let Some(agent) = self.conns.get(&conn).filter(|conn| !conn.is_broken).map(|c| c.agent)
        else {
            return Ok(());
        };
        let (now_ms, cast) = (self.now_ms, &self.cast);
        let Some(up) = &mut self.agents[agent].up else { return Ok(()) };
        if up.link.conn != conn {
            return Ok(());
        }
        let was_ack = matches!(answer, Answer::Ack { .. });
        let event = up.link.take(answer, now_ms, cast);
        if was_ack {
            self.trace_ack(agent, conn);
        }
        match event {
            Some(event) => self.agent_happened(agent, Happened::Uplink(event)),
            None => self.pump(agent),
        }
    }

    fn trace_ack(&mut self, agent: usize, conn: u64) {
        let node = self.conns[&conn].node;
        self.say(|| format!("agent {} hears an ack from node {}", agent + 1, node + 1));
    }
}
