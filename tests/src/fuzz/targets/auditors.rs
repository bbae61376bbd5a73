//! What a log consists of, as strangers get it: leaves, payloads, tiles, notes, proofs.

use std::collections::BTreeMap;

use proofmark_evidence::{
    CheckResult, Checkpoint, Cosignature, CoverageRow, Header, Leaf, LeafKind, LogFile, LogReader,
    Note, NoteSignature, Policy, ProofFile, ResultId, SignedCheckpoint, SourceEntry, SourceFault,
    TileSource, VerifierKey, check_proof, parse_entries, parse_tile, prove_result, split_results,
    tile_bytes, verify_log,
};

use crate::fuzz::law::{one_meaning, one_spelling, refused, text};
use crate::fuzz::{Sample, Target, Verdict, samples};

pub const TARGETS: &[Target] = &[
    Target { name: "leaf", judge: leaf, samples: leaves },
    Target { name: "leaf_header", judge: leaf_header, samples: leaf_headers },
    Target { name: "payload", judge: payload, samples: payloads },
    Target { name: "result", judge: result, samples: results },
    Target { name: "coverage_rows", judge: coverage_rows, samples: coverage_samples },
    Target { name: "slo_reports", judge: slo_reports, samples: slo_samples },
    Target { name: "tile", judge: tile, samples: tiles },
    Target { name: "entry_bundle", judge: entry_bundle, samples: bundles },
    Target { name: "checkpoint", judge: checkpoint, samples: checkpoints },
    Target { name: "note", judge: note, samples: notes },
    Target { name: "note_lines", judge: note_lines, samples: lines },
    Target { name: "policy", judge: policy, samples: policies },
    Target { name: "proof_file", judge: proof_file, samples: proofs },
    Target { name: "log_path", judge: log_path, samples: paths },
    Target { name: "log_damage", judge: log_damage, samples: damages },
];

/// The envelope keeps its bytes; a header that is read has one spelling.
fn leaf(bytes: &[u8]) -> Verdict {
    let leaf = match Leaf::parse(bytes) {
        Err(fault) => return refused(&fault),
        Ok(leaf) => leaf,
    };
    assert_eq!(leaf.bytes(), bytes);
    match leaf.header() {
        Err(fault) => refused(&fault),
        Ok(header) => {
            assert_eq!(leaf.key_id(), Ok(header.key_id()));
            assert_eq!(header.encode(), leaf.header_bytes());
            // Signed by nobody we know: whatever else holds, a changed leaf never verifies.
            let is_ours = leaves().iter().any(|sample| sample.bytes == bytes);
            let keys = [samples::agent_key().public(), samples::log_key().public()];
            let verified = keys.iter().any(|key| leaf.verify(key).is_ok());
            assert_eq!(verified, is_ours, "a leaf verifies exactly if it was signed");
            Verdict::Taken
        }
    }
}

fn leaves() -> Vec<Sample> {
    let own = samples::own_leaves().into_iter();
    let mut all: Vec<Sample> = own.map(|(name, leaf, _)| Sample::new(name, leaf.bytes())).collect();
    let [batch, next] = samples::batches();
    all.push(Sample::new("batch", batch.leaf.bytes()));
    all.push(Sample::new("batch-next", next.leaf.bytes()));
    all
}

/// First byte: the kind. Without an envelope in the way, and without a signature.
fn leaf_header(bytes: &[u8]) -> Verdict {
    let Some((kind, header)) = bytes.split_first() else { return refused(&"no kind") };
    let Some(kind) = LeafKind::ALL.iter().copied().find(|one| one.code() == *kind) else {
        return refused(&"no such kind");
    };
    one_spelling(header, Header::decode(kind, header), Header::encode)
}

fn leaf_headers() -> Vec<Sample> {
    let header = |sample: Sample| {
        let leaf = Leaf::parse(sample.bytes).expect("a sample");
        let bytes = [&[leaf.kind().code()], leaf.header_bytes()].concat();
        Sample::new(sample.name, bytes)
    };
    leaves().into_iter().map(header).collect()
}

fn payload(bytes: &[u8]) -> Verdict {
    let joined = |results: &Vec<&[u8]>| {
        let prefix = |result: &&[u8]| {
            let len = u16::try_from(result.len()).expect("split by a u16");
            [&len.to_be_bytes()[..], result].concat()
        };
        results.iter().flat_map(prefix).collect()
    };
    let split = split_results(bytes);
    if let Ok(results) = &split {
        results.iter().for_each(|bytes| drop(result(bytes)));
    }
    one_spelling(bytes, split, joined)
}

fn payloads() -> Vec<Sample> {
    vec![Sample::new("three", &samples::batches()[0].payload[..])]
}

fn result(bytes: &[u8]) -> Verdict {
    one_spelling(bytes, CheckResult::decode(bytes), CheckResult::encode)
}

fn results() -> Vec<Sample> {
    let names = ["pass", "fail", "skipped"];
    let named = names.into_iter().zip(samples::results());
    named.map(|(name, result)| Sample::new(name, result.encode())).collect()
}

