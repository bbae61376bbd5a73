//! Bytes that other implementations agreed on: RFC 6962, C2SP signed-note, checkpoint,
//! cosignature and policy.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a vector that cannot be read fails its test; one that is not there is skipped aloud"
)]

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proofmark_evidence::*;

/// Vectors shared between projects lie beside the repository; a lone checkout does without and says
/// so. CI must have them: there a test that checked nothing must not look like one that passed.
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(path);
    if path.exists() {
        return Some(path);
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "CI=true, and no vectors at {}", path.display());
    println!("SKIPPED: no {}", path.display());
    None
}

fn json_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

/// Calls back with every vector below a directory, of which there must be `count`, and holds the
/// answer against what the vector expects.
fn each_vector(dir: &str, count: usize, check: impl Fn(&serde_json::Value) -> bool) {
    let Some(dir) = shared(dir) else { return };
    let mut files = Vec::new();
    json_files(&dir, &mut files);
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = !vector["wantErr"].as_bool().unwrap();
        assert_eq!(check(&vector), expected, "{}: {}", file.display(), vector["desc"]);
    }
    assert_eq!(files.len(), count, "{}", dir.display());
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).unwrap()
}

/// Some vectors have other bytes in a hash's place; some hash then stands for them.
fn hash(value: &serde_json::Value) -> Hash {
    let bytes = bytes(value);
    let stand_in = |_| sha256_parts(&[b"no hash: ", &bytes]);
    <[u8; 32]>::try_from(&*bytes).map_or_else(stand_in, Hash)
}

fn hashes(value: &serde_json::Value) -> Vec<Hash> {
    value.as_array().map_or_else(Vec::new, |list| list.iter().map(hash).collect())
}

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn inclusion_proofs_of_other_implementations() {
    each_vector("rfc6962/testdata/inclusion", 98, |vector| {
        let (index, size) = (number(&vector["leafIdx"]), number(&vector["treeSize"]));
        let (leaf, path) = (hash(&vector["leafHash"]), hashes(&vector["proof"]));
        // A root or leaf hash that is none is refused by its type, before we are asked.
        let are_hashes = ["root", "leafHash"].iter().all(|one| bytes(&vector[*one]).len() == 32);
        let root = hash(&vector["root"]);
        are_hashes && verify_inclusion(leaf, index, size, &path, root).is_ok()
    });
}

#[test]
fn consistency_proofs_of_other_implementations() {
    each_vector("rfc6962/testdata/consistency", 98, |vector| {
        let (old, new) = (number(&vector["size1"]), number(&vector["size2"]));
        let (old_root, new_root) = (hash(&vector["root1"]), hash(&vector["root2"]));
        verify_consistency(old, new, &hashes(&vector["proof"]), old_root, new_root).is_ok()
    });
}

const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                          then you don't know what your problem is.\n";
const PETER_LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIu\
                          GUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_LINE: &str = "\u{2014} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2ti\
                          OHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

/// The seed in Go's `PRIVATE+KEY+<name>+<hex8>+<base64 of 0x01 and seed>`.
fn seed(private_key: &str) -> SigningKey {
    let bytes = STANDARD.decode(private_key.splitn(5, '+').last().unwrap()).unwrap();
    assert_eq!(bytes[0], 1);
    SigningKey::from_seed(bytes[1..].try_into().unwrap())
}

#[test]
fn the_note_of_the_go_library() {
    let key = VerifierKey::parse(PETER_KEY).unwrap();
    assert_eq!(key.to_text(), PETER_KEY);
    let note = Note::parse(&format!("{PETER_TEXT}\n{PETER_LINE}{ENOCH_LINE}")).unwrap();
    assert_eq!(note.text, PETER_TEXT);
    assert!(note.verified_by(&key).unwrap().is_some());
    let enoch = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
    assert!(note.verified_by(&VerifierKey::parse(enoch).unwrap()).unwrap().is_some());
    let secret =
        seed("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz");
    // The same three bytes that Go writes, since Ed25519 is deterministic.
    let origin = Origin::parse("PeterNeumann").unwrap();
    assert_eq!(log_signature_line(&origin, &secret, PETER_TEXT), PETER_LINE);
}

