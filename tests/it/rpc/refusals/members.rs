//! Operators' calls about replicas that must be refused.

use proofmark_evidence::limits::NODES_COUNT_MAX;

use super::*;

fn invitation(name: &str, replaces: &str) -> InviteNodeRequest {
    InviteNodeRequest { name: name.to_owned(), replaces: replaces.to_owned(), ttl_s: 60 }
}

async fn refused_invitation(world: &World, request: InviteNodeRequest) -> String {
    let mut client = operators(&world.gateway, operator(&world.bench)).await;
    tell(&client.invite_node(request).await.expect_err("a refusal"))
}

/// Of a cluster that keeps a list of its replicas.
async fn refused_invite(world: &World, name: &str, replaces: &str) -> String {
    refused_invitation(world, invitation(name, replaces)).await
}

async fn refused_leave(world: &World, name: &str) -> String {
    let request = LeaveNodeRequest { name: name.to_owned() };
    let mut client = operators(&world.gateway, operator(&world.bench)).await;
    tell(&client.leave_node(request).await.expect_err("a refusal"))
}

async fn refused_transfer(world: &World, to: &str) -> String {
    let request = TransferLeaderRequest { to: to.to_owned() };
    let mut client = operators(&world.gateway, operator(&world.bench)).await;
    tell(&client.transfer_leader(request).await.expect_err("a refusal"))
}

async fn refused_list(world: &World) -> String {
    let mut client = operators(&world.gateway, operator(&world.bench)).await;
    tell(&client.list_members(ListMembersRequest {}).await.expect_err("a refusal"))
}

pub(super) async fn invite_no_certificate(world: &mut World) -> String {
    let mut client = operators(&world.gateway, stranger(&world.bench)).await;
    tell(&client.invite_node(invitation("a4", "")).await.unwrap_err())
}

pub(super) async fn invite_agent_certificate(world: &mut World) -> String {
    let mut client = operators(&world.gateway, world.agent.tls(&world.bench)).await;
    tell(&client.invite_node(invitation("a4", "")).await.unwrap_err())
}

pub(super) async fn invite_name(world: &mut World) -> String {
    refused_invite(world, "A 4", "").await
}

pub(super) async fn invite_replaces_name(world: &mut World) -> String {
    refused_invite(world, "a4", "A 1").await
}

pub(super) async fn invite_ttl_zero(world: &mut World) -> String {
    let request = InviteNodeRequest { ttl_s: 0, ..invitation("a4", "") };
    refused_invitation(world, request).await
}

pub(super) async fn invite_version_too_low(world: &mut World) -> String {
    refused_invite(world, "a4", "").await
}

pub(super) async fn invite_member_exists(world: &mut World) -> String {
    world.bench.raise_version();
    refused_invite(world, "a1", "").await
}

pub(super) async fn invite_replaces_unknown(world: &mut World) -> String {
    world.bench.raise_version();
    refused_invite(world, "a4", "a9").await
}

pub(super) async fn invite_replaces_invited(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.invite("a4", None);
    refused_invite(world, "a5", "a4").await
}

pub(super) async fn invite_replaces_replaced(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.invite("a4", Some("a1"));
    refused_invite(world, "a5", "a1").await
}

pub(super) async fn invite_members_full(world: &mut World) -> String {
    world.bench.raise_version();
    for id in 2..=NODES_COUNT_MAX {
        world.bench.invite(&format!("a{id}"), None);
    }
    refused_invite(world, "one-more", "").await
}

pub(super) async fn invite_busy(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.consensus.script(ProposalOutcome::Busy { retry_after_ms: 75 });
    refused_invite(world, "a4", "").await
}

pub(super) async fn leave_name(world: &mut World) -> String {
    refused_leave(world, "").await
}

pub(super) async fn leave_version_too_low(world: &mut World) -> String {
    refused_leave(world, "a1").await
}

pub(super) async fn leave_not_leader(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.seat("a2");
    world.bench.consensus.follow(2);
    refused_leave(world, "a1").await
}

pub(super) async fn leave_unknown(world: &mut World) -> String {
    world.bench.raise_version();
    refused_leave(world, "a9").await
}

pub(super) async fn leave_last_voter(world: &mut World) -> String {
    world.bench.raise_version();
    refused_leave(world, "a1").await
}

/// The one that would remain is not heard.
pub(super) async fn leave_last_majority(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.seat("a2");
    refused_leave(world, "a1").await
}

pub(super) async fn transfer_version_too_low(world: &mut World) -> String {
    refused_transfer(world, "a1").await
}

pub(super) async fn transfer_unknown(world: &mut World) -> String {
    world.bench.raise_version();
    refused_transfer(world, "a9").await
}

pub(super) async fn transfer_not_a_voter(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.invite("a4", None);
    refused_transfer(world, "a4").await
}

pub(super) async fn transfer_not_leader(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.seat("a2");
    world.bench.consensus.follow(2);
    refused_transfer(world, "a1").await
}

pub(super) async fn transfer_not_taken(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.seat("a2");
    refused_transfer(world, "a2").await
}

pub(super) async fn list_version_too_low(world: &mut World) -> String {
    refused_list(world).await
}

pub(super) async fn list_not_leader(world: &mut World) -> String {
    world.bench.raise_version();
    world.bench.seat("a2");
    world.bench.consensus.follow(2);
    refused_list(world).await
}

pub(super) async fn list_diverged(world: &mut World) -> String {
    world.bench.diverged.send_replace(true);
    let told = refused_list(world).await;
    world.bench.diverged.send_replace(false);
    told
}
