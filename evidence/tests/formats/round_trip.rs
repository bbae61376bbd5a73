//! What is written is read back the same, and foreign bytes never panic.

use proofmark_evidence::*;
use proptest::prelude::*;

use crate::samples;

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn label() -> impl Strategy<Value = String> {
    "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?"
}

fn line(bytes_max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..bytes_max / 4)
        .prop_map(|chars| chars.into_iter().filter(|c| !c.is_control()).collect())
}

fn time_ms() -> impl Strategy<Value = u64> {
    0..=limits::TIME_MS_MAX
}

fn blob() -> impl Strategy<Value = BlobRef> {
    (hash(), 0..=limits::BLOB_BYTES_MAX as u32).prop_map(|(digest, len)| BlobRef { digest, len })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let agents = UnknownReason::ALL.iter().copied().filter(|reason| reason.is_agents());
    let unknowns: Vec<_> = agents.collect();
    prop_oneof![
        Just(Outcome::Pass),
        proptest::sample::select(FailReason::ALL).prop_map(Outcome::Fail),
        proptest::sample::select(unknowns).prop_map(Outcome::Unknown),
    ]
}

prop_compose! {
    fn result()(
        check_index in 0_u16..3,
        offset_ms in any::<u32>(),
        outcome in outcome(),
        duration_us in any::<u64>(),
        readings in proptest::collection::vec(
            (proptest::sample::select(MeasurementKind::ALL), any::<i64>()), 0..30,
        ),
        detail in line(400),
    ) -> CheckResult {
        let mut result = CheckResult::new(check_index, offset_ms, outcome, &detail);
        result.duration_us = duration_us;
        readings.into_iter().for_each(|(kind, value)| result.measure(kind, value));
        result
    }
}

fn coverage() -> impl Strategy<Value = Coverage> {
    (0_u64..1 << 60, proptest::collection::btree_map(1_u8..9, 1_u64..1 << 50, 0..8)).prop_map(
        |(run, skipped)| {
            let scheduled = run + skipped.values().sum::<u64>();
            let reason = |code| UnknownReason::from_code(code).expect("1 to 8 are reasons");
            let skipped = skipped.into_iter().map(|(code, runs)| (reason(code), runs)).collect();
            Coverage { scheduled, run, skipped }
        },
    )
}

prop_compose! {
    fn draft()(
        log_id in hash(),
        agent in label(),
        epoch in 1..=u64::MAX,
        seq_first in 1..=u64::MAX - 4096,
        base_time_ms in time_ms(),
        table in proptest::collection::btree_map((label(), any::<u64>()), line(255), 3..6),
        coverage in coverage(),
        previous in hash(),
        seen in proptest::option::of((1..=u64::MAX, hash())),
        results in proptest::collection::vec(result(), 1..20),
    ) -> BatchDraft {
        let row = |((check, spec_revision), target): ((String, u64), String)| {
            CheckRef { check: CheckName::parse(&check).unwrap(), spec_revision, target }
        };
        BatchDraft {
            log_id,
            agent: AgentName::parse(&agent).unwrap(),
            epoch,
            seq_first,
            base_time_ms,
            checks: table.into_iter().map(row).collect(),
            coverage,
            previous,
            seen: seen.map(|(size, root)| Seen { size, root }),
            results,
        }
    }
}

