//! CPU time of a process's threads, from /proc.

use std::collections::BTreeMap;
use std::fs;

/// USER_HZ: the unit of CPU times in /proc, fixed by Linux's interface on every machine we run on.
const TICKS_PER_S: f64 = 100.0;

/// One process at one moment.
pub(super) struct Sample {
    /// By thread id: ids grow with the order in which threads were started.
    threads: BTreeMap<u32, Thread>,
    /// The whole process, threads that have ended included.
    ticks: u64,
}

#[derive(Clone)]
struct Thread {
    name: String,
    ticks: u64,
}

/// CPU seconds that one thread used between two samples.
pub(super) struct Used {
    pub(super) name: String,
    /// Position among the threads of this name, by age.
    pub(super) nth: usize,
    pub(super) cpu_s: f64,
}

impl Sample {
    pub(super) fn of(pid: u32) -> Result<Sample, String> {
        let whole = read_stat(&format!("/proc/{pid}/stat"))?;
        let dir = format!("/proc/{pid}/task");
        let entries = fs::read_dir(&dir).map_err(|why| format!("{dir}: {why}"))?;
        let mut threads = BTreeMap::new();
        for entry in entries {
            let name = entry.map_err(|why| format!("{dir}: {why}"))?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread may end between the two reads; the whole process still has its time.
            if let Ok(thread) = read_stat(&format!("{dir}/{id}/stat")) {
                threads.insert(id, thread);
            }
        }
        Ok(Sample { threads, ticks: whole.ticks })
    }

    /// What was used since `before`: each thread, and `ended` for those that are gone by now.
    pub(super) fn since(&self, before: &Sample) -> Vec<Used> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut used = Vec::new();
        for (id, thread) in &self.threads {
            let earlier = before.threads.get(id).map_or(0, |earlier| earlier.ticks);
            let nth = seen.entry(&thread.name).or_default();
            let cpu_s = seconds(thread.ticks.saturating_sub(earlier));
            used.push(Used { name: thread.name.clone(), nth: *nth, cpu_s });
            *nth += 1;
        }
        let living: f64 = used.iter().map(|one| one.cpu_s).sum();
        let cpu_s = (self.cpu_s_since(before) - living).max(0.0);
        used.push(Used { name: "ended".to_owned(), nth: 0, cpu_s });
        used
    }

    pub(super) fn cpu_s_since(&self, before: &Sample) -> f64 {
        seconds(self.ticks.saturating_sub(before.ticks))
    }
}

/// CPU seconds that all programs of this machine have used since it started.
pub(super) fn machine_s() -> Result<f64, String> {
    let path = "/proc/stat";
    let text = fs::read_to_string(path).map_err(|why| format!("{path}: {why}"))?;
    let busy = parse_machine(&text).ok_or_else(|| format!("{path}: expected a line cpu"))?;
    Ok(seconds(busy))
}

/// proc(5): user, nice, system, idle, iowait, irq, softirq, steal: all but the two that wait.
fn parse_machine(text: &str) -> Option<u64> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let ticks: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(ticks.iter().sum::<u64>() - idle)
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_S
}

fn read_stat(path: &str) -> Result<Thread, String> {
    let text = fs::read_to_string(path).map_err(|why| format!("{path}: {why}"))?;
    parse_stat(&text).ok_or_else(|| format!("{path}: expected a line of proc(5), got {text:?}"))
}

/// proc(5): the name stands in parentheses and may hold anything; utime and stime are fields 14
/// and 15, so 11 and 12 after the name.
fn parse_stat(text: &str) -> Option<Thread> {
    let (start, end) = (text.find('(')?, text.rfind(')')?);
    let mut fields = text.get(end + 1..)?.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Thread { name: text.get(start + 1..end)?.to_owned(), ticks: user + system })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 25 17 0 0 20 0 1 0 99";
        let thread = parse_stat(text).expect("a line of proc(5)");
        assert_eq!((thread.name.as_str(), thread.ticks), ("a) b (c", 42));
        assert!(parse_stat("7 (cut").is_none());
    }

    #[test]
    fn waiting_is_not_work() {
        assert_eq!(parse_machine("cpu  1 2 4 800 1600 8 16 32 99 99\ncpu0 1"), Some(63));
        assert_eq!(parse_machine("intr 1"), None);
    }

    /// A thread that works is seen to work, under its name.
    #[test]
    fn work_is_seen() {
        let before = Sample::of(std::process::id()).expect("Linux");
        let worker = std::thread::Builder::new().name("busy-bee".to_owned()).spawn(move || {
            let mut hash = proofmark_evidence::sha256(b"work");
            loop {
                (0..20_000).for_each(|_| hash = proofmark_evidence::sha256(&hash.0));
                let after = Sample::of(std::process::id()).expect("Linux");
                let used = after.since(&before);
                if used.iter().any(|one| one.name == "busy-bee" && one.cpu_s >= 0.05) {
                    return after.cpu_s_since(&before);
                }
            }
        });
        let whole = worker.expect("a thread").join().expect("it ends");
        assert!(whole >= 0.05, "{whole}");
    }
}
