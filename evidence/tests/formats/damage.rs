//! Whatever is done to the bytes is found.

use proofmark_evidence::*;

use crate::samples;

fn key_of(leaf: &Leaf) -> PublicKey {
    match leaf.kind() {
        LeafKind::Batch => samples::agent_key().public(),
        _ => samples::log_key().public(),
    }
}

/// All that a reader of one leaf does.
fn check_leaf(bytes: &[u8], key: &PublicKey) -> Result<Header, LeafFault> {
    let leaf = Leaf::parse(bytes)?;
    leaf.verify(key)?;
    leaf.header()
}

#[test]
fn an_untouched_leaf_holds() {
    for (name, leaf) in samples::leaves() {
        let header = check_leaf(leaf.bytes(), &key_of(&leaf)).expect(name);
        assert_eq!(header.encode(), leaf.header_bytes(), "{name}");
    }
}

#[test]
fn every_flipped_bit_of_a_leaf_is_found() {
    for (name, leaf) in samples::leaves() {
        let key = key_of(&leaf);
        for bit in 0..leaf.bytes().len() * 8 {
            let mut bytes = leaf.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(check_leaf(&bytes, &key).is_err(), "{name}: bit {bit} flipped");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_payload_is_found() {
    let sealed = samples::sealed();
    for bit in 0..sealed.payload.len() * 8 {
        let mut payload = sealed.payload.to_vec();
        payload[bit / 8] ^= 1 << (bit % 8);
        let damaged = SealedBatch { leaf: sealed.leaf.clone(), payload: payload.into() };
        assert_eq!(damaged.open().map_err(|fault| fault.slug()), Err("payload_digest"));
    }
}

/// The strict readers alone, without a signature's help: a header has one spelling, so bytes
/// that read as something else must encode to themselves, never back to the original.
#[test]
fn a_flipped_bit_of_a_header_never_reads_as_the_same_header() {
    for (name, leaf) in samples::leaves() {
        let original = leaf.header().expect(name);
        for bit in 0..leaf.header_bytes().len() * 8 {
            let mut bytes = leaf.header_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = Header::decode(leaf.kind(), &bytes) {
                assert_eq!(read.encode(), bytes, "{name}: bit {bit}");
                assert_ne!(read, original, "{name}: bit {bit}");
            }
        }
    }
}

/// Every shorter and every longer form of something is refused.
fn check_length_is_exact(name: &str, bytes: &[u8], reads: impl Fn(&[u8]) -> bool) {
    assert!(reads(bytes), "{name}");
    for len in 0..bytes.len() {
        assert!(!reads(&bytes[..len]), "{name} cut to {len} bytes");
    }
    for more in [0, 1, 0x80] {
        assert!(!reads(&[bytes, &[more]].concat()), "{name} with a byte {more} more");
    }
}

#[test]
fn nothing_may_be_cut_off_or_added() {
    for (name, leaf) in samples::leaves() {
        let kind = leaf.kind();
        check_length_is_exact(name, leaf.header_bytes(), |b| Header::decode(kind, b).is_ok());
        check_length_is_exact(name, leaf.bytes(), |b| check_leaf(b, &key_of(&leaf)).is_ok());
    }
    for result in [samples::pass(), samples::fail(), samples::skipped()] {
        check_length_is_exact("result", &result.encode(), |b| CheckResult::decode(b).is_ok());
    }
    let rows = CoverageRow::encode_all(&samples::coverage_rows());
    check_length_is_exact("coverage rows", &rows, |b| CoverageRow::decode_all(b).is_ok());
    let payload = samples::sealed().payload;
    let opens = |b: &[u8]| split_results(b).is_ok_and(|results| results.len() == 3);
    check_length_is_exact("payload", &payload, opens);
}

#[test]
fn a_leaf_does_not_hold_for_another_key_or_kind() {
    let leaf = samples::sealed().leaf;
    let slug = |result: Result<(), LeafFault>| result.map_err(|fault| fault.slug());
    assert_eq!(slug(leaf.verify(&samples::log_key().public())), Err("leaf_key_id"));
    // The same header and signature under another kind: the type is part of what was signed.
    let mut bytes = leaf.bytes().to_vec();
    bytes[1] = LeafKind::SpecChange.code();
    let other = Leaf::parse(bytes).expect("the envelope itself is well formed");
    assert_eq!(slug(other.verify(&samples::agent_key().public())), Err("signature_invalid"));
}

#[test]
fn envelopes_are_refused_by_name() {
    let with = |version: u8, kind: u8, len: usize| {
        let mut bytes = vec![0; len];
        bytes[..2].copy_from_slice(&[version, kind]);
        Leaf::parse(bytes).map_err(|fault| fault.slug())
    };
    assert!(with(1, 1, 67).is_ok());
    for (version, kind, len, expect) in [
        (1, 1, 66, "leaf_too_short"),
        (1, 1, 4097, "leaf_too_large"),
        (0, 1, 67, "leaf_version"),
        (2, 1, 67, "leaf_version"),
        (1, 0, 67, "leaf_kind"),
        (1, 5, 67, "not_supported_yet"),
        (1, 6, 67, "not_supported_yet"),
        (1, 7, 67, "leaf_kind"),
    ] {
        assert_eq!(with(version, kind, len), Err(expect), "version {version} kind {kind}");
    }
    assert_eq!(Leaf::parse(Vec::new()).map_err(|fault| fault.slug()), Err("leaf_too_short"));
}

#[test]
fn nothing_is_sealed_that_could_not_be_opened() {
    let key = samples::agent_key();
    let header = samples::sealed().leaf.header_bytes().to_vec();
    let seal = |kind, header: &[u8], key: &SigningKey| {
        Leaf::seal(kind, header, key).map(drop).map_err(|fault| fault.slug())
    };
    assert_eq!(seal(LeafKind::Batch, &header, &key), Ok(()));
    assert_eq!(seal(LeafKind::Batch, &header, &samples::log_key()), Err("leaf_key_id"));
    assert_eq!(seal(LeafKind::Decision, &header, &key), Err("leaf_header"));
    assert_eq!(seal(LeafKind::Batch, &header[1..], &key), Err("leaf_header"));
    assert_eq!(seal(LeafKind::Batch, &[], &key), Err("leaf_too_short"));
    assert_eq!(seal(LeafKind::Batch, &[0; 4096], &key), Err("leaf_too_large"));
}
