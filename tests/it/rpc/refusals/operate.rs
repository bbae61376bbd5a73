//! Operators' calls that must be refused.

use super::*;

fn apply_of(text: &str) -> ApplyRequest {
    let file = SpecFile { name: "checks.yaml".to_owned(), text: text.to_owned() };
    ApplyRequest { files: vec![file], dry_run: false, author: String::new() }
}

async fn refused_apply(world: &World, request: ApplyRequest) -> String {
    let mut client = operators(&world.gateway, operator(&world.bench)).await;
    tell(&client.apply(request).await.expect_err("a refusal"))
}

async fn refused_token(world: &World, request: CreateTokenRequest) -> String {
    let mut client = operators(&world.gateway, operator(&world.bench)).await;
    tell(&client.create_token(request).await.expect_err("a refusal"))
}

async fn refused_retire(world: &World, agent: &str) -> String {
    let request = RetireAgentRequest { agent: agent.to_owned() };
    let mut client = operators(&world.gateway, operator(&world.bench)).await;
    tell(&client.retire_agent(request).await.expect_err("a refusal"))
}

pub(super) async fn no_certificate(world: &mut World) -> String {
    let mut client = operators(&world.gateway, stranger(&world.bench)).await;
    tell(&client.apply(apply_of("")).await.unwrap_err())
}

pub(super) async fn agent_certificate(world: &mut World) -> String {
    let mut client = operators(&world.gateway, world.agent.tls(&world.bench)).await;
    let request = CreateTokenRequest { agent: String::new(), ttl_s: 60 };
    tell(&client.create_token(request).await.unwrap_err())
}

pub(super) async fn no_files(world: &mut World) -> String {
    refused_apply(world, ApplyRequest::default()).await
}

pub(super) async fn too_large(world: &mut World) -> String {
    refused_apply(world, apply_of(&"#".repeat(512 * 1024 + 1))).await
}

pub(super) async fn author_too_long(world: &mut World) -> String {
    let request = ApplyRequest { author: "a".repeat(64), ..apply_of("a: 1") };
    refused_apply(world, request).await
}

/// Not a gRPC fault: the reply lists all that is wrong, and nothing was applied.
pub(super) async fn faults(world: &mut World) -> String {
    let text = "apiVersion: proofmark/v1\nkind: Check\nmetadata: {name: UP}\nspec: {}\n";
    let mut client = operators(&world.gateway, operator(&world.bench)).await;
    let reply = client.apply(apply_of(text)).await.unwrap().into_inner();
    assert_eq!(reply.revision, 0);
    reply.faults.join("\n") + "\n"
}

pub(super) async fn token_agent_name(world: &mut World) -> String {
    let request = CreateTokenRequest { agent: "Web 1".to_owned(), ttl_s: 60 };
    refused_token(world, request).await
}

pub(super) async fn token_ttl_zero(world: &mut World) -> String {
    refused_token(world, CreateTokenRequest::default()).await
}

pub(super) async fn retire_unknown_agent(world: &mut World) -> String {
    refused_retire(world, "nobody").await
}

pub(super) async fn retire_busy(world: &mut World) -> String {
    world.bench.consensus.script(ProposalOutcome::Busy { retry_after_ms: 75 });
    refused_retire(world, "web-1").await
}

pub(super) async fn diverged(world: &mut World) -> String {
    world.bench.diverged.send_replace(true);
    let told = refused_apply(world, apply_of("a: 1")).await;
    world.bench.diverged.send_replace(false);
    told
}
