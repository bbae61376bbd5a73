//! What this machine can do at best, on one core, with nothing else running: the figures beside
//! which the cluster's are read.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use proofmark_evidence::{AgentName, Hash, SigningKey, sha256};

use super::clock::Clock;
use super::plan::Plan;
use super::report::percentile;
use super::series::{Series, Whose};

/// Each figure is measured for so long.
const MEASURE_US: u64 = 500_000;
const FLUSHES: usize = 500;
const FLUSH_BYTES: usize = 4_096;
const HASH_BYTES: usize = 64 * 1024;
/// Any time does for results that nobody sends.
const NOW_MS: u64 = 1_763_600_000_000;
/// As many signed bytes as a short header has.
const MESSAGE: [u8; 256] = [7; 256];

pub(super) struct Floor {
    pub(super) verifies_per_s: f64,
    pub(super) sha256_mb_per_s: f64,
    /// Batches of the run's size, made and signed.
    pub(super) seals_per_s: f64,
    /// Opened and their signature checked: what admission must do for each batch at least.
    pub(super) opens_per_s: f64,
    pub(super) flush_p50_us: u64,
    pub(super) flush_p99_us: u64,
    pub(super) filesystem: String,
    /// Of the first batch; all are about so large.
    pub(super) leaf_bytes: usize,
    pub(super) payload_bytes: usize,
}

pub(super) fn measure(dir: &Path, plan: &Plan) -> Result<Floor, String> {
    let key = SigningKey::from_seed([1; 32]);
    let (public, signature) = (key.public(), key.sign(&MESSAGE));
    let block = vec![7_u8; HASH_BYTES];
    let agent = AgentName::parse("load-1").map_err(|fault| fault.to_string())?;
    let whose = Whose { log_id: Hash::ZERO, agent, epoch: 1, key };
    let mut series = Series::new(whose, plan, NOW_MS)?;
    let sealed = series.seal_next(NOW_MS)?;
    let (flush_p50_us, flush_p99_us) = flushes(&dir.join("flushes"))?;
    Ok(Floor {
        verifies_per_s: per_second(|| public.verify(&MESSAGE, &signature).is_ok()),
        sha256_mb_per_s: per_second(|| sha256(&block) != Hash::ZERO) * HASH_BYTES as f64 / 1e6,
        seals_per_s: per_second(|| series.seal_next(NOW_MS).is_ok()),
        opens_per_s: per_second(|| sealed.leaf.verify(&public).is_ok() && sealed.open().is_ok()),
        flush_p50_us,
        flush_p99_us,
        filesystem: filesystem_of(dir),
        leaf_bytes: sealed.leaf.bytes().len(),
        payload_bytes: sealed.payload.len(),
    })
}

/// How often `work` succeeds in a second on this thread.
fn per_second(mut work: impl FnMut() -> bool) -> f64 {
    let clock = Clock::start();
    let mut done = 0_u64;
    while clock.now_us() < MEASURE_US {
        done += u64::from(std::hint::black_box(work()));
    }
    done as f64 * 1e6 / clock.now_us() as f64
}

/// Append and fdatasync, one after the other, beside the replicas' data.
fn flushes(path: &Path) -> Result<(u64, u64), String> {
    let shown = |why: std::io::Error| format!("{}: {why}", path.display());
    let mut file = File::create(path).map_err(shown)?;
    let block = vec![7_u8; FLUSH_BYTES];
    let mut times_us = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let clock = Clock::start();
        file.write_all(&block).map_err(shown)?;
        // A crash here leaves a file in a temporary folder that nobody reads.
        file.sync_data().map_err(shown)?;
        times_us.push(clock.now_us());
    }
    times_us.sort_unstable();
    Ok((percentile(&times_us, 500), percentile(&times_us, 990)))
}

/// The type of the file system that holds `dir`: on a tmpfs no flush costs anything.
fn filesystem_of(dir: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut best = ("", "unknown");
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some(kind)) = (words.next(), words.next()) else { continue };
        if dir.starts_with(at) && at.len() >= best.0.len() {
            best = (at, kind);
        }
    }
    best.1.to_owned()
}
