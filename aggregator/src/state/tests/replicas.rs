//! Same commands, same bytes: on two replicas, on one that was saved and loaded in between, and on
//! one that got its state as a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_evidence::{Hash, Outcome, SealedBatch, SigningKey, sha256};
use proptest::prelude::*;

use super::super::fixture::*;
use super::super::*;
use crate::consensus::{Membership, Position};
use crate::node::state_of_snapshot;
use crate::snapshot::mem_disk::MemFiles;
use crate::snapshot::{About, SnapshotStore};

/// One thing that happens. Many of them are refused; none may panic or break an invariant.
#[derive(Clone, Debug)]
enum Step {
    /// The agent's next batch of so many results.
    Batch {
        agent: u8,
        results: u8,
        fails: bool,
    },
    /// A batch it sent before, as it was.
    Retry {
        agent: u8,
        ago: u8,
    },
    /// Its next batch with a number moved, another epoch, key or previous hash.
    Bent {
        agent: u8,
        how: u8,
    },
    Garbage {
        bytes: Vec<u8>,
    },
    Spec {
        kind: u8,
    },
    Token {
        id: u8,
        kind: u8,
    },
    Enrol {
        token: u8,
        agent: u8,
        key: u8,
    },
    Retire {
        agent: u8,
    },
    Pass {
        ms: u32,
    },
    Back {
        ms: u32,
    },
    Seal {
        back: u8,
        root: u8,
    },
    Cosign {
        node: u8,
        back: u8,
        root: u8,
    },
    Genesis,
}

fn step() -> impl Strategy<Value = Step> {
    let agent = || 0..3_u8;
    // Retiring is rare, so that most agents live long enough to say something.
    prop_oneof![
        6 => (agent(), 1..6_u8, any::<bool>())
            .prop_map(|(agent, results, fails)| Step::Batch { agent, results, fails }),
        2 => (agent(), 0..4_u8).prop_map(|(agent, ago)| Step::Retry { agent, ago }),
        2 => (agent(), 0..6_u8).prop_map(|(agent, how)| Step::Bent { agent, how }),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Step::Garbage { bytes }),
        1 => (0..4_u8).prop_map(|kind| Step::Spec { kind }),
        2 => (0..4_u8, 0..3_u8).prop_map(|(id, kind)| Step::Token { id, kind }),
        3 => (0..5_u8, agent(), 0..4_u8)
            .prop_map(|(token, agent, key)| Step::Enrol { token, agent, key }),
        1 => agent().prop_map(|agent| Step::Retire { agent }),
        6 => (0..40_000_u32).prop_map(|ms| Step::Pass { ms }),
        1 => (0..20_000_u32).prop_map(|ms| Step::Back { ms }),
        3 => (0..3_u8, 0..2_u8).prop_map(|(back, root)| Step::Seal { back, root }),
        4 => (1..5_u8, 0..3_u8, 0..2_u8)
            .prop_map(|(node, back, root)| Step::Cosign { node, back, root }),
        1 => Just(Step::Genesis),
    ]
}

/// Turns steps into commands, the way agents and nodes would: by what they were answered.
struct Script {
    world: World,
    agents: Vec<FakeAgent>,
    sent: Vec<SealedBatch>,
}

impl Script {
    fn new() -> Self {
        let mut world = World::new(3);
        let agents = (0..3).map(|n| world.join(&format!("web-{n}"), 100 + n)).collect();
        Self { world, agents, sent: Vec::new() }
    }

    fn command(&mut self, step: &Step) -> Command {
        match step {
            Step::Batch { agent, results, fails } => self.batch(*agent, *results, *fails),
            Step::Retry { agent, ago } => self.retry(*agent, *ago),
            Step::Bent { agent, how } => self.bent(*agent, *how),
            Step::Garbage { bytes } => {
                let sealed = self.agents[0].sealed(&[self.world.now_ms], Outcome::Pass);
                Command::Admit { leaf: sealed.leaf, payload: bytes.as_slice().into() }
            }
            Step::Spec { kind } => apply_spec(&spec(*kind)),
            Step::Token { id, kind } => self.token(*id, *kind),
            Step::Enrol { token, agent, key } => {
                let key = SigningKey::from_seed([100 + key; 32]);
                enrol(*token, &format!("web-{agent}"), &key)
            }
            Step::Retire { agent } => {
                Command::Retire { agent: self.agents[usize::from(*agent)].name.clone() }
            }
            Step::Pass { ms } => {
                self.world.now_ms += u64::from(*ms);
                Command::Tick
            }
            Step::Back { ms } => {
                self.world.now_ms -= u64::from(*ms);
                Command::Tick
            }
            Step::Seal { back, root } => {
                Command::Seal { size: self.size(*back), root: sha256(&[*root]) }
            }
            Step::Cosign { node, back, root } => {
                cosigned(*node, self.size(*back), sha256(&[*root]))
            }
            Step::Genesis => genesis(3),
        }
    }

    /// What an agent does on an answer: a refused batch stays its next one, an enrolment begins
    /// a new life.
    fn learn(&mut self, before: Vec<FakeAgent>, command: &Command, reply: &Reply) {
        match (command, reply) {
            (Command::Admit { .. }, Reply::Refused(_)) => self.agents = before,
            (Command::Enrol { agent, .. }, Reply::Enrolled { epoch }) => {
                let key = self.world.state.agents().get(agent).expect("it was enrolled").key;
                let mut seeds = (0..4).map(|n| SigningKey::from_seed([100 + n; 32]));
                let key = seeds.find(|seed| seed.public() == key).expect("one of ours");
                let place = self.agents.iter().position(|fake| fake.name == *agent);
                let fake = &mut self.agents[place.expect("one of ours")];
                if fake.epoch != *epoch {
                    *fake = FakeAgent { epoch: *epoch, key, ..FakeAgent::new(agent.as_str(), 0) };
                }
            }
            _ => {}
        }
    }

