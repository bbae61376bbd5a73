//! A log, its nodes and its agents, played by hand: for the tests of state and recorder.

use proofmark_evidence::{
    AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Checkpoint, Coverage, FailReason,
    Hash, Origin, Outcome, PublicKey, SealedBatch, SigningKey, cosign, sha256,
};
use proofmark_spec::Grid;

use super::{Effect, State};
use crate::command::{Command, Reply};

pub(crate) const START_MS: u64 = 1_700_000_000_000;
pub(crate) const INTERVAL_MS: u64 = 10_000;
const SECRET: [u8; 16] = [9; 16];

pub(crate) const SPEC: &str = concat!(
    "\
apiVersion: proofmark/v1
kind: Check
metadata: {name: home}
spec:
  interval: 10s
  probe: {tcp: {address: 'localhost:80'}}
---
",
    include_str!("../../../tests/samples/objective.yaml")
);

pub(crate) fn origin() -> Origin {
    Origin::parse("proofmark.test/log").unwrap()
}

pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_seed([200; 32])
}

pub(crate) fn node_name(node: u8) -> String {
    format!("proofmark.test/log/n{node}")
}

pub(crate) fn node_key(node: u8) -> SigningKey {
    SigningKey::from_seed([210 + node; 32])
}

/// `count` nodes, numbered from 1.
pub(crate) fn nodes(count: u8) -> Vec<(String, PublicKey)> {
    (1..=count).map(|node| (node_name(node), node_key(node).public())).collect()
}

pub(crate) fn genesis(node_count: u8) -> Command {
    let (origin, log_key) = (origin(), log_key().public());
    Command::Genesis { origin, log_key, nodes: nodes(node_count) }
}

pub(crate) fn cosigned(node: u8, size: u64, root: Hash) -> Command {
    let (timestamp_s, origin) = (START_MS / 1_000, origin());
    let text = Checkpoint { origin, size, root }.to_text();
    let word = cosign(&node_name(node), &node_key(node), timestamp_s, &text);
    Command::Cosign { node: word.name, size, root, timestamp_s, signature: word.signature.0 }
}

pub(crate) fn token(id: u8, agent: Option<&str>, expires_at_ms: u64) -> Command {
    Command::CreateToken {
        token_id: [id; 16],
        secret_hash: sha256(&SECRET),
        agent: agent.map(name),
        expires_at_ms,
    }
}

pub(crate) fn enrol(token_id: u8, agent: &str, key: &SigningKey) -> Command {
    let (token_id, key) = ([token_id; 16], key.public());
    Command::Enrol { token_id, secret: SECRET, agent: name(agent), key }
}

pub(crate) fn apply_spec(text: &str) -> Command {
    Command::ApplySpec { author: "ops".to_owned(), text: text.to_owned() }
}

pub(crate) fn admit(sealed: &SealedBatch) -> Command {
    Command::Admit { leaf: sealed.leaf.clone(), payload: sealed.payload.clone() }
}

pub(crate) fn name(agent: &str) -> AgentName {
    AgentName::parse(agent).unwrap()
}

/// A state and the index and stamp of its next entry.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now_ms: u64,
}

impl World {
    /// Genesis is applied, `SPEC` is in force.
    pub(crate) fn new(node_count: u8) -> Self {
        let mut world = Self { state: State::new(), now_ms: START_MS };
        assert_eq!(world.reply(genesis(node_count)), Reply::Done);
        assert!(matches!(world.reply(apply_spec(SPEC)), Reply::Applied { revision: 1, .. }));
        world
    }

    /// One command, one entry.
    pub(crate) fn apply(&mut self, command: &Command) -> Vec<Effect> {
        let index = self.state.applied() + 1;
        let effects = self.state.apply(index, self.now_ms, command);
        self.state.finish_entry(index);
        effects
    }

    pub(crate) fn reply(&mut self, command: Command) -> Reply {
        reply_of(&self.apply(&command))
    }

    /// Lets this much time pass, tick by tick.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let ticks = (0..ms / 1_000).flat_map(|_| {
            self.now_ms += 1_000;
            self.apply(&Command::Tick)
        });
        ticks.collect()
    }

    /// An agent enrolled now, by a token of its own.
    pub(crate) fn join(&mut self, agent: &str, seed: u8) -> FakeAgent {
        let fake = FakeAgent::new(agent, seed);
        assert_eq!(self.reply(token(seed, None, self.now_ms + 60_000)), Reply::TokenCreated);
        assert_eq!(self.reply(enrol(seed, agent, &fake.key)), Reply::Enrolled { epoch: 1 });
        fake
    }
}

/// The answer among a command's effects: there is exactly one, and it is the last.
pub(crate) fn reply_of(effects: &[Effect]) -> Reply {
    let replies = effects.iter().filter(|effect| matches!(effect, Effect::Reply(_))).count();
    assert_eq!(replies, 1, "{effects:?}");
    match effects.last() {
        Some(Effect::Reply(reply)) => reply.clone(),
        other => panic!("expected the reply last, got {other:?}"),
    }
}

/// An agent as far as its batches go.
#[derive(Clone)]
pub(crate) struct FakeAgent {
    pub(crate) name: AgentName,
    pub(crate) key: SigningKey,
    pub(crate) epoch: u64,
    pub(crate) next_seq: u64,
    pub(crate) previous: Hash,
}

impl FakeAgent {
    pub(crate) fn new(agent: &str, seed: u8) -> Self {
        let key = SigningKey::from_seed([seed; 32]);
        Self { name: name(agent), key, epoch: 1, next_seq: 1, previous: Hash::ZERO }
    }

    /// The instants at which `home` is due on this agent, from `from_ms` on.
    pub(crate) fn due(&self, from_ms: u64) -> impl Iterator<Item = u64> {
        let grid = Grid::of("home", self.name.as_str(), INTERVAL_MS);
        let first = grid.next_after(from_ms - 1);
        (0..).map(move |run| first + run * INTERVAL_MS)
    }

    /// Seals the agent's next batch, one result of `home` for each instant, and moves on.
    pub(crate) fn batch(&mut self, instants_ms: &[u64], outcome: Outcome) -> SealedBatch {
        let sealed = self.sealed(instants_ms, outcome);
        self.next_seq += instants_ms.len() as u64;
        self.previous = sealed.leaf.header_hash();
        sealed
    }

    /// The batch alone: the agent stays where it is, so that a test may bend it first.
    pub(crate) fn sealed(&self, instants_ms: &[u64], outcome: Outcome) -> SealedBatch {
        let base_time_ms = instants_ms[0];
        let result = |at_ms: &u64| CheckResult {
            check_index: 0,
            offset_ms: u32::try_from(at_ms - base_time_ms).unwrap(),
            outcome,
            duration_us: 1_500,
            measurements: Vec::new(),
            detail: if outcome == Outcome::Pass { String::new() } else { "why".to_owned() },
        };
        let check = CheckName::parse("home").unwrap();
        let runs = instants_ms.len() as u64;
        let draft = BatchDraft {
            log_id: origin().log_id(),
            agent: self.name.clone(),
            epoch: self.epoch,
            seq_first: self.next_seq,
            base_time_ms,
            checks: vec![CheckRef { check, spec_revision: 1, target: "localhost:80".to_owned() }],
            coverage: Coverage { scheduled: runs, run: runs, skipped: Vec::new() },
            previous: self.previous,
            seen: None,
            results: instants_ms.iter().map(result).collect(),
        };
        draft.seal(&self.key).unwrap()
    }
}

/// A failing outcome, when it does not matter why.
pub(crate) const FAILED: Outcome = Outcome::Fail(FailReason::ConnectRefused);
