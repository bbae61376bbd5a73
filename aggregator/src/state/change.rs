//! What operators and joining agents change: keys, tokens, specs. Each is a leaf, tokens apart.

use std::sync::Arc;

use proofmark_evidence::{AgentName, Hash, KeyChangeKind, Origin, PublicKey};
use proofmark_slo::SPEC_LEAD_MS;

use super::agents::{EnrolVerdict, NewLife};
use super::effect::{Effect, NewLeaf};
use super::genesis::{Genesis, SpecLeaf};
use super::specs::SpecText;
use super::tokens::{Spent, Token, TokenVerdict};
use super::{Applied, State};
use crate::command::{Refusal, Reply};

impl State {
    /// The log's first leaf.
    pub(super) fn begin(
        &mut self,
        origin: &Origin,
        log_key: &PublicKey,
        nodes: &[(String, PublicKey)],
    ) -> Applied {
        if self.genesis().is_some() {
            return Err(Refusal::AlreadyInitialised);
        }
        let genesis = Genesis::new(origin, log_key, nodes)?;
        let leaf = genesis.first_leaf(self.head.stamped_at_ms);
        self.genesis.insert((), genesis);
        Ok(self.append_and_reply(leaf, Reply::Done))
    }

    pub(super) fn apply_spec(&mut self, author: &str, text: &str) -> Applied {
        let in_force = self.specs.judge(author, text)?;
        let revision = self.specs.revision() + 1;
        let received_at_ms = self.head.stamped_at_ms;
        let effective_at_ms = received_at_ms + SPEC_LEAD_MS;
        let leaf = self.log().spec_change(SpecLeaf {
            revision,
            received_at_ms,
            effective_at_ms,
            author,
            text,
        });
        self.ledger.spec_changed(revision, effective_at_ms, &in_force);
        let leaf_index = self.head.leaf_count;
        let (author, owned) = (author.to_owned(), text.to_owned());
        let applied = SpecText { author, text: owned, received_at_ms, effective_at_ms, leaf_index };
        self.specs.apply(applied, in_force);
        let append = self.append(leaf, text.as_bytes().into());
        Ok(vec![append, Effect::Reply(Reply::Applied { revision, effective_at_ms })])
    }

    pub(super) fn create_token(
        &mut self,
        id: [u8; 16],
        secret_hash: Hash,
        agent: Option<&AgentName>,
        expires_at_ms: u64,
    ) -> Applied {
        let token = Token { secret_hash, agent: agent.cloned(), expires_at_ms, spent_by: None };
        self.tokens.create(id, token, (self.head.stamped_at_ms, self.version()))?;
        Ok(vec![Effect::Reply(Reply::TokenCreated)])
    }

    /// The same enrolment again, its answer having been lost, is answered again and is no leaf:
    /// with the same token, or with a new one, which is spent.
    pub(super) fn enrol(
        &mut self,
        token_id: &[u8; 16],
        secret: &[u8; 16],
        agent: &AgentName,
        key: &PublicKey,
    ) -> Applied {
        let now_ms = self.head.stamped_at_ms;
        let verdict = self.tokens.judge(token_id, secret, (agent, key), now_ms)?;
        if let TokenVerdict::Repeated { epoch } = verdict {
            return Ok(vec![Effect::Reply(Reply::Enrolled { epoch })]);
        }
        let verdict = self.agents.check_enrol(agent, key)?;
        let (EnrolVerdict::Begins { epoch } | EnrolVerdict::Lives { epoch }) = verdict;
        self.tokens.spend(token_id, Spent { agent: agent.clone(), key: *key, epoch });
        if matches!(verdict, EnrolVerdict::Lives { .. }) {
            return Ok(vec![Effect::Reply(Reply::Enrolled { epoch })]);
        }
        let leaf_index = self.head.leaf_count;
        self.agents.enrol(agent.clone(), NewLife { key: *key, epoch, at_ms: now_ms, leaf_index });
        self.ledger.agent_enrolled(agent, now_ms);
        let change = KeyChangeKind::Enrol { agent: agent.clone(), key: *key, epoch };
        let leaf = self.log().key_change(now_ms, change);
        Ok(self.append_and_reply(leaf, Reply::Enrolled { epoch }))
    }

    /// Retiring twice is retiring once.
    pub(super) fn retire(&mut self, agent: &AgentName) -> Applied {
        let now_ms = self.head.stamped_at_ms;
        if !self.agents.retire(agent)? {
            return Ok(vec![Effect::Reply(Reply::Retired)]);
        }
        self.ledger.agent_retired(agent, now_ms);
        let leaf = self.log().key_change(now_ms, KeyChangeKind::Retire { agent: agent.clone() });
        Ok(self.append_and_reply(leaf, Reply::Retired))
    }

    /// Who signs the log's own leaves.
    pub(super) fn log(&self) -> &Genesis {
        self.genesis().expect("dispatch wants a genesis first")
    }

    fn append_and_reply(&mut self, leaf: NewLeaf, reply: Reply) -> Vec<Effect> {
        let no_payload: Arc<[u8]> = Arc::from([]);
        vec![self.append(leaf, no_payload), Effect::Reply(reply)]
    }
}
