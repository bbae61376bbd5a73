//! Every refusal of the agent port against its golden file: `tests/golden/rpc/<case>.txt`.
//!
//! After each bad call the same gateway must still take a good batch from a good agent, and its
//! sequence must stand where it should: the process stays up and nothing is lost.
//! `UPDATE=1` rewrites the files.

mod batch;
mod connect;
mod enrol;
mod join;
mod members;
mod operate;

use std::path::{Path, PathBuf};
use std::pin::Pin;

use proofmark_aggregator::command::{Command, Reply};
use proofmark_aggregator::consensus::ProposalOutcome;
use proofmark_aggregator::ingest::AgentDirectory as _;
use proofmark_aggregator::ingest::counters::Event;
use proofmark_evidence::{BlobRef, Hash, LeafKind, SealedBatch, SigningKey, SpecChange, sha256};
use proofmark_proto as wire;
use tonic::{Code, Status};
use wire::agent_message::Message as Out;
use wire::gateway_message::Message as In;
use wire::{
    ApplyRequest, CreateTokenRequest, EnrolRequest, InviteNodeRequest, JoinNodeRequest,
    LeaveNodeRequest, ListMembersRequest, Ping, Refusal, RetireAgentRequest, SpecFile,
    TransferLeaderRequest, possession_statement,
};

use super::bench::{Bench, Gateway};
use super::client::{
    RawAgent, RawStream, agents, join_request, nodes, operator, operators, raw_batch, signed_join,
    stranger,
};

/// What a bad call may use. `agent` is registered as `web-1`.
pub struct World {
    bench: Bench,
    gateway: Gateway,
    agent: RawAgent,
}

type Told<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;
type Case = (&'static str, fn(&mut World) -> Told<'_>);

/// name, and the call that must be refused
macro_rules! cases {
    ($($name:literal: $call:path,)*) => {
        const CASES: &[Case] = &[$(($name, |world| Box::pin($call(world)))),*];
    };
}

