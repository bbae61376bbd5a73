//! One of each, small enough to be read in hex.

use proofmark_evidence::*;

pub fn agent_key() -> SigningKey {
    SigningKey::from_seed([7; 32])
}

pub fn log_key() -> SigningKey {
    SigningKey::from_seed([9; 32])
}

pub fn origin() -> Origin {
    Origin::parse("log.example.com/fleet").unwrap()
}

pub fn agent() -> AgentName {
    AgentName::parse("web-1").unwrap()
}

pub fn check() -> CheckName {
    CheckName::parse("home").unwrap()
}

pub fn pass() -> CheckResult {
    let mut result = CheckResult::new(0, 1000, Outcome::Pass, "");
    result.duration_us = 12_345;
    result.measure(MeasurementKind::ConnectUs, 4_000);
    result.measure(MeasurementKind::StartLagUs, 150);
    result
}

pub fn fail() -> CheckResult {
    let outcome = Outcome::Fail(FailReason::HttpStatus);
    let mut result = CheckResult::new(0, 2000, outcome, "expected 200, got 503");
    result.duration_us = 9;
    result.measure(MeasurementKind::CertificateExpiryS, -1);
    result
}

pub fn skipped() -> CheckResult {
    CheckResult::new(0, 3000, Outcome::Unknown(UnknownReason::SkippedOverrun), "")
}

pub fn draft() -> BatchDraft {
    BatchDraft {
        log_id: origin().log_id(),
        agent: agent(),
        epoch: 1,
        seq_first: 300,
        base_time_ms: 1_763_600_000_000,
        checks: vec![CheckRef {
            check: check(),
            spec_revision: 2,
            target: "https://example.com/".to_owned(),
        }],
        coverage: Coverage {
            scheduled: 3,
            run: 2,
            skipped: vec![(UnknownReason::SkippedOverrun, 1)],
        },
        previous: sha256(b"the batch before"),
        seen: Some(Seen { size: 70_000, root: sha256(b"the tree then") }),
        results: vec![pass(), fail(), skipped()],
    }
}

pub fn sealed() -> SealedBatch {
    draft().seal(&agent_key()).unwrap()
}

pub fn spec_change() -> SpecChange {
    SpecChange {
        log_id: origin().log_id(),
        key_id: log_key().key_id(),
        revision: 2,
        received_at_ms: 1_763_600_000_000,
        effective_at_ms: 1_763_600_005_000,
        author: "ada".to_owned(),
        payload: BlobRef::of(b"kind: Check\n"),
    }
}

pub fn key_change(change: KeyChangeKind) -> KeyChange {
    KeyChange {
        log_id: origin().log_id(),
        key_id: log_key().key_id(),
        at_ms: 1_763_600_000_000,
        change,
    }
}

pub fn genesis() -> KeyChangeKind {
    KeyChangeKind::Genesis {
        origin: origin(),
        log_key: log_key().public(),
        nodes: vec![
            ("log.example.com/fleet/n1".to_owned(), PublicKey([1; 32])),
            ("log.example.com/fleet/n2".to_owned(), PublicKey([2; 32])),
        ],
    }
}

pub fn enrol() -> KeyChangeKind {
    KeyChangeKind::Enrol { agent: agent(), key: agent_key().public(), epoch: 1 }
}

pub fn retire() -> KeyChangeKind {
    KeyChangeKind::Retire { agent: agent() }
}

pub fn coverage_rows() -> Vec<CoverageRow> {
    let row = |change, check| CoverageRow {
        check: CheckName::parse(check).unwrap(),
        agent: agent(),
        change,
        since_ms: 1_763_600_000_000,
    };
    vec![row(SilenceChange::Silent, "api"), row(SilenceChange::Heard, "home")]
}

pub fn decision() -> Decision {
    Decision {
        log_id: origin().log_id(),
        key_id: log_key().key_id(),
        at_ms: 1_763_600_060_000,
        kind: DecisionKind::Coverage,
        payload: BlobRef::of(&CoverageRow::encode_all(&coverage_rows())),
    }
}

/// Every header kind, sealed by the key it names.
pub fn leaves() -> Vec<(&'static str, Leaf)> {
    let log = |kind, header: Vec<u8>| Leaf::seal(kind, &header, &log_key()).unwrap();
    vec![
        ("batch", sealed().leaf),
        ("spec_change", log(LeafKind::SpecChange, spec_change().encode())),
        ("genesis", log(LeafKind::KeyChange, key_change(genesis()).encode())),
        ("enrol", log(LeafKind::KeyChange, key_change(enrol()).encode())),
        ("retire", log(LeafKind::KeyChange, key_change(retire()).encode())),
        ("decision", log(LeafKind::Decision, decision().encode())),
    ]
}

pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