fn coverage_rows(bytes: &[u8]) -> Verdict {
    let rows = CoverageRow::decode_all(bytes);
    one_spelling(bytes, rows, |rows| CoverageRow::encode_all(rows))
}

fn coverage_samples() -> Vec<Sample> {
    vec![Sample::new("one", CoverageRow::encode_all(&samples::coverage_rows()))]
}

fn slo_reports(bytes: &[u8]) -> Verdict {
    let reports = proofmark_slo::decode_reports(bytes);
    one_spelling(bytes, reports, |reports| proofmark_slo::encode_reports(reports))
}

fn slo_samples() -> Vec<Sample> {
    let reports = super::replicas::counted_state().ledger().report();
    vec![
        Sample::new("none", proofmark_slo::encode_reports(&[])),
        Sample::new("one", proofmark_slo::encode_reports(&reports)),
    ]
}

/// First byte: the width asked for, less one.
fn tile(bytes: &[u8]) -> Verdict {
    let Some((width, hashes)) = bytes.split_first() else { return refused(&"no width") };
    let hashes_of = |hashes: &Vec<_>| tile_bytes(hashes);
    one_spelling(hashes, parse_tile(hashes, u64::from(*width) + 1), hashes_of)
}

fn tiles() -> Vec<Sample> {
    let file = &samples::log()["tile/0/000.p/5"];
    vec![Sample::new("five", [&[4], &file[..]].concat())]
}

/// First byte: the number of entries asked for, less one.
fn entry_bundle(bytes: &[u8]) -> Verdict {
    let Some((count, bundle)) = bytes.split_first() else { return refused(&"no count") };
    let joined = |entries: &Vec<&[u8]>| {
        let prefix = |entry: &&[u8]| {
            let len = u16::try_from(entry.len()).expect("split by a u16");
            [&len.to_be_bytes()[..], entry].concat()
        };
        entries.iter().flat_map(prefix).collect()
    };
    one_spelling(bundle, parse_entries(bundle, u64::from(*count) + 1), joined)
}

fn bundles() -> Vec<Sample> {
    let file = &samples::log()["tile/entries/000.p/5"];
    vec![Sample::new("five", [&[4], &file[..]].concat())]
}

fn checkpoint(bytes: &[u8]) -> Verdict {
    let text = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(text) => text,
    };
    // Lines after the three are others' extensions, which C2SP allows.
    let three = text.split_inclusive('\n').take(3).map(str::len).sum();
    let checkpoint = Checkpoint::parse(text);
    one_spelling(&bytes[..three], checkpoint, |checkpoint| checkpoint.to_text().into())
}

fn checkpoints() -> Vec<Sample> {
    let (origin, root) = (samples::origin(), proofmark_evidence::empty_root());
    let size = i64::MAX.unsigned_abs();
    vec![
        Sample::new("empty", Checkpoint { origin: origin.clone(), size: 0, root }.to_text()),
        Sample::new("largest", Checkpoint { origin, size, root }.to_text()),
    ]
}

/// A note, as note and as signed checkpoint; the policy believes it only if it is the sample.
fn note(bytes: &[u8]) -> Verdict {
    let text = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(text) => text,
    };
    let verdict = one_spelling(bytes, Note::parse(text), |note| note.to_text().into());
    if let Ok(signed) = SignedCheckpoint::parse(text) {
        assert_eq!(signed.to_text(), text);
        let is_believed = samples::policy().check(&signed).is_ok();
        let is_ours = signed.checkpoint.to_text().starts_with(&our_checkpoint());
        assert!(is_ours || !is_believed, "a quorum for what nobody signed");
    }
    verdict
}

fn our_checkpoint() -> String {
    SignedCheckpoint::parse(&our_note()).expect("a sample").checkpoint.to_text()
}

fn our_note() -> String {
    samples::signed_note(5, proofmark_evidence::sha256(b"a root"))
}

fn notes() -> Vec<Sample> {
    vec![Sample::new("signed", our_note())]
}

/// One line: a verifier key, a signature of a note, a cosignature, a result's id.
fn note_lines(bytes: &[u8]) -> Verdict {
    let line = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(line) => line,
    };
    let line = line.strip_suffix('\n').unwrap_or(line);
    let bytes = line.as_bytes();
    let verdicts = [
        one_spelling(bytes, VerifierKey::parse(line), |key| key.to_text().into()),
        one_spelling(bytes, NoteSignature::parse_line(line), |line| without_newline(line.line())),
        one_spelling(bytes, Cosignature::parse_line(line), |line| without_newline(line.line())),
        one_spelling(bytes, ResultId::parse(line), |id| id.to_string().into()),
    ];
    let [first, ..] = &verdicts;
    match verdicts.contains(&Verdict::Taken) {
        true => Verdict::Taken,
        false => first.clone(),
    }
}

