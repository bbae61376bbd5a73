//! Every decoder of foreign bytes, over its corpus and over the same mutations of it in every run.
//!
//! All targets are one test: the allocator's peak is the whole process's.

#![expect(clippy::print_stderr, reason = "says which target is slow, and what an input was")]

use std::panic::catch_unwind;
use std::path::Path;

use peak_alloc::PeakAlloc;
use proofmark_tests::fuzz::mutate::Mutator;
use proofmark_tests::fuzz::{self, Target, Verdict, memory};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Mutated inputs a target; with an unoptimised build all together take some seconds.
const MUTATIONS: u64 = 1_500;

#[test]
fn every_decoder_keeps_its_promise() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut broken = Vec::new();
    for target in chosen() {
        if update {
            write_samples(&target);
        }
        broken.extend(try_target(&target));
    }
    assert!(broken.is_empty(), "{} broken promises:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let names: Vec<&str> = fuzz::all().iter().map(|target| target.name).collect();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders = std::fs::read_dir(corpus).expect("the corpus is ours");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("readable").file_name();
    let mut folders: Vec<_> = folders.map(|entry| name(entry).into_string()).collect();
    folders.sort();
    assert_eq!(folders, names.iter().map(|name| Ok((*name).to_owned())).collect::<Vec<_>>());
}

/// Every target, or the one that `PROOFMARK_FUZZ_TARGET` names.
fn chosen() -> Vec<Target> {
    match std::env::var("PROOFMARK_FUZZ_TARGET") {
        Ok(name) => vec![fuzz::find(&name).unwrap_or_else(|| panic!("no target {name:?}"))],
        Err(_) => fuzz::all(),
    }
}

fn try_target(target: &Target) -> Vec<String> {
    let corpus = read_corpus(target);
    let mut broken = differing_samples(target, &corpus);
    for (file, bytes) in &corpus {
        match judge(target, bytes) {
            Err(why) => broken.push(format!("{}/{file}: {why}", target.name)),
            Ok(Verdict::Refused(why)) if file.ends_with(".sample") => {
                broken.push(format!("{}/{file}: a sample is refused: {why}", target.name));
            }
            Ok(_) => {}
        }
    }
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    broken.extend(try_mutations(target, &inputs));
    broken
}

/// Stops at the first: one crasher after the other is mended.
fn try_mutations(target: &Target, inputs: &[Vec<u8>]) -> Option<String> {
    let mut mutator = Mutator::new(target.name.len() as u64);
    let mut taken = 0;
    for _ in 0..MUTATIONS {
        let input = mutator.mutated(inputs);
        match judge(target, &input) {
            Ok(Verdict::Taken) => taken += 1,
            Ok(Verdict::Refused(_)) => {}
            Err(why) => {
                let file = std::env::temp_dir().join(format!("{}-crasher", target.name));
                std::fs::write(&file, &input).expect("a temporary file");
                let file = file.display();
                return Some(format!("{}: a mutation, kept in {file}: {why}", target.name));
            }
        }
    }
    eprintln!("{:20} {taken:5} of {MUTATIONS} mutations taken", target.name);
    None
}

/// The law, and the memory it took.
fn judge(target: &Target, bytes: &[u8]) -> Result<Verdict, String> {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let judged = catch_unwind(|| {
        let verdict = (target.judge)(bytes);
        memory::check(bytes, ALLOCATOR.peak_usage().saturating_sub(before));
        verdict
    });
    judged.map_err(|_| "it panicked, see above".to_owned())
}

/// Names and bytes, in order of name.
fn read_corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let dir = fuzz::corpus_dir(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("readable"))
        })
        .collect();
    files.sort();
    files
}

/// A sample that this build makes otherwise is a change of format: see CONTRIBUTING.md, "Tests".
fn differing_samples(target: &Target, corpus: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut differing = Vec::new();
    for sample in (target.samples)() {
        let name = format!("{}.sample", sample.name);
        match corpus.iter().find(|(file, _)| *file == name) {
            Some((_, bytes)) if *bytes == sample.bytes => {}
            Some(_) => differing.push(format!("{}/{name}: this build writes others", target.name)),
            None => differing.push(format!("{}/{name}: missing; UPDATE=1", target.name)),
        }
    }
    differing
}

fn write_samples(target: &Target) {
    let dir = fuzz::corpus_dir(target);
    std::fs::create_dir_all(&dir).expect("the corpus is ours");
    for sample in (target.samples)() {
        let path: &Path = &dir.join(format!("{}.sample", sample.name));
        std::fs::write(path, sample.bytes).expect("the corpus is ours");
    }
}
