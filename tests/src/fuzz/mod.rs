//! Foreign bytes: one target for every decoder that reads what somebody else wrote.
//!
//! A target is one function over bytes that panics when a promise is broken; which promise, says
//! the law it calls ([`law`]): bytes that are taken encode to themselves again, and a refusal is
//! short and has a stable word. Two ways to run them:
//!
//! - `cargo test -p proofmark-tests --test fuzz`: every target over `tests/corpus/<target>/` and
//!   over some thousand mutations of it ([`mutate`]), the same ones in every run, with the memory
//!   of each bounded;
//! - `cargo xtask fuzz --minutes M [--target T]`: libFuzzer, guided by coverage (`fuzz/`).
//!
//! To add a decoder: a function and a row in its file below [`targets`], a sample in its `samples`,
//! then `UPDATE=1 cargo test -p proofmark-tests --test fuzz` writes the corpus.

pub mod law;
pub mod memory;
pub mod mutate;
pub mod samples;
pub mod targets;

use std::path::{Path, PathBuf};

/// What became of one input. Anything else is a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes are what they claim to be, and the law holds for them.
    Taken,
    /// Why not: the fault's stable word where it has one, else its first words.
    Refused(String),
}

/// One decoder under one law.
#[derive(Clone, Copy)]
pub struct Target {
    /// Also the name of its folder in `tests/corpus`.
    pub name: &'static str,
    pub judge: fn(&[u8]) -> Verdict,
    /// Valid inputs, made by this build: each is taken.
    pub samples: fn() -> Vec<Sample>,
}

/// A valid input and the name of its file.
pub struct Sample {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Sample {
    pub fn new(name: &'static str, bytes: impl Into<Vec<u8>>) -> Sample {
        Sample { name, bytes: bytes.into() }
    }
}

/// Every target, in order of name.
pub fn all() -> Vec<Target> {
    let mut all = targets::all();
    all.sort_by_key(|target| target.name);
    all
}

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    all().into_iter().find(|target| target.name == name)
}

/// Where a target's inputs lie: `<name>.sample` are valid ones, everything else once broke it.
pub fn corpus_dir(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}