cases! {
    "enrol-token-unknown": enrol::token_unknown,
    "enrol-token-wrong-secret": enrol::token_wrong_secret,
    "enrol-token-spent": enrol::token_spent,
    "enrol-token-expired": enrol::token_expired,
    "enrol-token-for-other-agent": enrol::token_for_other_agent,
    "enrol-token-id-short": enrol::token_id_short,
    "enrol-agent-exists": enrol::agent_exists,
    "enrol-agent-name": enrol::agent_name,
    "enrol-key-short": enrol::key_short,
    "enrol-possession-of-other-key": enrol::possession_of_other_key,
    "enrol-possession-of-other-name": enrol::possession_of_other_name,
    "enrol-certificate-request-damaged": enrol::request_damaged,
    "enrol-no-leader": enrol::no_leader,
    "enrol-diverged": enrol::diverged,
    "connect-no-certificate": connect::no_certificate,
    "connect-operator-certificate": connect::operator_certificate,
    "connect-nothing": connect::nothing,
    "connect-batch-first": connect::batch_first,
    "connect-ping-first": connect::ping_first,
    "connect-hello-twice": connect::hello_twice,
    "connect-hello-other-agent": connect::hello_other_agent,
    "connect-hello-other-key": connect::hello_other_key,
    "connect-hello-key-id-short": connect::hello_key_id_short,
    "connect-hello-ended-epoch": connect::hello_ended_epoch,
    "connect-hello-coming-epoch": connect::hello_coming_epoch,
    "connect-hello-protocol": connect::hello_protocol,
    "connect-agent-unknown": connect::agent_unknown,
    "connect-agent-retired": connect::agent_retired,
    "connect-diverged": connect::diverged,
    "connect-diverged-meanwhile": connect::diverged_meanwhile,
    "batch-not-a-leaf": batch::not_a_leaf,
    "batch-leaf-version": batch::leaf_version,
    "batch-leaf-too-large": batch::leaf_too_large,
    "batch-kind-spec-change": batch::kind_spec_change,
    "batch-other-log": batch::other_log,
    "batch-other-agent": batch::other_agent,
    "batch-other-key": batch::other_key,
    "batch-signature-damaged": batch::signature_damaged,
    "batch-header-damaged": batch::header_damaged,
    "batch-other-epoch": batch::other_epoch,
    "batch-payload-too-large": batch::payload_too_large,
    "batch-message-too-large": batch::message_too_large,
    "batch-payload-damaged": batch::payload_damaged,
    "batch-payload-missing": batch::payload_missing,
    "batch-count-unequal": batch::count_unequal,
    "batch-results-root": batch::results_root,
    "batch-in-the-future": batch::in_the_future,
    "batch-gap": batch::gap,
    "batch-fork": batch::fork,
    "batch-previous": batch::previous,
    "batch-busy": batch::busy,
    "batch-no-leader": batch::no_leader,
    "batch-leader-changed": batch::leader_changed,
    "operator-no-certificate": operate::no_certificate,
    "operator-agent-certificate": operate::agent_certificate,
    "apply-no-files": operate::no_files,
    "apply-too-large": operate::too_large,
    "apply-author-too-long": operate::author_too_long,
    "apply-faults": operate::faults,
    "apply-diverged": operate::diverged,
    "token-agent-name": operate::token_agent_name,
    "token-ttl-zero": operate::token_ttl_zero,
    "retire-unknown-agent": operate::retire_unknown_agent,
    "retire-busy": operate::retire_busy,
    "join-wrong-cluster": join::wrong_cluster,
    "join-key-short": join::key_short,
    "join-possession-short": join::possession_short,
    "join-node-name": join::node_name,
    "join-possession-of-other-key": join::possession_of_other_key,
    "join-possession-of-other-address": join::possession_of_other_address,
    "join-certificate-request-damaged": join::request_damaged,
    "join-address-without-port": join::address_without_port,
    "join-address-too-long": join::address_too_long,
    "join-token-id-short": join::token_id_short,
    "join-token-secret-short": join::token_secret_short,
    "join-token-unknown": join::token_unknown,
    "join-token-wrong-secret": join::token_wrong_secret,
    "join-token-expired": join::token_expired,
    "join-token-for-other-node": join::token_for_other_node,
    "join-token-spent": join::token_spent,
    "join-key-of-another": join::key_of_another,
    "join-address-of-another": join::address_of_another,
    "join-member-gone": join::member_gone,
    "join-version-too-low": join::version_too_low,
    "join-peer-ca-missing": join::peer_ca_missing,
    "join-no-leader": join::no_leader,
    "join-diverged": join::diverged,
    "invite-no-certificate": members::invite_no_certificate,
    "invite-agent-certificate": members::invite_agent_certificate,
    "invite-name": members::invite_name,
    "invite-replaces-name": members::invite_replaces_name,
    "invite-ttl-zero": members::invite_ttl_zero,
    "invite-version-too-low": members::invite_version_too_low,
    "invite-member-exists": members::invite_member_exists,
    "invite-replaces-unknown": members::invite_replaces_unknown,
    "invite-replaces-invited": members::invite_replaces_invited,
    "invite-replaces-replaced": members::invite_replaces_replaced,
    "invite-members-full": members::invite_members_full,
    "invite-busy": members::invite_busy,
    "leave-name": members::leave_name,
    "leave-version-too-low": members::leave_version_too_low,
    "leave-not-leader": members::leave_not_leader,
    "leave-unknown": members::leave_unknown,
    "leave-last-voter": members::leave_last_voter,
    "leave-last-majority": members::leave_last_majority,
    "transfer-version-too-low": members::transfer_version_too_low,
    "transfer-unknown": members::transfer_unknown,
    "transfer-not-a-voter": members::transfer_not_a_voter,
    "transfer-not-leader": members::transfer_not_leader,
    "transfer-not-taken": members::transfer_not_taken,
    "members-version-too-low": members::list_version_too_low,
    "members-not-leader": members::list_not_leader,
    "members-diverged": members::list_diverged,
}

