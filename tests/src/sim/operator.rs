//! One operator: invites the agents, applies specs, and asks again until told.

use std::collections::VecDeque;

use proofmark_aggregator::command::{Command, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_evidence::sha256;

use super::cast::{BEGIN_MS, Cast};
use super::specs;

pub(super) struct Operator {
    commands: VecDeque<Command>,
    /// Rises with each new command.
    pub(super) number: u64,
    pub(super) current: Option<Command>,
    revision: u64,
}

impl Operator {
    /// Tokens and enrolments of all agents, then the first specs.
    pub(super) fn new(cast: &Cast) -> Self {
        let mut commands = VecDeque::new();
        for (token, agent) in cast.agents.iter().enumerate() {
            let token_id = [u8::try_from(token).expect("few agents"); 16];
            let (secret, name) = ([7; 16], agent.name.clone());
            let expires_at_ms = BEGIN_MS + 86_400_000;
            let (secret_hash, key) = (sha256(&secret), agent.key.public());
            let named = Some(name.clone());
            commands.push_back(Command::CreateToken {
                token_id,
                secret_hash,
                agent: named,
                expires_at_ms,
            });
            commands.push_back(Command::Enrol { token_id, secret, agent: name, key });
        }
        let mut operator = Self { commands, number: 0, current: None, revision: 0 };
        operator.change_specs();
        operator
    }

    /// Has new documents to apply.
    pub(super) fn change_specs(&mut self) {
        self.revision += 1;
        let text = specs::text(self.revision);
        self.commands.push_back(Command::ApplySpec { author: "ops".to_owned(), text });
    }

    /// The command to say now, if there is one.
    pub(super) fn command(&mut self) -> Option<&Command> {
        if self.current.is_none() {
            self.current = self.commands.pop_front();
            self.number += 1;
        }
        self.current.as_ref()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.current.is_none() && self.commands.is_empty()
    }

    /// Whether this was the end of the command under way.
    pub(super) fn told(&mut self, number: u64, outcome: &ProposalOutcome) -> bool {
        // Commands may meet their own first copy: whatever the state says is final, but that the
        // log has not begun.
        let is_final = match outcome {
            ProposalOutcome::Applied(Reply::Refused(why)) => why.slug() != "not_initialised",
            ProposalOutcome::Applied(_) => true,
            _ => false,
        };
        let is_over = number == self.number && self.current.is_some() && is_final;
        if is_over {
            self.current = None;
        }
        is_over
    }
}
