//! One target of `proofmark_tests::fuzz` under libFuzzer, which steers by coverage.
//!
//! In: the target's name in `PROOFMARK_FUZZ_TARGET`, inputs from libFuzzer. Out: a crash file when
//! a law is broken or one input takes too much memory. A law is never written here: they are in
//! `tests/src/fuzz`, where `cargo test` holds them too.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use proofmark_tests::fuzz::{self, Target, memory};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fuzz_target!(|bytes: &[u8]| {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    (target().judge)(bytes);
    memory::check(bytes, ALLOCATOR.peak_usage().saturating_sub(before));
});

fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("PROOFMARK_FUZZ_TARGET").unwrap_or_default();
        let names = || fuzz::all().iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
        fuzz::find(&name).unwrap_or_else(|| panic!("target {name:?} is none of {}", names()))
    })
}