    fn size(&self, back: u8) -> u64 {
        (self.world.state.leaf_count() + 1).saturating_sub(u64::from(back))
    }

    fn batch(&mut self, agent: u8, results: u8, fails: bool) -> Command {
        let outcome = if fails { FAILED } else { Outcome::Pass };
        let agent = &mut self.agents[usize::from(agent)];
        let due: Vec<u64> = agent.due(self.world.now_ms).take(usize::from(results)).collect();
        let sealed = agent.batch(&due, outcome);
        self.sent.push(sealed.clone());
        admit(&sealed)
    }

    fn retry(&mut self, agent: u8, ago: u8) -> Command {
        match self.sent.iter().rev().nth(usize::from(ago)) {
            Some(sealed) => admit(sealed),
            None => self.bent(agent, ago),
        }
    }

    fn bent(&self, agent: u8, how: u8) -> Command {
        let mut agent = self.agents[usize::from(agent)].clone();
        match how {
            0 => agent.next_seq += 1,
            1 => agent.next_seq = agent.next_seq.saturating_sub(1).max(1),
            2 => agent.epoch += 1,
            3 => agent.key = SigningKey::from_seed([77; 32]),
            4 => agent.previous = sha256(b"elsewhere"),
            _ => agent.name = name("nobody"),
        }
        admit(&agent.sealed(&[self.world.now_ms], Outcome::Pass))
    }

    fn token(&self, id: u8, kind: u8) -> Command {
        let (only, lives_ms) =
            [(None, 60_000), (Some("web-1"), 60_000), (None, 0)][usize::from(kind)];
        token(id, only, START_MS + lives_ms)
    }
}

fn spec(kind: u8) -> String {
    match kind {
        0 => SPEC.replace("interval: 10s", "interval: 20s"),
        1 => SPEC.replace("0.99", "0.95"),
        2 => "kind: [".to_owned(),
        _ => SPEC.to_owned(),
    }
}

/// Rows as tables keep them: each save on top of the ones before.
fn save(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, state: &mut State) {
    for (key, value) in state.take_dirty_rows() {
        match value {
            Some(value) => drop(rows.insert(key, value)),
            None => drop(rows.remove(&key)),
        }
    }
}

/// The state as a replica that catches up gets it, and the file it came in.
fn through_a_file(state: &State) -> (State, Vec<u8>) {
    let files = MemFiles::default();
    let store = SnapshotStore::open(Arc::new(files.clone())).unwrap();
    let about = About {
        log_id: Hash([7; 32]),
        position: Position { index: state.applied(), term: 1 },
        membership: Membership::of_voters([1, 2, 3]),
        leaf_count: state.leaf_count(),
    };
    store.write(&about, &state.rows()).unwrap();
    let snapshot = store.snapshot(state.applied()).unwrap();
    (state_of_snapshot(&snapshot).unwrap(), files.bytes(snapshot.name()))
}

/// An answered enrolment either begins a life, with one leaf, or tells of a life with its own key,
/// without a leaf and without a change to any agent.
fn check_enrolment(before: &State, command: &Command, effects: &[Effect], after: &State) {
    let (Command::Enrol { agent, key, .. }, Reply::Enrolled { epoch }) =
        (command, reply_of(effects))
    else {
        return;
    };
    let epoch_of = |state: &State| state.agents().get(agent).map_or(0, |agent| agent.epoch);
    if epoch_of(before) == epoch_of(after) {
        assert_eq!(effects.len(), 1, "{effects:?}");
        assert_eq!(before.leaf_count(), after.leaf_count());
        assert!(before.agents().iter().eq(after.agents().iter()));
        return;
    }
    assert_eq!((epoch, epoch), (epoch_of(before) + 1, epoch_of(after)));
    assert_eq!(before.leaf_count() + 1, after.leaf_count());
    assert_eq!(after.agents().get(agent).map(|agent| agent.key), Some(*key));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn replicas_are_byte_equal_and_so_is_one_that_was_loaded(
        steps in prop::collection::vec(step(), 1..60),
        saves in prop::collection::btree_set(0..60_usize, 1..4),
    ) {
        let mut script = Script::new();
        let mut other = script.world.state.clone();
        let mut loaded = script.world.state.clone();
        let mut rows = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            let before = script.agents.clone();
            let command = script.command(step);
            let (index, now_ms) = (script.world.state.applied() + 1, script.world.now_ms);
            let forwarded = Command::decode(&command.encode()).unwrap();
            let state_before = script.world.state.clone();
            let effects = script.world.apply(&command);
            check_enrolment(&state_before, &command, &effects, &script.world.state);
            script.learn(before, &command, &reply_of(&effects));
            for replica in [&mut other, &mut loaded] {
                prop_assert_eq!(&replica.apply(index, now_ms, &forwarded), &effects);
                replica.finish_entry(index);
            }
            prop_assert_eq!(script.world.state.check(), Ok(()));
            if saves.contains(&number) {
                save(&mut rows, &mut loaded);
                loaded = State::from_rows(rows.clone()).unwrap();
            }
        }
        prop_assert_eq!(script.world.state.encode(), other.encode());
        prop_assert_eq!(script.world.state.encode(), loaded.encode());
        let (fetched, file) = through_a_file(&script.world.state);
        prop_assert_eq!(script.world.state.encode(), fetched.encode());
        prop_assert_eq!(&through_a_file(&fetched).1, &file);
        prop_assert_eq!(&through_a_file(&loaded).1, &file);
    }
}
