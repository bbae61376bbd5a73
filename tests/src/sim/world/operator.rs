//! The operator says what is to be done, to any node, and says it again.

use proofmark_aggregator::consensus::ProposalOutcome;

use super::{Event, Phase, World};
use crate::sim::network::Place;
use crate::sim::replica::{Asker, Request};

impl World {
    pub(super) fn operator_says(&mut self) -> Result<(), String> {
        let in_ms = self.rng.between(400, 1_200);
        self.plan(in_ms, Event::OperatorSays);
        self.say_command();
        Ok(())
    }

    fn say_command(&mut self) {
        let node = self.rng.index(self.nodes.len());
        let Some(command) = self.operator.command().cloned() else { return };
        let number = self.operator.number;
        let request = Request::new(Asker::Operator { number }, &command);
        let delays = self.network.delays_ms(Place::Operator, Place::Node(node), &mut self.rng);
        for delay_ms in delays {
            self.plan(delay_ms, Event::Ask { node, request: Box::new(request.clone()) });
        }
    }

    pub(super) fn operator_told(
        &mut self,
        number: u64,
        outcome: &ProposalOutcome,
    ) -> Result<(), String> {
        let slug = self.operator.current.as_ref().map(|command| command.slug());
        if self.operator.told(number, outcome) {
            self.say(|| format!("the operator's {} is done", slug.unwrap_or("command")));
            self.say_command();
        }
        Ok(())
    }

    /// New documents, in the middle of it all.
    pub(in crate::sim) fn change_specs(&mut self) {
        if self.phase == Phase::Cruel && self.operator.is_finished() {
            self.operator.change_specs();
            self.faults.spec_changes += 1;
        }
    }

    pub(super) fn operator_is_finished(&self) -> bool {
        self.operator.is_finished()
    }
}
