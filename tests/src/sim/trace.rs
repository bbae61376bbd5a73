//! A run's fingerprint and its story: equal traces, equal runs.

use proofmark_evidence::{Hash, StreamHasher};

/// Hashes every event; keeps the story's lines when asked, for `--trace`.
pub(super) struct Trace {
    hasher: StreamHasher,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keep_lines: bool) -> Self {
        Self { hasher: StreamHasher::new(), lines: keep_lines.then(Vec::new) }
    }

    /// Everything that happens leaves its mark.
    pub(super) fn mark(&mut self, at_ms: u64, numbers: [u64; 3]) {
        let mut bytes = [0; 32];
        let all = [at_ms, numbers[0], numbers[1], numbers[2]];
        for (place, number) in bytes.chunks_exact_mut(8).zip(all) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        self.hasher.update(&bytes);
    }

    /// What a reader wants to know: who did what, in words.
    pub(super) fn say(&mut self, at_ms: u64, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let (second, rest) = (at_ms / 1_000, at_ms % 1_000);
            lines.push(format!("{second:>4}.{rest:03}  {}", line()));
        }
    }

    pub(super) fn into_parts(self) -> (Hash, Vec<String>) {
        (self.hasher.finish(), self.lines.unwrap_or_default())
    }
}
