//! A stranger with one file and a policy.

use super::*;
use crate::checkpoint::SignedCheckpoint;
use crate::name::AgentName;
use crate::sample::{MemSource, Sample, agent_key, note, policy};
use crate::tile::{push_blob, push_entry, tile_bytes};

const SIZE: u64 = 60;

/// A published log of less than one tile, without a writer.
fn reader(sample: &Sample, nodes: &[usize]) -> LogReader {
    let mut source = MemSource::default();
    let (mut entries, mut payload, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for (leaf, blob) in &sample.leaves {
        push_entry(&mut entries, leaf.bytes());
        push_blob(&mut payload, blob);
        hashes.push(leaf.hash());
    }
    let checkpoint = note(SIZE, sample.roots[SIZE as usize], nodes).into_bytes();
    source.0.insert("checkpoint".to_owned(), checkpoint);
    source.0.insert(format!("tile/entries/000.p/{SIZE}"), entries);
    source.0.insert(format!("tile/0/000.p/{SIZE}"), tile_bytes(&hashes));
    source.0.insert("payload/000".to_owned(), payload);
    LogReader::open(source).unwrap()
}

/// Leaf 30 is the ninth batch of web-0; its third result is a failure.
const LEAF: u64 = 30;

fn id(sample: &Sample, position: u64) -> ResultId {
    let Ok(Header::Batch(header)) = sample.leaves[LEAF as usize].0.header() else {
        panic!("leaf {LEAF} is a batch")
    };
    header.result_id(position as u32)
}

#[test]
fn every_result_of_a_batch_is_proven_alone() {
    let sample = Sample::new(SIZE);
    let reader = reader(&sample, &[0, 2]);
    let batch = SealedBatch {
        leaf: reader.leaf(LEAF).unwrap(),
        payload: reader.payload(LEAF).unwrap().into(),
    };
    let open = batch.open().unwrap();
    assert_eq!(open.results.len(), 3);
    for (id, result) in open.named_results() {
        let text = prove_result(&reader, &id, LEAF).unwrap().to_text();
        let proven = check_proof(&text, &policy()).unwrap();
        assert_eq!((&proven.id, &proven.result), (&id, result));
        assert_eq!(&proven.check, open.check(result));
        assert_eq!(proven.scheduled_at_ms, open.scheduled_at_ms(result));
        assert_eq!(proven.agent_key, agent_key(0, 1).public());
        assert_eq!((proven.leaf_index, proven.enrol_index), (LEAF, 1));
        let names: Vec<&str> = proven.cosigners.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["log.example.com/n1", "log.example.com/n3"]);
    }
}

#[test]
fn only_what_is_there_is_proven() {
    let sample = Sample::new(SIZE);
    let reader = reader(&sample, &[0, 1]);
    let check = |id: ResultId, leaf, slug: &str| {
        assert_eq!(prove_result(&reader, &id, leaf).unwrap_err().slug(), slug, "{id} at {leaf}");
    };
    let known = id(&sample, 0);
    check(known.clone(), LEAF + 1, "proof_unequal");
    check(known.clone(), SIZE, "beyond_size");
    check(ResultId { seq: known.seq + 3, ..known.clone() }, LEAF, "proof_unequal");
    check(ResultId { epoch: 2, ..known.clone() }, LEAF, "enrolment_missing");
    let agent = AgentName::parse("web-9").unwrap();
    check(ResultId { agent, ..known }, LEAF, "enrolment_missing");
}

#[test]
fn any_byte_changed_and_the_proof_is_refused() {
    let sample = Sample::new(SIZE);
    let reader = reader(&sample, &[0, 1]);
    let text = prove_result(&reader, &id(&sample, 2), LEAF).unwrap().to_text();
    let policy = policy();
    check_proof(&text, &policy).unwrap();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1 << (at % 7);
        if let Ok(changed) = String::from_utf8(bytes) {
            assert!(check_proof(&changed, &policy).is_err(), "byte {at} changed to {changed}");
        }
        if let Some(cut) = text.get(..at) {
            assert!(check_proof(cut, &policy).is_err(), "cut to {at}");
        }
    }
    for more in ["\n", " ", "x"] {
        assert!(check_proof(&format!("{text}{more}"), &policy).is_err());
        assert!(check_proof(&format!("{more}{text}"), &policy).is_err());
    }
    assert!(check_proof(&text.replace('\n', "\r\n"), &policy).is_err());
}

