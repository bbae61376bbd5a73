//! Each format's bytes, as they were when version 1 was fixed. A difference here is a change of
//! format: it needs a new schema number, not a new golden line.
//!
//! The hex was not printed by this crate: a second encoder wrote it from FORMATS.md alone.

use proofmark_evidence::CoverageRow;

use crate::samples::{self, to_hex};

/// How every header here begins: schema, log id, and the id of the agent's or the log's key.
const BY_AGENT: &str = concat!(
    "01131b5f1620217bdbe7d8d4b0778369e8633ffcd09bb5f7249175a3372b82f0fbfe812c12f3ab4c",
    "e6ac5db69ac352f906cb1b11ef43fb33e252ef7ff552263889",
);
const BY_LOG: &str = concat!(
    "01131b5f1620217bdbe7d8d4b0778369e8633ffcd09bb5f7249175a3372b82f0fbdbc298251c5132",
    "1b7266e78d1c151c2b62aff8cb95b293096d3463018544face",
);

fn check(name: &str, bytes: &[u8], expect: &[&str]) {
    assert_eq!(to_hex(bytes), expect.concat(), "the bytes of {name} changed");
}

#[test]
fn results() {
    check("pass", &samples::pass().encode(), &["00e80700b9600201ac0203c03e"]);
    check(
        "fail",
        &samples::fail().encode(),
        &["00d00f010d09010901156578706563746564203230302c20676f7420353033"],
    );
    check(
        "skipped",
        &samples::skipped().encode(),
        &["00b817020100000f736b69707065645f6f76657272756e"],
    );
}

#[test]
fn payloads() {
    check(
        "results",
        &samples::sealed().payload,
        &[
            "000d00e80700b9600201ac0203c03e001f00d00f010d09010901156578706563746564203230302c",
            "20676f7420353033001700b817020100000f736b69707065645f6f76657272756e",
        ],
    );
    let rows = CoverageRow::encode_all(&samples::coverage_rows());
    check(
        "coverage rows",
        &rows,
        &["010203617069057765622d310180c881f6a93304686f6d65057765622d310280c881f6a933"],
    );
}

#[test]
fn headers() {
    check(
        "batch",
        samples::sealed().leaf.header_bytes(),
        &[
            BY_AGENT,
            "057765622d3101ac020380c881f6a9330104686f6d65021468747470733a2f2f6578616d706c652e",
            "636f6d2f03020101011039a5ccc51a39a36206a4d881dd729b79ee316b870bb7fb4995ad1a19956b",
            "be03fc1144e3508c5fcead453a2443cdaee318dbd6f1d7d999300e59e4c9f048c82dcd5acb3a3d72",
            "8d948dcab0ebafc3d70b80a80500624c0651bd9c8c7679f3c04901f0a204605132a2f6479f93f8b7",
            "f73d780aebae3a5edcd723866e49ea2ecffa1fd49d65",
        ],
    );
    check(
        "spec change",
        &samples::spec_change().encode(),
        &[
            BY_LOG,
            "0280c881f6a93388ef81f6a933036164613f777bb2f7bd8125c3f623f8150a1d902c48a10883da49",
            "c02111137310a21be00c",
        ],
    );
    check(
        "genesis",
        &samples::key_change(samples::genesis()).encode(),
        &[
            BY_LOG,
            "80c881f6a93301156c6f672e6578616d706c652e636f6d2f666c656574fd1724385aa0c75b64fb78",
            "cd602fa1d991fdebf76b13c58ed702eac835e9f61802186c6f672e6578616d706c652e636f6d2f66",
            "6c6565742f6e31010101010101010101010101010101010101010101010101010101010101010118",
            "6c6f672e6578616d706c652e636f6d2f666c6565742f6e3202020202020202020202020202020202",
            "02020202020202020202020202020202",
        ],
    );
    check(
        "enrol",
        &samples::key_change(samples::enrol()).encode(),
        &[
            BY_LOG,
            "80c881f6a93302057765622d31ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea",
            "691446d22c01",
        ],
    );
    check(
        "retire",
        &samples::key_change(samples::retire()).encode(),
        &[BY_LOG, "80c881f6a93303057765622d31"],
    );
    check(
        "decision",
        &samples::decision().encode(),
        &[
            BY_LOG,
            "e09c85f6a9330114bfa60ecb95308f6ed7fbdd26d3176fd843abe85a4b5ce31555ad59f14697cb25",
        ],
    );
}

/// Ed25519 is deterministic: the same seed and header give the same leaf for ever.
#[test]
fn leaves() {
    let hashes = [
        ("batch", "7d58a22bd4169dd8ef03c81de3ae2e747eeee7326321e9492caf42c43c4cffe2"),
        ("spec_change", "daeb51389cc56d479ec65c9029702ace4315d9f4fad20316dce47d5349297653"),
        ("genesis", "975082780a43049dc756b1e05aed81f502e71de4194775f0732b5ae992c05a2d"),
        ("enrol", "bc0839609aa7612bc1cfa0c104db627a6780c5ccb0dc8c9a02fc54588f027a66"),
        ("retire", "0ceaec6d603ffe5f5f9014e5a751b9ed188aef579296b4b5fa62e8397c633f1c"),
        ("decision", "3a99a60d509ba8a618b10568510520dc61dc4a288ad421f2d9a355ad80662515"),
    ];
    for ((name, leaf), (expect_name, expect)) in samples::leaves().iter().zip(hashes) {
        assert_eq!((*name, leaf.hash().to_string().as_str()), (expect_name, expect));
    }
}
