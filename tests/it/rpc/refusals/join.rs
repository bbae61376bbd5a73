//! Replicas that must not join.

use proofmark_aggregator::identity::NodeIdentity;

use super::*;

/// The seed of every newcomer's key.
const SEED: u8 = 40;

/// A good request of the invited replica `a4`.
fn good(world: &mut World) -> JoinNodeRequest {
    world.bench.raise_version();
    join_request(&world.bench.invite("a4", None), "a4", SEED)
}

/// The good request with something changed before it was signed.
fn changed(world: &mut World, change: impl FnOnce(&mut JoinNodeRequest)) -> JoinNodeRequest {
    let mut request = good(world);
    change(&mut request);
    signed_join(request, &SigningKey::from_seed([SEED; 32]))
}

async fn ask(world: &World, request: JoinNodeRequest) -> String {
    let mut client = nodes(&world.gateway, stranger(&world.bench)).await;
    tell(&client.join_node(request).await.expect_err("a refusal"))
}

/// It joins, and the members are shown.
async fn joined(world: &World, request: JoinNodeRequest) {
    let mut client = nodes(&world.gateway, stranger(&world.bench)).await;
    client.join_node(request).await.expect("a good request");
    world.bench.show_members();
}

pub(super) async fn wrong_cluster(world: &mut World) -> String {
    let request = changed(world, |request| request.log_id = vec![7; 32].into());
    ask(world, request).await
}

pub(super) async fn key_short(world: &mut World) -> String {
    let request = changed(world, |request| request.cosigner_key = vec![1; 31].into());
    ask(world, request).await
}

pub(super) async fn possession_short(world: &mut World) -> String {
    let request = JoinNodeRequest { possession: vec![1; 63].into(), ..good(world) };
    ask(world, request).await
}

pub(super) async fn node_name(world: &mut World) -> String {
    let request = changed(world, |request| request.name = "A 4".to_owned());
    ask(world, request).await
}

pub(super) async fn possession_of_other_key(world: &mut World) -> String {
    let request = signed_join(good(world), &SigningKey::from_seed([41; 32]));
    ask(world, request).await
}

/// Nobody on the way can send the newcomer's peers elsewhere.
pub(super) async fn possession_of_other_address(world: &mut World) -> String {
    let request = JoinNodeRequest { peers: "elsewhere.test:7682".to_owned(), ..good(world) };
    ask(world, request).await
}

pub(super) async fn request_damaged(world: &mut World) -> String {
    let request = changed(world, |request| request.peer_csr_der = vec![0x30, 0].into());
    ask(world, request).await
}

pub(super) async fn address_without_port(world: &mut World) -> String {
    let request = changed(world, |request| request.grpc = "a4.test".to_owned());
    ask(world, request).await
}

pub(super) async fn address_too_long(world: &mut World) -> String {
    let request = changed(world, |request| request.peers = format!("{}:7682", "a".repeat(255)));
    ask(world, request).await
}

pub(super) async fn token_id_short(world: &mut World) -> String {
    let request = changed(world, |request| request.token_id = vec![1; 15].into());
    ask(world, request).await
}

pub(super) async fn token_secret_short(world: &mut World) -> String {
    let request = JoinNodeRequest { token_secret: vec![1; 15].into(), ..good(world) };
    ask(world, request).await
}

pub(super) async fn token_unknown(world: &mut World) -> String {
    let request = changed(world, |request| request.token_id = vec![0xee; 16].into());
    ask(world, request).await
}

pub(super) async fn token_wrong_secret(world: &mut World) -> String {
    let request = JoinNodeRequest { token_secret: vec![0; 16].into(), ..good(world) };
    ask(world, request).await
}

pub(super) async fn token_expired(world: &mut World) -> String {
    let request = good(world);
    world.bench.clock.advance(600_000);
    ask(world, request).await
}

pub(super) async fn token_for_other_node(world: &mut World) -> String {
    world.bench.raise_version();
    let token = world.bench.invite("a4", None);
    ask(world, join_request(&token, "a5", SEED)).await
}

/// The same request again is answered as before; another machine with its token is not.
pub(super) async fn token_spent(world: &mut World) -> String {
    let request = good(world);
    joined(world, request.clone()).await;
    joined(world, request.clone()).await;
    let key = SigningKey::from_seed([SEED; 32]);
    let elsewhere = JoinNodeRequest { peers: "elsewhere.test:7682".to_owned(), ..request };
    ask(world, signed_join(elsewhere, &key)).await
}

pub(super) async fn key_of_another(world: &mut World) -> String {
    let request = good(world);
    joined(world, request).await;
    let token = world.bench.invite("a5", None);
    ask(world, join_request(&token, "a5", SEED)).await
}

pub(super) async fn address_of_another(world: &mut World) -> String {
    let request = good(world);
    joined(world, request).await;
    let token = world.bench.invite("a5", None);
    let key = SigningKey::from_seed([41; 32]);
    let grpc = "a4.test:7681".to_owned();
    let request = JoinNodeRequest { grpc, ..join_request(&token, "a5", 41) };
    ask(world, signed_join(request, &key)).await
}

pub(super) async fn member_gone(world: &mut World) -> String {
    let request = good(world);
    let name = proofmark_aggregator::command::NodeName::parse("a4").unwrap();
    assert_eq!(world.bench.consensus.apply(&Command::LeaveNode { name }), Reply::Done);
    ask(world, request).await
}

/// Invited by a token that no state of version 1 can have made.
pub(super) async fn version_too_low(world: &mut World) -> String {
    let join = world.bench.token(None);
    let log_id = world.bench.identity.log_id().0;
    ask(world, join_request(&wire::NodeToken { join, log_id }, "a4", SEED)).await
}

/// A replica of an older installation cannot sign for peers.
pub(super) async fn peer_ca_missing(world: &mut World) -> String {
    let request = good(world);
    std::fs::remove_file(world.bench.dir.path().join("peer-ca.json")).unwrap();
    let identity = NodeIdentity::load(world.bench.dir.path()).unwrap();
    world.bench.identity = identity.into();
    world.gateway = world.bench.open().await;
    ask(world, request).await
}

pub(super) async fn no_leader(world: &mut World) -> String {
    let request = good(world);
    world.bench.consensus.set_leaderless(true);
    let told = ask(world, request).await;
    world.bench.consensus.set_leaderless(false);
    told
}

pub(super) async fn diverged(world: &mut World) -> String {
    let request = good(world);
    world.bench.diverged.send_replace(true);
    let told = ask(world, request).await;
    world.bench.diverged.send_replace(false);
    told
}
