//! Those who want something committed: one operator, then agents with their sequences.

use std::collections::VecDeque;

use proofmark_aggregator::command::{Command, Reply};
use proofmark_evidence::{
    AgentName, BatchDraft, CheckName, CheckRef, CheckResult, Coverage, Hash, Origin, Outcome,
    SigningKey, sha256,
};

/// Where a run's clock begins, Unix milliseconds.
pub(super) const BEGIN_MS: u64 = 1_800_000_000_000;

/// A client with at most one command under way. It repeats the command, bytes and all, until it
/// hears that it was applied.
pub(super) struct Client {
    voice: Voice,
    /// Rises with each new command.
    pub(super) number: u64,
    pub(super) command: Option<Command>,
    /// Leaf hash of the batch under way.
    pub(super) leaf: Option<Hash>,
}

enum Voice {
    Operator { commands: VecDeque<Command> },
    Agent(Box<AgentVoice>),
}

struct AgentVoice {
    name: AgentName,
    key: SigningKey,
    log_id: Hash,
    seq_next: u64,
    previous: Hash,
}

/// The operator who begins the log and enrols the agents, then the agents.
pub(super) fn cast(agents: u64) -> Vec<Client> {
    let origin = Origin::parse("sim.example/log").expect("a plain name");
    let log_id = origin.log_id();
    let agents: Vec<AgentVoice> = (1..=agents).map(|n| AgentVoice::new(n, log_id)).collect();
    let mut clients = vec![Client::new(Voice::Operator { commands: opening(origin, &agents) })];
    clients.extend(agents.into_iter().map(|agent| Client::new(Voice::Agent(Box::new(agent)))));
    clients
}

impl Client {
    fn new(voice: Voice) -> Self {
        Self { voice, number: 0, command: None, leaf: None }
    }

    /// Makes the next command, if this client has one; `now_ms` since the beginning.
    pub(super) fn begin(&mut self, now_ms: u64) -> bool {
        match &mut self.voice {
            Voice::Operator { commands } => self.command = commands.pop_front(),
            Voice::Agent(agent) => {
                let (command, leaf) = agent.next_batch(BEGIN_MS + now_ms);
                (self.command, self.leaf) = (Some(command), Some(leaf));
            }
        }
        self.number += 1;
        self.command.is_some()
    }

    /// Whether the reply ends the command under way.
    pub(super) fn is_final(&self, reply: &Reply) -> bool {
        match (&self.voice, reply) {
            // The operator's commands may meet their own first copy: whatever is said is final.
            (Voice::Operator { .. }, _) => true,
            (Voice::Agent(_), Reply::Accepted { .. } | Reply::Duplicate { .. }) => true,
            (Voice::Agent(_), _) => false,
        }
    }

    pub(super) fn end(&mut self) {
        self.command = None;
        self.leaf = None;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.command.is_none()
    }

    /// Whether an operator has nothing more to say: only then do agents begin.
    pub(super) fn is_finished(&self) -> bool {
        let Voice::Operator { commands } = &self.voice else { return false };
        commands.is_empty() && self.is_idle()
    }
}

impl AgentVoice {
    fn new(number: u64, log_id: Hash) -> Self {
        let name = AgentName::parse(&format!("agent-{number}")).expect("a plain name");
        let key = key(number);
        Self { name, key, log_id, seq_next: 1, previous: Hash::ZERO }
    }

    /// The next batch of results, signed, and its leaf hash.
    fn next_batch(&mut self, now_ms: u64) -> (Command, Hash) {
        let count = 1 + self.seq_next % 3;
        let results = (0..count)
            .map(|n| CheckResult::new(0, u32::try_from(n).expect("three"), Outcome::Pass, ""))
            .collect();
        let check = CheckName::parse("web").expect("a plain name");
        let sealed = BatchDraft {
            log_id: self.log_id,
            agent: self.name.clone(),
            epoch: 1,
            seq_first: self.seq_next,
            base_time_ms: now_ms,
            checks: vec![CheckRef { check, spec_revision: 1, target: "http://web".to_owned() }],
            coverage: Coverage { scheduled: count, run: count, skipped: Vec::new() },
            previous: self.previous,
            seen: None,
            results,
        }
        .seal(&self.key)
        .expect("a batch within its bounds");
        self.seq_next += count;
        self.previous = sealed.leaf.header_hash();
        let leaf = sealed.leaf.hash();
        (Command::Admit { leaf: sealed.leaf, payload: sealed.payload }, leaf)
    }
}

fn opening(origin: Origin, agents: &[AgentVoice]) -> VecDeque<Command> {
    let nodes = (1..=3).map(|n| (format!("sim.example/node-{n}"), key(100 + n).public())).collect();
    let genesis = Command::Genesis { origin, log_key: key(99).public(), nodes };
    let mut commands = VecDeque::from([genesis]);
    for (token, agent) in agents.iter().enumerate() {
        let token_id = [u8::try_from(token).expect("few agents"); 16];
        let (secret, name) = ([7; 16], agent.name.clone());
        let expires_at_ms = BEGIN_MS + 86_400_000;
        let secret_hash = sha256(&secret);
        let agent_name = Some(name.clone());
        commands.push_back(Command::CreateToken {
            token_id,
            secret_hash,
            agent: agent_name,
            expires_at_ms,
        });
        commands.push_back(Command::Enrol {
            token_id,
            secret,
            agent: name,
            key: agent.key.public(),
        });
    }
    commands
}

fn key(number: u64) -> SigningKey {
    SigningKey::from_seed(sha256(&number.to_be_bytes()).0)
}
