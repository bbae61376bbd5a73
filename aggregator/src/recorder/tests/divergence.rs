//! Whose log differs: one replica's word stops nobody, a majority's stops the one that is wrong.

use proofmark_evidence::cosign;

use super::*;

/// A root that is not ours, in a seal: not confirmed, and nothing more.
#[test]
fn another_root_in_a_seal_is_not_cosigned_and_stops_nobody() {
    let replica = Replica::new();
    let mut core = replica.core();
    play_genesis(&mut core);
    core.take(task(9, Effect::Seal { size: 2, root: sha256(b"another") })).unwrap();
    assert_eq!(replica.proposed(), []);
    assert_eq!(replica.health.divergence(), None);

    core.propose_seal();
    let Some(Command::Seal { size, root }) = replica.proposed().pop() else { panic!("its own") };
    core.take(task(10, Effect::Seal { size, root })).unwrap();
    assert!(matches!(replica.proposed()[..], [Command::Cosign { size: 2, .. }]));
}

/// The same root as a majority published it: it is ours that is wrong.
#[test]
fn another_root_in_a_publication_stops_serving_and_signing() {
    let replica = Replica::new();
    let mut core = replica.core();
    play_genesis(&mut core);
    let (root, cosignatures) = (sha256(b"another"), Vec::new());
    core.take(task(9, Effect::Publish { size: 2, root, cosignatures })).unwrap();
    let why = replica.health.divergence().expect("the root is not ours").to_string();
    let text = format!("diverged_root: at size 2 expected root {root} as published");
    assert!(why.starts_with(&text), "{why}");
    assert!(*replica.health.diverged().borrow(), "whoever serves is told");
    core.propose_seal();
    assert_eq!(replica.proposed(), [], "a replica that diverged seals nothing");
}

/// Old evidence rotted here: the others publish, and this replica takes what they published.
#[test]
fn a_replica_whose_evidence_is_damaged_signs_nothing_and_goes_on() {
    let replica = Replica::new();
    let mut core = replica.core();
    play_genesis(&mut core);
    replica.health.damage();
    core.propose_seal();
    let Some(Command::Seal { size, root }) = replica.proposed().pop() else { panic!("its own") };
    core.take(task(9, Effect::Seal { size, root })).unwrap();
    assert_eq!(replica.proposed(), []);
    let checkpoint = Checkpoint { origin: origin(), size, root };
    let cosignatures = [2, 3].map(|node| {
        cosign(&node_name(node), &node_key(node), START_MS / 1_000, &checkpoint.to_text())
    });
    let cosignatures = cosignatures.to_vec();
    core.take(task(10, Effect::Publish { size, root, cosignatures })).unwrap();
    assert_eq!(core.status().published_size, size);
    assert_eq!(replica.health.divergence(), None);
}

#[test]
fn another_leaf_in_a_replay_stops_serving_and_signing() {
    let replica = Replica::new();
    let life = Life::play(&replica, 3);
    let mut other = life.tasks.clone();
    bend(&mut other[0].effects);
    let mut core = replica.core();
    other.into_iter().for_each(|task| core.take(task).unwrap());
    let divergence = replica.health.divergence().expect("leaf 0 is another");
    assert!(matches!(divergence, Divergence::Leaf { index: 0, .. }), "{divergence}");
    assert_eq!(replica.proposed(), []);
}

/// The node signed something else before (its disk went back in time, or another's was copied).
#[test]
fn what_was_signed_before_binds_the_node() {
    let check = |signed_size: u64, diverges: bool| {
        let replica = Replica::new();
        let signed = Checkpoint { origin: origin(), size: signed_size, root: sha256(b"else") };
        fs::write(replica.guard(), signed.to_text()).unwrap();
        let tasks = Life::play(&Replica::new(), 2).tasks;
        let mut core = replica.core();
        tasks.into_iter().for_each(|task| core.take(task).unwrap());
        assert_eq!(replica.health.is_diverged(), diverges, "signed at {signed_size}");
        assert_eq!(replica.proposed(), [], "signed at {signed_size}");
    };
    check(1, true); // the new tree does not contain what was signed
    check(4, true); // the very size, another root
    check(9, false); // above: nothing is signed until the log has grown past it
}

/// One state, three recorders, one of which has another leaf. While that one leads nothing is
/// published and nobody stops; when another leads, the majority publishes and the wrong one stops.
#[test]
fn a_wrong_leader_stops_nobody_and_a_right_one_stops_the_wrong_replica() {
    let replicas = [1, 2, 3].map(Replica::of_node);
    let mut group = Group::new(&replicas);
    group.apply(&crate::state::fixture::genesis(NODES));

    group.cores[2].propose_seal();
    group.settle();
    let published =
        |group: &Group<'_>| group.cores.each_ref().map(|core| core.status().published_size);
    assert_eq!(published(&group), [0, 0, 0], "node 3 alone confirms its root");
    assert_eq!(group.diverged(), [false, false, false], "nobody knows yet who is wrong");

    group.cores[0].propose_seal();
    group.settle();
    assert_eq!(published(&group), [1, 1, 0]);
    assert_eq!(group.diverged(), [false, false, true]);

    group.apply(&crate::state::fixture::apply_spec(crate::state::fixture::SPEC));
    group.cores[2].propose_seal();
    group.settle();
    assert_eq!(published(&group), [1, 1, 0], "who diverged signs no more");
    group.cores[1].propose_seal();
    group.settle();
    assert_eq!(published(&group), [2, 2, 0]);
}

/// What Raft gives every replica, each with its own disk. The third one writes another leaf 0.
struct Group<'a> {
    replicas: &'a [Replica; 3],
    cores: [Core; 3],
    world: World,
}

impl<'a> Group<'a> {
    fn new(replicas: &'a [Replica; 3]) -> Self {
        let cores = replicas.each_ref().map(Replica::core);
        Self { replicas, cores, world: World { state: State::new(), now_ms: START_MS } }
    }

    fn apply(&mut self, command: &Command) {
        let effects = self.world.apply(command);
        let index = self.world.state.applied();
        for (at, core) in self.cores.iter_mut().enumerate() {
            let mut effects = effects.clone();
            if at == 2 {
                bend(&mut effects);
            }
            core.take(RecorderTask { index, effects }).unwrap();
        }
    }

    /// Until nobody proposes anything more.
    fn settle(&mut self) {
        loop {
            let proposed: Vec<Command> = self.replicas.iter().flat_map(Replica::proposed).collect();
            if proposed.is_empty() {
                return;
            }
            proposed.iter().for_each(|command| self.apply(command));
        }
    }

    fn diverged(&self) -> [bool; 3] {
        self.replicas.each_ref().map(|replica| replica.health.is_diverged())
    }
}

/// Makes the genesis another leaf.
fn bend(effects: &mut [Effect]) {
    let Some(Effect::Append { index: 0, leaf, .. }) = effects.first_mut() else { return };
    let NewLeaf::ForLog { header, .. } = leaf else { panic!("the log signs its genesis") };
    *header = proofmark_evidence::KeyChange {
        log_id: origin().log_id(),
        key_id: log_key().key_id(),
        at_ms: START_MS,
        change: proofmark_evidence::KeyChangeKind::Retire { agent: name("web-1") },
    }
    .encode();
}

/// Two leaves, nothing sealed.
fn play_genesis(core: &mut Core) {
    let tasks = Life::play(&Replica::new(), 0).tasks;
    tasks.into_iter().for_each(|task| core.take(task).unwrap());
}

fn task(index: u64, effect: Effect) -> RecorderTask {
    RecorderTask { index, effects: vec![effect] }
}
