//! What replicas send each other: authenticated, and still never trusted to be well formed.

use bytes::Bytes;
use proofmark_aggregator::command::{Command, Entry, Founder, NodeHost, NodeName, Reply};
use proofmark_aggregator::consensus::{MembershipChange, Part, ProposalOutcome, convert};
use proofmark_evidence::{Hash, PublicKey, SigningKey, sha256};
use proofmark_proto::{
    ForwardReply, ForwardRequest, PeerHello, RaftEntry, RaftMessage, RaftMessages,
};
use prost::Message;

use crate::fuzz::law::{message, one_spelling, refused};
use crate::fuzz::{Sample, Target, Verdict, samples};

pub const TARGETS: &[Target] = &[
    Target { name: "raft_messages", judge: raft_messages, samples: raft_samples },
    Target { name: "forward_request", judge: forward_request, samples: forwards },
    Target { name: "forward_reply", judge: forward_reply, samples: replies },
    Target { name: "command", judge: command, samples: commands },
    Target { name: "entry", judge: entry, samples: entries },
    Target { name: "reply", judge: reply, samples: reply_samples },
    Target { name: "outcome", judge: outcome, samples: outcomes },
];

/// A frame as it comes; each message that becomes one of raft's becomes the same frame again.
fn raft_messages(bytes: &[u8]) -> Verdict {
    if let Ok(frame) = RaftMessages::decode(bytes) {
        for message in frame.messages {
            match convert::from_wire(message.clone()) {
                Ok(converted) => assert_eq!(convert::to_wire(converted), message),
                Err(fault) => return refused(&fault),
            }
        }
    }
    message::<RaftMessages>(bytes)
}

fn raft_samples() -> Vec<Sample> {
    let entry = RaftEntry {
        entry_type: 0,
        term: 2,
        index: 8,
        data: entries().remove(0).bytes.into(),
        ..RaftEntry::default()
    };
    let message = |msg_type, entries| RaftMessage {
        msg_type,
        to: 1,
        from: 2,
        term: 2,
        log_term: 1,
        index: 7,
        commit: 6,
        entries,
        ..RaftMessage::default()
    };
    // eraftpb: 3 append, 4 its answer, 5 request vote, 8 heartbeat.
    let frame = |from, messages| RaftMessages { from, messages }.encode_to_vec();
    vec![
        Sample::new("append", frame(Some(hello()), vec![message(3, vec![entry])])),
        Sample::new("answers", frame(None, vec![message(4, vec![]), message(8, vec![])])),
        Sample::new("vote", frame(None, vec![message(5, vec![])])),
    ]
}

fn hello() -> PeerHello {
    PeerHello {
        protocol: 1,
        log_id: samples::origin().log_id().0.to_vec().into(),
        node_id: 2,
        version: "0.1.0".to_owned(),
        ..PeerHello::default()
    }
}

/// The commands inside are judged as the server does.
fn forward_request(bytes: &[u8]) -> Verdict {
    if let Ok(request) = ForwardRequest::decode(bytes) {
        request.commands.iter().for_each(|bytes| drop(command(bytes)));
    }
    message::<ForwardRequest>(bytes)
}

fn forwards() -> Vec<Sample> {
    let commands = commands().into_iter().map(|sample| Bytes::from(sample.bytes));
    let request = ForwardRequest { from: Some(hello()), commands: commands.collect() };
    vec![Sample::new("all-commands", request.encode_to_vec())]
}

fn forward_reply(bytes: &[u8]) -> Verdict {
    if let Ok(reply) = ForwardReply::decode(bytes) {
        reply.outcomes.iter().for_each(|bytes| drop(outcome(bytes)));
    }
    message::<ForwardReply>(bytes)
}

fn replies() -> Vec<Sample> {
    let outcomes = outcomes().into_iter().map(|sample| Bytes::from(sample.bytes));
    let reply = ForwardReply { outcomes: outcomes.collect() };
    vec![Sample::new("all-outcomes", reply.encode_to_vec())]
}

fn command(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, Command::decode(bytes), Command::encode)
}