/// With one cosigner more than the quorum, a damaged line of his may cost his word; the statement
/// stays what it was.
#[test]
fn a_lost_cosigner_changes_no_statement() {
    let sample = Sample::new(SIZE);
    let reader = reader(&sample, &[0, 1, 2]);
    let text = prove_result(&reader, &id(&sample, 0), LEAF).unwrap().to_text();
    let whole = check_proof(&text, &policy()).unwrap();
    assert_eq!(whole.cosigners.len(), 3);
    let last_line = text.trim_end().rfind('\n').unwrap();
    let mut still_proven = 0;
    for at in last_line..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let changed = String::from_utf8(bytes).unwrap_or_default();
        if let Ok(proven) = check_proof(&changed, &policy()) {
            still_proven += 1;
            let cosigners = whole.cosigners[..2].to_vec();
            assert_eq!(proven, ProvenResult { cosigners, ..whole.clone() });
        }
    }
    assert!(still_proven > 0);
}

/// Parts that are each right, of different things.
#[test]
fn parts_of_two_proofs_do_not_mix() {
    let sample = Sample::new(SIZE);
    let reader = reader(&sample, &[0, 1]);
    let other_leaf = LEAF + 3;
    let Ok(Header::Batch(header)) = reader.leaf(other_leaf).unwrap().header() else {
        panic!("leaf {other_leaf} is a batch")
    };
    let ours = prove_result(&reader, &id(&sample, 0), LEAF).unwrap();
    let others = prove_result(&reader, &header.result_id(0), other_leaf).unwrap();
    let check = |change: fn(&mut ProofFile, &ProofFile), slug: &str| {
        let mut mixed = ours.clone();
        change(&mut mixed, &others);
        assert_eq!(check_proof(&mixed.to_text(), &policy()).unwrap_err().slug(), slug);
    };
    check(|mixed, others| mixed.extra.result = others.extra.result.clone(), "root_mismatch");
    check(|mixed, others| mixed.extra.leaf = others.extra.leaf.clone(), "root_mismatch");
    check(|mixed, others| mixed.index = others.index, "root_mismatch");
    check(|mixed, _| mixed.extra.position = 1, "root_mismatch");
    check(|mixed, _| mixed.extra.position = 3, "index_beyond_size");
    check(|mixed, _| mixed.extra.enrol_index = 2, "root_mismatch");
    check(|mixed, _| mixed.path.push(crate::hash::Hash::ZERO), "path_length");
    let stray = |size: u64, root| SignedCheckpoint::parse(&note(size, root, &[0, 1])).unwrap();
    let mut older = ours.clone();
    older.checkpoint = stray(SIZE - 1, sample.roots[SIZE as usize - 1]);
    assert!(check_proof(&older.to_text(), &policy()).is_err());
    let mut alone = ours.clone();
    alone.checkpoint =
        SignedCheckpoint::parse(&note(SIZE, sample.roots[SIZE as usize], &[1])).unwrap();
    assert_eq!(check_proof(&alone.to_text(), &policy()).unwrap_err().slug(), "no_quorum");
}

/// Each link of the chain is checked: another agent's enrolment does not do.
#[test]
fn the_enrolment_must_be_the_agents() {
    let sample = Sample::new(SIZE);
    let reader = reader(&sample, &[0, 1]);
    let id = id(&sample, 0);
    let check = |enrol_index, slug: &str| {
        let proof = prove_result_with_enrol(&reader, &id, LEAF, enrol_index).unwrap();
        assert_eq!(check_proof(&proof.to_text(), &policy()).unwrap_err().slug(), slug);
    };
    check(0, "proof_unequal");
    check(2, "proof_unequal");
    check(4, "proof_unequal");
    check(6, "leaf_key_id");
}
