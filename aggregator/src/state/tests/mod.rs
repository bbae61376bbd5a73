//! What the state promises, told by playing commands.

mod members;
mod replicas;
mod sequence;

use proofmark_evidence::{
    CoverageRow, Decision, DecisionKind, Header, KeyChangeKind, LeafKind, Outcome, SigningKey,
    SilenceChange, sha256,
};
use proofmark_slo::decode_reports;

use super::fixture::*;
use super::*;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// The decisions among effects, with their payloads.
fn decisions(effects: &[Effect]) -> Vec<(Decision, Vec<u8>)> {
    let decisions = effects.iter().filter_map(|effect| match effect {
        Effect::Append {
            leaf: NewLeaf::ForLog { kind: kind @ LeafKind::Decision, header },
            payload,
            ..
        } => match Header::decode(*kind, header).unwrap() {
            Header::Decision(decision) => Some((decision, payload.to_vec())),
            other => panic!("expected a decision, got {other:?}"),
        },
        _ => None,
    });
    decisions.collect()
}

fn coverage(effects: &[Effect]) -> Vec<CoverageRow> {
    let decisions = decisions(effects).into_iter();
    let coverage = decisions.filter(|(decision, _)| decision.kind == DecisionKind::Coverage);
    coverage.flat_map(|(_, payload)| CoverageRow::decode_all(&payload).unwrap()).collect()
}

#[test]
fn nothing_comes_before_the_genesis_and_no_second_one_after() {
    let mut world = World { state: State::new(), now_ms: START_MS };
    assert_eq!(world.reply(Command::Tick), Reply::Refused(Refusal::NotInitialised));
    assert_eq!(world.reply(apply_spec(SPEC)), Reply::Refused(Refusal::NotInitialised));
    let effects = world.apply(&genesis(3));
    let Effect::Append { index: 0, leaf: NewLeaf::ForLog { kind, header }, .. } = &effects[0]
    else {
        panic!("expected leaf 0, got {effects:?}");
    };
    let Header::KeyChange(change) = Header::decode(*kind, header).unwrap() else { panic!() };
    assert!(matches!(change.change, KeyChangeKind::Genesis { .. }));
    assert_eq!(world.reply(genesis(3)), Reply::Refused(Refusal::AlreadyInitialised));
    assert_eq!(world.state.leaf_count(), 1);
}

#[test]
fn a_genesis_names_each_node_once_in_order() {
    let check = |change: fn(&mut Vec<(String, proofmark_evidence::PublicKey)>), fault: &str| {
        let mut named = nodes(3);
        change(&mut named);
        let (origin, log_key) = (origin(), log_key().public());
        let reply = World { state: State::new(), now_ms: START_MS }.reply(Command::Genesis {
            origin,
            log_key,
            nodes: named,
        });
        let fault = fault.to_owned();
        assert_eq!(reply, Reply::Refused(Refusal::GenesisMalformed { fault }));
    };
    check(|nodes| nodes.clear(), "0 nodes");
    check(|nodes| nodes.swap(0, 1), "node names that do not ascend");
    check(|nodes| nodes[1].1 = nodes[0].1, "two nodes with one key");
    check(|nodes| nodes[0].0 = "a name".to_owned(), "node name \"a name\"");
}

#[test]
fn a_token_is_for_one_enrolment_and_the_same_enrolment_again_is_answered_again() {
    let mut world = World::new(1);
    let (one, two) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
    let expires = world.now_ms + 1_000;
    assert_eq!(world.reply(token(1, None, expires)), Reply::TokenCreated);
    assert_eq!(world.reply(token(1, None, expires)), Reply::TokenCreated);
    assert_eq!(world.reply(token(1, None, 7)), Reply::Refused(Refusal::TokenExists));
    assert_eq!(world.reply(enrol(1, "web-1", &one)), Reply::Enrolled { epoch: 1 });
    let leaves = world.state.leaf_count();
    assert_eq!(world.reply(enrol(1, "web-1", &one)), Reply::Enrolled { epoch: 1 });
    assert_eq!(world.reply(enrol(1, "web-2", &two)), Reply::Refused(Refusal::TokenSpent));
    assert_eq!(world.reply(enrol(1, "web-1", &two)), Reply::Refused(Refusal::TokenSpent));
    assert_eq!(world.state.leaf_count(), leaves);
    world.now_ms += 5_000; // a retry may come after the token's time: it was spent within it
    assert_eq!(world.reply(enrol(1, "web-1", &one)), Reply::Enrolled { epoch: 1 });
}