/// Lines are written with their newline and read without.
fn without_newline(mut line: String) -> Vec<u8> {
    assert_eq!(line.pop(), Some('\n'));
    line.into()
}

fn lines() -> Vec<Sample> {
    let key = samples::policy().verifier_keys().next().expect("the log's").to_text();
    let note = Note::parse(&our_note()).expect("a sample");
    let cosignature = note.signatures.last().expect("one of a node").line().trim_end().to_owned();
    vec![
        Sample::new("verifier-key", key),
        Sample::new("cosignature", cosignature),
        Sample::new("result-id", "web-1/1/300"),
    ]
}

fn policy(bytes: &[u8]) -> Verdict {
    let text = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(text) => text,
    };
    let parse = |bytes: &[u8]| Policy::parse(std::str::from_utf8(bytes).expect("text again"));
    one_meaning(text.as_bytes(), parse, |policy| policy.to_text().into())
}

fn policies() -> Vec<Sample> {
    vec![Sample::new("three-nodes", samples::policy().to_text())]
}

/// A proof has one spelling, and proves what the sample proves or nothing.
fn proof_file(bytes: &[u8]) -> Verdict {
    let text = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(text) => text,
    };
    let verdict = one_spelling(bytes, ProofFile::parse(text), |proof| proof.to_text().into());
    if let Ok(proven) = check_proof(text, &samples::policy()) {
        let all = samples::results();
        assert!(all.contains(&proven.result), "proven, and never said: {:?}", proven.result);
    }
    verdict
}

fn proofs() -> Vec<Sample> {
    let log = Files(samples::log().clone());
    let reader = LogReader::open(log).expect("a whole log");
    let id = ResultId { agent: samples::agent(), epoch: 1, seq: 2 };
    let proof = prove_result(&reader, &id, 3).expect("the first batch's leaf");
    vec![Sample::new("second-result", proof.to_text())]
}

/// No path leads out of the log, and each file has one.
fn log_path(bytes: &[u8]) -> Verdict {
    let path = match text(bytes) {
        Err(verdict) => return verdict,
        Ok(path) => path,
    };
    if LogFile::parse(path).is_some() {
        assert!(!path.contains("..") && !path.starts_with('/'), "{path}");
    }
    one_spelling(bytes, LogFile::parse(path).ok_or("no path of a log"), |file| file.path().into())
}

fn paths() -> Vec<Sample> {
    vec![
        Sample::new("entries", "tile/entries/x001/x234/067.p/8"),
        Sample::new("tile", "tile/0/x001/067"),
        Sample::new(
            "payload",
            samples::log().keys().find(|path| path.contains("payload")).expect("one").clone(),
        ),
    ]
}

/// Edits of the sample log: each (file, offset, xor). A log that is judged sound has the leaves,
/// hashes and payloads that were written.
fn log_damage(bytes: &[u8]) -> Verdict {
    let mut files = samples::log().clone();
    let names: Vec<String> = files.keys().cloned().collect();
    for edit in bytes.chunks_exact(4).take(16) {
        let name = &names[usize::from(edit[0]) % names.len()];
        let file = files.get_mut(name).expect("its own name");
        let at = usize::from(u16::from_be_bytes([edit[1], edit[2]])) % file.len();
        file[at] ^= edit[3];
    }
    let source = Files(files.clone());
    let report = verify_log(&source, &samples::policy(), &mut ());
    if report.is_sound() {
        // Texts may say the same in other words: a cosignature may be missing, a comment be there.
        let is_text = |name: &String| name == "checkpoint" || name == "policy";
        let differ = |name: &&String| files[*name] != samples::log()[*name] && !is_text(name);
        let changed: Vec<&String> = names.iter().filter(differ).collect();
        assert!(changed.is_empty(), "judged sound, and changed: {changed:?}");
        return Verdict::Taken;
    }
    let fault = report.faults.first().expect("an unsound log names a fault");
    Verdict::Refused(fault.slug.to_owned())
}

fn damages() -> Vec<Sample> {
    vec![Sample::new("none", []), Sample::new("undone", [3, 0, 9, 4, 3, 0, 9, 4])]
}

/// A log in memory.
struct Files(BTreeMap<String, Vec<u8>>);

impl TileSource for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, SourceFault> {
        let found = self.0.get(path).cloned();
        found.ok_or_else(|| SourceFault::NotFound { path: path.to_owned() })
    }

    fn list(&self, dir: &str) -> Result<Vec<SourceEntry>, SourceFault> {
        let mut entries = BTreeMap::new();
        for path in self.0.keys() {
            let below = match dir {
                "" => Some(path.as_str()),
                _ => path.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/')),
            };
            if let Some((name, is_dir)) = below.map(|rest| match rest.split_once('/') {
                Some((name, _)) => (name, true),
                None => (rest, false),
            }) {
                entries.insert(name.to_owned(), is_dir);
            }
        }
        Ok(entries.into_iter().map(|(name, is_dir)| SourceEntry { name, is_dir }).collect())
    }
}
