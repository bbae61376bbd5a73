//! Who may join, vote, and leave; told by playing commands.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_evidence::limits::NODES_COUNT_MAX;
use proofmark_evidence::{KeyChangeKind, PublicKey, sha256};
use proptest::prelude::*;

use super::super::fixture::*;
use super::super::*;
use crate::command::{Founder, NodeHost, NodeName};
use crate::consensus::membership::{Membership, MembershipChange, Part};

const SECRET: [u8; 16] = [3; 16];

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn host(place: u8, key: PublicKey) -> NodeHost {
    NodeHost { key, grpc: format!("h{place}:1"), peers: format!("h{place}:2") }
}

fn founders(count: u8) -> Vec<Founder> {
    let founder = |place: u8| Founder {
        id: u64::from(place),
        name: node(&format!("n{place}")),
        host: host(place, node_key(place).public()),
    };
    (1..=count).map(founder).collect()
}

fn raise(count: u8) -> Command {
    Command::RaiseVersion { to: 2, founders: founders(count) }
}

fn invite(token: u8, name: &str, replaces: Option<&str>) -> Command {
    Command::InviteNode {
        token_id: [token; 16],
        secret_hash: sha256(&SECRET),
        name: node(name),
        replaces: replaces.map(node),
        expires_at_ms: START_MS + 3_600_000,
    }
}

fn join(token: u8, place: u8) -> Command {
    let host = host(place, node_key(place).public());
    let name = node(&format!("n{place}"));
    Command::JoinNode { token_id: [token; 16], secret: SECRET, name, host }
}

fn leave(name: &str) -> Command {
    Command::LeaveNode { name: node(name) }
}

/// A world of `count` nodes that keeps a list of its members.
fn world(count: u8) -> World {
    let mut world = World::new(count);
    assert_eq!(world.reply(raise(count)), Reply::Done);
    world
}

impl World {
    fn change(&mut self, change: &MembershipChange) -> (Vec<Effect>, Option<Membership>) {
        let index = self.state.applied() + 1;
        let command = Command::ChangeNodes { change: change.clone() };
        let done = self.state.apply_change(index, self.now_ms, &command);
        self.state.finish_entry(index);
        done
    }

    /// Takes the first due step, as a leader would whose nodes have all caught up; then what Raft
    /// does by itself. Says what changed.
    fn step(&mut self) -> Option<(MembershipChange, Vec<Effect>)> {
        let step = self.state.members().steps().into_iter().next()?;
        let (effects, after) = self.change(&step.change);
        assert!(after.is_some(), "{step:?}");
        while self.state.leave_joint().is_some() {}
        Some((step.change, effects))
    }

    fn parts(&self) -> String {
        let parts = self.state.members().iter();
        let parts =
            parts.map(|(id, member)| format!("{id} {} {}", member.name, member.part.slug()));
        parts.collect::<Vec<_>>().join(", ")
    }

    fn refused(&mut self, command: Command, refusal: Refusal) {
        assert_eq!(self.reply(command), Reply::Refused(refusal));
    }
}

