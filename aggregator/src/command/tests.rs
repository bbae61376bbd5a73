//! Every command, entry, reply and refusal comes back from its bytes as it was.

use proofmark_evidence::{
    BatchDraft, CheckName, CheckRef, CheckResult, Coverage, KeyId, Outcome, SealedBatch,
    SigningKey, sha256,
};

use super::*;
use crate::consensus::membership::Part;

fn agent(name: &str) -> AgentName {
    AgentName::parse(name).unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn sealed_batch() -> SealedBatch {
    let check = CheckName::parse("home").unwrap();
    let draft = BatchDraft {
        log_id: Hash::ZERO,
        agent: agent("web-1"),
        epoch: 1,
        seq_first: 1,
        base_time_ms: 1_700_000_000_000,
        checks: vec![CheckRef { check, spec_revision: 1, target: "https://x/".to_owned() }],
        coverage: Coverage { scheduled: 1, run: 1, skipped: Vec::new() },
        previous: Hash::ZERO,
        seen: None,
        results: vec![CheckResult {
            check_index: 0,
            offset_ms: 0,
            outcome: Outcome::Pass,
            duration_us: 1_000,
            measurements: Vec::new(),
            detail: String::new(),
        }],
    };
    draft.seal(&key(1)).unwrap()
}

fn commands() -> Vec<Command> {
    let SealedBatch { leaf, payload } = sealed_batch();
    let origin = Origin::parse("proofmark.test/log").unwrap();
    let nodes = vec![("proofmark.test/n1".to_owned(), key(2).public())];
    vec![
        Command::Genesis { origin, log_key: key(3).public(), nodes },
        Command::Admit { leaf, payload },
        Command::ApplySpec { author: "ops".to_owned(), text: "kind: Check\n".to_owned() },
        Command::CreateToken {
            token_id: [7; 16],
            secret_hash: sha256(b"secret"),
            agent: Some(agent("web-1")),
            expires_at_ms: 1_700_000_000_000,
        },
        Command::CreateToken {
            token_id: [8; 16],
            secret_hash: Hash::ZERO,
            agent: None,
            expires_at_ms: 0,
        },
        Command::Enrol {
            token_id: [7; 16],
            secret: [9; 16],
            agent: agent("web-1"),
            key: key(4).public(),
        },
        Command::Retire { agent: agent("web-1") },
        Command::Tick,
        Command::Seal { size: 300, root: sha256(b"root") },
        Command::Cosign {
            node: "proofmark.test/n1".to_owned(),
            size: 300,
            root: sha256(b"root"),
            timestamp_s: 1_700_000_000,
            signature: [5; 64],
        },
        Command::RaiseVersion {
            to: 2,
            founders: vec![Founder { id: 1, name: node("n1"), host: host(2) }],
        },
        Command::InviteNode {
            token_id: [7; 16],
            secret_hash: sha256(b"secret"),
            name: node("n4"),
            replaces: Some(node("n1")),
            expires_at_ms: 1_700_000_000_000,
        },
        Command::JoinNode { token_id: [7; 16], secret: [9; 16], name: node("n4"), host: host(4) },
        Command::LeaveNode { name: node("n1") },
        Command::ChangeNodes {
            change: MembershipChange { changes: vec![(4, Part::Voter), (1, Part::Learner)] },
        },
    ]
}

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn host(seed: u8) -> NodeHost {
    NodeHost { key: key(seed).public(), grpc: "a:1".to_owned(), peers: "a:2".to_owned() }
}

pub(super) fn refusals() -> Vec<Refusal> {
    let (a, b) = (sha256(b"a"), sha256(b"b"));
    let web = agent("web-1");
    vec![
        Refusal::NotInitialised,
        Refusal::SequenceGap { expected: 4, got: 9 },
        Refusal::ClockAhead { limit_ms: 60_000, got_ms: 61_000 },
        Refusal::UnknownAgent { agent: web.clone() },
        Refusal::RetiredAgent { agent: web.clone() },
        Refusal::WrongKey { expected: KeyId(a), got: KeyId(b) },
        Refusal::WrongLog { expected: a, got: b },
        Refusal::WrongEpoch { expected: 2, got: 1 },
        Refusal::SequenceFork { seq: 5, expected: a, got: b },
        Refusal::PreviousMismatch { expected: a, got: b },
        Refusal::BatchMalformed { fault: "count".to_owned() },
        Refusal::TokenUnknown,
        Refusal::TokenSpent,
        Refusal::TokenExpired { expired_at_ms: 10, now_ms: 20 },
        Refusal::TokenForOtherAgent { expected: web.clone(), got: agent("web-2") },
        Refusal::AgentExists { agent: web.clone() },
        Refusal::KeyExists { agent: web },
        Refusal::AlreadyInitialised,
        Refusal::GenesisMalformed { fault: "no nodes".to_owned() },
        Refusal::AgentsFull { limit: 3 },
        Refusal::TokenExists,
        Refusal::TokensFull { limit: 3 },
        Refusal::AuthorMalformed { limit_bytes: 63, got_bytes: 64 },
        Refusal::SpecFaults(vec!["a.yaml:1:1: x".to_owned(), "b.yaml:2:2: y".to_owned()]),
        Refusal::SpecsFull { limit_bytes: 1, got_bytes: 2 },
        Refusal::SealSize { expected: 8, got: 9 },
        Refusal::CosignNode { node: "n9".to_owned() },
        Refusal::CosignStale { expected: 8, got: 7 },
        Refusal::KeyWeak,
        Refusal::CosignSignature { node: "n9".to_owned() },
        Refusal::VersionTooLow { expected: 2, got: 1 },
        Refusal::MemberExists { name: "n1".to_owned() },
        Refusal::NoSuchMember { name: "n9".to_owned() },
        Refusal::MemberGone { name: "n1".to_owned() },
        Refusal::MembersFull { limit: 15 },
        Refusal::NotReplaceable { name: "n1".to_owned(), got: "learner".to_owned() },
        Refusal::LastVoter { name: "n1".to_owned() },
        Refusal::NodeKeyExists { name: "n1".to_owned() },
        Refusal::NodeAddressExists { address: "a:1".to_owned(), name: "n1".to_owned() },
        Refusal::VersionStep { expected: 2, got: 3 },
        Refusal::FoundersMalformed { fault: "other nodes".to_owned() },
        Refusal::ChangeNotDue,
        Refusal::ChangeMisplaced,
        Refusal::TokenForOtherNode { expected: "n4".to_owned(), got: "n5".to_owned() },
    ]
}

fn replies() -> Vec<Reply> {
    let plain = [
        Reply::Accepted { seq_end: 12, leaf_index: 3 },
        Reply::Duplicate { seq_end: 12, leaf_index: 3 },
        Reply::Applied { revision: 2, effective_at_ms: 5_000 },
        Reply::TokenCreated,
        Reply::Enrolled { epoch: 1 },
        Reply::Retired,
        Reply::Done,
        Reply::NodeInvited { id: 4 },
        Reply::NodeJoined { id: 4 },
    ];
    plain.into_iter().chain(refusals().into_iter().map(Reply::Refused)).collect()
}

#[test]
fn every_command_comes_back_and_no_shortened_or_lengthened_one_does() {
    for command in commands() {
        let bytes = command.encode();
        assert_eq!(Command::decode(&bytes).as_ref(), Ok(&command));
        check_strict(&bytes, |bytes| Command::decode(bytes).is_err(), command.slug());
    }
}

#[test]
fn every_reply_comes_back_and_no_shortened_or_lengthened_one_does() {
    for reply in replies() {
        let bytes = reply.encode();
        assert_eq!(Reply::decode(&bytes).as_ref(), Ok(&reply));
        check_strict(&bytes, |bytes| Reply::decode(bytes).is_err(), &format!("{reply:?}"));
    }
}

fn check_strict(bytes: &[u8], refused: impl Fn(&[u8]) -> bool, what: &str) {
    for len in 0..bytes.len() {
        assert!(refused(&bytes[..len]), "{what} cut to {len} bytes was taken");
    }
    assert!(refused(&[bytes, &[0]].concat()), "{what} with a trailing byte was taken");
    let newer = [&[COMMAND_VERSION + 1], &bytes[1..]].concat();
    assert!(refused(&newer), "{what} of a newer version was taken");
}

/// One spelling each: whatever a flipped bit still decodes to, it encodes to the same bytes.
#[test]
fn a_flipped_bit_is_refused_or_is_another_command_in_full() {
    for command in commands() {
        let bytes = command.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Command::decode(&flipped) {
                assert_ne!(other, command);
                assert_eq!(other.encode(), flipped, "{} with bit {bit}", command.slug());
            }
        }
    }
}

