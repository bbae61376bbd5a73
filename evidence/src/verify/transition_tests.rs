//! A log whose cosigners changed, read by those who trust the nodes of then, of now, and of nobody.

use super::*;
use crate::layout::{POLICY_FILE, TRANSITIONS_FILE};
use crate::sample::{MemSource, MovedSample, note_of, policy};
use crate::transitions::Transition;
use crate::writer::mem_disk::SharedDisk;

fn moved_log() -> (MovedSample, MemSource) {
    let (moved, disk) = (MovedSample::new(), SharedDisk::default());
    moved.write(&disk);
    (moved, disk.source())
}

fn slugs(source: &MemSource, pinned: Option<&Policy>) -> Vec<&'static str> {
    let report = verify_with(source, pinned, &mut (), &mut CheckEach);
    report.faults.iter().map(|fault| fault.slug).collect()
}

#[test]
fn whoever_pinned_the_first_nodes_believes_those_they_handed_over_to() {
    let (moved, source) = moved_log();
    let none: [&str; 0] = [];
    assert_eq!(slugs(&source, Some(&policy())), none);
    assert_eq!(slugs(&source, Some(&moved.policy_after())), none);
    assert_eq!(slugs(&source, None), none);
    let report = verify_log(&source, &policy(), &mut ());
    let cosigners: Vec<&str> = report.cosigners.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(cosigners, ["log.example.com/n2", "log.example.com/n4"], "those of now");
}

#[test]
fn a_hand_over_that_nobody_trusted_made_is_refused_by_name() {
    let (moved, source) = moved_log();
    let size = MovedSample::TRANSITION;
    let check = |pinned: Option<&Policy>, bend: &dyn Fn(&mut MemSource), expect: &[&str]| {
        let mut bent = source.clone();
        bend(&mut bent);
        assert_eq!(slugs(&bent, pinned), expect);
    };
    let forged = |note: String, policy: Policy| {
        move |source: &mut MemSource| {
            let forged = Transition::parse(&note, &policy.to_text()).unwrap();
            let text = Transition::encode_all(&[forged]);
            source.0.insert(TRANSITIONS_FILE.to_owned(), text.into_bytes());
        }
    };
    let (old, new) = (policy(), moved.policy_after());
    let removed = |source: &mut MemSource| drop(source.0.remove(TRANSITIONS_FILE));
    check(Some(&old), &removed, &["policy_not_implied", "no_quorum"]);
    check(None, &removed, &["policy_not_implied", "no_quorum"]);
    // The old nodes did not sign it; or the new ones did not.
    let by = |nodes: &[usize]| note_of(&moved.sample, size, nodes);
    check(Some(&old), &forged(by(&[0, 3]), new.clone()), &["transition_refused", "no_roll_over"]);
    check(None, &forged(by(&[1, 2]), new.clone()), &["transition_refused"]);
    // A quorum of the old hands over to nodes that no leaf names.
    let others = Policy::for_nodes(
        &crate::sample::origin(),
        &crate::sample::log_key().public(),
        &new.witness_keys()[..2],
    );
    let others = others.unwrap();
    let stolen = |source: &mut MemSource| {
        forged(by(&[0, 1]), others.clone())(source);
        source.0.insert(POLICY_FILE.to_owned(), others.to_text().into_bytes());
        let note = note_of(&moved.sample, 30, &[0, 1]).into_bytes();
        source.0.insert(CHECKPOINT_FILE.to_owned(), note);
    };
    check(Some(&old), &stolen, &["transition_missing", "transition_missing"]);
    // A checkpoint that was never this log's.
    let root = crate::hash::sha256(b"another history");
    let elsewhere = crate::sample::note(size, root, &[0, 1]);
    check(Some(&old), &forged(elsewhere, new.clone()), &["transition_root"]);
    let garbage = |source: &mut MemSource| {
        source.0.insert(TRANSITIONS_FILE.to_owned(), b"?".to_vec());
    };
    check(None, &garbage, &["transitions_malformed", "policy_not_implied", "no_quorum"]);
}

/// What a crash, or a copy in the middle of a transition, leaves.
#[test]
fn a_transition_half_written_is_no_fault() {
    let (moved, mut source) = moved_log();
    let none: [&str; 0] = [];
    let note = note_of(&moved.sample, MovedSample::TRANSITION, &[0, 1]).into_bytes();
    source.0.insert(CHECKPOINT_FILE.to_owned(), note);
    source.0.insert(POLICY_FILE.to_owned(), policy().to_text().into_bytes());
    assert_eq!(slugs(&source, None), none, "the policy is about to be replaced");
    let note = note_of(&moved.sample, 9, &[0, 1]).into_bytes();
    source.0.insert(CHECKPOINT_FILE.to_owned(), note);
    assert_eq!(slugs(&source, None), none, "the checkpoint is about to be replaced");
}