/// One of each kind.
pub(super) fn every_command() -> Vec<(&'static str, Command)> {
    let [batch, _] = samples::batches();
    let token_id = [1; 16];
    let secret = [2; 16];
    let agent = samples::agent();
    vec![
        (
            "genesis",
            Command::Genesis {
                origin: samples::origin(),
                log_key: samples::log_key().public(),
                nodes: samples::public_nodes(),
            },
        ),
        (
            "create-token",
            Command::CreateToken {
                token_id,
                secret_hash: sha256(&secret),
                agent: Some(agent.clone()),
                expires_at_ms: samples::NOW_MS + 600_000,
            },
        ),
        (
            "enrol",
            Command::Enrol {
                token_id,
                secret,
                agent: agent.clone(),
                key: samples::agent_key().public(),
            },
        ),
        (
            "apply-spec",
            Command::ApplySpec { author: "ann".to_owned(), text: samples::SPEC.to_owned() },
        ),
        ("admit", Command::Admit { leaf: batch.leaf, payload: batch.payload }),
        ("tick", Command::Tick),
        ("seal", Command::Seal { size: 3, root: Hash([3; 32]) }),
        (
            "cosign",
            Command::Cosign {
                node: samples::nodes()[0].0.clone(),
                size: 3,
                root: Hash([3; 32]),
                timestamp_s: samples::NOW_MS / 1000,
                signature: [4; 64],
            },
        ),
        ("retire", Command::Retire { agent }),
        ("raise-version", Command::RaiseVersion { to: 2, founders: founders() }),
        (
            "invite-node",
            Command::InviteNode {
                token_id: [6; 16],
                secret_hash: sha256(&secret),
                name: node_name("a4"),
                replaces: Some(node_name("n2")),
                expires_at_ms: samples::NOW_MS + 3_600_000,
            },
        ),
        (
            "join-node",
            Command::JoinNode {
                token_id: [6; 16],
                secret,
                name: node_name("a4"),
                host: host(SigningKey::from_seed([104; 32]).public()),
            },
        ),
        ("leave-node", Command::LeaveNode { name: node_name("n3") }),
        ("change-nodes", Command::ChangeNodes { change: MembershipChange::one(4, Part::Learner) }),
    ]
}

fn node_name(name: &str) -> NodeName {
    NodeName::parse(name).expect("a label")
}

fn host(key: PublicKey) -> NodeHost {
    NodeHost { key, grpc: "h.example:7443".to_owned(), peers: "h.example:7444".to_owned() }
}

fn founders() -> Vec<Founder> {
    let founder = |(id, (name, key)): (u64, (String, PublicKey))| {
        let name = name.rsplit('/').next().unwrap_or_default();
        Founder { id, name: node_name(name), host: host(key) }
    };
    (1..).zip(samples::public_nodes()).map(founder).collect()
}

fn commands() -> Vec<Sample> {
    let all = every_command().into_iter();
    all.map(|(name, command)| Sample::new(name, command.encode())).collect()
}

fn entry(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, Entry::decode(bytes), Entry::encode)
}

pub(super) fn entries() -> Vec<Sample> {
    let commands = every_command().into_iter().map(|(_, command)| command).collect();
    let entry = Entry { stamped_at_ms: samples::NOW_MS, commands };
    vec![Sample::new("all-commands", entry.encode())]
}

fn reply(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, Reply::decode(bytes), Reply::encode)
}

fn every_reply() -> Vec<(&'static str, Reply)> {
    use proofmark_aggregator::command::Refusal;
    let agent = samples::agent();
    vec![
        ("accepted", Reply::Accepted { seq_end: 300, leaf_index: 7 }),
        ("duplicate", Reply::Duplicate { seq_end: 300, leaf_index: 7 }),
        ("applied", Reply::Applied { revision: 2, effective_at_ms: samples::NOW_MS }),
        ("enrolled", Reply::Enrolled { epoch: 1 }),
        ("done", Reply::Done),
        ("refused-gap", Reply::Refused(Refusal::SequenceGap { expected: 4, got: 7 })),
        ("refused-agent", Reply::Refused(Refusal::UnknownAgent { agent })),
        ("refused-spec", Reply::Refused(Refusal::SpecFaults(vec!["f:1:1: syntax".to_owned()]))),
    ]
}

fn reply_samples() -> Vec<Sample> {
    let all = every_reply().into_iter();
    all.map(|(name, reply)| Sample::new(name, reply.encode())).collect()
}

fn outcome(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, ProposalOutcome::decode(bytes), ProposalOutcome::encode)
}

fn outcomes() -> Vec<Sample> {
    let (_, reply) = every_reply().remove(0);
    let outcomes = [
        ("applied", ProposalOutcome::Applied(reply)),
        ("not-leader", ProposalOutcome::NotLeader { leader: Some(3) }),
        ("lost", ProposalOutcome::Lost),
        ("busy", ProposalOutcome::Busy { retry_after_ms: 50 }),
        ("too-large", ProposalOutcome::TooLarge { bytes_max: 1, bytes: 2 }),
    ];
    outcomes.map(|(name, outcome)| Sample::new(name, outcome.encode())).into()
}