/// Killed between the commit and its own store, an agent knows neither its epoch nor that its token
/// is spent. An operator gives it another.
#[test]
fn an_agent_that_lost_its_enrolment_is_told_it_again_for_another_token() {
    let mut world = World::new(1);
    let mut agent = world.join("web-1", 1);
    let due: Vec<u64> = agent.due(START_MS).take(2).collect();
    world.now_ms += 60_000;
    let accepted = world.reply(admit(&agent.batch(&due, Outcome::Pass)));
    assert!(matches!(accepted, Reply::Accepted { .. }));
    let expires = world.now_ms + 60_000;
    (2..=4).for_each(|id| drop(world.reply(token(id, None, expires))));

    let before = world.state.agents().get(&agent.name).cloned();
    let effects = world.apply(&enrol(2, "web-1", &agent.key));
    assert_eq!(effects, [Effect::Reply(Reply::Enrolled { epoch: 1 })], "no leaf");
    assert_eq!(world.state.agents().get(&agent.name).cloned(), before);
    assert_eq!(world.reply(enrol(2, "web-1", &agent.key)), Reply::Enrolled { epoch: 1 });
    let spent = Refusal::TokenSpent;
    let fresh = SigningKey::from_seed([2; 32]);
    assert_eq!(world.reply(enrol(2, "web-2", &fresh)), Reply::Refused(spent), "one enrolment each");

    // A retired life is not told again: the next begins.
    assert_eq!(world.reply(Command::Retire { agent: name("web-1") }), Reply::Retired);
    assert_eq!(world.reply(enrol(3, "web-1", &agent.key)), Reply::Enrolled { epoch: 2 });
    assert_eq!(world.reply(enrol(4, "web-1", &agent.key)), Reply::Enrolled { epoch: 2 });
    assert_eq!(world.state.check(), Ok(()));
}

#[test]
fn a_token_opens_the_door_only_as_it_says() {
    let mut world = World::new(1);
    let now_ms = world.now_ms;
    let key = SigningKey::from_seed([1; 32]);
    world.reply(token(1, Some("web-1"), now_ms + 1_000));
    world.reply(token(2, None, now_ms));
    let mut check = |command, refusal| assert_eq!(world.reply(command), Reply::Refused(refusal));
    check(enrol(7, "web-1", &key), Refusal::TokenUnknown);
    let (expected, got) = (name("web-1"), name("web-2"));
    check(enrol(1, "web-2", &key), Refusal::TokenForOtherAgent { expected, got });
    check(enrol(2, "web-1", &key), Refusal::TokenExpired { expired_at_ms: now_ms, now_ms });
    let Command::Enrol { token_id, agent, key, .. } = enrol(1, "web-1", &key) else { panic!() };
    check(Command::Enrol { token_id, secret: [0; 16], agent, key }, Refusal::TokenUnknown);
}

#[test]
fn a_name_is_enrolled_again_only_after_it_was_retired_and_in_the_next_epoch() {
    let mut world = World::new(1);
    let agent = world.join("web-1", 1);
    let expires = world.now_ms + 60_000;
    (2..=4).for_each(|id| drop(world.reply(token(id, None, expires))));
    let fresh = SigningKey::from_seed([2; 32]);
    let exists = Refusal::AgentExists { agent: name("web-1") };
    assert_eq!(world.reply(enrol(2, "web-1", &fresh)), Reply::Refused(exists));
    let stolen = Refusal::KeyExists { agent: name("web-1") };
    assert_eq!(world.reply(enrol(2, "web-2", &agent.key)), Reply::Refused(stolen));
    let retire = Command::Retire { agent: name("web-1") };
    assert_eq!(world.reply(retire.clone()), Reply::Retired);
    let leaves = world.state.leaf_count();
    assert_eq!(world.reply(retire), Reply::Retired);
    assert_eq!(world.state.leaf_count(), leaves, "retiring twice is one leaf");
    assert_eq!(world.reply(enrol(2, "web-1", &fresh)), Reply::Enrolled { epoch: 2 });
    let unknown = Refusal::UnknownAgent { agent: name("web-9") };
    assert_eq!(world.reply(Command::Retire { agent: name("web-9") }), Reply::Refused(unknown));
}

