//! Many runs on all cores: one result whatever the number of cores, for equal seeds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{CRUEL_MS, Coverage, Faults, Plan, Planted, SimFailure, SimReport, run_plan};

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub seeds: u64,
    pub virtual_ms: u64,
    pub faults: Faults,
    pub coverage: Coverage,
    pub terms_led: u64,
    pub entries: u64,
    pub acks: u64,
    pub publications: u64,
    pub reads: u64,
    /// By ascending seed.
    pub failures: Vec<SimFailure>,
}

impl Sums {
    fn take(&mut self, ended: Result<SimReport, SimFailure>) {
        self.seeds += 1;
        match ended {
            Ok(report) => {
                self.virtual_ms += report.virtual_ms;
                self.faults.add(&report.faults);
                self.coverage.add(&report.coverage);
                self.terms_led += report.terms_led;
                self.entries += report.entries_committed;
                self.acks += report.acks;
                self.publications += report.publications;
                self.reads += report.reads;
            }
            Err(failure) => {
                self.failures.push(failure);
                self.failures.sort_by_key(|failure| failure.seed);
            }
        }
    }
}

/// Runs seeds from `first` on, on all cores, until `goes_on` says no; it is asked with the number
/// of runs begun.
pub fn run_many(first: u64, goes_on: impl Fn(u64) -> bool + Sync) -> Sums {
    let (begun, sums) = (AtomicU64::new(0), Mutex::new(Sums::default()));
    let has_failed = AtomicBool::new(false);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !has_failed.load(Ordering::Relaxed) {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(number) {
                        return;
                    }
                    let ended = run_plan(plan(first.wrapping_add(number), None));
                    has_failed.fetch_or(ended.is_err(), Ordering::Relaxed);
                    sums.lock().unwrap_or_else(PoisonError::into_inner).take(ended);
                }
            });
        }
    });
    sums.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What a hunt for one planted mistake came to.
pub struct Hunt {
    pub planted: Planted,
    /// The first seed that found it, and what it said.
    pub first: Option<SimFailure>,
    pub found: u64,
    pub seeds: u64,
}

/// Runs `seeds` seeds with a planted mistake in them. Two cores hunt for two mistakes at once.
pub fn hunt(planted: Planted, seeds: u64) -> Hunt {
    let mut hunt = Hunt { planted, first: None, found: 0, seeds };
    for seed in 1..=seeds {
        if let Err(failure) = run_plan(plan(seed, Some(planted))) {
            hunt.found += 1;
            hunt.first.get_or_insert(failure);
        }
    }
    hunt
}

fn plan(seed: u64, planted: Option<Planted>) -> Plan {
    Plan { seed, cruel_ms: CRUEL_MS, planted, keep_story: false }
}