prop_compose! {
    fn records()(
        log_id in hash(),
        key_id in hash().prop_map(KeyId),
        numbers in (1..=u64::MAX, time_ms(), 0..=1_000_000_u64),
        author in line(63),
        payload in blob(),
        agent in label().prop_map(|text| AgentName::parse(&text).unwrap()),
        key in any::<[u8; 32]>().prop_map(PublicKey),
        nodes in proptest::collection::btree_map("[!-*,-9;-~]{1,200}", any::<[u8; 32]>(), 1..15),
        decision in proptest::sample::select(DecisionKind::ALL),
    ) -> Vec<Header> {
        let (revision, received_at_ms, lead_ms) = numbers;
        let effective_at_ms = (received_at_ms + lead_ms).min(limits::TIME_MS_MAX);
        let at_ms = received_at_ms;
        let nodes = nodes.into_iter().map(|(name, key)| (name, PublicKey(key))).collect();
        let genesis = KeyChangeKind::Genesis { origin: samples::origin(), log_key: key, nodes };
        let enrol = KeyChangeKind::Enrol { agent: agent.clone(), key, epoch: revision };
        let change = |change| Header::KeyChange(KeyChange { log_id, key_id, at_ms, change });
        vec![
            Header::SpecChange(SpecChange {
                log_id, key_id, revision, received_at_ms, effective_at_ms, author, payload,
            }),
            change(genesis),
            change(enrol),
            change(KeyChangeKind::Retire { agent }),
            change(KeyChangeKind::NodeJoin { node: "log.example.com/n4".to_owned(), key }),
            change(KeyChangeKind::NodeLeave { node: "log.example.com/n4".to_owned() }),
            Header::Decision(Decision { log_id, key_id, at_ms, kind: decision, payload }),
        ]
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn results_come_back(result in result()) {
        let bytes = result.encode();
        prop_assert!(bytes.len() <= limits::RESULT_BYTES_MAX);
        prop_assert_eq!(CheckResult::decode(&bytes), Ok(result));
    }

    #[test]
    fn batches_come_back(draft in draft()) {
        let key = samples::agent_key();
        let sealed = draft.clone().seal(&key).unwrap();
        let received = SealedBatch {
            leaf: Leaf::parse(sealed.leaf.bytes()).unwrap(),
            payload: sealed.payload.clone(),
        };
        prop_assert_eq!(received.leaf.verify(&key.public()), Ok(()));
        let open = received.open().unwrap();
        prop_assert_eq!(open.header.encode(), sealed.leaf.header_bytes());
        prop_assert_eq!(open.header.seq_end(), draft.seq_first + draft.results.len() as u64);
        prop_assert_eq!(&open.header.checks, &draft.checks);
        prop_assert_eq!(&open.header.coverage, &draft.coverage);
        prop_assert_eq!(open.results, draft.results);
    }

    #[test]
    fn records_come_back(headers in records()) {
        for header in headers {
            let bytes = header.encode();
            prop_assert_eq!(Header::decode(header.kind(), &bytes), Ok(header));
        }
    }

    /// Readers take any bytes; what they accept is the one spelling of it.
    #[test]
    fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_any_bytes(&bytes);
    }

    /// The same, with bytes that get further before they go wrong.
    #[test]
    fn damaged_bytes_never_panic(
        which in 0_usize..6,
        at in any::<proptest::sample::Index>(),
        with in proptest::collection::vec(any::<u8>(), 0..12),
        skip in 0_usize..12,
    ) {
        let leaf = samples::leaves()[which].1.clone();
        let (head, tail) = leaf.bytes().split_at(at.index(leaf.bytes().len()));
        check_any_bytes(&[head, &with, &tail[skip.min(tail.len())..]].concat());
        let (head, tail) = leaf.header_bytes().split_at(at.index(leaf.header_bytes().len()));
        check_any_bytes(&[head, &with, &tail[skip.min(tail.len())..]].concat());
    }
}

fn check_any_bytes(bytes: &[u8]) {
    for kind in LeafKind::ALL {
        if let Ok(header) = Header::decode(*kind, bytes) {
            assert_eq!(header.encode(), bytes);
        }
    }
    if let Ok(result) = CheckResult::decode(bytes) {
        assert_eq!(result.encode(), bytes);
    }
    if let Ok(rows) = CoverageRow::decode_all(bytes) {
        assert_eq!(CoverageRow::encode_all(&rows), bytes);
    }
    if let Ok(leaf) = Leaf::parse(bytes) {
        let _ = (leaf.header(), leaf.key_id(), leaf.verify(&samples::agent_key().public()));
        let _ = SealedBatch { leaf, payload: bytes.into() }.open();
    }
    let _ = split_results(bytes);
}