#[test]
fn a_spec_is_applied_whole_or_not_at_all() {
    let mut world = World::new(1);
    let before = world.state.specs().in_force().clone();
    let broken = SPEC.replace("name: home}", "name: other}").replace("10s", "10 parsecs");
    let Reply::Refused(Refusal::SpecFaults(faults)) = world.reply(apply_spec(&broken)) else {
        panic!("expected faults");
    };
    assert!(faults[0].starts_with("revision-2.yaml:5:"), "{faults:?}");
    assert_eq!(world.state.specs().in_force(), &before);
    assert_eq!(world.state.specs().revision(), 1);
    let effective_at_ms = world.now_ms + 5_000;
    let applied = Reply::Applied { revision: 2, effective_at_ms };
    assert_eq!(world.reply(apply_spec(&SPEC.replace("0.99", "0.9"))), applied);
    assert_ne!(world.state.specs().in_force(), &before);
    let nameless = Command::ApplySpec { author: String::new(), text: SPEC.to_owned() };
    assert!(matches!(
        world.reply(nameless),
        Reply::Refused(Refusal::AuthorMalformed { limit_bytes: 63, got_bytes: 0 })
    ));
}

#[test]
fn silence_becomes_unknown_is_said_once_and_ends_with_what_was_heard() {
    let mut world = World::new(1);
    let mut agent = world.join("web-1", 1);
    let first = agent.due(world.now_ms + 10_000).next().unwrap();
    let effects = world.pass(120_000);
    let silent = coverage(&effects);
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!((silent[0].change, silent[0].since_ms), (SilenceChange::Silent, first));
    let unknown = world.state.ledger().report()[0].counts.unknown;
    assert!(unknown >= 8, "{unknown} unknown");

    let until = world.now_ms;
    let missed: Vec<u64> = agent.due(first).take_while(|at_ms| *at_ms < until).collect();
    let spooled = agent.batch(&missed, Outcome::Pass);
    assert!(matches!(world.reply(admit(&spooled)), Reply::Accepted { .. }));
    let heard = coverage(&world.pass(10_000));
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].change, SilenceChange::Heard);
    let counts = world.state.ledger().report()[0].counts;
    assert!(counts.good >= unknown && counts.unknown <= 1, "{counts:?}");
}

#[test]
fn once_a_minute_the_numbers_of_all_objectives_become_a_leaf() {
    let mut world = World::new(1);
    let effects = world.pass(180_000);
    let reports = decisions(&effects);
    let as_of: Vec<u64> = reports
        .iter()
        .filter(|(decision, _)| decision.kind == DecisionKind::SloReport)
        .map(|(_, payload)| decode_reports(payload).unwrap()[0].as_of_ms)
        .collect();
    assert_eq!(as_of.len(), 3);
    assert!(as_of.windows(2).all(|pair| pair[1] - pair[0] == 60_000), "{as_of:?}");
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new(1);
    world.pass(60_000);
    let as_of_ms = world.state.ledger().as_of_ms();
    world.now_ms -= 50_000;
    assert_eq!(world.reply(Command::Tick), Reply::Done);
    assert_eq!(world.state.ledger().as_of_ms(), as_of_ms);
    assert_eq!(world.state.stamped_at_ms(), START_MS + 60_000);
}

#[test]
fn a_checkpoint_is_published_once_by_a_majority_and_never_backwards() {
    let mut world = World::new(3);
    world.join("web-1", 1);
    let (older, newer) = (sha256(b"older"), sha256(b"newer"));
    let seal = |size, root| Command::Seal { size, root };
    let refused = |world: &mut World, command, refusal| {
        assert_eq!(world.reply(command), Reply::Refused(refusal));
    };
    refused(&mut world, seal(4, newer), Refusal::SealSize { expected: 3, got: 4 });
    assert_eq!(world.apply(&seal(2, older))[0], Effect::Seal { size: 2, root: older });
    assert_eq!(world.apply(&seal(2, older))[0], Effect::Seal { size: 2, root: older });
    assert_eq!(world.reply(seal(3, newer)), Reply::Done);
    refused(&mut world, seal(2, older), Refusal::SealSize { expected: 3, got: 2 });

    assert_eq!(world.reply(cosigned(2, 2, older)), Reply::Done);
    assert_eq!(world.reply(cosigned(2, 2, older)), Reply::Done, "one node is one word");
    let stale = Refusal::CosignStale { expected: 3, got: 2 };
    refused(&mut world, cosigned(1, 2, newer), stale);
    let effects = world.apply(&cosigned(1, 2, older));
    let Effect::Publish { size: 2, root, cosignatures } = &effects[0] else {
        panic!("expected a publication, got {effects:?}");
    };
    let names: Vec<_> = cosignatures.iter().map(|word| word.name.as_str()).collect();
    assert_eq!((*root, names), (older, vec!["proofmark.test/log/n1", "proofmark.test/log/n2"]));
    assert_eq!(world.apply(&cosigned(3, 2, older)), [Effect::Reply(Reply::Done)]);
    refused(&mut world, seal(2, older), Refusal::SealSize { expected: 3, got: 2 });
    world.reply(cosigned(3, 3, newer));
    assert!(matches!(world.apply(&cosigned(1, 3, newer))[0], Effect::Publish { size: 3, .. }));
}

