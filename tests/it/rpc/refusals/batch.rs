//! Batches that must not be taken.

use super::*;

pub(super) async fn not_a_leaf(world: &mut World) -> String {
    world.answer_to(raw_batch(b"not a leaf", &[])).await
}

pub(super) async fn leaf_version(world: &mut World) -> String {
    let SealedBatch { leaf, payload } = world.agent.batch();
    let mut bytes = leaf.bytes().to_vec();
    bytes[0] = 9;
    world.answer_to(raw_batch(&bytes, &payload)).await
}

pub(super) async fn leaf_too_large(world: &mut World) -> String {
    world.answer_to(raw_batch(&[1; 4097], &[])).await
}

pub(super) async fn kind_spec_change(world: &mut World) -> String {
    let header = SpecChange {
        log_id: world.agent.log_id,
        key_id: world.agent.key.key_id(),
        revision: 1,
        received_at_ms: 1,
        effective_at_ms: 1,
        author: "web-1".to_owned(),
        payload: BlobRef::of(b"kind: Check"),
    };
    let key = &world.agent.key;
    let leaf = proofmark_evidence::Leaf::seal(LeafKind::SpecChange, &header.encode(), key);
    world.answer_to(raw_batch(leaf.unwrap().bytes(), b"kind: Check")).await
}

pub(super) async fn other_log(world: &mut World) -> String {
    world.agent.log_id = sha256(b"another.log");
    world.answer_to_batch(&world.agent.batch()).await
}

pub(super) async fn other_agent(world: &mut World) -> String {
    let other = RawAgent::registered(&mut world.bench, "web-2", 2);
    world.answer_to_batch(&other.batch()).await
}

pub(super) async fn other_key(world: &mut World) -> String {
    let forged = RawAgent::unknown(&world.bench, "web-1", 2).batch();
    world.answer_to_batch(&forged).await
}

/// Byte 2 of a leaf is the first of its signature.
pub(super) async fn signature_damaged(world: &mut World) -> String {
    let SealedBatch { leaf, payload } = world.agent.batch();
    let mut bytes = leaf.bytes().to_vec();
    bytes[2] ^= 1;
    world.answer_to(raw_batch(&bytes, &payload)).await
}

/// The header's last byte says whether a checkpoint follows.
pub(super) async fn header_damaged(world: &mut World) -> String {
    let SealedBatch { leaf, payload } = world.agent.batch();
    let mut bytes = leaf.bytes().to_vec();
    *bytes.last_mut().unwrap() = 7;
    world.answer_to(raw_batch(&bytes, &payload)).await
}

pub(super) async fn other_epoch(world: &mut World) -> String {
    let batch = world.agent.batch_with(|header| header.epoch = 2);
    world.answer_to_batch(&batch).await
}

pub(super) async fn payload_too_large(world: &mut World) -> String {
    let leaf = world.agent.batch().leaf;
    world.answer_to(raw_batch(leaf.bytes(), &vec![0; 960 * 1024 + 1])).await
}

pub(super) async fn message_too_large(world: &mut World) -> String {
    let leaf = world.agent.batch().leaf;
    world.answer_to(raw_batch(leaf.bytes(), &vec![0; 1040 * 1024])).await
}

pub(super) async fn payload_damaged(world: &mut World) -> String {
    let SealedBatch { leaf, payload } = world.agent.batch();
    let mut payload = payload.to_vec();
    *payload.last_mut().unwrap() ^= 1;
    world.answer_to(raw_batch(leaf.bytes(), &payload)).await
}

pub(super) async fn payload_missing(world: &mut World) -> String {
    let leaf = world.agent.batch().leaf;
    world.answer_to(raw_batch(leaf.bytes(), &[])).await
}

pub(super) async fn count_unequal(world: &mut World) -> String {
    let batch = world.agent.batch_with(|header| header.count = 4);
    world.answer_to_batch(&batch).await
}

pub(super) async fn results_root(world: &mut World) -> String {
    let batch = world.agent.batch_with(|header| header.results_root = Hash::ZERO);
    world.answer_to_batch(&batch).await
}

/// The newest result lies 2 ms after the base time.
pub(super) async fn in_the_future(world: &mut World) -> String {
    world.agent.base_time_ms = world.bench.clock.unix_ms() + 30_000;
    world.answer_to_batch(&world.agent.batch()).await
}

pub(super) async fn gap(world: &mut World) -> String {
    world.agent.seq = 7;
    world.answer_to_batch(&world.agent.batch()).await
}

pub(super) async fn fork(world: &mut World) -> String {
    world.answer_to_batch(&world.agent.batch()).await;
    world.agent.base_time_ms -= 1_000;
    world.answer_to_batch(&world.agent.batch()).await
}

pub(super) async fn previous(world: &mut World) -> String {
    let first = world.agent.batch();
    world.answer_to_batch(&first).await;
    world.agent.advance(&first);
    world.agent.previous = sha256(b"something else");
    world.answer_to_batch(&world.agent.batch()).await
}

async fn scripted(world: &World, outcome: ProposalOutcome) -> String {
    world.bench.consensus.script(outcome);
    world.answer_to_batch(&world.agent.batch()).await
}

pub(super) async fn busy(world: &mut World) -> String {
    scripted(world, ProposalOutcome::Busy { retry_after_ms: 75 }).await
}

pub(super) async fn no_leader(world: &mut World) -> String {
    scripted(world, ProposalOutcome::NotLeader { leader: Some(2) }).await
}

pub(super) async fn leader_changed(world: &mut World) -> String {
    scripted(world, ProposalOutcome::Lost).await
}
