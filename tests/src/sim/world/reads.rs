//! Linearizable reads: whoever asks must see everything that was acknowledged before.

use proofmark_aggregator::consensus::driver::Read;

use super::{Event, World};
use crate::sim::Planted;
use crate::sim::replica::PendingRead;

impl World {
    /// Some node is asked how far some agent has come.
    pub(super) fn read_asked(&mut self) -> Result<(), String> {
        let in_ms = self.rng.between(200, 900);
        self.plan(in_ms, Event::ReadAsked);
        let (node, agent) = (self.rng.index(self.nodes.len()), self.rng.index(self.agents.len()));
        let host = &self.nodes[node];
        if !host.replica.is_up() || host.paused_until_ms > self.now_ms {
            return Ok(());
        }
        self.tokens += 1;
        let (token, expects) = (self.tokens, self.oracle.acked_end(agent));
        if self.planted == Some(Planted::StaleRead) {
            return self.check_read(node, agent, expects);
        }
        let up = self.up(node);
        up.reads.insert(token, PendingRead { agent, expects, index: None });
        // A question that nobody answers is given up: raft drops some in silence.
        while up.reads.len() > 8 {
            up.reads.pop_first();
        }
        up.driver.read_index(token);
        self.settle(node)
    }

    pub(super) fn answer_reads(&mut self, node: usize, answers: &[Read]) -> Result<(), String> {
        let Some(up) = &mut self.nodes[node].replica.up else { return Ok(()) };
        for answer in answers {
            if let Some(read) = up.reads.get_mut(&answer.token) {
                read.index = Some(answer.index);
            }
        }
        self.finish_reads(node)
    }

    /// Reads whose index is applied by now.
    pub(super) fn finish_reads(&mut self, node: usize) -> Result<(), String> {
        let Some(up) = &mut self.nodes[node].replica.up else { return Ok(()) };
        let applied = up.machine.applied();
        let ready = |read: &PendingRead| read.index.is_some_and(|index| index <= applied);
        let tokens: Vec<u64> =
            up.reads.iter().filter(|(_, read)| ready(read)).map(|(token, _)| *token).collect();
        for token in tokens {
            let read = self.up(node).reads.remove(&token).expect("it was just there");
            self.reads += 1;
            self.check_read(node, read.agent, read.expects)?;
        }
        Ok(())
    }

    fn check_read(&mut self, node: usize, agent: usize, expects: u64) -> Result<(), String> {
        let name = self.cast.agents[agent].name.clone();
        let got = self.up(node).machine.state.agents().get(&name).map_or(0, |agent| agent.next_seq);
        match got >= expects {
            true => Ok(()),
            false => Err(format!(
                "stale read: node {} says that agent {} has come to {got}; {expects} was \
                 acknowledged before it was asked",
                node + 1,
                agent + 1
            )),
        }
    }
}
