//! The evidence after any stop and replay is the evidence without one; nothing is signed twice.

mod divergence;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use proofmark_evidence::{Checkpoint, DirSource, LogReader, Outcome, Policy, ResultId, sha256};
use tempfile::TempDir;

use super::last_signed::{Judgement, LastSigned};
use super::*;
use crate::state::NewLeaf;
use crate::state::fixture::{
    FakeAgent, START_MS, World, admit, cosigned, log_key, name, node_key, node_name, nodes, origin,
};
use crate::tables::Tables;

const NODES: u8 = 3;

/// One replica's disk, and a recorder on it. Dropping the recorder is the crash.
struct Replica {
    node: u8,
    home: TempDir,
    proposals: Arc<Mutex<Vec<Command>>>,
    health: Health,
}

impl Replica {
    fn new() -> Self {
        Self::of_node(1)
    }

    fn of_node(node: u8) -> Self {
        let home = tempfile::tempdir().unwrap();
        LogWriter::create(&home.path().join("evidence"), &origin(), &policy().to_text()).unwrap();
        Self { node, home, proposals: Arc::default(), health: Health::new() }
    }

    /// A start after whatever came before.
    fn parts(&self) -> (RecorderParts, Tables) {
        let evidence_dir = self.home.path().join("evidence");
        let tables = Tables::open(&self.home.path().join("tables")).unwrap().0;
        let proposals = self.proposals.clone();
        let parts = RecorderParts {
            writer: LogWriter::open(&evidence_dir).unwrap(),
            evidence: Box::new(DirSource::new(evidence_dir)),
            log_key: log_key(),
            node_name: node_name(self.node),
            node_key: node_key(self.node),
            last_signed: SignedFile::on_disk(&self.guard()),
            index: Box::new(tables.index()),
            health: self.health.clone(),
            clock: Clock::manual(START_MS),
            proposals: Box::new(move |command| proposals.lock().unwrap().push(command)),
        };
        (parts, tables)
    }

    fn core(&self) -> Core {
        Core::open(self.parts().0).unwrap()
    }

    fn guard(&self) -> PathBuf {
        self.home.path().join("last-signed")
    }

    fn proposed(&self) -> Vec<Command> {
        std::mem::take(&mut self.proposals.lock().unwrap())
    }

    fn reader(&self) -> LogReader {
        LogReader::open(DirSource::new(self.home.path().join("evidence"))).unwrap()
    }
}

fn policy() -> Policy {
    Policy::for_nodes(&origin(), &log_key().public(), &nodes(NODES)).unwrap()
}

/// The life of a small log, entry by entry, with seals and publications in it.
struct Life {
    world: World,
    tasks: Vec<RecorderTask>,
}

impl Life {
    /// Plays it on `replica`, which proposes the seals and is cosigner 1.
    fn play(replica: &Replica, batches: u64) -> Self {
        let mut core = replica.core();
        let world = World { state: State::new(), now_ms: START_MS };
        let mut life = Self { world, tasks: Vec::new() };
        life.apply(&mut core, crate::state::fixture::genesis(NODES));
        let mut agent = life.join(&mut core);
        let due: Vec<u64> = agent.due(START_MS).take(batches as usize).collect();
        for at_ms in due {
            life.world.now_ms = at_ms;
            let sealed = agent.batch(&[at_ms], Outcome::Pass);
            life.apply(&mut core, admit(&sealed));
            if agent.next_seq.is_multiple_of(3) {
                life.publish(&mut core, replica);
            }
        }
        life
    }

    fn join(&mut self, core: &mut Core) -> FakeAgent {
        let agent = FakeAgent::new("web-1", 1);
        self.apply(core, crate::state::fixture::token(1, None, START_MS + 60_000));
        self.apply(core, crate::state::fixture::enrol(1, "web-1", &agent.key));
        agent
    }

    fn apply(&mut self, core: &mut Core, command: Command) {
        let effects = self.world.apply(&command);
        let task = RecorderTask { index: self.world.state.applied(), effects };
        self.tasks.push(task.clone());
        core.take(task).unwrap();
    }

    /// Seal by this node, cosignatures of this node and the next.
    fn publish(&mut self, core: &mut Core, replica: &Replica) {
        core.propose_seal();
        let seal = replica.proposed().pop().expect("there is something to seal");
        let Command::Seal { size, root } = seal else { panic!("expected a seal, got {seal:?}") };
        self.apply(core, seal);
        let own = replica.proposed().pop().expect("the node cosigns its own root");
        assert!(matches!(&own, Command::Cosign { node, .. } if *node == node_name(1)));
        self.apply(core, own);
        self.apply(core, cosigned(2, size, root));
    }
}

