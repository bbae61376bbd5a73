//! Streams that must not open, or must end.

use super::*;

fn hello(world: &World) -> Vec<Out> {
    vec![Out::Hello(world.agent.hello())]
}

pub(super) async fn no_certificate(world: &mut World) -> String {
    let opened = RawStream::open(&world.gateway, stranger(&world.bench), hello(world)).await;
    tell(&opened.err().unwrap())
}

pub(super) async fn operator_certificate(world: &mut World) -> String {
    let opened = RawStream::open(&world.gateway, operator(&world.bench), hello(world)).await;
    tell(&opened.err().unwrap())
}

pub(super) async fn nothing(world: &mut World) -> String {
    world.refused_first(Vec::new()).await
}

pub(super) async fn batch_first(world: &mut World) -> String {
    let batch = world.agent.batch();
    world.refused_first(vec![raw_batch(batch.leaf.bytes(), &batch.payload)]).await
}

pub(super) async fn ping_first(world: &mut World) -> String {
    world.refused_first(vec![Out::Ping(Ping {})]).await
}

pub(super) async fn hello_twice(world: &mut World) -> String {
    world.answer_to(Out::Hello(world.agent.hello())).await
}

pub(super) async fn hello_other_agent(world: &mut World) -> String {
    let hello = wire::Hello { agent: "web-2".to_owned(), ..world.agent.hello() };
    world.refused_first(vec![Out::Hello(hello)]).await
}

pub(super) async fn hello_other_key(world: &mut World) -> String {
    world.agent.key = SigningKey::from_seed([2; 32]);
    world.refused_first(hello(world)).await
}

pub(super) async fn hello_key_id_short(world: &mut World) -> String {
    let hello = wire::Hello { key_id: vec![1; 4].into(), ..world.agent.hello() };
    world.refused_first(vec![Out::Hello(hello)]).await
}

pub(super) async fn hello_ended_epoch(world: &mut World) -> String {
    let hello = wire::Hello { epoch: 0, ..world.agent.hello() };
    world.refused_first(vec![Out::Hello(hello)]).await
}

pub(super) async fn hello_coming_epoch(world: &mut World) -> String {
    let hello = wire::Hello { epoch: 2, ..world.agent.hello() };
    world.refused_first(vec![Out::Hello(hello)]).await
}

pub(super) async fn hello_protocol(world: &mut World) -> String {
    let hello = wire::Hello { protocol: 0, ..world.agent.hello() };
    world.refused_first(vec![Out::Hello(hello)]).await
}

pub(super) async fn agent_unknown(world: &mut World) -> String {
    world.agent = RawAgent::unknown(&world.bench, "ghost", 3);
    world.refused_first(hello(world)).await
}

pub(super) async fn agent_retired(world: &mut World) -> String {
    let agent = world.agent.name.clone();
    assert_eq!(world.bench.consensus.apply(&Command::Retire { agent }), Reply::Retired);
    world.refused_first(hello(world)).await
}

pub(super) async fn diverged(world: &mut World) -> String {
    world.bench.diverged.send_replace(true);
    let told = world.refused_first(hello(world)).await;
    world.bench.diverged.send_replace(false);
    told
}

/// On a stream that was welcomed before: it ends, and the agent goes to another replica.
pub(super) async fn diverged_meanwhile(world: &mut World) -> String {
    let mut stream = RawStream::welcomed(&world.gateway, &world.bench, &world.agent).await;
    world.bench.diverged.send_replace(true);
    let told = tell_answer(stream.next().await);
    world.bench.diverged.send_replace(false);
    told
}