#[test]
fn an_entry_is_its_commands_under_one_stamp() {
    let entry = Entry { stamped_at_ms: 1_700_000_000_123, commands: commands() };
    let bytes = entry.encode();
    assert_eq!(Entry::decode(&bytes).as_ref(), Ok(&entry));
    let encoded: Vec<_> = entry.commands.iter().map(Command::encode).collect();
    assert_eq!(Entry::pack(entry.stamped_at_ms, &encoded), bytes);
    check_strict(&bytes, |bytes| Entry::decode(bytes).is_err(), "entry");
}

#[test]
fn slugs_and_codes_of_refusals_are_all_different() {
    let mut slugs: Vec<_> = refusals().iter().map(Refusal::slug).collect();
    slugs.sort_unstable();
    slugs.dedup();
    assert_eq!(slugs.len(), refusals().len());
}

#[test]
fn a_refusal_says_who_must_act_and_why() {
    #[track_caller]
    fn check(refusal: Refusal, action: Action, text: &str) {
        assert_eq!(refusal.action(), action);
        assert_eq!(refusal.to_string(), text);
    }
    check(
        Refusal::SequenceGap { expected: 4, got: 9 },
        Action::ResendFrom { seq: 4 },
        "sequence_gap: expected 4, got 9",
    );
    check(
        Refusal::ClockAhead { limit_ms: 60_000, got_ms: 61_000 },
        Action::Retry,
        "clock_ahead: expected at most 60000 ms ahead, got 61000 ms ahead",
    );
    check(
        Refusal::UnknownAgent { agent: agent("web-1") },
        Action::Stop,
        "unknown_agent: expected an enrolled agent, got web-1",
    );
    check(
        Refusal::TokenSpent,
        Action::Stop,
        "token_spent: expected an unused token, or the name and key that used it, \
         got a token that another name or key used",
    );
    for refusal in refusals() {
        let says_both = !refusal.expected().is_empty() && !refusal.got().is_empty();
        assert!(says_both, "{refusal}");
    }
    check(
        Refusal::SealSize { expected: 8, got: 9 },
        Action::Drop,
        "seal_size: expected above the newest seal and at most 8, got 9",
    );
}