#[tokio::test]
async fn every_refusal_says_what_its_golden_file_says() {
    let mut faults = Vec::new();
    for (name, call) in CASES {
        let mut world = World::new().await;
        let told = call(&mut world).await;
        faults.extend(compare(name, &steady(&told)));
        world.has_counted(name, &told);
        world.still_takes_a_good_batch(name).await;
        world.gateway.stop().await;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_golden_file_has_its_case() {
    let known: Vec<String> = CASES.iter().map(|(name, _)| format!("{name}.txt")).collect();
    for file in std::fs::read_dir(golden_dir()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} belongs to no case");
    }
}

impl World {
    async fn new() -> World {
        let mut bench = Bench::new();
        let gateway = bench.open().await;
        let agent = RawAgent::registered(&mut bench, "web-1", 1);
        World { bench, gateway, agent }
    }

    /// The slug in the answer is the slug in the metric.
    fn has_counted(&self, case: &str, told: &str) {
        let Some(slug) = told.lines().find_map(|line| line.strip_prefix("slug: ")) else { return };
        let counts = self.gateway.counters.snapshot();
        let counted =
            counts.keys().any(|(event, name)| *event != Event::Connection && *name == slug);
        assert!(counted, "{case}: answered {slug}, counted {counts:?}");
    }

    async fn still_takes_a_good_batch(&mut self, case: &str) {
        let bystander = RawAgent::registered(&mut self.bench, "bystander", 99);
        let mut stream = RawStream::welcomed(&self.gateway, &self.bench, &bystander).await;
        stream.send_batch(&bystander.batch()).await;
        let answer = stream.next().await;
        assert!(matches!(answer, Ok(Some(In::Ack(_)))), "after {case}: {answer:?}");
        let standing = self.bench.consensus.find(&bystander.name).unwrap();
        assert_eq!(standing.next_seq, 4, "after {case}");
    }

    /// Connects as web-1, sends one batch, tells the answer.
    async fn answer_to(&self, message: Out) -> String {
        let mut stream = RawStream::welcomed(&self.gateway, &self.bench, &self.agent).await;
        stream.send(message).await;
        tell_answer(stream.next().await)
    }

    async fn answer_to_batch(&self, batch: &SealedBatch) -> String {
        self.answer_to(raw_batch(batch.leaf.bytes(), &batch.payload)).await
    }

    /// Opens a stream as web-1 with this first message, which must be refused.
    async fn refused_first(&self, first: Vec<Out>) -> String {
        let opened = RawStream::open(&self.gateway, self.agent.tls(&self.bench), first).await;
        tell(&opened.err().expect("a refusal"))
    }
}

fn tell_answer(answer: Result<Option<In>, Status>) -> String {
    match answer {
        Err(status) => tell(&status),
        Ok(Some(In::Refused(refused))) => {
            let wire::Refused { epoch, seq_first, refusal } = refused;
            let refusal = tell_refusal(&refusal.expect("a refusal inside"));
            format!("answer: refused epoch {epoch} seq {seq_first}\n{refusal}")
        }
        Ok(Some(In::Busy(busy))) => {
            format!("answer: busy\nslug: {}\nretry_after_ms: {}\n", busy.slug, busy.retry_after_ms)
        }
        Ok(other) => format!("answer: {other:?}\n"),
    }
}

/// A refused RPC, as a program and as a person sees it.
fn tell(status: &Status) -> String {
    assert_ne!(status.code(), Code::Ok);
    let said = format!("status: {:?}\nmessage: {}\n", status.code(), status.message());
    said + &Refusal::from_status(status).map_or(String::new(), |refusal| tell_refusal(&refusal))
}

fn tell_refusal(refusal: &Refusal) -> String {
    let action = match refusal.action() {
        wire::Action::ResendFrom => format!("resend from {}", refusal.resend_from_seq),
        other => format!("{other:?}").to_lowercase(),
    };
    let Refusal { slug, expected, got, .. } = refusal;
    format!("slug: {slug}\naction: {action}\nexpected: {expected}\ngot: {got}\n")
}

/// Unix times in milliseconds move with the clock; nothing else may.
fn steady(told: &str) -> String {
    let mut out = String::new();
    let mut rest = told;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let len = rest[at..].bytes().take_while(u8::is_ascii_digit).count();
        let is_word = rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric())
            || rest[at + len..].starts_with(|c: char| c.is_ascii_alphanumeric());
        out += &rest[..at];
        out += match len == 13 && !is_word {
            true => "<time>",
            false => &rest[at..at + len],
        };
        rest = &rest[at + len..];
    }
    out + rest
}

/// The difference to the golden file, if there is one.
fn compare(name: &str, got: &str) -> Option<String> {
    let path = golden_dir().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, got).unwrap();
        return None;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    (expected != got).then(|| format!("{name}: expected\n{expected}got\n{got}"))
}

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/rpc")
}
