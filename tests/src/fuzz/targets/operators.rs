//! What people write: specs, configurations, tokens, and what they ask for.

use std::str::FromStr as _;

use proofmark_proto::{ApplyRequest, CreateTokenRequest, JoinToken, RetireAgentRequest, SpecFile};
use proofmark_spec::{Documents, Faults, Source};
use prost::Message;

use crate::fuzz::law::{message, one_meaning, refused, text};
use crate::fuzz::{Sample, Target, Verdict, samples};

pub const TARGETS: &[Target] = &[
    Target { name: "spec_yaml", judge: spec_yaml, samples: specs },
    Target { name: "agent_config", judge: agent_config, samples: agent_configs },
    Target { name: "aggregator_config", judge: aggregator_config, samples: aggregator_configs },
    Target { name: "join_token", judge: join_token, samples: tokens },
    Target { name: "apply_request", judge: apply_request, samples: applies },
    Target { name: "operator_requests", judge: operator_requests, samples: requests },
];

/// Documents differ from themselves in nothing, say the same when written anew, and stay what they
/// are when put in force twice. A fault names a place in the text.
fn spec_yaml(bytes: &[u8]) -> Verdict {
    let text = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(text) => text,
    };
    let documents = match parsed(text) {
        Err(faults) => return named_places(text, &faults),
        Ok(documents) => documents,
    };
    same(&documents, &documents, "itself");
    let written = documents.to_yaml();
    let again = parsed(&written).unwrap_or_else(|faults| panic!("{written}\nrefused: {faults}"));
    same(&documents, &again, "what was written of it");
    assert_eq!(again.to_yaml(), written, "written once more");
    same(&documents, &documents.merge(&again), "itself put in force twice");
    match documents.resolve() {
        Ok(()) => Verdict::Taken,
        Err(faults) => named_places(text, &faults),
    }
}

fn parsed(text: &str) -> Result<Documents, Faults> {
    proofmark_spec::parse(&[Source { file: "f", text }])
}

fn same(one: &Documents, other: &Documents, what: &str) {
    assert_eq!(one, other, "differs from {what}");
    let diff = proofmark_spec::diff(one, other);
    assert!(diff.iter().all(|line| line.starts_with('=')), "differs from {what}: {diff:?}");
}

/// Every fault stands at a line and column that an editor can go to.
fn named_places(text: &str, faults: &Faults) -> Verdict {
    assert!(!faults.is_empty(), "refused, and nothing wrong");
    // A carriage return by itself ends a line too, as YAML and editors have it.
    let lines = text.split(['\n', '\r']).count();
    for fault in faults.iter() {
        assert!((1..=lines + 1).contains(&(fault.line as usize)), "{fault} of {lines} lines");
        assert!(fault.column >= 1, "{fault}");
        assert!(!fault.expected.is_empty() && !fault.slug.as_str().is_empty(), "{fault}");
    }
    Verdict::Refused(faults.iter().next().expect("one").slug.as_str().to_owned())
}

fn specs() -> Vec<Sample> {
    vec![Sample::new("small", samples::SPEC)]
}

fn agent_config(bytes: &[u8]) -> Verdict {
    let text = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(text) => text,
    };
    match proofmark_agent::Config::parse(text, "f") {
        Err(faults) => named_places(text, &faults),
        Ok(config) => {
            assert!(!config.aggregators.is_empty(), "an agent without an aggregator");
            Verdict::Taken
        }
    }
}

fn agent_configs() -> Vec<Sample> {
    let text = "name: web-1\ndata_dir: /var/lib/proofmark-agent\n\
        aggregators: ['a.example:7443', 'b.example:7443']\njoin_token_file: /run/token\n\
        admin: 127.0.0.1:9101\nbatch_age_ms_max: 1000\nlog_format: json\n";
    vec![Sample::new("whole", text)]
}

fn aggregator_config(bytes: &[u8]) -> Verdict {
    let text = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(text) => text,
    };
    match proofmark_aggregator::config::Config::parse(text, "f") {
        Err(faults) => named_places(text, &faults),
        Ok(config) => {
            assert!(config.nodes.iter().any(|node| node.name == config.node), "not one of its own");
            Verdict::Taken
        }
    }
}

fn aggregator_configs() -> Vec<Sample> {
    let nodes = "nodes:\n\
        - {id: 1, name: a, grpc: 'a.example:7443', peers: 'a.example:7444'}\n\
        - {id: 2, name: b, grpc: 'b.example:7443', peers: 'b.example:7444'}\n\
        - {id: 3, name: c, grpc: 'c.example:7443', peers: 'c.example:7444'}\n";
    let own = "node: a\norigin: proofmark.test/log\ndata_dir: /var/lib/proofmark\n\
        listen: {grpc: '0.0.0.0:7443', peers: '0.0.0.0:7444', http: '127.0.0.1:8080'}\n";
    vec![Sample::new("three-nodes", format!("{own}{nodes}"))]
}

fn join_token(bytes: &[u8]) -> Verdict {
    let text = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(text) => text,
    };
    let parse = |bytes: &[u8]| JoinToken::from_str(std::str::from_utf8(bytes).expect("text again"));
    if let Err(fault) = parse(bytes) {
        let secret = text.get(20..40).filter(|part| part.is_ascii());
        let shown = secret.is_some_and(|secret| fault.to_string().contains(secret));
        let is_address = matches!(fault, proofmark_proto::TokenFault::Address { .. });
        assert!(!shown || is_address, "a refusal shows the token: {fault}");
    }
    one_meaning(bytes, parse, |token| token.to_string().into())
}

fn tokens() -> Vec<Sample> {
    let bare =
        JoinToken { id: [1; 16], secret: [2; 16], ca_sha256: [3; 32], addresses: Vec::new() };
    let addresses = vec!["agg-1.example.com:7443".to_owned(), "[::1]:7443".to_owned()];
    let addressed = JoinToken { addresses, ..bare.clone() };
    vec![Sample::new("bare", bare.to_string()), Sample::new("addressed", addressed.to_string())]
}

fn apply_request(bytes: &[u8]) -> Verdict {
    message::<ApplyRequest>(bytes)
}

fn applies() -> Vec<Sample> {
    let file = SpecFile { name: "web.yaml".to_owned(), text: "kind: Check\n".to_owned() };
    let author = "ann".to_owned();
    let request = ApplyRequest { files: vec![file], dry_run: true, author };
    vec![Sample::new("one-file", request.encode_to_vec())]
}

/// The small requests, each read as every other: protobuf does not say which it is.
fn operator_requests(bytes: &[u8]) -> Verdict {
    let token = message::<CreateTokenRequest>(bytes);
    let retire = message::<RetireAgentRequest>(bytes);
    match [token, retire].contains(&Verdict::Taken) {
        true => Verdict::Taken,
        false => refused(&"neither request"),
    }
}

fn requests() -> Vec<Sample> {
    let agent = "web-1".to_owned();
    let token = CreateTokenRequest { agent: agent.clone(), ttl_s: 600 };
    let retire = RetireAgentRequest { agent };
    vec![
        Sample::new("create-token", token.encode_to_vec()),
        Sample::new("retire", retire.encode_to_vec()),
    ]
}
