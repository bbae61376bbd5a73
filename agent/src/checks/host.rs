//! `host`: what this machine has left of processors, memory, disk and patience.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proofmark_evidence::{FailReason, MeasurementKind, UnknownReason};
use proofmark_spec::HostProbe;
use sysinfo::{Disks, System};

use super::trace::{Finding, Phase, Trace, fail, unknown};
use crate::limits::CPU_SAMPLE_MS;

/// What could be read. What a host does not offer is none, never zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Readings {
    cpu_used_permille: Option<u64>,
    memory_total_bytes: Option<u64>,
    memory_used_bytes: Option<u64>,
    swap_used_bytes: Option<u64>,
    disk_used_permille: Option<u64>,
    disk_free_bytes: Option<u64>,
    load_1_milli: Option<u64>,
    load_5_milli: Option<u64>,
    load_15_milli: Option<u64>,
    cores: Option<u64>,
}

pub(super) async fn run(probe: &HostProbe, trace: &mut Trace) -> Result<(), Finding> {
    trace.enter(Phase::Local);
    let readings = read(probe.disk_path.clone()).await?;
    note(&readings, trace);
    judge(probe, &readings)
}

/// Two looks at the processors with a pause between: usage is a difference.
async fn read(disk_path: String) -> Result<Readings, Finding> {
    let system = blocking(|| {
        let mut system = System::new().ok()?;
        system.refresh_cpu_usage();
        Some(system)
    });
    let Some(mut system) = system.await? else { return Ok(Readings::default()) };
    tokio::time::sleep(Duration::from_millis(CPU_SAMPLE_MS)).await;
    blocking(move || {
        system.refresh_cpu_usage();
        system.refresh_memory();
        let mut readings = Readings::of_system(&system);
        readings.add_disk(Path::new(&disk_path));
        readings.add_load();
        readings
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Finding> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| unknown(UnknownReason::AgentFault, error.to_string()))
}

impl Readings {
    fn of_system(system: &System) -> Readings {
        let cores = Some(system.cpus().len() as u64).filter(|cores| *cores > 0);
        let total = Some(system.total_memory()).filter(|total| *total > 0);
        Readings {
            cpu_used_permille: cores.map(|_| permille(system.global_cpu_usage())),
            memory_total_bytes: total,
            memory_used_bytes: total.map(|total| total.saturating_sub(system.available_memory())),
            swap_used_bytes: total.map(|_| system.used_swap()),
            cores,
            ..Readings::default()
        }
    }

    /// The file system that holds the path: the one with the longest mount point above it.
    fn add_disk(&mut self, path: &Path) {
        let path: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let Ok(disks) = Disks::new_with_refreshed_list() else { return };
        let above = disks.iter().filter(|disk| path.starts_with(disk.mount_point()));
        let Some(disk) = above.max_by_key(|disk| disk.mount_point().as_os_str().len()) else {
            return;
        };
        let (total, free) = (disk.total_space(), disk.available_space());
        self.disk_free_bytes = (total > 0).then_some(free);
        let used = u128::from(total.saturating_sub(free)) * 1_000;
        self.disk_used_permille =
            used.checked_div(total.into()).and_then(|used| u64::try_from(used).ok());
    }

    fn add_load(&mut self) {
        let Ok(load) = System::load_average() else { return };
        self.load_1_milli = Some(milli(load.one));
        self.load_5_milli = Some(milli(load.five));
        self.load_15_milli = Some(milli(load.fifteen));
    }

    fn memory_used_permille(&self) -> Option<u64> {
        let (used, total) = (self.memory_used_bytes?, self.memory_total_bytes?);
        (u128::from(used) * 1_000).checked_div(total.into()).and_then(|it| u64::try_from(it).ok())
    }

    fn load_1_per_core_milli(&self) -> Option<u64> {
        self.load_1_milli?.checked_div(self.cores?)
    }
}

/// From percent; not a number counts as none.
fn permille(percent: f32) -> u64 {
    milli(f64::from(percent) / 100.0)
}

/// `as` saturates, and takes what is not a number as 0.
fn milli(value: f64) -> u64 {
    (value * 1_000.0).round() as u64
}

fn note(readings: &Readings, trace: &mut Trace) {
    let all = [
        (MeasurementKind::CpuUsedPermille, readings.cpu_used_permille),
        (MeasurementKind::MemoryUsedBytes, readings.memory_used_bytes),
        (MeasurementKind::MemoryTotalBytes, readings.memory_total_bytes),
        (MeasurementKind::SwapUsedBytes, readings.swap_used_bytes),
        (MeasurementKind::DiskUsedPermille, readings.disk_used_permille),
        (MeasurementKind::DiskFreeBytes, readings.disk_free_bytes),
        (MeasurementKind::Load1Milli, readings.load_1_milli),
        (MeasurementKind::Load5Milli, readings.load_5_milli),
        (MeasurementKind::Load15Milli, readings.load_15_milli),
    ];
    for (kind, reading) in all {
        if let Some(value) = reading {
            trace.count(kind, value);
        }
    }
}

/// A passed threshold is a failure even where another reading is missing.
fn judge(probe: &HostProbe, readings: &Readings) -> Result<(), Finding> {
    let cpu = probe.cpu_used_permille_max.map(u64::from);
    let memory = probe.memory_used_permille_max.map(u64::from);
    let disk = probe.disk_used_permille_max.map(u64::from);
    let rules = [
        ("cpu used permille", cpu, readings.cpu_used_permille),
        ("memory used permille", memory, readings.memory_used_permille()),
        ("disk used permille", disk, readings.disk_used_permille),
        (
            "load per core, thousandths",
            probe.load1_per_core_milli_max,
            readings.load_1_per_core_milli(),
        ),
    ];
    let mut missing = None;
    for (what, max, reading) in rules {
        match (max, reading) {
            (Some(max), Some(got)) if got > max => {
                let detail = format!("{what}: expected at most {max}, got {got}");
                return Err(fail(FailReason::ThresholdExceeded, detail));
            }
            (Some(_), None) => missing = missing.or(Some(what)),
            _ => {}
        }
    }
    match missing {
        Some(what) => {
            let detail = format!("{what}: this host does not offer it");
            Err(unknown(UnknownReason::ReadingUnavailable, detail))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proofmark_evidence::Outcome;
    use proofmark_spec::Probe;

    use super::*;
    use crate::checks::run_check_once;
    use crate::tests::check;

    fn verdict(options: &str, readings: &Readings) -> &'static str {
        let check = check("5s", &format!("host: {{{options}}}"));
        let Probe::Host(probe) = check.probe else { panic!("a host probe") };
        judge(&probe, readings).map_or_else(|finding| finding.outcome.slug(), |()| "pass")
    }

    #[test]
    fn each_threshold_is_held_against_its_own_reading() {
        let readings = Readings {
            cpu_used_permille: Some(500),
            memory_total_bytes: Some(1_000),
            memory_used_bytes: Some(600),
            disk_used_permille: Some(700),
            load_1_milli: Some(3_200),
            cores: Some(4),
            ..Readings::default()
        };
        let cases = [
            ("cpu_used_percent_max: 50", "pass"),
            ("cpu_used_percent_max: 49.9", "threshold_exceeded"),
            ("memory_used_percent_max: 60", "pass"),
            ("memory_used_percent_max: 59.9", "threshold_exceeded"),
            ("disk_used_percent_max: 69.9", "threshold_exceeded"),
            ("load1_per_core_max: 0.8", "pass"),
            ("load1_per_core_max: 0.799", "threshold_exceeded"),
            ("", "pass"),
        ];
        for (options, expect) in cases {
            assert_eq!(verdict(options, &readings), expect, "{options}");
        }
    }

    #[test]
    fn a_reading_that_is_not_offered_is_unknown_unless_another_one_fails() {
        let none = Readings::default();
        assert_eq!(verdict("cpu_used_percent_max: 50", &none), "reading_unavailable");
        let disk = Readings { disk_used_permille: Some(990), ..none };
        let both = "cpu_used_percent_max: 50, disk_used_percent_max: 90";
        assert_eq!(verdict(both, &disk), "threshold_exceeded");
    }

    #[tokio::test]
    async fn this_machine_offers_memory_and_processors() {
        let seen = run_check_once(&check("5s", "host: {}")).await;
        assert_eq!(seen.outcome, Outcome::Pass, "{}", seen.detail);
        for kind in [MeasurementKind::MemoryTotalBytes, MeasurementKind::CpuUsedPermille] {
            assert!(seen.measurements.iter().any(|one| one.kind == kind), "{kind:?}");
        }
    }
}