#[test]
fn what_is_published_is_signed_by_the_log_and_a_majority_and_holds_every_leaf() {
    let replica = Replica::new();
    let life = Life::play(&replica, 5);
    let reader = replica.reader();
    let verdict = policy().check(reader.checkpoint()).unwrap();
    let cosigners: Vec<_> = verdict.cosigners.into_iter().map(|one| one.name).collect();
    assert_eq!(cosigners, [node_name(1), node_name(2)]);
    assert_eq!(reader.size(), life.world.state.leaf_count());
    for published in reader.leaves(0..reader.size()) {
        let published = published.unwrap();
        let key = if published.index < 2 { log_key() } else { FakeAgent::new("web-1", 1).key };
        published.leaf.verify(&key.public()).unwrap();
    }
}

/// Stopped after any number of effects, with or without a sync, then replayed from the start.
#[test]
fn a_crash_between_any_two_steps_leaves_what_a_replay_completes() {
    let reference = Replica::new();
    let life = Life::play(&reference, 3);
    let whole = reference.reader().checkpoint().to_text();
    let effects: usize = life.tasks.iter().map(|task| task.effects.len()).sum();
    for stop in 0..effects {
        let replica = Replica::new();
        run_some(&mut replica.core(), &life.tasks, stop);
        if stop % 2 == 0 {
            replica.core().sync().unwrap();
        }
        let mut core = replica.core();
        life.tasks.iter().for_each(|task| core.take(task.clone()).unwrap());
        assert_eq!(replica.health.divergence(), None, "stopped after {stop} effects");
        drop(core);
        assert_eq!(replica.reader().checkpoint().to_text(), whole, "stopped after {stop} effects");
    }
}

/// More leaves than one tile holds, none of them published: durable, then replayed.
#[test]
fn a_replay_is_compared_through_full_tiles_and_the_growing_one() {
    let replica = Replica::new();
    let mut core = replica.core();
    let world = World { state: State::new(), now_ms: START_MS };
    let mut life = Life { world, tasks: Vec::new() };
    life.apply(&mut core, crate::state::fixture::genesis(NODES));
    let mut agent = life.join(&mut core);
    let due: Vec<u64> = agent.due(START_MS).take(300).collect();
    for at_ms in due {
        life.world.now_ms = at_ms;
        let sealed = agent.batch(&[at_ms], Outcome::Pass);
        life.apply(&mut core, admit(&sealed));
    }
    core.sync().unwrap();
    drop(core);

    let mut core = replica.core();
    life.tasks.iter().for_each(|task| core.take(task.clone()).unwrap());
    assert_eq!((core.status().size, core.status().durable_size), (302, 302));
    let sealed = agent.batch(&[life.world.now_ms + 10_000], Outcome::Pass);
    life.world.now_ms += 10_000;
    life.apply(&mut core, admit(&sealed));
    assert_eq!(core.status().size, 303);
    assert_eq!(replica.health.divergence(), None);
}

fn run_some(core: &mut Core, tasks: &[RecorderTask], count: usize) {
    let single = |task: &RecorderTask| {
        let index = task.index;
        let effects = task.effects.clone().into_iter();
        effects.map(move |effect| RecorderTask { index, effects: vec![effect] }).collect::<Vec<_>>()
    };
    for task in tasks.iter().flat_map(single).take(count) {
        core.take(task).unwrap();
    }
}

#[test]
fn a_replay_above_the_evidence_is_refused_not_guessed_over() {
    let replica = Replica::new();
    let life = Life::play(&Replica::new(), 1);
    let last = life
        .tasks
        .iter()
        .rfind(|task| task.effects.iter().any(|effect| matches!(effect, Effect::Append { .. })));
    let fault = replica.core().take(last.unwrap().clone()).unwrap_err();
    let text = "evidence_short: expected 2 leaves in the directory, got 0";
    assert_eq!(fault.to_string(), text);
}

