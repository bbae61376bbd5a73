//! Enrolments that must be refused.

use super::*;

/// A good request of a new agent `new-1`, with a token for anybody.
fn good(world: &mut World) -> EnrolRequest {
    let token = world.bench.token(None);
    request(&token.id, &token.secret, "new-1", &SigningKey::from_seed([40; 32]))
}

fn request(id: &[u8], secret: &[u8], agent: &str, key: &SigningKey) -> EnrolRequest {
    let tls_key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&tls_key).unwrap();
    let unsigned = EnrolRequest {
        token_id: id.to_vec().into(),
        token_secret: secret.to_vec().into(),
        agent: agent.to_owned(),
        public_key: key.public().0.to_vec().into(),
        possession: Vec::new().into(),
        csr_der: csr.der().to_vec().into(),
    };
    signed(unsigned, key)
}

fn signed(mut request: EnrolRequest, key: &SigningKey) -> EnrolRequest {
    let EnrolRequest { token_id, agent, public_key, csr_der, .. } = &request;
    let statement = possession_statement(token_id, agent, public_key, csr_der);
    request.possession = key.sign(&statement).0.to_vec().into();
    request
}

async fn ask(world: &World, request: EnrolRequest) -> String {
    let mut client = agents(&world.gateway, stranger(&world.bench)).await;
    tell(&client.enrol(request).await.expect_err("a refusal"))
}

pub(super) async fn token_unknown(world: &mut World) -> String {
    let key = SigningKey::from_seed([40; 32]);
    ask(world, request(&[0xee; 16], &[0x5e; 16], "new-1", &key)).await
}

pub(super) async fn token_wrong_secret(world: &mut World) -> String {
    let request = EnrolRequest { token_secret: vec![0; 16].into(), ..good(world) };
    ask(world, request).await
}

pub(super) async fn token_spent(world: &mut World) -> String {
    let token = world.bench.token(None);
    let first = request(&token.id, &token.secret, "new-1", &SigningKey::from_seed([40; 32]));
    let mut client = agents(&world.gateway, stranger(&world.bench)).await;
    client.enrol(first).await.unwrap();
    let second = request(&token.id, &token.secret, "new-2", &SigningKey::from_seed([41; 32]));
    ask(world, second).await
}

pub(super) async fn token_expired(world: &mut World) -> String {
    let request = good(world);
    world.bench.clock.advance(600_000);
    ask(world, request).await
}

pub(super) async fn token_for_other_agent(world: &mut World) -> String {
    let token = world.bench.token(Some(&world.agent.name));
    let key = SigningKey::from_seed([40; 32]);
    ask(world, request(&token.id, &token.secret, "new-1", &key)).await
}

pub(super) async fn token_id_short(world: &mut World) -> String {
    let key = SigningKey::from_seed([40; 32]);
    ask(world, request(&[1; 15], &[0x5e; 16], "new-1", &key)).await
}

pub(super) async fn agent_exists(world: &mut World) -> String {
    let token = world.bench.token(None);
    let key = SigningKey::from_seed([40; 32]);
    ask(world, request(&token.id, &token.secret, "web-1", &key)).await
}

pub(super) async fn agent_name(world: &mut World) -> String {
    let request = EnrolRequest { agent: "Web 1".to_owned(), ..good(world) };
    ask(world, request).await
}

pub(super) async fn key_short(world: &mut World) -> String {
    let request = EnrolRequest { public_key: vec![1; 31].into(), ..good(world) };
    ask(world, request).await
}

pub(super) async fn possession_of_other_key(world: &mut World) -> String {
    let request = signed(good(world), &SigningKey::from_seed([41; 32]));
    ask(world, request).await
}

pub(super) async fn possession_of_other_name(world: &mut World) -> String {
    let request = EnrolRequest { agent: "new-2".to_owned(), ..good(world) };
    ask(world, request).await
}

pub(super) async fn request_damaged(world: &mut World) -> String {
    let unsigned = EnrolRequest { csr_der: vec![0x30, 0].into(), ..good(world) };
    ask(world, signed(unsigned, &SigningKey::from_seed([40; 32]))).await
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