#[test]
fn manglings_of_a_verifier_key_are_refused() {
    let is_bad = |text: &str| assert!(VerifierKey::parse(text).is_err(), "{text:?}");
    for start in 0..=PETER_KEY.len() {
        for end in start..=PETER_KEY.len() {
            if (start, end) != (0, PETER_KEY.len()) {
                is_bad(&PETER_KEY[start..end]);
            }
        }
    }
    for at in 0..PETER_KEY.len() {
        let mut bytes = PETER_KEY.as_bytes().to_vec();
        bytes[at] += 1;
        is_bad(&String::from_utf8(bytes).unwrap());
    }
    is_bad("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==");
    is_bad("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    let spec = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    assert_eq!(VerifierKey::parse(spec).unwrap().to_text(), spec);
}

#[test]
fn malformed_notes_are_refused() {
    let check = |note: &str, slug: &str| {
        let fault = Note::parse(note).err().map_or("parsed", |fault| fault.slug());
        assert_eq!(fault, slug, "{note:?}");
    };
    check(PETER_TEXT, "note_malformed");
    check(&format!("{PETER_TEXT}\n"), "note_malformed");
    check(&format!("{PETER_TEXT}\n{}", PETER_LINE.trim_end()), "note_malformed");
    check(&format!("\u{1}{PETER_TEXT}\n{PETER_LINE}"), "note_control_character");
    check(&format!("{PETER_TEXT}\n{PETER_LINE}Unexpected line.\n"), "note_signature_line");
    check(&format!("{PETER_TEXT}\n\u{2014} Bad Name x08go/ZJkuBS\n"), "note_signature_line");
    check(&format!("{PETER_TEXT}\n\u{2014} a+b x08go/ZJkuBS\n"), "note_key_name");
    check(&format!("{PETER_TEXT}\n{PETER_LINE}{PETER_LINE}"), "note_signed_twice");
    check(&format!("{PETER_TEXT}\n{PETER_LINE}{}", "x".repeat(1 << 16)), "note_too_large");
    let many: String = (0..101).map(|n| PETER_LINE.replace("Peter", &format!("P{n}"))).collect();
    check(&format!("{PETER_TEXT}\n{many}"), "note_too_many_signatures");
    check(&format!("{PETER_TEXT}\n{PETER_LINE}{ENOCH_LINE}"), "parsed");
}

#[test]
fn a_known_key_with_a_wrong_signature_refuses_the_note() {
    let wrong = PETER_LINE.replace("x08go/ZJ", "x08go/ZK");
    let note = Note::parse(&format!("{PETER_TEXT}\n{ENOCH_LINE}{wrong}")).unwrap();
    let fault = note.verified_by(&VerifierKey::parse(PETER_KEY).unwrap()).unwrap_err();
    assert_eq!(fault.slug(), "note_bad_signature");
    let stranger = PETER_KEY.replace("c74f20a3", "c74f20a4");
    assert!(VerifierKey::parse(&stranger).is_err());
}

/// The golden log of another implementation: its words, its key, our cosigner.
#[test]
fn a_cosignature_with_a_known_key() {
    let words =
        "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten";
    let leaves: Vec<Hash> = words.split(' ').map(|word| leaf_hash(word.as_bytes())).collect();
    let origin = Origin::parse("example.com/log/testdata").unwrap();
    let text = Checkpoint { origin, size: 15, root: root_of(&leaves) }.to_text();
    let secret = seed("PRIVATE+KEY+witness+f13a86db+AaLa/dfyBhyo/m0Z7WCi98ENVZWtrP8pxgRNrx7tIWiA");
    let vkey = "witness+24b37851+BNYV1Ztajd9BvyjP2HgpwrqYL6TjOwIjGMOq8Bu42xbN";
    let key = VerifierKey::new("witness", SignatureType::CosignatureV1, secret.public()).unwrap();
    assert_eq!(key.to_text(), vkey);
    let cosignature = cosign("witness", &secret, 1_700_000_000, &text);
    let line = "\u{2014} witness JLN4UQAAAABlU/EAP16IwnR7OvdQ2qGNbozLavD2ZfgCwvg5IRioOOS/\
                zMVYMx3UaEcI0V7tJUfTriLxHxoepUnHChdT1I+z/mJADQ==\n";
    assert_eq!(cosignature.line(), line);
    assert_eq!(Cosignature::parse_line(line), Ok(cosignature));
    let note = Note::parse(&format!("{text}\n{line}")).unwrap();
    assert!(note.verified_by(&VerifierKey::parse(vkey).unwrap()).unwrap().is_some());
}

#[test]
fn a_checkpoint_cosigned_by_another_implementation() {
    let Some(file) = shared("cosignature/witness.checkpoint") else { return };
    let signed = SignedCheckpoint::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(signed.checkpoint.origin.as_str(), "rome2026h1.example.org");
    let vkey = "witness.example.org+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN";
    let key = VerifierKey::parse(vkey).unwrap();
    let line = signed.note().verified_by(&key).unwrap().unwrap().clone();
    let cosignature = Cosignature::from_note_signature(&line).unwrap();
    assert_eq!(cosignature.timestamp_s, 1_767_139_200);
    let hex = signed.checkpoint.origin.log_id().to_string();
    assert!(hex.starts_with("000de184") && hex.ends_with("9706"), "{hex}");
}

/// Verifier keys for policies: of logs from 0, of witnesses from 100.
fn vkey(name: &str, number: u8) -> String {
    let kind = if number < 100 { SignatureType::Ed25519 } else { SignatureType::CosignatureV1 };
    let key = SigningKey::from_seed([number; 32]).public();
    VerifierKey::new(name, kind, key).unwrap().to_text()
}

#[test]
fn the_policy_of_the_spec() {
    let mut text = format!("# two levels\nlog {} https://a.example/\n\n", vkey("a.example", 0));
    for (place, name) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().enumerate() {
        text += &format!("witness\t{name} {}\n", vkey(name, 100 + place as u8));
    }
    text += "group  X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n";
    text += "group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(Policy::parse(&policy.to_text()).as_ref(), Ok(&policy));

    let origin = Origin::parse("a.example").unwrap();
    let root = leaf_hash(b"");
    let checkpoint = Checkpoint { origin: origin.clone(), size: 1, root }.to_text();
    let check = |cosigners: &[&str], is_quorum: bool| {
        let log_key = SigningKey::from_seed([0; 32]);
        let line = log_signature_line(&origin, &log_key, &checkpoint);
        let mut note = format!("{checkpoint}\n{line}");
        for name in cosigners {
            let place = ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().position(|one| one == name);
            let key = SigningKey::from_seed([100 + place.unwrap() as u8; 32]);
            note += &cosign(name, &key, 7, &checkpoint).line();
        }
        let verdict = policy.check(&SignedCheckpoint::parse(&note).unwrap());
        assert_eq!(verdict.is_ok(), is_quorum, "{cosigners:?}: {verdict:?}");
        if let Ok(verdict) = verdict {
            let cosigner = |name: &&str| Cosigner { name: (*name).to_owned(), timestamp_s: 7 };
            assert_eq!(verdict.cosigners, cosigners.iter().map(cosigner).collect::<Vec<_>>());
        }
    };
    check(&["X1", "X2", "Y3"], true);
    check(&["X2", "X3", "Y1", "Y2", "Y3"], true);
    check(&["X1", "Y1", "Y2", "Y3"], false);
    check(&["X1", "X2", "X3"], false);
    check(&[], false);
}

#[test]
fn policies_that_are_none_are_refused() {
    let (log, w1, w2) = (vkey("log", 0), vkey("w1", 101), vkey("w2", 102));
    let check = |lines: &str, slug: &str| {
        let text = lines.replace("LOG", &log).replace("KEY1", &w1).replace("KEY2", &w2);
        let fault = Policy::parse(&text).err().map_or("parsed", |fault| fault.slug());
        assert_eq!(fault, slug, "{lines:?}");
    };
    check("quorum none\n", "parsed");
    check("log LOG\nwitness a KEY1\nquorum a\n", "parsed");
    check("quorum none", "policy_not_lines");
    check("quorum none\r\n", "policy_not_lines");
    check("log LOG\n", "policy_quorum");
    check("quorum none\nquorum none\n", "policy_quorum");
    check("quorum a\nwitness a KEY1\n", "policy_member");
    check("log LOG\nlog LOG\nquorum none\n", "policy_duplicate");
    check("witness a KEY1\nwitness b KEY1\nquorum none\n", "policy_duplicate");
    check("witness a KEY1\nwitness a KEY2\nquorum none\n", "policy_duplicate");
    check("witness none KEY1\nquorum none\n", "policy_duplicate");
    check("witness a LOG\nquorum none\n", "policy_key_type");
    check("log KEY1\nquorum none\n", "policy_key_type");
    check("log no-key\nquorum none\n", "policy_key");
    check("witness a KEY1\ngroup g 0 a\nquorum g\n", "policy_threshold");
    check("witness a KEY1\ngroup g 2 a\nquorum g\n", "policy_threshold");
    check("witness a KEY1\ngroup g 01 a\nquorum g\n", "policy_threshold");
    check("witness a KEY1\ngroup g 1 a a\nquorum g\n", "policy_member");
    check("witness a KEY1\ngroup g 1 a\ngroup h 1 a\nquorum g\n", "policy_member");
    check("group g 1 none\nquorum g\n", "policy_member");
    check("group g all\nquorum g\n", "policy_line");
    check("Log LOG\nquorum none\n", "policy_line");
}