#[test]
fn the_guard_lets_a_node_sign_upwards_and_one_root_per_size() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("last-signed");
    let at = |size, root: &[u8]| Checkpoint { origin: origin(), size, root: sha256(root) };
    let mut guard = LastSigned::open(SignedFile::on_disk(&path)).unwrap();
    assert_eq!(guard.judge(&at(5, b"a")), Judgement::Newer);
    guard.store(&at(5, b"a")).unwrap();
    let guard = LastSigned::open(SignedFile::on_disk(&path)).unwrap();
    let check = |size, root: &[u8], judgement| assert_eq!(guard.judge(&at(size, root)), judgement);
    check(6, b"b", Judgement::Newer);
    check(5, b"a", Judgement::Same);
    check(4, b"a", Judgement::Older);
    check(5, b"b", Judgement::Conflict { signed: at(5, b"a") });
    fs::write(&path, "half a checkpo").unwrap();
    assert!(
        LastSigned::open(SignedFile::on_disk(&path)).is_err(),
        "a damaged promise is no promise"
    );
}

#[test]
fn a_seal_whose_cosignature_was_lost_is_cosigned_again() {
    let replica = Replica::new();
    let mut core = replica.core();
    let genesis = Life::play(&Replica::new(), 0).tasks;
    genesis.into_iter().for_each(|task| core.take(task).unwrap());
    core.propose_seal();
    let Some(Command::Seal { size, root }) = replica.proposed().pop() else { panic!() };
    for round in 0..3 {
        core.take(RecorderTask { index: 10 + round, effects: vec![Effect::Seal { size, root }] })
            .unwrap();
        let again = replica.proposed();
        assert!(matches!(again[..], [Command::Cosign { size: 2, .. }]), "{again:?}");
        let guard = LastSigned::open(SignedFile::on_disk(&replica.guard())).unwrap();
        assert_eq!(guard.signed(), Some(&Checkpoint { origin: origin(), size, root }));
        drop(core);
        core = replica.core();
    }
}

#[test]
fn the_thread_carries_out_what_is_queued_and_shows_how_far_it_is() {
    let replica = Replica::new();
    let life = Life::play(&Replica::new(), 4);
    let (parts, _tables) = replica.parts();
    let recorder = Recorder::start(parts).unwrap();
    let handle = recorder.handle();
    assert_eq!(*handle.status().borrow(), RecorderStatus::default());
    life.tasks.iter().for_each(|task| handle.record(task.clone()));
    handle.sync();
    let leaves = life.world.state.leaf_count();
    let status = *handle.status().borrow();
    assert_eq!((status.size, status.durable_size), (leaves, leaves));
    assert_eq!(status.applied_index, life.world.state.applied());
    assert!(status.published_size > 0);
    handle.propose_seal();
    recorder.stop();
    assert!(
        matches!(replica.proposed().last(), Some(Command::Seal { size, .. }) if *size == leaves)
    );
    assert_eq!(&**handle.published().borrow(), replica.reader().checkpoint().to_text());
    handle.sync(); // after the stop it returns at once
}

#[test]
fn the_index_made_live_is_the_index_built_from_the_evidence() {
    let replica = Replica::new();
    let life = Life::play(&replica, 8);
    let leaf_of = |index: &ResultIndex, seq| {
        index.find(&ResultId { agent: name("web-1"), epoch: 1, seq }).unwrap()
    };
    let (live, rebuilt) = (Replica::new(), Replica::new());
    let (parts, tables) = live.parts();
    let mut core = Core::open(parts).unwrap();
    life.tasks.iter().for_each(|task| core.take(task.clone()).unwrap());
    let (_, empty) = rebuilt.parts();
    empty.index().rebuild(&replica.reader()).unwrap();
    assert_eq!(empty.index().covered(), life.world.state.leaf_count());
    for seq in 0..10 {
        assert_eq!(leaf_of(&empty.index(), seq), leaf_of(&tables.index(), seq));
    }
    assert_eq!(leaf_of(&empty.index(), 8), Some(9));
}

#[test]
fn a_state_ahead_of_the_evidence_or_of_the_index_must_be_built_again() {
    let replica = Replica::new();
    let life = Life::play(&replica, 2);
    let (parts, tables) = replica.parts();
    let state = &life.world.state;
    assert!(!can_resume(state, &parts.writer, &tables.index()), "the index was never saved");
    tables.index().rebuild(&replica.reader()).unwrap();
    assert!(can_resume(state, &parts.writer, &tables.index()));
    let (empty, empty_tables) = Replica::new().parts();
    assert!(!can_resume(state, &empty.writer, &tables.index()));
    assert!(can_resume(&State::new(), &empty.writer, &empty_tables.index()));
}