#[test]
fn a_wrong_cosignature_is_refused_before_it_could_spoil_a_checkpoint() {
    let mut world = World::new(3);
    let root = sha256(b"root");
    world.reply(Command::Seal { size: 2, root });
    let node = node_name(1);
    let mut bent = cosigned(1, 2, root);
    if let Command::Cosign { signature, .. } = &mut bent {
        signature[0] ^= 1;
    }
    let refusal = Refusal::CosignSignature { node };
    assert_eq!(world.reply(bent), Reply::Refused(refusal));
    let node = node_name(4);
    assert_eq!(world.reply(cosigned(4, 2, root)), Reply::Refused(Refusal::CosignNode { node }));
}

#[test]
fn only_the_newest_failures_are_kept() {
    let mut world = World::new(1);
    let mut agent = world.join("web-1", 1);
    let many: Vec<u64> = agent.due(START_MS - 3_600_000).take(120).collect();
    let failing = agent.batch(&many, FAILED);
    world.reply(admit(&failing));
    let seqs: Vec<u64> = world.state.failures().iter().map(|failure| failure.id.seq).collect();
    assert_eq!(seqs, (21..=120).rev().collect::<Vec<_>>());
}

#[test]
fn what_is_gone_from_the_state_is_gone_from_its_rows() {
    let mut world = World::new(1);
    world.reply(token(1, None, START_MS));
    world.reply(Command::Seal { size: 1, root: sha256(b"root") });
    let is_removed = |row: &RowChange| row.1.is_none();
    assert_eq!(world.state.take_dirty_rows().iter().filter(|row| is_removed(row)).count(), 0);
    world.reply(cosigned(1, 1, sha256(b"root")));
    world.now_ms += crate::limits::TOKEN_KEPT_MS;
    world.reply(token(2, None, world.now_ms));
    let rows = world.state.take_dirty_rows();
    let removed: Vec<u8> =
        rows.iter().filter(|row| is_removed(row)).map(|(key, _)| key[0]).collect();
    assert_eq!(removed, [b'c', b't'], "the published seal and the token long expired");
    let changed: Vec<u8> = world.state.take_dirty_rows().iter().map(|(key, _)| key[0]).collect();
    assert_eq!(changed, [b'h'], "nothing is told twice but the head");
}

/// Tables carry checksums; should rot pass them all the same, it ends in a rebuild, not a panic.
#[test]
fn rotten_rows_never_panic() {
    let mut world = World::new(1);
    let mut agent = world.join("web-1", 1);
    let due: Vec<u64> = agent.due(START_MS + 10_000).take(3).collect();
    world.pass(60_000);
    let failing = agent.batch(&due, FAILED);
    world.reply(admit(&failing));
    let changes = world.state.take_dirty_rows();
    let whole: Rows = changes.into_iter().map(|(key, value)| (key, value.unwrap())).collect();
    assert_eq!(State::from_rows(whole.clone()).unwrap().encode(), world.state.encode());
    for row in 0..whole.len() {
        for at in (0..whole[row].1.len()).step_by(5) {
            let mut rows = whole.clone();
            rows[row].1[at] ^= 0x41;
            let _ = State::from_rows(rows);
        }
    }
}

#[test]
fn rows_of_another_state_are_refused_with_what_is_wrong() {
    let mut world = World::new(1);
    world.join("web-1", 1);
    let whole: Rows = world
        .state
        .take_dirty_rows()
        .into_iter()
        .map(|(key, value)| (key, value.unwrap()))
        .collect();
    assert!(State::from_rows(whole.clone()).is_ok());
    let check = |change: fn(&mut Rows), fault: &str| {
        let mut rows = whole.clone();
        change(&mut rows);
        let got = State::from_rows(rows).unwrap_err().to_string();
        assert!(got.starts_with(fault), "expected {fault}, got {got}");
    };
    check(|rows| rows.push((b"?x".to_vec(), Vec::new())), "state_row: tag");
    check(|rows| rows.push((Vec::new(), Vec::new())), "state_row: tag");
    check(Rows::clear, "state_row: expected the row of the newest entry");
    check(|rows| rows[0].1[0] = 99, "state_row: encoding version: expected 1, got 99");
    check(|rows| rows.retain(|(key, _)| key[0] != b'g'), "state_invariant: 3 leaves");
    check(|rows| rows.iter_mut().for_each(|(_, value)| value.push(0)), "state_row: row");
}