/// The cosigners' changes among effects.
fn leaves(effects: &[Effect]) -> Vec<String> {
    let key_change = |effect: &Effect| match effect {
        Effect::Append { leaf: NewLeaf::ForLog { kind, header }, .. } => {
            match proofmark_evidence::Header::decode(*kind, header).unwrap() {
                proofmark_evidence::Header::KeyChange(change) => match change.change {
                    KeyChangeKind::NodeJoin { node, .. } => Some(format!("+{node}")),
                    KeyChangeKind::NodeLeave { node } => Some(format!("-{node}")),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    };
    effects.iter().filter_map(key_change).collect()
}

#[test]
fn newer_commands_wait_until_every_replica_knows_them() {
    let mut world = World::new(3);
    let low = Refusal::VersionTooLow { expected: 2, got: 1 };
    for command in [invite(1, "n4", None), join(1, 4), leave("n1")] {
        world.refused(command, low.clone());
    }
    let change = MembershipChange::one(4, Part::Learner);
    let (effects, after) = world.change(&change);
    assert_eq!((reply_of(&effects), after), (Reply::Refused(low), None));
    let before = world.state.encode();
    world.refused(
        Command::RaiseVersion { to: 3, founders: founders(3) },
        Refusal::VersionStep { expected: 2, got: 3 },
    );
    let fault = "other nodes than those of the genesis".to_owned();
    world.refused(raise(2), Refusal::FoundersMalformed { fault });
    let mut twisted = founders(3);
    twisted.swap(0, 1);
    let fault = "ids that do not ascend from 1".to_owned();
    world.refused(
        Command::RaiseVersion { to: 2, founders: twisted },
        Refusal::FoundersMalformed { fault },
    );
    assert_eq!(world.state.version(), 1);
    // An older program keeps such a state: no row of it is new.
    let tags: BTreeSet<u8> = world.state.take_dirty_rows().iter().map(|(key, _)| key[0]).collect();
    assert!(tags.is_disjoint(&BTreeSet::from(*b"vmrkx")), "{tags:?} of {} bytes", before.len());

    assert_eq!(world.reply(raise(3)), Reply::Done);
    assert_eq!(world.state.version(), 2);
    world.refused(raise(3), Refusal::VersionStep { expected: 3, got: 2 });
    assert_eq!(world.parts(), "1 n1 voter, 2 n2 voter, 3 n3 voter");
    assert_eq!(world.reply(invite(1, "n4", None)), Reply::NodeInvited { id: 4 });
}

#[test]
fn an_invited_node_joins_listens_and_votes() {
    let mut world = world(1);
    assert_eq!(world.reply(invite(1, "n2", None)), Reply::NodeInvited { id: 2 });
    assert_eq!(world.reply(invite(1, "n2", None)), Reply::NodeInvited { id: 2 }, "a retry");
    assert_eq!(world.state.members().steps(), [], "nobody came yet");
    assert_eq!(world.reply(join(1, 2)), Reply::NodeJoined { id: 2 });
    assert_eq!(world.reply(join(1, 2)), Reply::NodeJoined { id: 2 }, "a retry");
    let (change, effects) = world.step().unwrap();
    assert_eq!((change, leaves(&effects)), (MembershipChange::one(2, Part::Learner), vec![]));
    assert_eq!(world.state.members().steps()[0].waits_for, Some(2));
    let (change, effects) = world.step().unwrap();
    assert_eq!(change, MembershipChange::one(2, Part::Voter));
    assert_eq!(leaves(&effects), ["+proofmark.test/log/n2"]);
    assert_eq!(world.parts(), "1 n1 voter, 2 n2 voter");
    assert_eq!(world.step(), None);
}

#[test]
fn a_replaced_node_gives_its_vote_to_the_new_one_at_once() {
    let mut world = world(3);
    world.reply(invite(1, "n4", Some("n2")));
    world.reply(join(1, 4));
    world.step().unwrap();
    let (change, effects) = world.step().unwrap();
    assert_eq!(change.changes, [(4, Part::Voter), (2, Part::Learner)]);
    assert_eq!(leaves(&effects), ["+proofmark.test/log/n4", "-proofmark.test/log/n2"]);
    let (change, _) = world.step().unwrap();
    assert_eq!(change, MembershipChange::one(2, Part::Gone));
    assert_eq!(world.step(), None);
    assert_eq!(world.parts(), "1 n1 voter, 2 n2 gone, 3 n3 voter, 4 n4 voter");
    world.refused(leave("n9"), Refusal::NoSuchMember { name: "n9".to_owned() });
    assert_eq!(world.reply(leave("n2")), Reply::Done, "gone is gone");
}

#[test]
fn leaving_is_losing_the_vote_and_then_the_place_and_the_last_voter_stays() {
    let mut world = world(2);
    assert_eq!(world.reply(leave("n2")), Reply::Done);
    assert_eq!(world.reply(leave("n2")), Reply::Done);
    world.refused(leave("n1"), Refusal::LastVoter { name: "n1".to_owned() });
    let step = world.state.members().steps().remove(0);
    assert_eq!(step.demotes, BTreeSet::from([2]));
    let (_, effects) = world.step().unwrap();
    assert_eq!(leaves(&effects), ["-proofmark.test/log/n2"]);
    world.step().unwrap();
    assert_eq!(world.parts(), "1 n1 voter, 2 n2 gone");
    world.refused(leave("n1"), Refusal::LastVoter { name: "n1".to_owned() });
}

#[test]
fn an_invitation_opens_the_door_only_as_it_says() {
    let mut world = world(1);
    world.reply(invite(1, "n2", None));
    world.refused(invite(2, "n2", None), Refusal::MemberExists { name: "n2".to_owned() });
    world.refused(invite(1, "n3", None), Refusal::TokenExists);
    world.refused(join(7, 2), Refusal::TokenUnknown);
    let there =
        |secret, host| Command::JoinNode { token_id: [1; 16], secret, name: node("n2"), host };
    let own = host(2, node_key(2).public());
    world.refused(there([0; 16], own.clone()), Refusal::TokenUnknown);
    let (expected, got) = ("n2".to_owned(), "n1".to_owned());
    world.refused(join(1, 1), Refusal::TokenForOtherNode { expected, got });
    let taken = host(2, node_key(1).public());
    world.refused(there(SECRET, taken), Refusal::NodeKeyExists { name: "n1".to_owned() });
    let (address, name) = ("h1:2".to_owned(), "n1".to_owned());
    let taken = NodeHost { peers: address.clone(), ..own };
    world.refused(there(SECRET, taken), Refusal::NodeAddressExists { address, name });
    assert_eq!(world.reply(join(1, 2)), Reply::NodeJoined { id: 2 });
    world.refused(there(SECRET, host(3, node_key(3).public())), Refusal::TokenSpent);
    assert_eq!(world.reply(leave("n2")), Reply::Done);
    world.refused(join(1, 2), Refusal::MemberGone { name: "n2".to_owned() });
    world.refused(invite(3, "n2", None), Refusal::MemberExists { name: "n2".to_owned() });

    world.reply(invite(4, "n4", None));
    let expired_at_ms = START_MS + 3_600_000;
    world.now_ms = expired_at_ms;
    let now_ms = expired_at_ms;
    world.refused(join(4, 4), Refusal::TokenExpired { expired_at_ms, now_ms });
}

/// Whoever was invited and never came does not keep others out for ever.
#[test]
fn an_invitation_that_has_expired_gives_its_place_free_and_not_its_name() {
    let mut world = world(1);
    let all = NODES_COUNT_MAX as u8;
    for place in 2..=all {
        world.reply(invite(place, &format!("n{place}"), None));
    }
    let full = || Refusal::MembersFull { limit: NODES_COUNT_MAX as u64 };
    world.refused(invite(all + 1, "late", None), full());
    world.now_ms = START_MS + 3_600_000 - 1;
    world.refused(invite(all + 1, "late", None), full());
    world.now_ms = START_MS + 3_600_000;
    let id = u64::from(all) + 1;
    assert_eq!(world.reply(invite(all + 1, "late", None)), Reply::NodeInvited { id });
    world.refused(invite(all + 2, "n2", None), Refusal::MemberExists { name: "n2".to_owned() });
}

#[test]
fn only_a_voter_is_replaced_and_only_once() {
    let mut world = world(2);
    let refused = |world: &mut World, name: &str, got: &str| {
        let refusal = Refusal::NotReplaceable { name: name.to_owned(), got: got.to_owned() };
        world.refused(invite(9, "n9", Some(name)), refusal);
    };
    let name = "n7".to_owned();
    world.refused(invite(9, "n9", Some("n7")), Refusal::NoSuchMember { name });
    assert_eq!(world.reply(invite(1, "n3", Some("n2"))), Reply::NodeInvited { id: 3 });
    refused(&mut world, "n2", "replaced already");
    refused(&mut world, "n3", "invited");
    // A dead machine may be used again by whoever replaces its node.
    let (token_id, secret, name) = ([1; 16], SECRET, node("n3"));
    let host = host(2, node_key(3).public());
    let there = Command::JoinNode { token_id, secret, name, host };
    assert_eq!(world.reply(there), Reply::NodeJoined { id: 3 });
}

#[test]
fn a_change_that_is_not_due_is_refused_and_none_travels_alone() {
    let mut world = world(3);
    let remove = MembershipChange::one(1, Part::Gone);
    let (effects, after) = world.change(&remove);
    assert_eq!((reply_of(&effects), after), (Reply::Refused(Refusal::ChangeNotDue), None));
    world.refused(Command::ChangeNodes { change: remove }, Refusal::ChangeMisplaced);
    let index = world.state.applied() + 1;
    let (effects, after) = world.state.apply_change(index, world.now_ms, &leave("n1"));
    assert_eq!((reply_of(&effects), after), (Reply::Refused(Refusal::ChangeMisplaced), None));
}

#[test]
fn a_checkpoint_over_changed_cosigners_needs_those_before_and_those_after() {
    let mut world = world(1);
    let root = sha256(b"root");
    world.reply(Command::Seal { size: 2, root });
    assert!(matches!(world.apply(&cosigned(1, 2, root))[0], Effect::Publish { size: 2, .. }));
    world.reply(invite(1, "n2", None));
    world.reply(join(1, 2));
    world.step().unwrap();
    world.step().unwrap(); // leaf 2 says that n2 cosigns
    world.reply(Command::Seal { size: 3, root });
    assert_eq!(world.reply(cosigned(1, 3, root)), Reply::Done);
    let effects = world.apply(&cosigned(2, 3, root));
    let Effect::HandOver { size: 3, policy, cosignatures, .. } = &effects[0] else {
        panic!("expected a hand-over, got {effects:?}");
    };
    assert_eq!(cosignatures.len(), 2);
    assert!(policy.contains("group nodes 2 proofmark.test/log/n1 proofmark.test/log/n2"));

    // n1 goes: its own majority before the change must let it go.
    world.reply(leave("n1"));
    world.step().unwrap();
    world.reply(Command::Seal { size: 4, root });
    assert_eq!(world.reply(cosigned(2, 4, root)), Reply::Done);
    assert_eq!(world.apply(&cosigned(2, 4, root)), [Effect::Reply(Reply::Done)]);
    assert!(matches!(world.apply(&cosigned(1, 4, root))[0], Effect::HandOver { size: 4, .. }));
    let node = node_name(1);
    world.reply(apply_spec(SPEC));
    world.reply(Command::Seal { size: 5, root });
    world.refused(cosigned(1, 5, root), Refusal::CosignNode { node });
    assert!(matches!(world.apply(&cosigned(2, 5, root))[0], Effect::Publish { size: 5, .. }));
}

/// One thing that an operator, a node or a leader does.
#[derive(Clone, Debug)]
enum Act {
    Invite { token: u8, replaces: Option<u8> },
    Join { token: u8, place: u8 },
    Leave { place: u8 },
    Step { which: u8 },
    Random { changes: Vec<(u64, u8)> },
    LeaveJoint,
    Pass,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..8_u8, prop::option::of(1..8_u8))
            .prop_map(|(token, replaces)| Act::Invite { token, replaces }),
        4 => (0..8_u8, 1..10_u8).prop_map(|(token, place)| Act::Join { token, place }),
        2 => (1..10_u8).prop_map(|place| Act::Leave { place }),
        6 => (0..3_u8).prop_map(|which| Act::Step { which }),
        1 => prop::collection::vec((1..9_u64, 0..3_u8), 1..3)
            .prop_map(|changes| Act::Random { changes }),
        3 => Just(Act::LeaveJoint),
        1 => Just(Act::Pass),
    ]
}

fn play(world: &mut World, act: &Act) {
    match act {
        Act::Invite { token, replaces } => {
            let replaces = replaces.map(|place| format!("n{place}"));
            let name = format!("n{}", token + 4);
            world.reply(invite(*token, &name, replaces.as_deref()));
        }
        Act::Join { token, place } => drop(world.reply(join(*token, *place))),
        Act::Leave { place } => drop(world.reply(leave(&format!("n{place}")))),
        Act::Step { which } => {
            let steps = world.state.members().steps();
            if let Some(step) = steps.get(usize::from(*which)) {
                world.change(&step.change);
            }
        }
        Act::Random { changes } => {
            let part = |code: u8| [Part::Voter, Part::Learner, Part::Gone][usize::from(code)];
            let changes = changes.iter().map(|(id, code)| (*id, part(*code))).collect();
            world.change(&MembershipChange { changes });
        }
        Act::LeaveJoint => drop(world.state.leave_joint()),
        Act::Pass => drop(world.pass(2_000_000)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_asked_someone_votes_and_nothing_is_used_twice(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut world = world(3);
        let mut ever: BTreeMap<u64, NodeName> = BTreeMap::new();
        for act in &acts {
            play(&mut world, act);
            prop_assert_eq!(world.state.check(), Ok(()), "after {:?}", act);
            let members = world.state.members();
            let raft = members.membership().unwrap();
            prop_assert!(!raft.voters.is_empty());
            // Every majority of the cosigners is one of the voters that Raft counts.
            for (id, member) in members.iter() {
                let name = ever.entry(id).or_insert_with(|| member.name.clone());
                prop_assert_eq!(&*name, &member.name, "ids are used once");
            }
        }
        let names: BTreeSet<&NodeName> = ever.values().collect();
        prop_assert_eq!(names.len(), ever.len());
        let rows = world.state.take_dirty_rows();
        let rows = rows.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let loaded = State::from_rows(rows).unwrap();
        prop_assert_eq!(loaded.encode(), world.state.encode());
    }
}

#[test]
fn a_weak_key_does_not_join() {
    let mut world = world(1);
    world.reply(invite(1, "n2", None));
    let host = host(2, PublicKey([0; 32]));
    let weak = Command::JoinNode { token_id: [1; 16], secret: SECRET, name: node("n2"), host };
    world.refused(weak, Refusal::KeyWeak);
}
